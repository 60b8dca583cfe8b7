/* boundary_rlc.c - the door to the repair code without a plane: one end of a code stream, which sends,
 * receives, or both. */
#include <assert.h>
#include <stdlib.h>

#include "core/rlc_decoder.h"
#include "include/oxi.h"
#include "io/field.h"

enum { HELD_RING = OXI_RLC_HELD, ALIGNMENT = 64 };

static_assert((int)OXI_RLC_CONTENT_MAX == (int)RLC_CONTENT_MAX, "oxi.h tells the largest content");
static_assert((int)OXI_RLC_WINDOW_MAX == (int)RLC_WINDOW_MAX, "oxi.h tells the widest window");
static_assert((int)OXI_RLC_FRAME_ROOM == (int)RLC_HEAD_BYTES + (int)RLC_SYMBOL_MAX,
              "oxi.h tells the room of a frame");
static_assert((HELD_RING & (HELD_RING - 1)) == 0, "ring index is a mask");

typedef struct held {
    bool is_there;
    uint64_t sequence;
    uint8_t symbol[RLC_SYMBOL_ROOM];
} held;

struct oxi_rlc {
    const gf256_library *library;
    rlc_decoder *decoder;
    held ring[HELD_RING];
};

const char *oxi_gf256_trouble(uint32_t library) { return field_trouble(library); }

int oxi_gf256_mul_add(uint32_t library, uint8_t *dest, const uint8_t *src, uint32_t coefficient,
                      uint32_t len)
{
    const gf256_library *l = library <= OXI_GF256_ISAL ? field_library(library) : NULL;
    if (!l || !dest || !src || coefficient > UINT8_MAX || len > OXI_DATAGRAM_MAX || len != gf256_padded(len))
        return OXI_E_ARG;
    l->mul_add(dest, src, (uint8_t)coefficient, len);
    return OXI_OK;
}

int oxi_gf256_inverse(uint32_t element)
{
    return element > UINT8_MAX ? OXI_E_ARG : gf256_inverse((uint8_t)element);
}

const char *oxi_rlc_result_name(uint32_t result) { return rlc_result_name(result); }

int oxi_rlc_coefficient(uint32_t seed, uint32_t sequence)
{
    return sequence > UINT16_MAX ? OXI_E_ARG : rlc_coefficient(seed, (uint16_t)sequence);
}

uint64_t oxi_rlc_expand(uint64_t newest, uint32_t low) { return seq_expand(newest, (uint16_t)low); }

oxi_rlc *oxi_rlc_new(uint32_t library)
{
    const gf256_library *l = library <= OXI_GF256_ISAL ? field_library(library) : NULL;
    oxi_rlc *r = l ? calloc(1, sizeof *r) : NULL;
    size_t bytes = (rlc_decoder_bytes() + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    void *decoder = r ? aligned_alloc(ALIGNMENT, bytes) : NULL;
    if (!decoder) {
        free(r);
        return NULL;
    }
    r->library = l;
    r->decoder = rlc_decoder_init(decoder);
    return r;
}

void oxi_rlc_free(oxi_rlc *r)
{
    if (!r)
        return;
    free(r->decoder);
    free(r);
}

static const uint8_t *symbol_of(const oxi_rlc *r, uint64_t sequence)
{
    const held *h = &r->ring[sequence & (HELD_RING - 1)];
    return h->is_there && h->sequence == sequence ? h->symbol : NULL;
}

static const uint8_t *keep(oxi_rlc *r, uint64_t sequence, uint16_t pn, const uint8_t *content, uint32_t len)
{
    held *h = &r->ring[sequence & (HELD_RING - 1)];
    h->is_there = true;
    h->sequence = sequence;
    rlc_symbol_write(h->symbol, pn, content, len);
    return h->symbol;
}

int oxi_rlc_known(oxi_rlc *r, uint64_t sequence, uint32_t pn, const uint8_t *content, uint32_t len)
{
    if (!r || pn > UINT16_MAX || !content || len == 0 || len > RLC_CONTENT_MAX)
        return OXI_E_ARG;
    const uint8_t *symbol = keep(r, sequence, (uint16_t)pn, content, len);
    return (int)rlc_decoder_known(r->decoder, r->library, sequence, symbol);
}

int oxi_rlc_repair(oxi_rlc *r, uint32_t seed, uint64_t newest, uint32_t count, uint8_t *out,
                   uint32_t *len_out)
{
    if (!r || count == 0 || count > RLC_WINDOW_MAX || newest < count - 1 || !out || !len_out)
        return OXI_E_ARG;
    const uint8_t *members[RLC_WINDOW_MAX];
    for (uint32_t i = 0; i < count; i++) {
        members[i] = symbol_of(r, newest - i);
        if (!members[i])
            return OXI_E_ABSENT;
    }
    *len_out = rlc_frame_write(r->library, seed, (uint16_t)newest, members, count, out,
                               OXI_RLC_FRAME_ROOM);
    return OXI_OK;
}

int oxi_rlc_add(oxi_rlc *r, uint32_t seed, uint64_t newest, const uint8_t *body, uint32_t len,
                uint64_t now_ns)
{
    if (!r || !body)
        return OXI_E_ARG;
    rlc_equation e = { .seed = seed };
    rlc_result result = rlc_frame_read(body, len, &e.frame);
    if (result != RLC_KEPT)
        return (int)result;
    e.newest = seq_expand(newest, e.frame.newest);
    const uint8_t *members[RLC_WINDOW_MAX];
    for (uint32_t i = 0; i < e.frame.count; i++)
        members[i] = e.newest < i ? NULL : symbol_of(r, e.newest - i);
    return (int)rlc_decoder_add(r->decoder, r->library, &e, members, now_ns);
}

int oxi_rlc_next(oxi_rlc *r, uint64_t *sequence_out, uint32_t *pn_out, uint8_t *out, uint32_t *len_out)
{
    rlc_content c;
    if (!r || !sequence_out || !pn_out || !out || !len_out)
        return OXI_E_ARG;
    if (!rlc_decoder_next(r->decoder, &c))
        return 0;
    keep(r, c.sequence, c.pn, c.bytes, c.len);
    *sequence_out = c.sequence;
    *pn_out = c.pn;
    *len_out = c.len;
    memcpy(out, c.bytes, c.len);
    return 1;
}

int oxi_rlc_expire(oxi_rlc *r, uint64_t now_ns, uint64_t age_ns)
{
    return r ? (int)rlc_decoder_expire(r->decoder, r->library, now_ns, age_ns) : OXI_E_ARG;
}

int oxi_rlc_state_read(const oxi_rlc *r, uint32_t *unknowns_out, uint32_t *equations_out)
{
    if (!r || !unknowns_out || !equations_out)
        return OXI_E_ARG;
    *unknowns_out = rlc_decoder_unknowns(r->decoder);
    *equations_out = rlc_decoder_equations(r->decoder);
    return OXI_OK;
}
