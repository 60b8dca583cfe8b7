/* boundary_repair.c - the door to repair: how it is done, what the control plane wants, what came of it. */
#include "boundary.h"

enum { OVERHEAD_PERMILLE_MAX = 4000, REDUNDANCY_PERMILLE_MAX = 1000 };

static int do_repair_set(dp *d, call *c)
{
    const oxi_repair_conf *conf = c->data;
    if (conf->mode != OXI_REPAIR_OFF && d->contents.bytes == 0)
        return OXI_E_ABSENT;
    d->repair.conf = *conf;
    for (uint32_t i = 0; conf->mode == OXI_REPAIR_OFF && i < d->conf.peers_max; i++)
        if (d->peers[i].is_live)
            repair_forget(d, &d->peers[i]);
    return OXI_OK;
}

int oxi_repair_set(oxi_dp *h, const oxi_repair_conf *conf)
{
    if (!conf || conf->mode > OXI_REPAIR_AUTO || conf->overhead_permille > OVERHEAD_PERMILLE_MAX ||
        conf->overhead_ordered_permille > OVERHEAD_PERMILLE_MAX)
        return OXI_E_ARG;
    call c = { .run = do_repair_set, .data = conf };
    return all_call(h, &c);
}

static int do_repair_wish(dp *d, call *c)
{
    peer *pr = peer_of(d, c->peer);
    if (!pr)
        return OXI_E_ABSENT;
    pr->paths[c->path].repair.wish = (repair_wish){ .until_ns = c->now_ns + REPAIR_WISH_NS,
                                                    .regime = c->flags,
                                                    .redundancy_permille = c->count,
                                                    .copies = c->stride };
    return OXI_OK;
}

int oxi_repair_wish(oxi_dp *h, uint64_t now_ns, uint32_t number, uint32_t path_id, uint32_t regime,
                    uint32_t redundancy_permille, uint32_t copies)
{
    if (path_id >= OXI_PATHS_MAX || regime > OXI_REGIME_CONGESTED ||
        redundancy_permille > REDUNDANCY_PERMILLE_MAX || copies < 1 || copies > REPAIR_COPIES_MAX)
        return OXI_E_ARG;
    call c = { .run = do_repair_wish,
               .now_ns = now_ns,
               .peer = number,
               .path = path_id,
               .flags = regime,
               .count = redundancy_permille,
               .stride = copies };
    return owner_call(h, &c);
}

int oxi_repair_stats_read(oxi_dp *h, oxi_repair_stats *out)
{
    if (!h || !out)
        return OXI_E_ARG;
    *out = (oxi_repair_stats){ 0 };
    uint64_t *sums = (uint64_t *)out;
    for (uint32_t w = 0; w < h->workers; w++) {
        const uint64_t *words = (const uint64_t *)&h->cores[w].repair.stats;
        for (size_t i = 0; i < sizeof *out / sizeof *sums; i++)
            sums[i] += __atomic_load_n(&words[i], __ATOMIC_RELAXED);
    }
    return OXI_OK;
}

/* Each word whole: the writer never waits for us. */
static uint64_t word(const uint64_t *counter) { return __atomic_load_n(counter, __ATOMIC_RELAXED); }

static oxi_path_row row_of(uint32_t number, uint32_t path_id, const oxi_path_stats *st)
{
    return (oxi_path_row){ .peer = number,
                           .path = path_id,
                           .repairable_packets = word(&st->repairable_packets),
                           .repairable_acked_packets = word(&st->repairable_acked_packets),
                           .repairable_acked_bytes = word(&st->repairable_acked_bytes),
                           .repairable_lost_packets = word(&st->repairable_lost_packets),
                           .congestion_lost_packets = word(&st->congestion_lost_packets),
                           .kept_packets = word(&st->kept_packets),
                           .acks_received = word(&st->acks_received),
                           .rtt_ns = word(&st->rtt_ns),
                           .rtt_var_ns = word(&st->rtt_var_ns),
                           .rtt_min_ns = word(&st->rtt_min_ns),
                           .rtt_latest_ns = word(&st->rtt_latest_ns),
                           .loss_ppm = word(&st->loss_ppm) };
}

int oxi_paths_read(oxi_dp *h, uint64_t since_ns, oxi_path_row *rows, uint32_t max)
{
    if (!h || !rows)
        return OXI_E_ARG;
    uint32_t count = 0;
    for (uint32_t number = 0; number < h->cores[0].conf.peers_max; number++) {
        const peer *pr = &h->cores[h->owners[number]].peers[number];
        if (!peer_of(&h->cores[0], number) || word(&pr->stats.last_tx_ns) < since_ns)
            continue;
        for (uint32_t i = 0; i < OXI_PATHS_MAX && count < max; i++)
            if (word(&pr->paths[i].stats.repairable_packets) > 0)
                rows[count++] = row_of(number, i, &pr->paths[i].stats);
    }
    return (int)count;
}
