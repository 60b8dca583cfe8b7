/* oxi.h - the whole boundary between the packet path (C) and the control plane (Python).
 *
 * Read by gcc and, between the two cffi marks, verbatim by cffi: so only plain declarations, enums
 * with values, and no preprocessor inside the marks.  boundary.c checks every argument that comes
 * through here; core/ trusts boundary.c.
 *
 * Threads: after oxi_io_start() one C thread owns the data plane.  The functions marked [owner] are
 * carried over to that thread and waited for; those marked [any] never make it wait.  Without a
 * started thread (simulator, tests) everything runs in the caller.  One Python thread calls at a time. */
#ifndef OXI_H
#define OXI_H
#include <stdint.h>
#include <stddef.h>
/* cffi: begin */
enum {
    OXI_ABI = 1,
    OXI_BATCH_MAX = 64,          /* packets per batch */
    OXI_MTU_MIN = 1280,          /* inner bytes, RFC 8200 section 5 */
    OXI_MTU_MAX = 9000,
    OXI_OVERHEAD_BYTES = 24,     /* header 8 + tag 16 */
    OXI_DATAGRAM_MAX = 9216,     /* largest UDP payload taken */
    OXI_CONTROL_MAX = 1536,      /* largest QUIC datagram taken */
    OXI_PATHS_MAX = 4,
    OXI_SOCKETS_MAX = 8,
    OXI_PEERS_LIMIT = 4096,
    OXI_WORKERS_MAX = 16,
    OXI_KEY_BYTES = 32,
    OXI_EPOCHS = 4,
    OXI_SUPER_MAX = 65575,       /* largest super-packet: IPv6 header and 65,535 bytes */
    OXI_REPEAT_ROOM = 8,         /* bytes by which a repetition may pass the largest payload of a path */
    OXI_DROPS_MAX = 48           /* room for drop reasons; oxi_drop_name() tells which exist */
};

typedef enum {
    OXI_OK       = 0,
    OXI_E_ARG    = -1,  /* the caller broke the contract: a bug on our side */
    OXI_E_NOMEM  = -2,  /* only possible in oxi_dp_new() and oxi_io_start() */
    OXI_E_FULL   = -3,  /* no free slot (peers, routes, ring) */
    OXI_E_ABSENT = -4,  /* no such peer, path or session */
    OXI_E_BUSY   = -5,  /* not while the io thread runs (or: only while it runs) */
    OXI_E_SYS    = -6,  /* a system call failed: see errno_out */
    OXI_E_CRYPTO = -7   /* the AEAD library refused */
} oxi_err;

enum { OXI_SUITE_AES256GCM = 1, OXI_SUITE_CHACHA20POLY1305 = 2 };
enum { OXI_AEAD_AUTO = 0, OXI_AEAD_OPENSSL = 1, OXI_AEAD_IPSEC_MB = 2 };
enum { OXI_GF256_AUTO = 0, OXI_GF256_PORTABLE = 1, OXI_GF256_ISAL = 2 };
enum { OXI_AF_NONE = 0, OXI_AF_CARRIER = 1, OXI_AF_INET = 4, OXI_AF_INET6 = 6 };
enum { OXI_HEADERS_AUTO = 0, OXI_HEADERS_ALL = 1 };
/* What kind of traffic a packet is: how long it may wait, and how what is lost of it is repaired. */
enum { OXI_CLASS_VOIP = 0, OXI_CLASS_GAMING = 1, OXI_CLASS_WEB = 2, OXI_CLASS_STREAMING = 3,
       OXI_CLASS_BULK = 4, OXI_CLASS_CONTROL = 5, OXI_CLASSES = 6 };
/* What told it: nothing; the operator's rule; the mark; protocol or port; shape of RTP; sizes and times. */
enum { OXI_WHY_DEFAULT = 0, OXI_WHY_RULE = 1, OXI_WHY_DSCP = 2, OXI_WHY_PORT = 3, OXI_WHY_RTP = 4,
       OXI_WHY_SHAPE = 5, OXI_WHYS = 6 };
