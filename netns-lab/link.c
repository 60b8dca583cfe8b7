/* link.c - the link itself: what happens to each packet, and when.  See link.h for the order.
 *
 * A packet's whole future is known when it arrives (its departure from the bottleneck follows from
 * the packets before it), so there is one computation per arrival and one heap of release times. */
#include "link.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NEVER UINT64_MAX

/* One number stream per purpose, so that switching one fault on leaves the others' decisions alone. */
enum purpose { FOR_LOSS, FOR_GE_STEP, FOR_GE_LOSS, FOR_GE_TIME, FOR_REORDER, FOR_DUPLICATE, FOR_CORRUPT,
               FOR_BIT, FOR_JITTER, FOR_COPY_JITTER, FOR_NAT };

static uint64_t mix(uint64_t x)   /* the finaliser of splitmix64 (Steele, Lea, Flood 2014) */
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* Depends on its arguments only: the same packet of the same seed meets the same fate. */
uint64_t link_random(uint64_t seed, int dir, uint64_t index, int purpose)
{
    const uint64_t golden = 0x9e3779b97f4a7c15u;
    uint64_t key = mix(seed + golden * (uint64_t)(dir * 32 + purpose + 1));
    return mix(key + golden * (index + 1));
}

static bool happens(uint64_t random, chance threshold)
{
    return threshold == CHANCE_ALWAYS || random < threshold;
}

static void drop(struct direction *d, enum drop reason, uint32_t len)
{
    d->count.drops[reason].packets++;
    d->count.drops[reason].bytes += len;
}

void link_init(struct link *link, uint64_t seed, uint64_t now_ns, emit_fn emit, void *context)
{
    memset(link, 0, sizeof *link);
    link->seed = seed;
    link->origin_ns = now_ns;
    link->emit = emit;
    link->context = context;
}

/* Schedules count from now on; what is held keeps its release times. */
void link_origin(struct link *link, uint64_t now_ns)
{
    link->origin_ns = now_ns;
    link->nat = (struct nat){0};
    for (int dir = 0; dir < DIRS; dir++) {
        struct direction *d = &link->dirs[dir];
        d->ge_bad = false;
        d->ge_toggles = d->ge_until_ns = 0;
        d->trace_laps = d->trace_at = d->trace_left = 0;
    }
}

void link_free(struct link *link)
{
    for (int dir = 0; dir < DIRS; dir++) {
        struct direction *d = &link->dirs[dir];
        for (size_t i = 0; i < d->heap_len; i++)
            free(d->heap[i].bytes);
        free(d->heap);
        free(d->queue);
        free(d->conf.trace.opportunity_ns);
    }
}

void link_heal(struct link *link)
{
    for (int dir = 0; dir < DIRS; dir++) {
        struct dir_conf *c = &link->dirs[dir].conf;
        c->loss = c->ge_enter = c->ge_leave = c->ge_loss_bad = c->ge_loss_good = 0;
        c->ge_bad_ns = c->ge_good_ns = 0;
        c->reorder = c->duplicate = c->corrupt = 0;
        c->outage_count = 0;
        c->block = false;
    }
}

/* --- burst loss ------------------------------------------------------------------------------ */

/* Moves the two-state chain for packet `index`; by packet or by time, as configured. */
static void ge_step(struct link *link, int dir, uint64_t index, uint64_t now_ns)
{
    struct direction *d = &link->dirs[dir];
    const struct dir_conf *c = &d->conf;
    if (c->ge_enter) {
        uint64_t random = link_random(link->seed, dir, index, FOR_GE_STEP);
        if (happens(random, d->ge_bad ? c->ge_leave : c->ge_enter))
            d->ge_bad = !d->ge_bad;
    } else if (c->ge_bad_ns) {
        uint64_t since_ns = now_ns - link->origin_ns;
        while (d->ge_until_ns <= since_ns) {
            uint64_t random = link_random(link->seed, dir, d->ge_toggles, FOR_GE_TIME);
            double unit = ((double)(random >> 11) + 0.5) * 0x1p-53;
            if (d->ge_toggles++ > 0)
                d->ge_bad = !d->ge_bad;
            double mean_ns = (double)(d->ge_bad ? c->ge_bad_ns : c->ge_good_ns);
            d->ge_until_ns += (uint64_t)(-log(unit) * mean_ns) + 1;
        }
    } else {
        d->ge_bad = false;
    }
}

