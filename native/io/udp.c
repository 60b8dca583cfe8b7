/* udp.c - datagrams between the sockets and the core: recvmmsg, sendmmsg, and their ancillary data. */
#include <errno.h>

#include "io.h"

static void rx_prepare(io *o, uint32_t i)
{
    pkt *p = o->rx_pkts[i];
    o->rx.iov[i] = (struct iovec){ .iov_base = pkt_data(p), .iov_len = OXI_DATAGRAM_MAX };
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

static void cmsgs_read(io *o, struct msghdr *h, uint32_t sock, pkt *p)
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
        }
    }
}

bool udp_read(io *o, uint32_t sock, uint64_t now_ns)
{
    dp *d = o->core;
    uint32_t want = 0;
    for (; want < OXI_BATCH_MAX; want++) {
        if (!o->rx_pkts[want])
            o->rx_pkts[want] = pool_take(&d->pool);
        if (!o->rx_pkts[want])
            break; /* the datagrams wait in the socket's buffer */
        rx_prepare(o, want);
    }
    int n = want ? recvmmsg(o->conf.sock_fds[sock], o->rx.msgs, want, MSG_DONTWAIT, NULL) : 0;
    if (n <= 0)
        return false; /* nothing there, or the error of an earlier send: the next call goes on */
    batch b = { .now_ns = now_ns };
    for (int i = 0; i < n; i++) {
        struct msghdr *h = &o->rx.msgs[i].msg_hdr;
        if (h->msg_flags & MSG_TRUNC) {
            drop_untaken(d, OXI_DIR_IN_DATAGRAM, DROP_OVERSIZED, o->rx.msgs[i].msg_len);
            continue;
        }
        pkt *p = o->rx_pkts[i];
        o->rx_pkts[i] = NULL;
        p->len = (uint16_t)o->rx.msgs[i].msg_len;
        addr_from(&o->rx.names[i], sock, &p->addr);
        cmsgs_read(o, h, sock, p);
        batch_add(&b, p);
    }
    path_in_run(d, &b);
    return (uint32_t)n == want;
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

static size_t cmsgs_write(struct msghdr *h, const pkt *p)
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
    return used;
}

static void tx_prepare(io *o, uint32_t i, pkt *p)
{
    socklen_t name_len;
    io_addr *to = &o->tx.names[i];
    memset(to, 0, sizeof *to);
    if (p->addr.family == OXI_AF_INET) {
        to->v4.sin_family = AF_INET;
        to->v4.sin_port = htons(p->addr.port);
        memcpy(&to->v4.sin_addr, p->addr.ip, 4);
        name_len = sizeof to->v4;
    } else {
        to->v6.sin6_family = AF_INET6;
        to->v6.sin6_port = htons(p->addr.port);
        to->v6.sin6_scope_id = p->addr.scope_id;
        memcpy(&to->v6.sin6_addr, p->addr.ip, 16);
        name_len = sizeof to->v6;
    }
    o->tx.iov[i] = (struct iovec){ .iov_base = pkt_data(p), .iov_len = p->len };
    struct msghdr *h = &o->tx.msgs[i].msg_hdr;
    memset(o->tx.cmsgs[i], 0, CMSG_ROOM);
    *h = (struct msghdr){ .msg_name = to,
                          .msg_namelen = name_len,
                          .msg_iov = &o->tx.iov[i],
                          .msg_iovlen = 1,
                          .msg_control = o->tx.cmsgs[i],
                          .msg_controllen = CMSG_ROOM };
    h->msg_controllen = cmsgs_write(h, p);
    if (h->msg_controllen == 0)
        h->msg_control = NULL;
}

/* The run of packets at the head of the outbox that leave by the same socket. */
static uint32_t tx_gather(io *o, uint32_t *sock)
{
    fifo *f = &o->core->outbox;
    uint32_t n = 0;
    *sock = fifo_peek(f, 0)->addr.sock;
    for (; n < f->count && n < OXI_BATCH_MAX; n++) {
        pkt *p = fifo_peek(f, n);
        if (p->addr.sock != *sock)
            break;
        tx_prepare(o, n, p);
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

void udp_flush(io *o)
{
    dp *d = o->core;
    while (d->outbox.count) {
        uint32_t sock;
        uint32_t want = tx_gather(o, &sock);
        int n = -1;
        errno = EBADF;
        if (sock < o->conf.sock_count)
            n = sendmmsg(o->conf.sock_fds[sock], o->tx.msgs, want, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN) {
            o->blocked_socks |= 1u << sock; /* the packets stay in the outbox until POLLOUT */
            return;
        }
        if (n < 0 && (errno == EINTR || local_forget(o, fifo_peek(&d->outbox, 0))))
            continue;
        if (n < 0) /* the first one was refused; the others get their own chance */
            drop_out(d, fifo_take(&d->outbox), DROP_SEND_FAILED);
        for (int i = 0; i < n; i++)
            dp_sent(d, fifo_take(&d->outbox));
    }
}
