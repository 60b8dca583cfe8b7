/* hdr_context.h - the tables of both sides: contexts by flow, candidates, and which of them may be named. */
#ifndef OXI_HDR_CONTEXT_H
#define OXI_HDR_CONTEXT_H
#include "hdr_state.h"

/* Implementation of the compressor; none of it is seen by the restorer. */
enum {
    HDR_NONE = 0xffff,
    /* Packets of all flows after which a context may be given away: of a flow that has shown few packets so
     * far, in tables' worths, and of one that has shown more. */
    HDR_PROBATION_TABLES = 4,
    HDR_PROBATION_PACKETS = 8,
    HDR_ESTABLISHED_IDLE = 8192,
    HDR_CHAIN_MAX = 16,      /* contexts looked at in one bucket */
    HDR_REFRESH_PACKETS = 4096, /* of one flow between two set-ups: 40 bytes of 4,096 are 0.01 a packet */
    HDR_LOST_PNS = 3,        /* not acknowledged though so many later numbers are */
    HDR_LOST_PACKETS = 512,  /* of the flow: on a path that acknowledges nothing */
    HDR_PATH_RECENT = 1024,  /* packets of the flow for which a path counts as in use */
    HDR_LAG_UNKNOWN = 1024,  /* taken for the lag of another path that has acknowledged nothing yet */
    HDR_SPACING_MIN = HDR_STEP,
    HDR_LAG_SHALLOW = 2 * HDR_SPACING_MIN,
    /* Pairs of ports whose first packets look like RTP: the calls of a trunk all begin to speak at once. */
    HDR_DOUBT_SETS = 128,
    HDR_DOUBT_WAYS = 4,
    HDR_DOUBTS_MAX = 4       /* sources that one pair of ports may show before it is not RTP */
};

typedef enum { RTP_SURE, RTP_UNSURE, RTP_NEVER } hdr_rtp_doubt;
typedef enum { CANDIDATE_NONE, CANDIDATE_SENT, CANDIDATE_ACKED } hdr_candidate_state;

/* The datagram that a packet is to travel in, and those that have arrived. */
typedef struct hdr_place {
    const replay *acked;
    uint32_t path;
    uint64_t pn;
} hdr_place;

typedef struct hdr_candidate {
    hdr_fields f;
    uint64_t pn;
    uint32_t at;     /* compressor: which packet of the flow */
    uint16_t number;
    uint8_t path;
    uint8_t state;   /* restorer: CANDIDATE_NONE or CANDIDATE_ACKED */
} hdr_candidate;

/* What the last packets of a flow looked like; steers the coding. */
typedef struct hdr_trend {
    uint32_t seq;
    uint32_t ack;
    uint32_t stride;
    uint32_t stride_seen;
    uint16_t checksum;
    uint16_t id[HDR_LEVELS];
    uint8_t id_mode[HDR_LEVELS];
    uint8_t id_seen[HDR_LEVELS];
    uint8_t id_misses[HDR_LEVELS];
    uint8_t id_leaps[HDR_LEVELS];
} hdr_trend;

typedef struct hdr_tx_context {
    hdr_shape shape;
    uint8_t is_established;
    uint8_t changes;      /* rises with each candidate made because of a change */
    uint16_t bucket_next;
    uint16_t newer, older; /* in its list of use */
    uint16_t newest;      /* number of the latest candidate */
    uint32_t hash;
    uint32_t packets;
    uint32_t setup_at;
    uint32_t candidate_at;
    uint32_t path_at[OXI_PATHS_MAX]; /* the latest packet on each path; 0: none */
    uint32_t lags[OXI_PATHS_MAX];    /* packets of the flow until a candidate is acknowledged; 0: not known */
    uint64_t used_at;     /* in packets of all flows */
    hdr_trend trend;
    hdr_candidate slots[HDR_SLOTS];
    uint8_t fixed[HDR_FIXED_MAX];
} hdr_tx_context;

typedef struct hdr_list {
    uint16_t newest, oldest;
} hdr_list;

typedef struct hdr_doubt {
    uint32_t source;  /* of RTP, the latest */
    uint16_t tag;
    uint16_t sources; /* seen one after the other; 0: nobody's */
} hdr_doubt;

