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
    { "ip", ip_in_batch, "is it a whole packet?" },
    { "source", source_batch, "may this peer send from that address?" },
    { "mss", mss_batch, "does a new TCP connection ask for more than fits?" },
    { "merge", merge_batch, "join what may be joined, and to the TUN's inbox" },
};
static_assert(sizeof PATH_IN / sizeof PATH_IN[0] <= OXI_STAGES_MAX, "each has room for its time");
const uint32_t PATH_IN_COUNT = sizeof PATH_IN / sizeof PATH_IN[0];

void path_in_run(dp *d, batch *b)
{
    COUNT_ADD(d->stats.outer_in_datagrams, b->count);
    for (uint32_t i = 0; i < b->count; i++)
        COUNT_ADD(d->stats.outer_in_bytes, b->pkts[i]->len);
    stages_run(d, PATH_IN, PATH_IN_COUNT, d->times[OXI_TIMES_IN], b);
}
