/* support.c - see support.h. */
#include "support.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t SECOND = 1000000000ULL;
enum { REPAIR_BYTES = 65536 };

void must(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "invariant broken: %s\n", what);
    abort();
}

uint64_t input_number(input *in, uint32_t bytes)
{
    uint64_t value = 0;
    for (uint32_t i = 0; i < bytes; i++) {
        value = value << 8 | (in->left ? *in->at : 0);
        if (in->left) {
            in->at++;
            in->left--;
        }
    }
    return value;
}

uint32_t input_copy(input *in, uint8_t *out, size_t max)
{
    size_t n = in->left < max ? in->left : max;
    if (n)
        memcpy(out, in->at, n);
    in->at += n;
    in->left -= n;
    return (uint32_t)n;
}

oxi_addr address_of(uint8_t host, uint16_t port)
{
    return (oxi_addr){ .ip = { 192, 0, 2, host }, .port = port, .family = OXI_AF_INET };
}

ways ways_of(uint8_t bits)
{
    ways w = { .has_payload = bits & 4, .has_bundles = bits & 8, .all_headers = bits & 2 };
    w.flows = !(bits & 1) ? 0 : bits & 2 ? 4 : 64;
    w.hold_ns[OXI_CLASS_VOIP] = bits & 16 ? 2 * SECOND / 1000 : 0;
    w.hold_ns[OXI_CLASS_GAMING] = bits & 16 ? SECOND / 1000 : 0;
    for (uint32_t i = OXI_CLASS_WEB; i < OXI_CLASSES; i++)
        w.hold_ns[i] = bits & 32 ? SECOND / 2000 : 0;
    return w;
}

/* Every dictionary has a port. */
static void rules_set(const end *e)
{
    oxi_lz_rule rules[2 * WAYS_RULES];
    uint32_t count = 0;
    for (uint16_t i = 0; i < WAYS_RULES; i++) {
        rules[count++] = (oxi_lz_rule){ (uint16_t)(WAYS_PORT + i), 17, (uint8_t)(i + 1) };
        rules[count++] = (oxi_lz_rule){ (uint16_t)(WAYS_PORT + i), 6, (uint8_t)i };
    }
    must(oxi_compression_set(e->dp, rules, count) == OXI_OK, "the rules are good");
}

void end_open(end *e, bool is_left, uint8_t suite, const ways *how)
{
    const ways none = { 0 };
    const ways *w = how ? how : &none;
    oxi_conf conf = { .peers_max = 2,
                      .workers = 1,
                      .routes_max = 16,
                      .pool_pkts = POOL_PKTS,
                      .mtu_bytes = w->mtu_bytes ? w->mtu_bytes : KEEP_MTU,
                      .rekey_packets = 1 << 20,
                      .key_packets_max = 1 << 21,
                      .key_age_ns_max = 600 * SECOND,
                      .flows = w->flows,
                      .headers = w->all_headers ? OXI_HEADERS_ALL : OXI_HEADERS_AUTO,
                      .compress_payload = w->has_payload,
                      .order = w->has_order,
                      .repair_bytes = w->repair ? REPAIR_BYTES : 0 };
    memcpy(conf.hold_ns, w->hold_ns, sizeof conf.hold_ns);
    *e = (end){ .dp = oxi_dp_new(&conf), .now_ns = SECOND, .suite = suite, .is_left = is_left,
                  .how = *w };
    must(e->dp != NULL, "a plane can be made");
    if (w->has_payload)
        rules_set(e);
    const oxi_repair_conf repair = { .mode = w->repair, .overhead_permille = 1000,
                                     .overhead_ordered_permille = 500 };
    must(oxi_repair_set(e->dp, &repair) == OXI_OK, "repair is set");
    must(oxi_peer_add(e->dp, 0, 5 * SECOND, is_left, &e->peer) == OXI_OK, "a peer can be added");
    must(oxi_index_pick(e->dp, 0x123456, &e->rx_index) == OXI_OK, "an index is free");
    for (uint32_t i = 0; i < OXI_KEY_BYTES; i++) {
        e->rx_key[i] = (uint8_t)(i + (is_left ? 1 : 101));
        e->tx_key[i] = (uint8_t)(i + (is_left ? 101 : 1));
    }
}

