/* tun.c - packets and super-packets between the TUN device and the core. */
#include <errno.h>
#include <linux/virtio_net.h>
#include <sys/uio.h>
#include <unistd.h>

#include "io.h"

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4 /* newer than the headers of Debian 12 */
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

/* When the device is down or gone, reading fails at once: look again this much later. */
#define TUN_RETRY_NS (100 * NS_PER_MS)
/* Another worker is behind: look again after about the time it takes for a batch. To be woken by it would
 * take a flag and a fence for each batch of all workers. */
#define HANDOVER_RETRY_NS (50 * 1000ULL)

enum {
    /* One turn takes so many reads, or so many packets, and then looks at the sockets again. */
    READS_MAX = 64,
    PKTS_MAX = 512,
    /* So many refusals in a row are no accident: the kernel does not take super-packets. */
    REFUSALS_MAX = 8
};

static_assert(sizeof(struct virtio_net_hdr) == TUN_HEADER_BYTES, "layout of the kernel");

static uint8_t kind_of(uint8_t gso_type)
{
    switch (gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
    case VIRTIO_NET_HDR_GSO_NONE:
        return OXI_SUPER_NONE;
    case VIRTIO_NET_HDR_GSO_TCPV4:
        return OXI_SUPER_TCP4;
    case VIRTIO_NET_HDR_GSO_TCPV6:
        return OXI_SUPER_TCP6;
    case VIRTIO_NET_HDR_GSO_UDP_L4:
        return OXI_SUPER_UDP;
    default:
        return UINT8_MAX; /* refused by split_begin() */
    }
}

