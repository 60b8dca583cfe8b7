/* boundary.c - the door. Checks every argument, turns handles into pointers, carries the call over to
 * the thread that owns the plane, and calls the core. No logic. */
#include <stdlib.h>
#include <stdio.h>

#include "boundary.h"

#include "boundary_lz.h"
#include "io/crypto.h"
#include "io/field.h"

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

static bool aead_exists(uint32_t n) { return n == OXI_AEAD_OPENSSL || n == OXI_AEAD_IPSEC_MB; }

const char *oxi_aead_name(uint32_t n)
{
    return !aead_exists(n) ? NULL : n == OXI_AEAD_OPENSSL ? AEAD_OPENSSL.name : AEAD_IPSEC_MB.name;
}

const char *oxi_aead_version(uint32_t n)
{
    return !aead_exists(n) ? NULL : n == OXI_AEAD_OPENSSL ? aead_openssl_version() : aead_ipsec_mb_version();
}

const char *oxi_aead_trouble(uint32_t n) { return aead_exists(n) ? crypto_trouble(n) : NULL; }

uint32_t oxi_aead_used(const oxi_dp *h)
{
    return !h ? 0 : h->cores[0].library == &AEAD_IPSEC_MB ? OXI_AEAD_IPSEC_MB : OXI_AEAD_OPENSSL;
}

const char *oxi_stage_name(uint32_t which, uint32_t i)
{
    switch (which) {
    case OXI_TIMES_OUT:
        return i < PATH_OUT_COUNT ? PATH_OUT[i].name : NULL;
    case OXI_TIMES_IN:
        return i < PATH_IN_COUNT ? PATH_IN[i].name : NULL;
    case OXI_TIMES_SHELL:
        return io_step_name(i);
    default:
        return NULL;
    }
}

static oxi_dp *planes_new(const oxi_conf *conf, const aead_library *library)
{
    oxi_dp *h = calloc(1, sizeof *h + conf->workers * sizeof(dp));
    uint8_t *owners = calloc(conf->peers_max, 1);
    if (!h || !owners) {
        free(h);
        free(owners);
        return NULL;
    }
    h->owners = owners;
    bool is_ok = true;
    while (is_ok && h->workers < conf->workers) {
        dp *core = &h->cores[h->workers];
        is_ok = dp_init(core, conf, library);
        h->workers += is_ok;
        const lz_indexes *indexes = is_ok && core->compressor.lz ? lz_indexes_shared() : NULL;
        if (indexes) {
            lz_init(core->compressor.lz, indexes);
            core->memory_bytes += h->workers == 1 ? lz_indexes_bytes() : 0; /* all share them */
        }
        is_ok = is_ok && (!core->compressor.lz || indexes);
        if (is_ok && core->contents.bytes > 0)
            core->repair.gf = field_library(OXI_GF256_AUTO);
    }
    if (is_ok && dp_join(h->cores, h->workers, owners))
        return h;
    oxi_dp_free(h);
    return NULL;
}

oxi_dp *oxi_dp_new(const oxi_conf *conf)
{
    bool is_good = conf && conf->peers_max >= 1 && conf->peers_max <= OXI_PEERS_LIMIT &&
                   conf->routes_max >= 1 && conf->routes_max <= 65536 && conf->pool_pkts >= 256 &&
                   conf->pool_pkts <= 8192 && conf->mtu_bytes >= OXI_MTU_MIN &&
                   conf->mtu_bytes <= OXI_MTU_MAX && conf->key_packets_max <= 1ULL << 28 &&
                   conf->rekey_packets >= 1 && conf->rekey_packets <= conf->key_packets_max &&
                   (conf->aead == OXI_AEAD_AUTO || aead_exists(conf->aead)) && conf->workers >= 1 &&
                   conf->workers <= OXI_WORKERS_MAX && conf->flows <= OXI_HDR_FLOWS_MAX &&
                   conf->headers <= OXI_HEADERS_ALL && conf->compress_payload <= 1 &&
                   (conf->repair_bytes == 0 ||
                    (conf->repair_bytes >= REPAIR_ARENA_MIN && conf->repair_bytes <= REPAIR_ARENA_MAX)) &&
                   conf->order <= OXI_ORDER_REPAIRED;
    for (uint32_t i = 0; is_good && i < OXI_CLASSES; i++)
        is_good = conf->hold_ns[i] <= HOLD_NS_MAX;
    const aead_library *library = is_good ? crypto_library(conf->aead) : NULL;
    return library ? planes_new(conf, library) : NULL;
}

