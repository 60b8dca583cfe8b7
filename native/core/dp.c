/* dp.c - set-up, tear-down and timers of the data plane. All memory of the packet path is allocated
 * here, at start; only the AEAD library keeps a context per key. */
#include "dp.h"

#include <stdlib.h>

#include "stages.h"

static void *take(dp *d, size_t count, size_t bytes)
{
    d->memory_bytes += count * bytes;
    return calloc(count, bytes);
}

static bool ring_init(dp *d, ring *r, uint32_t count, uint32_t slot_bytes)
{
    *r = (ring){ .slots = take(d, count, slot_bytes), .slot_bytes = slot_bytes, .count = count };
    return r->slots != NULL;
}

static bool fifo_init(dp *d, fifo *f, uint32_t room)
{
    uint32_t cap = 1;
    while (cap < room)
        cap *= 2;
    *f = (fifo){ .slots = take(d, cap, sizeof(pkt *)), .cap = cap };
    return f->slots != NULL;
}

/* A buffer holds the largest inner packet sealed, or the largest QUIC datagram. */
static bool pool_init(dp *d, pool *pl, uint32_t count)
{
    uint32_t inner_max = d->conf.mtu_bytes + OXI_OVERHEAD_BYTES + OXI_REPEAT_ROOM;
    pl->data_max = inner_max > OXI_CONTROL_MAX ? inner_max : OXI_CONTROL_MAX;
    uint32_t buf_bytes = PKT_HEADROOM + pl->data_max + TAG_BYTES;
    size_t stride = (sizeof(pkt) + buf_bytes + 63) & ~(size_t)63;
    pl->all = take(d, count, stride);
    pl->free = take(d, count, sizeof(pkt *));
    if (!pl->all || !pl->free)
        return false;
    pl->count = count;
    for (uint32_t i = 0; i < count; i++) {
        pkt *p = (pkt *)(void *)(pl->all + stride * i);
        p->buf_bytes = buf_bytes;
        pool_give(pl, p);
    }
    return true;
}

static bool peers_init(dp *d)
{
    uint32_t count = d->conf.peers_max;
    d->peers = take(d, count, sizeof(peer));
    d->sessions.slots = take(d, (size_t)count * SESSIONS_PER_PEER, sizeof(session));
    sent_mark *sent = take(d, (size_t)count * OXI_PATHS_MAX * SENT_RING, sizeof(sent_mark));
    if (!d->peers || !d->sessions.slots || !sent) {
        free(sent);
        return false;
    }
    d->sessions.count = count * SESSIONS_PER_PEER;
    for (uint32_t i = 0; i < d->sessions.count; i++)
        for (uint32_t k = 0; k < OXI_EPOCHS; k++)
            d->sessions.slots[i].keys[k].rx.library = d->sessions.slots[i].keys[k].tx.library = d->library;
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t k = 0; k < OXI_PATHS_MAX; k++, sent += SENT_RING)
            d->peers[i].paths[k].sent.at = sent;
    return true;
}

