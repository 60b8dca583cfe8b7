/* fuzz_pair.c - two planes back to back that compress, bundle and hold, over a path that loses, delays,
 * repeats and reorders.
 *
 * Invariant: every packet leaves, once; each datagram that arrives gives exactly the packets that went into
 * it, byte for byte, whatever became of the others, and a second copy nothing: so no header is coded against
 * what the other end may not have, and contexts begin anew with each session. Only what is under way while a
 * session is replaced may be dropped, under the name that says so, and what comes late when the few contexts
 * have gone to other flows since. Where nothing is held, what is in order on the path is so behind it. */
#include <string.h>

#include "support.h"

enum { CONTEXTS_FEW = 4, OPS_MAX = 160, SENT_MAX = 400, WIRE_MAX = 300, DATAGRAM_ROOM = ROOM };
#define GRACE_NS 10000000000ULL /* a session that was replaced opens so long (PROTOCOL.md section 5) */

typedef struct datagram {
    uint8_t data[DATAGRAM_ROOM];
    uint32_t len;
    uint32_t packets; /* inner ones in it */
    uint32_t session; /* which one it was sent in */
    bool has_come;
} datagram;

typedef struct sent {
    uint8_t data[FLOW_PACKET_MAX];
    uint32_t len;
    bool has_come;
} sent;

/* What goes one way. */
typedef struct direction {
    end *from, *to;
    sent sent[SENT_MAX];
    uint32_t sent_count;
    uint32_t next;      /* of sent, while all is in order */
    bool is_in_order;
    bool is_reordered;
    datagram slots[WIRE_MAX];
    datagram *wire[WIRE_MAX]; /* all slots; those in use first, in the order they were sent */
    uint32_t wire_count;
    uint64_t lost;      /* packets in datagrams that do not come any more */
    uint64_t delivered;
} direction;

typedef struct world {
    end ends[2];
    direction ways[2]; /* 0: from left to right */
    flows_made flows;
    uint64_t now_ns;
    uint64_t replaced_ns; /* when the session before this one was */
    uint32_t session;
} world;

static uint64_t tx_packets(const end *e)
{
    oxi_peer_stats st;
    must(oxi_peer_stats_read(e->dp, e->peer, &st) == OXI_OK, "the peer is there");
    return st.tx_packets;
}

/* One by one, so that it is known how many packets went into each. */
static void collect(world *w, direction *d)
{
    oxi_addr to;
    while (d->wire_count < WIRE_MAX) {
        datagram *g = d->wire[d->wire_count];
        uint64_t before = tx_packets(d->from);
        if (oxi_outer_pop(d->from->dp, g->data, ROOM, &g->len, &to, 1) != 1)
            return;
        g->packets = (uint32_t)(tx_packets(d->from) - before);
        g->session = w->session;
        g->has_come = false;
        uint32_t mtu = d->from->how.mtu_bytes ? d->from->how.mtu_bytes : KEEP_MTU;
        must(g->len <= (mtu > OXI_CONTROL_MAX ? mtu : OXI_CONTROL_MAX) + OXI_OVERHEAD_BYTES, "it fits");
        d->wire_count++;
    }
}

static void packet_came(direction *d, const uint8_t *data, uint32_t len)
{
    for (uint32_t i = 0; i < d->sent_count; i++) {
        sent *s = &d->sent[i];
        if (s->has_come || s->len != len || memcmp(s->data, data, len) != 0)
            continue;
        must(!d->is_in_order || i >= d->next, "in order");
        d->next = i + 1;
        s->has_come = true;
        d->delivered++;
        return;
    }
    must(false, "what comes out went in, and comes once");
}

static uint64_t drops_named(const oxi_stats *st, const char *name)
{
    for (uint32_t i = 0; oxi_drop_name(i); i++)
        if (strcmp(oxi_drop_name(i), name) == 0)
            return st->drops[OXI_DIR_IN_PACKET][i];
    must(false, "there is such a drop");
    return 0;
}

static uint32_t take(direction *d)
{
    static uint8_t buf[OXI_BATCH_MAX][ROOM];
    static uint32_t len[OXI_BATCH_MAX], peer[OXI_BATCH_MAX];
    uint32_t count = 0;
    int n;
    while ((n = oxi_inner_pop(d->to->dp, buf[0], ROOM, len, peer, OXI_BATCH_MAX)) > 0)
        for (int i = 0; i < n; i++, count++)
            packet_came(d, buf[i], len[i]);
    return count;
}

