/* boundary_hdr.c - the door to header compression without a plane: single steps, and whole runs of events
 * with the time that each step takes. */
#include <stdlib.h>

#include "core/hdr.h"
#include "io/io.h"

enum { PACKET_BYTES_MAX = 65535, CLOCK_TRIES = 64 };

struct oxi_hdr {
    hdr_tx *tx;
    hdr_rx *rx;
    replay acked[OXI_PATHS_MAX];
    uint64_t clock_ns; /* that reading the clock takes */
    uint8_t packet[PACKET_BYTES_MAX];
    uint8_t item[OXI_HDR_CODED_MAX + PACKET_BYTES_MAX];
};

static_assert((int)OXI_HDR_CODED_MAX == (int)HDR_CODED_MAX, "oxi.h tells the room");
static_assert((int)OXI_HDR_FLOWS_MAX == (int)HDR_FLOWS_MAX, "oxi.h tells the number of flows");
static_assert((int)OXI_HDR_WHOLE == (int)HDR_WHOLE && (int)OXI_HDR_EXTENDED == (int)HDR_EXTENDED,
              "oxi.h tells the kinds");

const char *oxi_hdr_profile_name(uint32_t profile) { return hdr_profile_name(profile); }
const char *oxi_hdr_verdict_name(uint32_t verdict) { return hdr_verdict_name(verdict); }

static void *aligned(size_t bytes) { return aligned_alloc(64, (bytes + 63) / 64 * 64); }

oxi_hdr *oxi_hdr_new(uint32_t flows, uint64_t hash_key)
{
    if (flows < 1 || flows > HDR_FLOWS_MAX)
        return NULL;
    oxi_hdr *h = calloc(1, sizeof *h);
    void *tx = aligned(hdr_tx_bytes(flows)), *rx = aligned(hdr_rx_bytes(flows));
    if (!h || !tx || !rx) {
        free(h);
        free(tx);
        free(rx);
        return NULL;
    }
    h->tx = hdr_tx_init(tx, flows, hash_key);
    h->rx = hdr_rx_init(rx, flows);
    h->clock_ns = UINT64_MAX;
    for (uint32_t i = 0; i < CLOCK_TRIES; i++) {
        uint64_t before = io_clock_ns();
        h->clock_ns = min_u64(h->clock_ns, io_clock_ns() - before);
    }
    return h;
}

void oxi_hdr_free(oxi_hdr *h)
{
    if (!h)
        return;
    free(h->tx);
    free(h->rx);
    free(h);
}

int oxi_hdr_ack(oxi_hdr *h, uint32_t path_id, uint64_t pn)
{
    if (!h || path_id >= OXI_PATHS_MAX)
        return OXI_E_ARG;
    replay_mark_any(&h->acked[path_id], pn);
    return OXI_OK;
}

static uint32_t spent_ns(const oxi_hdr *h, uint64_t begin_ns)
{
    uint64_t spent = io_clock_ns() - begin_ns;
    return spent > h->clock_ns ? (uint32_t)min_u64(spent - h->clock_ns, UINT32_MAX) : 0;
}

static void row_fill(oxi_hdr_row *row, const hdr_result *r)
{
    row->profile = r->profile;
    row->kind = r->kind;
    row->flow = r->flow;
    row->flow_bytes = r->flow_bytes;
    row->coded_bytes = r->coded_bytes;
    row->header_bytes = r->header_bytes;
}

static bool compress(oxi_hdr *h, uint32_t path_id, uint64_t pn, const uint8_t *data, uint32_t len,
                     uint8_t *out, oxi_hdr_row *row)
{
    hdr_result r;
    uint64_t begin_ns = io_clock_ns();
    bool is_coded = hdr_compress(h->tx, h->acked, path_id, pn, data, len, out, &r);
    row->compress_ns = spent_ns(h, begin_ns);
    row_fill(row, &r);
    if (!is_coded)
        row->kind = HDR_WHOLE;
    return is_coded;
}

static hdr_verdict restore(oxi_hdr *h, uint32_t path_id, uint64_t pn, const uint8_t *item, uint32_t len,
                           uint8_t *out, uint32_t cap, hdr_result *r, oxi_hdr_row *row)
{
    uint64_t begin_ns = io_clock_ns();
    hdr_verdict verdict = hdr_restore(h->rx, path_id, pn, item, len, out, cap, r);
    row->restore_ns = spent_ns(h, begin_ns);
    row->verdict = (uint8_t)verdict;
    row->restored_bytes = 0;
    if (verdict == HDR_OK) {
        uint32_t payload = len - r->coded_bytes;
        memcpy(out + r->header_bytes, item + r->coded_bytes, payload);
        row->restored_bytes = r->header_bytes + payload;
    }
    return verdict;
}

