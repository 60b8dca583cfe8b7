/* hold.c - small packets of a class that may wait are kept for a moment, so that they share a datagram.
 *
 * They go on when the first of them has waited as long as its class allows, when so many have come that a
 * datagram is full, or with the next small packet to the same peer that does not wait. */
#include "stages.h"

static uint64_t wait_of(dp *d, const peer *pr, const pkt *p)
{
    bool may_bundle = pr->current && pr->current->may_bundle && pkt_is_small(p);
    bool has_room = d->pool.free_count > d->pool.count / 2;
    return may_bundle && has_room && d->holds ? d->conf.hold_ns[p->traffic_class] : 0;
}

static void hold(dp *d, peer *pr, pkt *p, uint64_t due_ns)
{
    if (pr->held_count == 0 || due_ns < pr->held_due_ns) {
        pr->held_due_ns = due_ns;
        wake_at(d, pr, due_ns);
    }
    pr->held[pr->held_count++] = p;
    pr->held_bytes += p->len;
}

static void release(peer *pr, batch *b)
{
    for (uint32_t i = 0; i < pr->held_count; i++)
        batch_add(b, pr->held[i]);
    pr->held_count = 0;
    pr->held_bytes = 0;
}

/* Behind what is in b already, which goes ahead where there is no room for more beside what is to come. */
static void release_behind(dp *d, peer *pr, batch *b, uint32_t to_come)
{
    if (b->count + to_come + pr->held_count > OXI_BATCH_MAX) {
        path_out_release(d, b);
        b->count = 0;
    }
    if (to_come + pr->held_count <= OXI_BATCH_MAX)
        release(pr, b);
    else
        hold_flush(d, pr, b->now_ns);
}

/* Nothing overtakes what is held of its own flow: a peer's voice waits and goes as one. */
void hold_batch(dp *d, batch *b)
{
    batch in = *b;
    b->count = 0;
    for (uint32_t i = 0; i < in.count; i++) {
        pkt *p = in.pkts[i];
        peer *pr = &d->peers[p->peer];
        uint64_t wait_ns = wait_of(d, pr, p);
        if (wait_ns > 0) {
            hold(d, pr, p, in.now_ns + wait_ns);
            if (pr->held_count == HELD_MAX || pr->held_bytes >= HELD_BYTES_MAX)
                release_behind(d, pr, b, in.count - i - 1);
            continue;
        }
        if (pr->held_count > 0 && pkt_is_small(p))
            release_behind(d, pr, b, in.count - i);
        batch_add(b, p);
    }
}

void hold_flush(dp *d, peer *pr, uint64_t now_ns)
{
    batch b = { .now_ns = now_ns };
    release(pr, &b);
    path_out_release(d, &b);
}

void hold_tick(dp *d, peer *pr, uint64_t now_ns)
{
    if (pr->held_count > 0 && pr->held_due_ns > now_ns)
        wake_at(d, pr, pr->held_due_ns);
    else
        hold_flush(d, pr, now_ns);
}

void hold_end(dp *d, peer *pr)
{
    batch b = { .now_ns = 0 };
    release(pr, &b);
    for (uint32_t i = 0; i < b.count; i++)
        drop(d, b.pkts[i], OXI_DIR_OUT, DROP_STOPPED);
}

void dp_held_end(dp *d)
{
    for (uint32_t i = 0; i < d->conf.peers_max; i++) {
        hold_end(d, &d->peers[i]);
        order_end(d, &d->peers[i]);
    }
}
