/* stages.c - how long each stage and each operation of the core takes per packet, without system calls.
 *
 * Two planes in one process; batches of 64 go out of one and into the other, and a clock is read between
 * stages. Prints lines `name nanoseconds-per-packet`; test_bench_plane.py builds and runs it. */
#include "bench.h"

#include "../../native/core/checksum.h"
#include "../../native/core/stages.h"
#include "../../native/core/wire.h"
#include "../../native/io/crypto.h"

enum { BATCHES = 300, ROUTES = 1000, OPS = 200000, SUPER_SEGMENTS = 40 };

static uint64_t clock_ns(void) { return clock_of(CLOCK_MONOTONIC); }

static void print(const char *name, const char *what, uint64_t ns, uint64_t count)
{
    printf("%-28s %8.1f ns/packet  %s\n", name, (double)ns / (double)count, what);
}

static dp *plane_new(void)
{
    dp *d = calloc(1, sizeof *d);
    const oxi_conf conf = { .peers_max = 4, .routes_max = ROUTES + 2, .pool_pkts = 512, .mtu_bytes = 1420,
                            .rekey_packets = 1ULL << 28, .key_packets_max = 1ULL << 28,
                            .key_age_ns_max = UINT64_MAX, .order = 1 };
    if (!d || !dp_init(d, &conf, crypto_library(OXI_AEAD_AUTO)))
        abort();
    return d;
}

/* The peer, its path, and many prefixes beside the one that is used. */
static void plane_fill(dp *d, uint8_t suite, bool is_left)
{
    uint32_t number;
    static oxi_prefix rows[ROUTES + 1];
    if (peer_add(d, 0, NS_PER_S, is_left, &number) != OXI_OK)
        abort();
    for (uint32_t i = 0; i < ROUTES; i++) {
        rows[i] = (oxi_prefix){ .family = OXI_AF_INET, .bits = 24, .peer = number };
        store_be32(rows[i].ip, (11u << 24) + (i << 8));
    }
    rows[ROUTES] = (oxi_prefix){ .family = OXI_AF_INET, .bits = 32, .peer = number };
    store_be32(rows[ROUTES].ip, (10u << 24) + (is_left ? 2 : 1));
    if (peers_routes_set(d, rows, ROUTES + 1) != OXI_OK)
        abort();
    oxi_session s = { .rx_index = is_left ? 1 : 2, .tx_index = is_left ? 2 : 1, .suite = suite };
    s.may_send = 1;
    memset(is_left ? s.tx_key : s.rx_key, 7, 32);
    if (peer_session_install(d, 1, &d->peers[number], &s) != OXI_OK)
        abort();
    d->peers[number].paths[0].addr = (oxi_addr){ .family = OXI_AF_INET, .port = 1, .ip = { 127, 0, 0, 1 } };
    d->peers[number].paths[0].payload_max = 1444;
}

/* A TCP super-packet of a batch's worth of segments, as the TUN gives it: `len` bytes each. */
static uint32_t super_make(uint8_t *out, uint32_t len, oxi_super *how)
{
    static const uint8_t head[40] = { 0x45, [6] = 0x40, [8] = 64, 6, [12] = 10, 0, 0, 1, 10, 0, 0, 2,
                                      [32] = 0x50, 0x10, 1 };
    uint32_t segment = len - (uint32_t)sizeof head;
    uint32_t fitting = (OXI_SUPER_MAX - 100) / segment;
    uint32_t count = fitting < SUPER_SEGMENTS ? fitting : SUPER_SEGMENTS;
    uint32_t total = (uint32_t)sizeof head + count * segment;
    memset(out, 0x5a, total);
    memcpy(out, head, sizeof head);
    store_be16(out + 2, (uint16_t)total);
    sum_store(out + 36, sum_fold(sum_pseudo(out + 12, false, 6, total - 20)));
    *how = (oxi_super){ .kind = OXI_SUPER_TCP4, .needs_csum = 1, .segment_bytes = (uint16_t)segment,
                        .csum_start = 20, .csum_offset = 16 };
    return total;
}

