/* repair_loss.c - what became of what was sent: acknowledged, or lost and sent again, coded, or given up.
 *
 * A packet is lost when others that left later have been acknowledged and it has had the time that packets
 * need to change places; or, where it asked for a prompt acknowledgement, when none has come. Repeats ask for
 * one always. The last round that comes in time sends several copies, apart from each other, so that one
 * burst does not take them all (Hairpin, NSDI 2024). */
#include "bytes.h"
#include "frames.h"
#include "stages.h"

/* The state of one look at the lists of a path. */
typedef struct look {
    dp *d;
    peer *pr;
    path *pa;
    uint32_t path_id;
    uint64_t now_ns;
    uint64_t acked_next;
    uint64_t due_ns; /* of the next one */
    path_times times;
    repair_wish wish;
    abandoned abandoned;
} look;

/* ---- acknowledged ---- */

static bool is_acked(const peer *pr, uint32_t path_id, uint64_t pn)
{
    const replay *r = &pr->acked[path_id];
    return pn < r->next && r->next - pn <= REPLAY_WINDOW && replay_has(r, pn);
}

static bool copy_is_acked(const peer *pr, const kept_content *c)
{
    if (is_acked(pr, c->path, c->pn))
        return true;
    for (uint32_t i = 0; i < 2; i++)
        if (c->earlier[i] != NO_PN && is_acked(pr, c->path, c->earlier[i]))
            return true;
    return false;
}

/* A packet that was repeated though it had arrived shows that packets need longer to change places here, or
 * that acknowledgements get lost. */
static void reorder_learn(const look *k, bool was_in_vain)
{
    repair_path *rp = &k->pa->repair;
    uint64_t rtt_ns = k->times.rtt_ns;
    if (was_in_vain)
        rp->reorder_ns = min_u64(k->times.reorder_ns + max_u64(rtt_ns / 16, NS_PER_MS), rtt_ns / 2);
    else
        rp->reorder_ns -= rp->reorder_ns / 32;
}

/* False: nothing that carries it is acknowledged. With a copy, its first number counts as seen as well. */
static bool acked_end(look *k, kept_content *c)
{
    bool by_copy = copy_is_acked(k->pr, c);
    if (!by_copy && !is_acked(k->pr, c->first_path, c->first_pn))
        return false;
    oxi_repair_stats *st = &k->d->repair.stats;
    if (c->rounds == 0) {
        COUNT_ADD(k->pa->stats.repairable_acked_packets, 1);
        COUNT_ADD(k->pa->stats.repairable_acked_bytes, c->len);
    } else {
        COUNT_ADD(st->repaired_packets[c->traffic_class], by_copy);
        COUNT_ADD(st->vain_packets[c->traffic_class], !by_copy);
        reorder_learn(k, !by_copy);
    }
    content_let_go(k->d, c);
    return true;
}

/* ---- given up ---- */

static void abandoned_tell(look *k, const abandoned *a)
{
    uint8_t frame[ABANDON_BYTES_MAX];
    uint32_t len = abandon_write(a, k->path_id, frame, sizeof frame);
    own_send(k->d, k->now_ns, k->pr->current, k->path_id, NULL, frame, len);
}

/* Told twice, some time apart. */
static void abandon_send(look *k)
{
    repair_path *rp = &k->pa->repair;
    bool has_more = k->abandoned.count > 0;
    if (rp->told.count > 0 && (has_more || rp->tell_ns <= k->now_ns)) {
        abandoned_tell(k, &rp->told);
        rp->told.count = 0;
    }
    if (has_more) {
        abandoned_tell(k, &k->abandoned);
        rp->told = k->abandoned;
        rp->tell_ns = k->now_ns + REPAIR_COPY_APART_NS;
        k->abandoned.count = 0;
    }
    if (rp->told.count > 0)
        k->due_ns = min_u64(k->due_ns, rp->tell_ns);
}

static void abandon(look *k, uint64_t pn)
{
    abandoned *a = &k->abandoned;
    if (a->count == ABANDON_MAX)
        abandon_send(k);
    uint32_t at = a->count++;
    for (; at > 0 && a->pns[at - 1] > pn; at--)
        a->pns[at] = a->pns[at - 1];
    a->pns[at] = pn;
}

/* What is kept in order there waits for nothing more. */
static void give_up(look *k, kept_content *c, uint64_t *why)
{
    COUNT_ADD(*why, 1);
    if (!class_is_timed(c->traffic_class) && c->first_path == k->path_id)
        abandon(k, c->first_pn);
    content_let_go(k->d, c);
}