int oxi_hdr_compress(oxi_hdr *h, uint32_t path_id, uint64_t pn, const uint8_t *data, uint32_t len,
                     uint8_t *out, oxi_hdr_row *row)
{
    if (!h || path_id >= OXI_PATHS_MAX || !data || !out || !row)
        return OXI_E_ARG;
    memset(row, 0, sizeof *row);
    return compress(h, path_id, pn, data, len, out, row);
}

int oxi_hdr_restore(oxi_hdr *h, uint32_t path_id, uint64_t pn, const uint8_t *item, uint32_t len,
                    uint8_t *out, uint32_t cap, oxi_hdr_row *row)
{
    if (!h || path_id >= OXI_PATHS_MAX || !item || !out || !row)
        return OXI_E_ARG;
    hdr_result r;
    memset(row, 0, sizeof *row);
    hdr_verdict verdict = restore(h, path_id, pn, item, len, out, cap, &r, row);
    row_fill(row, &r);
    return (int)verdict;
}

/* ---- a run of events ---- */

typedef struct arena {
    uint8_t *bytes;
    size_t used, cap;
} arena;

static bool arena_reserve(arena *a)
{
    if (a->cap - a->used >= OXI_HDR_CODED_MAX)
        return true;
    size_t cap = 2 * a->cap + 64 * OXI_HDR_CODED_MAX;
    uint8_t *more = realloc(a->bytes, cap);
    if (!more)
        return false;
    a->bytes = more;
    a->cap = cap;
    return true;
}

static void arrive(oxi_hdr *h, const oxi_hdr_event *e, const uint8_t *data, uint32_t len,
                   const uint8_t *coded, uint8_t *out, oxi_hdr_row *row)
{
    row->has_arrived = 1;
    row->verdict = HDR_OK;
    row->restored_bytes = len;
    if (row->kind == HDR_WHOLE) {
        memcpy(out, data, len);
        return;
    }
    hdr_result r;
    memcpy(h->item, coded, row->coded_bytes);
    memcpy(h->item + row->coded_bytes, data + row->header_bytes, len - row->header_bytes);
    restore(h, e->path, e->pn, h->item, len - row->header_bytes + row->coded_bytes, out, len, &r, row);
}

static int run(oxi_hdr *h, const uint8_t *data, const uint64_t *starts, const oxi_hdr_event *events,
               uint32_t count, uint8_t *restored, oxi_hdr_row *rows, arena *a, size_t *coded)
{
    for (uint32_t i = 0; i < count; i++) {
        const oxi_hdr_event *e = &events[i];
        if (e->kind == OXI_HDR_ACK) {
            replay_mark_any(&h->acked[e->path], e->pn);
            continue;
        }
        const uint8_t *packet = data + starts[e->packet];
        uint32_t len = (uint32_t)(starts[e->packet + 1] - starts[e->packet]);
        oxi_hdr_row *row = &rows[e->packet];
        if (e->kind == OXI_HDR_ARRIVE) {
            arrive(h, e, packet, len, a->bytes + coded[e->packet], restored + starts[e->packet], row);
            continue;
        }
        if (!arena_reserve(a))
            return OXI_E_NOMEM;
        coded[e->packet] = a->used;
        memcpy(h->packet, packet, len); /* in the cache, as when it has just been read from the TUN */
        if (compress(h, e->path, e->pn, h->packet, len, a->bytes + a->used, row))
            a->used += row->coded_bytes;
    }
    return OXI_OK;
}

int oxi_hdr_run(oxi_hdr *h, const uint8_t *data, const uint64_t *starts, uint32_t packets,
                const oxi_hdr_event *events, uint32_t count, uint8_t *restored, oxi_hdr_row *rows)
{
    if (!h || !data || !starts || !events || !restored || !rows)
        return OXI_E_ARG;
    for (uint32_t i = 0; i < packets; i++) {
        if (starts[i + 1] < starts[i] || starts[i + 1] - starts[i] > PACKET_BYTES_MAX)
            return OXI_E_ARG;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (events[i].kind > OXI_HDR_ACK || events[i].path >= OXI_PATHS_MAX ||
            (events[i].kind != OXI_HDR_ACK && events[i].packet >= packets))
            return OXI_E_ARG;
    }
    arena a = { 0 };
    size_t *coded = calloc(packets ? packets : 1, sizeof *coded);
    int result = !coded || !arena_reserve(&a) ? OXI_E_NOMEM : OXI_OK;
    memset(rows, 0, packets * sizeof *rows);
    if (result == OXI_OK)
        result = run(h, data, starts, events, count, restored, rows, &a, coded);
    free(a.bytes);
    free(coded);
    return result;
}
