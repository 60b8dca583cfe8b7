/* support.c - see support.h. */
#include "support.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t SECOND = 1000000000ULL;

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

void end_open(end *e, bool is_left, uint8_t suite)
{
    const oxi_conf conf = { .peers_max = 2,
                            .workers = 1,
                            .routes_max = 16,
                            .pool_pkts = POOL_PKTS,
                            .mtu_bytes = KEEP_MTU,
                            .rekey_packets = 1 << 20,
                            .key_packets_max = 1 << 21,
                            .key_age_ns_max = 600 * SECOND };
    *e = (end){ .dp = oxi_dp_new(&conf), .now_ns = SECOND, .suite = suite, .is_left = is_left };
    must(e->dp != NULL, "a plane can be made");
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
    memcpy(s.rx_key, e->rx_key, OXI_KEY_BYTES);
    memcpy(s.tx_key, e->tx_key, OXI_KEY_BYTES);
    e->tx_index = tx_index;
    oxi_addr to = address_of(e->is_left ? 2 : 1, 443);
    must(oxi_session_install(e->dp, e->now_ns, e->peer, &s) == OXI_OK, "a session starts");
    must(oxi_path_set(e->dp, e->peer, 0, &to, ROOM) == OXI_OK, "a path is set");
    must(oxi_routes_set(e->dp, e->is_left ? behind_right : behind_left, 2) == OXI_OK, "routes are set");
}

void ends_open(end *left, end *right, uint8_t suite)
{
    end_open(left, true, suite);
    end_open(right, false, suite);
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
    must(st.outer_out_datagrams == st.own_out_datagrams + st.inner_sent_packets,
         "datagrams sent = our own + those with an inner packet");
}

void drain(end *e)
{
    static uint8_t buf[OXI_BATCH_MAX][ROOM];
    static uint32_t len[OXI_BATCH_MAX], peer[OXI_BATCH_MAX];
    static oxi_addr to[OXI_BATCH_MAX];
    static oxi_event events[OXI_BATCH_MAX];
    int n;
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
