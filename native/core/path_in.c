/* path_in.c - the inbound life of a datagram, from the network to the TUN. Read top to bottom.
 *
 * To add a stage: a function in its own file, a row here, the list in ARCHITECTURE.md. */
#include "stages.h"

const stage PATH_IN[] = {
    { "demux", demux_batch, "QUIC goes to the control plane, data packets stay" },
    { "wire", wire_batch, "which session, path and packet number; seen before?" },
    { "open", open_batch, "authenticate and decrypt; mark the number as seen" },
    { "frames", frames_batch, "acknowledgements, pings; what is left is an inner packet" },
    { "heard", heard_batch, "the peer lives, and this is where it is now" },
    { "unpack", unpack_batch, "the inner packets, one or several from each datagram" },
    { "ip", ip_in_batch, "is it a whole packet?" },
    { "source", source_batch, "may this peer send from that address?" },
    { "mss", mss_batch, "does a new TCP connection ask for more than fits?" },
    { "order", order_batch, "does it follow a packet of its TCP flow that is lost, and may come back?" },
    { "merge", merge_batch, "join what may be joined, and to the TUN's inbox" },
};
static_assert(sizeof PATH_IN / sizeof PATH_IN[0] <= OXI_STAGES_MAX, "each has room for its time");
enum { UNPACK_STAGE = 5, ORDER_STAGE = 9 };
const uint32_t PATH_IN_COUNT = sizeof PATH_IN / sizeof PATH_IN[0];

/* What datagrams carry goes on, in as many batches as it takes; b is empty then. */
static void contents_run(dp *d, batch *b)
{
    oxi_stage_time *times = d->times[OXI_TIMES_IN];
    OXI_ASSERT(PATH_IN[UNPACK_STAGE].run == unpack_batch);
    unpack_begin(&d->unpacker, b);
    while (!unpack_is_done(&d->unpacker)) {
        uint64_t began_ns = time_begin(d);
        unpack_batch(d, b);
        time_end(d, &times[UNPACK_STAGE], began_ns, b->count);
        const uint32_t next = UNPACK_STAGE + 1;
        stages_run(d, PATH_IN + next, PATH_IN_COUNT - next, times + next, b);
    }
    b->count = 0;
}

void path_in_run(dp *d, batch *b)
{
    COUNT_ADD(d->stats.outer_in_datagrams, b->count);
    for (uint32_t i = 0; i < b->count; i++)
        COUNT_ADD(d->stats.outer_in_bytes, b->pkts[i]->len);
    order_begin(d);
    stages_run(d, PATH_IN, UNPACK_STAGE, d->times[OXI_TIMES_IN], b);
    contents_run(d, b);
    for (pkt *p; d->repair.decoded.count > 0;) {
        while (b->count < OXI_BATCH_MAX && (p = fifo_take(&d->repair.decoded)))
            batch_add(b, p);
        contents_run(d, b);
    }
    order_settle(d, b->now_ns);
}

void path_in_release(dp *d, batch *b)
{
    OXI_ASSERT(PATH_IN[ORDER_STAGE].run == order_batch);
    const uint32_t next = ORDER_STAGE + 1;
    stages_run(d, PATH_IN + next, PATH_IN_COUNT - next, d->times[OXI_TIMES_IN] + next, b);
}
