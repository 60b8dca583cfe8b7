/* boundary_shell.c - the door for counters, summed over the workers, and for starting and stopping their
 * threads. */
#include "boundary.h"

/* ---- counters ---- */

/* Word by word, each whole: the writer never waits for us. */
static void words_copy(void *to, const void *from, size_t bytes)
{
    uint64_t *w = to;
    const uint64_t *r = from;
    for (size_t i = 0; i < bytes / sizeof *w; i++)
        w[i] = __atomic_load_n(&r[i], __ATOMIC_RELAXED);
}

static void words_add(void *to, const void *from, size_t bytes)
{
    uint64_t *w = to;
    const uint64_t *r = from;
    for (size_t i = 0; i < bytes / sizeof *w; i++)
        w[i] += __atomic_load_n(&r[i], __ATOMIC_RELAXED);
}

static_assert(sizeof(oxi_stats) % 8 == 0 && sizeof(oxi_peer_stats) % 8 == 0 &&
                  sizeof(oxi_path_stats) % 8 == 0,
              "counters are read as 64-bit words");

int oxi_stats_read(oxi_dp *h, oxi_stats *out)
{
    if (!h || !out)
        return OXI_E_ARG;
    words_copy(out, &h->cores[0].stats, sizeof *out);
    for (uint32_t w = 1; w < h->workers; w++) {
        const oxi_stats *other = &h->cores[w].stats;
        uint64_t heartbeats = __atomic_load_n(&other->heartbeats, __ATOMIC_RELAXED);
        uint64_t slowest = out->heartbeats < heartbeats ? out->heartbeats : heartbeats;
        uint64_t offload = out->offload & __atomic_load_n(&other->offload, __ATOMIC_RELAXED);
        words_add(out, other, sizeof *out);
        out->heartbeats = slowest; /* one that stands still is seen */
        out->offload = offload;
    }
    out->inner_held_packets += out->inner_handed_packets - out->inner_taken_over_packets;
    return OXI_OK;
}

int oxi_stage_times_read(oxi_dp *h, oxi_stage_time *out)
{
    if (!h || !out)
        return OXI_E_ARG;
    words_copy(out, h->cores[0].times, sizeof h->cores[0].times);
    for (uint32_t w = 1; w < h->workers; w++)
        words_add(out, h->cores[w].times, sizeof h->cores[w].times);
    return OXI_OK;
}

/* What a worker that had the peer before has counted; its gauges and times are old. */
static void path_stats_add(oxi_path_stats *to, const path *from)
{
    oxi_path_stats more;
    words_copy(&more, &from->stats, sizeof more);
    to->tx_packets += more.tx_packets;
    to->tx_bytes += more.tx_bytes;
    to->rx_packets += more.rx_packets;
    to->rx_bytes += more.rx_bytes;
    to->acked_packets += more.acked_packets;
    to->lost_packets += more.lost_packets;
    to->late_packets += more.late_packets;
    to->ce_packets += more.ce_packets;
    to->acks_sent += more.acks_sent;
    to->acks_received += more.acks_received;
    to->repairable_packets += more.repairable_packets;
    to->repairable_acked_packets += more.repairable_acked_packets;
    to->repairable_acked_bytes += more.repairable_acked_bytes;
    to->repairable_lost_packets += more.repairable_lost_packets;
    to->congestion_lost_packets += more.congestion_lost_packets;
}

static void peer_stats_add(oxi_peer_stats *to, const peer *from)
{
    oxi_peer_stats more;
    words_copy(&more, &from->stats, sizeof more);
    to->tx_packets += more.tx_packets;
    to->tx_bytes += more.tx_bytes;
    to->rx_packets += more.rx_packets;
    to->rx_bytes += more.rx_bytes;
    to->last_rx_ns = max_u64(to->last_rx_ns, more.last_rx_ns);
    to->last_tx_ns = max_u64(to->last_tx_ns, more.last_tx_ns);
    for (uint32_t i = 0; i < OXI_PATHS_MAX; i++)
        path_stats_add(&to->paths[i], &from->paths[i]);
}

int oxi_peer_stats_read(oxi_dp *h, uint32_t number, oxi_peer_stats *out)
{
    if (!h || !out)
        return OXI_E_ARG;
    if (!peer_of(&h->cores[0], number))
        return OXI_E_ABSENT;
    uint32_t owner = h->owners[number];
    const peer *pr = &h->cores[owner].peers[number];
    words_copy(out, &pr->stats, sizeof *out);
    for (uint32_t i = 0; i < OXI_PATHS_MAX; i++)
        words_copy(&out->paths[i], &pr->paths[i].stats, sizeof out->paths[i]);
    for (uint32_t w = 0; w < h->workers; w++)
        if (w != owner)
            peer_stats_add(out, &h->cores[w].peers[number]);
    return OXI_OK;
}

/* ---- the threads ---- */

int oxi_io_start(oxi_dp *h, const oxi_io_conf *conf, int *errno_out)
{
    if (!h || !conf || !errno_out || conf->notify_fd < 0 || conf->sock_count < 1 ||
        conf->sock_count > OXI_SOCKETS_MAX)
        return OXI_E_ARG;
    for (uint32_t w = 0; w < h->workers; w++) {
        if (conf->tun_fds[w] < 0)
            return OXI_E_ARG;
        for (uint32_t i = 0; i < conf->sock_count; i++)
            if (conf->sock_fds[w * OXI_SOCKETS_MAX + i] < 0)
                return OXI_E_ARG;
    }
    if (h->ios[0])
        return OXI_E_BUSY;
    if (!offload_fits(h->cores[0].offload, conf->tun_has_header))
        return OXI_E_ARG;
    for (uint32_t w = 0; w < h->workers; w++) {
        int result = io_new(&h->cores[w], conf, w, &h->ios[w], errno_out);
        if (result != OXI_OK) {
            oxi_io_stop(h);
            return result;
        }
    }
    *errno_out = io_start(h->ios, h->workers);
    if (*errno_out)
        oxi_io_stop(h);
    return *errno_out ? OXI_E_SYS : OXI_OK;
}

int oxi_io_stop(oxi_dp *h)
{
    if (!h)
        return OXI_E_ARG;
    for (uint32_t w = 0; w < h->workers; w++) /* all, before any of them is gone that another may wake */
        if (h->ios[w])
            io_join(h->ios[w]);
    for (uint32_t w = 0; w < h->workers; w++) {
        if (h->ios[w])
            io_free(h->ios[w]);
        h->ios[w] = NULL;
    }
    return OXI_OK;
}