static oxi_super how_read(const uint8_t *at)
{
    struct virtio_net_hdr h;
    memcpy(&h, at, sizeof h);
    return (oxi_super){ .kind = kind_of(h.gso_type),
                        .needs_csum = (h.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0,
                        .segment_bytes = h.gso_size,
                        .csum_start = h.csum_start,
                        .csum_offset = h.csum_offset,
                        .header_bytes = h.hdr_len };
}

static struct virtio_net_hdr how_write(const oxi_super *how)
{
    static const uint8_t types[] = { [OXI_SUPER_NONE] = VIRTIO_NET_HDR_GSO_NONE,
                                     [OXI_SUPER_TCP4] = VIRTIO_NET_HDR_GSO_TCPV4,
                                     [OXI_SUPER_TCP6] = VIRTIO_NET_HDR_GSO_TCPV6,
                                     [OXI_SUPER_UDP] = VIRTIO_NET_HDR_GSO_UDP_L4 };
    return (struct virtio_net_hdr){ .flags = how->needs_csum ? VIRTIO_NET_HDR_F_NEEDS_CSUM : 0,
                                    .gso_type = types[how->kind],
                                    .hdr_len = how->header_bytes,
                                    .gso_size = how->segment_bytes,
                                    .csum_start = how->csum_start,
                                    .csum_offset = how->csum_offset };
}

/* Cut what was read into batches; a full batch goes its way at once. Returns the number of packets. */
static uint32_t packets_take(io *o, const uint8_t *data, uint32_t len, const oxi_super *how, batch *b)
{
    dp *d = o->core;
    split s;
    if (!split_begin(&s, data, len, how)) {
        drop_untaken(d, OXI_DIR_OUT, DROP_BAD_SUPER, len);
        return 1;
    }
    while (split_peek(&s) > 0) {
        if (d->pool.free_count < POOL_RESERVE)
            udp_flush(o);
        uint64_t began_ns = time_begin(d);
        uint32_t before = b->count;
        path_out_take(d, &s, b);
        time_end(d, &d->times[OXI_TIMES_SHELL][STEP_SPLIT], began_ns, b->count - before);
        if (b->count == OXI_BATCH_MAX)
            path_out_run(d, b);
    }
    return s.count;
}

/* Of the packets that come of it the caller counts the time. */
static ssize_t read_one(io *o)
{
    dp *d = o->core;
    uint64_t began_ns = time_begin(d);
    ssize_t n = read(o->tun_fd, o->tun_buf, sizeof o->tun_buf);
    time_end(d, &d->times[OXI_TIMES_SHELL][STEP_TUN_READ], began_ns, 0);
    return n;
}

void tun_read(io *o, uint64_t now_ns)
{
    dp *d = o->core;
    batch b = { .now_ns = now_ns };
    uint32_t header = o->tun_has_header ? TUN_HEADER_BYTES : 0;
    uint32_t taken = 0;
    for (uint32_t i = 0; i < READS_MAX && taken < PKTS_MAX; i++) {
        if (d->pool.free_count < POOL_RESERVE)
            break; /* the packets wait in the device's queue */
        if (!handover_has_room(&d->handover, b.count)) {
            o->tun_retry_ns = now_ns + HANDOVER_RETRY_NS;
            break;
        }
        ssize_t n = read_one(o);
        if (n <= (ssize_t)header) {
            if (n < 0 && errno != EAGAIN && errno != EINTR)
                o->tun_retry_ns = now_ns + TUN_RETRY_NS;
            break;
        }
        COUNT_ADD(d->stats.tun_reads, 1);
        oxi_super how = header ? how_read(o->tun_buf) : (oxi_super){ 0 };
        uint32_t count = packets_take(o, o->tun_buf + header, (uint32_t)n - header, &how, &b);
        COUNT_ADD(d->times[OXI_TIMES_SHELL][STEP_TUN_READ].packets, d->timing_clock ? count : 0);
        taken += count;
    }
    if (b.count)
        path_out_run(d, &b);
}

static bool packet_write(io *o, pkt *p)
{
    static const struct virtio_net_hdr plain;
    struct iovec iov[2] = { { .iov_base = (void *)(uintptr_t)&plain, .iov_len = sizeof plain },
                            { .iov_base = pkt_data(p), .iov_len = p->len } };
    uint32_t first = o->tun_has_header ? 0 : 1;
    ssize_t want = (ssize_t)p->len + (first ? 0 : TUN_HEADER_BYTES);
    COUNT_ADD(o->core->stats.tun_writes, 1);
    return writev(o->tun_fd, iov + first, (int)(2 - first)) == want;
}

/* False: refused. */
static bool super_write(io *o, const pkt *head, uint8_t *kind_out)
{
    uint8_t packet_header[SUPER_HEADER_MAX];
    oxi_super how;
    uint32_t header_bytes = merge_header(head, packet_header, &how);
    struct virtio_net_hdr h = how_write(&how);
    struct iovec iov[2 + MERGE_SEGMENTS_MAX] = { { .iov_base = &h, .iov_len = sizeof h },
                                                 { .iov_base = packet_header, .iov_len = header_bytes } };
    uint32_t count = 2;
    for (const pkt *p = head; p; p = p->chain.next)
        iov[count++] = (struct iovec){ .iov_base = pkt_data(p) + header_bytes,
                                       .iov_len = p->len - header_bytes };
    COUNT_ADD(o->core->stats.tun_writes, 1);
    ssize_t want = (ssize_t)(sizeof h + header_bytes + head->chain.payload_bytes);
    *kind_out = how.kind;
    return writev(o->tun_fd, iov, (int)count) == want;
}

/* A super-packet was refused whose packets are taken one by one. What the kernel says no to again and again
 * is not tried any more. */
static void super_refused(io *o, uint8_t kind)
{
    COUNT_ADD(o->core->stats.tun_refused_supers, 1);
    if (++o->refused_supers < REFUSALS_MAX)
        return;
    o->refused_supers = 0;
    dp_offload_off(o->core, kind == OXI_SUPER_UDP ? OXI_OFFLOAD_USO : OXI_OFFLOAD_TSO);
}

void tun_write(io *o)
{
    dp *d = o->core;
    merge_flush(d);
    pkt *head;
    while ((head = fifo_take(&d->inbox))) {
        uint64_t began_ns = time_begin(d);
        uint32_t count = head->chain.count;
        uint8_t kind = OXI_SUPER_NONE;
        bool is_chain = head->chain.count > 1;
        bool is_whole = is_chain && super_write(o, head, &kind);
        bool is_taken = is_whole;
        for (pkt *p = head, *next; p; p = next) {
            next = p->chain.next;
            is_taken = is_whole || packet_write(o, p);
            if (is_taken)
                dp_delivered(d, p);
            else
                drop_undelivered(d, p, DROP_TUN_WRITE);
        }
        if (is_whole)
            o->refused_supers = 0;
        else if (is_chain && is_taken)
            super_refused(o, kind);
        time_end(d, &d->times[OXI_TIMES_SHELL][STEP_TUN_WRITE], began_ns, count);
    }
}
