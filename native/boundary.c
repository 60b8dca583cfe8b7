/* boundary.c - the door. Checks every argument, turns handles into pointers, carries the call over to
 * the thread that owns the plane, and calls the core. No logic. */
#include <stdlib.h>
#include <stdio.h>

#include "core/stages.h"
#include "io/io.h"

struct oxi_dp {
    dp core;
    io *io; /* NULL: no thread runs; the caller owns the plane */
};

_Noreturn void oxi_bug(const char *file, int line, const char *what)
{
    fprintf(stderr, "oxidized: bug at %s:%d: %s\n", file, line, what);
    abort();
}

uint32_t oxi_abi(void) { return OXI_ABI; }

static const struct {
    const char *name;
    const char *help;
} DROPS[] = {
#define X(id, name, help) { name, help },
    OXI_DROPS(X)
#undef X
};

const char *oxi_drop_name(uint32_t reason) { return reason < DROP_COUNT ? DROPS[reason].name : NULL; }
const char *oxi_drop_help(uint32_t reason) { return reason < DROP_COUNT ? DROPS[reason].help : NULL; }
uint32_t oxi_suite_best(void) { return io_cpu_has_aes() ? OXI_SUITE_AES256GCM : OXI_SUITE_CHACHA20POLY1305; }
uint64_t oxi_clock_ns(void) { return io_clock_ns(); }

const char *oxi_stage_name(uint32_t dir, uint32_t i)
{
    if (dir == OXI_DIR_OUT)
        return i < PATH_OUT_COUNT ? PATH_OUT[i].name : NULL;
    return i < PATH_IN_COUNT ? PATH_IN[i].name : NULL;
}

oxi_dp *oxi_dp_new(const oxi_conf *conf)
{
    bool is_good = conf && conf->peers_max >= 1 && conf->peers_max <= OXI_PEERS_LIMIT &&
                   conf->routes_max >= 1 && conf->routes_max <= 65536 && conf->pool_pkts >= 256 &&
                   conf->pool_pkts <= 8192 && conf->mtu_bytes >= OXI_MTU_MIN &&
                   conf->mtu_bytes <= OXI_MTU_MAX && conf->key_packets_max <= 1ULL << 28 &&
                   conf->rekey_packets >= 1 && conf->rekey_packets <= conf->key_packets_max;
    oxi_dp *h = is_good ? calloc(1, sizeof *h) : NULL;
    if (h && !dp_init(&h->core, conf)) {
        free(h);
        return NULL;
    }
    return h;
}

void oxi_dp_free(oxi_dp *h)
{
    if (!h)
        return;
    oxi_io_stop(h);
    dp_release(&h->core);
    free(h);
}

/* ---- calls that the owning thread must make ---- */

typedef struct call {
    int (*run)(dp *d, struct call *c);
    dp *core;
    int result;
    uint64_t now_ns;
    uint64_t a, b;
    uint32_t peer, path, flags, count, stride;
    uint32_t *out;
    const void *data;
    const void *more;
} call;

static void call_run(void *arg)
{
    call *c = arg;
    c->result = c->run(c->core, c);
}

static int owner_call(oxi_dp *h, call *c)
{
    if (!h)
        return OXI_E_ARG;
    c->core = &h->core;
    if (h->io)
        io_run(h->io, call_run, c);
    else
        call_run(c);
    return c->result;
}

static peer *peer_of(dp *d, uint32_t number)
{
    return number < d->conf.peers_max && d->peers[number].is_live ? &d->peers[number] : NULL;
}

/* Up to a day: nothing later in the core can then overflow. */
static bool timers_are_good(uint64_t keepalive_ns, uint64_t dead_after_ns)
{
    const uint64_t day_ns = 86400 * NS_PER_S;
    return keepalive_ns <= day_ns && dead_after_ns > 0 && dead_after_ns <= day_ns;
}

static int do_peer_add(dp *d, call *c) { return peer_add(d, c->a, c->b, c->flags != 0, c->out); }

int oxi_peer_add(oxi_dp *h, uint64_t keepalive_ns, uint64_t dead_after_ns, uint32_t is_initiator,
                 uint32_t *peer_out)
{
    if (!peer_out || !timers_are_good(keepalive_ns, dead_after_ns))
        return OXI_E_ARG;
    call c = { .run = do_peer_add, .a = keepalive_ns, .b = dead_after_ns, .flags = is_initiator,
               .out = peer_out };
    return owner_call(h, &c);
}

static int do_peer_timers(dp *d, call *c)
{
    peer *pr = peer_of(d, c->peer);
    if (!pr)
        return OXI_E_ABSENT;
    peer_timers(d, pr, c->a, c->b);
    return OXI_OK;
}

int oxi_peer_timers(oxi_dp *h, uint32_t number, uint64_t keepalive_ns, uint64_t dead_after_ns)
{
    if (!timers_are_good(keepalive_ns, dead_after_ns))
        return OXI_E_ARG;
    call c = { .run = do_peer_timers, .peer = number, .a = keepalive_ns, .b = dead_after_ns };
    return owner_call(h, &c);
}

