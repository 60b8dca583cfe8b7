/* ack.c - acknowledgements both ways (PROTOCOL.md section 3.1): written from the replay window, read into
 * RTT and loss. The smoothing is that of RFC 9002 section 5.3. */
#include "bytes.h"
#include "frames.h"
#include "stages.h"

/* ---- receiving side: what has to be acknowledged, and when ---- */

void ack_note(dp *d, session *s, const pkt *p, bool is_eliciting, uint64_t now_ns)
{
    session_path *sp = &s->paths[p->path];
    if (p->is_newest)
        sp->arrivals[sp->arrival_count++ % ACK_TIMES_MAX] = (arrival){ .pn = p->pn, .ns = now_ns };
    if (!is_eliciting)
        return;
    if (!sp->ack_due_ns)
        sp->ack_from_ns = now_ns;
    sp->unacked_bytes += p->len;
    sp->ack_is_prompt |= p->is_prompt;
    ack_schedule(d, s, p->path);
}

/* A few small packets are not worth an ACK of their own each: a voice call's would cost it a quarter of what
 * header compression saves. Anything else, and whatever tells of loss, is told soon. */
static uint64_t ack_delay(const dp *d, const session *s, uint32_t path_id)
{
    const session_path *sp = &s->paths[path_id];
    uint64_t rtt_ns = d->peers[s->peer].paths[path_id].stats.rtt_ns;
    if (sp->ack_is_prompt)
        return prompt_delay_ns(rtt_ns);
    bool is_sparse = sp->unacked_bytes < ACK_SPARSE_BYTES && sp->opened > ACK_SPARSE_AFTER;
    if (is_sparse && !sp->ack_is_urgent)
        return ACK_DELAY_NS_SPARSE;
    return max_u64(ACK_DELAY_NS_MIN, min_u64(rtt_ns / 4, ACK_DELAY_NS_MAX));
}

void ack_schedule(dp *d, session *s, uint32_t path_id)
{
    session_path *sp = &s->paths[path_id];
    uint64_t due = sp->ack_from_ns + ack_delay(d, s, path_id);
    if (sp->ack_due_ns && sp->ack_due_ns <= due)
        return;
    sp->ack_due_ns = due;
    wake_at(d, &d->peers[s->peer], due);
}

/* Length of the run of packets from pn downwards that are received (or not); stops at scan_end. */
static uint64_t run_down(const replay *r, uint64_t pn, uint64_t scan_end, bool is_received)
{
    uint64_t n = 0;
    while (pn + 1 > scan_end + n && replay_has(r, pn - n) == is_received)
        n++;
    return n;
}

/* False: there are none but the first. */
static bool ranges_write(writer *w, const replay *r)
{
    uint64_t largest = r->next - 1;
    uint64_t scan_end = largest + 1 > ACK_SCAN_PNS ? largest + 1 - ACK_SCAN_PNS : 0;
    uint64_t run = run_down(r, largest, scan_end, true);
    OXI_ASSERT(run >= 1);
    write_varint(w, run - 1);
    uint64_t below = largest - run + 1; /* first packet number not in the run is below - 1 */
    uint8_t *count_at = NULL;
    while (below > scan_end && (!count_at || *count_at < ACK_RANGES_MAX)) {
        uint64_t gap = run_down(r, below - 1, scan_end, false);
        if (below - gap <= scan_end)
            break;
        run = run_down(r, below - gap - 1, scan_end, true);
        if (writer_left(w) < 1 + 2 * 4 + 8) /* the count, two varints of this size, and the times' count */
            break;
        if (!count_at) {
            count_at = write_space(w, 1);
            *count_at = 0;
        }
        write_varint(w, gap - 1);
        write_varint(w, run - 1);
        below -= gap + run;
        ++*count_at;
    }
    return count_at != NULL;
}

