/* hdr.c - the two entry points: the form a header is coded in, and back.
 *
 * A reference is only ever a candidate whose datagram is acknowledged, so the restorer has run it through
 * this file. Its number's low two bits name it: of those on the path of the packet, sent before it, the one
 * with the highest number. The compressor has at most one of each that it may name, so both mean the same
 * one, whatever was lost, late or doubled. */
#include "hdr_context.h"
#include "hdr_fields.h"
#include "l4.h"

enum { FLOW_LONG = 127, TCP_BYTES_MAX = 60, LAG_DEEP = 20, LAG_SPARE = 3, CHANGES_MAX = 16, CHANGE_STEP = 4,
       STUCK_SPACINGS = 8 };
typedef enum { DISTANCE_SHORT, DISTANCE_LONG, DISTANCE_EXACT } distance_form;

typedef struct coding {
    hdr_tx_context *c;
    hdr_place at;
    hdr_header *h;
    hdr_candidate *ref;
    hdr_fields predicted;
    hdr_difference d;
    uint32_t distance;
    uint32_t coded_distance; /* as it stands in the form */
    distance_form form;
    uint16_t number;         /* of the candidate this packet is */
    bool is_candidate;
} coding;

static const char *const PROFILE_NAMES[HDR_PROFILES] = { "ip", "udp", "rtp", "tcp", "icmp", "esp" };
static const char *const VERDICT_NAMES[HDR_VERDICTS] = { "ok",          "truncated",         "unknown-flow",
                                                         "unknown-reference", "bad-form", "too-long" };

const char *hdr_profile_name(uint32_t n) { return n < HDR_PROFILES ? PROFILE_NAMES[n] : NULL; }
const char *hdr_verdict_name(uint32_t n) { return n < HDR_VERDICTS ? VERDICT_NAMES[n] : NULL; }

/* ---- compress ---- */

static void flow_write(uint32_t flow, writer *w)
{
    write_u8(w, (uint8_t)(HDR_ITEM_FIRST | (flow < FLOW_LONG ? flow : FLOW_LONG)));
    if (flow >= FLOW_LONG)
        write_u8(w, (uint8_t)(flow - FLOW_LONG));
}

/* What the packet is with this reference: the distance, what follows from it, and where it differs. */
static void differ(const hdr_tx_context *c, const hdr_header *h, const hdr_candidate *ref, bool may_switch,
                   hdr_fields *now, hdr_fields *predicted, uint32_t *distance, hdr_difference *d)
{
    *distance = hdr_distance(c, now, ref);
    *predicted = ref->f;
    hdr_ip_predict(&c->shape, &ref->f, *distance, predicted);
    hdr_modes_settle(&c->shape, &ref->f, predicted, may_switch, now);
    memset(d, 0, sizeof *d);
    d->general = hdr_ip_differ(&c->shape, now, predicted);
    if (c->shape.profile == HDR_RTP)
        hdr_rtp_differ(now, &ref->f, &h->once, *distance, c->trend.stride, d);
    else if (c->shape.profile == HDR_TCP)
        hdr_tcp_differ(now, &ref->f, &h->once, *distance, c->trend.stride, d);
    now->stride = d->general & G_STRIDE ? c->trend.stride : ref->f.stride;
    now->bias = ref->f.bias;
    d->is_extended |= d->general || d->own;
}

/* A candidate is on its way against which a packet like this one would be as predicted. */
static bool is_covered(const coding *k)
{
    const hdr_candidate *newest = &k->c->slots[k->c->newest % HDR_SLOTS];
    if (newest->number != k->c->newest || newest->state != CANDIDATE_SENT || newest->path != k->at.path ||
        hdr_candidate_is_lost(k->c, k->at.acked, newest))
        return false;
    hdr_fields now = k->h->now, predicted;
    uint32_t distance;
    hdr_difference d;
    differ(k->c, k->h, newest, false, &now, &predicted, &distance, &d);
    return !d.general && !d.jump;
}

static uint8_t bias_wanted(const hdr_tx_context *c, uint32_t path)
{
    uint32_t lag = c->lags[path];
    return lag < LAG_DEEP ? 0 : (uint8_t)min_u64((lag - LAG_SPARE) / HDR_BIAS_UNIT, UINT8_MAX);
}

