/* order.c - a lost packet of a TCP flow comes back one or more round trips late. Until then what follows it
 * in its flow waits, so that TCP sees a late packet and not a lost one: it would halve its rate for it.
 *
 * A packet waits if there is a gap in its flow before it and, among the numbers between it and the last that
 * went on, one that is missing on the path (holes.h): a gap that the sender of the flow left is not waited
 * for. It goes on when the gap is filled, when nothing is missing there any more, or when it has waited for
 * long enough. Other flows do not wait, nor does what is not TCP; nor what may be a keystroke, as those who
 * type want to see the next one. But nothing overtakes what waits of its own flow, except for packets that
 * take up no sequence numbers (RFC 9293). What the flow itself sends again least of all: its time stamp is
 * newer, and a receiver that has seen it at the place it waits for drops all older ones (PAWS, RFC 7323).
 *
 * Whether something is missing is decided behind the last packet of a turn (order_settle): what fills a hole
 * may be opened, and still be on its way to here. */
#include "l4.h"
#include "stages.h"

typedef struct segment {
    uint64_t tag;
    uint32_t seq;
    uint32_t end;
    uint8_t flags;
    bool may_wait;
} segment;

static uint32_t ms_of(uint64_t ns) { return (uint32_t)(ns / NS_PER_MS); }
static int32_t after(uint32_t a, uint32_t b) { return (int32_t)(a - b); } /* modulo 2^32 */

static uint64_t limit_ns(const path *pa)
{
    uint64_t rtt_ns = pa->stats.rtt_ns ? pa->stats.rtt_ns : HOLD_ORDER_RTT_NS;
    return min_u64(HOLD_ORDER_ROUNDS * (rtt_ns + rtt_ns / 2 + HOLD_ORDER_ROUND_NS), HOLD_ORDER_NS_MAX);
}

/* ---- what is missing ---- */

void order_opened(dp *d, const pkt *p, uint64_t next_before, uint64_t now_ns)
{
    hole_pool *hp = &d->order.holes;
    peer *pr = &d->peers[p->peer];
    bool is_repaired = d->conf.order == OXI_ORDER_ALWAYS || p->session->is_repaired;
    if (!d->order.flows || !is_repaired || p->session->serial < pr->rx_serial)
        return;
    if (p->session->serial > pr->rx_serial) {
        for (uint32_t i = 0; i < OXI_PATHS_MAX; i++)
            holes_clear(hp, &pr->paths[i].holes);
        pr->rx_serial = p->session->serial;
    }
    path *pa = &pr->paths[p->path];
    holes_expire(hp, &pa->holes, now_ns, limit_ns(pa));
    holes_opened(hp, &pa->holes, p->pn, next_before, now_ns);
    COUNT_SET(d->stats.order_lost_holes, hp->given_up);
}

void order_resolved(dp *d, const session *s, uint32_t path_id, uint64_t pn)
{
    peer *pr = &d->peers[s->peer];
    if (d->order.flows && s->serial == pr->rx_serial)
        holes_resolved(&d->order.holes, &pr->paths[path_id].holes, pn);
}

/* The newest hole between what went on last of f and p; NULL: none that concerns it. */
static const hole *missing(const dp *d, const order_flow *f, const pkt *p)
{
    const peer *pr = &d->peers[p->peer];
    if (f->path != p->path || f->serial != pr->rx_serial || p->session->serial != pr->rx_serial)
        return NULL;
    const holes *h = &pr->paths[p->path].holes;
    return holes_any(h) ? holes_between(h, f->pn, p->pn) : NULL;
}

/* ---- what waits ---- */

static void pass(dp *d, batch *b, pkt *p)
{
    if (b->count == OXI_BATCH_MAX) {
        path_in_release(d, b);
        b->count = 0;
    }
    batch_add(b, p);
}

static void waiting_add(dp *d, order_flow *f, uint32_t count)
{
    f->waiting += count;
    d->order.waiting += count;
    COUNT_SET(d->stats.order_waiting_packets, d->order.waiting);
}

static void waiting_end(dp *d, order_flow *f, uint32_t count, uint64_t *why)
{
    waiting_add(d, f, -count);
    COUNT_ADD(d->stats.deliver_held_packets, -(uint64_t)count);
    COUNT_ADD(*why, count);
}

static void list_put(order_table *t, order_flow *f)
{
    f->older = t->newest;
    f->newer = NULL;
    *(t->newest ? &t->newest->newer : &t->oldest) = f;
    t->newest = f;
}

