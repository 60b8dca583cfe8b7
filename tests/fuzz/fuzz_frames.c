/* fuzz_frames.c - what stands inside authentic datagrams: the peer itself is broken or hostile.
 *
 * Invariant: every authentic datagram counts as opened; only what ends the plaintext, an item or a bundle of
 * them, becomes packets: each item one or one named drop, in order, whole and with a source of this peer. A
 * whole packet arrives unchanged; so does one that was compressed by the letter, as long as nothing else was
 * sent; an LZ item is what the library's own judge says. A content that is repeated counts once, under its
 * first number, and only if that may have been sent. PINGs are answered at most once each, never from inside
 * an item; and acknowledgements can not claim more than was sent.
 * Parsers: ack_read, repeat_read, abandon_read, source_read. */
#include <stdlib.h>
#include <string.h>

#include "frames_text.h"

enum { DATAGRAMS_MAX = 24, SENT_MAX = 16, PATHS = OXI_PATHS_MAX, KNOWN_MAX = 96 };
enum { PING_BODY = 17, ITEMS_MAX = TEXT_MAX, NUMBERS = 4 * DATAGRAMS_MAX + 1 };
/* Kinds of frames as the input tells them. */
enum { PUT_INNER = 4, PUT_ITEM = 5, PUT_BUNDLE = 6, PUT_RAW_MAX = 20 };

/* A header-compressed packet as the compressor made it, and what it has to become. */
typedef struct known {
    uint8_t coded[FLOW_PACKET_MAX + OXI_HDR_CODED_MAX];
    uint8_t packet[FLOW_PACKET_MAX];
    uint32_t coded_len, packet_len;
} known;

typedef enum { IS_DROPPED, IS_PACKET, IS_UNSURE } fate;

typedef struct judged {
    fate fate;
    uint32_t len;
    uint8_t *packet; /* of IS_PACKET; on the heap */
} judged;

typedef struct world {
    end us;
    oxi_hdr *hdr; /* the peer's compressor */
    oxi_lz *lz;
    flows_made flows;
    bool is_honest; /* nothing but what the compressor makes has come with a coded header so far */
    known known[KNOWN_MAX]; /* of this datagram, in order */
    uint32_t known_count, known_seen;
    judged items[ITEMS_MAX];
    uint32_t item_count;
    uint64_t next[PATHS]; /* largest number that came + 1 */
    bool is_seen[PATHS][NUMBERS];
} world;

/* What the slow walk over a plaintext finds. */
typedef struct found {
    uint32_t pings; /* that have to be answered */
    uint32_t acks;  /* that have to be believed */
    bool is_bad;    /* something is wrong: the rest is one drop */
    bool is_again;  /* the item or bundle is of another datagram */
    uint32_t inner; /* offset of the item or bundle at the end; == len: none */
} found;

static void put_inner(text *t, input *in)
{
    uint8_t p[1300] = { 0x45 };
    uint32_t len = 20 + (uint32_t)input_number(in, 2) % 1200;
    p[2] = (uint8_t)(len >> 8);
    p[3] = (uint8_t)len;
    p[12] = (uint8_t)(input_number(in, 1) & 1 ? 10 : 11);
    p[16] = 172;
    put(t, p, len);
}

/* An item as the letter of the protocol wants it, but for a wrong byte at times. Returns its length. */
static uint32_t item_make(world *w, input *in, uint8_t path, uint64_t pn, uint8_t *out)
{
    static uint8_t pressed[FLOW_PACKET_MAX + OXI_HDR_CODED_MAX];
    oxi_hdr_row row;
    uint8_t packet[FLOW_PACKET_MAX];
    uint8_t how = (uint8_t)input_number(in, 1);
    uint32_t len = flow_packet(&w->flows, in, true, packet), clear_bytes = 0;
    memcpy(out, packet, len);
    if (how & 1 && w->us.how.flows && w->known_count < KNOWN_MAX) {
        int result = oxi_hdr_compress(w->hdr, path, pn, packet, len, out, &row);
        must(result >= 0, "the compressor takes all");
        clear_bytes = result ? row.coded_bytes : 0;
        uint32_t head = result ? row.header_bytes : 0;
        memcpy(out + clear_bytes, packet + head, len - head);
        known *k = &w->known[w->known_count];
        w->known_count += result == 1;
        memcpy(k->packet, packet, k->packet_len = len);
        len = clear_bytes + len - head;
        memcpy(k->coded, out, k->coded_len = len);
    }
    if (how & 2) {
        uint32_t pressed_len = 0, dictionary = (how >> 2) % (WAYS_RULES + 1);
        must(oxi_lz_compress(w->lz, OXI_LZ_AGGRESSIVE, dictionary, clear_bytes, out, len, pressed,
                             sizeof pressed, &pressed_len) == OXI_OK, "the compressor takes all");
        if (pressed_len)
            memcpy(out, pressed, len = pressed_len);
    }
    if (how >= 0xe0)
        out[input_number(in, 2) % len] ^= (uint8_t)input_number(in, 1);
    return len;
}

