/* fuzz_ops.c - the whole boundary, with good and bad arguments in any order.
 *
 * Invariant: each call answers with an oxi_err or a count within what was asked, touches only the memory it
 * was given, and leaves the sums whole. */
#include <stdlib.h>
#include <string.h>

#include "support.h"

enum { OPS_MAX = 200 };

typedef struct world {
    end ends[2];
    flows_made flows;
    oxi_oracle_ticket ticket; /* of the last question */
    uint64_t now_ns;
} world;

typedef int op(world *w, end *e, input *in);

/* Numbers at the edges more often than chance would have it. */
static uint32_t pick(input *in, uint32_t good_max)
{
    uint8_t how = (uint8_t)input_number(in, 1);
    if (how < 0xf0)
        return how % (good_max + 1);
    return how < 0xf8 ? good_max + 1 : UINT32_MAX;
}

static uint64_t pick_time(input *in)
{
    uint8_t how = (uint8_t)input_number(in, 1);
    return how & 1 ? input_number(in, 8) : (uint64_t)(how >> 1) * 100000000;
}

static bool is_rare(input *in) { return input_number(in, 1) >= 0xf0; }

static oxi_addr pick_addr(input *in)
{
    oxi_addr a = address_of((uint8_t)(1 + input_number(in, 1) % 3), 443);
    if (is_rare(in)) {
        a.family = (uint8_t)input_number(in, 1);
        a.sock = (uint8_t)input_number(in, 1);
        a.port = (uint16_t)input_number(in, 2);
    }
    if (input_number(in, 1) % 8 == 0)
        a = (oxi_addr){ .family = OXI_AF_CARRIER };
    return a;
}

static int op_peer_add(world *w, end *e, input *in)
{
    (void)w;
    uint32_t number;
    uint64_t keepalive = pick_time(in), dead_after = pick_time(in);
    return oxi_peer_add(e->dp, keepalive, dead_after, pick(in, 1), is_rare(in) ? NULL : &number);
}

static int op_peer_timers(world *w, end *e, input *in)
{
    (void)w;
    uint32_t peer = pick(in, 1);
    uint64_t keepalive = pick_time(in);
    return oxi_peer_timers(e->dp, peer, keepalive, pick_time(in));
}

static int op_peer_remove(world *w, end *e, input *in)
{
    (void)w;
    return is_rare(in) ? oxi_peer_remove(e->dp, pick(in, 1)) : OXI_OK;
}

/* An array of its own on the heap, so that a read past its end is seen. */
static int op_routes_set(world *w, end *e, input *in)
{
    (void)w;
    uint32_t count = pick(in, 20);
    if (count > 40)
        return oxi_routes_set(e->dp, NULL, count);
    oxi_prefix *prefixes = calloc(count ? count : 1U, sizeof *prefixes);
    bool is_good = true;
    for (uint32_t i = 0; i < count; i++) {
        oxi_prefix *p = &prefixes[i];
        p->family = input_number(in, 1) & 1 ? OXI_AF_INET : OXI_AF_INET6;
        if (is_rare(in))
            p->family = (uint8_t)input_number(in, 1);
        p->bits = (uint8_t)pick(in, p->family == OXI_AF_INET ? 32 : 128);
        p->peer = pick(in, 1);
        is_good &= p->family == OXI_AF_INET ? p->bits <= 32 : p->family == OXI_AF_INET6 && p->bits <= 128;
        for (uint32_t k = 0; k < 4; k++)
            p->ip[k] = (uint8_t)input_number(in, 1);
    }
    int result = oxi_routes_set(e->dp, prefixes, count);
    free(prefixes);
    must(is_good || result < 0, "a prefix that is none is refused");
    return result;
}

static int op_path_set(world *w, end *e, input *in)
{
    (void)w;
    uint32_t peer = pick(in, 1), path = pick(in, OXI_PATHS_MAX - 1);
    oxi_addr a = pick_addr(in);
    bool is_null = is_rare(in);
    return oxi_path_set(e->dp, peer, path, is_null ? NULL : &a, is_rare(in) ? pick(in, 9216) : ROOM);
}

static int op_path_payload(world *w, end *e, input *in)
{
    (void)w;
    uint32_t peer = pick(in, 1), path = pick(in, OXI_PATHS_MAX - 1);
    return oxi_path_payload(e->dp, peer, path, (uint32_t)input_number(in, 2) % (OXI_DATAGRAM_MAX + 2));
}

