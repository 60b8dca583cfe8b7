/* peer.c - peers come and go; sessions follow each other, make before break. */
#include "peer.h"

#include "stages.h"

static void session_close(session **slot)
{
    if (*slot)
        session_end(*slot);
    *slot = NULL;
}

int peer_add(dp *d, uint64_t keepalive_ns, uint64_t dead_after_ns, bool is_initiator, uint32_t *out)
{
    for (uint32_t i = 0; i < d->conf.peers_max; i++) {
        peer *pr = &d->peers[i];
        if (pr->is_live)
            continue;
        header_contexts headers = { .tx_memory = pr->headers.tx_memory, .rx_memory = pr->headers.rx_memory };
        sent_mark *sent[OXI_PATHS_MAX];
        for (uint32_t k = 0; k < OXI_PATHS_MAX; k++)
            sent[k] = pr->paths[k].sent.at;
        memset(pr, 0, sizeof *pr);
        for (uint32_t k = 0; k < OXI_PATHS_MAX; k++)
            pr->paths[k].sent.at = sent[k];
        pr->headers = headers;
        pr->is_live = true;
        pr->is_initiator = is_initiator;
        peer_timers(d, pr, keepalive_ns, dead_after_ns);
        *out = i;
        return OXI_OK;
    }
    return OXI_E_FULL;
}

void peer_timers(dp *d, peer *pr, uint64_t keepalive_ns, uint64_t dead_after_ns)
{
    pr->keepalive_ns = keepalive_ns;
    pr->dead_after_ns = dead_after_ns;
    pr->wake_ns = NEVER_NS;
    wake_at(d, pr, 0); /* the next tick works out the rest */
}

/* The current session ends: what was counted under it stays counted. */
static void current_settle(peer *pr)
{
    for (uint32_t i = 0; pr->current && i < OXI_PATHS_MAX; i++) {
        pr->paths[i].lost_before += pr->current->paths[i].lost;
        pr->paths[i].acked_before += pr->current->paths[i].received;
    }
}

void peer_sessions_drop(dp *d, peer *pr)
{
    repair_forget(d, pr);
    current_settle(pr);
    session_close(&pr->current);
    session_close(&pr->before);
    session_close(&pr->pending);
    pr->unanswered_ns = 0;
}

/* End every packet of this peer that waits in f; the others keep their order. */
static void fifo_clear_of(dp *d, fifo *f, uint32_t number, void (*end)(dp *, pkt *, drop_reason))
{
    for (uint32_t left = f->count; left > 0; left--) {
        pkt *p = fifo_take(f);
        if (p->peer == number)
            end(d, p, DROP_STOPPED);
        else
            fifo_put(f, p);
    }
}

/* A chain is of one peer. */
static void drop_chain(dp *d, pkt *head, drop_reason why)
{
    for (pkt *p = head, *next; p; p = next) {
        next = p->chain.next;
        drop_undelivered(d, p, why);
    }
}

/* Nothing of this peer may be taken for the next one in its slot. */
void peer_remove(dp *d, peer *pr)
{
    uint32_t number = peer_number(d, pr);
    hold_end(d, pr);
    order_end(d, pr);
    fifo_clear_of(d, &d->outbox, number, drop_out);
    merge_flush(d);
    fifo_clear_of(d, &d->inbox, number, drop_chain);
    routes_forget(&d->routes[d->routes_live], (int32_t)number);
    peer_sessions_drop(d, pr);
    pr->is_live = false;
}

void peer_pending_drop(peer *pr) { session_close(&pr->pending); }

/* The current session opens for a while, but does not send any more. */
static void current_to_before(uint64_t now_ns, peer *pr)
{
    session_close(&pr->before);
    current_settle(pr);
    if (pr->current) {
        pr->before = pr->current;
        pr->before->expires_ns = now_ns + SESSION_GRACE_NS;
    }
    pr->current = NULL;
}

void peer_retire(dp *d, uint64_t now_ns, peer *pr)
{
    if (!pr->current)
        return;
    hold_flush(d, pr, now_ns);
    repair_forget(d, pr);
    current_to_before(now_ns, pr);
    pr->unanswered_ns = 0;
    wake_at(d, pr, now_ns);
}

/* From now on s sends: packet numbers start anew, so what is remembered of the old ones ends. */
static void promote(dp *d, uint64_t now_ns, peer *pr, session *s)
{
    current_to_before(now_ns, pr);
    repair_forget(d, pr);
    for (uint32_t i = 0; i < OXI_PATHS_MAX; i++) {
        pr->paths[i].sent.count = 0;
        pr->acked[i] = (replay){ 0 };
        train_watch_restart(&pr->paths[i].trains);
    }
    pr->headers.tx_index = 0;
    pr->current = s;
    s->may_send = true;
    /* Whether this session works is not known yet: the side that dialled finds out. */
    pr->unanswered_ns = 0;
    pr->is_silent = false;
    COUNT_SET(pr->stats.is_silent, 0);
    if (s->was_heard) { /* while it was pending: of this session it has not been said yet */
        oxi_event ev = { .type = OXI_EV_PEER_HEARD, .peer = peer_number(d, pr) };
        event_put(d, &ev);
    } else if (pr->is_initiator) {
        asked(d, pr, now_ns);
    }
    wake_at(d, pr, now_ns);
}

int peer_session_install(dp *d, uint64_t now_ns, peer *pr, const oxi_session *conf)
{
    session_close(&pr->pending);
    session *s = session_start(&d->sessions, now_ns, peer_number(d, pr), conf);
    if (!s)
        return OXI_E_CRYPTO;
    if (pr->headers.rx_index == conf->rx_index) /* that of an earlier session, by chance */
        pr->headers.rx_index = 0;
    if (conf->may_send)
        promote(d, now_ns, pr, s);
    else
        pr->pending = s;
    return OXI_OK;
}

int peer_session_send(dp *d, uint64_t now_ns, peer *pr)
{
    if (!pr->pending)
        return OXI_E_ABSENT;
    session *s = pr->pending;
    pr->pending = NULL;
    promote(d, now_ns, pr, s);
    return OXI_OK;
}

int peers_routes_set(dp *d, const oxi_prefix *prefixes, uint32_t count)
{
    uint32_t spare = 1 - d->routes_live;
    route_table *t = &d->routes[spare];
    routes_clear(t);
    for (uint32_t i = 0; i < count; i++) {
        int err = routes_add(t, &prefixes[i]);
        if (err != OXI_OK)
            return err;
    }
    d->routes_live = spare;
    return OXI_OK;
}
