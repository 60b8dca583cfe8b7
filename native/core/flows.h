/* flows.h - the flows that a worker sends: how much and how regularly each sends, and its class.
 *
 * A flow is what has the same peer, addresses, protocol, ports and DSCP; fragments, and protocols without
 * ports, have ports 0. The table has a fixed size: sets of a few places, found by a keyed hash; in a full set
 * the longest idle gives way, and starts anew should it come back. Packets come in runs, so the flow of the
 * packet before is looked at first. */
#ifndef OXI_FLOWS_H
#define OXI_FLOWS_H
#include "limits.h"
#include "pkt.h"

enum { FLOW_WAYS = 4, FLOW_SETS = FLOWS_MAX / FLOW_WAYS };

/* Compared word by word, so made of words. */
typedef struct flow_key {
    uint64_t addresses[4]; /* source and target as they stand in the packet; IPv4: all in the first */
    uint64_t ends;         /* ports, protocol, DSCP, and what kind of packet it is */
    uint64_t peer;         /* and a bit that no free place has */
} flow_key;
static_assert((int)FLOWS_MAX == (int)OXI_FLOWS_MAX, "oxi.h tells how many");

/* Means and deviations are moving ones, over 16 packets or so; deviations are mean absolute ones. Times in ms
 * count from first_ns on. */
typedef struct flow {
    flow_key key;
    uint64_t packets;
    uint64_t bytes;
    uint64_t first_ns;
    uint64_t last_ns;
    uint32_t size_x16;       /* bytes, mean times 16 */
    uint32_t size_dev_x16;
    uint32_t gap_us;         /* between packets */
    uint32_t gap_dev_us;
    uint32_t rate;           /* bytes per second */
    uint32_t rate_dev;
    uint32_t window_bytes;   /* since window_ms, for the rate */
    uint32_t window_ms;
    uint32_t burst_bytes;    /* since the last pause */
    uint32_t burst_ms;       /* when that began */
    uint32_t block_ms;       /* when the last burst of many bytes began */
    uint16_t period_ms;      /* from one such burst to the next */
    uint16_t period_dev_ms;
    uint32_t stretch_bytes;  /* since the last long pause */
    uint32_t ssrc;           /* of RTP, if it is */
    uint32_t tcp_next;       /* highest sequence number that TCP has sent, plus 1; 0: none yet */
    uint16_t sequence;
    uint16_t changes;        /* times that it got another class */
    uint8_t rtp_score;       /* packets in a row that follow each other as RTP does */
    uint8_t tcp_flags;       /* seen so far */
    uint8_t windows;         /* full ones so far */
    uint8_t blocks;
    uint8_t traffic_class;   /* OXI_CLASS_* */
    uint8_t why;             /* OXI_WHY_* */
    uint8_t wished;          /* class that the last review found */
    uint8_t has_known_port;
    uint16_t source_port;    /* as in the key */
    uint16_t target_port;
    uint8_t protocol;
    uint8_t dscp;
    uint8_t is_v6;
    uint8_t is_fragment;
} flow;

typedef struct class_rules {
    uint32_t count;
    oxi_class_rule at[OXI_CLASS_RULES_MAX];
} class_rules;

typedef struct flow_table {
    flow *slots;             /* FLOWS_MAX of them */
    flow *last;              /* that of the packet before */
    uint32_t tags[FLOW_SETS][FLOW_WAYS]; /* part of the hash, 0: free */
    class_rules rules;
} flow_table;

/* Count p, a packet for p->peer, into its flow. Returns its class; *changes grows when the flow has just got
 * another one. */
uint32_t flows_note(flow_table *t, uint64_t hash_key, const pkt *p, uint64_t now_ns, uint32_t *changes);
/* Rules that were checked; what is known of flows stays, their classes are found anew. */
void flows_rules_set(flow_table *t, const oxi_class_rule *rules, uint32_t count);
/* At most max flows, in no order; returns how many. */
uint32_t flows_copy(const flow_table *t, uint64_t now_ns, oxi_flow *out, uint32_t max);
#endif