static int op_session_install(world *w, end *e, input *in)
{
    oxi_session s = { .tx_index = e->tx_index, .suite = (uint8_t)pick(in, 3) };
    uint8_t how = (uint8_t)input_number(in, 1);
    s.may_send = how & 1;
    s.may_bundle = how & 2;
    s.tx_payload = how & 4;
    s.rx_payload = how & 8;
    s.tx_flows = (uint16_t)(how & 16 ? pick(in, OXI_HDR_FLOWS_MAX) : 0);
    s.rx_flows = (uint16_t)(how & 32 ? pick(in, OXI_HDR_FLOWS_MAX) : 0);
    uint32_t random24 = (uint32_t)input_number(in, 3);
    int result = oxi_index_pick(e->dp, is_rare(in) ? UINT32_MAX : random24, &s.rx_index);
    if (result != OXI_OK)
        return result;
    if (is_rare(in))
        s.rx_index = (uint32_t)input_number(in, 4);
    memcpy(s.rx_key, e->rx_key, OXI_KEY_BYTES);
    memcpy(s.tx_key, e->tx_key, OXI_KEY_BYTES);
    s.rx_key[0] = s.tx_key[0] = (uint8_t)input_number(in, 1);
    uint32_t peer = pick(in, 1);
    return oxi_session_install(e->dp, w->now_ns, peer, is_rare(in) ? NULL : &s);
}

static int op_session_send(world *w, end *e, input *in)
{
    return oxi_session_send(e->dp, w->now_ns, pick(in, 1));
}

static int op_session_drop(world *w, end *e, input *in)
{
    (void)w;
    return is_rare(in) ? oxi_session_drop(e->dp, pick(in, 1)) : OXI_OK;
}

static int op_epoch_install(world *w, end *e, input *in)
{
    uint32_t peer = pick(in, 1), epoch = pick(in, 8);
    return oxi_epoch_install(e->dp, w->now_ns, peer, epoch, is_rare(in) ? NULL : e->rx_key, e->tx_key);
}

static int op_epoch_send(world *w, end *e, input *in)
{
    uint32_t peer = pick(in, 1);
    return oxi_epoch_send(e->dp, w->now_ns, peer, pick(in, 8));
}

static int op_ping(world *w, end *e, input *in)
{
    uint32_t peer = pick(in, 1), path = pick(in, OXI_PATHS_MAX - 1), flags = pick(in, 1);
    oxi_addr a = pick_addr(in);
    const oxi_addr *to = input_number(in, 1) & 1 ? &a : NULL;
    uint64_t token = input_number(in, 8);
    uint32_t pad_bytes = is_rare(in) ? pick(in, 9000) : pick(in, 100);
    return oxi_ping(e->dp, w->now_ns, peer, path, to, token, flags, pad_bytes);
}

static int op_events(world *w, end *e, input *in)
{
    (void)w;
    oxi_event events[8];
    return oxi_event_pop(e->dp, is_rare(in) ? NULL : events, pick(in, 8) % 9);
}

static int op_control(world *w, end *e, input *in)
{
    (void)w;
    static uint8_t buf[4][OXI_CONTROL_MAX];
    uint32_t len[4];
    oxi_addr from[4];
    uint32_t stride = is_rare(in) ? OXI_CONTROL_MAX - 1 : OXI_CONTROL_MAX;
    return oxi_control_pop(e->dp, buf[0], stride, len, from, pick(in, 4) % 5);
}

static int op_stats(world *w, end *e, input *in)
{
    (void)w;
    oxi_peer_stats *st = malloc(sizeof *st);
    int result = oxi_peer_stats_read(e->dp, pick(in, 1), is_rare(in) ? NULL : st);
    free(st);
    return result;
}

static int op_inner_push(world *w, end *e, input *in)
{
    uint32_t count = pick(in, 8), stride = 20 + pick(in, 200) % 300;
    if (count > OXI_BATCH_MAX)
        return oxi_inner_push(e->dp, w->now_ns, (const uint8_t *)"", 1, (const uint32_t[]){ 0 }, count);
    uint8_t *buf = calloc(count ? count : 1U, stride);
    uint32_t *len = calloc(count ? count : 1U, sizeof *len);
    bool is_good = true;
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *p = buf + i * stride;
        len[i] = is_rare(in) ? pick(in, stride) : stride;
        is_good &= len[i] <= stride;
        memcpy(p, (const uint8_t[]){ 0x45, 0, (uint8_t)(stride >> 8), (uint8_t)stride }, 4);
        p[12] = (uint8_t)input_number(in, 1);
        p[16] = (uint8_t)input_number(in, 1);
        p[17] = 16;
    }
    int result = oxi_inner_push(e->dp, w->now_ns, buf, stride, len, count);
    free(buf);
    free(len);
    must(is_good || result < 0, "a packet longer than its place is refused");
    return result;
}

