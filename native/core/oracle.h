/* oracle.h - what is worth doing to this packet before it is sealed?
 *
 * SKIP: nothing, it goes as it is. ROHC_ONLY: header compression. LIGHT: that, and LZ4 of the payload.
 * AGGRESSIVE: that, with a static dictionary. (In the literature a "compression oracle" is an attack on
 * compression before encryption; this one decides, it tells nobody anything.)
 *
 * A packet of a flow that is not remembered is looked at: features, and the small net or, without a model, a
 * heuristic on the same features. The verdict is remembered for the flow until so many packets have used it.
 * Whoever compresses tells how it went: what saves nothing twice is not tried again before the next look.
 *
 * Memory is a table of fixed size, each flow having one place in it. An inside host that opens many flows can
 * only make others be looked at again. Places depend on a seed that nobody outside knows. */
#ifndef OXI_ORACLE_H
#define OXI_ORACLE_H
#include "oracle_features.h"

typedef enum {
    ORACLE_SKIP = OXI_ORACLE_SKIP,
    ORACLE_LIGHT = OXI_ORACLE_LIGHT,
    ORACLE_AGGRESSIVE = OXI_ORACLE_AGGRESSIVE,
    ORACLE_ROHC_ONLY = OXI_ORACLE_ROHC_ONLY,
    ORACLE_VERDICT_COUNT = OXI_ORACLE_VERDICTS
} oracle_verdict;

typedef oxi_oracle_model oracle_model;

enum {
    /* 8 bytes each: 16 KB. */
    ORACLE_FLOWS = 2048,
    /* Packets until the next look: a look costs what ten packets of a remembered flow do. */
    ORACLE_SKIPPED_PKTS = 64,
    ORACLE_PRESSED_PKTS = 256,
    ORACLE_MISSES_MAX = 2,
    /* A shorter payload never shrinks by what the frame of a compressed one costs. */
    ORACLE_PAYLOAD_MIN = OXI_ORACLE_PAYLOAD_MIN,
    /* Packets of this size are segments of super-packets and leave in trains of equal datagrams
     * (UDP_SEGMENT); one that is made smaller leaves its train, which costs more than its header. */
    ORACLE_TRAIN_BYTES_MIN = OXI_ORACLE_TRAIN_BYTES_MIN,
    /* A compressed payload is used only if it saves so much; of a large packet, what its train is worth
     * on a link of 100 Mbit/s (8.8 us). */
    ORACLE_SAVED_MIN = 8,
    ORACLE_SAVED_PART_MIN = 20, /* a twentieth */
    ORACLE_SAVED_LARGE_MIN = 112
};

typedef struct oracle_flow {
    uint32_t tag;    /* of the flow; 0: nobody's */
    uint16_t left;   /* packets until the next look */
    uint8_t verdict;
    uint8_t misses;  /* attempts in a row that saved nothing */
} oracle_flow;

typedef struct oracle {
    uint64_t seed;
    bool has_model;
    oracle_model model;
    oxi_oracle_stats stats;
    oracle_flow flows[ORACLE_FLOWS];
} oracle;

/* data: a whole IP packet (ip_parse). */
typedef oxi_oracle_packet oracle_packet;
/* slot ORACLE_FLOWS: nobody's verdict, there is nothing to learn. */
typedef oxi_oracle_ticket oracle_ticket;

/* model NULL: the heuristic. Forgets all flows. */
void oracle_set(oracle *o, const oracle_model *model, uint64_t seed);
/* Without is_allowed only ORACLE_SKIP and ORACLE_ROHC_ONLY come out, and the payload is not looked at. */
oracle_verdict oracle_ask(oracle *o, const oracle_packet *p, oracle_ticket *ticket_out);
/* Is a payload that got so much shorter sent as such? If not, the packet goes as ticket.bare says. */
static inline bool oracle_is_worth(uint32_t len, uint32_t payload_bytes, uint32_t saved_bytes)
{
    uint32_t saved_min = len >= ORACLE_TRAIN_BYTES_MIN ? ORACLE_SAVED_LARGE_MIN : ORACLE_SAVED_MIN;
    return saved_bytes >= saved_min && saved_bytes >= payload_bytes / ORACLE_SAVED_PART_MIN;
}
/* After LIGHT or AGGRESSIVE: was it worth it (oracle_is_worth)? */
void oracle_learn(oracle *o, const oracle_ticket *ticket, bool has_saved);

/* The net: scores_out[ORACLE_VERDICT_COUNT], the largest wins. */
void oracle_scores(const oracle_model *m, const float *features, float *scores_out);
/* model NULL: the heuristic. len: of the packet. */
oracle_verdict oracle_judge(const oracle_model *m, const float *features, uint32_t len);
/* All weights are numbers of reasonable size: no sum overflows, whatever the packet. */
bool oracle_model_is_sound(const oracle_model *m);
#endif