static int do_peer_remove(dp *d, call *c)
{
    peer *pr = peer_of(d, c->peer);
    if (!pr)
        return OXI_E_ABSENT;
    peer_remove(d, pr);
    return OXI_OK;
}

int oxi_peer_remove(oxi_dp *h, uint32_t number)
{
    call c = { .run = do_peer_remove, .peer = number };
    return owner_call(h, &c);
}

static int do_routes_set(dp *d, call *c)
{
    const oxi_prefix *prefixes = c->data;
    for (uint32_t i = 0; i < c->count; i++) {
        const oxi_prefix *p = &prefixes[i];
        uint32_t width = p->family == OXI_AF_INET ? 32 : p->family == OXI_AF_INET6 ? 128 : 0;
        if (width == 0 || p->bits > width)
            return OXI_E_ARG;
        if (!peer_of(d, p->peer))
            return OXI_E_ABSENT;
    }
    return peers_routes_set(d, prefixes, c->count);
}

int oxi_routes_set(oxi_dp *h, const oxi_prefix *prefixes, uint32_t count)
{
    if (!prefixes && count)
        return OXI_E_ARG;
    call c = { .run = do_routes_set, .data = prefixes, .count = count };
    return owner_call(h, &c);
}

static bool addr_is_good(const oxi_addr *a)
{
    bool is_ip = a->family == OXI_AF_INET || a->family == OXI_AF_INET6;
    return is_ip ? a->sock < OXI_SOCKETS_MAX && a->port != 0
                 : a->family == OXI_AF_CARRIER || a->family == OXI_AF_NONE;
}

static int do_path_set(dp *d, call *c)
{
    peer *pr = peer_of(d, c->peer);
    if (!pr)
        return OXI_E_ABSENT;
    path *pa = &pr->paths[c->path];
    if (c->data)
        pa->addr = *(const oxi_addr *)c->data;
    else
        memset(&pa->addr, 0, sizeof pa->addr);
    pa->payload_max = c->count;
    pa->stats.addr = pa->addr;
    return OXI_OK;
}

int oxi_path_set(oxi_dp *h, uint32_t number, uint32_t path_id, const oxi_addr *addr, uint32_t payload_max)
{
    if (path_id >= OXI_PATHS_MAX || payload_max > OXI_DATAGRAM_MAX || (addr && !addr_is_good(addr)))
        return OXI_E_ARG;
    call c = { .run = do_path_set, .peer = number, .path = path_id, .data = addr, .count = payload_max };
    return owner_call(h, &c);
}

static int do_path_payload(dp *d, call *c)
{
    peer *pr = peer_of(d, c->peer);
    if (!pr)
        return OXI_E_ABSENT;
    pr->paths[c->path].payload_max = c->count;
    return OXI_OK;
}

int oxi_path_payload(oxi_dp *h, uint32_t number, uint32_t path_id, uint32_t payload_max)
{
    if (path_id >= OXI_PATHS_MAX || payload_max > OXI_DATAGRAM_MAX)
        return OXI_E_ARG;
    call c = { .run = do_path_payload, .peer = number, .path = path_id, .count = payload_max };
    return owner_call(h, &c);
}

static int do_index_pick(dp *d, call *c)
{
    *c->out = session_index_pick(&d->sessions, c->flags);
    return *c->out ? OXI_OK : OXI_E_FULL;
}

int oxi_index_pick(oxi_dp *h, uint32_t random24, uint32_t *index_out)
{
    if (!index_out || random24 > INDEX_MAX)
        return OXI_E_ARG;
    call c = { .run = do_index_pick, .flags = random24, .out = index_out };
    return owner_call(h, &c);
}

static int do_session_install(dp *d, call *c)
{
    peer *pr = peer_of(d, c->peer);
    return pr ? peer_session_install(d, c->now_ns, pr, c->data) : OXI_E_ABSENT;
}

int oxi_session_install(oxi_dp *h, uint64_t now_ns, uint32_t number, const oxi_session *s)
{
    bool is_good = s && s->rx_index != 0 && s->rx_index <= INDEX_MAX && s->tx_index <= INDEX_MAX &&
                   (s->suite == OXI_SUITE_AES256GCM || s->suite == OXI_SUITE_CHACHA20POLY1305);
    if (!is_good)
        return OXI_E_ARG;
    call c = { .run = do_session_install, .now_ns = now_ns, .peer = number, .data = s };
    return owner_call(h, &c);
}

static int do_session_send(dp *d, call *c)
{
    peer *pr = peer_of(d, c->peer);
    return pr ? peer_session_send(d, c->now_ns, pr) : OXI_E_ABSENT;
}

int oxi_session_send(oxi_dp *h, uint64_t now_ns, uint32_t number)
{
    call c = { .run = do_session_send, .now_ns = now_ns, .peer = number };
    return owner_call(h, &c);
}

static int do_session_drop(dp *d, call *c)
{
    peer *pr = peer_of(d, c->peer);
    if (!pr)
        return OXI_E_ABSENT;
    peer_sessions_drop(pr);
    return OXI_OK;
}

