/* rlc_decoder.h - finds the contents that are missing from what repairs say of them, for one code stream.
 *
 * The caller keeps what it has received; the decoder keeps equations between what is missing, at most as many
 * as RLC_UNKNOWNS_MAX, and solves them as they come. What it has found the caller takes and keeps like the
 * rest: from then on it is a known member of windows. Every call takes bounded time, whatever a peer sends.
 *
 * A peer that contradicts itself (RLC_INCONSISTENT, RLC_BAD_SYMBOL) empties the decoder: nothing that was
 * computed from it can be trusted, and nothing of that step is given out. */
#ifndef OXI_RLC_DECODER_H
#define OXI_RLC_DECODER_H
#include "rlc.h"

enum { RLC_UNKNOWNS_MAX = 32 };

typedef struct rlc_decoder rlc_decoder;

typedef struct rlc_equation {
    uint32_t seed;   /* low 32 bits of the packet number of the datagram that brought it */
    uint64_t newest; /* frame->newest, expanded */
    rlc_frame frame; /* that rlc_frame_read() found good */
} rlc_equation;

typedef struct rlc_content {
    uint64_t sequence;
    uint16_t pn; /* low bits of the packet number of the datagram that was lost */
    uint32_t len;
    const uint8_t *bytes;
} rlc_content;

size_t rlc_decoder_bytes(void); /* of memory, 57,280, at a multiple of 64 */
rlc_decoder *rlc_decoder_init(void *memory);
void rlc_decoder_reset(rlc_decoder *d); /* nothing is missing */

/* An equation. members[i] is the symbol of the number `newest - i`, NULL: it is missing. If something is and
 * there is no room for it, the oldest numbers are given up. */
rlc_result rlc_decoder_add(rlc_decoder *d, const gf256_library *lib, const rlc_equation *e,
                           const uint8_t *const *members, uint64_t now_ns);
/* The symbol of this number has come after all, or again; found contents need not be told. */
rlc_result rlc_decoder_known(rlc_decoder *d, const gf256_library *lib, uint64_t sequence,
                             const uint8_t *symbol);
/* The next of what the last call has found, the oldest first; bytes are valid up to the next such call. */
bool rlc_decoder_next(rlc_decoder *d, rlc_content *out);
/* Give up what is missing for age_ns or longer; how many. */
uint32_t rlc_decoder_expire(rlc_decoder *d, const gf256_library *lib, uint64_t now_ns, uint64_t age_ns);

uint32_t rlc_decoder_unknowns(const rlc_decoder *d);
uint32_t rlc_decoder_equations(const rlc_decoder *d);
#endif
