/* train_watch.c - see train_watch.h. Counts alone decide; the only time is how long nothing was heard. */
#include "train_watch.h"

static uint64_t more_than(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }

/* From now on the other way. Much of what is under way still left the old way: what counts is from the first
 * acknowledgement of a datagram that did not. */
static void turn_begin(train_watch *w, bool is_trial)
{
    w->is_trial = is_trial;
    w->is_based = false;
    w->sent_from = w->next_pn;
    w->trained = 0;
}

static void trial_begin(train_watch *w, uint64_t lost, uint64_t lost_of)
{
    turn_begin(w, true);
    w->lost = lost;
    w->lost_of = lost_of;
}

/* Acknowledgements from `from` on count; so many were missing before. */
static void base_set(train_watch *w, uint64_t from, uint64_t missing)
{
    w->is_based = true;
    w->acked_from = from;
    w->missing_from = missing;
}

/* Nothing was shown: the next trial has to wait, each time for longer. */
static void rest(train_watch *w)
{
    w->rounds = 0;
    w->rest_pns = min_u64(max_u64(2 * w->rest_pns, TRAIN_REST_PNS_MIN), TRAIN_REST_PNS_MAX);
    w->rest_pn = w->next_pn + w->rest_pns;
}

void train_watch_restart(train_watch *w)
{
    *w = (train_watch){ .verdict = w->verdict, .rest_pns = w->rest_pns };
}

bool train_watch_sealed(train_watch *w, uint64_t now_ns)
{
    if (w->unheard == 0)
        w->unheard_ns = now_ns;
    if (now_ns - w->unheard_ns < TRAIN_SILENCE_NS || w->verdict == TRAINS_LOST)
        return false;
    if (w->is_trial && w->unheard >= TRAIN_TRIAL_PNS_MAX) {
        rest(w);
        turn_begin(w, false);
    }
    if (w->is_trial || w->unheard < TRAIN_WINDOW_PNS || w->next_pn < w->rest_pn)
        return false;
    trial_begin(w, 1, 1);
    return true;
}

static void trial_acked(train_watch *w, uint64_t of, uint64_t missing)
{
    if (of < TRAIN_WINDOW_PNS)
        return;
    bool is_far_better = more_than(missing, w->missing_from) * TRAIN_FAR_BETTER * w->lost_of < w->lost * of;
    if (!is_far_better)
        rest(w);
    else if (++w->rounds == TRAIN_ROUNDS)
        w->verdict = TRAINS_LOST;
    turn_begin(w, false);
    /* Those under way do arrive, or trains will not leave again soon. Whatever is lost from here on counts:
     * where all trains are lost, the next acknowledgement may be of a datagram behind them all. */
    base_set(w, w->next_pn, missing);
}

static void window_acked(train_watch *w, uint64_t acked, uint64_t missing)
{
    uint64_t of = more_than(acked, w->acked_from);
    bool has_trains = w->trained >= TRAIN_WINDOW_PNS / 2;
    if (of < TRAIN_WINDOW_PNS || (!has_trains && of < TRAIN_IDLE_PNS_MAX))
        return;
    uint64_t lost = more_than(missing, w->missing_from);
    uint64_t sent = w->next_pn - w->sent_from;
    /* A quarter of all, and half of what left in trains, had only those been lost. How many these were is
     * known of what has left since, not of what is acknowledged by now: so both are taken as shares. */
    bool is_bad = lost * 4 >= of && lost * 2 * sent > w->trained * of;
    if (has_trains && is_bad && w->next_pn >= w->rest_pn) {
        trial_begin(w, lost, of);
        return;
    }
    if (has_trains && !is_bad) {
        w->verdict = TRAINS_ARRIVE;
        if (w->rounds)
            rest(w);
    }
    turn_begin(w, false);
    base_set(w, acked, missing);
}

bool train_watch_acked(train_watch *w, uint64_t acked, uint64_t received)
{
    w->unheard = 0;
    if (w->verdict == TRAINS_LOST)
        return false;
    uint64_t missing = more_than(acked, received);
    bool was_trial = w->is_trial;
    if (!w->is_based && acked >= w->sent_from)
        base_set(w, acked, missing);
    if (w->is_based && w->is_trial)
        trial_acked(w, more_than(acked, w->acked_from), missing);
    else if (w->is_based)
        window_acked(w, acked, missing);
    return w->verdict == TRAINS_LOST || (w->is_trial && !was_trial);
}
