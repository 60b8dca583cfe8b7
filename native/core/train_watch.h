/* train_watch.h - do trains (UDP_SEGMENT) arrive on this path? Some drivers, cards and virtual switches take
 * a train and lose its datagrams without a word, while the same datagrams pass one by one.
 *
 * The loss told by acknowledgements is watched. Where much of what left in trains is missing, a trial
 * follows: the same traffic one by one. If that loses far less, trains come back, and so on in turns: a link
 * that is congested, dead or fading does not follow our turns, a device that loses trains does. After
 * TRAIN_ROUNDS in a row the path goes without trains; a trial that tells nothing puts the next one off.
 *
 * Arriving trains need no such watch: the kernel joins (UDP_GRO) what has arrived, and says how to cut it. */
#ifndef OXI_TRAIN_WATCH_H
#define OXI_TRAIN_WATCH_H
#include "base.h"
#include "limits.h"

enum { TRAINS_UNKNOWN, TRAINS_ARRIVE, TRAINS_LOST }; /* what is known of a path */

/* All packet numbers are those of the session that sends. */
typedef struct train_watch {
    uint8_t verdict;        /* TRAINS_*; LOST: for good */
    uint8_t rounds;         /* in a row, in which trains lost much and single datagrams did not */
    bool is_trial;          /* nothing leaves in a train now */
    bool is_based;          /* acked_from and missing_from are known */
    uint64_t next_pn;       /* behind the last datagram that left */
    uint64_t sent_from;     /* next_pn when this window or trial began */
    uint64_t trained;       /* of those since, left in trains */
    uint64_t acked_from;    /* acknowledgements from this number on count for it */
    uint64_t missing_from;  /* passed over before it */
    uint64_t lost;          /* what the window before the trial lost, of so many: */
    uint64_t lost_of;
    uint64_t unheard;       /* left since the last acknowledgement, in trains or in a trial, */
    uint64_t unheard_ns;    /* and when the first of them was sealed */
    uint64_t rest_pn;       /* no trial before this */
    uint64_t rest_pns;      /* how long the last rest was */
} train_watch;

static inline bool trains_may_leave(const train_watch *w)
{
    return !w->is_trial && w->verdict != TRAINS_LOST;
}

/* A datagram of the path left. */
static inline void train_watch_sent(train_watch *w, uint64_t pn, bool is_in_train)
{
    w->next_pn = pn + 1;
    w->trained += is_in_train;
    w->unheard += is_in_train | w->is_trial;
}

/* Packet numbers begin anew; what is known of the path stays. */
void train_watch_restart(train_watch *w);
/* A batch was sealed. True: a trial begins, because trains leave and nothing is acknowledged any more. */
bool train_watch_sealed(train_watch *w, uint64_t now_ns);
/* The peer says: of the first `acked` packet numbers, so many received. True: a trial begins, or the verdict
 * has just become TRAINS_LOST. */
bool train_watch_acked(train_watch *w, uint64_t acked, uint64_t received);
#endif
