/* support.h - what the fuzz targets share: reading the input, planes with keys, datagrams sealed by the
 * letter of PROTOCOL.md with a second implementation, and the sums that must hold after every input. */
#ifndef OXI_FUZZ_SUPPORT_H
#define OXI_FUZZ_SUPPORT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "oxi.h"

enum { POOL_PKTS = 256, KEEP_MTU = 1420, ROOM = OXI_DATAGRAM_MAX, HEAD_BYTES = 8 };

/* The input, taken apart from the front; past its end all values are 0. */
typedef struct input {
    const uint8_t *at;
    size_t left;
} input;

uint64_t input_number(input *in, uint32_t bytes);         /* big-endian; bytes 1..8 */
uint32_t input_copy(input *in, uint8_t *out, size_t max); /* how many there were */

/* Ends the process when an invariant is broken: what the fuzzer looks for. */
void must(bool holds, const char *what);

/* What a session makes smaller. All zero: nothing. */
typedef struct ways {
    uint16_t flows;      /* contexts for headers, both ways */
    bool all_headers;    /* of every packet, however many come */
    bool has_payload;    /* payloads too, of the ports of WAYS_RULES */
    bool has_bundles;
    bool has_order;      /* TCP flows wait for what is lost */
    uint32_t repair;     /* OXI_REPAIR_*: how lost packets come back */
    uint64_t hold_ns[OXI_CLASSES];
    uint32_t mtu_bytes;  /* 0: KEEP_MTU */
} ways;

enum { ORDER_NS_MAX = 500000000 }; /* for a lost packet 400 ms, and 100 to show one gap after the other */
enum { WAYS_RULES = 5, WAYS_PORT = 5060 }; /* that port and the ones behind it, UDP; TCP has one less */

/* One end of a tunnel: a plane with one peer (number 0), one session (suite by `suite`), one path. */
typedef struct end {
    oxi_dp *dp;
    uint32_t peer;
    uint64_t now_ns;
    uint8_t rx_key[OXI_KEY_BYTES];
    uint8_t tx_key[OXI_KEY_BYTES];
    uint32_t rx_index;
    uint32_t tx_index;
    uint8_t suite;
    bool is_left;
    ways how;
} end;

/* Ends of one tunnel: 10.0.0.0/8 and fd00::/8 lie behind the left one, 172.16.0.0/12 and fe80::/10 behind the
 * right one. Times start at one second. end_connect() gives the session, and the other's receiver index. how
 * NULL: nothing is made smaller. */
void end_open(end *e, bool is_left, uint8_t suite, const ways *how);
void end_connect(end *e, uint32_t tx_index);
void ends_open(end *left, end *right, uint8_t suite, const ways *how); /* both, connected */
ways ways_of(uint8_t bits); /* as the bits of an input say */
void end_close(end *e);

oxi_addr address_of(uint8_t host, uint16_t port); /* 192.0.2.host:port */

/* A data packet to `e` as its peer would seal it (PROTOCOL.md section 2, epoch 0). Returns its length. */
uint32_t seal_to(const end *e, uint8_t path, uint64_t pn, const uint8_t *frames, uint32_t len, uint8_t *out);

/* Packets as applications send them, so that headers and payloads have something in common. */
enum { FLOWS_MADE = 4, FLOW_PACKET_MAX = 700 };
typedef struct flows_made {
    uint32_t count[2 * FLOWS_MADE];
    uint32_t shape[2]; /* of the last packet each way: most are of the same flow */
} flows_made;
/* The next packet of a flow that the input chooses (UDP, RTP, TCP, or ESP; IPv4 or IPv6; at times a little
 * different), from the left network to the right one or back, at most FLOW_PACKET_MAX bytes. */
uint32_t flow_packet(flows_made *f, input *in, bool to_right, uint8_t *out);

/* Every packet taken is sent, delivered, dropped under one name, or held. */
void sums_must_hold(const end *e);
/* Takes out all that waits, and then: every packet is back in the pool. */
void drain(end *e);

oxi_stats stats_of(const end *e);
uint64_t drops_of(const oxi_stats *st, uint32_t dir);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
#endif