static void list_take(order_table *t, order_flow *f)
{
    *(f->older ? &f->older->newer : &t->oldest) = f->newer;
    *(f->newer ? &f->newer->older : &t->newest) = f->older;
}

/* p went on: what f has seen in order. */
static void note(order_flow *f, const pkt *p, bool is_run)
{
    uint64_t serial = p->session->serial; /* the slot of a session outlives it */
    if (serial < f->serial)
        return;
    bool is_same = serial == f->serial && p->path == f->path;
    f->pn = is_same && !is_run ? max_u64(f->pn, p->pn) : p->pn;
    f->path = p->path;
    f->serial = serial;
}

/* p, of what waits or not, goes on in order, or is older than that. */
static void go_on(dp *d, order_flow *f, pkt *p, uint32_t end, batch *b)
{
    pass(d, b, p);
    if (after(end, f->next_seq) <= 0)
        return;
    f->next_seq = end;
    note(f, p, false);
}

/* Whether the flow sent p, which begins at seq, again: later than what follows it there and waits. */
static bool is_sent_anew(const order_flow *f, const pkt *p, uint32_t seq)
{
    if (!f->first || after(seq, f->last->wait.end) >= 0)
        return false;
    const pkt *run = f->first;
    while (after(run->wait.end, seq) <= 0)
        run = run->wait.last->wait.next;
    return p->session->serial == run->session->serial && p->path == run->path && p->pn > run->pn;
}

/* What the flow sent again, as far as nothing waits any more that it sent before. */
static void anew_release(dp *d, order_flow *f, batch *b, uint64_t *why)
{
    while (f->anew && !is_sent_anew(f, f->anew, f->anew->wait.seq)) {
        pkt *p = f->anew;
        f->anew = p->wait.next;
        waiting_end(d, f, 1, why);
        go_on(d, f, p, p->wait.end, b);
    }
}

/* The first run is no longer f's. */
static void run_take(dp *d, order_flow *f)
{
    pkt *head = f->first;
    f->first = head->wait.last->wait.next;
    f->runs--;
    if (f->first)
        return;
    f->last = NULL;
    list_take(&d->order, f);
}

static void run_release(dp *d, order_flow *f, batch *b, uint64_t *why)
{
    pkt *p = f->first, *last = p->wait.last;
    run_take(d, f);
    if (after(p->wait.end, f->next_seq) > 0)
        f->next_seq = p->wait.end;
    note(f, last, true);
    uint32_t count = 1;
    for (; p != last; count++) {
        pkt *next = p->wait.next;
        pass(d, b, p);
        p = next;
    }
    pass(d, b, last);
    waiting_end(d, f, count, why);
    anew_release(d, f, b, why);
}

static void flow_release(dp *d, order_flow *f, batch *b, uint64_t *why)
{
    while (f->first)
        run_release(d, f, b, why);
}

static bool is_next(const order_flow *f) { return after(f->first->wait.seq, f->next_seq) <= 0; }

/* Many gaps at once are more than a TCP can tell its sender of, which would send again what is there. False:
 * it is too soon after the last one. */
static bool gap_may_show(dp *d, order_flow *f, uint64_t now_ns)
{
    if (f->gap_ns > now_ns) {
        f->due_ns = min_u64(f->due_ns, f->gap_ns);
        wake_at(d, &d->peers[f->peer], f->gap_ns);
        return false;
    }
    uint64_t late_ns = min_u64(now_ns - f->gap_ns, ORDER_GAP_NS); /* the timer's */
    f->gap_ns = now_ns - late_ns + ORDER_GAP_NS / (1 + f->runs / ORDER_GAP_RUNS);
    return true;
}

/* All that no longer has a gap before it; or, when it is known what is missing, none that is waited for. */
static void drain(dp *d, order_flow *f, batch *b, bool is_settled)
{
    oxi_stats *st = &d->stats;
    while (f->first) {
        bool is_filled = is_next(f);
        if (!is_filled && (!is_settled || missing(d, f, f->first) || !gap_may_show(d, f, b->now_ns)))
            return;
        bool is_overdue = after(f->first->wait.due_ms, ms_of(b->now_ns)) <= 0; /* and what was missing */
        run_release(d, f, b, is_filled    ? &st->order_filled_packets
                             : is_overdue ? &st->order_timeout_packets
                                          : &st->order_resolved_packets);
    }
}

