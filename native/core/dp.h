/* dp.h - the whole state of the packet path, and what every stage may call. */
#ifndef OXI_DP_H
#define OXI_DP_H
#include "allowed_ips.h"
#include "drop.h"
#include "peer.h"
#include "pkt.h"
#include "ring.h"

/* How many ICMP answers may still be given (too_big.c). */
typedef struct too_big_bucket {
    uint64_t tokens;
    uint64_t filled_ns; /* up to when tokens were earned */
} too_big_bucket;

typedef struct dp {
    oxi_conf conf;
    pool pool;
    session_table sessions;
    peer *peers; /* conf.peers_max */
    route_table routes[2];
    uint32_t routes_live; /* which of the two is in use */
    fifo outbox;          /* sealed datagrams for UDP */
    fifo inbox;           /* inner packets for the TUN; inner_bytes 0: an ICMP answer of our own */
    ring control;         /* QUIC datagrams for Python: datagram_slot */
    ring carrier;         /* data packets for the QUIC connection: datagram_slot */
    ring events;          /* oxi_event */
    too_big_bucket too_big;
    uint64_t wake_ns;     /* earliest timer */
    uint64_t memory_bytes;
    bool wants_notify;    /* something new lies in a ring for Python */
    oxi_stats stats;
} dp;

/* A stage works on a batch: it keeps or drops packets, never calls another stage, never reads a clock. */
typedef void stage_fn(dp *d, batch *b);
typedef struct stage {
    const char *name;
    stage_fn *run;
    const char *what;
} stage;

extern const stage PATH_OUT[];
extern const uint32_t PATH_OUT_COUNT;
extern const stage PATH_IN[];
extern const uint32_t PATH_IN_COUNT;

bool dp_init(dp *d, const oxi_conf *conf); /* allocates everything; false: no memory */
void dp_release(dp *d);

/* One batch through all stages; takes the packets over. */
void path_out_run(dp *d, batch *b); /* inner packets from the TUN */
void path_in_run(dp *d, batch *b);  /* datagrams from UDP or the carrier */
uint64_t dp_tick(dp *d, uint64_t now_ns);

/* End a packet by name. dir: OXI_DIR_*. */
void drop(dp *d, pkt *p, uint32_t dir, drop_reason why);
/* The same for an inner packet or one of our own datagrams on its way out. */
void drop_out(dp *d, pkt *p, drop_reason why);
/* The same for an inner packet that was to be delivered, or an answer of our own. */
void drop_undelivered(dp *d, pkt *p, drop_reason why);
/* A packet that never got a buffer: counted as taken, and as dropped. dir: OUT or IN_DATAGRAM. */
void drop_untaken(dp *d, uint32_t dir, drop_reason why, uint32_t len);
/* What the shell reports back for packets it took from outbox and inbox. */
void dp_sent(dp *d, pkt *p);
void dp_delivered(dp *d, pkt *p);

void event_put(dp *d, const oxi_event *ev);
static inline uint32_t peer_number(const dp *d, const peer *pr) { return (uint32_t)(pr - d->peers); }
static inline void wake_at(dp *d, peer *pr, uint64_t at_ns)
{
    pr->wake_ns = min_u64(pr->wake_ns, at_ns);
    d->wake_ns = min_u64(d->wake_ns, at_ns);
}
#endif
