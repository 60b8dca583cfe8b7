/* handover.c - packets read by one worker and sent by another (handover.h). */
#include "handover.h"

#include "stages.h"

static void give(dp *d, pkt *p, uint32_t worker)
{
    handover *h = &d->handover;
    handover_slot *slot = ring_write_slot(&h->to[worker]);
    if (!slot) {
        drop(d, p, OXI_DIR_OUT, DROP_WORKER_FULL);
        return;
    }
    slot->peer = p->peer;
    slot->len = p->len;
    slot->ecn = p->ecn;
    memcpy(slot->data, pkt_data(p), p->len);
    ring_written(&h->to[worker]);
    h->pending |= 1u << worker;
    COUNT_ADD(d->stats.inner_handed_packets, 1);
    COUNT_ADD(d->stats.inner_held_packets, -1);
    pool_give(&d->pool, p);
}

void handover_batch(dp *d, batch *b)
{
    const handover *h = &d->handover;
    if (h->workers == 1)
        return;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < b->count; i++) {
        pkt *p = b->pkts[i];
        uint32_t owner = handover_owner(h, p->peer);
        if (owner == h->worker)
            b->pkts[kept++] = p;
        else
            give(d, p, owner);
    }
    b->count = kept;
}

/* One packet out of a ring; NULL: no buffer for it, and it is counted. */
static pkt *accept(dp *d, const handover_slot *slot)
{
    pkt *p = pool_take(&d->pool);
    COUNT_ADD(d->stats.inner_taken_over_packets, 1);
    if (!p) {
        COUNT_ADD(d->stats.drops[OXI_DIR_OUT][DROP_POOL_EMPTY], 1);
        return NULL;
    }
    COUNT_ADD(d->stats.inner_held_packets, 1);
    memcpy(pkt_data(p), slot->data, slot->len);
    p->len = slot->len;
    p->inner_bytes = slot->len;
    p->inner_packets = 1;
    p->peer = slot->peer;
    p->ecn = slot->ecn;
    return p;
}

static void rings_empty(dp *d, batch *b)
{
    for (uint32_t w = 0; w < d->handover.workers; w++) {
        ring *r = d->handover.from[w];
        handover_slot *slot;
        while (r && b->count < OXI_BATCH_MAX && (slot = ring_read_slot(r))) {
            pkt *p = accept(d, slot);
            ring_read_done(r);
            if (p)
                batch_add(b, p);
        }
    }
}

bool handover_take(dp *d, uint64_t now_ns)
{
    batch b = { .now_ns = now_ns };
    rings_empty(d, &b);
    uint32_t count = b.count;
    /* The peer may be gone since, or a new one in its place that this worker does not send for. */
    for (uint32_t i = 0; i < count; i++)
        OXI_ASSERT(b.pkts[i]->peer < d->conf.peers_max);
    path_out_resume(d, &b);
    return count > 0;
}

void handover_drain(dp *d)
{
    batch b = { .now_ns = 0 };
    do {
        b.count = 0;
        rings_empty(d, &b);
        for (uint32_t i = 0; i < b.count; i++)
            drop(d, b.pkts[i], OXI_DIR_OUT, DROP_STOPPED);
    } while (b.count > 0);
}