/* What left `from` comes into `to`, as the kernel would copy it. */
static void cross(dp *from, dp *to, batch *b)
{
    pkt *p;
    while ((p = fifo_take(&from->outbox))) {
        pkt *q = pool_take(&to->pool);
        memcpy(pkt_data(q), pkt_data(p), p->len);
        q->len = p->len;
        q->addr = p->addr;
        batch_add(b, q);
        dp_sent(from, p, false);
    }
}

static void times_print(const dp *d, uint32_t which, const char *way, const stage *stages, uint32_t count,
                        uint32_t len, const char *what)
{
    char name[64];
    for (uint32_t i = 0; i < count; i++) {
        snprintf(name, sizeof name, "%s/%s/%u", way, stages[i].name, len);
        print(name, what, d->times[which][i].ns, d->times[which][i].packets);
    }
}

static void paths(uint8_t suite, uint32_t len, const char *what)
{
    static uint8_t super[OXI_SUPER_MAX];
    oxi_super how;
    uint32_t super_bytes = super_make(super, len, &how);
    dp *left = plane_new(), *right = plane_new();
    plane_fill(left, suite, true);
    plane_fill(right, suite, false);
    left->timing_clock = right->timing_clock = clock_ns;
    right->offload = OXI_OFFLOAD_ALL;
    uint64_t split_ns = 0, header_ns = 0, supers = 0;
    for (uint64_t turn = 0; turn < BATCHES; turn++) {
        batch b = { .now_ns = NS_PER_S + turn };
        batch c = b;
        split s;
        uint64_t before = clock_ns();
        if (!split_begin(&s, super, super_bytes, &how))
            abort();
        path_out_take(left, &s, &b);
        split_ns += clock_ns() - before;
        path_out_run(left, &b);
        cross(left, right, &c);
        path_in_run(right, &c);
        merge_flush(right);
        pkt *p;
        for (uint8_t header[SUPER_HEADER_MAX]; (p = fifo_take(&right->inbox)); supers++) {
            before = clock_ns();
            merge_header(p, header, &how);
            header_ns += clock_ns() - before;
            for (pkt *next; p; p = next) {
                next = p->chain.next;
                dp_delivered(right, p);
            }
        }
    }
    uint64_t packets = right->stats.inner_out_packets;
    if (packets != left->stats.inner_in_packets || supers != BATCHES)
        abort();
    times_print(left, OXI_TIMES_OUT, "out", PATH_OUT, PATH_OUT_COUNT, len, what);
    times_print(right, OXI_TIMES_IN, "in", PATH_IN, PATH_IN_COUNT, len, what);
    char name[64];
    snprintf(name, sizeof name, "op/split/%u", len);
    print(name, "cut a super-packet, checksums", split_ns, packets);
    snprintf(name, sizeof name, "op/merge_header/%u", len);
    print(name, "header of a super-packet, per packet in it", header_ns, packets);
    dp_release(left);
    dp_release(right);
    free(left);
    free(right);
}

/* Batches of one bulk flow in order: on a path too near for it, and where it is kept. */
static void orders(bool is_near)
{
    static const uint8_t head[40] = { 0x45, [2] = 1420 >> 8, 1420 & 0xff, [8] = 64, 6, [12] = 10, 0, 0, 1,
                                      10, 0, 0, 2, [32] = 0x50, 0x10, 1 };
    enum { LEN = 1420 };
    dp *d = plane_new();
    plane_fill(d, OXI_SUITE_AES256GCM, true);
    peer *pr = &d->peers[0];
    pr->paths[0].stats.rtt_ns = is_near ? NS_PER_MS : 50 * NS_PER_MS;
    batch b = { .now_ns = NS_PER_S };
    for (uint32_t i = 0; i < OXI_BATCH_MAX; i++) {
        pkt *p = pool_take(&d->pool);
        memcpy(pkt_data(p), head, sizeof head);
        p->len = LEN;
        p->session = pr->current;
        batch_add(&b, p);
    }
    uint64_t spent_ns = 0;
    uint32_t seq = 0;
    for (uint64_t pn = 0; pn < OPS;) {
        for (uint32_t i = 0; i < b.count; i++, seq += LEN - (uint32_t)sizeof head) {
            b.pkts[i]->pn = pn++;
            store_be32(pkt_data(b.pkts[i]) + 24, seq);
        }
        uint64_t before = clock_ns();
        order_batch(d, &b);
        spent_ns += clock_ns() - before;
    }
    print(is_near ? "op/order/near" : "op/order/far", "one TCP flow, nothing missing", spent_ns, OPS);
    dp_release(d);
    free(d);
}

