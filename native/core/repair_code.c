/* repair_code.c - repair symbols: made of what a stream has sent lately; what is missing found from them. */
#include "bytes.h"
#include "frames.h"
#include "stages.h"

/* ---- out ---- */

bool code_member(const contents *all, path *pa, kept_content *c, uint32_t permille)
{
    code_stream *s = &pa->repair.streams[c->traffic_class];
    c->is_source = true;
    c->seq = s->next_seq++;
    c->member_before = s->newest;
    s->newest = (uint32_t)(c - all->slots) + 1;
    s->credit += permille;
    bool is_owed = s->credit >= 1000;
    s->credit -= is_owed ? 1000 : 0;
    return is_owed;
}

uint32_t source_write(uint32_t stream, uint64_t seq, uint8_t *out)
{
    out[0] = (uint8_t)(FRAME_SOURCE + stream);
    store_be16(out + 1, (uint16_t)seq);
    return SOURCE_BYTES;
}

/* Members of no more use are not coded: pushed out or too old; what is older is so as well. Where it is about
 * time, what is acknowledged does not hide older ones that are not. */
static const kept_content *member_before(const contents *s, const kept_content *c, uint64_t now_ns)
{
    const kept_content *next = content_of(s, c->member_before);
    bool is_there = next && (next->is_live || class_is_timed(c->traffic_class)) && next->is_source &&
                    next->leave_ns > now_ns;
    bool is_member = is_there && next->peer == c->peer && next->path == c->path &&
                     next->traffic_class == c->traffic_class && next->seq + 1 == c->seq;
    return is_member ? next : NULL;
}

bool code_send(dp *d, peer *pr, uint32_t path_id, const kept_content *newest, uint64_t now_ns)
{
    const uint8_t *members[RLC_WINDOW_MAX];
    uint32_t count = 0, looked = 0;
    const contents *s = &d->contents;
    for (const kept_content *c = newest; c && looked < RLC_WINDOW_MAX; c = member_before(s, c, now_ns)) {
        members[looked++] = content_symbol(s, c);
        if (c->is_live) /* then nothing newer has been overwritten */
            count = looked;
    }
    uint8_t frame[1 + RLC_HEAD_BYTES + RLC_SYMBOL_ROOM];
    frame[0] = (uint8_t)(FRAME_CODE + path_id * CODE_STREAMS + newest->traffic_class);
    /* The number that it is about to get is the seed. */
    uint32_t seed = (uint32_t)pr->current->paths[path_id].next_pn;
    uint32_t len = rlc_frame_write(d->repair.gf, seed, (uint16_t)newest->seq, members, count, frame + 1,
                                   sizeof frame - 1);
    OXI_ASSERT(len > 0);
    return own_send(d, now_ns, pr->current, path_id, NULL, frame, 1 + len);
}

/* ---- in ---- */

/* NULL: nothing has come of this stream. */
static decoder_slot *decoder_of(dp *d, const session *s, uint32_t path_id, uint32_t stream)
{
    for (uint32_t i = 0; d->repair.decoders && i < DECODERS; i++) {
        decoder_slot *t = &d->repair.decoders[i];
        if (t->serial == s->serial && t->path == path_id && t->stream == stream) {
            t->used = ++d->repair.decoder_clock;
            return t;
        }
    }
    return NULL;
}

static decoder_slot *decoder_begin(dp *d, const session *s, uint32_t path_id, uint32_t stream,
                                   uint64_t newest)
{
    decoder_slot *idlest = d->repair.decoders;
    for (uint32_t i = 0; idlest && i < DECODERS; i++)
        if (d->repair.decoders[i].used < idlest->used)
            idlest = &d->repair.decoders[i];
    if (!idlest)
        return NULL;
    rlc_decoder_reset(idlest->rlc);
    memset(idlest->sources, 0, sizeof idlest->sources);
    idlest->serial = s->serial;
    idlest->used = ++d->repair.decoder_clock;
    idlest->path = path_id;
    idlest->stream = stream;
    idlest->newest = newest;
    return idlest;
}

static source_place *place_of(decoder_slot *t, uint64_t seq)
{
    return &t->sources[seq % (RLC_WINDOW_MAX + 1)];
}

static const uint8_t *source_find(const repair *r, decoder_slot *t, uint64_t seq) /* NULL: it is missing */
{
    const source_place *at = place_of(t, seq);
    bool is_there = at->bytes > 0 && at->seq == seq && r->store_head - at->at <= DECODER_STORE_BYTES;
    return is_there ? r->store + at->at % DECODER_STORE_BYTES : NULL;
}

