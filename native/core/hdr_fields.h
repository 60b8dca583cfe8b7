/* hdr_fields.h - codings of single fields, both directions: numbers of 7 bits a byte, differences in
 * zig-zag. */
#ifndef OXI_HDR_FIELDS_H
#define OXI_HDR_FIELDS_H
#include "bytes.h"

enum { NUMBER_BYTES_MAX = 5 };

static inline void write_be16(writer *w, uint16_t v)
{
    uint8_t *p = write_space(w, 2);
    if (p)
        store_be16(p, v);
}
static inline uint16_t read_be16(reader *r)
{
    const uint8_t *p = read_bytes(r, 2);
    return p ? load_be16(p) : 0;
}
static inline void write_be32(writer *w, uint32_t v)
{
    uint8_t *p = write_space(w, 4);
    if (p)
        store_be32(p, v);
}
static inline uint32_t read_be32(reader *r)
{
    const uint8_t *p = read_bytes(r, 4);
    return p ? load_be32(p) : 0;
}

/* Low 7 bits first, the top bit says that more follow. */
static inline void write_number(writer *w, uint32_t v)
{
    for (; v >= 0x80; v >>= 7)
        write_u8(w, (uint8_t)(v | 0x80));
    write_u8(w, (uint8_t)v);
}
/* One that does not fit 32 bits makes the reader bad. */
static inline uint32_t read_number(reader *r)
{
    uint64_t v = 0;
    for (uint32_t i = 0; i < NUMBER_BYTES_MAX; i++) {
        uint8_t b = read_u8(r);
        v |= (uint64_t)(b & 0x7f) << (7 * i);
        if (!(b & 0x80)) {
            r->is_bad |= v > UINT32_MAX;
            return (uint32_t)v;
        }
    }
    r->is_bad = true;
    return 0;
}

/* 0, -1, 1, -2, 2 ... become 0, 1, 2, 3, 4 ... */
static inline uint32_t zigzag(uint32_t v) { return (v << 1) ^ (v >> 31 ? UINT32_MAX : 0); }
static inline uint32_t unzigzag(uint32_t v) { return (v >> 1) ^ (v & 1 ? UINT32_MAX : 0); }
static inline uint32_t widen16(uint16_t v) { return (uint32_t)(int32_t)(int16_t)v; }
#endif