/* Too soon after the candidate before. */
static bool is_early(const coding *k)
{
    return k->c->packets - k->c->candidate_at < hdr_spacing(k->c, k->at.path, true);
}

/* The shortest form of the distance, but for one that would make a candidate where none may be. */
static void distance_choose(coding *k)
{
    uint32_t bias = (uint32_t)k->ref->f.bias * HDR_BIAS_UNIT;
    uint32_t rest = k->distance - bias;
    if (k->ref->path != k->at.path || rest > UINT8_MAX) {
        k->form = DISTANCE_EXACT;
        k->coded_distance = k->distance;
        return;
    }
    k->coded_distance = rest;
    k->form = DISTANCE_LONG;
    if (rest < 1 || rest > HDR_SHORT_MAX)
        return;
    uint32_t ahead = hdr_implied_ahead(k->ref->f.bias, rest);
    uint16_t number = (uint16_t)(k->ref->number + ahead);
    if (ahead && (is_early(k) || !hdr_number_is_free(k->c, &k->at, k->ref, number)))
        return;
    k->form = DISTANCE_SHORT;
    k->is_candidate = ahead > 0;
    k->number = number;
}

/* Whether the packet should be a candidate though its distance does not make it one. */
static void candidate_choose(coding *k)
{
    hdr_tx_context *c = k->c;
    uint32_t since = c->packets - c->candidate_at;
    bool is_change = c->shape.profile != HDR_TCP && (k->d.general || k->d.jump);
    if (k->is_candidate)
        return;
    bool is_due = since >= HDR_SPACING_MIN && since >= hdr_spacing(c, k->at.path, false);
    if (is_change && !is_due && c->changes < CHANGES_MAX && !is_early(k) && !is_covered(k)) {
        is_due = true;
        c->changes = (uint8_t)(c->changes + CHANGE_STEP);
    }
    if (!is_change)
        c->changes = (uint8_t)(c->changes - (c->changes > 0));
    if (!is_due)
        return;
    bool is_long_rtp = c->shape.profile == HDR_RTP && k->d.own & R_LONG && !k->d.general;
    k->number = (uint16_t)(k->ref->number + R_CANDIDATE_AHEAD);
    bool is_marked = is_long_rtp && hdr_number_is_free(c, &k->at, k->ref, k->number);
    if (!is_marked && !hdr_number_next(c, &k->at, k->ref, &k->number))
        return;
    k->is_candidate = true;
    uint8_t bias = bias_wanted(c, k->at.path);
    bool is_bias = bias != k->ref->f.bias && (!bias || !k->ref->f.bias || bias + 1 < k->ref->f.bias ||
                                              bias > k->ref->f.bias + 2);
    if (is_bias) {
        k->h->now.bias = bias;
        k->d.general |= G_BIAS;
    }
    if (is_marked)
        k->d.own |= R_CANDIDATE;
    else
        k->d.general |= G_CANDIDATE;
    k->d.is_extended = true;
}

static void mask_write(const coding *k, writer *w)
{
    const hdr_fields *now = &k->h->now;
    uint8_t general = k->d.general;
    bool has_general = true;
    if (k->c->shape.profile == HDR_RTP) {
        hdr_rtp_write(&k->d, w);
        has_general = general || !k->d.own;
    } else if (k->c->shape.profile == HDR_TCP) {
        hdr_tcp_write(&k->d, now, &k->ref->f, k->distance, &k->h->once, w);
        has_general = general;
    }
    if (!has_general)
        return;
    write_u8(w, general);
    if (general & G_CANDIDATE)
        write_u8(w, (uint8_t)(k->number - k->ref->number));
    hdr_general_write(&k->c->shape, general, now, w);
}

