/* path_out.c - the outbound life of a packet, from the TUN to the network. Read top to bottom.
 *
 * To add a stage: a function in its own file, a row here, the list in ARCHITECTURE.md. */
#include "stages.h"

const stage PATH_OUT[] = {
    { "ip", ip_out_batch, "is it a packet we may carry?" },
    { "route", route_batch, "whose is it? longest allowed-ips prefix of its destination" },
    { "handover", handover_batch, "does another worker send to this peer? then it takes over" },
    { "classify", classify_batch, "what kind of traffic is it, by its marks, its ports and its flow?" },
    { "hold", hold_batch, "may it wait a moment for others to share its datagram?" },
    { "sched", sched_batch, "which session and path, and does it fit?" },
    { "mss", mss_batch, "does a new TCP connection ask for more than fits?" },
    { "pack", pack_batch, "a number for each datagram; small packets share one" },
    { "repair", repair_batch, "may it be needed again? then it is kept" },
    { "ack", ack_ride_batch, "let a due acknowledgement ride along" },
    { "seal", seal_batch, "encrypt; nobody touches bytes after this" },
    { "emit", emit_batch, "to the socket's outbox or the QUIC carrier" },
};
enum { HANDOVER_STAGE = 2, HOLD_STAGE = 4 };
static_assert(sizeof PATH_OUT / sizeof PATH_OUT[0] <= OXI_STAGES_MAX, "each has room for its time");
const uint32_t PATH_OUT_COUNT = sizeof PATH_OUT / sizeof PATH_OUT[0];

/* Whatever is longer than a buffer is longer than the interface's MTU too: somebody has set another one. */
void path_out_take(dp *d, split *s, batch *b)
{
    uint32_t len;
    while (b->count < OXI_BATCH_MAX && (len = split_peek(s)) > 0) {
        pkt *p = len <= d->pool.data_max ? pool_take(&d->pool) : NULL;
        if (!p) {
            drop_untaken(d, OXI_DIR_OUT, len > d->pool.data_max ? DROP_TOO_BIG : DROP_POOL_EMPTY, len);
            split_skip(s);
            continue;
        }
        split_next(s, pkt_data(p));
        p->len = (uint16_t)len;
        batch_add(b, p);
    }
}

void path_out_run(dp *d, batch *b)
{
    COUNT_ADD(d->stats.inner_in_packets, b->count);
    for (uint32_t i = 0; i < b->count; i++) {
        b->pkts[i]->inner_bytes = b->pkts[i]->len;
        b->pkts[i]->inner_packets = 1;
        COUNT_ADD(d->stats.inner_in_bytes, b->pkts[i]->len);
    }
    COUNT_ADD(d->stats.inner_held_packets, b->count);
    stages_run(d, PATH_OUT, PATH_OUT_COUNT, d->times[OXI_TIMES_OUT], b);
}

static void run_behind(dp *d, uint32_t before, batch *b)
{
    const uint32_t next = before + 1;
    stages_run(d, PATH_OUT + next, PATH_OUT_COUNT - next, d->times[OXI_TIMES_OUT] + next, b);
}

void path_out_resume(dp *d, batch *b)
{
    OXI_ASSERT(PATH_OUT[HANDOVER_STAGE].run == handover_batch);
    run_behind(d, HANDOVER_STAGE, b);
}

void path_out_release(dp *d, batch *b)
{
    OXI_ASSERT(PATH_OUT[HOLD_STAGE].run == hold_batch);
    run_behind(d, HOLD_STAGE, b);
}
