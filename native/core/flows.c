/* flows.c - see flows.h. */
#include "flows.h"

#include "bytes.h"
#include "l4.h"
#include "traffic_class.h"

enum { WEIGHT = 16, RTP_HEADER = 12, RTP_GAP_MAX = 16, GAP_GROWTH_MAX = 8, GAP_US_MAX = 10000000 };

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9e3779b97f4a7c15u; /* 2^64 / golden ratio */
    return h ^ (h >> 29);
}

static uint64_t hash_of(const flow_key *k, uint64_t hash_key)
{
    uint64_t h = mix(mix(mix(hash_key, k->addresses[0]), k->ends), k->peer);
    for (uint32_t i = 1; i < 4 && k->addresses[3] != 0; i++)
        h = mix(h, k->addresses[i]);
    return h ^ (h >> 32);
}

static uint64_t word_at(const uint8_t *data) /* as it stands there */
{
    uint64_t word;
    memcpy(&word, data, sizeof word);
    return word;
}

static flow_key key_of(const pkt *p, const uint8_t *data, const l4_view *v)
{
    flow_key k = { .peer = (uint64_t)p->peer << 1 | 1 };
    uint32_t octet = v->is_v6 ? load_be16(data) >> 4 & 0xff : data[1];
    uint64_t ports = v->l4_bytes > 0 && !v->is_fragment ? load_be32(data + v->ip_bytes) : 0;
    k.ends = ports << 32 | (uint64_t)v->protocol << 24 | (octet >> 2) << 16 | (uint64_t)v->is_v6 << 8 |
             v->is_fragment;
    k.addresses[0] = word_at(data + (v->is_v6 ? 8 : 12));
    for (uint32_t i = 1; i < 4; i++)
        k.addresses[i] = v->is_v6 ? word_at(data + 8 + i * 8) : 0;
    return k;
}

static flow flow_of(const flow_key *k)
{
    return (flow){ .key = *k,
                   .source_port = (uint16_t)(k->ends >> 48),
                   .target_port = (uint16_t)(k->ends >> 32),
                   .protocol = (uint8_t)(k->ends >> 24),
                   .dscp = (uint8_t)(k->ends >> 16),
                   .is_v6 = (uint8_t)(k->ends >> 8),
                   .is_fragment = (uint8_t)k->ends };
}

static bool is_flow(const flow *f, const flow_key *k)
{
    uint64_t differ = (f->key.ends ^ k->ends) | (f->key.peer ^ k->peer);
    for (uint32_t i = 0; i < 4; i++)
        differ |= f->key.addresses[i] ^ k->addresses[i];
    return differ == 0;
}

/* The place for a new flow of the set: a free one, or that of the longest idle. */
static uint32_t way_free(const flow_table *t, uint32_t set)
{
    uint32_t found = 0;
    for (uint32_t w = 0; w < FLOW_WAYS; w++) {
        if (t->tags[set][w] == 0)
            return w;
        if (t->slots[set * FLOW_WAYS + w].last_ns < t->slots[set * FLOW_WAYS + found].last_ns)
            found = w;
    }
    return found;
}

static flow *find(flow_table *t, uint64_t hash_key, const flow_key *k)
{
    if (t->last && is_flow(t->last, k))
        return t->last;
    uint64_t h = hash_of(k, hash_key);
    uint32_t set = (uint32_t)h % FLOW_SETS;
    uint32_t tag = (uint32_t)(h >> 32) | 1;
    for (uint32_t w = 0; w < FLOW_WAYS; w++) {
        flow *f = &t->slots[set * FLOW_WAYS + w];
        if (t->tags[set][w] == tag && is_flow(f, k))
            return f;
    }
    uint32_t way = way_free(t, set);
    flow *f = &t->slots[set * FLOW_WAYS + way];
    t->tags[set][way] = tag;
    *f = flow_of(k);
    return f;
}

/* ---- what a packet adds ---- */

static uint32_t apart(uint32_t a, uint32_t b) { return a > b ? a - b : b - a; }

