/* repair_when.c - see repair_when.h. */
#include "repair_when.h"

/* Beyond the estimate of the way there: the clock's grain, the sockets, and a little jitter. */
#define MARGIN_NS (2 * NS_PER_MS)
/* How late an acknowledgement may be. */
#define SPREAD_NS_MIN (4 * NS_PER_MS)
#define SPREAD_NS_MAX (15 * NS_PER_MS)

uint64_t class_budget_ns(uint32_t traffic_class)
{
    switch (traffic_class) {
    case OXI_CLASS_GAMING:
        return 100 * NS_PER_MS;
    case OXI_CLASS_VOIP:
        return 150 * NS_PER_MS;
    case OXI_CLASS_CONTROL:
        return 250 * NS_PER_MS;
    default:
        return NEVER_NS;
    }
}

/* What stands in a queue is taken to stand on our way there, where the packets are. */
static uint64_t way_there_ns(const path_times *t)
{
    return t->rtt_ns - min_u64(t->rtt_ns, t->rtt_min_ns / 2);
}

uint64_t leave_after_ns(uint32_t traffic_class, uint64_t held_ns, const path_times *t)
{
    uint64_t budget = class_budget_ns(traffic_class);
    if (budget == NEVER_NS)
        return NEVER_NS;
    uint64_t spent = way_there_ns(t) + held_ns + MARGIN_NS;
    return budget > spent ? budget - spent : 0;
}

uint64_t prompt_delay_ns(uint64_t rtt_ns)
{
    return min_u64(max_u64(rtt_ns / 32, NS_PER_MS), 3 * NS_PER_MS);
}

uint64_t prompt_wait_ns(const path_times *t)
{
    uint64_t spread = min_u64(max_u64(2 * t->rtt_var_ns, SPREAD_NS_MIN), SPREAD_NS_MAX);
    return max_u64(t->rtt_ns, t->rtt_latest_ns) + prompt_delay_ns(t->rtt_ns) + spread;
}

/* Whatever the latest round trip: a class does not go from repeating to coding for one late sample. */
bool round_fits(uint64_t left_ns, const path_times *t)
{
    return t->rtt_ns + prompt_delay_ns(t->rtt_ns) + SPREAD_NS_MIN <= left_ns;
}

/* The acknowledgement that passes it over may be of a packet that left just after it. */
uint64_t passed_wait_ns(const path_times *t)
{
    return max_u64(t->rtt_ns, t->rtt_latest_ns) + max_u64(t->reorder_ns, NS_PER_MS);
}

uint64_t code_lag_ns(uint32_t redundancy_permille, uint64_t leave_after)
{
    return redundancy_permille < 1000 ? 0 : min_u64(60 * NS_PER_MS, leave_after / 10 * 9);
}

uint64_t queue_ns(const path_times *t) { return t->rtt_ns - min_u64(t->rtt_ns, t->rtt_min_ns); }

/* Less may be jitter. */
bool has_queue(const path_times *t)
{
    return queue_ns(t) >= max_u64(10 * NS_PER_MS, t->rtt_min_ns / 4);
}