enum { OXI_CLASS_RULES_MAX = 64, OXI_DSCP_ANY = 64, OXI_FLOWS_MAX = 1024 /* of each worker */ };
enum { OXI_DIR_OUT = 0, OXI_DIR_IN_DATAGRAM = 1, OXI_DIR_IN_PACKET = 2, OXI_DIRS = 3 };
/* Whose time is taken: the stages of both paths, and the steps of the shell around them. */
enum { OXI_TIMES_OUT = 0, OXI_TIMES_IN = 1, OXI_TIMES_SHELL = 2, OXI_TIMES = 3, OXI_STAGES_MAX = 16 };
enum { OXI_PING_PROBE = 1 };
/* What the kernel takes and gives in one piece instead of packet by packet. */
enum {
    OXI_OFFLOAD_TSO = 1,          /* TUN: TCP super-packets, checksums left to us */
    OXI_OFFLOAD_USO = 2,          /* TUN: UDP super-packets */
    OXI_OFFLOAD_GSO = 4,          /* UDP sockets: trains of equal datagrams out (UDP_SEGMENT) */
    OXI_OFFLOAD_GRO = 8,          /* UDP sockets: trains in (UDP_GRO) */
    OXI_OFFLOAD_ALL = 15
};
/* What the compression oracle says of a packet. */
enum { OXI_ORACLE_SKIP = 0, OXI_ORACLE_LIGHT = 1, OXI_ORACLE_AGGRESSIVE = 2, OXI_ORACLE_ROHC_ONLY = 3,
       OXI_ORACLE_VERDICTS = 4 };
enum { OXI_ORACLE_FEATURES = 8, OXI_ORACLE_HIDDEN = 16,
       OXI_ORACLE_PAYLOAD_MIN = 32,        /* bytes; a shorter payload is never compressed */
       OXI_ORACLE_TRAIN_BYTES_MIN = 1000 }; /* packets of this size are taken to leave in trains */
/* ARQ: what is lost is repeated; CODE: repair symbols are sent; AUTO: the one where it comes in time, else
 * the other, and of what is kept in order both. */
enum { OXI_REPAIR_OFF = 0, OXI_REPAIR_ARQ = 1, OXI_REPAIR_CODE = 2, OXI_REPAIR_AUTO = 3 };
enum { OXI_ORDER_OFF = 0, OXI_ORDER_ALWAYS = 1,
       OXI_ORDER_REPAIRED = 2 };       /* of peers that repair what they send, as far as is known */
enum { OXI_REGIME_CLEAN = 0, OXI_REGIME_RANDOM = 1, OXI_REGIME_BURSTY = 2, OXI_REGIME_CONGESTED = 3 };
enum { OXI_SUPER_NONE = 0, OXI_SUPER_TCP4 = 1, OXI_SUPER_TCP6 = 2, OXI_SUPER_UDP = 3 };

enum { OXI_LZ_LIGHT = 0, OXI_LZ_AGGRESSIVE = 1 };
enum { OXI_LZ_RULES_MAX = 64, OXI_LZ_REFUSED = -100 };

/* Packets that may be compressed: with this port at either end. */
typedef struct oxi_lz_rule {
    uint16_t port;                /* not 0 */
    uint8_t  protocol;            /* 6 TCP, 17 UDP */
    uint8_t  dictionary;          /* 0: none */
} oxi_lz_rule;
typedef struct oxi_lz oxi_lz; /* opaque; owned by whoever called oxi_lz_new() */

typedef struct oxi_dp oxi_dp; /* opaque; owned by whoever called oxi_dp_new() */

typedef struct oxi_conf {
    uint32_t peers_max;           /* 1..OXI_PEERS_LIMIT */
    uint32_t routes_max;          /* allowed-ips prefixes over all peers, 1..65536 */
    uint32_t pool_pkts;           /* 256..8192 packets, of each worker */
    uint32_t workers;             /* 1..OXI_WORKERS_MAX planes that share the peers, each with a thread */
    uint32_t mtu_bytes;           /* largest inner packet, OXI_MTU_MIN..OXI_MTU_MAX */
    uint64_t rekey_packets;       /* event OXI_EV_REKEY_WANTED after so many packets of an epoch */
    uint64_t key_packets_max;     /* nothing is sealed beyond; at most 2^28 */
    uint64_t key_age_ns_max;      /* nothing is sealed with an older key */
    uint64_t hold_ns[6];          /* how long a small packet of OXI_CLASS_* waits for others, at most 5 ms */
    uint64_t hash_key;            /* random: decides which flows share a place in tables */
    uint32_t flows;               /* contexts for headers of each peer and direction, 0..OXI_HDR_FLOWS_MAX */
    uint32_t headers;             /* OXI_HEADERS_*: which packets to compress the headers of */
    uint32_t repair_bytes;        /* kept for repair by each worker: 0, or 65536..2^26 */
    uint32_t order;               /* OXI_ORDER_*: what follows a lost packet of a TCP flow waits for it */
    uint32_t compress_payload;    /* 1: room for payload compression, see oxi_compression_set() */
    uint32_t aead;                /* the crypto library, OXI_AEAD_*; AUTO: the fastest that is good */
} oxi_conf;

