/* liveness.c - is the peer there, and where? Roaming, keepalive, dead-peer detection, timers. */
#include "stages.h"

void asked(dp *d, peer *pr, uint64_t now_ns)
{
    if (pr->unanswered_ns == 0) {
        pr->unanswered_ns = now_ns;
        wake_at(d, pr, now_ns + pr->dead_after_ns / 4);
    }
    COUNT_SET(pr->stats.last_tx_ns, now_ns);
}

static bool addr_equal(const oxi_addr *a, const oxi_addr *b)
{
    return a->family == b->family && a->port == b->port && a->sock == b->sock &&
           a->scope_id == b->scope_id && memcmp(a->ip, b->ip, sizeof a->ip) == 0 &&
           memcmp(a->local, b->local, sizeof a->local) == 0;
}

/* The newest packet says where the peer is. The side that dialled chooses the transport itself, so
 * it follows addresses only from UDP to UDP; and it leaves its own address to the kernel, as that may
 * change with the network it is in. The side that was called must answer from the address called. */
static void roam(dp *d, peer *pr, const pkt *p)
{
    path *pa = &pr->paths[p->path];
    oxi_addr from = p->addr;
    if (pr->is_initiator)
        memset(from.local, 0, sizeof from.local);
    if (!p->is_newest || p->keeps_addr || p->session != pr->current || addr_equal(&pa->addr, &from))
        return;
    bool is_carrier = from.family == OXI_AF_CARRIER;
    if (pr->is_initiator && is_carrier != (pa->addr.family == OXI_AF_CARRIER))
        return;
    bool is_elsewhere = pa->addr.family != from.family || pa->addr.port != from.port ||
                        memcmp(pa->addr.ip, from.ip, sizeof pa->addr.ip) != 0;
    pa->addr = from;
    pa->stats.addr = from;
    if (pa->payload_max == 0)
        pa->payload_max = d->conf.mtu_bytes + OXI_OVERHEAD_BYTES;
    if (!is_elsewhere)
        return;
    oxi_event ev = { .type = OXI_EV_ROAMED, .peer = p->peer, .path = p->path, .addr = from };
    event_put(d, &ev);
}

static void alive(dp *d, peer *pr, session *s, uint64_t now_ns)
{
    COUNT_SET(pr->stats.last_rx_ns, now_ns);
    pr->unanswered_ns = 0;
    if (s->was_heard && !pr->is_silent)
        return;
    s->was_heard = true;
    pr->is_silent = false;
    COUNT_SET(pr->stats.is_silent, 0);
    oxi_event ev = { .type = OXI_EV_PEER_HEARD, .peer = peer_number(d, pr) };
    event_put(d, &ev);
}

void heard_batch(dp *d, batch *b)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < b->count; i++) {
        pkt *p = b->pkts[i];
        peer *pr = &d->peers[p->peer];
        alive(d, pr, p->session, b->now_ns);
        ack_note(d, p->session, p, p->elicits, b->now_ns);
        roam(d, pr, p);
        if (p->inner_bytes)
            b->pkts[kept++] = p;
        else
            pool_give(&d->pool, p);
    }
    b->count = kept;
}

/* ---- timers ---- */

static void acks_tick(dp *d, peer *pr, uint64_t now_ns)
{
    session *s = pr->current;
    for (uint32_t i = 0; s && i < OXI_PATHS_MAX; i++) {
        uint64_t due = s->paths[i].ack_due_ns;
        if (due && due <= now_ns)
            ack_flush(d, s, i, now_ns);
        else if (due)
            wake_at(d, pr, due);
    }
}

static void ping_paths(dp *d, peer *pr, uint64_t now_ns)
{
    pr->probed_ns = now_ns;
    for (uint32_t i = 0; i < OXI_PATHS_MAX; i++)
        if (pr->paths[i].addr.family != OXI_AF_NONE)
            ping_send(d, now_ns, pr, i, NULL, PING_TOKEN_OWN, 0, 0);
}

/* Something is unanswered: ask again a few times, then call the peer silent; after that only the
 * side that dialled goes on asking, once a second. */
static void unanswered_tick(dp *d, peer *pr, uint64_t now_ns)
{
    uint64_t waited = now_ns - pr->unanswered_ns;
    if (!pr->is_silent && waited >= pr->dead_after_ns) {
        pr->is_silent = true;
        COUNT_SET(pr->stats.is_silent, 1);
        oxi_event ev = { .type = OXI_EV_PEER_SILENT, .peer = peer_number(d, pr) };
        event_put(d, &ev);
    }
    if (pr->is_silent && !pr->is_initiator)
        return;
    uint64_t every = pr->is_silent ? SILENT_PING_NS : max_u64(pr->dead_after_ns / 4, NS_PER_MS);
    uint64_t due = max_u64(pr->unanswered_ns, pr->probed_ns) + every;
    if (due <= now_ns) {
        ping_paths(d, pr, now_ns);
        due = now_ns + every;
    }
    wake_at(d, pr, due);
    if (!pr->is_silent)
        wake_at(d, pr, pr->unanswered_ns + pr->dead_after_ns);
}

static void keepalive_tick(dp *d, peer *pr, uint64_t now_ns)
{
    if (pr->keepalive_ns == 0 || !pr->current || (pr->is_silent && !pr->is_initiator))
        return;
    uint64_t due = max_u64(pr->stats.last_tx_ns, pr->probed_ns) + pr->keepalive_ns;
    if (due <= now_ns) {
        ping_paths(d, pr, now_ns);
        due = now_ns + pr->keepalive_ns;
    }
    wake_at(d, pr, due);
}

void peer_tick(dp *d, peer *pr, uint64_t now_ns)
{
    pr->wake_ns = NEVER_NS;
    if (pr->before && pr->before->expires_ns <= now_ns) {
        session_end(pr->before);
        pr->before = NULL;
    }
    if (pr->before)
        wake_at(d, pr, pr->before->expires_ns);
    hold_tick(d, pr, now_ns);
    order_tick(d, pr, now_ns);
    acks_tick(d, pr, now_ns);
    repair_tick(d, pr, now_ns);
    if (pr->current && pr->unanswered_ns)
        unanswered_tick(d, pr, now_ns);
    keepalive_tick(d, pr, now_ns);
}