static int op_flow_push(world *w, end *e, input *in)
{
    static uint8_t buf[16][FLOW_PACKET_MAX];
    uint32_t len[16], count = pick(in, 15) % 16;
    for (uint32_t i = 0; i < count; i++)
        len[i] = flow_packet(&w->flows, in, e->is_left, buf[i]);
    return oxi_inner_push(e->dp, w->now_ns, buf[0], FLOW_PACKET_MAX, len, count);
}

static int op_compression_set(world *w, end *e, input *in)
{
    (void)w;
    uint32_t count = pick(in, OXI_LZ_RULES_MAX);
    oxi_lz_rule *rules = calloc(OXI_LZ_RULES_MAX + 1, sizeof *rules);
    for (uint32_t i = 0; i <= OXI_LZ_RULES_MAX; i++) {
        rules[i].port = (uint16_t)(WAYS_PORT + i);
        rules[i].protocol = input_number(in, 1) & 1 ? 17 : 6;
        rules[i].dictionary = (uint8_t)(input_number(in, 1) % (WAYS_RULES + 1));
    }
    oxi_lz_rule *changed = &rules[input_number(in, 1) % OXI_LZ_RULES_MAX];
    bool is_changed = is_rare(in);
    if (is_changed)
        *changed = (oxi_lz_rule){ (uint16_t)input_number(in, 2), (uint8_t)input_number(in, 1),
                                  (uint8_t)input_number(in, 1) };
    uint32_t passed = count > OXI_LZ_RULES_MAX + 1 ? OXI_LZ_RULES_MAX + 1 : count;
    int result = oxi_compression_set(e->dp, is_rare(in) ? NULL : rules, passed);
    must(result < 0 || (e->how.has_payload && passed <= OXI_LZ_RULES_MAX) || is_changed || passed == 0,
         "rules where none can be are refused");
    free(rules);
    return result;
}

static int op_compression_stats(world *w, end *e, input *in)
{
    (void)w;
    oxi_compression_stats *st = malloc(sizeof *st);
    oxi_oracle_stats *oracle = malloc(sizeof *oracle);
    int result = oxi_compression_stats_read(e->dp, is_rare(in) ? NULL : st);
    result = oxi_oracle_stats_read(e->dp, is_rare(in) ? NULL : oracle);
    uint64_t asked = 0;
    for (uint32_t i = 0; result == OXI_OK && i < OXI_ORACLE_VERDICTS; i++)
        asked += oracle->verdicts[i];
    must(result != OXI_OK || oracle->looked_packets <= asked, "a packet is looked at once at most");
    free(oracle);
    free(st);
    return result;
}

static int op_flows(world *w, end *e, input *in)
{
    (void)w;
    oxi_class_rule rules[3]; /* one more than is good */
    memset(rules, 0, sizeof rules);
    for (uint32_t i = 0; i < 2; i++) {
        rules[i].family = (uint8_t)pick(in, 7);
        rules[i].bits = (uint8_t)pick(in, 129);
        rules[i].protocol = (uint8_t)pick(in, 18);
        rules[i].dscp = (uint8_t)pick(in, OXI_DSCP_ANY + 1);
        rules[i].traffic_class = (uint8_t)pick(in, OXI_CLASSES);
        rules[i].port = (uint16_t)input_number(in, 2);
    }
    int result = oxi_classes_set(e->dp, is_rare(in) ? NULL : rules, pick(in, 2));
    oxi_flow *flows = calloc(OXI_FLOWS_MAX, sizeof *flows);
    int count = oxi_flows_read(e->dp, pick_time(in), flows, OXI_FLOWS_MAX);
    must(count >= 0 && count <= OXI_FLOWS_MAX, "the table is bounded");
    for (int i = 0; i < count; i++)
        must(flows[i].traffic_class < OXI_CLASSES && flows[i].why < OXI_WHYS && flows[i].packets > 0,
             "a flow has a class");
    free(flows);
    return result;
}

static int op_repair_set(world *w, end *e, input *in)
{
    (void)w;
    oxi_repair_conf conf = { .mode = pick(in, OXI_REPAIR_AUTO), .overhead_permille = pick(in, 200) * 20,
                             .overhead_ordered_permille = pick(in, 200) * 20 };
    bool is_null = is_rare(in);
    int result = oxi_repair_set(e->dp, is_null ? NULL : &conf);
    must(result < 0 || conf.mode == OXI_REPAIR_OFF || e->how.repair, "without room nothing is kept");
    return result;
}