/* The offload header of a packet at the TUN (struct virtio_net_hdr), checked by nobody yet. */
typedef struct oxi_super {
    uint8_t  kind;                /* OXI_SUPER_*; NONE: one packet */
    uint8_t  needs_csum;          /* the checksum field holds the sum of the pseudo header only */
    uint16_t segment_bytes;       /* payload of each segment but the last */
    uint16_t csum_start;          /* what is summed begins here */
    uint16_t csum_offset;         /* the field, from there */
    uint16_t header_bytes;        /* of IP and TCP or UDP */
} oxi_super;

/* Where a datagram comes from or goes to. */
typedef struct oxi_addr {
    uint8_t  ip[16];              /* IPv4 in the first four bytes, the rest zero */
    uint8_t  local[16];           /* our address it was sent to; zero: the kernel chooses */
    uint32_t scope_id;            /* IPv6 link-local only, else 0 */
    uint16_t port;                /* host order */
    uint8_t  family;              /* OXI_AF_* */
    uint8_t  sock;                /* index into oxi_io_conf.sock_fds */
} oxi_addr;

typedef struct oxi_prefix {
    uint8_t  ip[16];
    uint8_t  family;              /* OXI_AF_INET or OXI_AF_INET6 */
    uint8_t  bits;                /* 0..32 or 0..128 */
    uint16_t reserved;
    uint32_t peer;
} oxi_prefix;

typedef struct oxi_session {
    uint32_t rx_index;            /* 24 bits, not 0; its slot must be free: see oxi_index_pick() */
    uint32_t tx_index;            /* 24 bits */
    uint8_t  suite;               /* OXI_SUITE_* */
    uint8_t  may_send;            /* 0: receive only until oxi_session_send() */
    uint8_t  may_bundle;          /* small packets may share a datagram */
    uint8_t  tx_payload;          /* the peer takes compressed payloads */
    uint8_t  rx_payload;          /* we do */
    uint16_t tx_flows;            /* contexts for headers that the peer keeps for us; 0: they go whole */
    uint16_t rx_flows;            /* those that we keep for it */
    uint8_t  rx_key[32];
    uint8_t  tx_key[32];
} oxi_session;

typedef enum {
    OXI_EV_NONE = 0,
    OXI_EV_PEER_SILENT = 1,       /* sent, nothing opened for dead_after */
    OXI_EV_PEER_HEARD = 2,        /* first packet opened on a new session, or after SILENT */
    OXI_EV_ROAMED = 3,            /* addr: where packets of path go from now on */
    OXI_EV_PONG = 4,              /* value: token; rtt_ns; addr: how it came */
    OXI_EV_REKEY_WANTED = 5       /* value: the epoch that is worn */
} oxi_event_type;

typedef struct oxi_event {
    uint32_t type;
    uint32_t peer;
    uint32_t path;
    uint32_t reserved;
    uint64_t value;
    uint64_t rtt_ns;
    oxi_addr addr;
} oxi_event;

typedef struct oxi_path_stats {
    oxi_addr addr;
    uint64_t tx_packets;          /* datagrams sealed and handed to the socket or carrier */
    uint64_t tx_bytes;            /* their UDP payload */
    uint64_t rx_packets;          /* datagrams opened */
    uint64_t rx_bytes;
    uint64_t acked_packets;       /* of ours, reported received by the peer */
    /* of ours, passed over by acknowledgements (late ones are taken back) */
    uint64_t lost_packets;
    uint64_t late_packets;        /* received below the largest packet number */
    uint64_t ce_packets;          /* received with ECN-CE */
    uint64_t rtt_ns;              /* smoothed (RFC 9002 section 5.3); 0: not known */
    uint64_t rtt_var_ns;
    uint64_t rtt_min_ns;          /* of the last 10 to 20 s */
    uint64_t rtt_latest_ns;
    uint64_t acks_sent;
    uint64_t acks_received;
    /* of what is kept for repair: when it was sent for the first time */
    uint64_t repairable_packets;
    uint64_t repairable_acked_packets; /* of those, acknowledged without a repetition */
    uint64_t repairable_acked_bytes;
    uint64_t repairable_lost_packets;  /* of those, found lost */
    uint64_t congestion_lost_packets;  /* of those, while a queue was full */
    uint64_t kept_packets;        /* in flight, repetitions with them (gauge) */
    uint64_t loss_ppm;            /* moving average (gauge) */
} oxi_path_stats;

