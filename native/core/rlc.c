/* rlc.c - coefficients, symbols, and the REPAIR frame both ways. Solving is rlc_decoder.c. */
#include <assert.h>

#include "rlc.h"

static_assert((int)RLC_SYMBOL_ROOM >= (int)GF256_PADDED_MIN, "the longest symbol has the room that any has");

static const char *const NAMES[] = {
#define X(name, text) text,
    RLC_RESULTS(X)
#undef X
};

const char *rlc_result_name(uint32_t result) { return result < RLC_RESULT_COUNT ? NAMES[result] : NULL; }

/* Consecutive members and consecutive seeds are far apart by the odd factor (2^32 divided by the golden
 * ratio); the rest is the finalizer of MurmurHash3 (Appleby), which lets each bit count in all. */
uint8_t rlc_coefficient(uint32_t seed, uint16_t sequence)
{
    uint32_t x = seed + sequence * 0x9e3779b1U;
    x = (x ^ x >> 16) * 0x85ebca6bU;
    x = (x ^ x >> 13) * 0xc2b2ae35U;
    return (uint8_t)(1 + (((x ^ x >> 16) >> 16) * 255 >> 16));
}

uint64_t seq_expand(uint64_t newest, uint16_t low)
{
    return number_expand(newest, low, 16);
}

uint32_t rlc_symbol_write(uint8_t *at, uint16_t pn, const uint8_t *content, uint32_t len)
{
    OXI_ASSERT(len >= 1 && len <= RLC_CONTENT_MAX);
    return symbol_write(at, pn, content, len);
}

bool rlc_symbol_read(const uint8_t *symbol, uint32_t len, uint16_t *pn, uint32_t *content_len)
{
    if (len <= RLC_SYMBOL_HEAD)
        return false;
    *pn = load_be16(symbol);
    *content_len = load_be16(symbol + 2);
    if (*content_len == 0 || *content_len > len - RLC_SYMBOL_HEAD)
        return false;
    uint8_t behind = 0;
    for (uint32_t i = RLC_SYMBOL_HEAD + *content_len; i < len; i++)
        behind |= symbol[i];
    return behind == 0;
}

uint32_t rlc_frame_write(const gf256_library *lib, uint32_t seed, uint16_t newest,
                         const uint8_t *const *members, uint32_t count, uint8_t *out, uint32_t room)
{
    OXI_ASSERT(count >= 1 && count <= RLC_WINDOW_MAX);
    uint32_t len = 0;
    for (uint32_t i = 0; i < count; i++)
        len = (uint32_t)max_u64(len, rlc_symbol_len(members[i]));
    if (room < RLC_HEAD_BYTES + len)
        return 0;
    /* Not in place: each addition reads and writes all of it, and would cross cache lines there. */
    _Alignas(64) uint8_t sum[RLC_SYMBOL_ROOM];
    memset(sum, 0, gf256_padded(len));
    for (uint32_t i = 0; i < count; i++)
        lib->mul_add(sum, members[i], rlc_coefficient(seed, (uint16_t)(newest - i)),
                     gf256_padded(rlc_symbol_len(members[i])));
    store_be16(out, newest);
    out[2] = (uint8_t)count;
    memcpy(out + RLC_HEAD_BYTES, sum, len);
    return RLC_HEAD_BYTES + len;
}

rlc_result rlc_frame_read(const uint8_t *data, uint32_t len, rlc_frame *frame)
{
    if (len <= RLC_HEAD_BYTES + RLC_SYMBOL_HEAD)
        return RLC_TRUNCATED;
    if (len > RLC_HEAD_BYTES + RLC_SYMBOL_MAX)
        return RLC_BAD_LENGTH;
    *frame = (rlc_frame){ .newest = load_be16(data),
                          .count = data[2],
                          .len = len - RLC_HEAD_BYTES,
                          .symbol = data + RLC_HEAD_BYTES };
    return frame->count == 0 ? RLC_BAD_WINDOW : RLC_KEPT;
}