/* Which loss, if any, takes packet `index`: DROPS for none. */
static enum drop lost_by(const struct link *link, int dir, uint64_t index)
{
    const struct direction *d = &link->dirs[dir];
    const struct dir_conf *c = &d->conf;
    if (happens(link_random(link->seed, dir, index, FOR_LOSS), c->loss))
        return DROP_LOSS;
    chance burst = d->ge_bad ? c->ge_loss_bad : c->ge_loss_good;
    if (happens(link_random(link->seed, dir, index, FOR_GE_LOSS), burst))
        return DROP_BURST_LOSS;
    return DROPS;
}

/* --- queue and bottleneck -------------------------------------------------------------------- */

static uint64_t transmit_ns(uint64_t bytes, uint64_t rate_bps)
{
    return (uint64_t)((unsigned __int128)bytes * 8u * 1000000000u / rate_bps);
}

static uint64_t bytes_in(const struct dir_conf *c, uint64_t span_ns)
{
    if (c->trace.count)
        return (uint64_t)((unsigned __int128)span_ns * c->trace.count * TRACE_BYTES / c->trace.period_ns);
    return (uint64_t)((unsigned __int128)span_ns * c->rate_bps / 8u / 1000000000u);
}

/* Whether the queue holds more than one of three limits (0: no limit). */
static bool above(const struct direction *d, uint64_t more_packets, uint64_t more_bytes,
                  uint64_t packets, uint64_t bytes, uint64_t span_ns)
{
    if (packets && d->queue_len + more_packets > packets)
        return true;
    if (bytes && d->queue_bytes + more_bytes > bytes)
        return true;
    return span_ns && d->queue_bytes + more_bytes > bytes_in(&d->conf, span_ns);
}

static void queue_expire(struct direction *d, uint64_t now_ns)
{
    while (d->queue_len && d->queue[d->queue_head].depart_ns <= now_ns) {
        d->queue_bytes -= d->queue[d->queue_head].len;
        d->queue_head = (d->queue_head + 1) % d->queue_room;
        d->queue_len--;
    }
}

static bool queue_push(struct direction *d, uint64_t depart_ns, uint32_t len)
{
    if (d->queue_len == d->queue_room) {
        size_t room = d->queue_room ? d->queue_room * 2 : 1024;
        struct waiting *grown = room <= HELD_MAX ? malloc(room * sizeof *grown) : NULL;
        if (!grown)
            return false;
        for (size_t i = 0; i < d->queue_len; i++)
            grown[i] = d->queue[(d->queue_head + i) % d->queue_room];
        free(d->queue);
        d->queue = grown;
        d->queue_room = room;
        d->queue_head = 0;
    }
    d->queue[(d->queue_head + d->queue_len) % d->queue_room] = (struct waiting){depart_ns, len};
    d->queue_len++;
    d->queue_bytes += len;
    if (d->queue_len > d->count.queue_max_packets)
        d->count.queue_max_packets = d->queue_len;
    if (d->queue_bytes > d->count.queue_max_bytes)
        d->count.queue_max_bytes = d->queue_bytes;
    return true;
}

static uint64_t trace_time(const struct direction *d)
{
    return d->trace_laps * d->conf.trace.period_ns + d->conf.trace.opportunity_ns[d->trace_at];
}

static void trace_next(struct direction *d)
{
    d->trace_left = TRACE_BYTES;
    if (++d->trace_at == d->conf.trace.count) {
        d->trace_at = 0;
        d->trace_laps++;
    }
}

/* When a packet of `len` has wholly left through the trace's opportunities (mahimahi's rule: an
 * opportunity carries 1500 bytes of what waits then, and what it does not use is gone). */
static uint64_t trace_depart(struct direction *d, uint64_t since_ns, uint32_t len)
{
    if (d->trace_at >= d->conf.trace.count)    /* it was another trace a moment ago */
        d->trace_at = 0;
    if (d->trace_left == 0)
        d->trace_left = TRACE_BYTES;
    if (trace_time(d) < since_ns && since_ns / d->conf.trace.period_ns > d->trace_laps + 1) {
        d->trace_laps = since_ns / d->conf.trace.period_ns - 1;   /* idle for laps: jump near */
        d->trace_at = 0;
    }
    while (trace_time(d) < since_ns)
        trace_next(d);
    while (len > d->trace_left) {
        len -= d->trace_left;
        trace_next(d);
    }
    d->trace_left -= len;
    uint64_t depart_ns = trace_time(d);
    if (d->trace_left == 0)
        trace_next(d);
    return depart_ns;
}