typedef struct oxi_peer_stats {
    uint64_t tx_packets;          /* inner packets sent to this peer */
    uint64_t tx_bytes;            /* inner bytes */
    uint64_t rx_packets;          /* inner packets delivered from this peer */
    uint64_t rx_bytes;
    uint64_t last_rx_ns;          /* when anything of this peer was last opened; 0: never */
    uint64_t last_tx_ns;
    uint32_t is_silent;
    uint32_t epoch;               /* of the send key */
    uint64_t epoch_packets;       /* sealed under it */
    oxi_path_stats paths[4];
} oxi_peer_stats;

typedef struct oxi_stats {
    uint64_t heartbeats;          /* turns of the io loop */
    /* taken from the TUN:   = outer_out of inner packets + drops[OUT] + held */
    uint64_t inner_in_packets;
    uint64_t inner_in_bytes;
    uint64_t inner_sent_packets;  /* of those, sent inside a datagram */
    uint64_t inner_held_packets;  /* of those, in the plane now, or between workers (gauge) */
    uint64_t inner_handed_packets; /* of those, given to the worker of their peer */
    uint64_t inner_taken_over_packets; /* of those handed, taken by that worker */
    /* taken from UDP and carrier: = control_in + opened + drops[IN_DATAGRAM] */
    uint64_t outer_in_datagrams;
    uint64_t outer_in_bytes;
    uint64_t control_in_datagrams;
    uint64_t opened_datagrams;
    /* inner packets and broken frames in opened datagrams: = inner_out + drops[IN_PACKET] + held */
    uint64_t found_packets;
    uint64_t inner_out_packets;   /* written to the TUN */
    uint64_t inner_out_bytes;
    uint64_t deliver_held_packets;/* opened, not yet written (gauge) */
    /* handed to UDP or carrier: = inner_sent - bundled_out + bundles_out + own_out */
    uint64_t outer_out_datagrams;
    uint64_t outer_out_bytes;
    /* of those, holding no inner packet (ACK, PING, PONG, keepalive) */
    uint64_t own_out_datagrams;
    uint64_t own_dropped_datagrams; /* own datagrams that could not be sent */
    uint64_t own_inner_packets;   /* ICMP answers of our own, written to the TUN; in no sum above */
    uint64_t own_inner_dropped_packets; /* those that could not be: no buffer, or the TUN refused */
    uint64_t lost_events;         /* reports to Python that found the ring full */
    uint64_t pool_free_pkts;      /* gauge */
    uint64_t memory_bytes;        /* all memory of the data plane, allocated at start */
    uint64_t kernel_receive_drops; /* SO_RXQ_OVFL; a train counts once */
    uint64_t offload;             /* OXI_OFFLOAD_* in use now (gauge) */
    uint64_t tun_reads;           /* packets and super-packets read from the TUN */
    uint64_t tun_writes;          /* packets and super-packets written to it */
    uint64_t tun_refused_supers;  /* super-packets it refused; their packets were then written one by one */
    uint64_t udp_sends;           /* datagrams and trains handed to the sockets */
    uint64_t udp_refused_trains;  /* trains the kernel refused; sent again one by one */
    uint64_t udp_train_trials;    /* times that a path went without trains, to see whether more arrives */
    uint64_t udp_trains_lost_paths; /* paths found to lose what leaves in trains; they go without for good */
    uint64_t udp_reads;           /* datagrams and trains taken from the sockets */
    uint64_t bundles_out;         /* datagrams sent with more than one inner packet */
    uint64_t bundled_out_packets; /* inner packets in them */
    uint64_t bundled_in_packets;  /* inner packets found in such datagrams */
    uint64_t order_waiting_packets; /* of deliver_held: for a lost packet of their TCP flow (gauge) */
    /* all that ever waited: = waiting + filled + resolved + timeout + full + dropped as `stopped` */
    uint64_t order_held_packets;
    uint64_t order_filled_packets; /* went on because the lost packet came, */
    uint64_t order_resolved_packets; /* because nothing was missing before them any more, */
    uint64_t order_timeout_packets; /* because they had waited long enough, */
    uint64_t order_full_packets;  /* because there was no room for more that wait */
    uint64_t order_lost_holes;    /* runs of missing datagrams not noted, or forgotten, for want of room */
    uint64_t class_packets[6];    /* inner packets to be sent, by OXI_CLASS_* */
    uint64_t class_changes;       /* times that a flow was given another class */
    uint64_t drops[3][48];        /* [OXI_DIR_*][reason] */
} oxi_stats;

