/* udp.c - datagrams between the sockets and the core: recvmmsg, sendmmsg, and their ancillary data. The
 * kernel takes and gives equal datagrams of one way in one message, a train (UDP_SEGMENT, UDP_GRO). */
#include <errno.h>

#include "io.h"

#ifndef UDP_SEGMENT /* linux/udp.h, which clashes with netinet/udp.h */
#define UDP_SEGMENT 103
#define UDP_GRO 104
#endif

static void rx_prepare(io *o, uint32_t i)
{
    o->rx.iov[i] = (struct iovec){ .iov_base = o->rx.slabs[i], .iov_len = RX_SLAB_BYTES };
    o->rx.msgs[i].msg_hdr = (struct msghdr){ .msg_name = &o->rx.names[i],
                                             .msg_namelen = sizeof o->rx.names[i],
                                             .msg_iov = &o->rx.iov[i],
                                             .msg_iovlen = 1,
                                             .msg_control = o->rx.cmsgs[i],
                                             .msg_controllen = CMSG_ROOM };
}

static void addr_from(const io_addr *from, uint32_t sock, oxi_addr *out)
{
    memset(out, 0, sizeof *out);
    out->sock = (uint8_t)sock;
    if (from->any.sa_family == AF_INET) {
        out->family = OXI_AF_INET;
        out->port = ntohs(from->v4.sin_port);
        memcpy(out->ip, &from->v4.sin_addr, 4);
    } else {
        out->family = OXI_AF_INET6;
        out->port = ntohs(from->v6.sin6_port);
        out->scope_id = from->v6.sin6_scope_id;
        memcpy(out->ip, &from->v6.sin6_addr, 16);
    }
}

/* What one message says of all its datagrams. */
typedef struct train {
    oxi_addr addr;
    uint8_t ecn;
    uint32_t segment_bytes; /* of each datagram but the last; 0: the message is one datagram */
} train;

static void cmsgs_read(io *o, struct msghdr *h, uint32_t sock, train *p)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            memcpy(p->addr.local, &info.ipi_spec_dst, 4);
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            memcpy(p->addr.local, &info.ipi6_addr, 16);
        } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
            p->ecn = *CMSG_DATA(c) & 3;
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
            int tclass;
            memcpy(&tclass, CMSG_DATA(c), sizeof tclass);
            p->ecn = tclass & 3;
        } else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL) {
            uint32_t total;
            memcpy(&total, CMSG_DATA(c), sizeof total);
            COUNT_ADD(o->core->stats.kernel_receive_drops, total - o->sock_overflows[sock]);
            o->sock_overflows[sock] = total;
        } else if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
            int bytes;
            memcpy(&bytes, CMSG_DATA(c), sizeof bytes);
            p->segment_bytes = bytes > 0 ? (uint32_t)bytes : 0;
        }
    }
}

/* Packets for the TUN go there before the pool runs dry. */
static void batch_run(io *o, batch *b)
{
    if (b->count)
        path_in_run(o->core, b);
    if (o->core->pool.free_count < POOL_RESERVE)
        tun_write(o);
}

static void datagram_take(io *o, const train *t, uint8_t *data, uint32_t len, batch *b)
{
    dp *d = o->core;
    pkt *p = len <= d->pool.data_max ? pool_take(&d->pool) : NULL;
    if (!p) {
        bool is_large = len > d->pool.data_max;
        drop_untaken(d, OXI_DIR_IN_DATAGRAM, is_large ? DROP_OVERSIZED : DROP_POOL_EMPTY, len);
        return;
    }
    pkt_borrow(p, data, len);
    p->addr = t->addr;
    p->ecn = t->ecn;
    batch_add(b, p);
    if (b->count == OXI_BATCH_MAX)
        batch_run(o, b);
}

static void message_take(io *o, uint32_t i, uint32_t sock, batch *b)
{
    struct msghdr *h = &o->rx.msgs[i].msg_hdr;
    uint32_t len = o->rx.msgs[i].msg_len;
    if (h->msg_flags & MSG_TRUNC) {
        drop_untaken(o->core, OXI_DIR_IN_DATAGRAM, DROP_OVERSIZED, len);
        return;
    }
    train t = { .ecn = 0 };
    addr_from(&o->rx.names[i], sock, &t.addr);
    cmsgs_read(o, h, sock, &t);
    uint32_t step = t.segment_bytes ? t.segment_bytes : len;
    uint32_t at = 0;
    do { /* an empty datagram is one, too */
        uint32_t left = len - at;
        datagram_take(o, &t, o->rx.slabs[i] + at, left < step ? left : step, b);
        at += step;
    } while (at < len);
}