void oxi_dp_free(oxi_dp *h)
{
    if (!h)
        return;
    oxi_io_stop(h);
    for (uint32_t w = 0; w < h->workers; w++)
        dp_release(&h->cores[w]);
    free(h->owners);
    free(h);
}

/* ---- calls that the owning thread must make ---- */

static void call_run(void *arg)
{
    call *c = arg;
    c->result = c->run(c->core, c);
}

int worker_call(oxi_dp *h, uint32_t worker, call *c)
{
    if (!h)
        return OXI_E_ARG;
    c->core = &h->cores[worker];
    if (h->ios[worker])
        io_run(h->ios[worker], call_run, c);
    else
        call_run(c);
    return c->result;
}

int owner_call(oxi_dp *h, call *c)
{
    return worker_call(h, h && c->peer < h->cores[0].conf.peers_max ? h->owners[c->peer] : 0, c);
}

int all_call(oxi_dp *h, call *c)
{
    int first = worker_call(h, 0, c);
    for (uint32_t w = 1; h && w < h->workers; w++) {
        int result = worker_call(h, w, c);
        first = first == OXI_OK ? result : first;
    }
    return first;
}

/* Up to a day: nothing later in the core can then overflow. */
static bool timers_are_good(uint64_t keepalive_ns, uint64_t dead_after_ns)
{
    const uint64_t day_ns = 86400 * NS_PER_S;
    return keepalive_ns <= day_ns && dead_after_ns > 0 && dead_after_ns <= day_ns;
}

static void owner_set(oxi_dp *h, uint32_t number, uint32_t worker)
{
    __atomic_store_n(&h->owners[number], (uint8_t)worker, __ATOMIC_RELAXED);
}

static int do_retire(dp *d, call *c)
{
    peer *pr = peer_of(d, c->peer);
    if (!pr)
        return OXI_E_ABSENT;
    peer_pending_drop(pr);
    peer_retire(d, c->now_ns, pr);
    return OXI_OK;
}

/* What the worker before knew of the times of the paths, as they are the same paths. */
static int do_adopt(dp *d, call *c)
{
    const oxi_path_stats *known = c->data;
    peer *pr = peer_of(d, c->peer);
    for (uint32_t i = 0; pr && i < OXI_PATHS_MAX; i++) {
        oxi_path_stats *st = &pr->paths[i].stats;
        COUNT_SET(st->rtt_ns, known[i].rtt_ns);
        COUNT_SET(st->rtt_var_ns, known[i].rtt_var_ns);
        COUNT_SET(st->rtt_min_ns, known[i].rtt_min_ns);
        COUNT_SET(st->rtt_latest_ns, known[i].rtt_latest_ns);
    }
    return pr ? OXI_OK : OXI_E_ABSENT;
}

/* This worker has the peer's session now: it sends, the others stop. */
static void owner_move(oxi_dp *h, uint64_t now_ns, uint32_t number, uint32_t worker)
{
    oxi_peer_stats before;
    if (h->owners[number] != worker && oxi_peer_stats_read(h, number, &before) == OXI_OK) {
        call adopt = { .run = do_adopt, .peer = number, .data = before.paths };
        worker_call(h, worker, &adopt);
    }
    owner_set(h, number, worker);
    call c = { .run = do_retire, .peer = number, .now_ns = now_ns };
    for (uint32_t w = 0; w < h->workers; w++)
        if (w != worker)
            worker_call(h, w, &c);
}