/* Packets to which all that is set applies are of this class. */
typedef struct oxi_class_rule {
    uint8_t  ip[16];              /* a prefix that the source or the target lies in; no bits beyond it */
    uint8_t  family;              /* OXI_AF_INET, OXI_AF_INET6; NONE: any address */
    uint8_t  bits;                /* 0..32 or 0..128 */
    uint8_t  protocol;            /* 0: any */
    uint8_t  dscp;                /* OXI_DSCP_ANY: any */
    uint16_t port;                /* at either end, of TCP or UDP; 0: any */
    uint8_t  traffic_class;       /* OXI_CLASS_* */
    uint8_t  reserved;            /* 0 */
} oxi_class_rule;

/* A flow that we send. */
typedef struct oxi_flow {
    uint64_t packets;
    uint64_t bytes;
    uint64_t first_ns;
    uint64_t last_ns;
    uint64_t rate;                /* bytes per second, now */
    uint32_t peer;
    uint32_t size_mean;           /* bytes, of the last packets */
    uint32_t gap_mean_us;         /* between them */
    uint16_t source_port;         /* 0: a fragment, or a protocol without ports */
    uint16_t target_port;
    uint16_t changes;             /* times that it was given another class */
    uint8_t  family;              /* OXI_AF_INET or OXI_AF_INET6 */
    uint8_t  protocol;
    uint8_t  dscp;
    uint8_t  is_fragment;
    uint8_t  traffic_class;       /* OXI_CLASS_* */
    uint8_t  why;                 /* OXI_WHY_* */
    uint8_t  source[16];          /* IPv4 in the first four bytes, the rest zero */
    uint8_t  target[16];
} oxi_flow;

/* By profile (oxi_hdr_profile_name()) and by dictionary (oxi_lz_name()). */
typedef struct oxi_compression_stats {
    uint64_t header_packets[6];   /* whose header was compressed */
    uint64_t header_bytes[6];     /* of those headers */
    uint64_t coded_bytes[6];      /* of what was sent instead, the numbers of flows with them */
    uint64_t whole_packets[6];    /* looked at, and sent with the whole header */
    uint64_t setups;              /* of the compressed ones, with the header in full for a new context */
    uint64_t passed_packets;      /* not looked at: too many, no room, or a path too near to need it */
    uint64_t restored_packets[6];
    uint64_t payload_packets[6];  /* whose payload was compressed */
    uint64_t payload_bytes[6];
    uint64_t pressed_bytes[6];    /* of what was sent instead */
    uint64_t payload_misses;      /* payloads that did not shrink enough */
    uint64_t payloads_restored;
} oxi_compression_stats;

/* Repair: by OXI_CLASS_* where it is told apart. */
typedef struct oxi_repair_stats {
    uint64_t kept_packets[6];     /* datagrams kept, in case they are lost */
    uint64_t lost_packets[6];     /* of those, found lost */
    uint64_t repeats_out[6];      /* copies sent */
    uint64_t codes_out[6];        /* repair symbols sent */
    uint64_t repaired_packets[6]; /* acknowledged by a copy */
    uint64_t vain_packets[6];     /* repeated, though they had arrived */
    uint64_t too_late_packets[6]; /* given up: no copy would have come in time, or all of them were lost */
    uint64_t over_budget_packets[6]; /* given up: more than max_overhead */
    uint64_t left_to_code_packets[6]; /* lost ones of which no copy is sent, as they are coded */
    uint64_t congestion_packets;  /* not repeated: a queue was full, and the sender must hear of it */
    uint64_t crowded_packets;     /* pushed out by newer ones before they were acknowledged */
    uint64_t unsent_packets;      /* repair that could not be sent: no buffer, no address, no room */
    uint64_t repeats_in;
    uint64_t restored_in;         /* datagrams that came by a copy */
    uint64_t known_in;            /* that had come already */
    uint64_t codes_in;
    uint64_t undecoded_in;        /* of those, that came when more was missing than they can tell */
    uint64_t decoded_in;          /* datagrams that were decoded */
    uint64_t abandoned_in;        /* numbers that the peer has given up */
} oxi_repair_stats;

/* What there is to know of a path that repairs: see oxi_path_stats for the fields of the same name. */
typedef struct oxi_path_row {
    uint64_t peer;
    uint64_t path;
    uint64_t repairable_packets;
    uint64_t repairable_acked_packets;
    uint64_t repairable_acked_bytes;
    uint64_t repairable_lost_packets;
    uint64_t congestion_lost_packets;
    uint64_t kept_packets;
    uint64_t acks_received;
    uint64_t rtt_ns;
    uint64_t rtt_var_ns;
    uint64_t rtt_min_ns;
    uint64_t rtt_latest_ns;
    uint64_t loss_ppm;
} oxi_path_row;

