/* limits.h - every bound of the packet path, with its arithmetic. */
#ifndef OXI_LIMITS_H
#define OXI_LIMITS_H
#include <assert.h>

#include "../include/oxi.h"

/* Specification: changing one of these breaks the wire (PROTOCOL.md). */
enum {
    HEADER_BYTES = 8,
    TAG_BYTES = 16,
    NONCE_BYTES = 12,
    INDEX_MAX = 0xffffff,
    ACK_RANGES_MAX = 32,
    ACK_TIMES_MAX = 16,
    PING_BYTES = 18, /* type 1, flags 1, token 8, time 8 */
    BUNDLE_LONG = 240 /* lengths of items from here on take two bytes: 240 + high bits, low 8 bits */
};

/* Implementation. */
enum {
    /* 128 words of 64 packet numbers, one of them always being cleared: at 10 Gbit/s of 1,400-byte
     * packets that is 9 ms of reordering, far beyond what one path does. */
    REPLAY_WORDS = 128,
    REPLAY_WINDOW = (REPLAY_WORDS - 1) * 64,
    /* Sessions of one peer: the current one, the one before (10 s), one being made; one spare keeps
     * oxi_index_pick() short. */
    SESSIONS_PER_PEER = 4,
    /* One checkpoint per batch sent: 1,024 of them span an RTT of 150 ms at 7,000 batches/s. */
    SENT_RING = 1024,
    /* An ACK that rides in front of an inner packet: header 8 + this must fit the headroom. */
    ACK_RIDE_MAX = 96,
    ACK_ALONE_MAX = 640,
    PKT_HEADROOM = 128,
    /* A super-packet for the TUN: the kernel refuses more UDP segments (UDP_MAX_SEGMENTS, 64 before Linux
     * 6.6), and more bytes do not fit the length fields of IP. */
    MERGE_SEGMENTS_MAX = 64,
    MERGE_BYTES_MAX = 65535,
    MERGE_SLOTS = 64,
    /* Free packets the shell keeps back when it takes from the kernel: a batch each for what it is about to
     * take, for answers of our own, and for what Python pushes. */
    POOL_RESERVE = 3 * OXI_BATCH_MAX,
    /* Packets that may share a datagram: of larger ones few bytes are saved, and a copy costs more. */
    BUNDLE_ITEM_MAX = 512,
    BUNDLE_LENGTH_MAX = 2, /* bytes of such a length */
    /* What a peer holds at most, in packets and in bytes: about a datagram, once headers are compressed. */
    HELD_MAX = 32,
    HELD_BYTES_MAX = 1700,
    /* A header in full with what a new context needs is longer than the header by at most this. */
    HDR_GROWTH_MAX = 16,
    /* Of one slot: 50,000 headers/s are 2 % of a processor; and large ones only below 10,000 packets/s. */
    COMPRESS_PKTS_MAX = 500,
    COMPRESS_LARGE_PKTS_MAX = 100,
    /* Flows that a worker tells apart, 152 bytes each. */
    FLOWS_MAX = 1024,
    FLOW_WINDOW_MS = 1000, /* for its rate */
    /* Bursts of so many bytes are blocks of a film, a second or more each, when one comes every so often. */
    FLOW_BLOCK_BYTES_MIN = 128 << 10,
    FLOW_PERIOD_MS_MAX = 15000,
    CLASS_REVIEW_PACKETS = 16,
    CONTROL_BYTES_MAX = 512, /* larger on average is no question, no keystroke: a copy by SSH, say */
    CONTROL_RING = 256,
    HANDOVER_RING = 256,
    /* What one super-packet is cut into: 48 packets of 1,400 bytes, 122 of 536; of UDP at most 128
     * (UDP_MAX_SEGMENTS). */
    HANDOVER_ROOM_MIN = 128,
    EVENT_RING = 1024,
    CARRIER_RING = 256,
    /* ICMP answers to packets that do not fit: a burst, and then 100 a second (Linux: 1,000 in all). */
    TOO_BIG_BURST = 32,
    /* A train: what every kernel with UDP_SEGMENT takes, within one UDP datagram over IPv4. */
    TRAIN_PKTS_MAX = 64,
    TRAIN_BYTES_MAX = 65507,
    /* Packet numbers that show what a path loses. More of them would take too long for a TCP connection whose
     * trains are lost: of three segments in each timeout it gets one through. */
    TRAIN_WINDOW_PNS = 64,
    /* A window with few trains ends after so many, so that it does not thin out what comes later. */
    TRAIN_IDLE_PNS_MAX = 256,
    /* One by one loses far less when it is below this part of what was lost before. */
    TRAIN_FAR_BETTER = 10,
    /* Short trains of a proof: so many of so few datagrams, so that a TCP connection repairs the loss without
     * a timeout. Each is followed by single ones, of which some must be acknowledged. */
    TRAIN_ROUNDS = 8,
    TRAIN_PROOF_PKTS = 4,
    TRAIN_PROOF_APART_PNS = 4,
    /* Acknowledgements of a path with much loss list too few numbers to tell what became of a train. */
    TRAIN_TRIES_MAX = 4 * TRAIN_ROUNDS,
    /* Nothing acknowledged: a trial or proof ends after so many datagrams, at 1,400 bytes 5.7 MB. */
    TRAIN_TRIAL_PNS_MAX = 4096,
    /* The rest after a trial that showed nothing, doubling: at 100,000 packets/s up to 10 s. */
    TRAIN_REST_PNS_MIN = 1024,
    TRAIN_REST_PNS_MAX = 1 << 20,
    /* Less than this waits for an ACK longer, once the path has settled; and a receive time (5 bytes or so)
     * is told for so many bytes received. */
    ACK_SPARSE_BYTES = 16384,
    ACK_SPARSE_AFTER = 4,
    ACK_BYTES_PER_TIME = 4096,
    /* Contents kept for repair: twice as many as leave at 100 Mbit/s in 0.2 s. */
    CONTENTS_MAX = 4096,
    REPAIR_ARENA_MIN = 65536,
    REPAIR_ARENA_MAX = 1 << 26,
    REPEAT_BYTES = 7, /* PROMPT, type, path, low bits of the number */
    REPAIR_COPIES_MAX = 3,
    REPAIR_ROUNDS_MAX = 3, /* of what is kept in order */
    REPAIR_BURST = 512,    /* repair packets that may have been saved up */
    LOSS_AVERAGE = 1024,   /* packets */
    LOSSY_PPM = 1000,
    RECENT_AVERAGE = 128,  /* packets */
    CONGESTED_PPM = 20000,
    BOOST_MAX = 128,           /* repair symbols beyond, saved up, */
    BOOST_EARNED_PERMILLE = 4, /* by each packet */
    BOOST_BELOW = 256,         /* while so few packets are under way */
    CODED_LOSS_PPM_MIN = 300,  /* of what is kept in order: from here on it is coded, */
    CODED_LOSS_PPM_MAX = 60000, /* and for no more than this, where no TCP would live without */
    DECODERS = 8,                 /* streams that are decoded at a time, by each worker */
    DECODER_STORE_BYTES = 1 << 19, /* what came of them: at 100 Mbit/s 40 ms */
    DECODE_WAIT_PNS = 160, /* most that can be decoded is, once so many more have come */
    SOURCE_BYTES = 3,      /* type with the stream, place in it */
    CODE_STREAMS = 8,
    ABANDON_MAX = 64,      /* numbers in one frame */
    ABANDON_BYTES_MAX = 1 + 1 + 8 + 1 + 8 * ABANDON_MAX,
    ACK_SCAN_PNS = 2048, /* how far below the largest an ACK looks for gaps */
    /* Ranges of missing numbers of a path, 4 KB: at 5 % loss of 100 Mbit/s each may be missing for 0.6 s.
     * Paths that have some at the same time: all of 8 peers, or those of half of all, up to 1 MB. */
    HOLES_MAX = 256,
    HOLE_ROOMS_MIN = 32,
    HOLE_ROOMS_MAX = 256,
    /* Inner TCP flows whose order is kept, by hash in sets: 50 KB. Runs of one flow that wait: as many as
     * there may be holes between them, and what one turn adds. */
    ORDER_FLOWS = 512,
    ORDER_WAYS = 4,
    ORDER_RUNS_MAX = HOLES_MAX + OXI_BATCH_MAX,
    /* A keystroke is shown when it is there; the application echoes far less than so many bytes. */
    ORDER_TINY_BYTES = 200,
    LOSS_LAG = 4         /* a gap is a loss when it is still there this many ACKs later */
};