static void arrive(world *w, direction *d, datagram *g)
{
    oxi_addr from = address_of(d->from->is_left ? 1 : 2, 443);
    oxi_stats before = stats_of(d->to);
    must(oxi_outer_push(d->to->dp, w->now_ns, g->data, ROOM, &g->len, &from, 1) == OXI_OK, "push takes all");
    uint32_t count = take(d);
    oxi_stats after = stats_of(d->to);
    bool is_old = g->session < w->session && w->now_ns >= w->replaced_ns + GRACE_NS;
    if ((g->session + 1 < w->session || is_old) && after.opened_datagrams == before.opened_datagrams)
        return; /* of a session that is over */
    uint64_t dropped = drops_of(&after, OXI_DIR_IN_PACKET) - drops_of(&before, OXI_DIR_IN_PACKET);
    must(dropped == drops_named(&after, "no-context") - drops_named(&before, "no-context"), "by this name");
    bool may_be_late = d->is_reordered && d->to->how.flows == CONTEXTS_FEW;
    bool may_be_else = may_be_late || d->to->how.repair; /* a repetition is later than its number */
    must(g->session != w->session || dropped == 0 || may_be_else, "in its own session nothing is dropped");
    bool is_whole = count + dropped == (g->has_come ? 0 : g->packets);
    must(is_whole || d->to->how.repair, "a datagram gives what went into it");
    d->lost += dropped;
    g->has_come = true;
}

/* What has not come by now never does. */
static void wire_forget(direction *d, uint32_t i)
{
    datagram *g = d->wire[i];
    d->lost += g->has_come ? 0 : g->packets;
    d->wire_count--;
    memmove(&d->wire[i], &d->wire[i + 1], (d->wire_count - i) * sizeof d->wire[0]);
    d->wire[d->wire_count] = g;
}

static void carry_all(world *w, direction *d)
{
    for (uint32_t i = 0; i < d->wire_count; i++) {
        arrive(w, d, d->wire[i]);
        d->lost += d->wire[i]->has_come ? 0 : d->wire[i]->packets;
    }
    d->wire_count = 0;
}

/* Some come, in any order; some come again later, and some never. */
static void carry_some(world *w, direction *d, input *in)
{
    for (uint32_t n = 1 + (uint32_t)input_number(in, 1) % 8; n && d->wire_count; n--) {
        uint8_t how = (uint8_t)input_number(in, 1);
        uint32_t i = how % d->wire_count % 16;
        d->is_in_order = d->is_in_order && i == 0;
        d->is_reordered = d->is_reordered || i > 0;
        if ((how >> 6) != 3)
            arrive(w, d, d->wire[i]);
        if ((how >> 6) == 2)
            d->is_in_order = false;
        else
            wire_forget(d, i);
    }
}

static void push(world *w, direction *d, input *in)
{
    static uint8_t buf[OXI_BATCH_MAX][FLOW_PACKET_MAX];
    uint32_t len[OXI_BATCH_MAX], count = 0;
    uint8_t how = (uint8_t)input_number(in, 1);
    uint32_t wanted = how >= 0xf0 ? OXI_BATCH_MAX : 1 + how % 12;
    for (; count < wanted && d->sent_count < SENT_MAX; count++) {
        sent *s = &d->sent[d->sent_count++];
        len[count] = s->len = flow_packet(&w->flows, in, d->from->is_left, buf[count]);
        memcpy(s->data, buf[count], s->len);
        s->has_come = false;
    }
    int result = oxi_inner_push(d->from->dp, w->now_ns, buf[0], FLOW_PACKET_MAX, len, count);
    must(result == OXI_OK, "push takes all");
}

/* Both ends take their path for one that loses. */
static void repair_wish(world *w, uint8_t how)
{
    for (uint32_t i = 0; i < 2; i++)
        must(oxi_repair_wish(w->ends[i].dp, w->now_ns, w->ends[i].peer, 0, how & 3, how * 1000U / 255,
                             1 + how % 3U) == OXI_OK, "a wish is taken");
}

static void time_pass(world *w, uint64_t by_ns)
{
    w->now_ns += by_ns;
    for (uint32_t i = 0; i < 2; i++) {
        w->ends[i].now_ns = w->now_ns;
        oxi_tick(w->ends[i].dp, w->now_ns);
        collect(w, &w->ways[i]);
        must(take(&w->ways[1 - i]) == 0 || w->ends[i].how.has_order, "nothing waits but for what is lost");
    }
}