typedef struct oxi_repair_conf {
    uint32_t mode;                /* OXI_REPAIR_* */
    uint32_t overhead_permille;   /* repair per packet sent, of classes with a deadline; at most 4000 */
    uint32_t overhead_ordered_permille; /* of the others */
} oxi_repair_conf;

/* Time of one stage, taken in one turn of 64. */
typedef struct oxi_stage_time {
    uint64_t packets;             /* that went in */
    uint64_t ns;
} oxi_stage_time;

/* The oracle's net: scores = relu(features * hidden_weights + hidden_bias) * score_weights + score_bias. */
typedef struct oxi_oracle_model {
    float hidden_weights[128];    /* [OXI_ORACLE_FEATURES][OXI_ORACLE_HIDDEN] */
    float hidden_bias[16];
    float score_weights[64];      /* [OXI_ORACLE_HIDDEN][OXI_ORACLE_VERDICTS] */
    float score_bias[4];
} oxi_oracle_model;

typedef struct oxi_oracle_stats {
    uint64_t verdicts[4];         /* packets, by OXI_ORACLE_* */
    uint64_t looked_packets;      /* of those, looked at; the others are of a remembered flow, or have nothing
                                   * to compress */
    uint64_t missed_attempts;     /* compressions that saved nothing */
    uint64_t given_up_flows;      /* times that a flow was found to save nothing */
} oxi_oracle_stats;

/* Whose verdict it was, for oxi_oracle_learn(). */
typedef struct oxi_oracle_ticket {
    uint32_t slot;
    uint32_t tag;
    uint32_t bare;                /* the verdict when compression saves nothing */
} oxi_oracle_ticket;

/* A packet and what is known of it. */
typedef struct oxi_oracle_packet {
    const uint8_t *data;          /* a whole IP packet */
    uint32_t len;
    uint32_t payload_at;          /* behind its IP and TCP, UDP, ... headers; len or more: no payload */
    uint32_t peer;                /* flows of different peers are different flows */
    uint8_t  is_allowed;          /* the payload of this class of flows may be compressed at all */
    uint8_t  is_urgent;           /* sensitive to time; a DSCP from CS4 on says so, too */
} oxi_oracle_packet;

typedef struct oxi_io_conf {
    int      tun_fds[16];         /* of each worker: IFF_TUN | IFF_NO_PI, non-blocking; the caller's */
    uint32_t tun_has_header;      /* IFF_VNET_HDR: a virtio_net_hdr of 10 bytes before each packet */
    int      notify_fd;           /* eventfd written when control, events or carrier packets wait */
    uint32_t sock_count;          /* 1..OXI_SOCKETS_MAX, the same for each worker */
    /* UDP, bound, non-blocking; the caller's. Socket i of worker w is [w * OXI_SOCKETS_MAX + i]. With more
     * than one worker, socket w of its reuse-port group takes the data packets whose receiver index is w
     * modulo workers, and socket 0 all others. */
    int      sock_fds[128];
} oxi_io_conf;

uint32_t oxi_abi(void);
const char *oxi_drop_name(uint32_t reason);   /* "replayed", ...; NULL past the last */
const char *oxi_drop_help(uint32_t reason);
/* stages in order (OXI_TIMES_*); NULL past the last */
const char *oxi_stage_name(uint32_t which, uint32_t i);
uint32_t oxi_suite_best(void);                /* by what this CPU does fast */
/* The crypto libraries, OXI_AEAD_OPENSSL and OXI_AEAD_IPSEC_MB; NULL: no such library. */
const char *oxi_aead_name(uint32_t library);
const char *oxi_aead_version(uint32_t library); /* "" where it was not found */
/* Why it can not be used here; NULL: it can.  The first call loads and checks it. */
const char *oxi_aead_trouble(uint32_t library);
uint32_t oxi_aead_used(const oxi_dp *dp);     /* which one seals and opens; 0: no plane */
uint64_t oxi_clock_ns(void);                  /* CLOCK_MONOTONIC, the clock of the io thread */

oxi_dp *oxi_dp_new(const oxi_conf *conf);     /* NULL: bad conf, no memory or no such crypto library */
void oxi_dp_free(oxi_dp *dp);                 /* stops the io thread first */

/* [owner] peers, routes, paths */
int oxi_peer_add(oxi_dp *dp, uint64_t keepalive_ns, uint64_t dead_after_ns, uint32_t is_initiator,
        uint32_t *peer_out);