void end_connect(end *e, uint32_t tx_index)
{
    const oxi_prefix behind_left[] = { { .ip = { 10 }, .family = OXI_AF_INET, .bits = 8 },
                                       { .ip = { 0xfd }, .family = OXI_AF_INET6, .bits = 8 } };
    const oxi_prefix behind_right[] = { { .ip = { 172, 16 }, .family = OXI_AF_INET, .bits = 12 },
                                        { .ip = { 0xfe, 0x80 }, .family = OXI_AF_INET6, .bits = 10 } };
    oxi_session s = { .rx_index = e->rx_index, .tx_index = tx_index, .suite = e->suite, .may_send = 1 };
    s.may_bundle = e->how.has_bundles;
    s.tx_flows = s.rx_flows = e->how.flows;
    s.tx_payload = s.rx_payload = e->how.has_payload;
    memcpy(s.rx_key, e->rx_key, OXI_KEY_BYTES);
    memcpy(s.tx_key, e->tx_key, OXI_KEY_BYTES);
    e->tx_index = tx_index;
    oxi_addr to = address_of(e->is_left ? 2 : 1, 443);
    must(oxi_session_install(e->dp, e->now_ns, e->peer, &s) == OXI_OK, "a session starts");
    must(oxi_path_set(e->dp, e->peer, 0, &to, ROOM) == OXI_OK, "a path is set");
    must(oxi_routes_set(e->dp, e->is_left ? behind_right : behind_left, 2) == OXI_OK, "routes are set");
}

void ends_open(end *left, end *right, uint8_t suite, const ways *how)
{
    end_open(left, true, suite, how);
    end_open(right, false, suite, how);
    end_connect(left, right->rx_index);
    end_connect(right, left->rx_index);
}

void end_close(end *e)
{
    oxi_dp_free(e->dp);
    e->dp = NULL;
}

uint32_t seal_to(const end *e, uint8_t path, uint64_t pn, const uint8_t *frames, uint32_t len, uint8_t *out)
{
    uint8_t nonce[12] = { 0 };
    nonce[3] = path;
    for (uint32_t i = 0; i < 8; i++)
        nonce[4 + i] = (uint8_t)(pn >> (56 - 8 * i));
    out[0] = (uint8_t)(path << 2);
    for (uint32_t i = 0; i < 3; i++)
        out[1 + i] = (uint8_t)(e->rx_index >> (16 - 8 * i));
    memcpy(out + 4, nonce + 8, 4);
    bool is_aes = e->suite == OXI_SUITE_AES256GCM;
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    int n = 0;
    const EVP_CIPHER *cipher = is_aes ? EVP_aes_256_gcm() : EVP_chacha20_poly1305();
    bool is_ok = c && EVP_EncryptInit_ex(c, cipher, NULL, e->rx_key, nonce) == 1;
    is_ok = is_ok && EVP_EncryptUpdate(c, NULL, &n, out, HEAD_BYTES) == 1;
    is_ok = is_ok && EVP_EncryptUpdate(c, out + HEAD_BYTES, &n, frames, (int)len) == 1;
    is_ok = is_ok && EVP_EncryptFinal_ex(c, out + HEAD_BYTES + len, &n) == 1;
    is_ok = is_ok && EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, 16, out + HEAD_BYTES + len) == 1;
    must(is_ok, "OpenSSL seals");
    EVP_CIPHER_CTX_free(c);
    return HEAD_BYTES + len + 16;
}

/* ---- packets of flows ---- */

static void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static void put32(uint8_t *at, uint32_t value)
{
    put16(at, value >> 16);
    put16(at + 2, value);
}

