/* gf256_isal.c - the same through Intel's ISA-L, which has code for each width of vectors.
 *
 * Its entry points are looked up when the daemon starts, so one build runs with and without. Used are the two
 * that belong together in every version: ec_init_tables(), whose tables have another form where the processor
 * has GFNI, and ec_encode_data_update(), which knows that form. The table of each coefficient is made once.
 * One source after the other, as here, is as fast as ec_encode_data() over all of them for 64 sources of
 * 1,200 bytes and faster for more: what is summed up stays in the first cache, and sources are read straight
 * through; and they may differ in length. */
#include "gf256.h"

enum { TABLE_BYTES = 32 };

/* len, sources, rows, which source, tables, that source, rows */
typedef void update_fn(int, int, int, int, unsigned char *, unsigned char *, unsigned char **);
typedef void tables_fn(int, int, unsigned char *, unsigned char *); /* sources, rows, coefficients, tables */

static update_fn *update;
static _Alignas(64) uint8_t tables[256][TABLE_BYTES];

static void isal_mul_add(uint8_t *dest, const uint8_t *src, uint8_t coefficient, uint32_t padded)
{
    /* It reads tables and source, whatever its types say. */
    update((int)padded, 1, 1, 0, tables[coefficient], (uint8_t *)(uintptr_t)src, &dest);
}

const gf256_library GF256_ISAL = { .name = "isa-l", .mul_add = isal_mul_add };

const char *gf256_isal_start(gf256_symbol_fn *symbol)
{
    tables_fn *make = (tables_fn *)symbol("ec_init_tables");
    update = (update_fn *)symbol("ec_encode_data_update");
    if (!make || !update)
        return "does not have the names that ISA-L has";
    for (uint32_t i = 0; i < 256; i++) {
        uint8_t coefficient = (uint8_t)i;
        make(1, 1, &coefficient, tables[i]);
    }
    return NULL;
}