/* When the packet leaves the bottleneck; NEVER when the queue has no room for it. */
static uint64_t bottleneck(struct link *link, int dir, uint64_t now_ns, uint32_t len, bool *mark)
{
    struct direction *d = &link->dirs[dir];
    const struct dir_conf *c = &d->conf;
    *mark = false;
    if (!c->rate_bps && !c->trace.count)
        return now_ns;
    queue_expire(d, now_ns);
    if (d->queue_len && above(d, 1, len, c->queue_packets, c->queue_bytes, c->queue_ns))
        return NEVER;
    *mark = d->queue_len && above(d, 0, 0, c->ecn_packets, c->ecn_bytes, c->ecn_ns);
    uint64_t depart_ns;
    if (c->trace.count) {
        depart_ns = link->origin_ns + trace_depart(d, now_ns - link->origin_ns, len);
    } else {
        uint64_t start_ns = d->busy_until_ns > now_ns ? d->busy_until_ns : now_ns;
        depart_ns = start_ns + transmit_ns(len, c->rate_bps);
    }
    d->busy_until_ns = depart_ns;
    return queue_push(d, depart_ns, len) ? depart_ns : NEVER;
}

/* --- the delay line -------------------------------------------------------------------------- */

static bool sooner(const struct held *x, const struct held *y)
{
    return x->release_ns != y->release_ns ? x->release_ns < y->release_ns : x->order < y->order;
}

static void heap_push(struct direction *d, struct held item)
{
    size_t at = d->heap_len++;
    for (; at > 0 && sooner(&item, &d->heap[(at - 1) / 2]); at = (at - 1) / 2)
        d->heap[at] = d->heap[(at - 1) / 2];
    d->heap[at] = item;
    d->held_bytes += item.len;
}

static struct held heap_pop(struct direction *d)
{
    struct held top = d->heap[0], last = d->heap[--d->heap_len];
    size_t at = 0, child;
    while ((child = 2 * at + 1) < d->heap_len) {
        if (child + 1 < d->heap_len && sooner(&d->heap[child + 1], &d->heap[child]))
            child++;
        if (!sooner(&d->heap[child], &last))
            break;
        d->heap[at] = d->heap[child];
        at = child;
    }
    if (d->heap_len)
        d->heap[at] = last;
    d->held_bytes -= top.len;
    return top;
}

/* Puts a copy of the packet into the delay line.  False: there is no room. */
static bool hold(struct direction *d, uint64_t release_ns, uint64_t index, const uint8_t *bytes, uint32_t len)
{
    if (d->heap_len == d->heap_room) {
        size_t room = d->heap_room ? d->heap_room * 2 : 1024;
        struct held *grown = room <= HELD_MAX ? realloc(d->heap, room * sizeof *grown) : NULL;
        if (!grown)
            return false;
        d->heap = grown;
        d->heap_room = room;
    }
    uint8_t *copy = malloc(len);
    if (!copy)
        return false;
    memcpy(copy, bytes, len);
    heap_push(d, (struct held){release_ns, d->pushes++, index, copy, len});
    return true;
}

static uint64_t release_time(struct link *link, int dir, uint64_t index, uint64_t depart_ns, int purpose)
{
    struct direction *d = &link->dirs[dir];
    const struct dir_conf *c = &d->conf;
    uint64_t release_ns = depart_ns + c->delay_ns;
    if (c->jitter_ns)
        release_ns += link_random(link->seed, dir, index, purpose) % (c->jitter_ns + 1);
    if (!c->jitter_reorders) {
        if (release_ns < d->last_release_ns)
            release_ns = d->last_release_ns;
        d->last_release_ns = release_ns;
    }
    if (purpose == FOR_JITTER && happens(link_random(link->seed, dir, index, FOR_REORDER), c->reorder)) {
        release_ns += c->reorder_ns;
        d->count.reordered++;
    }
    return release_ns;
}

/* --- address translation --------------------------------------------------------------------- */