static const uint8_t *source_keep(repair *r, decoder_slot *t, uint64_t seq, uint16_t pn,
                                  const uint8_t *content, uint32_t len)
{
    uint32_t bytes = gf256_padded(RLC_SYMBOL_HEAD + len);
    uint64_t at = arena_place(r->store_head, DECODER_STORE_BYTES, bytes);
    r->store_head = at + bytes;
    t->newest = max_u64(t->newest, seq);
    *place_of(t, seq) = (source_place){ .seq = seq, .at = at, .bytes = bytes };
    uint8_t *symbol = r->store + at % DECODER_STORE_BYTES;
    rlc_symbol_write(symbol, pn, content, len);
    return symbol;
}

/* A content that was decoded goes the way of one that came in a datagram. */
static void decoded(dp *d, const pkt *by, uint32_t path_id, const rlc_content *found)
{
    uint64_t pn = seq_expand(by->session->paths[path_id].rx.next, found->pn);
    bool is_known = false;
    drop_reason why = frame_is_last(*found->bytes) ? content_claim(d, by->session, path_id, pn, &is_known)
                                                    : DROP_BAD_REPAIR;
    if (why == DROP_COUNT && is_known)
        return;
    pkt *p = why == DROP_COUNT ? pool_take(&d->pool) : NULL;
    if (!p) {
        COUNT_ADD(d->stats.found_packets, 1);
        COUNT_ADD(d->stats.drops[OXI_DIR_IN_PACKET][why == DROP_COUNT ? DROP_POOL_EMPTY : why], 1);
        return;
    }
    p->session = by->session;
    p->peer = by->peer;
    p->addr = by->addr;
    p->ecn = by->ecn;
    p->path = (uint8_t)path_id;
    p->pn = pn;
    memcpy(pkt_data(p), found->bytes, found->len);
    p->len = (uint16_t)found->len;
    p->inner_bytes = found->len;
    COUNT_ADD(d->repair.stats.decoded_in, 1);
    fifo_put(&d->repair.decoded, p);
}

static void decoded_take(dp *d, const pkt *by, decoder_slot *t)
{
    for (rlc_content found; rlc_decoder_next(t->rlc, &found);) {
        source_keep(&d->repair, t, found.sequence, found.pn, found.bytes, found.len);
        decoded(d, by, t->path, &found);
    }
}

bool source_read(uint8_t first, reader *r, pkt *p)
{
    const uint8_t *seq = read_bytes(r, 2);
    if (!seq)
        return false;
    p->is_source = 1;
    p->code_stream = first & (CODE_STREAMS - 1);
    p->code_seq = load_be16(seq);
    return true;
}

void source_arrived(dp *d, const pkt *p)
{
    if (p->len > RLC_CONTENT_MAX)
        return;
    decoder_slot *t = decoder_of(d, p->session, p->path, p->code_stream);
    if (!t)
        t = decoder_begin(d, p->session, p->path, p->code_stream, p->code_seq);
    if (!t)
        return;
    uint64_t seq = seq_expand(t->newest, p->code_seq);
    const uint8_t *symbol = source_keep(&d->repair, t, seq, (uint16_t)p->pn, pkt_data(p), p->len);
    if (rlc_decoder_known(t->rlc, d->repair.gf, seq, symbol) == RLC_RECOVERED)
        decoded_take(d, p, t);
}

drop_reason code_take(dp *d, const pkt *p, uint8_t first, reader *r, uint64_t now_ns)
{
    oxi_repair_stats *st = &d->repair.stats;
    uint32_t path_id = first / CODE_STREAMS % OXI_PATHS_MAX, len = (uint32_t)reader_left(r);
    rlc_equation e = { .seed = (uint32_t)p->pn };
    if (rlc_frame_read(read_bytes(r, len), len, &e.frame) != RLC_KEPT)
        return DROP_BAD_REPAIR;
    COUNT_ADD(st->codes_in, 1);
    decoder_slot *t = decoder_of(d, p->session, path_id, first & (CODE_STREAMS - 1));
    e.newest = t ? seq_expand(t->newest, e.frame.newest) : 0;
    if (!t || e.newest + 1 < e.frame.count) { /* nothing has come of this stream, or not yet so much */
        COUNT_ADD(st->undecoded_in, 1);
        return DROP_COUNT;
    }
    const uint8_t *members[RLC_WINDOW_MAX];
    for (uint32_t i = 0; i < e.frame.count; i++)
        members[i] = source_find(&d->repair, t, e.newest - i);
    t->newest = max_u64(t->newest, e.newest);
    rlc_decoder_expire(t->rlc, d->repair.gf, now_ns, DECODER_AGE_NS);
    rlc_result result = rlc_decoder_add(t->rlc, d->repair.gf, &e, members, now_ns);
    COUNT_ADD(st->undecoded_in, result == RLC_TOO_MANY);
    if (result == RLC_RECOVERED)
        decoded_take(d, p, t);
    return result == RLC_INCONSISTENT || result == RLC_BAD_SYMBOL ? DROP_BAD_REPAIR : DROP_COUNT;
}
