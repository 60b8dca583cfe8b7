/* boundary_packets.c - the door for packets: pushed in and popped out where the caller is the shell
 * (simulator, tests), and the rings between the packet path and Python. Checks every argument. */
#include "boundary.h"

/* ---- packets in ---- */

/* Copies one packet into the pool; NULL (and counted as taken and dropped) when it can not be. */
static pkt *take_in(dp *d, const uint8_t *data, uint32_t len, uint32_t len_max, uint32_t dir)
{
    pkt *p = len <= len_max ? pool_take(&d->pool) : NULL;
    if (p) {
        memcpy(pkt_data(p), data, len);
        p->len = (uint16_t)len;
        return p;
    }
    drop_untaken(d, dir, len > len_max ? DROP_OVERSIZED : DROP_POOL_EMPTY, len);
    return NULL;
}

/* The worker that opens a datagram, by its receiver index; what is no data packet goes to the first. The
 * kernel is told the same by the program of oxidized/io/sockets.py. */
static uint32_t datagram_worker(const uint8_t *data, uint32_t len, uint32_t workers)
{
    bool is_data = len >= 4 && (data[0] & 0xc0) == 0;
    return is_data ? (load_be32(data) & INDEX_MAX) % workers : 0;
}

/* As the kernel spreads flows over the queues of the TUN: any worker, but always the same one for a flow. */
static uint32_t inner_worker(const uint8_t *data, uint32_t len, uint32_t workers)
{
    uint32_t mixed = len >= 40 ? data[39] ^ data[23] : 0;
    return len >= 20 ? (mixed ^ data[19] ^ data[15]) % workers : 0;
}

static int do_push(dp *d, call *c)
{
    const uint8_t *buf = c->data;
    const uint32_t *len = c->more;
    const oxi_addr *from = c->flags ? (const oxi_addr *)(uintptr_t)c->a : NULL;
    uint32_t dir = (uint32_t)c->b;
    bool is_carried = dir == OXI_DIR_IN_DATAGRAM && !from;
    if (is_carried && !peer_of(d, c->peer))
        return OXI_E_ABSENT;
    uint32_t len_max = is_carried ? OXI_CONTROL_MAX : d->pool.data_max;
    batch b = { .now_ns = c->now_ns };
    for (uint32_t i = 0; i < c->count; i++) {
        const uint8_t *data = buf + (size_t)i * c->stride;
        uint32_t worker = dir == OXI_DIR_OUT ? inner_worker(data, len[i], d->handover.workers)
                                             : datagram_worker(data, len[i], d->handover.workers);
        pkt *p = worker == d->handover.worker ? take_in(d, data, len[i], len_max, dir) : NULL;
        if (!p)
            continue;
        if (from)
            p->addr = from[i];
        else if (is_carried) {
            p->addr.family = OXI_AF_CARRIER;
            p->peer = c->peer;
        }
        batch_add(&b, p);
    }
    if (dir == OXI_DIR_OUT)
        path_out_run(d, &b);
    else
        path_in_run(d, &b);
    return OXI_OK;
}

static bool is_running(const oxi_dp *h) { return h && h->ios[0]; }

/* Without threads nobody else empties the rings between the workers. */
static void handovers_finish(oxi_dp *h, uint64_t now_ns)
{
    for (uint32_t w = 0; h && !h->ios[0] && w < h->workers; w++)
        while (handover_take(&h->cores[w], now_ns))
            continue;
}

static int push_call(oxi_dp *h, call *c)
{
    if (!c->data || !c->more || c->count > OXI_BATCH_MAX)
        return OXI_E_ARG;
    const uint32_t *len = c->more;
    for (uint32_t i = 0; i < c->count; i++)
        if (len[i] > c->stride)
            return OXI_E_ARG;
    c->run = do_push;
    int result = all_call(h, c);
    handovers_finish(h, c->now_ns);
    return result;
}

int oxi_carrier_push(oxi_dp *h, uint64_t now_ns, uint32_t number, const uint8_t *buf, uint32_t stride,
                     const uint32_t *len, uint32_t count)
{
    call c = { .now_ns = now_ns, .peer = number, .data = buf, .more = len, .stride = stride,
               .count = count, .b = OXI_DIR_IN_DATAGRAM };
    return push_call(h, &c);
}