/* Packets of many flows in turn, so that none is that of the packet before. */
static void flows_time(dp *d, uint32_t flows, const char *name)
{
    pkt *p = pool_take(&d->pool);
    uint8_t *data = pkt_data(p);
    static const uint8_t head[28] = { 0x45, [2] = 5, 0x78, [8] = 64, 17, [12] = 10, 0, 0, 1, 10, 0, 0, 2 };
    memset(data, 0, 1400);
    memcpy(data, head, sizeof head);
    p->len = 1400;
    uint32_t changes = 0;
    uint64_t sum = 0, before = clock_ns();
    for (uint32_t i = 0; i < OPS; i++) {
        store_be16(data + 20, (uint16_t)(1 + i * 40503u % flows));
        sum += flows_note(&d->flows, 5, p, NS_PER_S + i * 1000ull, &changes);
    }
    print(name, "count a packet and tell its class", clock_ns() - before, OPS);
    printf("sum %llu\n", (unsigned long long)(sum + changes));
    pool_give(&d->pool, p);
}

static void operations(void)
{
    static replay r;
    uint64_t sum = 0, before = clock_ns();
    for (uint64_t pn = 0; pn < OPS; pn++) {
        sum += replay_check(&r, pn);
        replay_mark(&r, pn);
    }
    print("op/replay", "check and mark, in order", clock_ns() - before, OPS);
    orders(true);
    orders(false);
    before = clock_ns();
    for (uint32_t i = 0; i < OPS; i++)
        sum += pn_expand(((uint64_t)i << 20) + 5, i * 2654435761u);
    print("op/pn_expand", "", clock_ns() - before, OPS);
    dp *d = plane_new();
    plane_fill(d, OXI_SUITE_AES256GCM, true);
    uint8_t ip[4] = { 11 };
    before = clock_ns();
    for (uint32_t i = 0; i < OPS; i++) {
        store_be16(ip + 1, (uint16_t)(i * 40503u % (ROUTES * 2)));
        sum += (uint32_t)routes_find(&d->routes[d->routes_live], false, ip);
    }
    print("op/routes_find", "1000 prefixes, half of the look-ups fail", clock_ns() - before, OPS);
    session s = { .rx_index = 1 };
    s.paths[0].rx = r;
    s.paths[0].opened = OPS;
    uint8_t ack[ACK_ALONE_MAX];
    before = clock_ns();
    for (uint32_t i = 0; i < OPS / 100; i++)
        sum += ack_write(&s, 0, i, ack, sizeof ack);
    print("op/ack_write", "2048 numbers without a gap", clock_ns() - before, OPS / 100);
    printf("sum %llu\n", (unsigned long long)sum); /* so that nothing is left out */
    flows_time(d, 1, "op/flows_note/1");
    flows_time(d, 500, "op/flows_note/500");
    flows_time(d, 5000, "op/flows_note/5000");
    dp_release(d);
    free(d);
}

int main(void)
{
    paths(OXI_SUITE_AES256GCM, 1420, "aes-256-gcm");
    paths(OXI_SUITE_AES256GCM, 100, "aes-256-gcm");
    paths(OXI_SUITE_CHACHA20POLY1305, 1420, "chacha20-poly1305");
    operations();
    return 0;
}
