/* repair_out.c - on the way out: what may have to be sent again is kept, and marked for the receiver.
 *
 * Of a class with a deadline everything is kept. Of the others what a link may lose: on a near path TCP
 * repairs its losses sooner than we could, and where the arena does not span a round trip it is in vain. */
#include "bytes.h"
#include "frames.h"
#include "stages.h"

path_times path_times_of(const path *pa)
{
    const oxi_path_stats *st = &pa->stats;
    const repair_path *rp = &pa->repair;
    return (path_times){ .rtt_ns = st->rtt_ns,
                         .rtt_var_ns = st->rtt_var_ns,
                         .rtt_min_ns = st->rtt_min_ns,
                         .rtt_latest_ns = st->rtt_latest_ns,
                         .reorder_ns = max_u64(rp->reorder_ns, st->rtt_ns / 16) };
}

/* One loss among some thousand packets is none; in a burst or two the path is lossy for thousands more. */
repair_wish repair_wish_of(const repair_path *rp, uint64_t now_ns)
{
    if (now_ns < rp->wish.until_ns)
        return rp->wish;
    repair_wish w = { .copies = REPAIR_COPIES_MAX };
    uint32_t ppm = rp->loss_ppm;
    w.regime = ppm < LOSSY_PPM ? OXI_REGIME_CLEAN : OXI_REGIME_RANDOM;
    uint32_t much = ppm < 5 * LOSSY_PPM ? 100 : ppm < 10 * LOSSY_PPM ? 300 : 1000;
    w.redundancy_permille = ppm < LOSSY_PPM ? 0 : much;
    return w;
}

static bool is_lossy(const repair_path *rp, const repair_wish *w)
{
    return rp->loss_ppm >= LOSSY_PPM || w->regime != OXI_REGIME_CLEAN;
}

/* False: so much is sent that it would be pushed out of the arena before it is acknowledged. */
static bool arena_spans(const dp *d, repair_path *rp, uint64_t rtt_ns, uint32_t len, uint64_t now_ns)
{
    uint64_t slot = now_ns / REPAIR_SLOT_NS;
    if (slot != rp->slot) {
        rp->slot_before_bytes = slot == rp->slot + 1 ? rp->slot_bytes : 0;
        rp->slot_bytes = 0;
        rp->slot = slot;
    }
    rp->slot_bytes += len;
    uint64_t slots = rtt_ns / REPAIR_SLOT_NS + 3;
    return max_u64(rp->slot_before_bytes, rp->slot_bytes) * slots <= d->contents.bytes;
}

static bool is_kept(const dp *d, path *pa, const pkt *p, bool is_timed, uint64_t now_ns)
{
    uint64_t rtt_ns = pa->stats.rtt_ns;
    bool spans = arena_spans(d, &pa->repair, rtt_ns, p->len, now_ns);
    if (p->addr.family == OXI_AF_CARRIER || p->is_bare)
        return false;
    bool is_near = rtt_ns > 0 && rtt_ns < NEAR_RTT_NS;
    return is_timed || (!is_near && spans);
}

void content_let_go(dp *d, kept_content *c)
{
    path *pa = &d->peers[c->peer].paths[c->path];
    content_end(&d->contents, &pa->repair.lists[c->list], c);
    COUNT_ADD(pa->stats.kept_packets, -1);
}

kept_content *content_keep(dp *d, const uint8_t *data, uint32_t len, const kept_content *like)
{
    contents *s = &d->contents;
    kept_content *old;
    while ((old = contents_crowded(s, content_padded(len)))) {
        COUNT_ADD(d->repair.stats.crowded_packets, 1);
        content_let_go(d, old);
    }
    kept_content *c = content_add(s, like, data, len);
    path *pa = &d->peers[c->peer].paths[c->path];
    content_append(s, &pa->repair.lists[c->list], c);
    COUNT_ADD(pa->stats.kept_packets, 1);
    return c;
}

/* Whether the class is to be coded: where no copy would come in time, or copies are not wanted. */
static bool is_coded(const dp *d, const repair_wish *w, uint64_t leave_after, const path_times *t)
{
    if (d->repair.conf.mode == OXI_REPAIR_ARQ || w->redundancy_permille == 0 || leave_after == 0)
        return false;
    return d->repair.conf.mode == OXI_REPAIR_CODE || !round_fits(leave_after, t);
}

/* As long as it was when it was longest, or nearly so: one that a TCP has filled overflows there. */
static bool is_brimful(const repair_path *rp, const path_times *t)
{
    uint64_t latest_ns = t->rtt_latest_ns - min_u64(t->rtt_latest_ns, t->rtt_min_ns);
    return max_u64(latest_ns, queue_ns(t)) >= rp->queue_ns_max / 8 * 7;
}

/* A queue that overflows takes far more of what comes in these milliseconds than is lost where none stands;
 * losses at random do not care. Of one that is foretold less is enough, but not the word alone: a full queue
 * and a bad radio look the same to who foretells; and with a TCP there always stands some queue. */
bool is_congested(const repair_path *rp, const path_times *t, const repair_wish *w)
{
    bool is_foretold = w->regime == OXI_REGIME_CONGESTED && is_brimful(rp, t);
    uint32_t usual_ppm = rp->free_ppm * (is_foretold ? 2 : 3);
    return has_queue(t) && rp->recent_ppm > usual_ppm + (is_foretold ? CONGESTED_PPM / 4 : CONGESTED_PPM);
}

static void repair_wake(dp *d, peer *pr, repair_path *rp, uint64_t at_ns)
{
    rp->due_ns = min_u64(rp->due_ns, at_ns);
    wake_at(d, pr, at_ns);
}

