/* bytes.h - big-endian loads and stores, and cursors that go bad and stay bad: one check at the end. */
#ifndef OXI_BYTES_H
#define OXI_BYTES_H
#include "base.h"

static inline uint16_t load_be16(const uint8_t *p) { return (uint16_t)((p[0] << 8) | p[1]); }
static inline uint32_t load_be32(const uint8_t *p)
{
    return ((uint32_t)p[0] << 24) | ((uint32_t)p[1] << 16) | ((uint32_t)p[2] << 8) | p[3];
}
static inline uint64_t load_be64(const uint8_t *p)
{
    return ((uint64_t)load_be32(p) << 32) | load_be32(p + 4);
}
static inline void store_be16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}
static inline void store_be32(uint8_t *p, uint32_t v)
{
    store_be16(p, (uint16_t)(v >> 16));
    store_be16(p + 2, (uint16_t)v);
}
static inline void store_be64(uint8_t *p, uint64_t v)
{
    store_be32(p, (uint32_t)(v >> 32));
    store_be32(p + 4, (uint32_t)v);
}

/* The number nearest to `near` whose low bits these are (RFC 9000, appendix A.3). */
static inline uint64_t number_expand(uint64_t near, uint64_t low, uint32_t bits)
{
    const uint64_t span = 1ULL << bits;
    uint64_t number = (near & ~(span - 1)) | low;
    if (number + span / 2 <= near)
        return number + span;
    return number > near + span / 2 && number >= span ? number - span : number;
}

/* Reads past the end return 0 and make the cursor bad. */
typedef struct reader {
    const uint8_t *at;
    const uint8_t *end;
    bool is_bad;
} reader;

static inline reader reader_of(const uint8_t *data, size_t len)
{
    return (reader){.at = data, .end = data + len, .is_bad = false};
}
static inline size_t reader_left(const reader *r) { return (size_t)(r->end - r->at); }
static inline const uint8_t *read_bytes(reader *r, size_t n)
{
    if (r->is_bad || reader_left(r) < n) {
        r->is_bad = true;
        return NULL;
    }
    const uint8_t *p = r->at;
    r->at += n;
    return p;
}
static inline uint8_t read_u8(reader *r)
{
    const uint8_t *p = read_bytes(r, 1);
    return p ? p[0] : 0;
}
static inline uint64_t read_be64(reader *r)
{
    const uint8_t *p = read_bytes(r, 8);
    return p ? load_be64(p) : 0;
}
/* QUIC variable-length integer, RFC 9000 section 16: 1, 2, 4 or 8 bytes, 62 bits. */
static inline uint64_t read_varint(reader *r)
{
    const uint8_t *p = read_bytes(r, 1);
    if (!p)
        return 0;
    size_t more = ((size_t)1 << (p[0] >> 6)) - 1;
    const uint8_t *q = read_bytes(r, more);
    if (!q)
        return 0;
    uint64_t v = p[0] & 0x3f;
    for (size_t i = 0; i < more; i++)
        v = (v << 8) | q[i];
    return v;
}

/* Writes past the end do nothing and make the cursor bad. */
typedef struct writer {
    uint8_t *at;
    uint8_t *end;
    bool is_bad;
} writer;

static inline writer writer_of(uint8_t *data, size_t cap)
{
    return (writer){.at = data, .end = data + cap, .is_bad = false};
}
static inline size_t writer_left(const writer *w) { return (size_t)(w->end - w->at); }
static inline uint8_t *write_space(writer *w, size_t n)
{
    if (w->is_bad || writer_left(w) < n) {
        w->is_bad = true;
        return NULL;
    }
    uint8_t *p = w->at;
    w->at += n;
    return p;
}
static inline void write_u8(writer *w, uint8_t v)
{
    uint8_t *p = write_space(w, 1);
    if (p)
        p[0] = v;
}
static inline void write_be64(writer *w, uint64_t v)
{
    uint8_t *p = write_space(w, 8);
    if (p)
        store_be64(p, v);
}
static inline size_t varint_bytes(uint64_t v)
{
    return v < (1ULL << 6) ? 1 : v < (1ULL << 14) ? 2 : v < (1ULL << 30) ? 4 : 8;
}
static inline void write_varint(writer *w, uint64_t v)
{
    OXI_ASSERT(v < (1ULL << 62));
    size_t n = varint_bytes(v);
    uint8_t *p = write_space(w, n);
    if (!p)
        return;
    for (size_t i = n; i-- > 0; v >>= 8)
        p[i] = (uint8_t)v;
    p[0] = (uint8_t)(p[0] | (n == 1 ? 0x00 : n == 2 ? 0x40 : n == 4 ? 0x80 : 0xc0));
}
#endif
