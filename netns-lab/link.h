/* link.h - an emulated link as a value: two directions, each a queue, a bottleneck and a delay line.
 *
 * Pure: time is an argument, packets are bytes, decisions come from a counter-based generator.  The
 * same code runs between two TUN devices (link-emulator.c) and in virtual time (link-simulate.c).
 *
 * A packet's life in one direction:
 *   count -> blocked? -> outage? -> NAT (a to b) -> larger than the MTU? -> queue and bottleneck
 *   -> lost? (after the bottleneck: a packet lost on the air has used its air time) -> ECN, bit flip
 *   -> delay line (delay, jitter, reordering, duplicate) -> NAT back (b to a) -> out.
 * Every packet that came in, and every duplicate, is out, held or counted under one drop reason. */
#ifndef LINK_H
#define LINK_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DIR_AB = 0, DIR_BA = 1, DIRS = 2 };
enum { SCHEDULE_MAX = 64, NAT_MAX = 256, PACKET_MAX = 65535 };
/* More packets than this in one delay line: 1 Gbit/s of 1400 B for three seconds. */
enum { HELD_MAX = 1 << 18 };

#define DROP_LIST(X) \
    X(NOT_IP, "not-ip")             /* neither IPv4 nor IPv6, or cut short */ \
    X(BLOCKED, "blocked")           /* by the first byte of the UDP payload */ \
    X(OUTAGE, "outage")             /* the link was down when it arrived */ \
    X(TOO_BIG, "too-big")           /* larger than the MTU */ \
    X(QUEUE_FULL, "queue-full") \
    X(LOSS, "loss")                 /* independent loss */ \
    X(BURST_LOSS, "burst-loss")     /* Gilbert-Elliott loss */ \
    X(NAT_UNKNOWN, "nat-unknown")   /* from b to a port that the NAT has forgotten */ \
    X(NO_BUFFER, "no-buffer")       /* HELD_MAX reached, or no memory */ \
    X(WRITE_FAILED, "write-failed") /* the device refused it */

#define DROP_ENUM(name, text) DROP_##name,
enum drop { DROP_LIST(DROP_ENUM) DROPS };
#undef DROP_ENUM

/* Probabilities are kept as thresholds: a random 64-bit number below it means yes. */
typedef uint64_t chance;
#define CHANCE_ALWAYS UINT64_MAX

struct span { uint64_t start_ns, end_ns; };

struct trace {
    uint64_t *opportunity_ns;    /* rising; each carries TRACE_BYTES */
    size_t count;
    uint64_t period_ns;          /* the last time stamp: the trace wraps there (mahimahi) */
};
enum { TRACE_BYTES = 1500 };

/* What one direction does.  Zero means "none" or "no limit" everywhere. */
struct dir_conf {
    uint64_t rate_bps;
    struct trace trace;          /* in place of rate_bps when count > 0 */
    uint64_t delay_ns;
    uint64_t jitter_ns;          /* each packet waits up to this much longer, uniformly */
    bool jitter_reorders;        /* false: a packet never overtakes the one before */
    uint64_t queue_packets, queue_bytes, queue_ns;  /* queue_ns: as bytes at the (mean) rate */
    uint64_t ecn_packets, ecn_bytes, ecn_ns;        /* mark ECT packets while the queue is above */
    chance loss;
    chance ge_enter, ge_leave;   /* per packet: good to bad, bad to good */
    uint64_t ge_bad_ns, ge_good_ns;                 /* or by time: mean lengths of the states */
    chance ge_loss_bad, ge_loss_good;
    chance reorder;
    uint64_t reorder_ns;         /* how much later a reordered packet is */
    chance duplicate;
    chance corrupt;
    bool corrupt_break;          /* leave the UDP checksum wrong */
    struct span outages[SCHEDULE_MAX];
    uint32_t outage_count;
    uint32_t mtu_bytes;
    bool ptb;                    /* answer packets over the MTU with ICMP "too big" */
    bool block;
    uint8_t block_mask, block_value;                /* (first UDP payload byte & mask) == value */
    uint64_t rebinds_ns[SCHEDULE_MAX];              /* direction a to b only */
    uint32_t rebind_count;
    uint16_t nat_port;           /* only UDP to this port of b passes the NAT; 0: all UDP */
};

struct tally { uint64_t packets, bytes; };

struct counters {
    struct tally in, out, duplicated, drops[DROPS];
    uint64_t reordered, corrupted, corrupted_checksum_bad, ce_marked, nat_rewritten, icmp_made;
    uint64_t queue_max_packets, queue_max_bytes;
    uint64_t late_ns_max;        /* how late a packet left the delay line, at worst */
};

