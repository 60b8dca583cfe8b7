/* pack.c - inner packets become the content of datagrams: numbered, and small ones together (BUNDLE).
 *
 * Neighbours of a batch share a datagram when they are small and go the same way under the same ECN mark.
 * Both directions; on the way in one datagram becomes several packets, more than a batch holds, so it is
 * emptied batch by batch. */
#include "pack.h"

#include "bytes.h"
#include "frames.h"
#include "stages.h"

/* ---- out ---- */

/* Most that fits a datagram of this path in front of header and tag. */
static uint32_t content_max(const dp *d, const pkt *p)
{
    uint32_t payload_max = d->peers[p->peer].paths[p->path].payload_max;
    uint32_t buffer_max = p->addr.family == OXI_AF_CARRIER ? (uint32_t)OXI_CONTROL_MAX : d->pool.data_max;
    return (uint32_t)min_u64(payload_max, buffer_max) - OXI_OVERHEAD_BYTES;
}

/* Whether so many bytes and the tag fit behind it: it begins further back since its header is shorter. */
static bool has_room_behind(const pkt *p, uint32_t bytes)
{
    return (uint32_t)p->off + p->len + bytes + TAG_BYTES <= p->buf_bytes;
}

/* Before it is compressed, as then it must go in this very datagram. */
static bool may_join(const dp *d, const pkt *head, bool is_bundle, const pkt *p)
{
    uint32_t begin = is_bundle ? 0 : 1 + BUNDLE_LENGTH_MAX;
    uint32_t more = (uint32_t)BUNDLE_LENGTH_MAX + p->len + HDR_GROWTH_MAX;
    return pkt_is_small(p) && p->session == head->session && p->path == head->path && p->ecn == head->ecn &&
           memcmp(&p->addr, &head->addr, sizeof p->addr) == 0 &&
           head->len + begin + more <= content_max(d, head) && has_room_behind(head, more);
}

/* One byte up to 239: a voice packet of 160 bytes must not cost two. */
static uint32_t length_bytes(uint32_t len) { return len < BUNDLE_LONG ? 1 : 2; }

static void length_write(uint8_t *at, uint32_t len)
{
    OXI_ASSERT(len < (256 - BUNDLE_LONG) << 8);
    if (len >= BUNDLE_LONG)
        *at++ = (uint8_t)(BUNDLE_LONG + (len >> 8));
    *at = (uint8_t)len;
}

static uint32_t length_read(reader *r)
{
    uint32_t first = read_u8(r);
    return first < BUNDLE_LONG ? first : (first - BUNDLE_LONG) << 8 | read_u8(r);
}

/* What stands in head becomes the first item of a bundle. */
static void bundle_begin(pkt *head)
{
    uint32_t len = head->len;
    pkt_push(head, 1 + length_bytes(len));
    *pkt_data(head) = FRAME_BUNDLE;
    length_write(pkt_data(head) + 1, len);
}

static void bundle_append(dp *d, pkt *head, pkt *p)
{
    uint32_t bytes = length_bytes(p->len);
    uint8_t *end = pkt_data(head) + head->len;
    pkt_grow(head, bytes + p->len);
    length_write(end, p->len);
    memcpy(end + bytes, pkt_data(p), p->len);
    if (class_budget_ns(p->traffic_class) < class_budget_ns(head->traffic_class))
        head->traffic_class = p->traffic_class;
    head->is_bare &= p->is_bare;
    head->is_pushed |= p->is_pushed;
    head->inner_bytes += p->inner_bytes;
    head->inner_packets = (uint16_t)(head->inner_packets + p->inner_packets);
    pool_give(&d->pool, p);
}

void pack_batch(dp *d, batch *b)
{
    uint32_t kept = 0;
    bool is_bundle = false, may_grow = false; /* the last one kept */
    for (uint32_t i = 0; i < b->count; i++) {
        pkt *p = b->pkts[i];
        pkt *head = may_grow ? b->pkts[kept - 1] : NULL;
        if (head && may_join(d, head, is_bundle, p)) {
            if (!is_bundle)
                bundle_begin(head);
            is_bundle = true;
            p->pn = head->pn;
            compress_item(d, p, p->len + HDR_GROWTH_MAX, b->now_ns);
            bundle_append(d, head, p);
            continue;
        }
        if (!number_take(d, p, b->now_ns)) {
            drop_out(d, p, DROP_KEY_WORN);
            continue;
        }
        may_grow = p->session->may_bundle && pkt_is_small(p);
        is_bundle = false;
        compress_item(d, p, content_max(d, p), b->now_ns);
        b->pkts[kept++] = p;
    }
    b->count = kept;
}