/* A number that is missing and had nothing in it that is kept, such as an acknowledgement or a repetition:
 * nobody shall wait for it. Nobody does where all is of classes with a deadline. */
static void empties_abandon(look *k)
{
    repair_path *rp = &k->pa->repair;
    uint64_t from = rp->looked_next, to = k->acked_next;
    rp->looked_next = max_u64(from, to);
    if (rp->recent_ppm == 0 || k->now_ns > rp->ordered_ns + REPAIR_ORDERED_NS)
        return;
    for (uint64_t pn = max_u64(from, to > REPLAY_WINDOW / 2 ? to - REPLAY_WINDOW / 2 : 0); pn < to; pn++)
        if (!is_acked(k->pr, k->path_id, pn) && !(pn < rp->carried.next && replay_has(&rp->carried, pn)))
            abandon(k, pn);
}

/* ---- sent again ---- */

static bool is_full(const look *k) { return is_congested(&k->pa->repair, &k->times, &k->wish); }

static bool budget_take(look *k, bool is_timed)
{
    uint64_t *budget = &k->pa->repair.budget_permille[is_timed];
    if (*budget < 1000)
        return false;
    *budget -= 1000;
    return true;
}

/* One more copy of c, which is then another content of the list of what was sent again. */
static void copy_send(look *k, kept_content *c)
{
    dp *d = k->d;
    oxi_repair_stats *st = &d->repair.stats;
    bool is_timed = class_is_timed(c->traffic_class);
    /* The path may have become narrower, or another one, since. */
    bool fits = (uint32_t)c->len + OXI_OVERHEAD_BYTES <= k->pa->payload_max;
    if (!fits || !budget_take(k, is_timed)) {
        give_up(k, c, fits ? &st->over_budget_packets[c->traffic_class] : &st->unsent_packets);
        return;
    }
    uint8_t frames[OXI_DATAGRAM_MAX];
    uint32_t head = repeat_write(c->first_path, c->first_pn, frames);
    memcpy(frames + head, content_data(&d->contents, c), c->len);
    if (!own_send(d, k->now_ns, k->pr->current, k->path_id, NULL, frames, head + c->len)) {
        give_up(k, c, &st->unsent_packets);
        return;
    }
    COUNT_ADD(st->repeats_out[c->traffic_class], 1);
    kept_content like = *c;
    if (c->pn != c->first_pn || c->path != c->first_path) {
        like.earlier[1] = c->earlier[0];
        like.earlier[0] = c->pn;
    }
    like.pn = k->pr->current->paths[k->path_id].next_pn - 1;
    like.path = (uint8_t)k->path_id;
    like.sent_ns = k->now_ns;
    like.list = CONTENTS_AGAIN;
    like.copies_left--;
    like.is_prompt = true;
    content_let_go(d, c);
    content_keep(d, frames + head, like.len, &like);
}

/* Copies of the round that begins now. */
static uint32_t copies_of(const look *k, const kept_content *c)
{
    bool is_timed = class_is_timed(c->traffic_class);
    bool is_foretold = k->wish.regime == OXI_REGIME_CONGESTED && has_queue(&k->times);
    if (is_full(k) || (is_timed && is_foretold))
        return 1;
    if (!is_timed) {
        bool is_thick = k->pa->repair.random_ppm >= 3 * LOSSY_PPM;
        return is_thick || c->rounds > 1 ? 2 : 1;
    }
    uint64_t left_ns = c->leave_ns - k->now_ns;
    return round_fits(left_ns, &k->times) ? 1 : k->wish.copies;
}

static void lost(look *k, kept_content *c)
{
    oxi_repair_stats *st = &k->d->repair.stats;
    bool is_timed = class_is_timed(c->traffic_class);
    bool is_full_now = is_timed ? is_full(k) : c->is_of_full;
    if (c->rounds == 0) {
        COUNT_ADD(st->lost_packets[c->traffic_class], 1);
        COUNT_ADD(k->pa->stats.repairable_lost_packets, 1);
        COUNT_ADD(k->pa->stats.congestion_lost_packets, is_full_now);
    }
    if (k->d->repair.conf.mode == OXI_REPAIR_CODE)
        give_up(k, c, &st->left_to_code_packets[c->traffic_class]);
    else if (is_timed && k->now_ns > c->leave_ns)
        give_up(k, c, &st->too_late_packets[c->traffic_class]);
    else if (!is_timed && is_full_now)
        give_up(k, c, &st->congestion_packets);
    else if (!is_timed && c->rounds == REPAIR_ROUNDS_MAX)
        give_up(k, c, &st->too_late_packets[c->traffic_class]);
    else {
        c->rounds++;
        c->copies_left = (uint8_t)copies_of(k, c);
        copy_send(k, c);
    }
}

