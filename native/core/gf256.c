/* gf256.c - GF(2^8) without any library, and the check of those who do it faster.
 *
 * The portable code doubles all lanes eight times and adds those doublings that the coefficient names: no
 * table, so nothing to prepare, and the compiler's vectors make it a third of a nanosecond for each byte. */
#include <assert.h>

#include "gf256.h"

enum { LANES = 16, CHECK_BYTES_MAX = 1600 };

static_assert(GF256_STEP % LANES == 0, "no tail");

typedef uint8_t lanes __attribute__((vector_size(LANES)));
typedef int8_t signed_lanes __attribute__((vector_size(LANES)));

static void portable_mul_add(uint8_t *dest, const uint8_t *src, uint8_t coefficient, uint32_t padded)
{
    const uint8_t low_bits = (uint8_t)GF256_POLYNOMIAL;
    for (uint32_t at = 0; at < padded; at += LANES) {
        lanes x, sum;
        memcpy(&x, src + at, LANES);
        memcpy(&sum, dest + at, LANES);
        for (uint32_t bits = coefficient; bits; bits >>= 1) {
            if (bits & 1)
                sum ^= x;
            x = (x + x) ^ ((lanes)((signed_lanes)x < 0) & low_bits);
        }
        memcpy(dest + at, &sum, LANES);
    }
}

const gf256_library GF256_PORTABLE = { .name = "portable", .mul_add = portable_mul_add };

uint8_t gf256_mul(uint8_t a, uint8_t b)
{
    uint32_t x = a, sum = 0;
    for (uint32_t bits = b; bits; bits >>= 1) {
        sum ^= bits & 1 ? x : 0;
        x = x << 1 ^ (x & 0x80 ? GF256_POLYNOMIAL : 0);
    }
    return (uint8_t)sum;
}

uint8_t gf256_inverse(uint8_t a)
{
    /* The group has 255 members: a^254 is the inverse, and 254 is all bits but the lowest. */
    uint8_t power = a, product = 1;
    for (uint32_t i = 0; i < 7; i++) {
        power = gf256_mul(power, power);
        product = gf256_mul(product, power);
    }
    return product;
}

static bool is_right(const gf256_library *library, uint8_t coefficient, uint32_t padded)
{
    uint8_t src[CHECK_BYTES_MAX + 1], dest[CHECK_BYTES_MAX + 1];
    /* Behind an odd address, as a symbol within a datagram is; both hold every byte there is. */
    for (uint32_t i = 0; i < sizeof src; i++) {
        src[i] = (uint8_t)(i * 167 + coefficient);
        dest[i] = (uint8_t)(i * 91 + padded / GF256_STEP);
    }
    library->mul_add(dest + 1, src + 1, coefficient, padded);
    for (uint32_t i = 0; i < sizeof src; i++) {
        uint8_t before = (uint8_t)(i * 91 + padded / GF256_STEP);
        bool is_within = i >= 1 && i <= padded;
        if (dest[i] != (is_within ? before ^ gf256_mul(src[i], coefficient) : before))
            return false;
    }
    return true;
}

const char *gf256_check(const gf256_library *library)
{
    for (uint32_t coefficient = 0; coefficient < 256; coefficient++)
        if (!is_right(library, (uint8_t)coefficient, 256))
            return "a product";
    for (uint32_t padded = GF256_PADDED_MIN; padded <= CHECK_BYTES_MAX; padded += GF256_STEP)
        if (!is_right(library, (uint8_t)(padded / GF256_STEP * 53), padded))
            return "a length";
    return NULL;
}
