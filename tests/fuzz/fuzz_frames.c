/* fuzz_frames.c - what stands inside authentic datagrams: the peer itself is broken or hostile.
 *
 * Invariant: every authentic datagram counts as opened; only an inner packet that ends the plaintext, is
 * whole and has a source of this peer is delivered, unchanged; PINGs are answered at most once each; and
 * acknowledgements can not claim more than was sent. Parsers: ack_read. */
#include <string.h>

#include "support.h"

enum { DATAGRAMS_MAX = 24, SENT_MAX = 16, TEXT_MAX = 1400, PATHS = OXI_PATHS_MAX };
enum { PADDING = 0, PING = 1, PONG = 2, ACK = 3, PING_BODY = 17 };

typedef struct text {
    uint8_t bytes[TEXT_MAX];
    uint32_t len;
} text;

/* What the slow walk over a plaintext finds. */
typedef struct found {
    uint32_t pings; /* that have to be answered */
    uint32_t acks;  /* that have to be believed */
    bool is_bad;    /* something is wrong: the rest is one drop */
    uint32_t inner; /* offset of the inner packet; == len: none */
} found;

static void put(text *t, const void *bytes, uint32_t len)
{
    if (t->len + len > TEXT_MAX)
        return;
    memcpy(t->bytes + t->len, bytes, len);
    t->len += len;
}

static void put_number(text *t, uint64_t value, uint32_t bytes)
{
    uint8_t be[8];
    for (uint32_t i = 0; i < bytes; i++)
        be[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
    put(t, be, bytes);
}

/* RFC 9000, section 16, in as many bytes as `size` says, so that overlong ones occur too. */
static void put_varint(text *t, uint64_t value, uint32_t size)
{
    uint32_t bytes = 1U << (size & 3);
    uint64_t mask = bytes == 8 ? 0x3fffffffffffffffULL : (1ULL << (8 * bytes - 2)) - 1;
    put_number(t, (value & mask) | (uint64_t)(size & 3) << (8 * bytes - 2), bytes);
}

/* An ACK whose fields come from the input: mostly small numbers, as those are near the truth. */
static void put_ack(text *t, input *in)
{
    uint8_t shape = (uint8_t)input_number(in, 1);
    uint32_t size = shape >> 6;
    put_number(t, ACK, 1);
    put_number(t, shape & 7, 1);
    for (uint32_t i = 0; i < 4; i++)
        put_varint(t, input_number(in, shape & 8 ? 8 : 1), shape & 8 ? 3 : size);
    uint8_t ranges = (uint8_t)input_number(in, 1) & 0x3f;
    put_number(t, ranges, 1);
    put_varint(t, input_number(in, 1), size);
    for (uint32_t i = 0; i < 2U * ranges; i++)
        put_varint(t, input_number(in, 1), size);
    uint8_t times = (uint8_t)input_number(in, 1) & 0x1f;
    put_number(t, times, 1);
    for (uint32_t i = 0; i < 2U * times; i++)
        put_varint(t, input_number(in, 1), size);
}

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

static text text_make(input *in)
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
        case 4:
            put_inner(&t, in);
            break;
        default:
            put(&t, raw, input_copy(in, raw, kind >> 3));
        }
    }
    return t;
}

/* RFC 9000, section 16; UINT64_MAX: past the end. */
static uint64_t take_varint(const text *t, uint32_t *at)
{
    uint32_t bytes = *at < t->len ? 1U << (t->bytes[*at] >> 6) : 1;
    if (*at + bytes > t->len)
        return UINT64_MAX;
    uint64_t value = t->bytes[*at] & 0x3f;
    for (uint32_t i = 1; i < bytes; i++)
        value = value << 8 | t->bytes[*at + i];
    *at += bytes;
    return value;
}

/* PROTOCOL.md section 3.1 by the letter: where the ACK ends; 0: it is none, or it claims what can not be.
 * sent: how many packets of each path there were to acknowledge. */
