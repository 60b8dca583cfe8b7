/* fuzz_order.c - a peer that sends TCP segments of any kind, over a path that loses, repeats and reorders.
 *
 * Invariant: what comes is delivered, once and unchanged: what is not TCP at once, and all others within
 * 500 ms; while a segment waits, of its flow only what comes before it by sequence number goes on, or what
 * takes up none, or a SYN or RST, behind which nothing waits. One that came when another waited that begins
 * or ends behind it and was sent before it is sent again, and waits for others. */
#include <string.h>

#include "support.h"

enum { SENT_MAX = 300, WIRE_MAX = 64, FLOWS = 3, LEN_MAX = 340, OPS_MAX = 400, WINDOW = 8128 };
enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16, TCP_END = 40 };

typedef struct sent {
    uint8_t data[LEN_MAX];
    uint32_t len;
    uint32_t seq;
    uint32_t flow; /* FLOWS: not TCP */
    uint32_t payload;
    uint8_t flags;
    uint64_t pn;
    bool has_come, is_out, is_again;
    uint64_t came_ns;
} sent;

typedef struct world {
    end us;
    sent sent[SENT_MAX];
    uint32_t count;
    uint32_t wire[WIRE_MAX]; /* of sent */
    uint32_t wire_count;
    uint32_t seq[FLOWS];
    uint64_t pn;
    uint64_t next; /* largest number that came + 1 */
} world;

static void put32(uint8_t *at, uint32_t v)
{
    for (uint32_t i = 0; i < 4; i++)
        at[i] = (uint8_t)(v >> (24 - 8 * i));
}

static void packet_fill(sent *s, uint32_t id)
{
    uint8_t *p = s->data;
    memset(p, 0x11, s->len);
    memset(p, 0, TCP_END);
    p[0] = 0x45;
    p[2] = (uint8_t)(s->len >> 8);
    p[3] = (uint8_t)s->len;
    p[4] = (uint8_t)(id >> 8); /* tells which one it is */
    p[5] = (uint8_t)id;
    p[8] = 64;
    p[9] = s->flow == FLOWS ? 17 : 6;
    memcpy(p + 12, (const uint8_t[]){ 10, 0, 0, 1, 172, 16, 0, 1 }, 8);
    p[21] = (uint8_t)s->flow;
    put32(p + 24, s->seq);
    p[32] = 0x50;
    p[33] = s->flags;
}

/* The next segment of a flow, or one a little off; it leaves, and is on the wire or lost. */
static void send(world *w, input *in)
{
    if (w->count == SENT_MAX)
        return;
    uint8_t how = (uint8_t)input_number(in, 1), more = (uint8_t)input_number(in, 1);
    sent *s = &w->sent[w->count];
    *s = (sent){ .flow = how & 3, .flags = ACK, .pn = w->pn++, .payload = how & 4 ? 300 : more % 250 };
    if (more >= 0xe0)
        s->flags = (uint8_t)input_number(in, 1);
    uint32_t at = s->flow < FLOWS ? w->seq[s->flow] : 0;
    s->seq = more % 8 == 7 ? at + (uint32_t)input_number(in, 2) - 0x8000 : at;
    if (s->flow < FLOWS && s->seq == at)
        w->seq[s->flow] += s->payload;
    s->len = TCP_END + s->payload;
    packet_fill(s, w->count);
    if (w->wire_count < WIRE_MAX && !(how & 0x80 && how & 0x40))
        w->wire[w->wire_count++] = w->count;
    if (how & 0x20 && !(how & 0x18)) /* numbers that nothing was sent with, now and then very many */
        w->pn += how & 0x40 ? input_number(in, 2) : 1ULL + more % 4;
    w->count++;
}

static bool takes_room(const sent *s) { return s->payload > 0 || s->flags & (SYN | FIN | RST); }

static void came_out(world *w, const uint8_t *data, uint32_t len)
{
    uint32_t id = data[4] * 256U + data[5];
    must(id < w->count, "nothing comes that was not sent");
    sent *s = &w->sent[id];
    must(s->has_come && !s->is_out, "once, and not before it came");
    must(len == s->len && memcmp(data, s->data, len) == 0, "unchanged");
    s->is_out = true;
    if (s->flow == FLOWS || !takes_room(s))
        return;
    for (uint32_t i = 0; i < w->count; i++) {
        const sent *other = &w->sent[i];
        bool waits = other->flow == s->flow && other->has_come && !other->is_out && takes_room(other) &&
                     other->came_ns < s->came_ns;
        bool is_before = (int32_t)(s->seq - other->seq) <= 0 || other->is_again;
        must(!waits || is_before, "nothing overtakes what waits");
    }
}

