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

void sched_batch(dp *d, batch *b)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < b->count; i++) {
        pkt *p = b->pkts[i];
        const peer *pr = &d->peers[p->peer];
        int32_t path_id = path_choose(pr);
        uint32_t payload = (uint32_t)p->len + OXI_OVERHEAD_BYTES;
        drop_reason why = DROP_COUNT;
        if (!pr->current)
            why = DROP_NO_SESSION;
        else if (path_id < 0)
            why = DROP_NO_ADDRESS;
        else if (p->len > d->conf.mtu_bytes || payload > pr->paths[path_id].payload_max)
            why = DROP_TOO_BIG;
        if (why != DROP_COUNT) {
            drop(d, p, OXI_DIR_OUT, why);
            continue;
        }
        p->session = pr->current;
        p->path = (uint8_t)path_id;
        p->addr = pr->paths[path_id].addr;
        b->pkts[kept++] = p;
    }
    b->count = kept;
}
