/* peer.h - what the plane knows of one peer: sessions, paths, liveness. */
#ifndef OXI_PEER_H
#define OXI_PEER_H
#include "compress.h"
#include "holes.h"
#include "pkt.h"
#include "repair.h"
#include "session.h"
#include "train_watch.h"

/* When which packet number was sent: one mark per batch, as all packets of a batch share its time. The low
 * bits do: what is looked up is younger than the 71 minutes after which microseconds come round, and nearer
 * than 2^31 packets. */
typedef struct sent_mark {
    uint32_t pn_low; /* first of the batch */
    uint32_t us_low;
} sent_mark;

typedef struct sent_ring {
    sent_mark *at; /* SENT_RING */
    uint64_t count;
} sent_ring;

typedef struct path {
    oxi_addr addr;        /* family OXI_AF_NONE: not known */
    uint32_t payload_max; /* largest UDP payload, bytes; of repetitions OXI_REPEAT_ROOM more */
    uint64_t lost_before; /* in sessions that ended */
    uint64_t acked_before;
    sent_ring sent;       /* of the current session */
    uint64_t rtt_period;  /* of RTT_MIN_PERIOD_NS, the least round trip in it, in the one before; 0: none */
    uint64_t rtt_min_ns;
    uint64_t rtt_min_before_ns;
    train_watch trains;
    repair_path repair;
    holes holes;          /* what we miss of the peer's, under the session of rx_serial */
    oxi_path_stats stats;
} path;

typedef struct peer {
    bool is_live;
    bool is_initiator;
    bool is_silent;
    uint64_t keepalive_ns;
    uint64_t dead_after_ns;
    uint64_t unanswered_ns;  /* when we first sent something that asks for an answer; 0: all answered */
    uint64_t probed_ns;      /* last PING of our own accord */
    uint64_t wake_ns;
    uint64_t held_due_ns;    /* when what is held goes on (hold.c) */
    uint32_t held_count;
    uint32_t held_bytes;
    pkt *held[HELD_MAX];
    session *current;        /* sends and opens */
    session *before;         /* still opens, until its expires_ns */
    session *pending;        /* opens; sends after oxi_session_send() */
    uint64_t rx_serial;      /* of the newest session of which something was opened */
    header_contexts headers;
    replay acked[OXI_PATHS_MAX]; /* numbers of ours under `current`, by the peer's acknowledgements */
    oxi_peer_stats stats;    /* paths[] unused here: see path.stats */
    path paths[OXI_PATHS_MAX];
} peer;

struct dp;

/* E_FULL: no free slot. */
int peer_add(struct dp *d, uint64_t keepalive_ns, uint64_t dead_after_ns, bool is_initiator, uint32_t *out);
void peer_remove(struct dp *d, peer *pr);
void peer_timers(struct dp *d, peer *pr, uint64_t keepalive_ns, uint64_t dead_after_ns);
/* A new session: sends at once if conf says so, else waits for peer_session_send(). */
int peer_session_install(struct dp *d, uint64_t now_ns, peer *pr, const oxi_session *conf);
int peer_session_send(struct dp *d, uint64_t now_ns, peer *pr);
/* Another worker has taken the peer over: nothing is sent from here, the current session opens on. */
void peer_retire(struct dp *d, uint64_t now_ns, peer *pr);
void peer_pending_drop(peer *pr);
void peer_sessions_drop(struct dp *d, peer *pr);
/* Replace the allowed-ips of all peers. */
int peers_routes_set(struct dp *d, const oxi_prefix *prefixes, uint32_t count);
#endif
