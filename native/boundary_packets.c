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
        pkt *p = take_in(d, buf + (size_t)i * c->stride, len[i], len_max, dir);
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

static int push_call(oxi_dp *h, call *c)
{
    if (!c->data || !c->more || c->count > OXI_BATCH_MAX)
        return OXI_E_ARG;
    const uint32_t *len = c->more;
    for (uint32_t i = 0; i < c->count; i++)
        if (len[i] > c->stride)
            return OXI_E_ARG;
    c->run = do_push;
    return owner_call(h, c);
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
    if (h && h->io)
        return OXI_E_BUSY;
    call c = { .now_ns = now_ns, .data = buf, .more = len, .stride = stride, .count = count,
               .b = OXI_DIR_OUT };
    return push_call(h, &c);
}

int oxi_outer_push(oxi_dp *h, uint64_t now_ns, const uint8_t *buf, uint32_t stride, const uint32_t *len,
                   const oxi_addr *from, uint32_t count)
{
    if (h && h->io)
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

int oxi_inner_pop(oxi_dp *h, uint8_t *buf, uint32_t stride, uint32_t *len, uint32_t *number, uint32_t max)
{
    if (!h || !buf || !len || !number || stride < OXI_DATAGRAM_MAX)
        return OXI_E_ARG;
    if (h->io)
        return OXI_E_BUSY;
    uint32_t n = 0;
    merge_flush(&h->core);
    for (; n < max && h->core.inbox.count; n++) {
        pkt *p = chain_take_first(&h->core);
        memcpy(buf + (size_t)n * stride, pkt_data(p), p->len);
        len[n] = p->len;
        number[n] = p->peer;
        dp_delivered(&h->core, p);
    }
    return (int)n;
}

int oxi_super_push(oxi_dp *h, uint64_t now_ns, const uint8_t *data, uint32_t len, const oxi_super *how)
{
    if (!h || !data || !how || len > OXI_SUPER_MAX)
        return OXI_E_ARG;
    if (h->io)
        return OXI_E_BUSY;
    split s;
    if (!split_begin(&s, data, len, how)) {
        drop_untaken(&h->core, OXI_DIR_OUT, DROP_BAD_SUPER, len);
        return OXI_OK;
    }
    while (split_peek(&s) > 0) {
        batch b = { .now_ns = now_ns };
        path_out_take(&h->core, &s, &b);
        path_out_run(&h->core, &b);
    }
    return OXI_OK;
}

int oxi_super_pop(oxi_dp *h, uint8_t *buf, uint32_t cap, uint32_t *len_out, uint32_t *packets_out,
                  oxi_super *how_out)
{
    if (!h || !buf || !len_out || !packets_out || !how_out || cap < OXI_SUPER_MAX)
        return OXI_E_ARG;
    if (h->io)
        return OXI_E_BUSY;
    merge_flush(&h->core);
    *len_out = *packets_out = 0;
    pkt *head = fifo_take(&h->core.inbox);
    if (!head)
        return OXI_OK;
    uint32_t header_bytes = merge_header(head, buf, how_out);
    *len_out = header_bytes;
    *packets_out = head->chain.count;
    for (pkt *p = head, *next; p; p = next) {
        next = p->chain.next;
        memcpy(buf + *len_out, pkt_data(p) + header_bytes, p->len - header_bytes);
        *len_out += p->len - header_bytes;
        dp_delivered(&h->core, p);
    }
    return OXI_OK;
}

int oxi_outer_pop(oxi_dp *h, uint8_t *buf, uint32_t stride, uint32_t *len, oxi_addr *to, uint32_t max)
{
    if (!h || !buf || !len || !to || stride < OXI_DATAGRAM_MAX)
        return OXI_E_ARG;
    if (h->io)
        return OXI_E_BUSY;
    uint32_t n = 0;
    for (; n < max && h->core.outbox.count; n++) {
        pkt *p = fifo_take(&h->core.outbox);
        memcpy(buf + (size_t)n * stride, pkt_data(p), p->len);
        len[n] = p->len;
        to[n] = p->addr;
        dp_sent(&h->core, p);
    }
    return (int)n;
}

uint64_t oxi_tick(oxi_dp *h, uint64_t now_ns) { return h && !h->io ? dp_tick(&h->core, now_ns) : NEVER_NS; }

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
    return datagrams_pop(&h->core.control, buf, stride, len, from, NULL, max);
}

int oxi_carrier_pop(oxi_dp *h, uint8_t *buf, uint32_t stride, uint32_t *len, uint32_t *number, uint32_t max)
{
    if (!h || !buf || !len || !number || stride < OXI_CONTROL_MAX)
        return OXI_E_ARG;
    return datagrams_pop(&h->core.carrier, buf, stride, len, NULL, number, max);
}

int oxi_event_pop(oxi_dp *h, oxi_event *events, uint32_t max)
{
    if (!h || !events)
        return OXI_E_ARG;
    uint32_t n = 0;
    for (; n < max; n++) {
        oxi_event *slot = ring_read_slot(&h->core.events);
        if (!slot)
            break;
        events[n] = *slot;
        ring_read_done(&h->core.events);
    }
    return (int)n;
}