/* False: there are none. */
static bool times_write(writer *w, const session_path *sp)
{
    uint64_t pn = sp->rx.next - 1;
    uint64_t ns = sp->largest_ns;
    uint64_t worth = sp->unacked_bytes / ACK_BYTES_PER_TIME;
    uint64_t known = min_u64(sp->arrival_count, min_u64(worth, ACK_TIMES_MAX));
    uint8_t *count_at = NULL;
    for (uint64_t i = 0; i < known && writer_left(w) >= 1 + 2 * 8; i++) {
        const arrival *a = &sp->arrivals[(sp->arrival_count - 1 - i) % ACK_TIMES_MAX];
        if (!count_at) {
            count_at = write_space(w, 1);
            *count_at = 0;
        }
        write_varint(w, pn - a->pn);
        write_varint(w, (ns - a->ns) / 1000);
        pn = a->pn;
        ns = a->ns;
        ++*count_at;
    }
    return count_at != NULL;
}

uint32_t ack_write(const session *s, uint32_t path_id, uint64_t now_ns, uint8_t *out, uint32_t cap)
{
    const session_path *sp = &s->paths[path_id];
    OXI_ASSERT(sp->rx.next > 0 && path_id <= ACK_PATH);
    writer w = writer_of(out, cap);
    write_u8(&w, FRAME_ACK);
    uint8_t *flags = write_space(&w, 1);
    *flags = (uint8_t)path_id;
    write_varint(&w, sp->rx.next - 1);
    write_varint(&w, (now_ns - sp->largest_ns) / ACK_DELAY_UNIT_NS);
    write_varint(&w, sp->rx.next - sp->opened);
    if (sp->ce > 0) {
        *flags |= ACK_HAS_CE;
        write_varint(&w, sp->ce);
    }
    if (sp->repaired > 0) {
        *flags |= ACK_HAS_REPAIRED;
        write_varint(&w, sp->repaired);
    }
    if (ranges_write(&w, &sp->rx))
        *flags |= ACK_HAS_RANGES;
    if (times_write(&w, sp))
        *flags |= ACK_HAS_TIMES;
    OXI_ASSERT(!w.is_bad);
    return (uint32_t)(w.at - out);
}

static void ack_done(dp *d, session *s, uint32_t path_id, bool is_sent)
{
    session_path *sp = &s->paths[path_id];
    sp->ack_due_ns = 0;
    sp->unacked_bytes = 0;
    sp->ack_is_urgent = false;
    sp->ack_is_prompt = false;
    COUNT_ADD(d->peers[s->peer].paths[path_id].stats.acks_sent, is_sent);
}

void ack_flush(dp *d, session *s, uint32_t path_id, uint64_t now_ns)
{
    uint8_t frames[ACK_ALONE_MAX];
    uint32_t len = ack_write(s, path_id, now_ns, frames, sizeof frames);
    ack_done(d, s, path_id, own_send(d, now_ns, s, path_id, NULL, frames, len));
}

static bool is_nearly_due(const session_path *sp, uint64_t now_ns)
{
    uint64_t waits_ns = sp->ack_due_ns - sp->ack_from_ns;
    bool is_much = waits_ns == ACK_DELAY_NS_SPARSE && sp->unacked_bytes >= ACK_SPARSE_BYTES / 4 * 3;
    return sp->ack_due_ns && (is_much || now_ns + waits_ns / 4 >= sp->ack_due_ns);
}

/* An acknowledgement that is nearly due goes in front of an inner packet, when both fit. */
void ack_ride_batch(dp *d, batch *b)
{
    for (uint32_t i = 0; i < b->count; i++) {
        pkt *p = b->pkts[i];
        session *s = p->session;
        session_path *sp = &s->paths[p->path];
        if (!is_nearly_due(sp, b->now_ns))
            continue;
        uint32_t payload_max = d->peers[p->peer].paths[p->path].payload_max;
        if ((uint32_t)p->len + OXI_OVERHEAD_BYTES + ACK_RIDE_MAX > payload_max)
            continue;
        uint8_t frame[ACK_RIDE_MAX];
        uint32_t len = ack_write(s, p->path, b->now_ns, frame, sizeof frame);
        pkt_push(p, len);
        memcpy(pkt_data(p), frame, len);
        ack_done(d, s, p->path, true);
    }
}

/* ---- sending side: what the peer says of our packets ---- */