static void form_write(const coding *k, writer *w)
{
    bool is_extended = k->d.is_extended || k->form == DISTANCE_EXACT;
    if (k->form == DISTANCE_EXACT) {
        write_u8(w, FORM_EXACT);
        write_be16(w, k->ref->number);
        write_number(w, zigzag(k->coded_distance));
    } else {
        uint32_t first = (is_extended ? FORM_EXTENDED : 0) | k->ref->number % HDR_SLOTS << FORM_SLOT_SHIFT;
        write_u8(w, (uint8_t)(first | (k->form == DISTANCE_SHORT ? k->coded_distance : HDR_LONG)));
        if (k->form == DISTANCE_LONG)
            write_u8(w, (uint8_t)k->coded_distance);
    }
    if (is_extended)
        mask_write(k, w);
    hdr_carried_write(&k->c->shape, k->d.general, &k->h->now, &k->predicted, w);
}

/* To cheaper modes of identification: not while a candidate that has them is on its way. */
static bool may_switch_modes(const hdr_tx_context *c, const hdr_fields *now)
{
    const hdr_candidate *newest = &c->slots[c->newest % HDR_SLOTS];
    bool is_under_way = newest->number == c->newest && newest->state == CANDIDATE_SENT &&
                        memcmp(newest->f.id_mode, now->id_mode, sizeof now->id_mode) == 0;
    return c->changes < CHANGES_MAX && !is_under_way;
}

static void code_by_reference(coding *k, writer *w)
{
    hdr_fields *now = &k->h->now;
    bool may_switch = may_switch_modes(k->c, now);
    differ(k->c, k->h, k->ref, may_switch, now, &k->predicted, &k->distance, &k->d);
    distance_choose(k);
    candidate_choose(k);
    form_write(k, w);
}

/* All candidates that may follow the reference were lost: without a new set-up the distance grows for good.
 * But with it the reference is gone, so what loses them had better be over: acknowledgements tell. */
static bool is_stuck(const coding *k)
{
    const hdr_tx_context *c = k->c;
    const hdr_candidate *newest = &c->slots[c->newest % HDR_SLOTS];
    if ((uint16_t)(c->newest - k->ref->number) < HDR_AHEAD || !hdr_candidate_is_lost(c, k->at.acked, newest))
        return false;
    uint32_t since = c->packets - c->candidate_at, spacing = hdr_spacing(c, k->at.path, false);
    bool is_over = k->at.pn <= k->at.acked[k->at.path].next + c->lags[k->at.path] + HDR_LOST_PNS;
    return since >= (is_over ? 1 : STUCK_SPACINGS) * spacing;
}

/* False: there is no number for the candidate it has to be. */
static bool code_setup(coding *k, writer *w)
{
    const hdr_candidate *ref = k->ref && is_stuck(k) ? NULL : k->ref;
    if (!hdr_number_next(k->c, &k->at, ref, &k->number))
        return false;
    k->is_candidate = true;
    k->h->now.bias = 0;
    write_u8(w, FORM_SETUP);
    write_be16(w, k->number);
    hdr_chain_write(k->h, w);
    k->c->setup_at = k->c->packets;
    return true;
}

/* The context of a packet; made where there is none and place for one. */
static hdr_tx_context *context_of(hdr_tx *tx, const uint8_t *data, uint32_t len, hdr_header *h)
{
    uint32_t hash;
    hdr_tx_context *c = hdr_tx_find(tx, h, &hash);
    hdr_rtp_doubt doubt = RTP_SURE;
    if (!c && h->shape.profile == HDR_RTP)
        doubt = hdr_tx_doubt(tx, h);
    if (doubt != RTP_SURE) {
        bool is_there = hdr_chain_parse(data, len, false, h);
        OXI_ASSERT(is_there);
        c = hdr_tx_find(tx, h, &hash);
    }
    /* A connection that begins or ends: no second packet looks like this one. */
    bool is_once = h->shape.profile == HDR_TCP && h->now.flags & (TCP_SYN | TCP_RST | TCP_FIN);
    if (c || is_once || doubt == RTP_UNSURE)
        return c;
    if (h->shape.profile == HDR_TCP)
        h->now.stride = len - h->header_bytes;
    return hdr_tx_admit(tx, h, hash);
}