#define ACK_DELAY_NS_MIN (5 * NS_PER_MS)
#define ACK_DELAY_NS_MAX (25 * NS_PER_MS)
#define ACK_DELAY_UNIT_NS (8 * 1000ULL)
#define ACK_DELAY_NS_SPARSE (400 * NS_PER_MS)
/* A round trip of less is a cable: its bytes are not scarce, and TCP repairs it sooner than we would. */
#define NEAR_RTT_NS (2 * NS_PER_MS)
#define DECODER_AGE_NS (1 * NS_PER_S)
#define REPAIR_SLOT_NS (10 * NS_PER_MS)
#define REPAIR_COPY_APART_NS (10 * NS_PER_MS)
#define REPAIR_WISH_NS (1500 * NS_PER_MS)
#define QUEUE_FADE_NS (60 * NS_PER_S) /* how long the longest queue is remembered, less and less */
#define REPAIR_ORDERED_NS (1 * NS_PER_S) /* a pause of a flow that is kept in order */
#define COMPRESS_SLOT_NS (10 * NS_PER_MS)
#define HOLD_NS_MAX (5 * NS_PER_MS)
#define FLOW_PAUSE_NS_MIN (300 * NS_PER_MS)
#define FLOW_PAUSE_NS_LONG (5 * NS_PER_S)
#define SESSION_GRACE_NS (10 * NS_PER_S)
#define SILENT_PING_NS (1 * NS_PER_S)
#define TRAIN_SILENCE_NS (1 * NS_PER_S)
/* As long as a lost datagram may take to come back: three rounds, each with time to notice the loss. A
 * sender's own timer (RFC 6298) does not run out before its RTT, which holding makes it learn, and 200 ms. */
