/* sched.c - which session and path carries the packet. */
#include "stages.h"

/* The lowest-numbered path with an address; -1: none. */
static int32_t path_choose(const peer *pr)
{
    for (int32_t i = 0; i < OXI_PATHS_MAX; i++)
        if (pr->paths[i].addr.family != OXI_AF_NONE)
            return i;
    return -1;
}

/* DROP_COUNT: it may go. carrier_room: slots left in the ring; checked here and not later, so that a
 * packet that can not go spends no packet number, which would read as a loss on the way. */
static drop_reason verdict(const dp *d, const pkt *p, const peer *pr, int32_t path_id, uint32_t carrier_room)
{
    if (!pr->current)
        return DROP_NO_SESSION;
    if (path_id < 0)
        return DROP_NO_ADDRESS;
    uint32_t payload = (uint32_t)p->len + OXI_OVERHEAD_BYTES;
    if (p->len > d->conf.mtu_bytes || payload > pr->paths[path_id].payload_max)
        return DROP_TOO_BIG;
    bool is_carrier = pr->paths[path_id].addr.family == OXI_AF_CARRIER;
    return is_carrier && (carrier_room == 0 || payload > OXI_CONTROL_MAX) ? DROP_CARRIER_FULL : DROP_COUNT;
}

void sched_batch(dp *d, batch *b)
{
    uint32_t kept = 0;
    uint32_t carrier_room = ring_room(&d->carrier);
    for (uint32_t i = 0; i < b->count; i++) {
        pkt *p = b->pkts[i];
        const peer *pr = &d->peers[p->peer];
        int32_t path_id = path_choose(pr);
        drop_reason why = verdict(d, p, pr, path_id, carrier_room);
        if (why == DROP_TOO_BIG)
            too_big_answer(d, b->now_ns, p, path_mtu(d, &pr->paths[path_id]));
        if (why != DROP_COUNT) {
            drop(d, p, OXI_DIR_OUT, why);
            continue;
        }
        p->session = pr->current;
        p->path = (uint8_t)path_id;
        p->addr = pr->paths[path_id].addr;
        carrier_room -= p->addr.family == OXI_AF_CARRIER;
        b->pkts[kept++] = p;
    }
    b->count = kept;
}