/* Returns how long the IP header is. */
static uint32_t flow_ip(uint8_t *p, bool is_v6, bool to_right, uint8_t protocol, uint32_t n)
{
    uint8_t *source = p + (is_v6 ? 8 : 12), *target = p + (is_v6 ? 24 : 16);
    uint8_t *left = to_right ? source : target, *right = to_right ? target : source;
    p[0] = is_v6 ? 0x60 : 0x45;
    p[1] = is_v6 ? 0 : (uint8_t)(n / 16 % 2 ? 0xb8 : 0);
    p[is_v6 ? 6 : 9] = protocol;
    p[is_v6 ? 7 : 8] = 64;
    if (!is_v6)
        put16(p + 4, n);
    left[0] = is_v6 ? 0xfd : 10;
    right[0] = is_v6 ? 0xfe : 172;
    right[1] = is_v6 ? 0x80 : 16;
    return is_v6 ? 40 : 20;
}

/* The header behind that of IP; returns how long it is. */
static uint32_t flow_l4(uint8_t *p, uint32_t kind, uint32_t flow, uint32_t n)
{
    uint32_t port = WAYS_PORT + flow % WAYS_RULES;
    put16(p, kind == 3 ? 0 : flow & 1 ? port : 40000);
    put16(p + 2, kind == 3 ? flow : flow & 1 ? 40000 : port);
    if (kind == 3) {
        put32(p + 4, n);
        return 8;
    }
    if (kind == 2) {
        put32(p + 4, n * 400);
        put32(p + 8, 77);
        p[12] = 0x50;
        p[13] = 0x10;
        put16(p + 14, 5000);
        return 20;
    }
    if (kind == 0)
        return 8;
    p[8] = 0x80;
    put16(p + 10, n);
    put32(p + 12, n * 160);
    put32(p + 16, 0x5eed0000 + flow);
    return 20;
}

/* Lengths, and the checksum of an IPv4 header. */
static void flow_finish(uint8_t *p, uint32_t ip_bytes, uint32_t kind, uint32_t len)
{
    if (kind < 2)
        put16(p + ip_bytes + 4, len - ip_bytes);
    if (ip_bytes == 40) {
        put16(p + 4, len - 40);
        return;
    }
    put16(p + 2, len);
    put16(p + 10, 0);
    uint32_t sum = 0;
    for (uint32_t i = 0; i < 20; i += 2)
        sum += (uint32_t)(p[i] << 8 | p[i + 1]);
    sum = (sum & 0xffff) + (sum >> 16);
    put16(p + 10, ~((sum & 0xffff) + (sum >> 16)));
}

uint32_t flow_packet(flows_made *f, input *in, bool to_right, uint8_t *out)
{
    static const uint8_t PROTOCOLS[] = { 17, 17, 6, 50 };
    uint32_t size = (uint32_t)input_number(in, 1);
    if (size < 0x60)
        f->shape[to_right] = (uint32_t)input_number(in, 1);
    uint32_t shape = f->shape[to_right];
    uint32_t flow = shape & 3, kind = shape >> 2 & 3;
    uint32_t n = ++f->count[flow + (to_right ? 0 : FLOWS_MADE)];
    memset(out, 0, FLOW_PACKET_MAX);
    uint32_t ip_bytes = flow_ip(out, shape & 16, to_right, PROTOCOLS[kind], n);
    uint32_t at = ip_bytes + flow_l4(out + ip_bytes, kind, flow, n);
    uint32_t payload = size % 8 == 7 ? size * 2 : size / 2, text_len;
    const uint8_t *text = oxi_lz_text(1 + (shape >> 5) % WAYS_RULES, &text_len);
    memcpy(out + at, text + n * 97 % (text_len - payload), payload);
    if ((shape >> 5) == 7) { /* a field that does not follow */
        uint8_t *changed = out + (input_number(in, 1) % (at - ip_bytes) + ip_bytes);
        *changed ^= (uint8_t)input_number(in, 1);
        if (kind == 2)
            out[ip_bytes + 13] &= (uint8_t)~2; /* of a SYN the MSS may change */
    }
    if ((shape >> 5) == 6)
        out[ip_bytes == 40 ? 7 : 8] ^= (uint8_t)input_number(in, 1);
    flow_finish(out, ip_bytes, kind, at + payload);
    return at + payload;
}

