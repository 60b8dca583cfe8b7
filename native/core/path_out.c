/* path_out.c - the outbound life of a packet, from the TUN to the network. Read top to bottom.
 *
 * To add a stage: a function in its own file, a row here, the list in ARCHITECTURE.md. */
#include "stages.h"

const stage PATH_OUT[] = {
    { "ip", ip_out_batch, "is it a packet we may carry?" },
    { "route", route_batch, "whose is it? longest allowed-ips prefix of its destination" },
    { "sched", sched_batch, "which session and path, and does it fit?" },
    { "mss", mss_batch, "does a new TCP connection ask for more than fits?" },
    { "ack", ack_ride_batch, "let a due acknowledgement ride along" },
    { "seal", seal_batch, "number it and encrypt; nobody touches bytes after this" },
    { "emit", emit_batch, "to the socket's outbox or the QUIC carrier" },
};
const uint32_t PATH_OUT_COUNT = sizeof PATH_OUT / sizeof PATH_OUT[0];

void path_out_run(dp *d, batch *b)
{
    COUNT_ADD(d->stats.inner_in_packets, b->count);
    for (uint32_t i = 0; i < b->count; i++) {
        b->pkts[i]->inner_bytes = b->pkts[i]->len;
        COUNT_ADD(d->stats.inner_in_bytes, b->pkts[i]->len);
    }
    COUNT_ADD(d->stats.inner_held_packets, b->count);
    for (uint32_t i = 0; i < PATH_OUT_COUNT && b->count > 0; i++)
        PATH_OUT[i].run(d, b);
}