static bool is_again(const world *w, const sent *s)
{
    bool found = false;
    for (uint32_t i = 0; i < w->count; i++) {
        const sent *other = &w->sent[i];
        bool waits = other->flow == s->flow && other->has_come && !other->is_out && other->pn < s->pn;
        found = found || (waits && (int32_t)(other->seq + other->payload - s->seq) > 0);
    }
    return found;
}

static void collect(world *w)
{
    static uint8_t buf[OXI_BATCH_MAX][ROOM];
    static uint32_t len[OXI_BATCH_MAX], peer[OXI_BATCH_MAX];
    int n;
    while ((n = oxi_inner_pop(w->us.dp, buf[0], ROOM, len, peer, OXI_BATCH_MAX)) > 0)
        for (int i = 0; i < n; i++)
            came_out(w, buf[i], len[i]);
    for (uint32_t i = 0; i < w->count; i++) {
        const sent *s = &w->sent[i];
        bool is_late = s->flow == FLOWS || !takes_room(s) || s->came_ns + ORDER_NS_MAX <= w->us.now_ns;
        must(!s->has_come || s->is_out || !is_late, "in time");
    }
    oxi_stats st = stats_of(&w->us);
    must(st.order_waiting_packets == st.deliver_held_packets, "what is held waits for a lost one");
    must(st.order_waiting_packets <= POOL_PKTS / 2, "no more than half of the pool");
    must(st.order_held_packets == st.order_waiting_packets + st.order_filled_packets +
                                      st.order_resolved_packets + st.order_timeout_packets +
                                      st.order_full_packets,
         "each of them goes on for one reason");
    sums_must_hold(&w->us);
}

/* Some of what is on the wire, in one turn; some of it stays there, and comes again. */
static void arrive(world *w, input *in)
{
    static uint8_t buf[OXI_BATCH_MAX][ROOM];
    uint32_t len[OXI_BATCH_MAX], n = 0, wanted = 1 + (uint32_t)input_number(in, 1) % 40;
    oxi_addr from[OXI_BATCH_MAX];
    uint8_t how = (uint8_t)input_number(in, 1);
    uint64_t now_ns = ++w->us.now_ns;
    for (; n < wanted && w->wire_count > 0; n++) {
        uint32_t at = how & 3 ? 0 : (uint32_t)input_number(in, 1) % w->wire_count;
        sent *s = &w->sent[w->wire[at]];
        len[n] = seal_to(&w->us, 0, s->pn, s->data, s->len, buf[n]);
        from[n] = address_of(1, 443);
        bool is_old = w->next > s->pn && w->next - s->pn > WINDOW; /* it is dropped */
        s->came_ns = s->has_come ? s->came_ns : now_ns;
        s->is_again = s->has_come ? s->is_again : is_again(w, s);
        s->has_come = s->has_come || !is_old;
        w->next = w->next > s->pn ? w->next : s->pn + 1;
        w->wire_count--;
        memmove(&w->wire[at], &w->wire[at + 1], (w->wire_count - at) * sizeof w->wire[0]);
        if (how & 0x40)
            w->wire[w->wire_count++] = (uint32_t)(s - w->sent);
    }
    must(oxi_outer_push(w->us.dp, now_ns, buf[0], ROOM, len, from, n) == OXI_OK, "push takes all");
    collect(w);
}

static void time_pass(world *w, uint64_t by_ns)
{
    w->us.now_ns += by_ns;
    oxi_tick(w->us.dp, w->us.now_ns);
    collect(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static world w;
    const ways how = { .has_order = true };
    input in = { data, size };
    memset(&w, 0, sizeof w);
    end_open(&w.us, false, OXI_SUITE_AES256GCM, &how);
    end_connect(&w.us, 77);
    for (uint32_t i = 0; i < FLOWS; i++)
        w.seq[i] = i == 0 ? 0xffffff00U : i == 1 ? 0x7fffff00U : 1000;
    for (uint32_t i = 0; i < OPS_MAX && in.left; i++) {
        uint8_t op = (uint8_t)input_number(&in, 1);
        if (op < 0x90)
            send(&w, &in);
        else if (op < 0xe0)
            arrive(&w, &in);
        else
            time_pass(&w, (op & 0x1fULL) * 20000000);
    }
    time_pass(&w, ORDER_NS_MAX);
    drain(&w.us);
    end_close(&w.us);
    return 0;
}
