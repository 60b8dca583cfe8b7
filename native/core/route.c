/* route.c - allowed-ips both ways: the destination picks the peer, the source must belong to it. */
#include "stages.h"

void route_batch(dp *d, batch *b)
{
    const route_table *t = &d->routes[d->routes_live];
    uint32_t kept = 0;
    for (uint32_t i = 0; i < b->count; i++) {
        pkt *p = b->pkts[i];
        const uint8_t *data = pkt_data(p);
        bool is_v6 = data[0] >> 4 == 6;
        int32_t owner = routes_find(t, is_v6, data + (is_v6 ? 24 : 16));
        if (owner < 0) {
            drop(d, p, OXI_DIR_OUT, DROP_NO_ROUTE);
            continue;
        }
        p->peer = (uint32_t)owner;
        b->pkts[kept++] = p;
    }
    b->count = kept;
}

void source_batch(dp *d, batch *b)
{
    const route_table *t = &d->routes[d->routes_live];
    uint32_t kept = 0;
    for (uint32_t i = 0; i < b->count; i++) {
        pkt *p = b->pkts[i];
        const uint8_t *data = pkt_data(p);
        bool is_v6 = data[0] >> 4 == 6;
        if (routes_find(t, is_v6, data + (is_v6 ? 8 : 12)) != (int32_t)p->peer) {
            drop(d, p, OXI_DIR_IN_PACKET, DROP_WRONG_SOURCE);
            continue;
        }
        b->pkts[kept++] = p;
    }
    b->count = kept;
}