/* Both ends at once; what is under way may come under the old keys. */
static void session_new(world *w)
{
    uint32_t index[2];
    w->session++;
    w->replaced_ns = w->now_ns;
    for (uint32_t i = 0; i < 2; i++) {
        must(oxi_index_pick(w->ends[i].dp, 0x1000 * w->session, &index[i]) == OXI_OK, "an index is free");
        w->ends[i].rx_index = index[i];
        w->ends[i].rx_key[31] = w->ends[1 - i].tx_key[31] = (uint8_t)(2 * w->session + i);
    }
    for (uint32_t i = 0; i < 2; i++)
        end_connect(&w->ends[i], index[1 - i]);
}

static void run_op(world *w, input *in)
{
    uint8_t op = (uint8_t)input_number(in, 1);
    direction *d = &w->ways[op & 1];
    switch (op >> 1 & 7) {
    case 0:
    case 1:
        push(w, d, in);
        break;
    case 2: /* as it goes most of the time: sent, and acknowledged */
        push(w, d, in);
        collect(w, d);
        carry_all(w, d);
        time_pass(w, (op >> 4) * 6000000ULL);
        carry_all(w, &w->ways[1 - (op & 1)]);
        break;
    case 3:
        carry_all(w, d);
        break;
    case 4:
        carry_some(w, d, in);
        break;
    case 5:
        time_pass(w, (op >> 4) * 300000ULL);
        break;
    case 6:
        time_pass(w, (op >> 4) * 20000000ULL);
        break;
    default:
        if (op >> 4 == 0 && w->session < 3)
            session_new(w);
        else if (op >> 4 == 1)
            repair_wish(w, (uint8_t)input_number(in, 1));
        else
            carry_all(w, d);
    }
    for (uint32_t i = 0; i < 2; i++) {
        collect(w, &w->ways[i]);
        sums_must_hold(&w->ends[i]);
        if (w->ways[i].wire_count > WIRE_MAX / 2)
            carry_all(w, &w->ways[i]);
    }
}

/* The rest comes, too; then the accounts are even. */
static void finish(world *w)
{
    for (uint32_t round = 0; round < 3; round++) {
        time_pass(w, w->ends[0].how.has_order ? ORDER_NS_MAX : 6000000);
        for (uint32_t i = 0; i < 2; i++)
            carry_all(w, &w->ways[i]);
    }
    for (uint32_t i = 0; i < 2; i++) {
        const direction *d = &w->ways[i];
        oxi_stats st = stats_of(d->from);
        must(drops_of(&st, OXI_DIR_OUT) == 0 && st.inner_held_packets == 0, "all of them leave");
        uint64_t most = d->sent_count - d->delivered;
        must(d->from->how.repair ? most <= d->lost : most == d->lost, "and all come that were not lost");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static world w;
    input in = { data, size };
    uint8_t head = (uint8_t)input_number(&in, 1);
    ways how = ways_of(head & 0x3f);
    uint8_t tail = data[size ? size - 1 : 0];
    how.repair = size && tail & 0x10 ? OXI_REPAIR_ARQ + tail % 3U : OXI_REPAIR_OFF;
    how.has_order = how.repair;
    how.mtu_bytes = (head & 0xc0) == 0xc0 ? 9000 : head & 0x80 ? 1500 : KEEP_MTU;
    ends_open(&w.ends[0], &w.ends[1], OXI_SUITE_AES256GCM, &how);
    w.now_ns = w.ends[0].now_ns;
    w.session = 0;
    w.replaced_ns = 0;
    w.flows = (flows_made){ 0 };
    for (uint32_t i = 0; i < 2; i++) {
        direction *d = &w.ways[i];
        d->from = &w.ends[i];
        d->to = &w.ends[1 - i];
        d->sent_count = d->next = d->wire_count = 0;
        d->lost = d->delivered = 0;
        d->is_in_order = !(head & 0x30) && !how.repair;
        d->is_reordered = false;
        for (uint32_t k = 0; k < WIRE_MAX; k++)
            d->wire[k] = &d->slots[k];
    }
    for (uint32_t i = 0; i < OPS_MAX && in.left; i++)
        run_op(&w, &in);
    finish(&w);
    for (uint32_t i = 0; i < 2; i++) {
        drain(&w.ends[i]);
        end_close(&w.ends[i]);
    }
    return 0;
}
