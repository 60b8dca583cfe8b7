/* emit.c - the two ends of the core: sealed datagrams to the network side, inner packets to the TUN side.
 * The shell takes them from the fifos and says what became of them: dp_sent(), dp_delivered(). */
#include "stages.h"

static void carrier_put(dp *d, pkt *p)
{
    datagram_slot *slot = p->len <= OXI_CONTROL_MAX ? ring_write_slot(&d->carrier) : NULL;
    if (!slot) {
        drop_out(d, p, DROP_CARRIER_FULL);
        return;
    }
    slot->addr = p->addr;
    slot->peer = p->peer;
    slot->len = p->len;
    memcpy(slot->data, pkt_data(p), p->len);
    ring_written(&d->carrier);
    d->wants_notify = true;
    dp_sent(d, p, false);
}

void emit_batch(dp *d, batch *b)
{
    for (uint32_t i = 0; i < b->count; i++) {
        pkt *p = b->pkts[i];
        if (p->inner_bytes)
            asked(d, &d->peers[p->peer], b->now_ns);
        if (p->addr.family == OXI_AF_CARRIER)
            carrier_put(d, p);
        else
            fifo_put(&d->outbox, p);
    }
    b->count = 0;
}

/* Same way and size; a shorter one ends the train. */
uint32_t dp_train_length(const dp *d, uint32_t first, uint32_t end)
{
    const fifo *f = &d->outbox;
    const pkt *head = fifo_peek(f, first);
    if (!(d->offload & OXI_OFFLOAD_GSO))
        return 1;
    uint32_t max = train_max(&d->peers[head->peer].paths[head->path].trains, first == 0);
    uint32_t bytes = head->len;
    uint32_t n = 1;
    for (; n < max && first + n < end; n++) {
        const pkt *p = fifo_peek(f, first + n);
        bytes += p->len;
        if (p->len > head->len || bytes > TRAIN_BYTES_MAX || p->ecn != head->ecn ||
            memcmp(&p->addr, &head->addr, sizeof p->addr) != 0)
            break;
        if (p->len < head->len)
            return n + 1;
    }
    return n;
}

void dp_sent(dp *d, pkt *p, bool is_in_train)
{
    peer *pr = &d->peers[p->peer];
    path *pa = &pr->paths[p->path];
    oxi_path_stats *st = &pa->stats;
    if (p->session == pr->current) /* the numbers of another one mean nothing to the watch */
        train_watch_sent(&pa->trains, p->pn, is_in_train);
    COUNT_ADD(st->tx_packets, 1);
    COUNT_ADD(st->tx_bytes, p->len);
    COUNT_ADD(d->stats.outer_out_datagrams, 1);
    COUNT_ADD(d->stats.outer_out_bytes, p->len);
    if (p->inner_bytes) {
        oxi_peer_stats *ps = &pr->stats;
        COUNT_ADD(ps->tx_packets, p->inner_packets);
        COUNT_ADD(ps->tx_bytes, p->inner_bytes);
        COUNT_ADD(d->stats.inner_sent_packets, p->inner_packets);
        COUNT_ADD(d->stats.inner_held_packets, -(uint64_t)p->inner_packets);
        COUNT_ADD(d->stats.bundles_out, p->inner_packets > 1);
        COUNT_ADD(d->stats.bundled_out_packets, p->inner_packets > 1 ? p->inner_packets : 0);
    } else {
        COUNT_ADD(d->stats.own_out_datagrams, 1);
    }
    pool_give(&d->pool, p);
}

void dp_delivered(dp *d, pkt *p)
{
    if (p->inner_bytes == 0) {
        COUNT_ADD(d->stats.own_inner_packets, 1);
        pool_give(&d->pool, p);
        return;
    }
    oxi_peer_stats *ps = &d->peers[p->peer].stats;
    COUNT_ADD(ps->rx_packets, 1);
    COUNT_ADD(ps->rx_bytes, p->len);
    COUNT_ADD(d->stats.inner_out_packets, 1);
    COUNT_ADD(d->stats.inner_out_bytes, p->len);
    COUNT_ADD(d->stats.deliver_held_packets, -1);
    pool_give(&d->pool, p);
}

void drop(dp *d, pkt *p, uint32_t dir, drop_reason why)
{
    OXI_ASSERT(why < DROP_COUNT);
    uint64_t packets = dir == OXI_DIR_OUT ? p->inner_packets : 1;
    COUNT_ADD(d->stats.drops[dir][why], packets);
    if (dir == OXI_DIR_OUT)
        COUNT_ADD(d->stats.inner_held_packets, -packets);
    pool_give(&d->pool, p);
}

void drop_undelivered(dp *d, pkt *p, drop_reason why)
{
    if (p->inner_bytes == 0) {
        COUNT_ADD(d->stats.own_inner_dropped_packets, 1);
        pool_give(&d->pool, p);
        return;
    }
    COUNT_ADD(d->stats.deliver_held_packets, -1);
    drop(d, p, OXI_DIR_IN_PACKET, why);
}

void drop_untaken(dp *d, uint32_t dir, drop_reason why, uint32_t len)
{
    OXI_ASSERT(dir == OXI_DIR_OUT || dir == OXI_DIR_IN_DATAGRAM);
    if (dir == OXI_DIR_OUT) {
        COUNT_ADD(d->stats.inner_in_packets, 1);
        COUNT_ADD(d->stats.inner_in_bytes, len);
    } else {
        COUNT_ADD(d->stats.outer_in_datagrams, 1);
        COUNT_ADD(d->stats.outer_in_bytes, len);
    }
    COUNT_ADD(d->stats.drops[dir][why], 1);
}

void drop_out(dp *d, pkt *p, drop_reason why)
{
    if (p->inner_bytes) {
        drop(d, p, OXI_DIR_OUT, why);
        return;
    }
    COUNT_ADD(d->stats.own_dropped_datagrams, 1);
    pool_give(&d->pool, p);
}