oxi_stats stats_of(const end *e)
{
    oxi_stats st;
    must(oxi_stats_read(e->dp, &st) == OXI_OK, "counters can be read");
    return st;
}

uint64_t drops_of(const oxi_stats *st, uint32_t dir)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < OXI_DROPS_MAX; i++) {
        must(st->drops[dir][i] == 0 || oxi_drop_name(i) != NULL, "every drop has a name");
        sum += st->drops[dir][i];
    }
    return sum;
}

void sums_must_hold(const end *e)
{
    oxi_stats st = stats_of(e);
    must(st.inner_in_packets ==
             st.inner_sent_packets + drops_of(&st, OXI_DIR_OUT) + st.inner_held_packets,
         "inner packets taken = sent + dropped + held");
    must(st.outer_in_datagrams ==
             st.control_in_datagrams + st.opened_datagrams + drops_of(&st, OXI_DIR_IN_DATAGRAM),
         "datagrams taken = control + opened + dropped");
    must(st.found_packets ==
             st.inner_out_packets + drops_of(&st, OXI_DIR_IN_PACKET) + st.deliver_held_packets,
         "packets found = delivered + dropped + held");
    must(st.outer_out_datagrams ==
             st.own_out_datagrams + st.inner_sent_packets - st.bundled_out_packets + st.bundles_out,
         "datagrams sent = our own + those with an inner packet");
}

void drain(end *e)
{
    static uint8_t buf[OXI_BATCH_MAX][ROOM];
    static uint32_t len[OXI_BATCH_MAX], peer[OXI_BATCH_MAX];
    static oxi_addr to[OXI_BATCH_MAX];
    static oxi_event events[OXI_BATCH_MAX];
    int n;
    const oxi_repair_conf off = { .mode = OXI_REPAIR_OFF };
    must(oxi_repair_set(e->dp, &off) == OXI_OK, "repair ends at any time");
    uint32_t is_holding = e->how.hold_ns[OXI_CLASS_VOIP] || e->how.hold_ns[OXI_CLASS_WEB];
    if (is_holding && e->now_ns < UINT64_MAX - SECOND)
        oxi_tick(e->dp, e->now_ns += SECOND / 100);
    if (e->how.has_order && e->now_ns < UINT64_MAX - SECOND)
        oxi_tick(e->dp, e->now_ns += ORDER_NS_MAX);
    while (oxi_outer_pop(e->dp, buf[0], ROOM, len, to, OXI_BATCH_MAX) > 0)
        ;
    while (oxi_carrier_pop(e->dp, buf[0], ROOM, len, peer, OXI_BATCH_MAX) > 0)
        ;
    while (oxi_inner_pop(e->dp, buf[0], ROOM, len, peer, OXI_BATCH_MAX) > 0)
        ;
    while (oxi_control_pop(e->dp, buf[0], ROOM, len, to, OXI_BATCH_MAX) > 0)
        ;
    while (oxi_event_pop(e->dp, events, OXI_BATCH_MAX) > 0)
        ;
    sums_must_hold(e);
    oxi_stats st = stats_of(e);
    must(st.inner_held_packets == 0 && st.deliver_held_packets == 0, "nothing is held after a drain");
    /* The tick tells what is free; what it sent itself still waits to be taken. */
    oxi_tick(e->dp, e->now_ns);
    st = stats_of(e);
    n = oxi_outer_pop(e->dp, buf[0], ROOM, len, to, OXI_BATCH_MAX);
    must(st.pool_free_pkts + (uint64_t)n == POOL_PKTS, "every packet is back in the pool");
}