static void put_item(world *w, text *t, input *in, uint8_t path, uint64_t pn)
{
    uint8_t item[FLOW_PACKET_MAX + OXI_HDR_CODED_MAX];
    if (TEXT_MAX - t->len >= sizeof item)
        put(t, item, item_make(w, in, path, pn, item));
}

/* Lengths by the letter, overlong, or wrong. */
static void put_bundle(world *w, text *t, input *in, uint8_t path, uint64_t pn)
{
    uint8_t item[FLOW_PACKET_MAX + OXI_HDR_CODED_MAX];
    put_number(t, BUNDLE, 1);
    for (uint32_t n = (uint32_t)input_number(in, 1) % 64; n && TEXT_MAX - t->len >= sizeof item + 2; n--) {
        uint8_t how = (uint8_t)input_number(in, 1);
        if (how >= 0xfc) { /* small ones, so that one datagram holds more of them than a batch */
            const uint8_t least[20] = { 0x45, [3] = 20, [12] = 10 };
            for (uint32_t i = 0; i < 30; i++) {
                put_number(t, sizeof least, 1);
                put(t, least, sizeof least);
            }
            continue;
        }
        uint32_t len = how >= 0xf8 ? input_copy(in, item, how & 3) : item_make(w, in, path, pn, item);
        uint32_t told = how >= 0xf4 && how < 0xf8 ? (uint32_t)input_number(in, 2) % 4096 : len;
        if (told < 240 && how < 0xf0)
            put_number(t, told, 1);
        else
            put_number(t, 240U << 8 | told, 2);
        put(t, item, len);
    }
}

/* A frame of repair, mostly of numbers near those that have come. True: nothing may follow it. */
static bool put_repair(world *w, text *t, input *in)
{
    uint8_t which = (uint8_t)input_number(in, 1), path = which >> 3 & 3;
    uint64_t near = w->next[path] - input_number(in, 1) % 8;
    uint64_t number = which & 0x80 ? input_number(in, 8) : near & 0x3fffffffffffffffULL;
    switch (which & 7) {
    case 0:
        put_number(t, PROMPT, 1);
        return false;
    case 1:
        put_number(t, ABANDON << 8 | path, 2);
        put_varint(t, number, which >> 5);
        which = (uint8_t)input_number(in, 1);
        put_number(t, which %= 80, 1);
        for (uint32_t i = 0; i < which && in->left; i++)
            put_varint(t, input_number(in, 1) % 16, 0);
        return false;
    case 2:
        put_number(t, SOURCE + (uint64_t)path, 1);
        put_number(t, number, 2);
        return false;
    case 3:
        put_number(t, CODE + 8U * path + (which >> 5), 1);
        put_number(t, number, 2);
        put_number(t, input_number(in, 1), 1);
        return true;
    default:
        put_number(t, REPEAT << 8 | (which >= 0xfc ? (uint32_t)input_number(in, 1) : path), 2);
        put_number(t, number, 4);
        if (which & 1)
            put_item(w, t, in, path, number);
        else
            put_inner(t, in);
        return true;
    }
}