/* The bytes may be the shell's, which needs them back. */
static bool own(pkt *p)
{
    if (p->base == p->buf)
        return true;
    if ((uint32_t)PKT_HEADROOM + p->len > p->buf_bytes)
        return false;
    memcpy(p->buf + PKT_HEADROOM, pkt_data(p), p->len);
    p->base = p->buf;
    p->off = PKT_HEADROOM;
    return true;
}

/* p goes where its sequence number belongs: mostly behind all, and often to the end of the last run. */
static void queue(dp *d, order_flow *f, pkt *p, const segment *s, uint32_t due_ms)
{
    pkt *before = f->last; /* first packet of the last run that does not begin behind p */
    if (before && after(s->seq, before->wait.seq) < 0) {
        before = NULL;
        for (pkt *run = f->first; after(s->seq, run->wait.seq) >= 0; run = run->wait.last->wait.next)
            before = run;
    }
    p->wait = (pkt_wait){ .last = p, .seq = s->seq, .end = s->end, .due_ms = due_ms };
    if (!f->first)
        list_put(&d->order, f);
    pkt **link = before ? &before->wait.last->wait.next : &f->first;
    p->wait.next = *link;
    *link = p;
    if (before && before->wait.end == s->seq) {
        before->wait.last = p;
        before->wait.end = s->end;
    } else {
        f->runs++;
        if (f->last == before)
            f->last = p;
    }
}

/* Behind all that the flow has sent before. */
static void queue_anew(order_flow *f, pkt *p, const segment *s)
{
    p->wait = (pkt_wait){ .seq = s->seq, .end = s->end };
    *(f->anew ? &f->anew_last->wait.next : &f->anew) = p;
    f->anew_last = p;
}

/* Never so many that the pool runs dry of them. */
static bool has_room(const dp *d)
{
    const pool *pl = &d->pool;
    uint64_t free_min = min_u64(POOL_RESERVE, pl->count / 4);
    return d->order.waiting < pl->count / 2 && pl->free_count >= free_min;
}

/* Room for one more of f. False: it can not wait, and nothing of its flow does any more. */
static bool room_make(dp *d, order_flow *f, pkt *p, batch *b)
{
    bool was_waiting = f->first != NULL;
    if (!has_room(d) && d->order.oldest)
        flow_release(d, d->order.oldest, b, &d->stats.order_full_packets);
    bool is_let_go = was_waiting && !f->first;
    if (is_let_go || !has_room(d) || f->runs == ORDER_RUNS_MAX || !own(p)) {
        flow_release(d, f, b, &d->stats.order_full_packets);
        return false;
    }
    waiting_add(d, f, 1);
    COUNT_ADD(d->stats.deliver_held_packets, 1);
    COUNT_ADD(d->stats.order_held_packets, 1);
    return true;
}

/* p stands behind a gap of its flow. False: it does not wait. */
static bool hold_back(dp *d, order_flow *f, pkt *p, const segment *s, const hole *h, batch *b)
{
    bool was_waiting = f->first != NULL;
    if (!room_make(d, f, p, b))
        return false;
    peer *pr = &d->peers[p->peer];
    uint32_t limit_ms = ms_of(limit_ns(&pr->paths[p->path]));
    uint32_t age_ms = h ? ms_of(b->now_ns) - h->noticed_ms : 0;
    uint32_t left_ms = age_ms < limit_ms ? limit_ms - age_ms : 0;
    queue(d, f, p, s, ms_of(b->now_ns) + left_ms);
    uint64_t due_ns = (b->now_ns / NS_PER_MS + left_ms) * NS_PER_MS;
    if (!was_waiting || due_ns < f->due_ns) {
        f->due_ns = due_ns;
        wake_at(d, pr, due_ns);
    }
    return true;
}

/* ---- flows ---- */

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9e3779b97f4a7c15ULL; /* 2^64 / golden ratio */
    return h ^ (h >> 32);
}

static uint64_t tag_of(const dp *d, const pkt *p, const l4_view *v)
{
    const uint8_t *data = pkt_data(p);
    uint64_t h = mix(d->conf.hash_key, (uint64_t)p->peer << 32 | load_be32(data + v->ip_bytes)); /* ports */
    const uint8_t *addresses = data + (v->is_v6 ? 8 : 12);
    for (uint32_t i = 0; i < (v->is_v6 ? 4u : 1u); i++)
        h = mix(h, load_be64(addresses + (size_t)8 * i));
    return h ? h : 1;
}