/* Contexts for headers of every peer, both ways. */
static bool contexts_init(dp *d)
{
    enum { CACHE_LINE = 64 };
    uint32_t flows = d->conf.flows;
    if (flows == 0)
        return true;
    size_t tx_bytes = (hdr_tx_bytes(flows) + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    size_t rx_bytes = (hdr_rx_bytes(flows) + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    uint8_t *all = take(d, d->conf.peers_max + 1, tx_bytes + rx_bytes);
    d->compressor.contexts = all;
    if (!all)
        return false;
    all += CACHE_LINE - (uintptr_t)all % CACHE_LINE;
    for (uint32_t i = 0; i < d->conf.peers_max; i++, all += tx_bytes + rx_bytes) {
        d->peers[i].headers.tx_memory = all;
        d->peers[i].headers.rx_memory = all + tx_bytes;
    }
    return true;
}

static bool compressor_init(dp *d)
{
    compressor *c = &d->compressor;
    c->scratch = take(d, 1, OXI_DATAGRAM_MAX);
    c->restored = take(d, 1, OXI_DATAGRAM_MAX + HDR_CODED_MAX);
    if (!c->scratch || !c->restored || !contexts_init(d))
        return false;
    oracle_set(&c->oracle, NULL, d->conf.hash_key);
    if (!d->conf.compress_payload)
        return true;
    c->lz = take(d, 1, lz_bytes());
    return c->lz != NULL;
}

static uint8_t *aligned(uint8_t *at, uintptr_t align) { return at + (align - (uintptr_t)at % align) % align; }

static bool decoders_init(dp *d)
{
    enum { ALIGN = 64 };
    repair *r = &d->repair;
    size_t bytes = (rlc_decoder_bytes() + ALIGN - 1) / ALIGN * ALIGN;
    r->gf = &GF256_PORTABLE;
    r->decoders = take(d, DECODERS, sizeof(decoder_slot));
    r->decoder_memory = take(d, DECODERS + 1, bytes);
    r->store = take(d, 1, DECODER_STORE_BYTES);
    if (!r->decoders || !r->decoder_memory || !r->store || !fifo_init(d, &r->decoded, d->conf.pool_pkts))
        return false;
    for (uint32_t i = 0; i < DECODERS; i++)
        r->decoders[i].rlc = rlc_decoder_init(aligned(r->decoder_memory, ALIGN) + i * bytes);
    return true;
}

static bool contents_init(dp *d)
{
    contents *s = &d->contents;
    if (d->conf.repair_bytes == 0)
        return true;
    s->bytes = d->conf.repair_bytes;
    s->arena = take(d, 1, s->bytes);
    s->slots = take(d, CONTENTS_MAX, sizeof(kept_content));
    return s->arena && s->slots && decoders_init(d);
}

/* Rooms for what is missing: not for every path, as few miss something at the same time. */
static bool order_init(dp *d)
{
    order_table *t = &d->order;
    if (!d->conf.order)
        return true;
    uint64_t most = min_u64(max_u64(d->conf.peers_max / 2, HOLE_ROOMS_MIN), HOLE_ROOMS_MAX);
    uint32_t rooms = (uint32_t)min_u64((uint64_t)d->conf.peers_max * OXI_PATHS_MAX, most);
    t->flows = take(d, ORDER_FLOWS, sizeof(order_flow));
    t->holes.all = take(d, (size_t)rooms * HOLES_MAX, sizeof(hole));
    t->holes.free = take(d, rooms, sizeof(hole *));
    if (!t->flows || !t->holes.all || !t->holes.free)
        return false;
    for (uint32_t i = 0; i < rooms; i++)
        t->holes.free[t->holes.free_count++] = t->holes.all + (size_t)i * HOLES_MAX;
    return true;
}

static bool flows_init(dp *d)
{
    d->flows.slots = take(d, FLOWS_MAX, sizeof(flow));
    return d->flows.slots != NULL;
}

static bool routes_init(dp *d, route_table *t)
{
    t->cap = d->conf.routes_max * 2;
    t->nodes = take(d, t->cap, sizeof(route_node));
    routes_clear(t);
    return t->nodes != NULL;
}

bool dp_init(dp *d, const oxi_conf *conf, const aead_library *library)
{
    memset(d, 0, sizeof *d);
    d->conf = *conf;
    d->handover.workers = d->sessions.workers = 1;
    d->library = library;
    for (uint32_t i = 0; i < OXI_CLASSES; i++)
        d->holds |= conf->hold_ns[i] > 0;
    d->wake_ns = NEVER_NS;
    bool is_ok = pool_init(d, &d->pool, conf->pool_pkts) && peers_init(d) && compressor_init(d) &&
                 contents_init(d) && order_init(d) && flows_init(d) && routes_init(d, &d->routes[0]) &&
                 routes_init(d, &d->routes[1]) &&
                 fifo_init(d, &d->outbox, conf->pool_pkts) &&
                 fifo_init(d, &d->inbox, conf->pool_pkts) &&
                 ring_init(d, &d->control, CONTROL_RING, sizeof(datagram_slot)) &&
                 ring_init(d, &d->carrier, CARRIER_RING, sizeof(datagram_slot)) &&
                 ring_init(d, &d->events, EVENT_RING, sizeof(oxi_event));
    if (!is_ok) {
        dp_release(d);
        return false;
    }
    COUNT_SET(d->stats.memory_bytes, d->memory_bytes);
    COUNT_SET(d->stats.pool_free_pkts, d->pool.free_count);
    return true;
}

bool dp_join(dp *cores, uint32_t count, uint8_t *owners)
{
    for (uint32_t w = 0; w < count; w++) {
        dp *d = &cores[w];
        handover *h = &d->handover;
        h->worker = d->sessions.worker = w;
        h->workers = d->sessions.workers = count;
        h->owners = owners;
        uint32_t slot_bytes = (uint32_t)sizeof(handover_slot) + ((d->pool.data_max + 7) & ~7u);
        for (uint32_t v = 0; v < count; v++) {
            if (v != w && !ring_init(d, &h->to[v], HANDOVER_RING, slot_bytes))
                return false;
            cores[v].handover.from[w] = v == w ? NULL : &h->to[v];
        }
        COUNT_SET(d->stats.memory_bytes, d->memory_bytes);
    }
    return true;
}

void dp_release(dp *d)
{
    for (uint32_t i = 0; d->sessions.slots && i < d->sessions.count; i++)
        for (uint32_t k = 0; k < OXI_EPOCHS; k++) {
            aead_free(&d->sessions.slots[i].keys[k].rx);
            aead_free(&d->sessions.slots[i].keys[k].tx);
        }
    if (d->peers)
        free(d->peers[0].paths[0].sent.at);
    free(d->peers);
    free(d->contents.arena);
    free(d->contents.slots);
    free(d->repair.decoders);
    free(d->repair.decoder_memory);
    free(d->repair.store);
    free(d->repair.decoded.slots);
    free(d->flows.slots);
    free(d->compressor.contexts);
    free(d->compressor.scratch);
    free(d->compressor.restored);
    free(d->compressor.lz);
    free(d->sessions.slots);
    free(d->order.flows);
    free(d->order.holes.all);
    free(d->order.holes.free);
    free(d->pool.all);
    free(d->pool.free);
    free(d->routes[0].nodes);
    free(d->routes[1].nodes);
    free(d->outbox.slots);
    free(d->inbox.slots);
    free(d->control.slots);
    free(d->carrier.slots);
    free(d->events.slots);
    for (uint32_t w = 0; w < OXI_WORKERS_MAX; w++)
        free(d->handover.to[w].slots);
    memset(d, 0, sizeof *d);
}

void event_put(dp *d, const oxi_event *ev)
{
    oxi_event *slot = ring_write_slot(&d->events);
    if (!slot) {
        COUNT_ADD(d->stats.lost_events, 1);
        return;
    }
    *slot = *ev;
    ring_written(&d->events);
    d->wants_notify = true;
}

void stages_run(dp *d, const stage *stages, uint32_t count, oxi_stage_time *times, batch *b)
{
    for (uint32_t i = 0; i < count && b->count > 0; i++) {
        uint32_t packets = b->count;
        uint64_t began_ns = time_begin(d);
        stages[i].run(d, b);
        time_end(d, &times[i], began_ns, packets);
    }
}

void dp_offload_off(dp *d, uint32_t offload)
{
    d->offload &= ~offload;
    COUNT_SET(d->stats.offload, d->offload);
}

/* A peer could say that it misses what came in trains: where others take them, its own path alone goes
 * without. */
void dp_trains_lost(dp *d)
{
    uint32_t known[TRAINS_LOST + 1] = { 0 };
    for (uint32_t i = 0; i < d->conf.peers_max; i++)
        for (uint32_t k = 0; d->peers[i].is_live && k < OXI_PATHS_MAX; k++)
            known[d->peers[i].paths[k].trains.verdict]++;
    COUNT_ADD(d->stats.udp_trains_lost_paths, 1);
    if (known[TRAINS_LOST] > known[TRAINS_ARRIVE])
        dp_offload_off(d, OXI_OFFLOAD_GSO);
}

uint64_t dp_tick(dp *d, uint64_t now_ns)
{
    if (now_ns >= d->wake_ns) {
        d->wake_ns = NEVER_NS;
        for (uint32_t i = 0; i < d->conf.peers_max; i++) {
            peer *pr = &d->peers[i];
            if (!pr->is_live)
                continue;
            if (pr->wake_ns <= now_ns)
                peer_tick(d, pr, now_ns);
            d->wake_ns = min_u64(d->wake_ns, pr->wake_ns);
        }
    }
    COUNT_SET(d->stats.pool_free_pkts, d->pool.free_count);
    return d->wake_ns;
}
