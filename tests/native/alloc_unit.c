/* alloc_unit.c - the packet path allocates nothing once it has started and a session is installed.
 *
 * malloc and its kin are ours here, for libcrypto too, and count while they are watched. Two planes: first
 * the core alone, then with their threads over loopback sockets and socket pairs in place of the TUN devices.
 * Built with the whole of native/ and run by test_alloc.py; exits 0 when all holds. */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "../../native/boundary_lz.h"
#include "../../native/core/checksum.h"
#include "../../native/core/l4.h"
#include "../../native/core/aead_library.h"
#include "../../native/core/stages.h"
#include "oxi.h"

enum { TURNS = 300, SEGMENTS = 40, SEGMENT_BYTES = 1300, IO_TURNS = 100 };
enum { SO_UDP_GRO = 104, SYSLOG_PORT = 514 };

#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x)) {                                                                                \
            watch(false);                                                                          \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #x);                 \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* ---- the allocator ---- */

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *at, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);
void __libc_free(void *at);

static bool is_watched;
static uint64_t calls_counted;

static void watch(bool is_on) { __atomic_store_n(&is_watched, is_on, __ATOMIC_SEQ_CST); }

static void note(void)
{
    if (__atomic_load_n(&is_watched, __ATOMIC_RELAXED))
        __atomic_add_fetch(&calls_counted, 1, __ATOMIC_RELAXED);
}

void *malloc(size_t bytes)
{
    note();
    return __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes)
{
    note();
    return __libc_calloc(count, bytes);
}

