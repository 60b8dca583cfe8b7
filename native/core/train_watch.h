/* train_watch.h - do trains (UDP_SEGMENT) arrive on this path? Some drivers, cards and virtual switches take
 * a train and lose its datagrams without a word, while the same datagrams pass one by one.
 *
 * FREE: trains leave, and the loss told by acknowledgements is watched. Where much is missing,
 * TRIAL: the same traffic goes one by one. If that loses far less,
 * PROOF: one short train at a time goes between single datagrams. A link that is congested, dead or fading
 * loses what is beside them as well; a device that loses trains loses them alone. After TRAIN_ROUNDS of them
 * the path goes without trains for good, or trains leave again and the next trial waits, each time longer.
 *
 * Arriving trains need no such watch: the kernel joins (UDP_GRO) what has arrived, and says how to cut it. */
#ifndef OXI_TRAIN_WATCH_H
#define OXI_TRAIN_WATCH_H
#include "base.h"
#include "limits.h"

enum { TRAINS_UNKNOWN, TRAINS_ARRIVE, TRAINS_LOST }; /* what is known of a path; LOST: for good */
enum { TRAINS_FREE, TRAINS_TRIAL, TRAINS_PROOF };    /* what may leave now */

/* All packet numbers are those of the session that sends. */
typedef struct train_watch {
    uint8_t verdict;       /* TRAINS_UNKNOWN, ARRIVE, LOST */
    uint8_t state;         /* TRAINS_FREE, TRIAL, PROOF */
    bool is_based;         /* acked_from and missing_from are known */
    uint8_t rounds;        /* short trains of this proof of which it is known what arrived, */
    uint8_t tries;         /* and all of them */
    /* written for each datagram */
    uint64_t next_pn;      /* behind the last that left */
    uint64_t trained;      /* left in trains since sent_from */
    uint64_t unheard;      /* left since the last acknowledgement, in trains or while these are not FREE */
    /* written for each batch or acknowledgement, or less often */
    uint64_t unheard_ns;   /* when the first of those unheard was sealed */
    uint64_t sent_from;    /* next_pn when this window, trial or proof began */
    uint64_t acked_from;   /* acknowledgements from this number on count for it */
    uint64_t missing_from; /* passed over before it */
    uint64_t lost;         /* what the window before the trial lost, of so many: */
    uint64_t lost_of;
    uint64_t proof_from;   /* the short train that is out: its first number, and behind its last */
    uint64_t proof_to;     /* the same: none is out */
    uint64_t proof_sent;   /* datagrams of the short trains, */
    uint64_t proof_lost;   /* and those of them that did not arrive */
    uint64_t rest_pn;      /* no trial before this */
    uint64_t rest_pns;     /* how long the last rest was */
} train_watch;

/* Most packets of one message. is_first: nothing was gathered before it, so what left is known. */
static inline uint32_t train_max(const train_watch *w, bool is_first)
{
    if (w->state == TRAINS_FREE && w->verdict != TRAINS_LOST)
        return TRAIN_PKTS_MAX;
    return w->state == TRAINS_PROOF && is_first && w->proof_from == w->proof_to ? TRAIN_PROOF_PKTS : 1;
}

/* A datagram of the path left. */
static inline void train_watch_sent(train_watch *w, uint64_t pn, bool is_in_train)
{
    w->next_pn = pn + 1;
    w->trained += is_in_train;
    w->unheard += is_in_train || w->state != TRAINS_FREE;
    if (OXI_UNLIKELY(is_in_train && w->state == TRAINS_PROOF)) {
        w->proof_from = w->proof_from == w->proof_to ? pn : w->proof_from;
        w->proof_to = pn + 1;
    }
}

/* What an acknowledgement says. */
typedef struct train_report {
    uint64_t acked;        /* of so many packet numbers, from 0 on, */
    uint64_t received;     /* so many were received; */
    uint64_t proof;        /* of the train that was out, so many, */
    bool is_proof_known;   /* if its list of numbers reaches down to it */
} train_report;

/* Packet numbers begin anew; what is known of the path stays. */
void train_watch_restart(train_watch *w);
/* A batch was sealed. True: a trial begins, because trains leave and nothing is acknowledged any more. */
bool train_watch_sealed(train_watch *w, uint64_t now_ns);
/* True: a trial begins, or the verdict has just become TRAINS_LOST. */
bool train_watch_acked(train_watch *w, const train_report *r);
#endif
