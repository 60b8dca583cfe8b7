/* repair_frames.c - REPEAT and ABANDON, both ways (PROTOCOL.md section 3.2). */
#include "bytes.h"
#include "frames.h"
#include "stages.h"
#include "wire.h"

uint32_t repeat_write(uint32_t path_id, uint64_t pn, uint8_t *out)
{
    out[0] = FRAME_PROMPT;
    out[1] = FRAME_REPEAT;
    out[2] = (uint8_t)path_id;
    store_be32(out + 3, (uint32_t)pn);
    return REPEAT_BYTES;
}

/* Behind the type. What it repeats was sent on a path before this datagram: on the same path it has a smaller
 * number. */
bool repeat_read(const session *s, const pkt *datagram, reader *r, uint32_t *path_id, uint64_t *pn)
{
    uint8_t path_read = read_u8(r);
    const uint8_t *low = read_bytes(r, 4);
    if (!low || path_read >= OXI_PATHS_MAX)
        return false;
    *path_id = path_read;
    *pn = pn_expand(s->paths[path_read].rx.next, load_be32(low));
    return path_read != datagram->path || *pn < datagram->pn;
}

/* Numbers rise. */
uint32_t abandon_write(const abandoned *a, uint32_t path_id, uint8_t *out, uint32_t cap)
{
    OXI_ASSERT(a->count > 0);
    writer w = writer_of(out, cap);
    uint64_t pn = a->pns[a->count - 1];
    write_u8(&w, FRAME_ABANDON);
    write_u8(&w, (uint8_t)path_id);
    write_varint(&w, pn);
    write_u8(&w, (uint8_t)(a->count - 1));
    for (uint32_t i = a->count - 1; i-- > 0; pn = a->pns[i]) {
        OXI_ASSERT(a->pns[i] < pn);
        write_varint(&w, pn - a->pns[i] - 1);
    }
    OXI_ASSERT(!w.is_bad);
    return (uint32_t)(w.at - out);
}

/* Behind the type; numbers fall. */
bool abandon_read(reader *r, uint32_t *path_id, abandoned *out)
{
    *path_id = read_u8(r);
    uint64_t pn = read_varint(r);
    out->count = read_u8(r) + 1u;
    if (r->is_bad || *path_id >= OXI_PATHS_MAX || out->count > ABANDON_MAX)
        return false;
    out->pns[0] = pn;
    for (uint32_t i = 1; i < out->count; i++) {
        uint64_t gap = read_varint(r) + 1;
        if (r->is_bad || gap > pn)
            return false;
        pn -= gap;
        out->pns[i] = pn;
    }
    return true;
}
