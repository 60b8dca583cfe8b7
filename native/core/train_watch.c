/* train_watch.c - see train_watch.h. Counts alone decide; the only time is how long nothing was heard. */
#include "train_watch.h"

static uint64_t more_than(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }

/* Acknowledgements from `from` on count; so many were missing before. */
static void base_set(train_watch *w, uint64_t from, uint64_t missing)
{
    w->is_based = true;
    w->acked_from = from;
    w->missing_from = missing;
}

/* Much of what is under way left as it was before: what counts is from the first acknowledgement of a
 * datagram that did not. */
static void state_enter(train_watch *w, uint8_t state)
{
    w->state = state;
    w->is_based = false;
    w->sent_from = w->next_pn;
    w->trained = 0;
    w->rounds = w->tries = 0;
    w->proof_from = w->proof_to = 0;
    w->proof_sent = w->proof_lost = 0;
}

static void trial_begin(train_watch *w, uint64_t lost, uint64_t lost_of)
{
    state_enter(w, TRAINS_TRIAL);
    w->lost = lost;
    w->lost_of = lost_of;
}

/* Trains are not to blame: the next trial has to wait, each time for longer. */
static void rest(train_watch *w)
{
    state_enter(w, TRAINS_FREE);
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
    if (w->state != TRAINS_FREE && w->unheard >= TRAIN_TRIAL_PNS_MAX)
        rest(w);
    if (w->state != TRAINS_FREE || w->unheard < TRAIN_WINDOW_PNS || w->next_pn < w->rest_pn)
        return false;
    trial_begin(w, 1, 1);
    return true;
}

static void free_acked(train_watch *w, uint64_t acked, uint64_t missing)
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
    if (has_trains && !is_bad)
        w->verdict = TRAINS_ARRIVE;
    state_enter(w, TRAINS_FREE);
    base_set(w, acked, missing);
}

/* Whether `lost` of `of` is far less than what was lost of the others. */
static bool is_far_better(uint64_t lost, uint64_t of, uint64_t other_lost, uint64_t other_of)
{
    return lost * TRAIN_FAR_BETTER * other_of < other_lost * of;
}

static void trial_acked(train_watch *w, uint64_t acked, uint64_t missing)
{
    uint64_t of = more_than(acked, w->acked_from);
    if (of < TRAIN_WINDOW_PNS)
        return;
    if (is_far_better(more_than(missing, w->missing_from), of, w->lost, w->lost_of)) {
        state_enter(w, TRAINS_PROOF);
        base_set(w, acked, missing);
    } else {
        rest(w);
    }
}

/* All short trains are judged together: a loss that comes and goes does not follow them so often. */
static bool alone_are_lost(const train_watch *w, uint64_t acked, uint64_t missing)
{
    uint64_t singles = more_than(more_than(acked, w->acked_from), w->proof_sent);
    uint64_t singles_lost = more_than(more_than(missing, w->missing_from), w->proof_lost);
    return is_far_better(singles_lost, singles, w->proof_lost, w->proof_sent);
}

static void proof_acked(train_watch *w, const train_report *r, uint64_t missing)
{
    if (w->proof_from == w->proof_to || r->acked < w->proof_to + TRAIN_PROOF_APART_PNS)
        return;
    w->tries++;
    if (r->is_proof_known) {
        uint64_t sent = w->proof_to - w->proof_from;
        w->rounds++;
        w->proof_sent += sent;
        w->proof_lost += more_than(sent, r->proof);
    }
    w->proof_from = w->proof_to;
    bool have_arrived = w->proof_lost * 4 < w->proof_sent;
    if (!have_arrived && w->rounds == TRAIN_ROUNDS && alone_are_lost(w, r->acked, missing)) {
        w->verdict = TRAINS_LOST;
        state_enter(w, TRAINS_FREE);
    } else if (have_arrived || w->rounds == TRAIN_ROUNDS || w->tries == TRAIN_TRIES_MAX) {
        rest(w);
    }
}

bool train_watch_acked(train_watch *w, const train_report *r)
{
    w->unheard = 0;
    if (w->verdict == TRAINS_LOST)
        return false;
    uint64_t missing = more_than(r->acked, r->received);
    uint8_t before = w->state;
    if (!w->is_based && r->acked >= w->sent_from)
        base_set(w, r->acked, missing);
    if (!w->is_based)
        return false;
    if (w->state == TRAINS_FREE)
        free_acked(w, r->acked, missing);
    else if (w->state == TRAINS_TRIAL)
        trial_acked(w, r->acked, missing);
    else
        proof_acked(w, r, missing);
    return w->verdict == TRAINS_LOST || (w->state == TRAINS_TRIAL && before != TRAINS_TRIAL);
}
