/* gf256.h - arithmetic in GF(2^8) over whole packets, with the polynomial x^8 + x^4 + x^3 + x^2 + 1 (0x11d).
 *
 * Addition is exclusive or. Whoever computes stands behind gf256_library: the portable code of gf256.c, or
 * ISA-L where it is installed and has passed gf256_check(). Both work on buffers of padded length. */
#ifndef OXI_GF256_H
#define OXI_GF256_H
#include "base.h"

enum {
    GF256_POLYNOMIAL = 0x11d,
    /* ISA-L's code for AVX-512 wants 64 bytes at least; multiples of 32 leave no tail to that for AVX2. */
    GF256_PADDED_MIN = 64,
    GF256_STEP = 32
};

typedef struct gf256_library {
    const char *name;
    /* dest += coefficient * src. `padded` bytes of both, as gf256_padded() gives them, of any alignment; they
     * do not overlap. */
    void (*mul_add)(uint8_t *dest, const uint8_t *src, uint8_t coefficient, uint32_t padded);
} gf256_library;

extern const gf256_library GF256_PORTABLE;
extern const gf256_library GF256_ISAL; /* of no use before gf256_isal_start() said so */

/* The length of a buffer for len bytes, zeros behind them. */
static inline uint32_t gf256_padded(uint32_t len)
{
    uint32_t padded = (len + GF256_STEP - 1) / GF256_STEP * GF256_STEP;
    return padded < GF256_PADDED_MIN ? GF256_PADDED_MIN : padded;
}

uint8_t gf256_mul(uint8_t a, uint8_t b);
uint8_t gf256_inverse(uint8_t a); /* of 0: 0 */

/* The address of an exported name; NULL: there is none. */
typedef void *gf256_symbol_fn(const char *name);
/* Make ISA-L ready, from the shared library that `symbol` looks into; once. NULL: it is. Else why not. */
const char *gf256_isal_start(gf256_symbol_fn *symbol);
/* Whether a library computes what gf256_mul() says, with every coefficient and at every length
 * of a packet, and writes nothing beside. NULL: all good. Else what is not. */
const char *gf256_check(const gf256_library *library);
#endif
