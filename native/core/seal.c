/* seal.c - numbering and encrypting on the way out; authenticating and decrypting on the way in. */
#include "bytes.h"
#include "stages.h"
#include "wire.h"

static bool is_worn(const dp *d, const epoch_keys *k, uint64_t now_ns)
{
    return k->tx_packets >= d->conf.key_packets_max || now_ns - k->made_ns > d->conf.key_age_ns_max;
}

bool number_take(dp *d, pkt *p, uint64_t now_ns)
{
    session *s = p->session;
    epoch_keys *k = session_epoch(s, s->send_epoch);
    OXI_ASSERT(k != NULL);
    if (is_worn(d, k, now_ns))
        return false;
    /* Spent from now on, even if nothing is sealed with it: a nonce is never used twice. */
    p->pn = s->paths[p->path].next_pn++;
    if (++k->tx_packets == d->conf.rekey_packets) {
        oxi_event ev = { .type = OXI_EV_REKEY_WANTED, .peer = p->peer, .value = k->epoch };
        event_put(d, &ev);
    }
    return true;
}

static void seal_one(dp *d, pkt *p, uint64_t now_ns)
{
    session *s = p->session;
    epoch_keys *k = session_epoch(s, s->send_epoch);
    OXI_ASSERT(k != NULL && p->pn < s->paths[p->path].next_pn);
    pkt_push(p, HEADER_BYTES);
    wire_header h = { .index = s->tx_index,
                      .pn_low = (uint32_t)p->pn,
                      .path = p->path,
                      .phase = (uint8_t)(s->send_epoch % OXI_EPOCHS) };
    uint8_t *header = pkt_data(p);
    wire_write(header, &h);
    nonce n = aead_nonce(p->path, p->pn);
    uint32_t body = p->len - (uint32_t)HEADER_BYTES;
    pkt_grow(p, TAG_BYTES);
    bool is_sealed = aead_seal(&k->tx, &n, header, HEADER_BYTES, header + HEADER_BYTES, body);
    OXI_ASSERT(is_sealed);
    peer *pr = &d->peers[p->peer];
    if (s == pr->current) {
        sent_note(d, &pr->paths[p->path], p->pn, now_ns);
        COUNT_SET(pr->stats.epoch, s->send_epoch);
        COUNT_SET(pr->stats.epoch_packets, k->tx_packets);
    }
}

void seal_batch(dp *d, batch *b)
{
    for (uint32_t i = 0; i < b->count; i++)
        seal_one(d, b->pkts[i], b->now_ns);
}

static drop_reason open_one(dp *d, pkt *p, uint64_t now_ns)
{
    session *s = p->session;
    uint8_t *header = pkt_data(p);
    epoch_keys *k = session_phase(s, wire_read(header).phase);
    OXI_ASSERT(k != NULL);
    nonce n = aead_nonce(p->path, p->pn);
    uint32_t body = p->len - (uint32_t)(HEADER_BYTES + TAG_BYTES);
    if (!aead_open(&k->rx, &n, header, HEADER_BYTES, header + HEADER_BYTES, body))
        return DROP_FORGED;
    session_path *sp = &s->paths[p->path];
    /* A copy may have come in this very batch, after the first look at the window. */
    replay_verdict verdict = replay_check(&sp->rx, p->pn);
    if (verdict != REPLAY_NEW)
        return verdict == REPLAY_OLD ? DROP_TOO_OLD : DROP_REPLAYED;
    oxi_path_stats *st = &d->peers[p->peer].paths[p->path].stats;
    p->is_newest = p->pn >= sp->rx.next;
    if (p->pn != sp->rx.next) /* something is missing, or no longer is */
        sp->ack_is_urgent = true;
    if (p->pn != sp->rx.next || p->pn == 0)
        order_opened(d, p, sp->rx.next, now_ns);
    if (!p->is_newest)
        COUNT_ADD(st->late_packets, 1);
    replay_mark(&sp->rx, p->pn);
    sp->opened++;
    if (p->is_newest)
        sp->largest_ns = now_ns;
    if (p->ecn == 3) {
        sp->ce++;
        COUNT_ADD(st->ce_packets, 1);
    }
    COUNT_ADD(st->rx_packets, 1);
    COUNT_ADD(st->rx_bytes, p->len);
    pkt_pull(p, HEADER_BYTES);
    p->len = (uint16_t)body;
    return DROP_COUNT;
}

void open_batch(dp *d, batch *b)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < b->count; i++) {
        drop_reason why = open_one(d, b->pkts[i], b->now_ns);
        if (why == DROP_COUNT)
            b->pkts[kept++] = b->pkts[i];
        else
            drop(d, b->pkts[i], OXI_DIR_IN_DATAGRAM, why);
    }
    b->count = kept;
    COUNT_ADD(d->stats.opened_datagrams, kept);
}