/* keepalive 0: off */
int oxi_peer_timers(oxi_dp *dp, uint32_t peer, uint64_t keepalive_ns, uint64_t dead_after_ns);
int oxi_peer_remove(oxi_dp *dp, uint32_t peer);
/* replaces all; later duplicates refused */
int oxi_routes_set(oxi_dp *dp, const oxi_prefix *prefixes, uint32_t count);
int oxi_path_set(oxi_dp *dp, uint32_t peer, uint32_t path, const oxi_addr *addr,
        uint32_t payload_max);
/* another payload_max alone: wherever the path leads by now */
int oxi_path_payload(oxi_dp *dp, uint32_t peer, uint32_t path, uint32_t payload_max);

/* [owner] keys.  A new session of a peer replaces the one before, which still opens packets for 10 s. */
/* a usable rx_index near random24 */
int oxi_index_pick(oxi_dp *dp, uint32_t random24, uint32_t *index_out);
int oxi_session_install(oxi_dp *dp, uint64_t now_ns, uint32_t peer, const oxi_session *session);
/* the receive-only session may send now */
int oxi_session_send(oxi_dp *dp, uint64_t now_ns, uint32_t peer);
/* forget all keys of this peer */
int oxi_session_drop(oxi_dp *dp, uint32_t peer);
/* Epochs are those of the session that sends. */
int oxi_epoch_install(oxi_dp *dp, uint64_t now_ns, uint32_t peer, uint32_t epoch,
        const uint8_t *rx_key, const uint8_t *tx_key);
int oxi_epoch_send(oxi_dp *dp, uint64_t now_ns, uint32_t peer, uint32_t epoch);

/* [owner] Repair, of all workers; needs repair_bytes unless the mode is OFF. */
int oxi_repair_set(oxi_dp *dp, const oxi_repair_conf *conf);
/* [owner] For the next 1.5 s on this path: OXI_REGIME_*, repair symbols per 1,000 packets where no copy comes
 * in time (at most 1000), copies of the last round (1..3).  Then the packet path's own rule holds again. */
int oxi_repair_wish(oxi_dp *dp, uint64_t now_ns, uint32_t peer, uint32_t path, uint32_t regime,
        uint32_t redundancy_permille, uint32_t copies);
int oxi_repair_stats_read(oxi_dp *dp, oxi_repair_stats *out); /* [any], summed over workers */
/* [any] Paths that have kept something for repair, of peers that anything was sent to since then; by the
 * worker that sends to them now.  Returns how many rows were written, at most max. */
int oxi_paths_read(oxi_dp *dp, uint64_t since_ns, oxi_path_row *rows, uint32_t max);

/* [owner] one PING on a path: to its own address (addr NULL) or to another one; answered by OXI_EV_PONG. */
int oxi_ping(oxi_dp *dp, uint64_t now_ns, uint32_t peer, uint32_t path, const oxi_addr *addr,
        uint64_t token, uint32_t flags, uint32_t pad_bytes);

/* [any] what waits for Python.  Return how many were written.  Datagram i lies at buf + i * stride. */
int oxi_control_pop(oxi_dp *dp, uint8_t *buf, uint32_t stride, uint32_t *len, oxi_addr *from,
        uint32_t max);
int oxi_event_pop(oxi_dp *dp, oxi_event *events, uint32_t max);
int oxi_carrier_pop(oxi_dp *dp, uint8_t *buf, uint32_t stride, uint32_t *len, uint32_t *peer,
        uint32_t max);
/* [owner] data packets that came in QUIC DATAGRAMs of this peer. */
int oxi_carrier_push(oxi_dp *dp, uint64_t now_ns, uint32_t peer, const uint8_t *buf,
        uint32_t stride, const uint32_t *len, uint32_t count);

/* [any] counters: single-writer words read without a lock */
int oxi_stats_read(oxi_dp *dp, oxi_stats *out);
/* [OXI_TIMES][OXI_STAGES_MAX] entries */
int oxi_stage_times_read(oxi_dp *dp, oxi_stage_time *out);
int oxi_peer_stats_read(oxi_dp *dp, uint32_t peer, oxi_peer_stats *out);

/* Without the io thread: the simulator and tests are the shell.  E_BUSY while the thread runs.
 * Packets lie at buf + i * stride.  push takes all count (<= OXI_BATCH_MAX): each is sent, delivered
 * or counted. */
int oxi_inner_push(oxi_dp *dp, uint64_t now_ns, const uint8_t *buf, uint32_t stride,
        const uint32_t *len, uint32_t count);
