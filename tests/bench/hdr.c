/* hdr.c - nanoseconds per header, compressed and restored, for a flow of each kind in its steady state.
 *
 * One packet in each datagram, acknowledged two packets later. The best of several rounds, as neighbours on
 * the machine only ever add. Prints lines `hdr/KIND  compress ns  restore ns  header bytes`;
 * test_bench_plane.py builds and runs it. */
#include "bench.h"

#include "../../native/core/bytes.h"
#include "../../native/core/checksum.h"
#include "../../native/core/hdr.h"

enum { PACKETS = 4000, ROUNDS = 9, IN_FLIGHT = 2, PACKET_MAX = 1500, L4_AT = 20 };

typedef struct kind {
    const char *name;
    uint8_t protocol;
    uint32_t l4_bytes;
    uint32_t payload_bytes;
} kind;

static const kind KINDS[] = { { "rtp", 17, 20, 20 },    { "udp", 17, 8, 60 },      { "esp", 50, 8, 80 },
                              { "icmp", 1, 8, 56 },     { "tcp-acks", 6, 32, 0 },  { "tcp-inter", 6, 32, 36 },
                              { "tcp-bulk", 6, 32, 1448 } };

static uint8_t packets[PACKETS][PACKET_MAX];
static uint8_t items[PACKETS][HDR_CODED_MAX + PACKET_MAX];
static uint32_t lens[PACKETS], item_lens[PACKETS];
static uint64_t bytes_total;

static void l4_fill(const kind *k, uint8_t *l4, uint32_t i, uint32_t total)
{
    bool is_acks = k->protocol == 6 && k->payload_bytes == 0;
    store_be16(l4, k->l4_bytes == 8 ? 40001 : 16384);
    store_be16(l4 + 2, k->l4_bytes == 8 ? 5001 : 16386);
    if (k->protocol == 17) {
        store_be16(l4 + 4, (uint16_t)(total - L4_AT));
        if (k->l4_bytes > 8) {
            l4[8] = 0x80;
            store_be16(l4 + 10, (uint16_t)i);
            store_be32(l4 + 12, 160 * i);
        }
    } else if (k->protocol == 50) {
        store_be32(l4 + 4, i);
    } else if (k->protocol == 1) {
        l4[0] = 8;
        l4[1] = l4[2] = l4[3] = 0;
        store_be16(l4 + 6, (uint16_t)i);
    } else {
        store_be32(l4 + 4, is_acks ? 77 : i * k->payload_bytes);
        store_be32(l4 + 8, is_acks ? i * 2896 + i % 7 * 1448 : 99);
        l4[12] = 0x80;
        l4[13] = 0x10;
        store_be16(l4 + 14, 501);
        store_be32(l4 + 20, 0x0101080a);
        store_be32(l4 + 24, 1000 + i / 2);
        store_be32(l4 + 28, 5000 + i / 4 * 2);
    }
}

static void packet_fill(const kind *k, uint32_t i)
{
    uint8_t *p = packets[i], *l4 = p + L4_AT;
    uint32_t total = L4_AT + k->l4_bytes + k->payload_bytes;
    memset(p, 0, PACKET_MAX);
    p[0] = 0x45;
    p[1] = k->l4_bytes == 20 ? 0xb8 : 0;
    store_be16(p + 2, (uint16_t)total);
    store_be16(p + 4, (uint16_t)(i + 1));
    p[8] = 64;
    p[9] = k->protocol;
    store_be32(p + 12, 0x0a010002);
    store_be32(p + 16, 0x0a020003);
    ipv4_header_sum(p, L4_AT);
    for (uint32_t b = L4_AT + k->l4_bytes; b < total; b++)
        p[b] = (uint8_t)(b * 31 + i);
    l4_fill(k, l4, i, total);
    uint64_t pseudo = k->protocol == 1 ? 0 : sum_pseudo(p + 12, false, k->protocol, total - L4_AT);
    uint32_t at = k->protocol == 17 ? 6 : k->protocol == 1 ? 2 : k->protocol == 6 ? 16 : 0;
    if (at)
        sum_store(l4 + at, (uint16_t)~sum_fold(sum_add(pseudo, l4, total - L4_AT)));
    lens[i] = total;
}

static double round_compress(hdr_tx *tx, replay *acked)
{
    static hdr_result results[PACKETS];
    bytes_total = 0;
    double begin = wall_ns();
    for (uint32_t i = 0; i < PACKETS; i++) {
        if (i >= IN_FLIGHT)
            replay_mark(&acked[0], i - IN_FLIGHT);
        bool is_coded = hdr_compress(tx, acked, 0, i, packets[i], lens[i], items[i], &results[i]);
        if (!is_coded)
            abort();
    }
    double spent = (wall_ns() - begin) / PACKETS;
    for (uint32_t i = 0; i < PACKETS; i++) {
        const hdr_result *r = &results[i];
        memcpy(items[i] + r->coded_bytes, packets[i] + r->header_bytes, lens[i] - r->header_bytes);
        item_lens[i] = lens[i] - r->header_bytes + r->coded_bytes;
        bytes_total += r->coded_bytes - r->flow_bytes;
    }
    return spent;
}

static double round_restore(hdr_rx *rx)
{
    static uint8_t out[PACKETS][HDR_CODED_MAX];
    static hdr_result results[PACKETS];
    double begin = wall_ns();
    for (uint32_t i = 0; i < PACKETS; i++) {
        if (hdr_restore(rx, 0, i, items[i], item_lens[i], out[i], PACKET_MAX, &results[i]) != HDR_OK)
            abort();
    }
    double spent = (wall_ns() - begin) / PACKETS;
    for (uint32_t i = 0; i < PACKETS; i++) {
        if (memcmp(out[i], packets[i], results[i].header_bytes) != 0)
            abort();
    }
    return spent;
}

static void measure(const kind *k, void *tx_memory, void *rx_memory)
{
    static replay acked[OXI_PATHS_MAX];
    double best_compress = 1e12, best_restore = 1e12;
    for (uint32_t i = 0; i < PACKETS; i++)
        packet_fill(k, i);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        memset(acked, 0, sizeof acked);
        double compress = round_compress(hdr_tx_init(tx_memory, HDR_FLOWS_DEFAULT, 1), acked);
        double restore = round_restore(hdr_rx_init(rx_memory, HDR_FLOWS_DEFAULT));
        best_compress = compress < best_compress ? compress : best_compress;
        best_restore = restore < best_restore ? restore : best_restore;
    }
    char name[32];
    snprintf(name, sizeof name, "hdr/%s", k->name);
    printf("%-16s compress %5.0f ns  restore %5.0f ns  %.2f bytes\n", name, best_compress, best_restore,
           (double)bytes_total / PACKETS);
}

int main(void)
{
    void *tx = aligned_alloc(64, (hdr_tx_bytes(HDR_FLOWS_DEFAULT) + 63) / 64 * 64);
    void *rx = aligned_alloc(64, (hdr_rx_bytes(HDR_FLOWS_DEFAULT) + 63) / 64 * 64);
    if (!tx || !rx)
        return 1;
    printf("%-16s %zu and %zu bytes for %d flows\n", "hdr/memory", hdr_tx_bytes(HDR_FLOWS_DEFAULT),
           hdr_rx_bytes(HDR_FLOWS_DEFAULT), HDR_FLOWS_DEFAULT);
    for (size_t i = 0; i < sizeof KINDS / sizeof KINDS[0]; i++)
        measure(&KINDS[i], tx, rx);
    free(tx);
    free(rx);
    return 0;
}