static uint32_t walk_ack(const text *t, uint32_t at, const uint64_t *sent)
{
    if (t->len - at < 2 || t->bytes[at + 1] >= PATHS)
        return 0;
    uint64_t there = sent[t->bytes[at + 1]];
    at += 2;
    uint64_t largest = take_varint(t, &at), delay = take_varint(t, &at);
    uint64_t received = take_varint(t, &at), ce = take_varint(t, &at);
    if (delay == UINT64_MAX || largest >= there || received > largest + 1 || ce > received || at >= t->len)
        return 0;
    uint8_t ranges = t->bytes[at++];
    uint64_t first = take_varint(t, &at);
    if (ranges > 32 || first > largest)
        return 0;
    uint64_t lowest = largest - first, named = first + 1;
    for (uint8_t i = 0; i < ranges; i++) {
        uint64_t gap = take_varint(t, &at), more = take_varint(t, &at);
        if (gap > lowest || more > lowest || gap + more + 2 > lowest)
            return 0;
        lowest -= gap + more + 2;
        named += more + 1;
    }
    if (named > received || at >= t->len || t->bytes[at] > 16)
        return 0;
    for (uint8_t times = t->bytes[at++]; times; times--) {
        uint64_t distance = take_varint(t, &at);
        if (take_varint(t, &at) == UINT64_MAX || distance > largest)
            return 0;
        largest -= distance;
    }
    return at;
}

static found text_walk(const text *t, uint8_t path, const uint64_t *sent_before)
{
    uint64_t sent[PATHS];
    memcpy(sent, sent_before, sizeof sent);
    found f = { .inner = t->len };
    uint32_t at = 0;
    while (at < t->len && !f.is_bad) {
        uint8_t first = t->bytes[at];
        if (first >> 4 == 4 || first >> 4 == 6) {
            f.inner = at;
            break;
        }
        uint32_t next = at + 1;
        if (first == ACK)
            next = walk_ack(t, at, sent);
        else if (first == PING || first == PONG)
            next = t->len - at > PING_BODY && !(first == PING && f.pings) ? at + 1 + PING_BODY : 0;
        else if (first != PADDING)
            next = 0;
        f.is_bad = next == 0;
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
    if (p[0] >> 4 == 6)
        return len >= 40 && p[4] * 256U + p[5] + 40 == len && p[8] == 0xfd;
    uint32_t header = (p[0] & 15U) * 4;
    return len >= 20 && header >= 20 && header <= len && p[2] * 256U + p[3] == len && p[12] == 10;
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

static void exchange(end *e, const text *t, uint8_t path, uint64_t pn)
{
    static uint8_t datagram[ROOM], inner[ROOM];
    uint32_t len = seal_to(e, path, pn, t->bytes, t->len, datagram);
    uint32_t peer;
    uint64_t sent[PATHS];
    oxi_addr from = address_of(1, 443);
    oxi_stats before = stats_of(e);
    oxi_peer_stats peer_before = peer_of(e);
    for (uint32_t i = 0; i < PATHS; i++)
        sent[i] = peer_before.paths[i].tx_packets;
    must(oxi_outer_push(e->dp, e->now_ns, datagram, ROOM, &len, &from, 1) == OXI_OK, "push takes all");
    found f = text_walk(t, path, sent);
    must(answers(e) == f.pings, "the first PING of a datagram is answered, and nothing else");
    int n = oxi_inner_pop(e->dp, inner, ROOM, &len, &peer, 1);
    bool is_good = !f.is_bad && f.inner < t->len && may_deliver(t->bytes + f.inner, t->len - f.inner);
    must((n == 1) == is_good, "an inner packet is delivered if it is good");
    if (n == 1)
        must(len == t->len - f.inner && memcmp(inner, t->bytes + f.inner, len) == 0, "and unchanged");
    oxi_stats after = stats_of(e);
    must(after.opened_datagrams == before.opened_datagrams + 1, "an authentic datagram opens");
    must(drops_of(&after, OXI_DIR_IN_PACKET) - drops_of(&before, OXI_DIR_IN_PACKET) ==
             (f.is_bad || (f.inner < t->len && !is_good)),
         "what is wrong is one drop");
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    end us;
    input in = { data, size };
    uint8_t head = (uint8_t)input_number(&in, 1);
    end_open(&us, false, head & 1 ? OXI_SUITE_AES256GCM : OXI_SUITE_CHACHA20POLY1305);
    end_connect(&us, 0x424242);
    send_some(&us, (head >> 1) % SENT_MAX);
    uint64_t pn[PATHS] = { 0 };
    for (uint32_t i = 0; i < DATAGRAMS_MAX && in.left; i++) {
        uint8_t step = (uint8_t)input_number(&in, 1);
        uint8_t path = step & 3;
        pn[path] += 1U + (step >> 2 & 3);
        us.now_ns += (uint64_t)(step >> 4) * 1000000;
        text t = text_make(&in);
        exchange(&us, &t, path, pn[path]);
    }
    counters_must_hold(&us);
    for (uint32_t i = 0; i < 3; i++) {
        us.now_ns += 2000000000ULL;
        oxi_tick(us.dp, us.now_ns);
        drain(&us);
    }
    end_close(&us);
    return 0;
}
