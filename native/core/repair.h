/* repair.h - lost packets come back in time: what is kept of each path for that (repair_*.c). */
#ifndef OXI_REPAIR_H
#define OXI_REPAIR_H
#include "contents.h"
#include "repair_when.h"
#include "replay.h"
#include "pkt.h"
#include "rlc_decoder.h"

struct dp;
struct peer;

/* What the control plane wants for a path. */
typedef struct repair_wish {
    uint64_t until_ns; /* then our own rule goes on */
    uint32_t regime;   /* OXI_REGIME_* */
    uint32_t redundancy_permille;
    uint32_t copies;
} repair_wish;

/* Numbers whose content will not come again, to be told to the peer. */
typedef struct abandoned {
    uint64_t pns[ABANDON_MAX];
    uint32_t count;
} abandoned;

/* The members of a class that are coded together, in the order they are sent. */
typedef struct code_stream {
    uint64_t next_seq;
    uint32_t newest; /* slot + 1 */
    uint32_t credit; /* thousandths of a repair symbol */
    uint32_t owed;   /* that many are to be sent at the end of this turn */
} code_stream;

typedef struct repair_path {
    contents_ends lists[CONTENTS_LISTS];
    repair_wish wish;
    uint64_t budget_permille[2];   /* thousandths of a repair packet that may be sent: of classes without a
                                    * deadline, and with one */
    code_stream streams[OXI_CLASSES];
    uint32_t loss_ppm;             /* of what acknowledgements report on, moving average */
    uint32_t random_ppm;           /* the same without what a full queue took */
    uint32_t boost_permille;       /* repair symbols that may be sent beyond that, in thousandths */
    uint32_t recent_ppm;           /* of the last hundred or so, by whatever cause */
    uint32_t free_ppm;             /* of what was sent while no queue stood */
    uint64_t queue_ns_max;         /* that stood there lately; fades from queue_max_at_ns on */
    uint64_t queue_max_at_ns;
    uint64_t reorder_ns;
    uint64_t slot;                 /* of REPAIR_SLOT_NS */
    uint64_t slot_bytes;           /* sent in it */
    uint64_t slot_before_bytes;
    uint64_t largest_sent_ns;      /* when the largest acknowledged number was sent */
    uint64_t due_ns;               /* when to look at the lists again */
    replay carried;                /* numbers whose datagram had a content that was kept */
    uint64_t ordered_ns;           /* when something that is kept in order left last */
    uint64_t looked_next;          /* numbers below, as far as they are missing, have been looked at */
    abandoned told;                /* once; to be told again at tell_ns, as that may have been lost */
    uint64_t tell_ns;
} repair_path;

/* The symbol of a source that has come; in the store, where newer ones overwrite it. */
typedef struct source_place {
    uint64_t seq;
    uint64_t at; /* counted from the beginning of the store through all turns */
    uint32_t bytes; /* 0: none */
} source_place;

/* A stream that is decoded. */
typedef struct decoder_slot {
    uint64_t serial; /* of its session; 0: free */
    uint64_t used;   /* by repair.decoder_clock: the longest idle gives way */
    uint64_t newest; /* sequence number, of source or window */
    uint32_t path;
    uint32_t stream;
    rlc_decoder *rlc;
    source_place sources[RLC_WINDOW_MAX + 1]; /* by sequence number modulo that */
} decoder_slot;

typedef struct repair {
    oxi_repair_conf conf;
    const gf256_library *gf;
    decoder_slot *decoders; /* DECODERS; NULL: none */
    uint8_t *decoder_memory;
    uint64_t decoder_clock;
    uint8_t *store;         /* DECODER_STORE_BYTES: symbols that have come, of all streams */
    uint64_t store_head;
    fifo decoded;           /* contents that were decoded in this turn */
    oxi_repair_stats stats;
} repair;

/* What the peer has acknowledged on this path has just changed. sent_ns: when the largest left, 0: unknown */
void repair_acked(struct dp *d, struct peer *pr, uint32_t path_id, uint64_t sent_ns, uint64_t now_ns);
void repair_tick(struct dp *d, struct peer *pr, uint64_t now_ns);
/* Nothing of this peer's sessions so far is sent again. */
void repair_forget(struct dp *d, struct peer *pr);
#endif