bool hdr_compress(hdr_tx *tx, const replay *acked, uint32_t path, uint64_t pn, const uint8_t *data,
                  uint32_t len, uint8_t *out, hdr_result *result)
{
    OXI_ASSERT(path < OXI_PATHS_MAX);
    hdr_header h;
    memset(result, 0, sizeof *result);
    tx->packets++;
    if (!hdr_chain_parse(data, len, true, &h))
        return false;
    hdr_tx_context *c = context_of(tx, data, len, &h);
    result->profile = h.shape.profile;
    result->header_bytes = (uint16_t)h.header_bytes;
    if (!c)
        return false;
    hdr_tx_used(tx, c, path);
    hdr_acks_look(c, acked);
    hdr_trend_follow(c, &h);
    coding k = { .c = c, .at = { acked, path, pn }, .h = &h };
    k.ref = hdr_reference_pick(c, path);
    writer w = writer_of(out, HDR_CODED_MAX);
    uint32_t flow = (uint32_t)(c - tx->contexts);
    flow_write(flow, &w);
    result->flow = (uint16_t)flow;
    result->flow_bytes = (uint16_t)(w.at - out);
    bool is_setup = !k.ref || c->packets - c->setup_at >= HDR_REFRESH_PACKETS || is_stuck(&k);
    is_setup = is_setup && code_setup(&k, &w);
    if (!is_setup && !k.ref)
        return false;
    if (!is_setup)
        code_by_reference(&k, &w);
    OXI_ASSERT(!w.is_bad);
    result->coded_bytes = (uint16_t)(w.at - out);
    if (!is_setup && result->coded_bytes >= h.header_bytes)
        return false;
    if (k.is_candidate)
        hdr_candidate_sent(c, k.number, path, pn, &h.now);
    bool is_extended = k.d.is_extended || k.form == DISTANCE_EXACT;
    result->kind = is_setup ? HDR_SETUP : is_extended ? HDR_EXTENDED : HDR_BASE;
    return true;
}

/* ---- restore ---- */

typedef struct restoring {
    hdr_rx_context *c;
    uint32_t path;
    uint64_t pn;
    reader r;
    const hdr_candidate *ref;
    uint32_t slot;  /* of the reference */
    uint32_t distance;
    uint32_t ahead; /* number of the candidate this packet is, above the reference's; 0: it is none */
    hdr_fields now;
    hdr_once once;
} restoring;

/* Whether a set-up begins a flow that this context does not know yet; one of the flow before that comes late
 * is restored, but not kept. On one path the packet numbers tell; across paths the numbers of candidates. */
static bool is_newer_flow(const hdr_rx_context *c, const restoring *x, uint16_t number)
{
    const hdr_candidate *newest = NULL;
    for (uint32_t i = 0; i < HDR_KEPT; i++) {
        const hdr_candidate *k = &c->kept[i];
        if (k->state == CANDIDATE_NONE)
            continue;
        bool is_here = k->path == x->path && k->pn != x->pn;
        bool newest_is_here = newest && newest->path == x->path && newest->pn != x->pn;
        if (!newest || (is_here && !newest_is_here) ||
            (is_here == newest_is_here && (int16_t)(uint16_t)(k->number - newest->number) > 0))
            newest = k;
    }
    if (!newest)
        return true;
    bool is_here = newest->path == x->path && newest->pn != x->pn;
    return is_here ? x->pn > newest->pn : (int16_t)(uint16_t)(number - newest->number) > 0;
}

/* Which flow a set-up belongs to: the one that is there, a newer one that takes its place, or neither. */
static bool flow_takes_over(restoring *x, const hdr_header *h, uint16_t number)
{
    hdr_rx_context *c = x->c;
    bool is_same = c->is_used && memcmp(&c->shape, &h->shape, sizeof c->shape) == 0 &&
                   memcmp(c->fixed, h->fixed, h->shape.header_bytes) == 0;
    if (is_same)
        return true;
    if (c->is_used && !is_newer_flow(c, x, number))
        return false;
    memset(c, 0, offsetof(hdr_rx_context, fixed));
    c->is_used = 1;
    c->shape = h->shape;
    memcpy(c->fixed, h->fixed, h->shape.header_bytes);
    return true;
}

/* With the options that are there, within what the data offset can say. */
static bool sack_fits(const hdr_shape *s, uint32_t sack_bytes)
{
    return sack_bytes == 0 || s->header_bytes - s->l4_at + sack_bytes <= TCP_BYTES_MAX;
}