/* A NAT before side a that forgets all its ports at the given times.  Before the first, it is absent. */
static bool nat_active(struct link *link, uint64_t now_ns)
{
    const struct dir_conf *c = &link->dirs[DIR_AB].conf;
    uint32_t epoch = 0;
    while (epoch < c->rebind_count && c->rebinds_ns[epoch] <= now_ns - link->origin_ns)
        epoch++;
    if (epoch != link->nat.epoch) {
        link->nat.epoch = epoch;
        link->nat.count = 0;
    }
    return epoch > 0;
}

static const struct mapping *nat_find(const struct nat *nat, uint16_t port, bool outer)
{
    for (uint32_t i = 0; i < nat->count; i++)
        if ((outer ? nat->table[i].outer_port : nat->table[i].inner_port) == port)
            return &nat->table[i];
    return NULL;
}

/* The outer port of a source port, chosen on first use. NULL: the table is full. */
static const struct mapping *nat_map(struct link *link, uint16_t inner_port)
{
    struct nat *nat = &link->nat;
    const struct mapping *known = nat_find(nat, inner_port, false);
    if (known || nat->count == NAT_MAX)
        return known;
    uint64_t draw = link_random(link->seed, DIR_AB, (uint64_t)nat->epoch << 32 | inner_port, FOR_NAT);
    uint16_t outer_port = (uint16_t)(1024 + draw % 64000);
    while (nat_find(nat, outer_port, true) || outer_port == inner_port)
        outer_port = outer_port == 65023 ? 1024 : (uint16_t)(outer_port + 1);
    nat->table[nat->count] = (struct mapping){inner_port, outer_port};
    return &nat->table[nat->count++];
}

/* False: the NAT knows no such port, or has no more room. */
static bool nat_pass(struct link *link, int dir, uint64_t now_ns, uint8_t *bytes, const struct view *view)
{
    uint16_t nat_port = link->dirs[DIR_AB].conf.nat_port;
    bool out = dir == DIR_AB;
    if (!view->udp || !nat_active(link, now_ns))
        return true;
    if (nat_port && packet_port(bytes, view, !out) != nat_port)
        return true;
    const struct mapping *m = out ? nat_map(link, packet_port(bytes, view, true))
                                  : nat_find(&link->nat, packet_port(bytes, view, false), true);
    if (!m)
        return false;
    packet_set_port(bytes, view, out, out ? m->outer_port : m->inner_port);
    link->dirs[dir].count.nat_rewritten++;
    return true;
}

/* --- arrival and departure ------------------------------------------------------------------- */

static bool in_outage(const struct link *link, const struct dir_conf *c, uint64_t now_ns)
{
    uint64_t since_ns = now_ns - link->origin_ns;
    for (uint32_t i = 0; i < c->outage_count; i++)
        if (c->outages[i].start_ns <= since_ns && since_ns < c->outages[i].end_ns)
            return true;
    return false;
}

static bool blocked(const struct dir_conf *c, const uint8_t *bytes, const struct view *view)
{
    return c->block && view->udp && view->udp + 8 < view->len &&
           (bytes[view->udp + 8] & c->block_mask) == c->block_value;
}

/* Answers a packet over the MTU to the side it came from. */
static void too_big(struct link *link, int dir, const uint8_t *bytes, const struct view *view)
{
    struct direction *d = &link->dirs[dir];
    uint8_t answer[1280];
    if (!d->conf.ptb || view->may_fragment)
        return;
    uint32_t len = packet_too_big(bytes, view, d->conf.mtu_bytes, answer);
    struct held packet = {.bytes = answer, .len = len, .index = UINT64_MAX};
    if (len && link->emit(link->context, dir == DIR_AB ? 0 : 1, &packet))
        d->count.icmp_made++;
}

/* Why the packet does not even reach the queue: DROPS when it does. */
static enum drop refuse(struct link *link, int dir, uint64_t now_ns, const uint8_t *bytes,
                        const struct view *view)
{
    const struct dir_conf *c = &link->dirs[dir].conf;
    if (blocked(c, bytes, view))
        return DROP_BLOCKED;
    if (in_outage(link, c, now_ns))
        return DROP_OUTAGE;
    if (c->mtu_bytes && view->len > c->mtu_bytes) {
        too_big(link, dir, bytes, view);
        return DROP_TOO_BIG;
    }
    return DROPS;
}