/* When c is lost if nothing is heard of it until then; NEVER_NS: only what is heard can show that. */
static uint64_t lost_at(const look *k, const kept_content *c)
{
    uint64_t at = NEVER_NS;
    if (c->pn < k->acked_next) {
        /* A member of a code may be decoded from what comes after it: a window's worth, if that is soon. */
        bool is_ordered = !class_is_timed(c->traffic_class);
        bool may_be_decoded = is_ordered && c->is_source && c->rounds == 0 && !c->is_of_full;
        uint64_t in_flight = k->pa->repair.lists[CONTENTS_BULK].count;
        uint64_t wait_pns = may_be_decoded ? min_u64(DECODE_WAIT_PNS, 16 + in_flight / 2) : 0;
        bool is_passed = c->sent_ns + k->times.reorder_ns <= k->pa->repair.largest_sent_ns &&
                         c->pn + wait_pns < k->acked_next;
        uint64_t wait_ns = passed_wait_ns(&k->times) + (may_be_decoded ? k->times.rtt_ns / 2 : 0);
        at = is_passed ? c->sent_ns : c->sent_ns + wait_ns;
        /* Where nothing is repeated, a member of a code is of use while it may be decoded in time. */
        if (k->d->repair.conf.mode == OXI_REPAIR_CODE && c->is_source && !is_ordered)
            at = max_u64(at, c->leave_ns);
    }
    return c->is_prompt ? min_u64(at, c->sent_ns + prompt_wait_ns(&k->times)) : at;
}

static bool is_due(look *k, uint64_t at_ns)
{
    if (at_ns > k->now_ns) {
        k->due_ns = min_u64(k->due_ns, at_ns);
        return false;
    }
    return true;
}

/* ---- coded ---- */

static void code_one(look *k, const kept_content *newest)
{
    dp *d = k->d;
    oxi_repair_stats *st = &d->repair.stats;
    if (!budget_take(k, class_is_timed(newest->traffic_class)))
        COUNT_ADD(st->over_budget_packets[newest->traffic_class], 1);
    else if (code_send(d, k->pr, k->path_id, newest, k->now_ns))
        COUNT_ADD(st->codes_out[newest->traffic_class], 1);
    else
        COUNT_ADD(st->unsent_packets, 1);
}

static void codes_look(look *k)
{
    repair_path *rp = &k->pa->repair;
    for (uint32_t i = 0; i < OXI_CLASSES; i++) {
        const kept_content *newest = content_of(&k->d->contents, rp->streams[i].newest);
        bool is_there = newest && newest->is_live && newest->is_source && newest->traffic_class == i &&
                        newest->peer == peer_number(k->d, k->pr) && newest->path == k->path_id;
        for (; rp->streams[i].owed > 0; rp->streams[i].owed--)
            if (is_there)
                code_one(k, newest);
    }
    contents_ends *list = &rp->lists[CONTENTS_TIMED];
    const contents *s = &k->d->contents;
    for (kept_content *c = content_of(s, list->first); c; c = content_of(s, c->behind)) {
        if (!c->owes_code)
            continue;
        uint64_t age_max = c->leave_ns - min_u64(c->leave_ns, c->sent_ns);
        if (is_due(k, c->sent_ns + code_lag_ns(k->wish.redundancy_permille, age_max))) {
            c->owes_code = false;
            code_one(k, c);
        }
    }
}

/* ---- the look ---- */

/* False: something was sent or given up, so another look at this list is needed. */
static bool list_look(look *k, contents_list which)
{
    const contents *s = &k->d->contents;
    contents_ends *list = &k->pa->repair.lists[which];
    for (kept_content *c = content_of(s, list->first), *next; c; c = next) {
        next = content_of(s, c->behind);
        /* Those behind are not acknowledged either; the last may have asked for a prompt acknowledgement. */
        if (which == CONTENTS_BULK && c->pn >= k->acked_next && next) {
            c = content_of(s, list->last);
            next = NULL;
        }
        if (acked_end(k, c))
            continue;
        if (!c->is_passed && c->pn < k->acked_next) {
            c->is_passed = true;
            c->is_of_full = is_full(k) && !c->is_resent;
        }
        if (c->copies_left > 0) {
            if (!is_due(k, c->sent_ns + REPAIR_COPY_APART_NS))
                continue;
            if (k->now_ns <= c->leave_ns) {
                copy_send(k, c);
                return false;
            }
            c->copies_left = 0;
        }
        if (is_due(k, lost_at(k, c))) {
            lost(k, c);
            return false;
        }
    }
    return true;
}