void *realloc(void *at, size_t bytes)
{
    note();
    return __libc_realloc(at, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    note();
    return __libc_memalign(alignment, bytes);
}

int posix_memalign(void **out, size_t alignment, size_t bytes)
{
    note();
    *out = __libc_memalign(alignment, bytes);
    return *out ? 0 : ENOMEM;
}

void free(void *at)
{
    if (at)
        note();
    __libc_free(at);
}

static uint64_t counted(void) { return __atomic_exchange_n(&calls_counted, 0, __ATOMIC_SEQ_CST); }

/* ---- two planes ---- */

static const oxi_conf CONF = { .workers = 1, .peers_max = 4, .routes_max = 16, .pool_pkts = 512,
                               .mtu_bytes = 1420, .flows = 16, .headers = OXI_HEADERS_ALL,
                               .compress_payload = 1, .order = 1, .hold_ns = { NS_PER_MS, NS_PER_MS, 0 },
                               .rekey_packets = 1ULL << 26, .key_packets_max = 1ULL << 28,
                               .key_age_ns_max = UINT64_MAX };

/* The left one has 10.0.0.1 behind it, the right one 10.0.0.2. */
static oxi_session session_of(bool is_left, uint8_t suite)
{
    oxi_session s = { .rx_index = is_left ? 1 : 2, .tx_index = is_left ? 2 : 1, .suite = suite };
    s.may_send = s.may_bundle = s.tx_payload = s.rx_payload = 1;
    s.tx_flows = s.rx_flows = 16;
    memset(s.rx_key, is_left ? 7 : 9, sizeof s.rx_key);
    memset(s.tx_key, is_left ? 9 : 7, sizeof s.tx_key);
    return s;
}

static oxi_prefix route_of(bool is_left)
{
    return (oxi_prefix){ .family = OXI_AF_INET, .bits = 32, .ip = { 10, 0, 0, is_left ? 2 : 1 } };
}

/* A super-packet of SEGMENTS segments to the right plane, or to the left one. Returns its length. */
static uint32_t super_make(uint8_t *out, bool is_left, bool is_udp, uint32_t seq, oxi_super *how)
{
    uint32_t head = IPV4_HEADER + (is_udp ? UDP_HEADER : TCP_HEADER);
    uint32_t total = head + SEGMENTS * SEGMENT_BYTES;
    memset(out, 0, head);
    memset(out + head, (uint8_t)seq, total - head);
    out[0] = 0x45;
    store_be16(out + 2, (uint16_t)total);
    out[6] = 0x40;
    out[8] = 64;
    out[9] = is_udp ? L4_UDP : L4_TCP;
    out[12] = out[16] = 10;
    out[15] = is_left ? 1 : 2;
    out[19] = is_left ? 2 : 1;
    if (!is_udp) {
        store_be32(out + 24, seq);
        out[32] = 0x50;
        out[33] = TCP_ACK;
    }
    uint16_t at = is_udp ? UDP_CHECKSUM_AT : TCP_CHECKSUM_AT;
    sum_store(out + IPV4_HEADER + at, sum_fold(sum_pseudo(out + 12, false, out[9], total - IPV4_HEADER)));
    *how = (oxi_super){ .kind = is_udp ? OXI_SUPER_UDP : OXI_SUPER_TCP4, .needs_csum = 1,
                        .segment_bytes = SEGMENT_BYTES, .csum_start = IPV4_HEADER, .csum_offset = at };
    return total;
}

/* ---- the core alone ---- */

static dp *core_new(bool is_left, uint8_t suite)
{
    dp *d = calloc(1, sizeof *d);
    uint32_t number;
    oxi_prefix route = route_of(is_left);
    oxi_session s = session_of(is_left, suite);
    const oxi_lz_rule rule = { SYSLOG_PORT, L4_UDP, 2 };
    const lz_indexes *indexes = lz_indexes_shared();
    CHECK(d && indexes && dp_init(d, &CONF, &AEAD_OPENSSL));
    lz_init(d->compressor.lz, indexes);
    CHECK(lz_policy_set(&d->compressor.policy, &rule, 1));
    CHECK(peer_add(d, NS_PER_S, 5 * NS_PER_S, is_left, &number) == OXI_OK);
    CHECK(peers_routes_set(d, &route, 1) == OXI_OK);
    CHECK(peer_session_install(d, 1, &d->peers[number], &s) == OXI_OK);
    d->peers[number].paths[0].addr = (oxi_addr){ .family = OXI_AF_INET, .port = 1, .ip = { 127, 0, 0, 1 } };
    d->peers[number].paths[0].payload_max = 1444;
    d->offload = OXI_OFFLOAD_ALL;
    return d;
}

static void super_push(dp *d, uint64_t now_ns, const uint8_t *data, uint32_t len, const oxi_super *how)
{
    split s;
    if (!split_begin(&s, data, len, how)) {
        drop_untaken(d, OXI_DIR_OUT, DROP_BAD_SUPER, len);
        return;
    }
    while (split_peek(&s) > 0) {
        batch b = { .now_ns = now_ns };
        path_out_take(d, &s, &b);
        path_out_run(d, &b);
    }
}

static void inbox_take(dp *d)
{
    static uint8_t header[SUPER_HEADER_MAX];
    oxi_super how;
    pkt *p;
    merge_flush(d);
    while ((p = fifo_take(&d->inbox))) {
        merge_header(p, header, &how);
        for (pkt *next; p; p = next) {
            next = p->chain.next;
            dp_delivered(d, p);
        }
    }
}

/* What left `from` comes into `to`; one in eight comes twice, broken the second time or not. */
static void cross(dp *from, dp *to, uint64_t now_ns)
{
    batch b = { .now_ns = now_ns };
    pkt *p;
    for (uint32_t n = 0; (p = fifo_take(&from->outbox)); n++) {
        for (uint32_t copies = n % 8 ? 1 : 2; copies > 0; copies--) {
            pkt *q = pool_take(&to->pool);
            CHECK(q != NULL);
            memcpy(pkt_data(q), pkt_data(p), p->len);
            q->len = p->len;
            q->addr = p->addr;
            if (copies == 2 && n % 16)
                pkt_data(q)[p->len - 1] ^= 1;
            batch_add(&b, q);
            if (b.count == OXI_BATCH_MAX)
                path_in_run(to, &b);
            if (to->pool.free_count < POOL_RESERVE)
                inbox_take(to);
        }
        dp_sent(from, p, false);
    }
    path_in_run(to, &b);
}

static void core_turn(dp *from, dp *to, bool is_left, uint64_t now_ns, uint32_t turn)
{
    static uint8_t data[OXI_SUPER_MAX];
    oxi_super how;
    for (uint32_t is_udp = 0; is_udp < 2; is_udp++) {
        uint32_t len = super_make(data, is_left, is_udp, turn * SEGMENTS * SEGMENT_BYTES, &how);
        super_push(from, now_ns, data, len, &how);
        cross(from, to, now_ns);
        inbox_take(to);
        how.segment_bytes = (uint16_t)(turn % 16 ? 0 : 1); /* refused; or more packets than buffers */
        super_push(from, now_ns, data, len, &how);
        cross(from, to, now_ns);
        inbox_take(to);
    }
    dp_tick(from, now_ns);
    dp_tick(to, now_ns);
    cross(to, from, now_ns); /* acknowledgements */
}

/* A small packet to the right plane: every third a line of syslog, the others voice that may wait. */
static void small_make(pkt *p, uint32_t n)
{
    uint8_t *data = pkt_data(p);
    bool is_log = n % 3 == 0;
    uint32_t payload = is_log ? 150 : 32, len = IPV4_HEADER + UDP_HEADER + payload;
    memset(data, 0, len);
    memcpy(data, (const uint8_t[]){ 0x45, is_log ? 0 : 46 << 2 }, 2);
    store_be16(data + 2, (uint16_t)len);
    memcpy(data + 8, (const uint8_t[]){ 64, L4_UDP, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2 }, 12);
    sum_store(data + 10, (uint16_t)~sum_fold(sum_add(0, data, IPV4_HEADER)));
    store_be16(data + 20, (uint16_t)(5000 + n % 24)); /* more flows than contexts */
    store_be16(data + 22, is_log ? SYSLOG_PORT : 7000);
    store_be16(data + 24, (uint16_t)(len - IPV4_HEADER));
    for (uint32_t i = 28; is_log && i + 10 <= len; i += 10)
        memcpy(data + i, "localhost ", 10);
    if (!is_log) {
        data[28] = 0x80;
        store_be16(data + 30, (uint16_t)(n / 24));
        store_be32(data + 32, n / 24 * 160);
    }
    p->len = (uint16_t)len;
}

/* Headers, payloads, bundles and holds; some of it lost, so that there is more than one way to go. */
static void small_path(void)
{
    dp *left = core_new(true, OXI_SUITE_AES256GCM), *right = core_new(false, OXI_SUITE_AES256GCM);
    uint32_t n = 0;
    watch(true);
    for (uint32_t turn = 0; turn < 8 * TURNS; turn++) {
        batch b = { .now_ns = NS_PER_S + turn * 2 * NS_PER_MS };
        uint64_t now_ns = b.now_ns;
        for (uint32_t i = 0; i < 1 + turn % 40; i++) {
            pkt *p = pool_take(&left->pool);
            CHECK(p != NULL);
            small_make(p, n++);
            batch_add(&b, p);
        }
        path_out_run(left, &b);
        for (pkt *p; turn % 11 == 0 && (p = fifo_take(&left->outbox));)
            dp_sent(left, p, false);
        cross(left, right, now_ns);
        inbox_take(right);
        dp_tick(left, now_ns + NS_PER_MS);
        dp_tick(right, now_ns + NS_PER_MS);
        cross(left, right, now_ns + NS_PER_MS);
        cross(right, left, now_ns + NS_PER_MS);
        inbox_take(right);
    }
    watch(false);
    CHECK(counted() == 0);
    const oxi_compression_stats *out = &left->compressor.stats, *in = &right->compressor.stats;
    CHECK(out->header_packets[HDR_UDP] + out->header_packets[HDR_RTP] > n / 2);
    CHECK(in->restored_packets[HDR_UDP] + in->restored_packets[HDR_RTP] > n / 3);
    CHECK(out->payload_packets[2] > n / 8 && in->payloads_restored > n / 8);
    CHECK(left->stats.bundles_out > TURNS && right->stats.bundled_in_packets > n / 2);
    CHECK(right->stats.inner_out_packets > n / 4 * 3);
    dp_release(left);
    dp_release(right);
    free(left);
    free(right);
}

static void core_path(uint8_t suite)
{
    dp *left = core_new(true, suite), *right = core_new(false, suite);
    watch(true);
    for (uint32_t turn = 0; turn < TURNS; turn++) {
        uint64_t now_ns = NS_PER_S + turn * 30 * NS_PER_MS;
        core_turn(left, right, true, now_ns, turn);
        core_turn(right, left, false, now_ns + NS_PER_MS, turn);
    }
    watch(false);
    CHECK(counted() == 0);
    CHECK(right->stats.inner_out_packets >= 2ULL * TURNS * SEGMENTS);
    CHECK(right->stats.drops[OXI_DIR_IN_DATAGRAM][DROP_REPLAYED] > 0);
    CHECK(left->stats.drops[OXI_DIR_OUT][DROP_BAD_SUPER] > 0);
    CHECK(left->stats.drops[OXI_DIR_OUT][DROP_POOL_EMPTY] > 0);
    CHECK(left->peers[0].paths[0].stats.acks_received > 0);
    dp_release(left);
    dp_release(right);
    free(left);
    free(right);
}

/* ---- with the threads ---- */

typedef struct site {
    oxi_dp *dp;
    int tun, device, sock, notify;
    oxi_addr addr;
} site;

static site site_open(bool is_left)
{
    site s = { .dp = oxi_dp_new(&CONF), .notify = eventfd(0, EFD_NONBLOCK) };
    int fds[2], on = 1, size = 1 << 20;
    struct sockaddr_in name = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t name_bytes = sizeof name;
    struct timeval patience = { .tv_sec = 20 };
    uint32_t number;
    oxi_prefix route = route_of(is_left);
    CHECK(s.dp && oxi_peer_add(s.dp, NS_PER_S, 60 * NS_PER_S, is_left, &number) == OXI_OK);
    CHECK(oxi_routes_set(s.dp, &route, 1) == OXI_OK);
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds) == 0);
    s.device = fds[0];
    s.tun = fds[1];
    CHECK(fcntl(s.device, F_SETFL, O_NONBLOCK) == 0);
    CHECK(setsockopt(s.device, SOL_SOCKET, SO_SNDBUF, &size, sizeof size) == 0);
    CHECK(setsockopt(s.tun, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
    s.sock = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    CHECK(bind(s.sock, (struct sockaddr *)&name, sizeof name) == 0);
    CHECK(getsockname(s.sock, (struct sockaddr *)&name, &name_bytes) == 0);
    setsockopt(s.sock, IPPROTO_UDP, SO_UDP_GRO, &on, sizeof on); /* a kernel without it gives datagrams */
    s.addr = (oxi_addr){ .family = OXI_AF_INET, .port = ntohs(name.sin_port), .ip = { 127, 0, 0, 1 } };
    return s;
}

static void site_start(const site *s, const site *other, bool is_left)
{
    oxi_session keys = session_of(is_left, OXI_SUITE_AES256GCM);
    oxi_io_conf conf = { .tun_fds = { s->device }, .tun_has_header = 1, .notify_fd = s->notify,
                         .sock_count = 1 };
    int error;
    conf.sock_fds[0] = s->sock;
    CHECK(oxi_path_set(s->dp, 0, 0, &other->addr, 1444) == OXI_OK);
    CHECK(oxi_session_install(s->dp, oxi_clock_ns(), 0, &keys) == OXI_OK);
    CHECK(oxi_offload_set(s->dp, OXI_OFFLOAD_ALL) == OXI_OK);
    CHECK(oxi_io_start(s->dp, &conf, &error) == OXI_OK);
}

/* One super-packet in at one device; all its bytes out at the other, however they are packed. */
static void io_turn(const site *from, const site *to, bool is_left, uint32_t turn)
{
    static uint8_t data[sizeof(struct virtio_net_hdr) + OXI_SUPER_MAX];
    struct virtio_net_hdr h = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM };
    oxi_super how;
    uint32_t len = super_make(data + sizeof h, is_left, turn % 2, turn * SEGMENTS * SEGMENT_BYTES, &how);
    h.gso_type = (uint8_t)(turn % 2 ? 5 : VIRTIO_NET_HDR_GSO_TCPV4); /* 5: VIRTIO_NET_HDR_GSO_UDP_L4 */
    h.gso_size = how.segment_bytes;
    h.csum_start = how.csum_start;
    h.csum_offset = how.csum_offset;
    memcpy(data, &h, sizeof h);
    CHECK(send(from->tun, data, sizeof h + len, 0) == (ssize_t)(sizeof h + len));
    h.gso_type = 3; /* UDP fragmentation: refused */
    CHECK(send(from->tun, &h, sizeof h, 0) == sizeof h);
    CHECK(send(from->tun, data, sizeof h + 25, 0) == (ssize_t)sizeof h + 25); /* cut short, too */
    uint32_t head = IPV4_HEADER + (turn % 2 ? UDP_HEADER : TCP_HEADER), came = 0;
    while (came < SEGMENTS * SEGMENT_BYTES) {
        ssize_t n = recv(to->tun, data, sizeof data, 0);
        CHECK(n > (ssize_t)(sizeof h + head));
        came += (uint32_t)n - (uint32_t)sizeof h - head;
    }
}