void sent_note(dp *d, path *pa, uint64_t pn, uint64_t now_ns)
{
    sent_ring *r = &pa->sent;
    uint32_t us = (uint32_t)(now_ns / 1000);
    if (r->count && r->at[(r->count - 1) % SENT_RING].us_low == us)
        return;
    r->at[r->count++ % SENT_RING] = (sent_mark){ .pn_low = (uint32_t)pn, .us_low = us };
    COUNT_ADD(d->stats.udp_train_trials, train_watch_sealed(&pa->trains, now_ns));
}

/* When pn was sent: the newest mark at or below it; 0: too long ago. */
static uint64_t sent_when(const sent_ring *r, uint64_t pn, uint64_t now_ns)
{
    uint64_t low = r->count > SENT_RING ? r->count - SENT_RING : 0;
    uint64_t high = r->count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if ((int32_t)(r->at[middle % SENT_RING].pn_low - (uint32_t)pn) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0 || (r->count > SENT_RING && low == r->count - SENT_RING))
        return 0;
    uint32_t age_us = (uint32_t)(now_ns / 1000) - r->at[(low - 1) % SENT_RING].us_low;
    return now_ns - min_u64(now_ns, (uint64_t)age_us * 1000);
}

/* Of this period and the one before: a path may get longer. */
static void rtt_min_update(path *pa, uint64_t rtt_ns, uint64_t now_ns)
{
    uint64_t period = now_ns / RTT_MIN_PERIOD_NS;
    if (period != pa->rtt_period) {
        pa->rtt_min_before_ns = period == pa->rtt_period + 1 ? pa->rtt_min_ns : 0;
        pa->rtt_min_ns = 0;
        pa->rtt_period = period;
    }
    pa->rtt_min_ns = pa->rtt_min_ns ? min_u64(pa->rtt_min_ns, rtt_ns) : rtt_ns;
    uint64_t before_ns = pa->rtt_min_before_ns;
    COUNT_SET(pa->stats.rtt_min_ns, before_ns ? min_u64(before_ns, pa->rtt_min_ns) : pa->rtt_min_ns);
}

/* Our ACKs state exactly how long they waited, so that is always taken off (RFC 9002 keeps it where the
 * rest would be below the least RTT seen, as there the delay is a guess). */
static void rtt_update(path *pa, uint64_t latest, uint64_t delay, uint64_t now_ns)
{
    oxi_path_stats *st = &pa->stats;
    uint64_t adjusted = latest > delay ? latest - delay : latest;
    COUNT_SET(st->rtt_latest_ns, adjusted);
    rtt_min_update(pa, adjusted, now_ns);
    if (st->rtt_ns == 0) {
        COUNT_SET(st->rtt_ns, adjusted);
        COUNT_SET(st->rtt_var_ns, adjusted / 2);
        return;
    }
    uint64_t off = st->rtt_ns > adjusted ? st->rtt_ns - adjusted : adjusted - st->rtt_ns;
    COUNT_SET(st->rtt_var_ns, (3 * st->rtt_var_ns + off) / 4);
    COUNT_SET(st->rtt_ns, (7 * st->rtt_ns + adjusted) / 8);
}

/* A packet passed over is lost only if it is still missing LOSS_LAG acknowledgements later, so that
 * reordering does not count as loss; one that comes even later is taken back. */
static void loss_update(path *pa, session_path *sp, uint64_t sent, uint64_t received)
{
    sp->missing[sp->missing_count++ % LOSS_LAG] = sent - received;
    uint64_t least = UINT64_MAX;
    for (uint32_t i = 0; i < LOSS_LAG; i++)
        least = min_u64(least, i < sp->missing_count ? sp->missing[i] : 0);
    sp->lost = least;
    sp->received = max_u64(sp->received, received);
    COUNT_SET(pa->stats.lost_packets, pa->lost_before + sp->lost);
    COUNT_SET(pa->stats.acked_packets, pa->acked_before + sp->received);
}

static void trains_update(dp *d, train_watch *w, const train_report *r)
{
    if (!train_watch_acked(w, r))
        return;
    if (w->verdict == TRAINS_LOST)
        dp_trains_lost(d);
    else
        COUNT_ADD(d->stats.udp_train_trials, 1);
}

