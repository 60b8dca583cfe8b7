/* order.h - packets of an inner TCP flow wait for one of theirs that was lost and comes back (order.c). */
#ifndef OXI_ORDER_H
#define OXI_ORDER_H
#include "holes.h"

struct dp;
struct peer;
struct pkt;
struct session;
struct batch;

typedef struct order_flow {
    uint64_t tag;          /* hash of peer, addresses and ports; 0: free */
    uint64_t pn;           /* of the newest packet that went on in order, */
    uint64_t serial;       /* its session */
    uint64_t due_ns;       /* when the first of what waits has waited long enough, or earlier */
    uint64_t gap_ns;       /* before that none of it goes on over a gap */
    struct pkt *first;     /* what waits: runs by sequence number; NULL: nothing */
    struct pkt *last;      /* first packet of the last run */
    struct pkt *anew;      /* what the flow sent again, and waits behind those, in the order it came */
    struct pkt *anew_last;
    struct order_flow *older, *newer; /* flows with something that waits, by when that began */
    uint32_t next_seq;     /* what comes next in order */
    uint32_t used;         /* packets of all flows when this one was last seen; low bits */
    uint32_t peer;
    uint32_t waiting;      /* packets */
    uint16_t runs;
    uint8_t path;          /* of pn */
} order_flow;

typedef struct order_table {
    order_flow *flows;     /* ORDER_FLOWS; NULL: order is not kept */
    order_flow *oldest, *newest; /* with something that waits */
    uint32_t waiting;      /* packets of all flows */
    uint32_t clock;        /* packets seen; low bits */
    uint64_t changes_seen; /* of the holes, when it was last looked whether somebody waits in vain, */
    uint64_t changes_at;   /* and before this turn's datagrams were opened */
    hole_pool holes;
} order_table;

/* Called for a datagram that is not the next of its path and session, and for the first one: what it leaves
 * missing, or fills. next_before: the largest number so far + 1. */
void order_opened(struct dp *d, const struct pkt *p, uint64_t next_before, uint64_t now_ns);
/* The content of a datagram came in another one, or its sender gives it up: nobody waits for it any more. */
void order_resolved(struct dp *d, const struct session *s, uint32_t path_id, uint64_t pn);

/* Around the datagrams of one turn. */
void order_begin(struct dp *d);
void order_settle(struct dp *d, uint64_t now_ns); /* what waits in vain goes on */
void order_tick(struct dp *d, struct peer *pr, uint64_t now_ns);
/* What waits of this peer is dropped; its flows and what it misses are forgotten. */
void order_end(struct dp *d, struct peer *pr);
#endif