static void io_path(void)
{
    site left = site_open(true), right = site_open(false);
    site_start(&left, &right, true);
    site_start(&right, &left, false);
    io_turn(&left, &right, true, 0); /* the threads run */
    watch(true);
    for (uint32_t turn = 1; turn <= IO_TURNS; turn++) {
        io_turn(&left, &right, true, turn);
        io_turn(&right, &left, false, turn);
    }
    watch(false);
    CHECK(counted() == 0);
    oxi_stats st;
    CHECK(oxi_stats_read(right.dp, &st) == OXI_OK);
    CHECK(st.inner_out_packets >= IO_TURNS * SEGMENTS && st.tun_writes < st.inner_out_packets);
    CHECK(st.drops[OXI_DIR_OUT][DROP_BAD_SUPER] > 0);
    for (uint32_t i = 0; i < 2; i++) {
        site *s = i ? &left : &right;
        oxi_dp_free(s->dp);
        close(s->tun);
        close(s->device);
        close(s->sock);
        close(s->notify);
    }
}

/* Payload compression: what shrinks and what does not, what is good and what is cut. */
static void lz_path(void)
{
    static uint8_t packet[1400], item[1400], back[1400];
    lz *z = calloc(1, lz_bytes());
    const lz_indexes *indexes = lz_indexes_shared();
    CHECK(z && indexes);
    lz_init(z, indexes);
    watch(true);
    uint32_t shrunk = 0;
    for (uint32_t turn = 0; turn < TURNS; turn++) {
        for (uint32_t i = 0; i < sizeof packet; i++)
            packet[i] = (uint8_t)(turn % 3 == 0 ? (i * i * 2654435761u) >> 13 : 'a' + i % (turn % 30 + 1));
        lz_level level = turn % 2 ? LZ_LIGHT : LZ_AGGRESSIVE;
        uint32_t number = level == LZ_LIGHT ? 0 : turn % LZ_KNOWN, back_len = 0;
        uint32_t len = lz_compress(z, level, number, 40, packet, sizeof packet, item, sizeof item);
        shrunk += len > 0;
        for (uint32_t cut = 0; len && cut < 3; cut++)
            (void)lz_decode(item, len - cut * 7, back, sizeof back, &back_len);
    }
    watch(false);
    CHECK(counted() == 0 && shrunk > TURNS / 4 && shrunk < TURNS);
    free(z);
}

int main(void)
{
    watch(true);
    dp *d = core_new(true, OXI_SUITE_AES256GCM); /* what comes before the first packet is seen */
    watch(false);
    CHECK(counted() > 10);
    dp_release(d);
    free(d);
    core_path(OXI_SUITE_AES256GCM);
    core_path(OXI_SUITE_CHACHA20POLY1305);
    small_path();
    io_path();
    lz_path();
    puts("nothing allocated");
    return 0;
}