int oxi_session_drop(oxi_dp *h, uint32_t number)
{
    call c = { .run = do_session_drop, .peer = number };
    return owner_call(h, &c);
}

static int do_epoch_install(dp *d, call *c)
{
    peer *pr = peer_of(d, c->peer);
    session *s = pr ? pr->current : NULL;
    return s ? session_epoch_add(s, c->now_ns, c->flags, c->data, c->more) : OXI_E_ABSENT;
}

int oxi_epoch_install(oxi_dp *h, uint64_t now_ns, uint32_t number, uint32_t epoch, const uint8_t *rx_key,
                      const uint8_t *tx_key)
{
    if (!rx_key || !tx_key)
        return OXI_E_ARG;
    call c = { .run = do_epoch_install, .now_ns = now_ns, .peer = number, .flags = epoch,
               .data = rx_key, .more = tx_key };
    return owner_call(h, &c);
}

static int do_epoch_send(dp *d, call *c)
{
    peer *pr = peer_of(d, c->peer);
    session *s = pr ? pr->current : NULL;
    if (!s || !session_epoch(s, c->flags))
        return OXI_E_ABSENT;
    s->send_epoch = c->flags;
    return OXI_OK;
}

int oxi_epoch_send(oxi_dp *h, uint64_t now_ns, uint32_t number, uint32_t epoch)
{
    call c = { .run = do_epoch_send, .now_ns = now_ns, .peer = number, .flags = epoch };
    return owner_call(h, &c);
}

static int do_ping(dp *d, call *c)
{
    peer *pr = peer_of(d, c->peer);
    if (!pr)
        return OXI_E_ABSENT;
    bool is_sent =
        ping_send(d, c->now_ns, pr, c->path, c->data, c->a, (uint8_t)c->flags, c->count);
    return is_sent ? OXI_OK : OXI_E_ABSENT;
}

int oxi_ping(oxi_dp *h, uint64_t now_ns, uint32_t number, uint32_t path_id, const oxi_addr *addr,
             uint64_t token, uint32_t flags, uint32_t pad_bytes)
{
    if (path_id >= OXI_PATHS_MAX || flags > OXI_PING_PROBE || pad_bytes > OXI_MTU_MAX ||
        (addr && !addr_is_good(addr)))
        return OXI_E_ARG;
    call c = { .run = do_ping, .now_ns = now_ns, .peer = number, .path = path_id, .data = addr,
               .a = token, .flags = flags, .count = pad_bytes };
    return owner_call(h, &c);
}

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
    uint32_t len_max = is_carried ? OXI_CONTROL_MAX : OXI_DATAGRAM_MAX;
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
    for (; n < max && h->core.inbox.count; n++) {
        pkt *p = fifo_take(&h->core.inbox);
        memcpy(buf + (size_t)n * stride, pkt_data(p), p->len);
        len[n] = p->len;
        number[n] = p->peer;
        dp_delivered(&h->core, p);
    }
    return (int)n;
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

/* ---- counters ---- */

/* Word by word, each whole: the writer never waits for us. */
static void words_copy(void *to, const void *from, size_t bytes)
{
    uint64_t *w = to;
    const uint64_t *r = from;
    for (size_t i = 0; i < bytes / sizeof *w; i++)
        w[i] = __atomic_load_n(&r[i], __ATOMIC_RELAXED);
}

static_assert(sizeof(oxi_stats) % 8 == 0 && sizeof(oxi_peer_stats) % 8 == 0 &&
                  sizeof(oxi_path_stats) % 8 == 0,
              "counters are read as 64-bit words");

int oxi_stats_read(oxi_dp *h, oxi_stats *out)
{
    if (!h || !out)
        return OXI_E_ARG;
    words_copy(out, &h->core.stats, sizeof *out);
    return OXI_OK;
}

int oxi_peer_stats_read(oxi_dp *h, uint32_t number, oxi_peer_stats *out)
{
    if (!h || !out)
        return OXI_E_ARG;
    peer *pr = peer_of(&h->core, number);
    if (!pr)
        return OXI_E_ABSENT;
    words_copy(out, &pr->stats, sizeof *out);
    for (uint32_t i = 0; i < OXI_PATHS_MAX; i++)
        words_copy(&out->paths[i], &pr->paths[i].stats, sizeof out->paths[i]);
    return OXI_OK;
}

/* ---- the thread ---- */

int oxi_io_start(oxi_dp *h, const oxi_io_conf *conf, int *errno_out)
{
    if (!h || !conf || !errno_out || conf->tun_fd < 0 || conf->notify_fd < 0 || conf->sock_count < 1 ||
        conf->sock_count > OXI_SOCKETS_MAX)
        return OXI_E_ARG;
    for (uint32_t i = 0; i < conf->sock_count; i++)
        if (conf->sock_fds[i] < 0)
            return OXI_E_ARG;
    if (h->io)
        return OXI_E_BUSY;
    return io_start(&h->core, conf, &h->io, errno_out);
}

int oxi_io_stop(oxi_dp *h)
{
    if (!h)
        return OXI_E_ARG;
    if (h->io)
        io_stop(h->io);
    h->io = NULL;
    return OXI_OK;
}
