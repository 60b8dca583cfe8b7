/* traffic_class.h - what kind of traffic a packet is, as far as it matters how long it may wait.
 *
 * A call is what is marked EF (RFC 3246), or has the shape of RTP (RFC 3550, section 5.1) over some packets;
 * a game is what is marked CS4 (RFC 4594, section 4.4, real-time interactive). A wrong guess costs at most
 * the short wait that its class may have. */
#ifndef OXI_TRAFFIC_CLASS_H
#define OXI_TRAFFIC_CLASS_H
#include "pkt.h"

enum { RTP_SLOTS = 256, VOIP_BYTES_MAX = 400 };

typedef struct rtp_flow {
    uint32_t key;  /* of addresses and ports */
    uint32_t ssrc;
    uint16_t sequence;
    uint16_t score; /* packets in a row that follow each other */
} rtp_flow;

typedef struct rtp_table {
    rtp_flow flows[RTP_SLOTS]; /* by key; a flow that meets another one starts anew */
} rtp_table;

uint32_t traffic_class_of(rtp_table *t, const pkt *p); /* OXI_CLASS_* */
#endif