static void mark_prompt(pkt *p, kept_content *c)
{
    pkt_push(p, 1);
    *pkt_data(p) = FRAME_PROMPT;
    c->is_prompt = true;
}

/* True: a repair symbol is owed now. */
static bool mark_source(const dp *d, path *pa, pkt *p, kept_content *c, uint32_t permille)
{
    bool is_owed = code_member(&d->contents, pa, c, permille);
    pkt_push(p, SOURCE_BYTES);
    source_write(c->traffic_class, c->seq, pkt_data(p));
    return is_owed;
}

static void keep_timed(dp *d, peer *pr, path *pa, pkt *p, kept_content *c, uint64_t now_ns)
{
    repair_path *rp = &pa->repair;
    path_times t = path_times_of(pa);
    repair_wish w = repair_wish_of(rp, now_ns);
    uint64_t leave_after = leave_after_ns(c->traffic_class, d->conf.hold_ns[c->traffic_class], &t);
    c->leave_ns = now_ns + leave_after;
    if (t.rtt_ns == 0 || !is_lossy(rp, &w))
        return;
    if (is_coded(d, &w, leave_after, &t) && c->len <= RLC_CONTENT_MAX) {
        c->owes_code = mark_source(d, pa, p, c, w.redundancy_permille);
        if (c->owes_code)
            repair_wake(d, pr, rp, now_ns + code_lag_ns(w.redundancy_permille, leave_after));
    } else if (d->repair.conf.mode != OXI_REPAIR_CODE) {
        mark_prompt(p, c);
        repair_wake(d, pr, rp, now_ns + prompt_wait_ns(&t));
    }
}

/* Of a flow that fills its window a code repairs most losses within milliseconds, so that few have to wait a
 * round trip for a copy. It is measured out for independent losses: some more symbols than losses. A flow
 * that still has few packets under way gets more, as each wait makes TCP leave its slow start; how much more
 * is limited by what all flows send. */
static uint32_t ordered_permille(const dp *d, repair_path *rp, const repair_wish *w, const path_times *t)
{
    bool is_wanted = d->repair.conf.mode != OXI_REPAIR_ARQ;
    uint32_t loss_ppm = (uint32_t)min_u64(rp->random_ppm, CODED_LOSS_PPM_MAX);
    rp->boost_permille = (uint32_t)min_u64(rp->boost_permille + BOOST_EARNED_PERMILLE, BOOST_MAX * 1000);
    if (!is_wanted || is_congested(rp, t, w) || loss_ppm < CODED_LOSS_PPM_MIN)
        return 0;
    uint32_t permille = 12 + loss_ppm * 17 / 10000;
    uint32_t more = 2 * permille;
    if (rp->lists[CONTENTS_BULK].count >= BOOST_BELOW || rp->boost_permille < more)
        return permille;
    rp->boost_permille -= more;
    return permille + more;
}

static void keep_ordered(dp *d, peer *pr, path *pa, pkt *p, kept_content *c, uint64_t now_ns)
{
    repair_path *rp = &pa->repair;
    repair_wish w = repair_wish_of(rp, now_ns);
    path_times t = path_times_of(pa);
    c->leave_ns = NEVER_NS;
    if (t.rtt_ns == 0)
        return;
    uint32_t permille = ordered_permille(d, rp, &w, &t);
    if (permille > 0 && c->len <= RLC_CONTENT_MAX && mark_source(d, pa, p, c, permille)) {
        rp->streams[c->traffic_class].owed++;
        repair_wake(d, pr, rp, now_ns);
    }
    /* The end of what an application has written: nothing may follow that would show its loss. */
    bool may_be_last = p->is_pushed && c->traffic_class == OXI_CLASS_WEB;
    if (may_be_last && is_lossy(rp, &w) && d->repair.conf.mode != OXI_REPAIR_CODE) {
        mark_prompt(p, c);
        repair_wake(d, pr, rp, now_ns + prompt_wait_ns(&t));
    }
}

static void keep(dp *d, pkt *p, uint64_t now_ns)
{
    peer *pr = &d->peers[p->peer];
    path *pa = &pr->paths[p->path];
    bool is_timed = class_is_timed(p->traffic_class);
    if (!is_timed && !p->is_bare && p->inner_bytes > 0)
        pa->repair.ordered_ns = now_ns;
    if (p->inner_bytes == 0 || p->session != pr->current || !is_kept(d, pa, p, is_timed, now_ns))
        return;
    kept_content like = { .first_pn = p->pn,
                     .pn = p->pn,
                     .earlier = { NO_PN, NO_PN },
                     .sent_ns = now_ns,
                     .peer = p->peer,
                     .path = p->path,
                     .first_path = p->path,
                     .traffic_class = p->traffic_class,
                     .is_resent = p->is_resent,
                     .list = is_timed ? CONTENTS_TIMED : CONTENTS_BULK };
    kept_content *c = content_keep(d, pkt_data(p), p->len, &like);
    replay_mark_any(&pa->repair.carried, p->pn);
    uint64_t *budget = &pa->repair.budget_permille[is_timed];
    uint32_t earned = is_timed ? d->repair.conf.overhead_permille : d->repair.conf.overhead_ordered_permille;
    *budget = min_u64(*budget + earned, REPAIR_BURST * 1000);
    COUNT_ADD(d->repair.stats.kept_packets[p->traffic_class], 1);
    COUNT_ADD(pa->stats.repairable_packets, 1);
    if (is_timed)
        keep_timed(d, pr, pa, p, c, now_ns);
    else
        keep_ordered(d, pr, pa, p, c, now_ns);
}

void repair_batch(dp *d, batch *b)
{
    if (d->repair.conf.mode == OXI_REPAIR_OFF)
        return;
    for (uint32_t i = 0; i < b->count; i++)
        keep(d, b->pkts[i], b->now_ns);
}