int oxi_inner_pop(oxi_dp *dp, uint8_t *buf, uint32_t stride, uint32_t *len, uint32_t *peer,
        uint32_t max);
/* One super-packet (or packet) as the TUN gives it; packets that come of it go through as above. */
int oxi_super_push(oxi_dp *dp, uint64_t now_ns, const uint8_t *data, uint32_t len, const oxi_super *how);
/* The next one for the TUN, at most OXI_SUPER_MAX bytes, with its number of packets; len_out 0: none. */
int oxi_super_pop(oxi_dp *dp, uint8_t *buf, uint32_t cap, uint32_t *len_out, uint32_t *packets_out,
        oxi_super *how_out);
int oxi_outer_push(oxi_dp *dp, uint64_t now_ns, const uint8_t *buf, uint32_t stride,
        const uint32_t *len, const oxi_addr *from, uint32_t count);
int oxi_outer_pop(oxi_dp *dp, uint8_t *buf, uint32_t stride, uint32_t *len, oxi_addr *to,
        uint32_t max);
/* The next datagrams that leave in one message, at most max: one, or with OXI_OFFLOAD_GSO a train. */
int oxi_train_pop(oxi_dp *dp, uint8_t *buf, uint32_t stride, uint32_t *len, oxi_addr *to, uint32_t max);
/* due timers; returns when to call again (UINT64_MAX: never) */
uint64_t oxi_tick(oxi_dp *dp, uint64_t now_ns);

/* [owner] OXI_OFFLOAD_*; none at first. Those of the TUN need tun_has_header. */
int oxi_offload_set(oxi_dp *dp, uint32_t offload);

/* [owner] Which payloads are compressed, by port; needs compress_payload. Replaces all. */
int oxi_compression_set(oxi_dp *dp, const oxi_lz_rule *rules, uint32_t count);
int oxi_compression_stats_read(oxi_dp *dp, oxi_compression_stats *out); /* [any], summed over workers */

/* The compression oracle. Features and verdicts in order; NULL past the last. */
const char *oxi_oracle_feature_name(uint32_t i);
const char *oxi_oracle_feature_help(uint32_t i);
float oxi_oracle_feature_max(uint32_t i);         /* 0 past the last */
const char *oxi_oracle_verdict_name(uint32_t verdict);
/* Of any bytes; out[OXI_ORACLE_FEATURES]. */
int oxi_oracle_features(const uint8_t *packet, uint32_t len, uint32_t payload_at, uint32_t is_urgent,
        float *out);
/* scores_out[OXI_ORACLE_VERDICTS] */
int oxi_oracle_scores(const oxi_oracle_model *model, const float *features, float *scores_out);
/* What the model (NULL: the heuristic) makes of them. len: of the packet. */
int oxi_oracle_judge(const oxi_oracle_model *model, const float *features, uint32_t len,
        uint32_t *verdict_out);
/* Is a payload that got so much shorter worth sending as such? */
uint32_t oxi_oracle_is_worth(uint32_t len, uint32_t payload_bytes, uint32_t saved_bytes);
/* [owner] From now on with this model (NULL: with the heuristic); all flows are forgotten. */
int oxi_oracle_set(oxi_dp *dp, const oxi_oracle_model *model, uint64_t seed);
int oxi_oracle_stats_read(oxi_dp *dp, oxi_oracle_stats *out); /* [any], summed over workers */
/* Without the io thread, of the first worker: for tests. */
int oxi_oracle_ask(oxi_dp *dp, const oxi_oracle_packet *packet, uint32_t *verdict_out,
        oxi_oracle_ticket *ticket_out);
int oxi_oracle_learn(oxi_dp *dp, const oxi_oracle_ticket *ticket, uint32_t has_saved);

/* Traffic classes: names of OXI_CLASS_* and of OXI_WHY_*; NULL past the last. */
const char *oxi_class_name(uint32_t traffic_class);
const char *oxi_why_name(uint32_t why);
/* [owner] The first rule that applies decides; replaces all. */
int oxi_classes_set(oxi_dp *dp, const oxi_class_rule *rules, uint32_t count);
/* [owner] At most max flows of all workers, in no order; returns how many. */
int oxi_flows_read(oxi_dp *dp, uint64_t now_ns, oxi_flow *out, uint32_t max);

/* The io thread. */
int oxi_io_start(oxi_dp *dp, const oxi_io_conf *conf, int *errno_out);
int oxi_io_stop(oxi_dp *dp);                      /* drains, joins; idempotent */
/* cffi: end */
#include "oxi_parts.h"
#endif
