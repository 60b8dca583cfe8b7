/* compress.c - an inner packet becomes a shorter item and an item becomes a packet: which of the ways to
 * compress it is worth taking now, and which of them the other end takes.
 *
 * A header is coded against what the other end has acknowledged (hdr.h), a payload by itself (lz.h). What an
 * item is says its first byte. */
#include "bytes.h"
#include "frames.h"
#include "l4.h"
#include "stages.h"

/* ---- out ---- */

/* A new slot begins the counts anew. */
static void budget_follow(compress_budget *b, uint64_t now_ns)
{
    uint64_t slot = now_ns / COMPRESS_SLOT_NS;
    if (slot != b->slot) {
        b->before_packets = slot == b->slot + 1 ? b->seen_packets : 0;
        b->seen_packets = b->packets = 0;
        b->slot = slot;
    }
    b->seen_packets++;
}

/* A round trip of less is a cable, not a link whose bytes are scarce; there the compressor's cold code and
 * contexts would be a third of an idle packet's way. At high rates the processor is the scarce thing; and
 * large packets leave in trains of equal datagrams, which they would fall out of. */
static bool is_affordable(const dp *d, const pkt *p)
{
    const compress_budget *b = &d->compressor.budget;
    if (d->conf.headers == OXI_HEADERS_ALL)
        return true;
    uint64_t rtt_ns = d->peers[p->peer].paths[p->path].stats.rtt_ns; /* 0: not known */
    if (rtt_ns > 0 && rtt_ns < NEAR_RTT_NS)
        return false;
    if (p->len >= ORACLE_TRAIN_BYTES_MIN)
        return max_u64(b->before_packets, b->seen_packets) < COMPRESS_LARGE_PKTS_MAX;
    return b->packets < COMPRESS_PKTS_MAX;
}

static hdr_tx *contexts_of(const dp *d, peer *pr, const session *s)
{
    header_contexts *h = &pr->headers;
    if (!h->tx_memory || s->tx_flows == 0)
        return NULL;
    if (h->tx_index != s->rx_index) {
        h->tx = hdr_tx_init(h->tx_memory, (uint32_t)min_u64(d->conf.flows, s->tx_flows), d->conf.hash_key);
        h->tx_index = s->rx_index;
    }
    return h->tx;
}

/* Replaces the header by its code; *clear_bytes is then the length of that, and otherwise that of the header
 * as far as it is known. */
static void header_code(dp *d, pkt *p, uint32_t room, uint32_t *clear_bytes)
{
    peer *pr = &d->peers[p->peer];
    compressor *c = &d->compressor;
    hdr_tx *tx = contexts_of(d, pr, p->session);
    if (!tx)
        return;
    if (!is_affordable(d, p) || (uint32_t)p->len + HDR_GROWTH_MAX > room) {
        COUNT_ADD(c->stats.passed_packets, 1);
        return;
    }
    uint8_t coded[HDR_CODED_MAX];
    hdr_result r;
    c->budget.packets++;
    bool is_coded = hdr_compress(tx, pr->acked, p->path, p->pn, pkt_data(p), p->len, coded, &r);
    *clear_bytes = is_coded ? r.coded_bytes : r.header_bytes;
    if (!is_coded) {
        COUNT_ADD(c->stats.whole_packets[r.profile], 1);
        return;
    }
    OXI_ASSERT(r.coded_bytes <= r.header_bytes + HDR_GROWTH_MAX);
    pkt_pull(p, r.header_bytes);
    pkt_push(p, r.coded_bytes);
    memcpy(pkt_data(p), coded, r.coded_bytes);
    COUNT_ADD(c->stats.header_packets[r.profile], 1);
    COUNT_ADD(c->stats.header_bytes[r.profile], r.header_bytes);
    COUNT_ADD(c->stats.coded_bytes[r.profile], r.coded_bytes);
    COUNT_ADD(c->stats.setups, r.kind == HDR_SETUP);
}

/* The headers of a packet that header compression has not looked at. */
static uint32_t headers_length(const uint8_t *data, uint32_t len)
{
    l4_view v;
    return l4_parse(data, len, &v) ? v.ip_bytes + v.l4_bytes : len;
}

static void payload_press(dp *d, pkt *p, oracle_verdict verdict, uint32_t dictionary, uint32_t clear_bytes,
                          const oracle_ticket *ticket)
{
    compressor *c = &d->compressor;
    bool is_light = verdict == ORACLE_LIGHT;
    uint32_t number = is_light ? 0 : dictionary;
    uint32_t len = lz_compress(c->lz, is_light ? LZ_LIGHT : LZ_AGGRESSIVE, number, clear_bytes, pkt_data(p),
                               p->len, c->scratch, OXI_DATAGRAM_MAX);
    uint32_t payload = p->len - clear_bytes;
    bool is_worth = len > 0 && oracle_is_worth(p->len, payload, p->len - len);
    oracle_learn(&c->oracle, ticket, is_worth);
    if (!is_worth) {
        COUNT_ADD(c->stats.payload_misses, 1);
        return;
    }
    COUNT_ADD(c->stats.payload_packets[number], 1);
    COUNT_ADD(c->stats.payload_bytes[number], payload);
    COUNT_ADD(c->stats.pressed_bytes[number], len - clear_bytes);
    memcpy(pkt_data(p), c->scratch, len);
    p->len = (uint16_t)len;
}