/* ---- in ---- */

static pkt *inner_make(dp *d, const pkt *datagram, const uint8_t *data, uint32_t len)
{
    pkt *p = pool_take(&d->pool);
    if (!p)
        return NULL;
    p->pn = datagram->pn;
    p->session = datagram->session;
    p->addr = datagram->addr;
    p->peer = datagram->peer;
    p->path = datagram->path;
    p->ecn = datagram->ecn;
    memcpy(pkt_data(p), data, len);
    p->len = (uint16_t)len;
    p->inner_bytes = len;
    return p;
}

/* The packet of an item in a buffer of its own, as the bytes of the datagram are shared or another's. It is
 * restored even when there is no buffer for it: others may refer to its header. */
static void item_take(dp *d, const pkt *datagram, const uint8_t *item, uint32_t len, batch *b)
{
    const uint8_t *data = item;
    drop_reason why = restore_item(d, datagram, item, len, &data, &len);
    if (why == DROP_COUNT && len > d->pool.data_max)
        why = DROP_BAD_FRAME;
    pkt *p = why == DROP_COUNT ? inner_make(d, datagram, data, len) : NULL;
    COUNT_ADD(d->stats.found_packets, 1);
    if (p)
        batch_add(b, p);
    else
        COUNT_ADD(d->stats.drops[OXI_DIR_IN_PACKET][why == DROP_COUNT ? DROP_POOL_EMPTY : why], 1);
}

/* Items of a bundle until it or the room in b ends; false: the datagram is done with. */
static bool bundle_take(dp *d, pkt *datagram, batch *b)
{
    reader r = reader_of(pkt_data(datagram), datagram->len);
    while (reader_left(&r) > 0 && b->count < OXI_BATCH_MAX) {
        uint32_t len = length_read(&r);
        const uint8_t *item = len > 0 ? read_bytes(&r, len) : NULL;
        if (!item || !frame_is_item(*item)) {
            COUNT_ADD(d->stats.found_packets, 1);
            COUNT_ADD(d->stats.drops[OXI_DIR_IN_PACKET][DROP_BAD_FRAME], 1);
            return false;
        }
        COUNT_ADD(d->stats.bundled_in_packets, 1);
        item_take(d, datagram, item, len, b);
    }
    pkt_pull(datagram, datagram->len - (uint32_t)reader_left(&r));
    return datagram->len > 0;
}

void unpack_begin(unpacker *u, batch *b)
{
    OXI_ASSERT(u->next == u->count);
    for (uint32_t i = 0; i < b->count; i++) {
        pkt *p = b->pkts[i];
        if (p->is_repeat) {
            p->pn = p->content_pn;
            p->path = p->content_path;
        }
    }
    u->count = b->count;
    u->next = 0;
    u->is_open = false;
    memcpy(u->datagrams, b->pkts, b->count * sizeof(pkt *));
    b->count = 0;
}

void unpack_batch(dp *d, batch *b)
{
    unpacker *u = &d->unpacker;
    b->count = 0;
    while (u->next < u->count && b->count < OXI_BATCH_MAX) {
        pkt *p = u->datagrams[u->next];
        uint8_t first = *pkt_data(p);
        if (!u->is_open && frame_is_whole(first)) {
            COUNT_ADD(d->stats.found_packets, 1);
            batch_add(b, p);
            u->next++;
            continue;
        }
        if (!u->is_open && first != FRAME_BUNDLE) {
            item_take(d, p, pkt_data(p), p->len, b);
            pool_give(&d->pool, p);
            u->next++;
            continue;
        }
        if (!u->is_open)
            pkt_pull(p, 1);
        u->is_open = bundle_take(d, p, b);
        if (u->is_open)
            return;
        pool_give(&d->pool, p);
        u->next++;
    }
}