int oxi_inner_push(oxi_dp *h, uint64_t now_ns, const uint8_t *buf, uint32_t stride, const uint32_t *len,
                   uint32_t count)
{
    if (is_running(h))
        return OXI_E_BUSY;
    call c = { .now_ns = now_ns, .data = buf, .more = len, .stride = stride, .count = count,
               .b = OXI_DIR_OUT };
    return push_call(h, &c);
}

int oxi_outer_push(oxi_dp *h, uint64_t now_ns, const uint8_t *buf, uint32_t stride, const uint32_t *len,
                   const oxi_addr *from, uint32_t count)
{
    if (is_running(h))
        return OXI_E_BUSY;
    if (!from)
        return OXI_E_ARG;
    for (uint32_t i = 0; i < count && i < OXI_BATCH_MAX; i++)
        if (!addr_is_good(&from[i]) || from[i].family < OXI_AF_INET)
            return OXI_E_ARG;
    call c = { .now_ns = now_ns, .data = buf, .more = len, .stride = stride, .count = count,
               .a = (uint64_t)(uintptr_t)from, .flags = 1, .b = OXI_DIR_IN_DATAGRAM };
    return push_call(h, &c);
}

/* ---- packets out, without the thread ---- */

static uint32_t inner_pop(dp *d, uint8_t *buf, uint32_t stride, uint32_t *len, uint32_t *number, uint32_t max)
{
    uint32_t n = 0;
    merge_flush(d);
    for (; n < max && d->inbox.count; n++) {
        pkt *p = chain_take_first(d);
        memcpy(buf + (size_t)n * stride, pkt_data(p), p->len);
        len[n] = p->len;
        number[n] = p->peer;
        dp_delivered(d, p);
    }
    return n;
}

int oxi_inner_pop(oxi_dp *h, uint8_t *buf, uint32_t stride, uint32_t *len, uint32_t *number, uint32_t max)
{
    if (!h || !buf || !len || !number || stride < OXI_DATAGRAM_MAX)
        return OXI_E_ARG;
    if (is_running(h))
        return OXI_E_BUSY;
    uint32_t n = 0;
    for (uint32_t w = 0; w < h->workers; w++)
        n += inner_pop(&h->cores[w], buf + (size_t)n * stride, stride, len + n, number + n, max - n);
    return (int)n;
}

static int super_push(dp *d, uint64_t now_ns, const uint8_t *data, uint32_t len, const oxi_super *how)
{
    split s;
    if (!split_begin(&s, data, len, how)) {
        drop_untaken(d, OXI_DIR_OUT, DROP_BAD_SUPER, len);
        return OXI_OK;
    }
    while (split_peek(&s) > 0) {
        batch b = { .now_ns = now_ns };
        path_out_take(d, &s, &b);
        path_out_run(d, &b);
    }
    return OXI_OK;
}

int oxi_super_push(oxi_dp *h, uint64_t now_ns, const uint8_t *data, uint32_t len, const oxi_super *how)
{
    if (!h || !data || !how || len > OXI_SUPER_MAX)
        return OXI_E_ARG;
    if (is_running(h))
        return OXI_E_BUSY;
    int result = super_push(&h->cores[inner_worker(data, len, h->workers)], now_ns, data, len, how);
    handovers_finish(h, now_ns);
    return result;
}

int oxi_super_pop(oxi_dp *h, uint8_t *buf, uint32_t cap, uint32_t *len_out, uint32_t *packets_out,
                  oxi_super *how_out)
{
    if (!h || !buf || !len_out || !packets_out || !how_out || cap < OXI_SUPER_MAX)
        return OXI_E_ARG;
    if (is_running(h))
        return OXI_E_BUSY;
    *len_out = *packets_out = 0;
    pkt *head = NULL;
    dp *d = NULL;
    for (uint32_t w = 0; w < h->workers && !head; w++) {
        d = &h->cores[w];
        merge_flush(d);
        head = fifo_take(&d->inbox);
    }
    if (!head)
        return OXI_OK;
    uint32_t header_bytes = merge_header(head, buf, how_out);
    *len_out = header_bytes;
    *packets_out = head->chain.count;
    for (pkt *p = head, *next; p; p = next) {
        next = p->chain.next;
        memcpy(buf + *len_out, pkt_data(p) + header_bytes, p->len - header_bytes);
        *len_out += p->len - header_bytes;
        dp_delivered(d, p);
    }
    return OXI_OK;
}