static hdr_verdict restore_setup(restoring *x, uint8_t *out, uint32_t cap, hdr_result *result)
{
    hdr_header h;
    uint16_t number = read_be16(&x->r);
    hdr_verdict verdict = hdr_chain_read(&x->r, &h);
    if (verdict != HDR_OK)
        return verdict;
    uint32_t sack = h.once.sack_count ? hdr_sack_bytes(&h.once) : 0;
    if (!sack_fits(&h.shape, sack))
        return HDR_BAD_FORM;
    if (flow_takes_over(x, &h, number))
        hdr_keep(x->c, number, x->path, x->pn, &h.now); /* also when there is no room for the packet */
    if (!hdr_chain_build(&h.shape, h.fixed, &h.now, &h.once, x->r.at, (uint32_t)reader_left(&x->r), out, cap))
        return HDR_TOO_LONG;
    result->kind = HDR_SETUP;
    result->profile = h.shape.profile;
    result->header_bytes = (uint16_t)(h.shape.header_bytes + sack);
    return HDR_OK;
}

static hdr_verdict reference_read(restoring *x, uint8_t first)
{
    uint32_t distance = first & FORM_DISTANCE;
    if (first == FORM_EXACT) {
        uint16_t number = read_be16(&x->r);
        x->slot = number % HDR_SLOTS;
        x->distance = unzigzag(read_number(&x->r));
        x->ref = hdr_kept_exact(x->c, number);
    } else {
        if (distance == 0)
            return HDR_BAD_FORM;
        x->slot = first >> FORM_SLOT_SHIFT & (HDR_SLOTS - 1);
        x->ref = hdr_kept_latest(x->c, x->slot, x->path, x->pn);
        x->distance = distance == HDR_LONG ? read_u8(&x->r) : distance;
    }
    if (x->r.is_bad)
        return HDR_TRUNCATED;
    if (!x->ref)
        return HDR_UNKNOWN_REFERENCE;
    if (first == FORM_EXACT)
        return HDR_OK;
    if (distance != HDR_LONG)
        x->ahead = hdr_implied_ahead(x->ref->f.bias, distance);
    x->distance += (uint32_t)x->ref->f.bias * HDR_BIAS_UNIT;
    return HDR_OK;
}

static hdr_verdict extension_read(restoring *x, uint8_t *general, hdr_difference *d)
{
    uint8_t profile = x->c->shape.profile;
    bool has_general = true;
    hdr_verdict verdict = HDR_OK;
    if (profile == HDR_RTP) {
        verdict = hdr_rtp_read(&x->r, d, &x->once);
        has_general = d->is_extended;
        if (d->own & R_LONG && d->own & R_CANDIDATE)
            x->ahead = R_CANDIDATE_AHEAD;
    } else if (profile == HDR_TCP) {
        uint8_t mask = read_u8(&x->r);
        verdict = hdr_tcp_read(mask, &x->r, &x->ref->f, &x->now, &x->once);
        has_general = mask & T_GENERAL;
    }
    if (verdict != HDR_OK || !has_general)
        return verdict;
    *general = read_u8(&x->r);
    if (*general & G_CANDIDATE) {
        x->ahead = read_u8(&x->r);
        if (!x->r.is_bad && (x->ahead == 0 || x->ahead > HDR_AHEAD))
            return HDR_BAD_FORM;
    }
    return hdr_general_read(&x->c->shape, *general, &x->r, &x->now);
}

/* The fields of this packet, from those of its reference and what is coded. */
static hdr_verdict fields_read(restoring *x, bool is_extended)
{
    const hdr_shape *s = &x->c->shape;
    const hdr_fields *ref = &x->ref->f;
    uint8_t general = 0;
    hdr_difference d = { 0 };
    x->now = *ref;
    hdr_ip_predict(s, ref, x->distance, &x->now);
    if (s->profile == HDR_TCP)
        x->now.seq = 0;
    if (is_extended) {
        hdr_verdict verdict = extension_read(x, &general, &d);
        if (verdict != HDR_OK)
            return verdict;
    }
    hdr_carried_read(s, general, &x->r, &x->now);
    if (s->profile == HDR_TCP)
        x->now.seq += ref->seq + x->distance * x->now.stride;
    else
        x->now.seq = ref->seq + x->distance;
    if (s->profile == HDR_RTP)
        hdr_rtp_apply(&d, ref, x->distance, &x->now);
    return x->r.is_bad ? HDR_TRUNCATED : HDR_OK;
}