/* What the ranges say of the packet numbers from `from` up to `to`. */
typedef struct span {
    uint64_t from;
    uint64_t to;
    uint64_t named;  /* as received */
    bool is_known;   /* the ranges reach down to `from`, or name all that was received */
    replay *acked;   /* what is named is marked here; NULL: it says nothing of the current session */
} span;

static void span_add(span *s, uint64_t lowest, uint64_t count)
{
    uint64_t from = max_u64(s->from, lowest);
    uint64_t to = min_u64(s->to, lowest + count);
    s->named += to > from ? to - from : 0;
    if (s->acked)
        replay_mark_range(s->acked, lowest, lowest + count);
}

/* Walks ranges and times; false: they contradict themselves or run past the end. */
static bool lists_read(reader *r, uint8_t flags, uint64_t largest, uint64_t seen, span *out)
{
    uint64_t run = read_varint(r);
    uint8_t ranges = flags & ACK_HAS_RANGES ? read_u8(r) : 0;
    if (ranges > ACK_RANGES_MAX || run > largest)
        return false;
    uint64_t below = largest - run; /* lowest packet number named so far */
    uint64_t named = run + 1;
    span_add(out, below, named);
    for (uint8_t i = 0; i < ranges; i++) {
        uint64_t gap = read_varint(r) + 1;
        uint64_t more = read_varint(r) + 1;
        if (gap + more > below)
            return false;
        below -= gap + more;
        named += more;
        span_add(out, below, more);
    }
    out->is_known = below <= out->from || named == seen;
    uint8_t times = flags & ACK_HAS_TIMES ? read_u8(r) : 0;
    if (times > ACK_TIMES_MAX || named > seen)
        return false;
    uint64_t pn = largest;
    for (uint8_t i = 0; i < times; i++) {
        uint64_t distance = read_varint(r);
        read_varint(r);
        if (distance > pn)
            return false;
        pn -= distance;
    }
    return !r->is_bad;
}

bool ack_read(dp *d, session *s, reader *r, uint64_t now_ns)
{
    uint8_t flags = read_u8(r);
    uint32_t path_id = flags & ACK_PATH;
    uint64_t largest = read_varint(r);
    uint64_t delay_units = read_varint(r);
    uint64_t missing = read_varint(r);
    uint64_t ce = flags & ACK_HAS_CE ? read_varint(r) : 0;
    uint64_t repaired = flags & ACK_HAS_REPAIRED ? read_varint(r) : 0;
    if (r->is_bad || flags & ~ACK_FLAGS)
        return false;
    session_path *sp = &s->paths[path_id];
    if (largest >= sp->next_pn || missing > largest || ce > largest + 1 - missing ||
        repaired > missing)
        return false;
    uint64_t received = largest + 1 - missing;
    peer *pr = &d->peers[s->peer];
    path *pa = &pr->paths[path_id];
    span out = { .from = pa->trains.proof_from, .to = pa->trains.proof_to };
    if (s == pr->current) {
        out.acked = &pr->acked[path_id];
        replay_mark_any(out.acked, largest);
    }
    if (!lists_read(r, flags, largest, received + repaired, &out))
        return false;
    COUNT_ADD(pa->stats.acks_received, 1);
    if (s != pr->current || largest + 1 < sp->acked_next)
        return true; /* an older view of things: nothing new in it */
    bool is_new = largest + 1 > sp->acked_next;
    repair_reported(pa, largest + 1 - sp->acked_next, (int64_t)(missing - sp->missing_now), now_ns);
    sp->missing_now = missing;
    sp->acked_next = largest + 1;
    uint64_t sent_ns = sent_when(&pa->sent, largest, now_ns);
    if (is_new && sent_ns && sent_ns <= now_ns && now_ns - sent_ns < RTT_NS_MAX)
        rtt_update(pa, max_u64(now_ns - sent_ns, 1),
                   min_u64(delay_units, RTT_NS_MAX / ACK_DELAY_UNIT_NS) * ACK_DELAY_UNIT_NS, now_ns);
    loss_update(pa, sp, largest + 1, received);
    train_report report = { largest + 1, sp->received, out.named, out.is_known };
    trains_update(d, &pa->trains, &report);
    repair_acked(d, pr, path_id, sent_ns, now_ns);
    return true;
}
