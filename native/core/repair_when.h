/* repair_when.h - what the clock says about repair: does another round trip fit, when is a packet lost, may
 * a queue have overflowed? Pure functions of what is measured of a path.
 *
 * A copy of a lost packet comes in time iff 1.5 round trips and the time to notice fit into the budget of its
 * class; otherwise only what is sent before the loss is known helps: a code, made of what is young enough. */
#ifndef OXI_REPAIR_WHEN_H
#define OXI_REPAIR_WHEN_H
#include "limits.h"
#include "base.h"

/* What is measured of the path. */
typedef struct path_times {
    uint64_t rtt_ns;     /* smoothed; 0: not known */
    uint64_t rtt_var_ns;
    uint64_t rtt_min_ns;
    uint64_t rtt_latest_ns;
    uint64_t reorder_ns; /* how much later than its neighbours a packet may come */
} path_times;

/* One way, from the TUN to the TUN; NEVER_NS: none, packets are kept in order instead (order.c). */
uint64_t class_budget_ns(uint32_t traffic_class);
static inline bool class_is_timed(uint32_t traffic_class)
{
    return class_budget_ns(traffic_class) != NEVER_NS;
}

/* How long after it was sent a packet of this class may leave and still come in time; 0: never. */
uint64_t leave_after_ns(uint32_t traffic_class, uint64_t held_ns, const path_times *t);
/* How long after a prompt packet left its acknowledgement should be there. */
uint64_t prompt_wait_ns(const path_times *t);
/* How long the receiver may wait with that acknowledgement. */
uint64_t prompt_delay_ns(uint64_t rtt_ns);
/* Whether the loss can be known early enough for a copy. */
bool round_fits(uint64_t left_ns, const path_times *t);
/* A packet that was passed over by later ones is lost so long after it left. */
uint64_t passed_wait_ns(const path_times *t);
/* How old a packet is when its repair symbol is made: behind the burst that may have taken it. */
uint64_t code_lag_ns(uint32_t redundancy_permille, uint64_t leave_after);
/* How long packets stand in queues of the network, by the smoothed round trip. */
uint64_t queue_ns(const path_times *t);
/* Whether packets stand in a queue of the network, so that it may overflow. */
bool has_queue(const path_times *t);
#endif