static void path_look(dp *d, peer *pr, uint32_t path_id, uint64_t now_ns)
{
    path *pa = &pr->paths[path_id];
    look k = { .d = d,
               .pr = pr,
               .pa = pa,
               .path_id = path_id,
               .now_ns = now_ns,
               .acked_next = pr->current->paths[path_id].acked_next,
               .due_ns = NEVER_NS,
               .times = path_times_of(pa),
               .wish = repair_wish_of(&pa->repair, now_ns) };
    empties_abandon(&k);
    for (uint32_t which = 0; which < CONTENTS_LISTS; which++)
        while (!list_look(&k, which))
            ;
    codes_look(&k);
    abandon_send(&k);
    pa->repair.due_ns = k.due_ns;
    if (k.due_ns != NEVER_NS)
        wake_at(d, pr, k.due_ns);
    COUNT_SET(pa->stats.loss_ppm, pa->repair.loss_ppm);
}

/* Of `packets` more that were reported on `missing` more are missing: a moving average over `window`. */
static void average(uint32_t *ppm, int64_t window, uint64_t packets, int64_t missing)
{
    int64_t n = (int64_t)min_u64(packets, (uint64_t)window);
    int64_t next = *ppm + (missing * 1000000 - n * (int64_t)*ppm) / window;
    *ppm = (uint32_t)(next < 0 ? 0 : next > 1000000 ? 1000000 : next);
}

static void queue_max_update(repair_path *rp, const path_times *t, uint64_t now_ns)
{
    uint64_t passed_ns = now_ns - rp->queue_max_at_ns;
    if (passed_ns >= QUEUE_FADE_NS / 256) {
        rp->queue_ns_max -= rp->queue_ns_max / 256 * min_u64(passed_ns / (QUEUE_FADE_NS / 256), 256);
        rp->queue_max_at_ns = now_ns;
    }
    rp->queue_ns_max = max_u64(rp->queue_ns_max, queue_ns(t));
}

void repair_reported(path *pa, uint64_t packets, int64_t missing, uint64_t now_ns)
{
    repair_path *rp = &pa->repair;
    repair_wish w = repair_wish_of(rp, now_ns);
    path_times t = path_times_of(pa);
    queue_max_update(rp, &t, now_ns);
    average(&rp->recent_ppm, RECENT_AVERAGE, packets, missing);
    average(&rp->loss_ppm, LOSS_AVERAGE, packets, missing);
    bool is_random = missing <= 0 || !is_congested(rp, &t, &w);
    average(&rp->random_ppm, LOSS_AVERAGE, packets, is_random ? missing : 0);
    if (!has_queue(&t))
        average(&rp->free_ppm, LOSS_AVERAGE, packets, missing);
}

static bool has_work(const repair_path *rp)
{
    uint32_t count = rp->told.count;
    for (uint32_t i = 0; i < CONTENTS_LISTS; i++)
        count += rp->lists[i].count;
    return count > 0;
}

void repair_acked(dp *d, peer *pr, uint32_t path_id, uint64_t sent_ns, uint64_t now_ns)
{
    path *pa = &pr->paths[path_id];
    repair_path *rp = &pa->repair;
    rp->largest_sent_ns = max_u64(rp->largest_sent_ns, sent_ns);
    if (has_work(rp))
        path_look(d, pr, path_id, now_ns);
}

void repair_tick(dp *d, peer *pr, uint64_t now_ns)
{
    for (uint32_t i = 0; pr->current && i < OXI_PATHS_MAX; i++) {
        repair_path *rp = &pr->paths[i].repair;
        if (rp->due_ns == NEVER_NS || !has_work(rp))
            continue;
        if (rp->due_ns <= now_ns)
            path_look(d, pr, i, now_ns);
        else
            wake_at(d, pr, rp->due_ns);
    }
}

void repair_forget(dp *d, peer *pr)
{
    for (uint32_t i = 0; i < OXI_PATHS_MAX; i++) {
        repair_path *rp = &pr->paths[i].repair;
        for (uint32_t which = 0; which < CONTENTS_LISTS; which++)
            for (kept_content *c; (c = content_of(&d->contents, rp->lists[which].first));)
                content_let_go(d, c);
        rp->due_ns = NEVER_NS;
        rp->budget_permille[0] = rp->budget_permille[1] = REPAIR_BURST * 1000;
        rp->boost_permille = BOOST_MAX * 1000;
        rp->largest_sent_ns = 0;
        rp->carried = (replay){ 0 };
        rp->looked_next = 0;
        rp->told.count = 0;
    }
}
