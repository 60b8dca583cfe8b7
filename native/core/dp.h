/* dp.h - the whole state of the packet path, and what every stage may call. */
#ifndef OXI_DP_H
#define OXI_DP_H
#include "allowed_ips.h"
#include "drop.h"
#include "flows.h"
#include "handover.h"
#include "merge.h"
#include "order.h"
#include "pack.h"
#include "peer.h"
#include "pkt.h"
#include "ring.h"
#include "split.h"

/* How many ICMP answers may still be given (too_big.c). */
typedef struct too_big_bucket {
    uint64_t tokens;
    uint64_t filled_ns; /* up to when tokens were earned */
} too_big_bucket;

typedef struct dp {
    oxi_conf conf;
    const aead_library *library; /* that all keys are made with */
    pool pool;
    session_table sessions;
    peer *peers; /* conf.peers_max */
    route_table routes[2];
    uint32_t routes_live; /* which of the two is in use */
    fifo outbox;          /* sealed datagrams for UDP */
    fifo inbox;           /* inner packets for the TUN; inner_bytes 0: an ICMP answer of our own */
    merge_table merge;    /* chains that may still grow */
    order_table order;    /* TCP flows of which something is missing */
    handover handover;    /* packets for peers of other workers */
    flow_table flows;     /* that we send */
    unpacker unpacker;
    bool holds;           /* some class may wait */
    uint32_t offload;     /* OXI_OFFLOAD_*: what the kernel takes and gives in one piece */
    ring control;         /* QUIC datagrams for Python: datagram_slot */
    ring carrier;         /* data packets for the QUIC connection: datagram_slot */
    ring events;          /* oxi_event */
    too_big_bucket too_big;
    compressor compressor;
    contents contents;
    repair repair;
    uint64_t wake_ns;     /* earliest timer */
    uint64_t memory_bytes;
    bool wants_notify;    /* something new lies in a ring for Python */
    oxi_stats stats;
    /* Set by the shell for a turn whose stages are timed; the clock is the shell's as well. */
    uint64_t (*timing_clock)(void);
    oxi_stage_time times[OXI_TIMES][OXI_STAGES_MAX];
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

/* Allocates everything; false: no memory. */
bool dp_init(dp *d, const oxi_conf *conf, const aead_library *library);
/* Join count planes that were just made into workers of each other (handover.h). owners: a byte per peer,
 * borrowed. False: no memory. */
bool dp_join(dp *cores, uint32_t count, uint8_t *owners);
void dp_release(dp *d);

/* Run count stages over b, as far as it holds packets; their time goes to times[] in a turn that is timed. */
void stages_run(dp *d, const stage *stages, uint32_t count, oxi_stage_time *times, batch *b);
static inline uint64_t time_begin(const dp *d) { return d->timing_clock ? d->timing_clock() : 0; }
static inline void time_end(dp *d, oxi_stage_time *t, uint64_t began_ns, uint32_t packets)
{
    if (!d->timing_clock)
        return;
    COUNT_ADD(t->packets, packets);
    COUNT_ADD(t->ns, d->timing_clock() - began_ns);
}

/* One batch through all stages; takes the packets over. */
void path_out_run(dp *d, batch *b); /* inner packets from the TUN */
/* The same from the stage behind `handover` on, or from the one behind `hold`. */
void path_out_resume(dp *d, batch *b);
void path_out_release(dp *d, batch *b);
/* Cut as many packets of s as b has room for and add them; those without a buffer are counted as dropped. */
void path_out_take(dp *d, split *s, batch *b);
void path_in_run(dp *d, batch *b);  /* datagrams from UDP or the carrier */
void path_in_release(dp *d, batch *b); /* inner packets, from the stage behind `order` on */
uint64_t dp_tick(dp *d, uint64_t now_ns);

/* End a packet by name. dir: OXI_DIR_*. */
void drop(dp *d, pkt *p, uint32_t dir, drop_reason why);
/* The same for an inner packet or one of our own datagrams on its way out. */
void drop_out(dp *d, pkt *p, drop_reason why);
/* The same for an inner packet that was to be delivered, or an answer of our own. */
void drop_undelivered(dp *d, pkt *p, drop_reason why);
/* A packet that never got a buffer: counted as taken, and as dropped. dir: OUT or IN_DATAGRAM. */
void drop_untaken(dp *d, uint32_t dir, drop_reason why, uint32_t len);
/* How many packets from `first` of the outbox on, up to `end`, leave in one message: more than one are a
 * train (UDP_SEGMENT). */
uint32_t dp_train_length(const dp *d, uint32_t first, uint32_t end);
/* What the shell reports back for packets it took from outbox and inbox. */
void dp_sent(dp *d, pkt *p, bool is_in_train);
void dp_delivered(dp *d, pkt *p);

/* What waits in `hold` and `order` is dropped: the plane stops. */
void dp_held_end(dp *d);

/* A path has just been found to lose trains. */
void dp_trains_lost(dp *d);
/* The kernel does not do this after all: from now on without. */
void dp_offload_off(dp *d, uint32_t offload);

/* merge.c. A packet for the TUN by itself, from now on the inbox's. */
void inbox_put(dp *d, pkt *p);
/* Close all chains: what has been opened goes to the inbox now. */
void merge_flush(dp *d);
/* The header of the super-packet that the chain stands for, written to out (SUPER_HEADER_MAX bytes); returns
 * its length. 0: the chain is one packet, to be written as it is. The payloads follow: those of the chain. */
uint32_t merge_header(const pkt *head, uint8_t *out, oxi_super *how);
/* The first packet of the first chain in the inbox, by itself; NULL: none. */
pkt *chain_take_first(dp *d);

void event_put(dp *d, const oxi_event *ev);
static inline uint32_t peer_number(const dp *d, const peer *pr) { return (uint32_t)(pr - d->peers); }
static inline void wake_at(dp *d, peer *pr, uint64_t at_ns)
{
    pr->wake_ns = min_u64(pr->wake_ns, at_ns);
    d->wake_ns = min_u64(d->wake_ns, at_ns);
}
#endif
