/* rlc.h - the repair code (PROTOCOL.md section 11): a random linear code over GF(2^8) on a sliding window.
 *
 * A *symbol* is a content with a head that says whose it is; a *repair* is the sum of the symbols of a
 * window, each times a coefficient that both ends compute. Members of a window are consecutive numbers of one
 * code stream. Symbols lie in memory with zeros behind them up to gf256_padded(), best at multiples of 32. */
#ifndef OXI_RLC_H
#define OXI_RLC_H
#include "bytes.h"
#include "gf256.h"

/* Specification: changing one of these breaks the wire. */
enum {
    RLC_HEAD_BYTES = 3,         /* of a REPAIR frame after its type: newest 2, count 1 */
    RLC_SYMBOL_HEAD = 4,        /* packet number 2, length 2 */
    RLC_CONTENT_MAX = 1536,     /* larger contents are not protected */
    RLC_SYMBOL_MAX = RLC_SYMBOL_HEAD + RLC_CONTENT_MAX,
    RLC_WINDOW_MAX = 255
};

enum { RLC_SYMBOL_ROOM = (RLC_SYMBOL_MAX + GF256_STEP - 1) / GF256_STEP * GF256_STEP };

/* What becomes of a REPAIR frame or of a content for the decoder. The first four are good. */
#define RLC_RESULTS(X)                                                                                       \
    X(KEPT, "rlc-kept")                       /* of use later */                                             \
    X(RECOVERED, "rlc-recovered")             /* rlc_decoder_next() has contents */                          \
    X(NOTHING_MISSING, "rlc-nothing-missing") /* nothing was computed */                                     \
    X(REDUNDANT, "rlc-redundant")             /* says nothing new */                                         \
    X(TOO_MANY, "rlc-too-many")               /* more is missing than a decoder holds */                     \
    X(TRUNCATED, "rlc-truncated")             /* shorter than a head and the shortest symbol */              \
    X(BAD_LENGTH, "rlc-bad-length")           /* a symbol longer than there may be */                        \
    X(BAD_WINDOW, "rlc-bad-window")           /* no member, or one before the first */                       \
    X(INCONSISTENT, "rlc-inconsistent")       /* contradicts what is known */                                \
    X(BAD_SYMBOL, "rlc-bad-symbol")           /* what came out can not be a content */

typedef enum rlc_result {
#define X(name, text) RLC_##name,
    RLC_RESULTS(X)
#undef X
    RLC_RESULT_COUNT
} rlc_result;

const char *rlc_result_name(uint32_t result); /* NULL past the last */

/* 1..255. seed: low 32 bits of the packet number that carries the repair; sequence: that of the member. */
uint8_t rlc_coefficient(uint32_t seed, uint16_t sequence);

/* The number with these low bits that is nearest to `newest`. */
uint64_t seq_expand(uint64_t newest, uint16_t low);

/* A content as symbol with its padding: at has room for gf256_padded(RLC_SYMBOL_HEAD + len) bytes. len: 1 to
 * RLC_CONTENT_MAX. Returns the padded length. */
uint32_t rlc_symbol_write(uint8_t *at, uint16_t pn, const uint8_t *content, uint32_t len);
/* The same of a content of any length: what is longer than RLC_CONTENT_MAX is kept as others are, and never a
 * member of a window. */
static inline uint32_t symbol_write(uint8_t *at, uint16_t pn, const uint8_t *content, uint32_t len)
{
    uint32_t padded = gf256_padded(RLC_SYMBOL_HEAD + len);
    store_be16(at, pn);
    store_be16(at + 2, (uint16_t)len);
    memcpy(at + RLC_SYMBOL_HEAD, content, len);
    memset(at + RLC_SYMBOL_HEAD + len, 0, padded - RLC_SYMBOL_HEAD - len);
    return padded;
}
/* The content length that a symbol tells. False: len bytes can not be such a symbol with zeros behind it. */
bool rlc_symbol_read(const uint8_t *symbol, uint32_t len, uint16_t *pn, uint32_t *content_len);
/* Of a symbol that rlc_symbol_write() made. */
static inline uint32_t rlc_symbol_len(const uint8_t *symbol)
{
    return RLC_SYMBOL_HEAD + (uint32_t)load_be16(symbol + 2);
}

/* The body of a REPAIR frame, from after its type to the end of the datagram. */
typedef struct rlc_frame {
    uint16_t newest; /* low bits of the sequence of the newest member */
    uint8_t count;   /* of members: newest, newest - 1, ... */
    uint32_t len;    /* of the symbol */
    const uint8_t *symbol;
} rlc_frame;

/* Make and write one: members are symbols, newest first. Returns its bytes, RLC_HEAD_BYTES and those of the
 * longest symbol; 0: there is no such room. */
uint32_t rlc_frame_write(const gf256_library *lib, uint32_t seed, uint16_t newest,
                         const uint8_t *const *members, uint32_t count, uint8_t *out, uint32_t room);
/* RLC_KEPT, or what is wrong. frame->symbol points into data. */
rlc_result rlc_frame_read(const uint8_t *data, uint32_t len, rlc_frame *frame);
#endif