/* False: it takes up no sequence numbers, or is not of a TCP connection. */
static bool segment_read(const dp *d, const pkt *p, segment *s)
{
    const uint8_t *data = pkt_data(p);
    l4_view v;
    if (data[data[0] >> 4 == 6 ? 6 : 9] != L4_TCP || !l4_parse(data, p->len, &v) || v.is_fragment)
        return false;
    const uint8_t *tcp = data + v.ip_bytes;
    uint32_t payload = p->len - v.ip_bytes - v.l4_bytes;
    s->flags = tcp[13];
    if (payload == 0 && !(s->flags & (TCP_SYN | TCP_FIN | TCP_RST)))
        return false;
    s->seq = load_be32(tcp + 4);
    s->end = s->seq + payload + !!(s->flags & TCP_SYN) + !!(s->flags & TCP_FIN);
    s->may_wait = payload > 0 && !(payload < ORDER_TINY_BYTES && (s->flags & TCP_PSH));
    s->tag = tag_of(d, p, &v);
    return true;
}

static order_flow *set_of(const order_table *t, uint64_t tag)
{
    return t->flows + (tag >> 32) % (ORDER_FLOWS / ORDER_WAYS) * ORDER_WAYS;
}

static order_flow *flow_find(const order_table *t, uint64_t tag) /* NULL: not known */
{
    order_flow *set = set_of(t, tag);
    for (uint32_t i = 0; i < ORDER_WAYS; i++)
        if (set[i].tag == tag)
            return &set[i];
    return NULL;
}

/* A place for a new flow. The longest idle gives way, and rather one of which nothing waits. */
static order_flow *flow_make(dp *d, uint64_t tag, batch *b)
{
    order_table *t = &d->order;
    order_flow *set = set_of(t, tag), *found = set;
    for (uint32_t i = 0; i < ORDER_WAYS; i++) {
        order_flow *f = &set[i];
        if (f->tag == 0)
            return f;
        bool is_idler = t->clock - f->used > t->clock - found->used;
        if (!f->first == !found->first ? is_idler : !f->first)
            found = f;
    }
    flow_release(d, found, b, &d->stats.order_full_packets);
    return found;
}

static void flow_begin(order_table *t, order_flow *f, const pkt *p, const segment *s)
{
    *f = (order_flow){ .tag = s->tag, .pn = p->pn, .serial = p->session->serial, .next_seq = s->end,
                       .used = t->clock, .peer = p->peer, .path = p->path };
}

/* A connection begins or ends: nothing that comes behind this belongs to what came before it. */
static void flow_renew(dp *d, order_flow *f, const pkt *p, const segment *s, batch *b)
{
    if (f)
        flow_release(d, f, b, &d->stats.order_resolved_packets);
    if (!(s->flags & TCP_RST))
        flow_begin(&d->order, f ? f : flow_make(d, s->tag, b), p, s);
    else if (f)
        f->tag = 0;
}

/* Behind a gap. True: p waits. */
static bool gap_waits(dp *d, order_flow *f, pkt *p, const segment *s, batch *b)
{
    order_table *t = &d->order;
    path *pa = &d->peers[p->peer].paths[p->path];
    holes_expire(&t->holes, &pa->holes, b->now_ns, limit_ns(pa));
    const hole *h = f->first || s->may_wait ? missing(d, f, p) : NULL;
    bool is_unsettled = t->holes.changes != t->changes_at && p->pn > f->pn && s->may_wait;
    return (f->first || h || is_unsettled) && hold_back(d, f, p, s, h, b);
}

static void order_one(dp *d, pkt *p, batch *b)
{
    segment s;
    if (!segment_read(d, p, &s)) {
        pass(d, b, p);
        return;
    }
    order_table *t = &d->order;
    t->clock++;
    order_flow *f = flow_find(t, s.tag);
    if (OXI_UNLIKELY(!f || (s.flags & (TCP_SYN | TCP_RST)))) {
        flow_renew(d, f, p, &s, b);
        pass(d, b, p);
        return;
    }
    f->used = t->clock;
    if (OXI_UNLIKELY(is_sent_anew(f, p, s.seq)) && room_make(d, f, p, b)) {
        queue_anew(f, p, &s);
        return;
    }
    bool is_gap = after(s.seq, f->next_seq) > 0;
    if (OXI_UNLIKELY(is_gap) && gap_waits(d, f, p, &s, b))
        return;
    go_on(d, f, p, s.end, b);
    drain(d, f, b, false);
}