/* Towards x by one part of WEIGHT; rounds away from the mean, so that it gets there. */
static void lean(uint32_t *mean, uint32_t x)
{
    uint32_t step = (apart(x, *mean) + WEIGHT - 1) / WEIGHT;
    *mean = x > *mean ? *mean + step : *mean - step;
}

static void size_note(flow *f, uint32_t len)
{
    uint32_t x = len * 16;
    if (f->packets == 0)
        f->size_x16 = x;
    lean(&f->size_dev_x16, apart(x, f->size_x16));
    lean(&f->size_x16, x);
}

/* One pause of many gaps says little of the others. */
static void gap_note(flow *f, uint64_t gap_ns)
{
    uint32_t gap_us = (uint32_t)min_u64(gap_ns / 1000, GAP_US_MAX);
    if (f->packets == 1)
        f->gap_us = gap_us;
    gap_us = (uint32_t)min_u64(gap_us, GAP_GROWTH_MAX * (uint64_t)f->gap_us + 1000);
    lean(&f->gap_dev_us, apart(gap_us, f->gap_us));
    lean(&f->gap_us, gap_us);
}

static void window_note(flow *f, uint32_t at_ms)
{
    uint32_t ms = at_ms - f->window_ms;
    if (ms < FLOW_WINDOW_MS)
        return;
    uint32_t rate = (uint32_t)min_u64((uint64_t)f->window_bytes * 1000 / ms, UINT32_MAX / 2);
    if (f->windows == 0)
        f->rate = rate;
    f->rate_dev = (uint32_t)(((uint64_t)f->rate_dev * 3 + apart(rate, f->rate)) / 4);
    f->rate = (uint32_t)(((uint64_t)f->rate * 3 + rate) / 4);
    f->windows = (uint8_t)min_u64(f->windows + 1u, UINT8_MAX);
    f->window_ms = at_ms;
    f->window_bytes = 0;
}

/* A pause has ended the burst. */
static void burst_note(flow *f, uint32_t at_ms)
{
    if (f->burst_bytes >= FLOW_BLOCK_BYTES_MIN) {
        uint32_t period_ms = f->burst_ms - f->block_ms;
        if (f->blocks > 0 && period_ms > FLOW_PERIOD_MS_MAX)
            f->blocks = 0;
        if (f->blocks == 1)
            f->period_ms = (uint16_t)period_ms;
        if (f->blocks >= 1) {
            f->period_dev_ms = (uint16_t)((f->period_dev_ms * 3 + apart(period_ms, f->period_ms)) / 4);
            f->period_ms = (uint16_t)((f->period_ms * 3 + period_ms) / 4);
        }
        f->blocks = (uint8_t)min_u64(f->blocks + 1u, UINT8_MAX);
        f->block_ms = f->burst_ms;
    }
    f->burst_ms = at_ms;
    f->burst_bytes = 0;
}

static uint32_t sum_bounded(uint32_t a, uint32_t b) { return a > UINT32_MAX - b ? UINT32_MAX : a + b; }

static void time_note(flow *f, uint64_t now_ns)
{
    uint64_t gap_ns = now_ns > f->last_ns ? now_ns - f->last_ns : 0;
    gap_note(f, gap_ns);
    if (gap_ns == 0)
        return; /* one batch has one time */
    uint32_t at_ms = (uint32_t)((now_ns - f->first_ns) / NS_PER_MS);
    window_note(f, at_ms);
    if (gap_ns >= FLOW_PAUSE_NS_MIN)
        burst_note(f, at_ms);
    if (gap_ns >= FLOW_PAUSE_NS_LONG)
        f->stretch_bytes = 0;
    f->last_ns = now_ns;
}

/* RFC 3550, section 5.1: version 2, one source, numbers that go up. */
static void rtp_note(flow *f, const uint8_t *rtp, uint32_t len)
{
    if (len < RTP_HEADER || rtp[0] >> 6 != 2) {
        f->rtp_score = 0;
        return;
    }
    uint16_t sequence = load_be16(rtp + 2);
    uint32_t ssrc = load_be32(rtp + 8);
    uint16_t step = (uint16_t)(sequence - f->sequence);
    bool is_next = f->packets > 0 && f->ssrc == ssrc && step >= 1 && step <= RTP_GAP_MAX;
    f->rtp_score = is_next ? (uint8_t)min_u64(f->rtp_score + 1u, RTP_SCORE) : 0;
    f->sequence = sequence;
    f->ssrc = ssrc;
}