void udp_read(io *o, uint32_t sock, uint64_t now_ns)
{
    batch b = { .now_ns = now_ns };
    for (uint32_t i = 0; i < RX_MESSAGES; i++)
        rx_prepare(o, i);
    dp *d = o->core;
    uint64_t began_ns = time_begin(d);
    uint64_t before = d->stats.outer_in_datagrams;
    /* Below 0: nothing there, or the error of an earlier send; the next call goes on. */
    int n = recvmmsg(o->sock_fds[sock], o->rx.msgs, RX_MESSAGES, MSG_DONTWAIT, NULL);
    time_end(d, &d->times[OXI_TIMES_SHELL][STEP_UDP_READ], began_ns, 0);
    for (int i = 0; i < n; i++)
        message_take(o, (uint32_t)i, sock, &b);
    COUNT_ADD(d->stats.udp_reads, n > 0 ? n : 0);
    batch_run(o, &b);
    if (d->timing_clock)
        COUNT_ADD(d->times[OXI_TIMES_SHELL][STEP_UDP_READ].packets, d->stats.outer_in_datagrams - before);
    tun_write(o);
}

static void *cmsg_add(struct msghdr *h, struct cmsghdr **at, int level, int type, size_t len)
{
    struct cmsghdr *c = *at ? CMSG_NXTHDR(h, *at) : CMSG_FIRSTHDR(h);
    OXI_ASSERT(c != NULL);
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(len);
    *at = c;
    return CMSG_DATA(c);
}

/* segment_bytes: of each datagram of a train; 0: no train. */
static size_t cmsgs_write(struct msghdr *h, const pkt *p, uint16_t segment_bytes)
{
    static const uint8_t nowhere[16];
    bool is_v4 = p->addr.family == OXI_AF_INET;
    struct cmsghdr *at = NULL;
    size_t used = 0;
    if (memcmp(p->addr.local, nowhere, sizeof nowhere) != 0 && is_v4) {
        struct in_pktinfo info = { 0 };
        memcpy(&info.ipi_spec_dst, p->addr.local, 4);
        memcpy(cmsg_add(h, &at, IPPROTO_IP, IP_PKTINFO, sizeof info), &info, sizeof info);
        used += CMSG_SPACE(sizeof info);
    } else if (memcmp(p->addr.local, nowhere, sizeof nowhere) != 0) {
        struct in6_pktinfo info = { .ipi6_ifindex = p->addr.scope_id };
        memcpy(&info.ipi6_addr, p->addr.local, 16);
        memcpy(cmsg_add(h, &at, IPPROTO_IPV6, IPV6_PKTINFO, sizeof info), &info, sizeof info);
        used += CMSG_SPACE(sizeof info);
    }
    if (p->ecn) {
        int ecn = p->ecn;
        int level = is_v4 ? IPPROTO_IP : IPPROTO_IPV6;
        memcpy(cmsg_add(h, &at, level, is_v4 ? IP_TOS : IPV6_TCLASS, sizeof ecn), &ecn, sizeof ecn);
        used += CMSG_SPACE(sizeof ecn);
    }
    if (segment_bytes) {
        memcpy(cmsg_add(h, &at, IPPROTO_UDP, UDP_SEGMENT, sizeof segment_bytes), &segment_bytes,
               sizeof segment_bytes);
        used += CMSG_SPACE(sizeof segment_bytes);
    }
    return used;
}

static socklen_t name_write(const oxi_addr *addr, io_addr *to)
{
    memset(to, 0, sizeof *to);
    if (addr->family == OXI_AF_INET) {
        to->v4.sin_family = AF_INET;
        to->v4.sin_port = htons(addr->port);
        memcpy(&to->v4.sin_addr, addr->ip, 4);
        return sizeof to->v4;
    }
    to->v6.sin6_family = AF_INET6;
    to->v6.sin6_port = htons(addr->port);
    to->v6.sin6_scope_id = addr->scope_id;
    memcpy(&to->v6.sin6_addr, addr->ip, 16);
    return sizeof to->v6;
}