static int do_peer_add(dp *d, call *c) { return peer_add(d, c->a, c->b, c->flags != 0, c->out); }

int oxi_peer_add(oxi_dp *h, uint64_t keepalive_ns, uint64_t dead_after_ns, uint32_t is_initiator,
                 uint32_t *peer_out)
{
    if (!peer_out || !timers_are_good(keepalive_ns, dead_after_ns))
        return OXI_E_ARG;
    call c = { .run = do_peer_add, .a = keepalive_ns, .b = dead_after_ns, .flags = is_initiator,
               .out = peer_out };
    int result = all_call(h, &c); /* the workers fill their slots in step, so all give the same number */
    if (result == OXI_OK)
        owner_set(h, *peer_out, 0);
    return result;
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
    return all_call(h, &c);
}

static int do_routes_forget(dp *d, call *c)
{
    if (!peer_of(d, c->peer))
        return OXI_E_ABSENT;
    routes_forget(&d->routes[d->routes_live], (int32_t)c->peer);
    return OXI_OK;
}

static int do_peer_remove(dp *d, call *c)
{
    while (handover_take(d, c->now_ns))
        continue;
    peer_remove(d, peer_of(d, c->peer));
    return OXI_OK;
}

int oxi_peer_remove(oxi_dp *h, uint32_t number)
{
    /* First nobody takes anything for it any more, then what is under way ends: the next one in its slot must
     * not get it. */
    call c = { .run = do_routes_forget, .peer = number, .now_ns = io_clock_ns() };
    int result = all_call(h, &c);
    c.run = do_peer_remove;
    return result == OXI_OK ? all_call(h, &c) : result;
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
    return all_call(h, &c);
}

bool addr_is_good(const oxi_addr *a)
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
    return all_call(h, &c);
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
    return all_call(h, &c);
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
    return worker_call(h, h ? random24 % h->workers : 0, &c);
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
    uint32_t worker = h ? s->rx_index % h->workers : 0;
    int result = worker_call(h, worker, &c);
    if (result == OXI_OK && s->may_send)
        owner_move(h, now_ns, number, worker);
    return result;
}

static int do_session_send(dp *d, call *c)
{
    peer *pr = peer_of(d, c->peer);
    return pr ? peer_session_send(d, c->now_ns, pr) : OXI_E_ABSENT;
}

int oxi_session_send(oxi_dp *h, uint64_t now_ns, uint32_t number)
{
    call c = { .run = do_session_send, .now_ns = now_ns, .peer = number };
    for (uint32_t w = 0; w == 0 || w < h->workers; w++) { /* one of them has the session that waits */
        int result = worker_call(h, w, &c);
        if (result == OXI_OK)
            owner_move(h, now_ns, number, w);
        if (result != OXI_E_ABSENT)
            return result;
    }
    return OXI_E_ABSENT;
}

static int do_session_drop(dp *d, call *c)
{
    peer *pr = peer_of(d, c->peer);
    if (!pr)
        return OXI_E_ABSENT;
    peer_sessions_drop(d, pr);
    return OXI_OK;
}

int oxi_session_drop(oxi_dp *h, uint32_t number)
{
    call c = { .run = do_session_drop, .peer = number };
    return all_call(h, &c);
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

static int do_offload_set(dp *d, call *c)
{
    d->offload = c->flags;
    COUNT_SET(d->stats.offload, d->offload);
    return OXI_OK;
}

int oxi_offload_set(oxi_dp *h, uint32_t offload)
{
    if (offload & ~(uint32_t)OXI_OFFLOAD_ALL ||
        (h && h->ios[0] && !offload_fits(offload, h->ios[0]->tun_has_header)))
        return OXI_E_ARG;
    call c = { .run = do_offload_set, .flags = offload };
    return all_call(h, &c);
}