static uint32_t outer_pop(dp *d, uint8_t *buf, uint32_t stride, uint32_t *len, oxi_addr *to, uint32_t max,
                          bool is_train)
{
    uint32_t n = 0;
    for (; n < max && d->outbox.count; n++) {
        pkt *p = fifo_take(&d->outbox);
        memcpy(buf + (size_t)n * stride, pkt_data(p), p->len);
        len[n] = p->len;
        to[n] = p->addr;
        dp_sent(d, p, is_train);
    }
    return n;
}

static int outer_pop_check(oxi_dp *h, const uint8_t *buf, uint32_t stride, const uint32_t *len,
                           const oxi_addr *to)
{
    if (!h || !buf || !len || !to || stride < OXI_DATAGRAM_MAX)
        return OXI_E_ARG;
    return is_running(h) ? OXI_E_BUSY : OXI_OK;
}

int oxi_outer_pop(oxi_dp *h, uint8_t *buf, uint32_t stride, uint32_t *len, oxi_addr *to, uint32_t max)
{
    int result = outer_pop_check(h, buf, stride, len, to);
    if (result != OXI_OK)
        return result;
    uint32_t n = 0;
    for (uint32_t w = 0; w < h->workers; w++)
        n += outer_pop(&h->cores[w], buf + (size_t)n * stride, stride, len + n, to + n, max - n, false);
    return (int)n;
}

int oxi_train_pop(oxi_dp *h, uint8_t *buf, uint32_t stride, uint32_t *len, oxi_addr *to, uint32_t max)
{
    int result = outer_pop_check(h, buf, stride, len, to);
    for (uint32_t w = 0; result == OXI_OK && max > 0 && w < h->workers; w++) {
        dp *d = &h->cores[w];
        if (d->outbox.count == 0)
            continue;
        uint32_t count = dp_train_length(d, 0, d->outbox.count < max ? d->outbox.count : max);
        return (int)outer_pop(d, buf, stride, len, to, count, count > 1);
    }
    return result;
}

uint64_t oxi_tick(oxi_dp *h, uint64_t now_ns)
{
    uint64_t next_ns = NEVER_NS;
    for (uint32_t w = 0; h && !is_running(h) && w < h->workers; w++)
        next_ns = min_u64(next_ns, dp_tick(&h->cores[w], now_ns));
    return next_ns;
}

/* ---- rings for Python ---- */

static int datagrams_pop(ring *r, uint8_t *buf, uint32_t stride, uint32_t *len, oxi_addr *from,
                         uint32_t *number, uint32_t max)
{
    uint32_t n = 0;
    for (; n < max; n++) {
        datagram_slot *slot = ring_read_slot(r);
        if (!slot)
            break;
        memcpy(buf + (size_t)n * stride, slot->data, slot->len);
        len[n] = slot->len;
        if (from)
            from[n] = slot->addr;
        if (number)
            number[n] = slot->peer;
        ring_read_done(r);
    }
    return (int)n;
}

int oxi_control_pop(oxi_dp *h, uint8_t *buf, uint32_t stride, uint32_t *len, oxi_addr *from, uint32_t max)
{
    if (!h || !buf || !len || !from || stride < OXI_CONTROL_MAX)
        return OXI_E_ARG;
    int n = 0;
    for (uint32_t w = 0; w < h->workers; w++)
        n += datagrams_pop(&h->cores[w].control, buf + (size_t)n * stride, stride, len + n, from + n, NULL,
                           max - (uint32_t)n);
    return n;
}

int oxi_carrier_pop(oxi_dp *h, uint8_t *buf, uint32_t stride, uint32_t *len, uint32_t *number, uint32_t max)
{
    if (!h || !buf || !len || !number || stride < OXI_CONTROL_MAX)
        return OXI_E_ARG;
    int n = 0;
    for (uint32_t w = 0; w < h->workers; w++)
        n += datagrams_pop(&h->cores[w].carrier, buf + (size_t)n * stride, stride, len + n, NULL, number + n,
                           max - (uint32_t)n);
    return n;
}

int oxi_event_pop(oxi_dp *h, oxi_event *events, uint32_t max)
{
    if (!h || !events)
        return OXI_E_ARG;
    uint32_t n = 0;
    for (uint32_t w = 0; w < h->workers; w++) {
        ring *r = &h->cores[w].events;
        for (oxi_event *slot; n < max && (slot = ring_read_slot(r)); n++) {
            events[n] = *slot;
            ring_read_done(r);
        }
    }
    return (int)n;
}
