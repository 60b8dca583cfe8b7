/* tun.c - packets between the TUN device and the core, one system call each, in batches. */
#include <errno.h>
#include <unistd.h>

#include "io.h"

/* When the device is down or gone, reading fails at once: look again this much later. */
#define TUN_RETRY_NS (100 * NS_PER_MS)

bool tun_read(io *o, uint64_t now_ns)
{
    dp *d = o->core;
    batch b = { .now_ns = now_ns };
    bool has_more = true;
    while (b.count < OXI_BATCH_MAX) {
        pkt *p = pool_take(&d->pool);
        if (!p)
            break; /* the packets wait in the device's queue */
        ssize_t n = read(o->conf.tun_fd, pkt_data(p), OXI_DATAGRAM_MAX);
        if (n <= 0) {
            pool_give(&d->pool, p);
            has_more = false;
            if (n < 0 && errno != EAGAIN && errno != EINTR)
                o->tun_retry_ns = now_ns + TUN_RETRY_NS;
            break;
        }
        p->len = (uint16_t)n;
        batch_add(&b, p);
    }
    if (b.count)
        path_out_run(d, &b);
    return has_more;
}

void tun_write(io *o)
{
    dp *d = o->core;
    pkt *p;
    while ((p = fifo_take(&d->inbox))) {
        ssize_t n = write(o->conf.tun_fd, pkt_data(p), p->len);
        if (n == (ssize_t)p->len) {
            dp_delivered(d, p);
            continue;
        }
        drop_undelivered(d, p, DROP_TUN_WRITE);
    }
}