static text text_make(world *w, input *in, uint8_t path, uint64_t pn)
{
    text t = { .len = 0 };
    uint8_t frames = (uint8_t)input_number(in, 1) & 7;
    for (uint8_t i = 0; i < frames && in->left; i++) {
        uint8_t kind = (uint8_t)input_number(in, 1);
        uint8_t raw[64];
        switch (kind & 7) {
        case PADDING:
            memset(raw, 0, sizeof raw);
            put(&t, raw, kind >> 3);
            break;
        case PING:
        case PONG:
            put_number(&t, kind & 7, 1);
            put_number(&t, kind >> 3 & 1, 1);
            put_number(&t, input_number(in, 8), 8);
            put_number(&t, input_number(in, 8), 8);
            break;
        case ACK:
            put_ack(&t, in);
            break;
        case PUT_INNER:
            put_inner(&t, in);
            break;
        case PUT_ITEM:
            put_item(w, &t, in, path, pn);
            break;
        case PUT_BUNDLE:
            put_bundle(w, &t, in, path, pn);
            break;
        default:
            if (kind >> 3 < PUT_RAW_MAX)
                put(&t, raw, input_copy(in, raw, kind >> 3));
            else if (put_repair(w, &t, in) && kind >> 3 != 31)
                return t;
        }
        if (((kind & 7) == PUT_ITEM || (kind & 7) == PUT_BUNDLE) && kind >> 3 != 31)
            break; /* what followed would belong to it */
    }
    return t;
}

/* PROTOCOL.md section 3.2 by the letter: where the ABANDON ends; 0: it is none, or of what was not sent. */
static uint32_t walk_abandon(const world *w, const text *t, uint32_t at)
{
    if (t->len - at < 2 || t->bytes[at + 1] >= PATHS)
        return 0;
    uint64_t next = w->next[t->bytes[at + 1]];
    at += 2;
    uint64_t number = take_varint(t, &at);
    if (at >= t->len || number >= next || t->bytes[at] >= 64)
        return 0;
    for (uint8_t count = t->bytes[at++]; count; count--) {
        uint64_t gap = take_varint(t, &at);
        if (gap >= number)
            return 0;
        number -= gap + 1;
    }
    return at;
}

/* The same of a REPEAT: where its content begins, or the end where that is known; 0: no good. */
static uint32_t walk_repeat(world *w, const text *t, uint32_t at, uint8_t path, uint64_t pn)
{
    if (t->len - at < 7 || t->bytes[at + 1] >= PATHS)
        return 0;
    uint32_t of = t->bytes[at + 1], content = at + 6, low = 0;
    for (uint32_t i = 0; i < 4; i++)
        low = low << 8 | t->bytes[at + 2 + i];
    bool is_content = is_item(t->bytes[content]) || t->bytes[content] == BUNDLE;
    /* All numbers are small: a large one is none that came before. */
    if (!is_content || low >= w->next[of] || (of == path && low >= pn))
        return 0;
    bool is_known = w->is_seen[of][low];
    w->is_seen[of][low] = true;
    return is_known ? t->len : content;
}

/* Any other frame of repair. */
static uint32_t walk_repair(const world *w, const text *t, uint32_t at)
{
    uint8_t first = t->bytes[at];
    uint32_t left = t->len - at;
    if (first == ABANDON)
        return walk_abandon(w, t, at);
    if (first >> 3 == SOURCE >> 3)
        return left >= 3 ? at + 3 : 0;
    if (first >> 5 == CODE >> 5)
        return left >= 1 + 8 && t->bytes[at + 3] > 0 ? t->len : 0;
    return first == PROMPT ? at + 1 : 0;
}

static found text_walk(world *w, const text *t, uint8_t path, uint64_t pn, const uint64_t *sent_before)
{
    uint64_t sent[PATHS];
    memcpy(sent, sent_before, sizeof sent);
    found f = { .inner = t->len };
    uint32_t at = 0;
    while (at < t->len && !f.is_bad) {
        uint8_t first = t->bytes[at];
        if (is_item(first) || first == BUNDLE) {
            f.inner = at;
            break;
        }
        uint32_t next = at + 1;
        if (first == ACK)
            next = walk_ack(t, at, sent);
        else if (first == PING || first == PONG)
            next = t->len - at > PING_BODY && !(first == PING && f.pings) ? at + 1 + PING_BODY : 0;
        else if (first == REPEAT)
            f.inner = next = walk_repeat(w, t, at, path, pn);
        else if (first != PADDING)
            next = walk_repair(w, t, at);
        f.is_bad = next == 0;
        if (first == REPEAT) {
            f.is_again = true;
            break;
        }
        f.acks += first == ACK && next;
        if (first == PING && next) {
            f.pings++;
            sent[path]++;
        }
        at = next;
    }
    return f;
}

