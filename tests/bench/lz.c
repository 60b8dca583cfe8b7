/* lz.c - bytes and nanoseconds per packet of payload compression, over payloads from a file.
 *
 * usage: lz PAYLOADS DICTIONARY, where the file holds a length of two bytes (big-endian) before each payload.
 * Beside what the plane does stand the other ways that the library offers, at the price they would have.
 * Times are CPU time of the best of several rounds, as neighbours on the machine only ever add. Prints lines
 * `lz/WAY  ratio  compress ns  restore ns`; test_bench_lz.py builds and runs it. */
#include <lz4.h>
#include <lz4hc.h>

#include "bench.h"

#include "../../native/core/bytes.h"
#include "../../native/core/lz_policy.h"
#include "../../native/core/lz.h"

enum { PAYLOADS_MAX = 4096, PAYLOAD_BYTES_MAX = 2048, ROUNDS = 7 };

typedef struct payload {
    uint8_t bytes[PAYLOAD_BYTES_MAX];
    uint32_t len;
} payload;

static payload payloads[PAYLOADS_MAX], items[PAYLOADS_MAX];
static uint32_t count;
static lz *plane;
static uint32_t number; /* of the dictionary */
static LZ4_stream_t fast_ready, fast_work;
static LZ4_streamHC_t *hc_ready, *hc_work;

/* Each way writes p as an item to out and returns its length; 0: it stays as it is. */
typedef uint32_t way_fn(const payload *p, uint8_t *out);

static uint32_t light(const payload *p, uint8_t *out)
{
    return lz_compress(plane, LZ_LIGHT, 0, 0, p->bytes, p->len, out, PAYLOAD_BYTES_MAX);
}

static uint32_t aggressive(const payload *p, uint8_t *out)
{
    return lz_compress(plane, LZ_AGGRESSIVE, number, 0, p->bytes, p->len, out, PAYLOAD_BYTES_MAX);
}

static uint32_t aggressive_alone(const payload *p, uint8_t *out)
{
    return lz_compress(plane, LZ_AGGRESSIVE, 0, 0, p->bytes, p->len, out, PAYLOAD_BYTES_MAX);
}

static uint32_t as_item(int bytes, const payload *p, uint32_t dictionary, uint8_t *out)
{
    out[0] = (uint8_t)(LZ_FRAME + dictionary);
    out[1] = 0;
    uint32_t len = (uint32_t)bytes + 2;
    return bytes > 0 && len + LZ_SAVED_BYTES_MIN <= p->len && len * 100 <= p->len * 95 ? len : 0;
}

/* The library's fast mode with the dictionary loaded once and its state copied for each packet: what it
 * has in public since LZ4_attach_dictionary is not in every shared library. */
static uint32_t fast_dictionary(const payload *p, uint8_t *out)
{
    memcpy(&fast_work, &fast_ready, sizeof fast_work);
    int bytes = LZ4_compress_fast_continue(&fast_work, (const char *)p->bytes, (char *)out + 2, (int)p->len,
                                           PAYLOAD_BYTES_MAX - 2, 1);
    return as_item(bytes, p, number, out);
}

static uint32_t high(const payload *p, uint8_t *out)
{
    int bytes = LZ4_compress_HC_extStateHC(hc_work, (const char *)p->bytes, (char *)out + 2, (int)p->len,
                                           PAYLOAD_BYTES_MAX - 2, 9);
    return as_item(bytes, p, 0, out);
}

static uint32_t high_dictionary(const payload *p, uint8_t *out)
{
    memcpy(hc_work, hc_ready, sizeof *hc_work);
    int bytes = LZ4_compress_HC_continue(hc_work, (const char *)p->bytes, (char *)out + 2, (int)p->len,
                                         PAYLOAD_BYTES_MAX - 2);
    return as_item(bytes, p, number, out);
}