static int op_repair_wish(world *w, end *e, input *in)
{
    uint32_t peer = pick(in, 1), path = pick(in, OXI_PATHS_MAX - 1), regime = pick(in, OXI_REGIME_CONGESTED);
    uint32_t redundancy = pick(in, 200) * 5, copies = pick(in, 3);
    return oxi_repair_wish(e->dp, w->now_ns, peer, path, regime, redundancy, copies);
}

static int op_repair_stats(world *w, end *e, input *in)
{
    (void)w;
    oxi_repair_stats *st = malloc(sizeof *st);
    int result = oxi_repair_stats_read(e->dp, is_rare(in) ? NULL : st);
    for (uint32_t i = 0; result == OXI_OK && i < OXI_CLASSES; i++)
        must(st->lost_packets[i] <= st->kept_packets[i], "only what is kept can be found lost");
    free(st);
    return result;
}

/* A float of any bits, or one near 0. */
static float pick_float(input *in)
{
    uint32_t bits = (uint32_t)input_number(in, 4);
    float value;
    if (!is_rare(in))
        return (float)(int32_t)bits / 1e9f;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static int op_oracle_set(world *w, end *e, input *in)
{
    (void)w;
    oxi_oracle_model *model = calloc(1, sizeof *model);
    for (uint32_t i = 0; i < 12; i++) {
        model->hidden_weights[input_number(in, 1) % 128] = pick_float(in);
        model->score_weights[input_number(in, 1) % 64] = pick_float(in);
    }
    model->score_bias[input_number(in, 1) % OXI_ORACLE_VERDICTS] = pick_float(in);
    int result = oxi_oracle_set(e->dp, is_rare(in) ? NULL : model, input_number(in, 8));
    free(model);
    return result;
}

static int op_oracle_ask(world *w, end *e, input *in)
{
    uint8_t packet[FLOW_PACKET_MAX];
    oxi_oracle_packet asked = { .data = packet, .len = flow_packet(&w->flows, in, e->is_left, packet) };
    asked.payload_at = pick(in, 100);
    asked.peer = pick(in, 1);
    asked.is_allowed = (uint8_t)pick(in, 1);
    asked.is_urgent = (uint8_t)pick(in, 1);
    if (is_rare(in))
        asked.len = pick(in, asked.len - 1) % FLOW_PACKET_MAX;
    uint32_t verdict = 0;
    int result = oxi_oracle_ask(e->dp, &asked, is_rare(in) ? NULL : &verdict, &w->ticket);
    must(verdict < OXI_ORACLE_VERDICTS, "a verdict is one of four");
    return result;
}

/* Of this plane or of the other, of a flow long gone, or of none. */
static int op_oracle_learn(world *w, end *e, input *in)
{
    oxi_oracle_ticket ticket = w->ticket;
    if (is_rare(in))
        ticket = (oxi_oracle_ticket){ (uint32_t)input_number(in, 4), (uint32_t)input_number(in, 4),
                                      (uint32_t)input_number(in, 1) };
    return oxi_oracle_learn(e->dp, is_rare(in) ? NULL : &ticket, pick(in, 1));
}

static end *other(world *w, const end *e) { return e == &w->ends[0] ? &w->ends[1] : &w->ends[0]; }

/* What one end sends reaches the other, over UDP and inside QUIC; some of it does not. */
static int op_carry(world *w, end *e, input *in)
{
    static uint8_t buf[16][ROOM];
    uint32_t len[16], peer[16];
    oxi_addr addr[16];
    int n = oxi_outer_pop(e->dp, buf[0], ROOM, len, addr, 16);
    must(n >= 0 && n <= 16, "a pop gives what was asked, or less");
    for (int i = 0; i < n; i++)
        addr[i] = address_of((uint8_t)(1 + input_number(in, 1) % 3), 443);
    if (n && is_rare(in))
        addr[0].family = (uint8_t)input_number(in, 1);
    int result = oxi_outer_push(other(w, e)->dp, w->now_ns, buf[0], ROOM, len, addr, (uint32_t)n);
    n = oxi_carrier_pop(e->dp, buf[0], ROOM, len, peer, 16);
    must(n >= 0 && n <= 16, "a pop gives what was asked, or less");
    if (n > 0)
        oxi_carrier_push(other(w, e)->dp, w->now_ns, pick(in, 1), buf[0], ROOM, len, (uint32_t)n);
    return result;
}

static int op_deliver(world *w, end *e, input *in)
{
    (void)w;
    static uint8_t buf[8][ROOM];
    uint32_t len[8], peer[8];
    uint32_t stride = is_rare(in) ? ROOM - 1 : ROOM;
    return oxi_inner_pop(e->dp, buf[0], stride, len, peer, pick(in, 8) % 9);
}

static int op_time(world *w, end *e, input *in)
{
    uint64_t step = pick_time(in);
    if (step < 1ULL << 62 && w->now_ns < 1ULL << 62)
        w->now_ns += step;
    oxi_tick(e->dp, w->now_ns);
    return OXI_OK;
}

/* Without sockets nothing may start; stopping what never started is no error. */
static int op_io(world *w, end *e, input *in)
{
    (void)w;
    int err = 0;
    oxi_io_conf conf = { .tun_fds = { -1 }, .notify_fd = -1, .sock_count = pick(in, 9) };
    must(oxi_io_start(e->dp, is_rare(in) ? NULL : &conf, &err) < 0, "nothing starts without descriptors");
    return oxi_io_stop(e->dp);
}

static int op_new(world *w, end *e, input *in)
{
    (void)w;
    (void)e;
    oxi_conf conf = { .peers_max = pick(in, 3),
                      .workers = is_rare(in) ? pick(in, 20) : 1,
                      .routes_max = pick(in, 16),
                      .pool_pkts = is_rare(in) ? pick(in, 8192) : 256,
                      .mtu_bytes = is_rare(in) ? pick(in, 9000) : 1280,
                      .rekey_packets = input_number(in, 4),
                      .key_packets_max = input_number(in, 4),
                      .key_age_ns_max = pick_time(in) };
    conf.flows = is_rare(in) ? pick(in, OXI_HDR_FLOWS_MAX) : 0;
    conf.headers = is_rare(in) ? pick(in, OXI_HEADERS_ALL) : 0;
    conf.compress_payload = is_rare(in) ? pick(in, 1) : 0;
    conf.order = is_rare(in) ? pick(in, 2) : 0;
    conf.repair_bytes = is_rare(in) ? pick(in, 2) * 65536 : 0;
    conf.hold_ns[input_number(in, 1) % OXI_CLASSES] = is_rare(in) ? input_number(in, 4) : 0;
    oxi_dp *dp = conf.peers_max > 4 && conf.peers_max <= OXI_PEERS_LIMIT ? NULL : oxi_dp_new(&conf);
    oxi_dp_free(dp);
    return oxi_peer_remove(NULL, 0);
}

static op *const OPS[] = {
    op_peer_add,  op_peer_timers,     op_peer_remove,   op_routes_set,   op_path_set,   op_session_install,
    op_stats,     op_session_send,    op_epoch_install, op_epoch_send,   op_ping,       op_session_drop,
    op_time,      op_events,          op_inner_push,    op_path_payload,  op_carry,      op_carry,
    op_deliver,   op_control,         op_io,            op_new,          op_flow_push,  op_flow_push,
    op_oracle_ask, op_oracle_learn,   op_oracle_set,    op_compression_set, op_compression_stats,
    op_flows,     op_repair_set,      op_repair_wish,   op_repair_stats,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static world w;
    input in = { data, size };
    ways how = ways_of(size ? data[size - 1] & 0x3f : 0);
    how.has_order = size && data[size - 1] & 0x40;
    how.repair = size && data[size - 1] & 0x80 ? OXI_REPAIR_AUTO : OXI_REPAIR_OFF;
    w.flows = (flows_made){ 0 };
    w.ticket = (oxi_oracle_ticket){ 0 };
    ends_open(&w.ends[0], &w.ends[1], OXI_SUITE_AES256GCM, &how);
    w.now_ns = w.ends[0].now_ns;
    for (uint32_t i = 0; i < OPS_MAX && in.left; i++) {
        uint8_t which = (uint8_t)input_number(&in, 1);
        end *e = &w.ends[which & 1];
        int result = OPS[(which >> 1) % (sizeof OPS / sizeof OPS[0])](&w, e, &in);
        must(result >= OXI_E_CRYPTO && result <= OXI_BATCH_MAX, "an error code or a count");
        sums_must_hold(e);
    }
    for (uint32_t i = 0; i < 2; i++) {
        w.ends[i].now_ns = w.now_ns;
        drain(&w.ends[i]);
        end_close(&w.ends[i]);
    }
    return 0;
}