/* Changes the held copy as the draw says: CE mark, flipped bit, port of the NAT. */
static void alter(struct link *link, int dir, uint64_t index, uint8_t *bytes, const struct view *view,
                  bool mark)
{
    struct direction *d = &link->dirs[dir];
    if (mark && packet_mark_ce(bytes, view))
        d->count.ce_marked++;
    uint64_t random = link_random(link->seed, dir, index, FOR_BIT);
    bool chosen = happens(link_random(link->seed, dir, index, FOR_CORRUPT), d->conf.corrupt);
    if (chosen && view->body < view->len) {
        d->count.corrupted++;
        if (!packet_flip(bytes, view, random, !d->conf.corrupt_break))
            d->count.corrupted_checksum_bad++;
    }
}

static void carry(struct link *link, int dir, uint64_t index, uint64_t depart_ns, bool mark,
                  uint8_t *bytes, const struct view *view)
{
    struct direction *d = &link->dirs[dir];
    uint32_t len = view->len;
    alter(link, dir, index, bytes, view, mark);
    uint64_t release_ns = release_time(link, dir, index, depart_ns, FOR_JITTER);
    if (!hold(d, release_ns, index, bytes, len)) {
        drop(d, DROP_NO_BUFFER, len);
        return;
    }
    if (happens(link_random(link->seed, dir, index, FOR_DUPLICATE), d->conf.duplicate)) {
        d->count.duplicated.packets++;
        d->count.duplicated.bytes += len;
        release_ns = release_time(link, dir, index, depart_ns, FOR_COPY_JITTER);
        if (!hold(d, release_ns, index, bytes, len))
            drop(d, DROP_NO_BUFFER, len);
    }
}

/* Takes one packet in. `bytes` stay the caller's. */
void link_arrive(struct link *link, int dir, uint64_t now_ns, const uint8_t *bytes, uint32_t len)
{
    struct direction *d = &link->dirs[dir];
    uint64_t index = d->index++;
    static uint8_t work[PACKET_MAX];
    struct view view;
    d->count.in.packets++;
    d->count.in.bytes += len;
    ge_step(link, dir, index, now_ns);
    if (len > PACKET_MAX || !packet_parse(bytes, len, &view)) {
        drop(d, DROP_NOT_IP, len);
        return;
    }
    memcpy(work, bytes, len);
    enum drop reason = refuse(link, dir, now_ns, work, &view);
    if (reason == DROPS && dir == DIR_AB && !nat_pass(link, dir, now_ns, work, &view))
        reason = DROP_NAT_UNKNOWN;
    bool mark = false;
    uint64_t depart_ns = reason == DROPS ? bottleneck(link, dir, now_ns, len, &mark) : NEVER;
    if (reason == DROPS && depart_ns == NEVER)
        reason = DROP_QUEUE_FULL;
    if (reason == DROPS)
        reason = lost_by(link, dir, index);
    if (reason == DROPS)
        carry(link, dir, index, depart_ns, mark, work, &view);
    else
        drop(d, reason, len);
}

static void deliver(struct link *link, int dir, uint64_t now_ns, struct held *packet)
{
    struct direction *d = &link->dirs[dir];
    struct view view;
    bool known = true;
    if (now_ns - packet->release_ns > d->count.late_ns_max)
        d->count.late_ns_max = now_ns - packet->release_ns;
    if (dir == DIR_BA && packet_parse(packet->bytes, packet->len, &view))
        known = nat_pass(link, dir, now_ns, packet->bytes, &view);
    if (!known) {
        drop(d, DROP_NAT_UNKNOWN, packet->len);
    } else if (!link->emit(link->context, dir == DIR_AB ? 1 : 0, packet)) {
        drop(d, DROP_WRITE_FAILED, packet->len);
    } else {
        d->count.out.packets++;
        d->count.out.bytes += packet->len;
    }
    free(packet->bytes);
}

void link_emit(struct link *link, uint64_t now_ns)
{
    for (int dir = 0; dir < DIRS; dir++) {
        struct direction *d = &link->dirs[dir];
        while (d->heap_len && d->heap[0].release_ns <= now_ns) {
            struct held packet = heap_pop(d);
            deliver(link, dir, now_ns, &packet);
        }
    }
}

uint64_t link_next_ns(const struct link *link)
{
    uint64_t next_ns = UINT64_MAX;
    for (int dir = 0; dir < DIRS; dir++)
        if (link->dirs[dir].heap_len && link->dirs[dir].heap[0].release_ns < next_ns)
            next_ns = link->dirs[dir].heap[0].release_ns;
    return next_ns;
}