static void measure(const char *name, way_fn *way)
{
    static uint8_t out[PAYLOAD_BYTES_MAX];
    double best_compress = 1e18, best_restore = 1e18;
    uint64_t before = 0, after = 0, shrunk = 0;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        double began = cpu_ns();
        for (uint32_t i = 0; i < count; i++)
            items[i].len = way(&payloads[i], items[i].bytes);
        double spent = cpu_ns() - began;
        best_compress = spent < best_compress ? spent : best_compress;
        before = after = shrunk = 0;
        for (uint32_t i = 0; i < count; i++) {
            before += payloads[i].len;
            after += items[i].len ? items[i].len : payloads[i].len;
            shrunk += items[i].len > 0;
        }
        began = cpu_ns();
        for (uint32_t i = 0; i < count; i++) {
            uint32_t len;
            const payload *item = &items[i];
            if (item->len && lz_decode(item->bytes, item->len, out, PAYLOAD_BYTES_MAX, &len) != LZ_OK)
                abort();
        }
        spent = cpu_ns() - began;
        best_restore = spent < best_restore ? spent : best_restore;
    }
    printf("lz/%-22s %6.3f of the bytes  compress %6.0f ns  restore %5.0f ns\n", name,
           (double)after / (double)before, best_compress / count, shrunk ? best_restore / (double)shrunk : 0);
}

/* The look-up of a class, with all the rules there may be: ports that have one and ports that have not. */
static void measure_class(void)
{
    enum { LOOKS = 200000, PACKETS = 256 };
    static lz_policy policy;
    static uint8_t packets[PACKETS][28];
    oxi_lz_rule rules[OXI_LZ_RULES_MAX];
    for (uint32_t i = 0; i < OXI_LZ_RULES_MAX; i++)
        rules[i] = (oxi_lz_rule){ .port = (uint16_t)(1000 + 7 * i), .protocol = 17, .dictionary = 1 };
    if (!lz_policy_set(&policy, rules, OXI_LZ_RULES_MAX))
        abort();
    for (uint32_t i = 0; i < PACKETS; i++) {
        packets[i][0] = 0x45;
        packets[i][9] = 17;
        store_be16(packets[i] + 20, (uint16_t)(40000 + 31 * i));
        store_be16(packets[i] + 22, (uint16_t)(1000 + i * 7 % 896));
    }
    double best = 1e18;
    uint32_t found = 0;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        double began = cpu_ns();
        for (uint32_t i = 0; i < LOOKS; i++)
            found += lz_class_of(&policy, packets[i % PACKETS], sizeof packets[0]) == 1;
        double spent = cpu_ns() - began;
        best = spent < best ? spent : best;
    }
    printf("lz/%-22s %6.3f of them have one  %5.1f ns\n", "class", (double)found / (ROUNDS * LOOKS),
           best / LOOKS);
}

static void payloads_read(const char *path)
{
    FILE *f = fopen(path, "rb");
    uint8_t head[2];
    while (f && count < PAYLOADS_MAX && fread(head, 1, 2, f) == 2) {
        payload *p = &payloads[count++];
        p->len = load_be16(head);
        if (p->len > PAYLOAD_BYTES_MAX - 64 || fread(p->bytes, 1, p->len, f) != p->len)
            abort();
    }
    if (!count)
        abort();
    fclose(f);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    payloads_read(argv[1]);
    number = (uint32_t)strtoul(argv[2], NULL, 10) % LZ_KNOWN;
    lz_indexes *indexes = calloc(1, lz_indexes_bytes());
    plane = calloc(1, lz_bytes());
    hc_ready = LZ4_createStreamHC();
    hc_work = LZ4_createStreamHC();
    if (!indexes || !plane || !hc_ready || !hc_work)
        abort();
    double began = cpu_ns();
    lz_indexes_init(indexes);
    fprintf(stderr, "indexes: %.1f ms, %zu bytes; plane: %zu bytes\n", (cpu_ns() - began) / 1e6,
            lz_indexes_bytes(), lz_bytes());
    lz_init(plane, indexes);
    const lz_dictionary *d = lz_dictionary_of(number);
    measure_class();
    LZ4_initStream(&fast_ready, sizeof fast_ready);
    LZ4_loadDict(&fast_ready, (const char *)d->text, (int)d->len);
    LZ4_resetStreamHC_fast(hc_ready, 9);
    LZ4_loadDictHC(hc_ready, (const char *)d->text, (int)d->len);
    measure("light", light);
    measure("hc", high);
    measure("longest", aggressive_alone);
    if (d->name) {
        measure("fast+dictionary", fast_dictionary);
        measure("hc+dictionary", high_dictionary);
        measure("aggressive", aggressive);
    }
    return 0;
}
