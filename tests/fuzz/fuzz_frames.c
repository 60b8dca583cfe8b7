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
    uint32_t pings;   /* before the first thing that is wrong */
    bool has_ack;     /* the walk stops there: whether it is believed depends on what was sent */
    bool is_bad;
    uint32_t inner;   /* offset of the inner packet; == len: none */
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

static found text_walk(const text *t)
{
    found f = { .inner = t->len };
    for (uint32_t at = 0; at < t->len;) {
        uint8_t first = t->bytes[at];
        if (first >> 4 == 4 || first >> 4 == 6) {
            f.inner = at;
            return f;
        }
        f.has_ack = first == ACK;
        if (f.has_ack)
            return f;
        bool is_ping = first == PING || first == PONG;
        f.is_bad = (first != PADDING && !is_ping) || (is_ping && t->len - at < 1 + PING_BODY);
        if (f.is_bad)
            return f;
        f.pings += first == PING;
        at += is_ping ? 1 + PING_BODY : 1;
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

static void exchange(end *e, const text *t, uint8_t path, uint64_t pn)
{
    static uint8_t datagram[ROOM], inner[ROOM];
    uint32_t len = seal_to(e, path, pn, t->bytes, t->len, datagram);
    uint32_t peer;
    oxi_addr from = address_of(1, 443);
    uint64_t opened = stats_of(e).opened_datagrams;
    must(oxi_outer_push(e->dp, e->now_ns, datagram, ROOM, &len, &from, 1) == OXI_OK, "push takes all");
    must(stats_of(e).opened_datagrams == opened + 1, "an authentic datagram opens");
    found f = text_walk(t);
    uint32_t sent = answers(e);
    if (!f.has_ack)
        must(sent <= f.pings, "at most one answer for a PING");
    must(sent <= t->len / (1 + PING_BODY), "no answer without a PING");
    int n = oxi_inner_pop(e->dp, inner, ROOM, &len, &peer, 1);
    if (n == 1) {
        must(may_deliver(inner, len), "what is delivered is whole and from this peer's network");
        must(len <= t->len && memcmp(inner, t->bytes + t->len - len, len) == 0, "the end of the plaintext");
    }
    if (!f.has_ack && !f.is_bad && f.pings <= 1 && f.inner < t->len)
        must((n == 1) == may_deliver(t->bytes + f.inner, t->len - f.inner), "a good packet is delivered");
    sums_must_hold(e);
}

static void counters_must_hold(const end *e)
{
    oxi_peer_stats st;
    must(oxi_peer_stats_read(e->dp, e->peer, &st) == OXI_OK, "the peer is there");
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
