/* wire.c - the clear eight bytes of a data packet: who is meant, on which path, with which number. */
#include "wire.h"

#include "stages.h"

void wire_write(uint8_t *at, const wire_header *h)
{
    at[0] = (uint8_t)((h->path << 2) | h->phase);
    at[1] = (uint8_t)(h->index >> 16);
    at[2] = (uint8_t)(h->index >> 8);
    at[3] = (uint8_t)h->index;
    store_be32(at + 4, h->pn_low);
}

wire_header wire_read(const uint8_t *at)
{
    return (wire_header){ .type = (uint8_t)((at[0] >> 4) & 3),
                          .path = (uint8_t)((at[0] >> 2) & 3),
                          .phase = (uint8_t)(at[0] & 3),
                          .index = load_be32(at) & INDEX_MAX,
                          .pn_low = load_be32(at + 4) };
}

uint64_t pn_expand(uint64_t next, uint32_t low) { return number_expand(next, low, 32); }

/* A QUIC datagram goes to Python through a ring; when that is full it is dropped, as on any busy link. */
static void control_put(dp *d, pkt *p)
{
    datagram_slot *slot = p->len <= OXI_CONTROL_MAX ? ring_write_slot(&d->control) : NULL;
    if (!slot) {
        drop(d, p, OXI_DIR_IN_DATAGRAM, DROP_CONTROL_FULL);
        return;
    }
    slot->addr = p->addr;
    slot->len = p->len;
    memcpy(slot->data, pkt_data(p), p->len);
    ring_written(&d->control);
    d->wants_notify = true;
    COUNT_ADD(d->stats.control_in_datagrams, 1);
    pool_give(&d->pool, p);
}

void demux_batch(dp *d, batch *b)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < b->count; i++) {
        pkt *p = b->pkts[i];
        uint8_t first = p->len > 0 ? pkt_data(p)[0] : 0;
        if (p->len > 0 && (first & 0x40) && p->addr.family != OXI_AF_CARRIER)
            control_put(d, p);
        else if (p->len > 0 && (first & 0xc0) != 0)
            drop(d, p, OXI_DIR_IN_DATAGRAM, DROP_NOT_OURS);
        else if (p->len < OXI_OVERHEAD_BYTES)
            drop(d, p, OXI_DIR_IN_DATAGRAM, DROP_SHORT);
        else
            b->pkts[kept++] = p;
    }
    b->count = kept;
}

/* DROP_COUNT: go on. */
static drop_reason locate(dp *d, pkt *p)
{
    wire_header h = wire_read(pkt_data(p));
    if (h.type != 0)
        return DROP_BAD_TYPE;
    session *s = session_find(&d->sessions, h.index);
    if (!s || (p->addr.family == OXI_AF_CARRIER && s->peer != p->peer))
        return DROP_NO_SESSION;
    if (!session_phase(s, h.phase))
        return DROP_NO_KEY;
    const replay *seen = &s->paths[h.path].rx;
    p->session = s;
    p->peer = s->peer;
    p->path = h.path;
    p->pn = pn_expand(seen->next, h.pn_low);
    switch (replay_check(seen, p->pn)) {
    case REPLAY_OLD:
        return DROP_TOO_OLD;
    case REPLAY_SEEN:
        return DROP_REPLAYED;
    case REPLAY_NEW:
        break;
    }
    return DROP_COUNT;
}

void wire_batch(dp *d, batch *b)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < b->count; i++) {
        drop_reason why = locate(d, b->pkts[i]);
        if (why == DROP_COUNT)
            b->pkts[kept++] = b->pkts[i];
        else
            drop(d, b->pkts[i], OXI_DIR_IN_DATAGRAM, why);
    }
    b->count = kept;
}