static bool may_deliver(const uint8_t *p, uint32_t len)
{
    if (len >= 40 && p[0] >> 4 == 6)
        return p[4] * 256U + p[5] + 40 == len && p[8] == 0xfd;
    uint32_t header = (p[0] & 15U) * 4;
    return len >= 20 && p[0] >> 4 == 4 && header >= 20 && header <= len && p[2] * 256U + p[3] == len &&
           p[12] == 10;
}

/* ---- what stands in the items ---- */

static void item_add(world *w, fate what, const uint8_t *packet, uint32_t len)
{
    must(w->item_count < ITEMS_MAX, "an item has a byte at least");
    judged *i = &w->items[w->item_count++];
    bool is_large = len > KEEP_MTU + OXI_OVERHEAD_BYTES && len > OXI_CONTROL_MAX;
    *i = (judged){ .fate = what };
    if (what == IS_PACKET && (is_large || !may_deliver(packet, len)))
        i->fate = IS_DROPPED;
    if (i->fate != IS_PACKET)
        return;
    i->packet = malloc(len);
    must(i->packet != NULL, "memory");
    memcpy(i->packet, packet, i->len = len);
}

static void coded_judge(world *w, const uint8_t *coded, uint32_t len)
{
    if (w->us.how.flows == 0) {
        item_add(w, IS_DROPPED, NULL, 0);
        return;
    }
    const known *k = &w->known[w->known_seen];
    bool is_next = w->known_seen < w->known_count && len == k->coded_len && memcmp(coded, k->coded, len) == 0;
    w->is_honest = w->is_honest && is_next;
    w->known_seen += is_next;
    if (w->is_honest)
        item_add(w, IS_PACKET, k->packet, k->packet_len);
    else
        item_add(w, IS_UNSURE, NULL, 0);
}

static void item_judge(world *w, const uint8_t *data, uint32_t len)
{
    static uint8_t out[OXI_MTU_MAX];
    if (data[0] >> 3 == 1) {
        uint32_t bytes = 0;
        if (!w->us.how.has_payload || oxi_lz_restore(data, len, out, sizeof out, &bytes) != 0) {
            item_add(w, IS_DROPPED, NULL, 0);
            return;
        }
        data = out;
        len = bytes;
    }
    if (data[0] >= 0x80)
        coded_judge(w, data, len);
    else if (is_whole(data[0]))
        item_add(w, IS_PACKET, data, len);
    else
        item_add(w, IS_DROPPED, NULL, 0);
}

/* PROTOCOL.md section 3: the items of the bundle that begins there. Returns how many were good as items. */
static uint32_t bundle_judge(world *w, const text *t, uint32_t at)
{
    for (uint32_t count = 0;; count++) {
        if (at == t->len)
            return count;
        uint32_t len = t->bytes[at++];
        if (len >= 240 && at < t->len)
            len = (len - 240) << 8 | t->bytes[at++];
        else if (len >= 240)
            len = 0;
        if (len == 0 || len > t->len - at || !is_item(t->bytes[at])) {
            item_add(w, IS_DROPPED, NULL, 0);
            return count;
        }
        item_judge(w, t->bytes + at, len);
        at += len;
    }
}

/* ---- what the plane made of it ---- */

static bool is_syn(const uint8_t *p, uint32_t len)
{
    uint32_t l4 = p[0] >> 4 == 6 ? 40 : (p[0] & 15U) * 4;
    return p[p[0] >> 4 == 6 ? 6 : 9] == 6 && len >= l4 + 20 && (p[l4 + 13] & 2);
}

/* Takes all that was delivered: in the order of the items, with at most the unsure ones between. Returns how
 * many there were. */