struct hdr_tx {
    uint64_t hash_key;
    uint64_t packets;
    uint32_t flows;
    uint32_t used;        /* contexts ever used */
    uint32_t bucket_mask;
    hdr_list probation, established;
    hdr_doubt doubts[HDR_DOUBT_SETS][HDR_DOUBT_WAYS];
    hdr_tx_context *contexts;
    uint16_t *buckets;
};

typedef struct hdr_rx_context {
    hdr_shape shape;
    uint8_t is_used;
    /* Packet number + 1 of the latest packet that would have become a candidate of a slot, but could not be
     * restored; and its path. 0: none. */
    uint64_t failed_next[HDR_SLOTS];
    uint8_t failed_path[HDR_SLOTS];
    hdr_candidate kept[HDR_KEPT];
    uint8_t fixed[HDR_FIXED_MAX];
} hdr_rx_context;

struct hdr_rx {
    uint32_t flows;
    hdr_rx_context *contexts;
};

/* ---- compressor ---- */
/* hash: for hdr_tx_admit() where there is none. */
hdr_tx_context *hdr_tx_find(hdr_tx *tx, const hdr_header *h, uint32_t *hash);
hdr_tx_context *hdr_tx_admit(hdr_tx *tx, const hdr_header *h, uint32_t hash); /* NULL: no place for it */
void hdr_tx_used(hdr_tx *tx, hdr_tx_context *c, uint32_t path);
hdr_rtp_doubt hdr_tx_doubt(hdr_tx *tx, const hdr_header *h);
void hdr_acks_look(hdr_tx_context *c, const replay *acked);
/* The newest candidate that may be named, one of this path before others. NULL: none. */
hdr_candidate *hdr_reference_pick(hdr_tx_context *c, uint32_t path);
/* Whether a packet of the datagram (path, pn) may become the candidate of this number. ref NULL: a set-up. */
bool hdr_number_is_free(const hdr_tx_context *c, const hdr_place *at, const hdr_candidate *ref,
                        uint16_t number);
bool hdr_number_next(const hdr_tx_context *c, const hdr_place *at, const hdr_candidate *ref,
                     uint16_t *number);
void hdr_candidate_sent(hdr_tx_context *c, uint16_t number, uint32_t path, uint64_t pn, const hdr_fields *f);
bool hdr_candidate_is_lost(const hdr_tx_context *c, const replay *acked, const hdr_candidate *k);
uint32_t hdr_distance(const hdr_tx_context *c, const hdr_fields *now, const hdr_candidate *ref);
/* Packets of the flow that lie at least between two candidates, so that what is under way to the restorer
 * does not find its reference pushed out; is_implied: the distance alone would make it one. */
uint32_t hdr_spacing(const hdr_tx_context *c, uint32_t path, bool is_implied);
void hdr_trend_follow(hdr_tx_context *c, hdr_header *h);
/* Keeps modes of the reference where they do as well as those that the trend suggests. */
void hdr_modes_settle(const hdr_shape *s, const hdr_fields *ref, const hdr_fields *predicted, bool may_switch,
                      hdr_fields *now);

/* ---- restorer ---- */
const hdr_candidate *hdr_kept_latest(const hdr_rx_context *c, uint32_t slot, uint32_t path, uint64_t pn);
const hdr_candidate *hdr_kept_exact(const hdr_rx_context *c, uint16_t number);
/* A packet that would have become the candidate of this slot could not be restored. */
void hdr_keep_failed(hdr_rx_context *c, uint32_t slot, uint32_t path, uint64_t pn);
void hdr_keep(hdr_rx_context *c, uint16_t number, uint32_t path, uint64_t pn, const hdr_fields *f);

/* ---- both ---- */
/* By a short distance alone; 0: it makes no candidate, otherwise how far its number is above the
 * reference's. */
static inline uint32_t hdr_implied_ahead(uint8_t bias, uint32_t distance)
{
    if (bias)
        return distance == HDR_STEP ? HDR_BIASED_AHEAD : 0;
    return distance % HDR_STEP == 0 ? distance / HDR_STEP : 0;
}
#endif