/* A packet in the delay line.  Owned by the heap until it is emitted or dropped. */
struct held {
    uint64_t release_ns;
    uint64_t order;              /* breaks ties: first in, first out */
    uint64_t index;              /* of the packet in its direction, from 0 */
    uint8_t *bytes;
    uint32_t len;
};

struct waiting { uint64_t depart_ns; uint32_t len; };

struct direction {
    struct dir_conf conf;
    struct counters count;
    uint64_t index;              /* packets that have arrived */
    bool ge_bad;
    uint64_t ge_toggles, ge_until_ns;
    uint64_t busy_until_ns;      /* when the bottleneck is free */
    uint64_t trace_laps;         /* cursor in the trace: lap, opportunity, bytes left of it */
    size_t trace_at;
    uint32_t trace_left;
    struct waiting *queue;       /* ring of packets whose departure lies ahead */
    size_t queue_room, queue_head, queue_len;
    uint64_t queue_bytes;
    uint64_t last_release_ns;
    uint64_t pushes;
    struct held *heap;
    size_t heap_room, heap_len;
    uint64_t held_bytes;
};

struct mapping { uint16_t inner_port, outer_port; };

struct nat {
    uint32_t epoch;              /* rebinds that have happened */
    struct mapping table[NAT_MAX];
    uint32_t count;
};

/* Hands a packet to what lies beyond the link on side 0 (a) or 1 (b).  False: it was refused. */
typedef bool (*emit_fn)(void *context, int side, const struct held *packet);

struct link {
    uint64_t seed;
    uint64_t origin_ns;          /* schedules (outages, rebinds, burst loss by time) count from here */
    struct direction dirs[DIRS];
    struct nat nat;
    emit_fn emit;
    void *context;
};

/* --- link.c --- */
void link_init(struct link *link, uint64_t seed, uint64_t now_ns, emit_fn emit, void *context);
void link_free(struct link *link);
void link_origin(struct link *link, uint64_t now_ns);    /* schedules start again from now */
void link_arrive(struct link *link, int dir, uint64_t now_ns, const uint8_t *bytes, uint32_t len);
void link_emit(struct link *link, uint64_t now_ns);      /* everything that is due */
uint64_t link_next_ns(const struct link *link);          /* UINT64_MAX: nothing is held */
void link_heal(struct link *link);                       /* no more faults; rate, delay, queue, MTU stay */
uint64_t link_random(uint64_t seed, int dir, uint64_t index, int purpose);

/* --- link-conf.c --- */
const char *conf_apply(struct dir_conf *conf, char *words);  /* "rate=10M delay=5ms"; NULL or the error */
bool parse_u64(const char *text, uint64_t max, uint64_t *out);
bool parse_duration_ns(const char *text, uint64_t *out);
void conf_help(void);

/* --- link-packet.c --- */
struct view {                    /* what was found in a packet; offsets from its start */
    uint8_t version;             /* 4 or 6 */
    uint32_t body;               /* first byte after the IP header(s) */
    uint32_t udp;                /* the UDP header, 0: none here */
    uint32_t len;
    bool may_fragment;           /* IPv4 without DF */
};
bool packet_parse(const uint8_t *bytes, uint32_t len, struct view *view);
bool packet_mark_ce(uint8_t *bytes, const struct view *view);
/* Flips one bit behind the UDP (or IP) header.  True: a receiver's kernel takes it as good. */
bool packet_flip(uint8_t *bytes, const struct view *view, uint64_t random, bool fix_checksum);
uint16_t packet_port(const uint8_t *bytes, const struct view *view, bool source);
void packet_set_port(uint8_t *bytes, const struct view *view, bool source, uint16_t port);
uint32_t packet_too_big(const uint8_t *bytes, const struct view *view, uint32_t mtu, uint8_t out[1280]);
bool packet_udp_checksum_good(const uint8_t *bytes, const struct view *view);
uint16_t packet_sum(const uint8_t *bytes, uint32_t len, uint32_t start);

/* --- link-report.c --- */
#include <stdio.h>
void report_json(FILE *out, const struct link *link, uint64_t now_ns, const char *extra);

/* --- link-simulate.c --- */
struct simulation {
    uint64_t packets, gap_ns, seed;
    uint32_t size_bytes, port;
    int dirs;                    /* bit 0: a to b, bit 1: b to a */
    bool ipv6, ect, dont_fragment, list;
    uint8_t first_byte;
};
int simulate(struct link *link, const struct simulation *simulation);
#endif