static uint32_t deliveries_check(world *w, uint64_t without_buffer)
{
    static uint8_t buf[OXI_BATCH_MAX][ROOM];
    static uint32_t len[OXI_BATCH_MAX], peer[OXI_BATCH_MAX];
    uint32_t next = 0, total = 0, unsure = 0, missed = 0;
    int n;
    while ((n = oxi_inner_pop(w->us.dp, buf[0], ROOM, len, peer, OXI_BATCH_MAX)) > 0) {
        for (int i = 0; i < n; i++, total++) {
            must(may_deliver(buf[i], len[i]), "what is delivered is whole, and has a source of this peer");
            uint32_t at = next, between = 0;
            for (; at < w->item_count; at++) {
                const judged *it = &w->items[at];
                if (it->fate == IS_PACKET && it->len == len[i] &&
                    (memcmp(it->packet, buf[i], len[i]) == 0 || is_syn(buf[i], len[i])))
                    break;
                between += it->fate == IS_PACKET;
            }
            if (at < w->item_count && missed + between <= without_buffer) {
                missed += between;
                next = at + 1;
            } else {
                unsure++;
            }
        }
    }
    uint32_t unsure_max = 0;
    for (uint32_t i = 0; i < w->item_count; i++) {
        unsure_max += w->items[i].fate == IS_UNSURE;
        missed += i >= next && w->items[i].fate == IS_PACKET;
        free(w->items[i].packet);
        w->items[i].packet = NULL;
    }
    must(unsure <= unsure_max, "nothing is delivered that was not sent");
    must(missed <= without_buffer, "what is good is delivered, unchanged and in order");
    return total;
}

/* How many datagrams the plane sent of its own accord; they are taken out. */
static uint32_t answers(end *e)
{
    static uint8_t buf[OXI_BATCH_MAX][ROOM];
    static uint32_t len[OXI_BATCH_MAX];
    static oxi_addr to[OXI_BATCH_MAX];
    return (uint32_t)oxi_outer_pop(e->dp, buf[0], ROOM, len, to, OXI_BATCH_MAX);
}

static oxi_peer_stats peer_of(const end *e)
{
    oxi_peer_stats st;
    must(oxi_peer_stats_read(e->dp, e->peer, &st) == OXI_OK, "the peer is there");
    return st;
}

static uint64_t drops_without_buffer(const oxi_stats *st)
{
    for (uint32_t i = 0; i < OXI_DROPS_MAX && oxi_drop_name(i); i++)
        if (strcmp(oxi_drop_name(i), "pool-empty") == 0)
            return st->drops[OXI_DIR_IN_PACKET][i];
    return 0;
}

static void packets_check(world *w, const text *t, const found *f, const oxi_stats *before)
{
    uint32_t bundled = 0;
    w->item_count = w->known_seen = 0;
    w->is_honest = w->is_honest && !f->is_again; /* its headers are of another time */
    if (!f->is_bad && f->inner < t->len && t->bytes[f->inner] == BUNDLE)
        bundled = bundle_judge(w, t, f->inner + 1);
    else if (!f->is_bad && f->inner < t->len)
        item_judge(w, t->bytes + f->inner, t->len - f->inner);
    oxi_stats after = stats_of(&w->us);
    uint64_t without_buffer = drops_without_buffer(&after) - drops_without_buffer(before);
    uint32_t n = deliveries_check(w, without_buffer);
    must(n <= t->len / 2 + 1, "a packet costs two bytes at least");
    must(without_buffer == 0 || n >= POOL_PKTS - 2, "none is missing a buffer while there are some");
    must(after.bundled_in_packets - before->bundled_in_packets == bundled, "each item of a bundle counts");
    must(after.opened_datagrams == before->opened_datagrams + 1, "an authentic datagram opens");
    must(after.found_packets - before->found_packets == w->item_count + f->is_bad, "an item is a packet");
    must(drops_of(&after, OXI_DIR_IN_PACKET) - drops_of(before, OXI_DIR_IN_PACKET) + n ==
             w->item_count + f->is_bad,
         "each item is delivered, or one drop");
}