/* The compressor learns that this packet has arrived, and not that it could not be restored. If it is a
 * candidate, a later reference to its slot must not find the one before. */
static void failure_note(restoring *x, uint8_t first)
{
    static const hdr_candidate none;
    hdr_difference d = { 0 };
    uint32_t distance = first & FORM_DISTANCE;
    uint8_t general;
    if (distance != 0 && distance != HDR_LONG) {
        for (uint8_t bias = 0; bias <= 1; bias++) { /* that of the reference is not known */
            uint32_t ahead = hdr_implied_ahead(bias, distance);
            if (ahead)
                hdr_keep_failed(x->c, (x->slot + ahead) % HDR_SLOTS, x->path, x->pn);
        }
    }
    x->ref = &none;
    bool is_extended = first & FORM_EXTENDED || first == FORM_EXACT;
    if (is_extended && extension_read(x, &general, &d) == HDR_OK && x->ahead)
        hdr_keep_failed(x->c, (x->slot + x->ahead) % HDR_SLOTS, x->path, x->pn);
}

static hdr_verdict restore_by_reference(restoring *x, uint8_t first, uint8_t *out, uint32_t cap,
                                        hdr_result *result)
{
    const hdr_shape *s = &x->c->shape;
    if (!x->c->is_used)
        return HDR_UNKNOWN_FLOW;
    hdr_verdict verdict = reference_read(x, first);
    if (verdict == HDR_UNKNOWN_REFERENCE)
        failure_note(x, first);
    if (verdict != HDR_OK)
        return verdict;
    bool is_extended = first & FORM_EXTENDED || first == FORM_EXACT;
    verdict = fields_read(x, is_extended);
    if (verdict != HDR_OK)
        return verdict;
    uint32_t sack = x->once.sack_count ? hdr_sack_bytes(&x->once) : 0;
    if (!sack_fits(s, sack))
        return HDR_BAD_FORM;
    if (x->ahead)
        hdr_keep(x->c, (uint16_t)(x->ref->number + x->ahead), x->path, x->pn, &x->now);
    if (!hdr_chain_build(s, x->c->fixed, &x->now, &x->once, x->r.at, (uint32_t)reader_left(&x->r), out, cap))
        return HDR_TOO_LONG;
    result->kind = is_extended ? HDR_EXTENDED : HDR_BASE;
    result->profile = s->profile;
    result->header_bytes = (uint16_t)(s->header_bytes + sack);
    return HDR_OK;
}

hdr_verdict hdr_restore(hdr_rx *rx, uint32_t path, uint64_t pn, const uint8_t *item, uint32_t item_len,
                        uint8_t *out, uint32_t cap, hdr_result *result)
{
    OXI_ASSERT(path < OXI_PATHS_MAX);
    memset(result, 0, sizeof *result);
    restoring x = { .path = path, .pn = pn, .r = reader_of(item, item_len) };
    uint8_t id = read_u8(&x.r);
    uint32_t flow = id & (HDR_ITEM_FIRST - 1);
    if (flow == FLOW_LONG)
        flow += read_u8(&x.r);
    uint32_t flow_bytes = (uint32_t)(x.r.at - item);
    uint8_t first = read_u8(&x.r);
    if (x.r.is_bad)
        return HDR_TRUNCATED;
    if (id < HDR_ITEM_FIRST)
        return HDR_BAD_FORM;
    result->flow = (uint16_t)flow;
    result->flow_bytes = (uint16_t)flow_bytes;
    if (flow >= rx->flows)
        return HDR_UNKNOWN_FLOW;
    x.c = &rx->contexts[flow];
    hdr_verdict verdict = first == FORM_SETUP ? restore_setup(&x, out, cap, result)
                                              : restore_by_reference(&x, first, out, cap, result);
    if (verdict == HDR_OK)
        result->coded_bytes = (uint16_t)(x.r.at - item);
    return verdict;
}