uint32_t flows_note(flow_table *t, uint64_t hash_key, const pkt *p, uint64_t now_ns, uint32_t *changes)
{
    const uint8_t *data = pkt_data(p);
    l4_view v;
    if (!l4_parse(data, p->len, &v))
        return OXI_CLASS_WEB;
    flow_key key = key_of(p, data, &v);
    flow *f = find(t, hash_key, &key);
    t->last = f;
    bool is_new = f->packets == 0;
    if (is_new)
        f->first_ns = f->last_ns = now_ns;
    size_note(f, p->len);
    if (!is_new && now_ns >= f->last_ns)
        time_note(f, now_ns);
    bool has_ports = v.l4_bytes > 0 && !v.is_fragment;
    if (has_ports && v.protocol == L4_UDP)
        rtp_note(f, data + v.ip_bytes + UDP_HEADER, p->len - v.ip_bytes - UDP_HEADER);
    uint8_t flags = has_ports && v.protocol == L4_TCP ? data[v.ip_bytes + 13] : 0;
    f->tcp_flags |= flags;
    f->packets++;
    f->bytes += p->len;
    f->window_bytes = sum_bounded(f->window_bytes, p->len);
    f->burst_bytes = sum_bounded(f->burst_bytes, p->len);
    f->stretch_bytes = sum_bounded(f->stretch_bytes, p->len);
    if (is_new)
        class_begin(f, &t->rules);
    else
        *changes += class_review(f);
    return class_of_packet(f, flags);
}

void flows_rules_set(flow_table *t, const oxi_class_rule *rules, uint32_t count)
{
    t->rules.count = count;
    for (uint32_t i = 0; i < count; i++)
        t->rules.at[i] = rules[i];
    for (uint32_t i = 0; i < FLOWS_MAX; i++)
        if (t->slots[i].packets > 0)
            class_begin(&t->slots[i], &t->rules);
}

/* Over its last full second; of one that has stopped, over the time since. */
static uint64_t rate_of(const flow *f, uint64_t now_ns)
{
    uint64_t ms = now_ns > f->first_ns ? (now_ns - f->first_ns) / NS_PER_MS : 0;
    uint64_t open_ms = ms > f->window_ms ? ms - f->window_ms : 0;
    if (f->windows > 0 && open_ms < 2 * FLOW_WINDOW_MS)
        return f->rate;
    return (uint64_t)f->window_bytes * 1000 / (open_ms > FLOW_WINDOW_MS ? open_ms : FLOW_WINDOW_MS);
}

uint32_t flows_copy(const flow_table *t, uint64_t now_ns, oxi_flow *out, uint32_t max)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < FLOWS_MAX && count < max; i++) {
        const flow *f = &t->slots[i];
        if (f->packets == 0)
            continue;
        oxi_flow *o = &out[count++];
        *o = (oxi_flow){ .packets = f->packets, .bytes = f->bytes, .first_ns = f->first_ns,
                         .last_ns = f->last_ns, .rate = rate_of(f, now_ns),
                         .peer = (uint32_t)(f->key.peer >> 1),
                         .size_mean = f->size_x16 / 16, .gap_mean_us = f->gap_us,
                         .source_port = f->source_port, .target_port = f->target_port,
                         .changes = f->changes, .family = f->is_v6 ? OXI_AF_INET6 : OXI_AF_INET,
                         .protocol = f->protocol, .dscp = f->dscp,
                         .is_fragment = f->is_fragment, .traffic_class = f->traffic_class,
                         .why = f->why };
        uint32_t width = f->is_v6 ? 16 : 4;
        const uint8_t *addresses = (const uint8_t *)f->key.addresses;
        memcpy(o->source, addresses, width);
        memcpy(o->target, addresses + width, width);
    }
    return count;
}