static void exchange(world *w, const text *t, uint8_t path, uint64_t pn)
{
    static uint8_t datagram[ROOM];
    end *e = &w->us;
    uint32_t len = seal_to(e, path, pn, t->bytes, t->len, datagram);
    uint64_t sent[PATHS];
    oxi_addr from = address_of(1, 443);
    oxi_stats before = stats_of(e);
    oxi_peer_stats peer_before = peer_of(e);
    for (uint32_t i = 0; i < PATHS; i++)
        sent[i] = peer_before.paths[i].tx_packets;
    must(oxi_outer_push(e->dp, e->now_ns, datagram, ROOM, &len, &from, 1) == OXI_OK, "push takes all");
    w->next[path] = pn + 1;
    w->is_seen[path][pn] = true;
    found f = text_walk(w, t, path, pn, sent);
    must(answers(e) == f.pings, "the first PING of a datagram is answered, and nothing else");
    packets_check(w, t, &f, &before);
    oxi_peer_stats peer_after = peer_of(e);
    uint64_t acks = 0;
    for (uint32_t i = 0; i < PATHS; i++)
        acks += peer_after.paths[i].acks_received - peer_before.paths[i].acks_received;
    must(acks == f.acks, "only acknowledgements that can be true are believed");
    sums_must_hold(e);
}

static void counters_must_hold(const end *e)
{
    oxi_peer_stats st = peer_of(e);
    for (uint32_t i = 0; i < PATHS; i++) {
        const oxi_path_stats *p = &st.paths[i];
        must(p->acked_packets <= p->tx_packets, "no more is acknowledged than was sent");
        must(p->lost_packets <= p->tx_packets, "no more is lost than was sent");
        must(p->rtt_ns <= e->now_ns && p->rtt_latest_ns <= e->now_ns, "no round trip exceeds time itself");
    }
}

static void send_some(end *e, uint32_t count)
{
    uint8_t p[20] = { 0x45, [3] = 20, [12] = 172, [13] = 16, [16] = 10 };
    const uint32_t len = sizeof p;
    for (uint32_t i = 0; i < count; i++) {
        e->now_ns += 1000000;
        must(oxi_inner_push(e->dp, e->now_ns, p, sizeof p, &len, 1) == OXI_OK, "push takes all");
    }
    must(answers(e) == count, "each of them is sent");
}

static void world_open(world *w, uint8_t head)
{
    const ways how = { .flows = head & 0x20 ? 4 : 0, .has_payload = head & 0x40, .has_bundles = head & 0x80 };
    memset(w, 0, sizeof *w);
    w->is_honest = true;
    w->hdr = oxi_hdr_new(4, 7);
    w->lz = oxi_lz_new(NULL, 0);
    must(w->hdr && w->lz, "memory");
    end_open(&w->us, false, head & 1 ? OXI_SUITE_AES256GCM : OXI_SUITE_CHACHA20POLY1305, &how);
    end_connect(&w->us, 0x424242);
    send_some(&w->us, (head >> 1) % SENT_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static world w;
    input in = { data, size };
    world_open(&w, (uint8_t)input_number(&in, 1));
    uint64_t pn[PATHS] = { 0 };
    for (uint32_t i = 0; i < DATAGRAMS_MAX && in.left; i++) {
        uint8_t step = (uint8_t)input_number(&in, 1);
        uint8_t path = step & 3;
        pn[path] += 1U + (step >> 2 & 3);
        w.us.now_ns += (uint64_t)(step >> 4) * 1000000;
        w.known_count = 0;
        text t = text_make(&w, &in, path, pn[path]);
        exchange(&w, &t, path, pn[path]);
        if (w.known_seen == w.known_count && step & 0x30) /* what was not restored may not be referred to */
            must(oxi_hdr_ack(w.hdr, path, pn[path]) == OXI_OK, "an acknowledgement is taken");
    }
    counters_must_hold(&w.us);
    for (uint32_t i = 0; i < 3; i++) {
        w.us.now_ns += 2000000000ULL;
        oxi_tick(w.us.dp, w.us.now_ns);
        drain(&w.us);
    }
    end_close(&w.us);
    oxi_hdr_free(w.hdr);
    oxi_lz_free(w.lz);
    return 0;
}
