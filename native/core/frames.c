/* frames.c - what an authentic packet holds: PADDING, PING, PONG, ACK, and at the end an inner packet.
 * Both directions. At most one PING of a datagram is answered, so that no packet costs more than one. */
#include "bytes.h"
#include "frames.h"
#include "stages.h"

bool own_send(dp *d, uint64_t now_ns, session *s, uint32_t path_id, const oxi_addr *to,
              const uint8_t *frames, uint32_t len)
{
    peer *pr = &d->peers[s->peer];
    const oxi_addr *target = to ? to : &pr->paths[path_id].addr;
    bool has_room = target->family != OXI_AF_CARRIER || ring_room(&d->carrier) > 0;
    bool may_send = target->family != OXI_AF_NONE && s->may_send && has_room;
    pkt *p = may_send ? pool_take(&d->pool) : NULL;
    if (!p) {
        COUNT_ADD(d->stats.own_dropped_datagrams, 1);
        return false;
    }
    p->session = s;
    p->peer = s->peer;
    p->path = (uint8_t)path_id;
    p->addr = *target;
    memcpy(pkt_data(p), frames, len);
    p->len = (uint16_t)len;
    batch b = { .now_ns = now_ns };
    if (!number_take(d, p, now_ns)) {
        drop_out(d, p, DROP_KEY_WORN);
        return false;
    }
    batch_add(&b, p);
    seal_batch(d, &b);
    emit_batch(d, &b);
    COUNT_SET(pr->stats.last_tx_ns, now_ns);
    return true;
}

static uint32_t ping_write(uint8_t *out, uint8_t type, uint8_t flags, uint64_t token, uint64_t time)
{
    writer w = writer_of(out, PING_BYTES);
    write_u8(&w, type);
    write_u8(&w, flags);
    write_be64(&w, token);
    write_be64(&w, time);
    OXI_ASSERT(!w.is_bad);
    return PING_BYTES;
}

bool ping_send(dp *d, uint64_t now_ns, peer *pr, uint32_t path_id, const oxi_addr *to, uint64_t token,
               uint8_t flags, uint32_t pad_bytes)
{
    uint8_t frames[OXI_DATAGRAM_MAX] = { 0 };
    if (!pr->current)
        return false;
    uint32_t len = ping_write(frames, FRAME_PING, flags, token, now_ns);
    len += (uint32_t)min_u64(pad_bytes, d->pool.data_max - PING_BYTES);
    if (!own_send(d, now_ns, pr->current, path_id, to, frames, len))
        return false;
    if (!(flags & OXI_PING_PROBE))
        asked(d, pr, now_ns);
    return true;
}

static void pong_received(dp *d, const pkt *p, uint64_t token, uint64_t sent_ns, uint64_t now_ns)
{
    if (token == PING_TOKEN_OWN || sent_ns > now_ns)
        return;
    oxi_event ev = { .type = OXI_EV_PONG,
                     .peer = p->peer,
                     .path = p->path,
                     .value = token,
                     .rtt_ns = now_ns - sent_ns,
                     .addr = p->addr };
    event_put(d, &ev);
}

/* Reads the frames in front of the inner packet and acts on them. DROP_COUNT: well-formed; r then
 * stands at the inner packet or at the end. */
static drop_reason frames_read(dp *d, pkt *p, reader *r, uint64_t now_ns)
{
    bool has_answered = false;
    while (reader_left(r) > 0) {
        uint8_t first = *r->at;
        if (frame_is_last(first))
            return DROP_COUNT;
        read_u8(r);
        if (first == FRAME_PADDING)
            continue;
        if (first == FRAME_ACK) {
            if (!ack_read(d, p->session, r, now_ns))
                return r->is_bad ? DROP_BAD_FRAME : DROP_BAD_ACK;
            continue;
        }
        if (frame_is_repair(first)) {
            drop_reason why = repair_frame_take(d, p, first, r, now_ns);
            if (why != DROP_COUNT || first == FRAME_REPEAT)
                return why;
            continue;
        }
        if (first != FRAME_PING && first != FRAME_PONG)
            return DROP_BAD_FRAME;
        uint8_t flags = read_u8(r);
        uint64_t token = read_be64(r);
        uint64_t time = read_be64(r);
        if (r->is_bad || (first == FRAME_PING && has_answered))
            return DROP_BAD_FRAME;
        /* A PONG goes where its PING came from, not where the peer wants to be reached. */
        if (first == FRAME_PONG || (flags & OXI_PING_PROBE))
            p->keeps_addr = 1;
        if (first == FRAME_PONG) {
            pong_received(d, p, token, time, now_ns);
            continue;
        }
        has_answered = true;
        uint8_t pong[PING_BYTES];
        /* By the route it came, also when that is not (yet) the path's address. */
        own_send(d, now_ns, p->session, p->path, &p->addr, pong,
                 ping_write(pong, FRAME_PONG, flags, token, time));
    }
    return DROP_COUNT;
}

void frames_batch(dp *d, batch *b)
{
    for (uint32_t i = 0; i < b->count; i++) {
        pkt *p = b->pkts[i];
        reader r = reader_of(pkt_data(p), p->len);
        drop_reason why = frames_read(d, p, &r, b->now_ns);
        pkt_pull(p, (uint32_t)(r.at - pkt_data(p)));
        bool goes_on = why == DROP_COUNT && p->len > 0 && content_arrived(d, p, &why);
        if (why != DROP_COUNT) {
            /* The datagram was authentic and stays counted as opened; the rest of it is the loss. */
            COUNT_ADD(d->stats.found_packets, 1);
            COUNT_ADD(d->stats.drops[OXI_DIR_IN_PACKET][why], 1);
            p->len = 0;
            continue;
        }
        p->elicits |= p->len > 0;
        p->inner_bytes = goes_on ? p->len : 0;
    }
}