/* Message i: `count` packets from `first` of the outbox on. */
static void tx_prepare(io *o, uint32_t i, uint32_t first, uint32_t count)
{
    const pkt *head = fifo_peek(&o->core->outbox, first);
    for (uint32_t k = first; k < first + count; k++) {
        pkt *p = fifo_peek(&o->core->outbox, k);
        o->tx.iov[k] = (struct iovec){ .iov_base = pkt_data(p), .iov_len = p->len };
    }
    struct msghdr *h = &o->tx.msgs[i].msg_hdr;
    *h = (struct msghdr){ .msg_name = &o->tx.names[i],
                          .msg_namelen = name_write(&head->addr, &o->tx.names[i]),
                          .msg_iov = &o->tx.iov[first],
                          .msg_iovlen = count,
                          .msg_control = o->tx.cmsgs[i],
                          .msg_controllen = CMSG_ROOM };
    memset(o->tx.cmsgs[i], 0, CMSG_ROOM);
    h->msg_controllen = cmsgs_write(h, head, count > 1 ? head->len : 0);
    if (h->msg_controllen == 0)
        h->msg_control = NULL;
    o->tx.counts[i] = count;
}

/* Trains from the head of the outbox, as long as they leave by the same socket. */
static uint32_t tx_gather(io *o, uint32_t *sock)
{
    const fifo *f = &o->core->outbox;
    uint32_t n = 0;
    uint32_t used = 0;
    *sock = fifo_peek(f, 0)->addr.sock;
    while (n < TX_MESSAGES && used < f->count && used < TX_PKTS && fifo_peek(f, used)->addr.sock == *sock) {
        uint32_t end = f->count < TX_PKTS ? f->count : TX_PKTS;
        uint32_t count = used < o->tx_singles ? 1 : dp_train_length(o->core, used, end);
        tx_prepare(o, n++, used, count);
        used += count;
    }
    return n;
}

/* The own address this packet was to leave from is no longer ours: forget it, for the path, too.
 * False: there was none to forget. */
static bool local_forget(io *o, pkt *p)
{
    static const uint8_t nowhere[16];
    bool is_about_local = errno == EINVAL || errno == ENETUNREACH || errno == EADDRNOTAVAIL;
    if (!is_about_local || memcmp(p->addr.local, nowhere, sizeof nowhere) == 0)
        return false;
    path *pa = &o->core->peers[p->peer].paths[p->path];
    if (memcmp(pa->addr.local, p->addr.local, sizeof pa->addr.local) == 0) {
        memset(pa->addr.local, 0, sizeof pa->addr.local);
        pa->stats.addr = pa->addr;
    }
    memset(p->addr.local, 0, sizeof p->addr.local);
    return true;
}

/* The first message was refused. True: try again, in another way. */
static bool tx_refused(io *o)
{
    dp *d = o->core;
    uint32_t count = o->tx.counts[0];
    if (errno == EINTR)
        return true;
    if (count > 1) { /* a device without checksum offload says EIO, one with a small MTU EINVAL or EMSGSIZE */
        COUNT_ADD(d->stats.udp_refused_trains, 1);
        if (errno == EIO)
            dp_offload_off(d, OXI_OFFLOAD_GSO);
        o->tx_singles = count;
        return true;
    }
    return local_forget(o, fifo_peek(&d->outbox, 0));
}

static void tx_sent(io *o, uint32_t messages)
{
    for (uint32_t i = 0; i < messages; i++) {
        o->tx_singles -= o->tx_singles < o->tx.counts[i] ? o->tx_singles : o->tx.counts[i];
        for (uint32_t k = 0; k < o->tx.counts[i]; k++)
            dp_sent(o->core, fifo_take(&o->core->outbox), o->tx.counts[i] > 1);
    }
    COUNT_ADD(o->core->stats.udp_sends, messages);
}

void udp_flush(io *o)
{
    dp *d = o->core;
    while (d->outbox.count) {
        uint32_t sock;
        uint32_t want = tx_gather(o, &sock);
        int n = -1;
        errno = EBADF;
        uint64_t began_ns = time_begin(d);
        uint32_t before = d->outbox.count;
        if (sock < o->sock_count)
            n = sendmmsg(o->sock_fds[sock], o->tx.msgs, want, MSG_DONTWAIT);
        if (n > 0) {
            tx_sent(o, (uint32_t)n);
            time_end(d, &d->times[OXI_TIMES_SHELL][STEP_UDP_SEND], began_ns, before - d->outbox.count);
            continue;
        }
        if (errno == EAGAIN) {
            o->blocked_socks |= 1u << sock; /* the packets stay in the outbox until POLLOUT */
            return;
        }
        if (tx_refused(o))
            continue;
        /* One datagram was refused; the others get their own chance. */
        o->tx_singles -= o->tx_singles > 0;
        drop_out(d, fifo_take(&d->outbox), DROP_SEND_FAILED);
    }
}
