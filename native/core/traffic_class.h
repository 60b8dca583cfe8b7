/* traffic_class.h - what kind of traffic a flow is.
 *
 * Whoever knows it best is asked first: the operator's rules, the mark (DSCP, RFC 4594), the protocol and the
 * ports, the shape of RTP, and in the end sizes, gaps and bytes. Rules and marks are final; all else is
 * looked at every CLASS_REVIEW_PACKETS, and a flow gets another class when two such reviews in a row find it.
 * A wrong guess costs a short wait, or a repair that suits another class better; it breaks nothing. */
#ifndef OXI_TRAFFIC_CLASS_H
#define OXI_TRAFFIC_CLASS_H
#include "flows.h"

enum { RTP_SCORE = 3, VOIP_BYTES_MAX = 400 };

void class_begin(flow *f, const class_rules *rules);
/* After each packet but the first. Returns whether the flow has just got another class. */
bool class_review(flow *f);
/* A new connection waits for the answer to its SYN: that one is as urgent as a question to a name server. */
uint32_t class_of_packet(const flow *f, uint8_t tcp_flags);
#endif