/* Of near paths: what is lost there comes back before TCP notices, and the line rate is theirs. */
static bool is_near(const dp *d, const batch *b)
{
    for (uint32_t i = 0; i < b->count; i++) {
        const pkt *p = b->pkts[i];
        uint64_t rtt_ns = d->peers[p->peer].paths[p->path].stats.rtt_ns;
        if (rtt_ns == 0 || rtt_ns >= NEAR_RTT_NS)
            return false;
    }
    return true;
}

void order_batch(dp *d, batch *b)
{
    if (!d->order.flows || (d->order.waiting == 0 && is_near(d, b)))
        return;
    batch in = *b;
    b->count = 0;
    for (uint32_t i = 0; i < in.count; i++)
        order_one(d, in.pkts[i], b);
}

/* ---- turns and timers ---- */

void order_begin(dp *d) { d->order.changes_at = d->order.holes.changes; }

void order_settle(dp *d, uint64_t now_ns)
{
    order_table *t = &d->order;
    if (t->changes_seen == t->holes.changes)
        return;
    t->changes_seen = t->holes.changes;
    batch b = { .now_ns = now_ns };
    for (order_flow *f = t->oldest, *newer; f; f = newer) {
        newer = f->newer;
        drain(d, f, &b, true);
    }
    path_in_release(d, &b);
}

/* All that has waited long enough, with what is before it; gaps one after the other, until it is too long. */
static void overdue_release(dp *d, order_flow *f, batch *b)
{
    uint32_t now_ms = ms_of(b->now_ns), left_ms = INT32_MAX, overdue = 0, late = 0, i = 0;
    for (const pkt *run = f->first; run; run = run->wait.last->wait.next) {
        i++;
        int32_t over_ms = after(now_ms, run->wait.due_ms);
        overdue = over_ms >= 0 ? i : overdue;
        late = over_ms >= ORDER_GAPS_MS ? i : late;
    }
    f->due_ns = NEVER_NS;
    for (i = 0; i < overdue && (i < late || is_next(f) || gap_may_show(d, f, b->now_ns)); i++)
        run_release(d, f, b, &d->stats.order_timeout_packets);
    drain(d, f, b, true);
    if (i < overdue)
        return;
    for (const pkt *run = f->first; run; run = run->wait.last->wait.next)
        left_ms = (uint32_t)min_u64(left_ms, run->wait.due_ms - now_ms);
    f->due_ns = min_u64(f->due_ns, (b->now_ns / NS_PER_MS + left_ms) * NS_PER_MS);
}

void order_tick(dp *d, peer *pr, uint64_t now_ns)
{
    order_table *t = &d->order;
    if (t->waiting == 0)
        return;
    for (uint32_t i = 0; i < OXI_PATHS_MAX; i++)
        holes_expire(&t->holes, &pr->paths[i].holes, now_ns, limit_ns(&pr->paths[i]));
    batch b = { .now_ns = now_ns };
    for (order_flow *f = t->oldest, *newer; f; f = newer) {
        newer = f->newer;
        if (f->peer != peer_number(d, pr))
            continue;
        drain(d, f, &b, true);
        if (f->first && f->due_ns <= now_ns)
            overdue_release(d, f, &b);
        if (f->first)
            wake_at(d, pr, f->due_ns);
    }
    path_in_release(d, &b);
}

static void drop_all(dp *d, order_flow *f, pkt *p, const pkt *end)
{
    for (pkt *next; p != end; p = next) {
        next = p->wait.next;
        waiting_add(d, f, (uint32_t)-1);
        drop_undelivered(d, p, DROP_STOPPED);
    }
}

void order_end(dp *d, peer *pr)
{
    order_table *t = &d->order;
    for (uint32_t i = 0; t->flows && i < ORDER_FLOWS; i++) {
        order_flow *f = &t->flows[i];
        if (f->tag == 0 || f->peer != peer_number(d, pr))
            continue;
        while (f->first) {
            pkt *p = f->first, *end = p->wait.last->wait.next;
            run_take(d, f);
            drop_all(d, f, p, end);
        }
        drop_all(d, f, f->anew, NULL);
        f->anew = NULL;
        f->tag = 0;
    }
    for (uint32_t i = 0; i < OXI_PATHS_MAX; i++)
        holes_clear(&t->holes, &pr->paths[i].holes);
}