void compress_item(dp *d, pkt *p, uint32_t room, uint64_t now_ns)
{
    const session *s = p->session;
    compressor *c = &d->compressor;
    if (s->tx_flows == 0 && !s->tx_payload)
        return;
    budget_follow(&c->budget, now_ns);
    bool may_press = s->tx_payload && c->lz != NULL;
    int32_t dictionary = may_press ? lz_class_of(&c->policy, pkt_data(p), p->len) : OXI_LZ_REFUSED;
    oracle_verdict verdict = p->len >= ORACLE_TRAIN_BYTES_MIN ? ORACLE_SKIP : ORACLE_ROHC_ONLY;
    oracle_ticket ticket;
    uint32_t clear_bytes = 0;
    if (dictionary != OXI_LZ_REFUSED) {
        clear_bytes = headers_length(pkt_data(p), p->len);
        oracle_packet asked = { pkt_data(p), p->len, clear_bytes, p->peer, .is_allowed = 1 };
        verdict = oracle_ask(&c->oracle, &asked, &ticket);
    }
    header_code(d, p, room, &clear_bytes);
    if (verdict == ORACLE_LIGHT || verdict == ORACLE_AGGRESSIVE)
        payload_press(d, p, verdict, (uint32_t)dictionary, clear_bytes, &ticket);
}

/* ---- in ---- */

static drop_reason lz_drop(lz_result result)
{
    return result == LZ_TOO_LONG ? DROP_LZ_TOO_LONG : result == LZ_OK ? DROP_COUNT : DROP_BAD_LZ;
}

static drop_reason hdr_drop(hdr_verdict verdict)
{
    bool is_unknown = verdict == HDR_UNKNOWN_FLOW || verdict == HDR_UNKNOWN_REFERENCE;
    return verdict == HDR_OK ? DROP_COUNT : is_unknown ? DROP_NO_CONTEXT : DROP_BAD_HEADER;
}

static bool are_of(const header_contexts *h, const session *s) { return s && h->rx_index == s->rx_index; }

/* Contexts are of the newest session that used them; NULL: this one is older, or may not. */
static hdr_rx *restorer_of(const dp *d, peer *pr, const session *s)
{
    header_contexts *h = &pr->headers;
    if (!h->rx_memory || s->rx_flows == 0)
        return NULL;
    if (h->rx_index != s->rx_index) {
        if (are_of(h, pr->pending) || (s == pr->before && are_of(h, pr->current)))
            return NULL;
        h->rx = hdr_rx_init(h->rx_memory, (uint32_t)min_u64(d->conf.flows, s->rx_flows));
        h->rx_index = s->rx_index;
    }
    return h->rx;
}

/* What the item begins with becomes the header in front of what follows it. */
static drop_reason header_restore(dp *d, const pkt *datagram, const uint8_t *item, uint32_t len,
                                  uint8_t *out, uint32_t *out_len)
{
    session *s = datagram->session;
    hdr_rx *rx = restorer_of(d, &d->peers[datagram->peer], s);
    if (!rx)
        return DROP_NO_CONTEXT;
    hdr_result r;
    hdr_verdict verdict = hdr_restore(rx, datagram->path, datagram->pn, item, len, out, OXI_DATAGRAM_MAX, &r);
    if (verdict != HDR_OK)
        return hdr_drop(verdict);
    memcpy(out + r.header_bytes, item + r.coded_bytes, len - r.coded_bytes);
    *out_len = r.header_bytes + len - r.coded_bytes;
    COUNT_ADD(d->compressor.stats.restored_packets[r.profile], 1);
    if (r.kind == HDR_SETUP && s->paths[datagram->path].ack_due_ns) {
        s->paths[datagram->path].ack_is_urgent = true;
        ack_schedule(d, s, datagram->path);
    }
    return DROP_COUNT;
}

drop_reason restore_item(dp *d, const pkt *datagram, const uint8_t *item, uint32_t len, const uint8_t **out,
                         uint32_t *out_len)
{
    compressor *c = &d->compressor;
    if (frame_is_lz(*item)) {
        if (!datagram->session->rx_payload)
            return DROP_LZ_REFUSED;
        uint32_t bytes;
        drop_reason why = lz_drop(lz_decode(item, len, c->scratch, OXI_MTU_MAX, &bytes));
        if (why != DROP_COUNT)
            return why;
        COUNT_ADD(c->stats.payloads_restored, 1);
        item = c->scratch;
        len = bytes;
        if (!frame_is_whole(*item) && !frame_is_coded(*item))
            return DROP_BAD_FRAME;
    }
    *out = item;
    *out_len = len;
    if (!frame_is_coded(*item))
        return DROP_COUNT;
    *out = c->restored;
    return header_restore(d, datagram, item, len, c->restored, out_len);
}