#define HOLD_ORDER_NS_MAX (400 * NS_PER_MS)
#define HOLD_ORDER_ROUNDS 3
#define HOLD_ORDER_ROUND_NS (10 * NS_PER_MS)
/* Between two gaps that a TCP is shown: it may tell its sender of what came behind them once in a
 * millisecond alone, and of the last three only (RFC 2018; Linux: tcp_comp_sack_delay_ns). More often when
 * so many runs wait. */
#define ORDER_GAP_NS (1 * NS_PER_MS)
#define ORDER_GAP_RUNS 48
#define ORDER_GAPS_MS 100 /* and nothing waits longer than that for it, whatever its timers do */
#define HOLD_ORDER_RTT_NS (100 * NS_PER_MS) /* while it is not known */
#define RTT_MIN_PERIOD_NS (10 * NS_PER_S)
#define RTT_NS_MAX (60 * NS_PER_S)
#define TOO_BIG_NS_PER_ANSWER (10 * NS_PER_MS)

static_assert(HEADER_BYTES + TAG_BYTES == OXI_OVERHEAD_BYTES, "oxi.h tells the overhead");
static_assert(HEADER_BYTES + ACK_RIDE_MAX + 1 + SOURCE_BYTES + 1 + BUNDLE_LENGTH_MAX + HDR_GROWTH_MAX <=
                  PKT_HEADROOM,
              "a riding ACK, the header, a mark of repair and the head of a bundle fit in front");
static_assert((int)REPEAT_BYTES <= (int)OXI_REPEAT_ROOM, "a full packet can be repeated");
static_assert((CONTENTS_MAX & (CONTENTS_MAX - 1)) == 0, "an id modulo that is cheap");
static_assert((int)HELD_MAX <= (int)OXI_BATCH_MAX, "what is held is released as one batch");
static_assert((REPLAY_WORDS & (REPLAY_WORDS - 1)) == 0, "ring index is a mask");
static_assert((SENT_RING & (SENT_RING - 1)) == 0, "ring index is a mask");
static_assert(OXI_MTU_MAX + OXI_OVERHEAD_BYTES <= OXI_DATAGRAM_MAX, "a full inner packet fits");
static_assert(MERGE_SLOTS <= UINT8_MAX, "a slot's number is a byte");
static_assert(FLOW_PERIOD_MS_MAX <= UINT16_MAX, "a period is kept in 16 bits");
static_assert(OXI_MTU_MIN <= OXI_DATAGRAM_MAX, "an ICMP answer fits a packet");
static_assert(ORDER_FLOWS % ORDER_WAYS == 0, "sets are whole");
static_assert(ACK_SCAN_PNS < REPLAY_WINDOW, "an ACK is made from the replay window");
#endif
