/* rlc.c - nanoseconds of the repair code: a repair of W sources, and what one costs who receives it.
 *
 * Times are CPU time of the best of several rounds, as neighbours on the machine only ever add. Prints lines
 * `rlc/LIBRARY/WHAT  ns`; test_bench_rlc.py builds and runs it. */
#include "bench.h"

#include "../../native/core/rlc_decoder.h"
#include "../../native/include/oxi.h"
#include "../../native/io/field.h"

enum { ROUNDS = 30, REPEATS = 40, SOURCES = RLC_WINDOW_MAX, BODY_ROOM = RLC_HEAD_BYTES + RLC_SYMBOL_MAX,
       LOST_MAX = 16 };

static _Alignas(64) uint8_t symbols[SOURCES][RLC_SYMBOL_ROOM];
static uint8_t bodies[LOST_MAX][BODY_ROOM];
static const uint8_t *members[SOURCES]; /* the newest first */

static void sources_make(uint32_t len)
{
    uint8_t content[RLC_CONTENT_MAX];
    for (uint32_t i = 0; i < SOURCES; i++) {
        for (uint32_t k = 0; k < len; k++)
            content[k] = (uint8_t)(k * 7 + i * 13);
        rlc_symbol_write(symbols[i], (uint16_t)i, content, len);
        members[i] = symbols[i];
    }
}

static uint32_t repair_make(const gf256_library *lib, uint32_t seed, uint32_t window, uint8_t *body)
{
    uint32_t len = rlc_frame_write(lib, seed, 1000, members, window, body, BODY_ROOM);
    if (!len)
        abort();
    return len;
}

static void measure_repair(const gf256_library *lib, uint32_t window, uint32_t len)
{
    double best = 1e18;
    sources_make(len);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        double began = cpu_ns();
        for (uint32_t i = 0; i < REPEATS; i++)
            repair_make(lib, i, window, bodies[0]);
        double spent = (cpu_ns() - began) / REPEATS;
        best = spent < best ? spent : best;
    }
    printf("rlc/%s/repair-of-%ux%-5u %9.0f ns\n", lib->name, window, len, best);
}

/* `lost` repairs of one window in which as many are missing, each received once. */
static void measure_decoder(const gf256_library *lib, rlc_decoder *d, uint32_t window, uint32_t len,
                            uint32_t lost)
{
    double best = 1e18;
    uint32_t bytes = 0, repairs = lost ? lost : 1;
    sources_make(len);
    for (uint32_t i = 0; i < repairs; i++)
        bytes = repair_make(lib, i, window, bodies[i]);
    for (uint32_t i = 0; i < lost; i++)
        members[i * window / lost] = NULL;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        double began = cpu_ns();
        for (uint32_t i = 0; i < REPEATS * repairs; i++) {
            rlc_equation e = { .seed = i % repairs, .newest = 1000 };
            if (rlc_frame_read(bodies[i % repairs], bytes, &e.frame) != RLC_KEPT)
                abort();
            rlc_result result = rlc_decoder_add(d, lib, &e, members, 0);
            bool is_last = i % repairs == repairs - 1;
            if (result != (!lost ? RLC_NOTHING_MISSING : is_last ? RLC_RECOVERED : RLC_KEPT))
                abort();
        }
        double spent = (cpu_ns() - began) / (REPEATS * repairs);
        best = spent < best ? spent : best;
    }
    printf("rlc/%s/take-%u-lost-of-%ux%-5u %9.0f ns\n", lib->name, lost, window, len, best);
}

int main(void)
{
    size_t bytes = (rlc_decoder_bytes() + 63) / 64 * 64;
    rlc_decoder *d = rlc_decoder_init(aligned_alloc(64, bytes));
    fprintf(stderr, "decoder: %zu bytes\n", bytes);
    for (uint32_t number = OXI_GF256_PORTABLE; number <= OXI_GF256_ISAL; number++) {
        const gf256_library *lib = field_library(number);
        if (!lib)
            continue;
        measure_repair(lib, 6, 1200);
        measure_repair(lib, 32, 1200);
        measure_repair(lib, 64, 1200);
        measure_repair(lib, 6, 160);
        measure_repair(lib, 250, 1400);
        measure_decoder(lib, d, 250, 1400, 0);
        measure_decoder(lib, d, 64, 1200, 1);
        measure_decoder(lib, d, 64, 1200, 16);
        measure_decoder(lib, d, 250, 1400, 2);
    }
    return 0;
}
