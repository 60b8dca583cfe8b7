/* hdr_context.c - contexts by flow, who may take one over, and candidates from their sending to their end.
 *
 * Contexts lie in two lists by use. New flows are on probation: only what is idle there for some tables'
 * worth of packets, or idle for long among the established, gives way. So a port scan takes turns with
 * itself, and one flow too many goes whole instead of pushing out the others in turn. */
#include "hdr_context.h"

static_assert(sizeof(hdr_tx_context) <= 700 && sizeof(hdr_rx_context) <= 700,
              "64 peers with 128 flows in both directions take less than 12 MB");
static_assert((HDR_DOUBT_SETS & (HDR_DOUBT_SETS - 1)) == 0, "index is a mask");

/* ---- memory ---- */

static uint32_t buckets_of(uint32_t flows) /* power of two, two for each flow at least */
{
    uint32_t n = 2;
    while (n < 2 * flows)
        n *= 2;
    return n;
}

static size_t rounded(size_t bytes) { return (bytes + 63) / 64 * 64; }

size_t hdr_tx_bytes(uint32_t flows)
{
    return rounded(sizeof(hdr_tx)) + rounded(flows * sizeof(hdr_tx_context)) +
           rounded(buckets_of(flows) * sizeof(uint16_t));
}

size_t hdr_rx_bytes(uint32_t flows) { return rounded(sizeof(hdr_rx)) + flows * sizeof(hdr_rx_context); }

hdr_tx *hdr_tx_init(void *memory, uint32_t flows, uint64_t hash_key)
{
    OXI_ASSERT(flows >= 1 && flows <= HDR_FLOWS_MAX);
    memset(memory, 0, hdr_tx_bytes(flows));
    hdr_tx *tx = memory;
    tx->contexts = (hdr_tx_context *)((uint8_t *)memory + rounded(sizeof(hdr_tx)));
    tx->buckets = (uint16_t *)((uint8_t *)tx->contexts + rounded(flows * sizeof(hdr_tx_context)));
    tx->flows = flows;
    tx->hash_key = hash_key;
    tx->bucket_mask = buckets_of(flows) - 1;
    memset(tx->buckets, 0xff, buckets_of(flows) * sizeof(uint16_t));
    tx->probation = tx->established = (hdr_list){ HDR_NONE, HDR_NONE };
    return tx;
}

hdr_rx *hdr_rx_init(void *memory, uint32_t flows)
{
    OXI_ASSERT(flows >= 1 && flows <= HDR_FLOWS_MAX);
    memset(memory, 0, hdr_rx_bytes(flows));
    hdr_rx *rx = memory;
    rx->flows = flows;
    rx->contexts = (hdr_rx_context *)((uint8_t *)memory + rounded(sizeof(hdr_rx)));
    return rx;
}

/* ---- by flow ---- */

#define HASH_MULTIPLIER 0x9e3779b97f4a7c15ULL

static uint32_t hash_of(uint64_t key, const uint8_t *bytes, uint32_t len) /* len: a multiple of 4 */
{
    uint64_t h = key ^ len, other = ~key, w, x;
    for (; len >= 16; len -= 16, bytes += 16) { /* two chains, which the processor walks side by side */
        memcpy(&w, bytes, 8);
        memcpy(&x, bytes + 8, 8);
        h = (h ^ w) * (key | 1);
        other = (other ^ x) * (key | 1);
        h ^= h >> 32;
        other ^= other >> 32;
    }
    h ^= other * HASH_MULTIPLIER;
    if (len >= 8) {
        memcpy(&w, bytes, 8);
        h = (h ^ w) * (key | 1);
        h ^= h >> 32;
        len -= 8;
        bytes += 8;
    }
    if (len) {
        uint32_t half;
        memcpy(&half, bytes, 4);
        h = (h ^ half) * (key | 1);
        h ^= h >> 32;
    }
    return (uint32_t)(h * HASH_MULTIPLIER >> 32);
}

static hdr_list *list_of(hdr_tx *tx, const hdr_tx_context *c)
{
    return c->is_established ? &tx->established : &tx->probation;
}

static void list_remove(hdr_tx *tx, hdr_tx_context *c)
{
    hdr_list *l = list_of(tx, c);
    *(c->newer == HDR_NONE ? &l->newest : &tx->contexts[c->newer].older) = c->older;
    *(c->older == HDR_NONE ? &l->oldest : &tx->contexts[c->older].newer) = c->newer;
}

static void list_add(hdr_tx *tx, hdr_tx_context *c)
{
    hdr_list *l = list_of(tx, c);
    uint16_t i = (uint16_t)(c - tx->contexts);
    c->newer = HDR_NONE;
    c->older = l->newest;
    *(l->newest == HDR_NONE ? &l->oldest : &tx->contexts[l->newest].newer) = i;
    l->newest = i;
}

static bool is_flow_of(const hdr_tx_context *c, const hdr_header *h)
{
    return memcmp(&c->shape, &h->shape, sizeof c->shape) == 0 &&
           memcmp(c->fixed, h->fixed, h->shape.header_bytes) == 0;
}

hdr_tx_context *hdr_tx_find(hdr_tx *tx, const hdr_header *h, uint32_t *hash)
{
    const hdr_shape *s = &h->shape;
    uint16_t i = tx->established.newest; /* packets of one flow come in a row */
    if (i != HDR_NONE && is_flow_of(&tx->contexts[i], h))
        return &tx->contexts[i];
    *hash = hash_of(tx->hash_key + s->profile, h->fixed, s->header_bytes);
    i = tx->buckets[*hash & tx->bucket_mask];
    for (uint32_t n = 0; i != HDR_NONE && n < HDR_CHAIN_MAX; n++) {
        hdr_tx_context *c = &tx->contexts[i];
        if (c->hash == *hash && is_flow_of(c, h))
            return c;
        i = c->bucket_next;
    }
    return NULL;
}

static bool bucket_is_full(const hdr_tx *tx, uint32_t hash)
{
    uint32_t n = 0;
    for (uint16_t i = tx->buckets[hash & tx->bucket_mask]; i != HDR_NONE; i = tx->contexts[i].bucket_next)
        n++;
    return n >= HDR_CHAIN_MAX;
}

static void bucket_remove(hdr_tx *tx, hdr_tx_context *c)
{
    uint16_t *at = &tx->buckets[c->hash & tx->bucket_mask];
    while (*at != c - tx->contexts)
        at = &tx->contexts[*at].bucket_next;
    *at = c->bucket_next;
}

static bool is_idle(const hdr_tx *tx, uint16_t i, uint64_t packets)
{
    return i != HDR_NONE && tx->packets - tx->contexts[i].used_at > packets;
}

/* One that nobody uses, or that has been idle for long enough. */
static hdr_tx_context *context_free(hdr_tx *tx)
{
    if (tx->used < tx->flows)
        return &tx->contexts[tx->used++];
    uint16_t i = tx->probation.oldest;
    if (!is_idle(tx, i, (uint64_t)HDR_PROBATION_TABLES * tx->flows)) {
        i = tx->established.oldest;
        if (!is_idle(tx, i, HDR_ESTABLISHED_IDLE))
            return NULL;
    }
    list_remove(tx, &tx->contexts[i]);
    bucket_remove(tx, &tx->contexts[i]);
    return &tx->contexts[i];
}

hdr_tx_context *hdr_tx_admit(hdr_tx *tx, const hdr_header *h, uint32_t hash)
{
    hdr_tx_context *c = bucket_is_full(tx, hash) ? NULL : context_free(tx);
    if (!c)
        return NULL;
    /* Numbers go on, so that none means a candidate of the flow that had this id before. */
    uint16_t newest = c->newest;
    memset(c, 0, offsetof(hdr_tx_context, fixed));
    c->newest = newest;
    c->shape = h->shape;
    c->hash = hash;
    memcpy(c->fixed, h->fixed, h->shape.header_bytes);
    uint16_t *bucket = &tx->buckets[hash & tx->bucket_mask];
    c->bucket_next = *bucket;
    *bucket = (uint16_t)(c - tx->contexts);
    list_add(tx, c);
    return c;
}

void hdr_tx_used(hdr_tx *tx, hdr_tx_context *c, uint32_t path)
{
    c->used_at = tx->packets;
    c->packets++;
    c->path_at[path] = c->packets;
    bool is_established = c->packets >= HDR_PROBATION_PACKETS;
    if (list_of(tx, c)->newest == c - tx->contexts && c->is_established == is_established)
        return;
    list_remove(tx, c);
    c->is_established = is_established;
    list_add(tx, c);
}

/* Its place in the table: the newest first, so that the one longest unused gives way. */
static hdr_doubt *doubt_of(hdr_tx *tx, uint32_t hash)
{
    hdr_doubt *set = tx->doubts[hash & (HDR_DOUBT_SETS - 1)];
    uint16_t tag = (uint16_t)(hash >> 16);
    uint32_t i = 0;
    while (i < HDR_DOUBT_WAYS - 1 && !(set[i].sources > 0 && set[i].tag == tag))
        i++;
    hdr_doubt found = set[i];
    if (found.sources == 0 || found.tag != tag)
        found = (hdr_doubt){ .tag = tag };
    memmove(&set[1], &set[0], i * sizeof set[0]);
    set[0] = found;
    return &set[0];
}

/* What looks like RTP is taken for it at once where it comes with the marks of voice, otherwise when two
 * packets show the same source. A pair of ports that shows one source after the other is something else. */
hdr_rtp_doubt hdr_tx_doubt(hdr_tx *tx, const hdr_header *h)
{
    const uint8_t *l4 = h->fixed + h->shape.l4_at;
    uint32_t source = hdr_rtp_source(l4);
    hdr_doubt *d = doubt_of(tx, hash_of(tx->hash_key, h->fixed, h->shape.l4_at + 4U));
    if (d->sources > 0 && d->source == source)
        return RTP_SURE;
    if (d->sources >= HDR_DOUBTS_MAX)
        return RTP_NEVER;
    d->source = source;
    d->sources++;
    return hdr_rtp_is_voice(l4, h->now.tos[h->shape.levels - 1]) ? RTP_SURE : RTP_UNSURE;
}

/* ---- candidates of the compressor ---- */

static void lag_follow(hdr_tx_context *c, const hdr_candidate *k)
{
    uint32_t lag = c->packets - k->at, *known = &c->lags[k->path];
    *known = *known == 0 || lag < *known ? lag : *known + (lag - *known + 3) / 4;
}

static bool is_acked(const hdr_candidate *k, const replay *acked)
{
    const replay *seen = &acked[k->path];
    if (k->state != CANDIDATE_SENT)
        return k->state == CANDIDATE_ACKED;
    return k->pn < seen->next && seen->next - k->pn <= REPLAY_WINDOW && replay_has(seen, k->pn);
}

/* A candidate that is acknowledged no sooner than one of another path with a higher number may have come too
 * late to be restored. */
static bool has_later(const hdr_tx_context *c, const hdr_candidate *k, const replay *acked)
{
    for (uint32_t i = 0; i < HDR_SLOTS; i++) {
        const hdr_candidate *other = &c->slots[i];
        if ((int16_t)(uint16_t)(other->number - k->number) > 0 && is_acked(other, acked))
            return true;
    }
    return false;
}

void hdr_acks_look(hdr_tx_context *c, const replay *acked)
{
    for (uint32_t i = 0; i < HDR_SLOTS; i++) {
        hdr_candidate *k = &c->slots[i];
        const replay *seen = &acked[k->path];
        if (k->state != CANDIDATE_SENT || k->pn >= seen->next)
            continue;
        bool is_seen = seen->next - k->pn <= REPLAY_WINDOW && replay_has(seen, k->pn);
        if (is_seen) {
            lag_follow(c, k);
            k->state = has_later(c, k, acked) ? CANDIDATE_NONE : CANDIDATE_ACKED;
        } else if (seen->next - k->pn > REPLAY_WINDOW) {
            k->state = CANDIDATE_NONE;
        }
    }
}

/* On one path what was sent first mostly arrives first: three candidates in flight and the one in use are
 * four. Between paths a packet may arrive a whole lag later than what was sent after it. A reference may be
 * three lags old, and one candidate for each lag leaves it among those that are kept. */
uint32_t hdr_spacing(const hdr_tx_context *c, uint32_t path, bool is_implied)
{
    uint32_t paths = 0, lag = 0;
    for (uint32_t i = 0; i < OXI_PATHS_MAX; i++) {
        if (c->path_at[i] == 0 || c->packets - c->path_at[i] > HDR_PATH_RECENT)
            continue;
        paths++;
        uint32_t own = c->lags[i] ? c->lags[i] : i == path ? 0 : HDR_LAG_UNKNOWN;
        lag = (uint32_t)max_u64(lag, own);
    }
    if (paths > 1)
        return (uint32_t)max_u64(lag, HDR_SPACING_MIN);
    if (is_implied)
        return lag / HDR_SLOTS;
    lag = lag > HDR_LAG_SHALLOW ? lag / (HDR_SLOTS - 1) + 2 : 0;
    return (uint32_t)max_u64(lag, HDR_SPACING_MIN);
}

bool hdr_candidate_is_lost(const hdr_tx_context *c, const replay *acked, const hdr_candidate *k)
{
    return acked[k->path].next > k->pn + HDR_LOST_PNS || c->packets - k->at > HDR_LOST_PACKETS;
}

hdr_candidate *hdr_reference_pick(hdr_tx_context *c, uint32_t path)
{
    hdr_candidate *best = NULL;
    for (uint32_t i = 0; i < HDR_SLOTS; i++) {
        hdr_candidate *k = &c->slots[i];
        if (k->state != CANDIDATE_ACKED || (uint16_t)(c->newest - k->number) > HDR_AHEAD)
            continue;
        bool is_here = k->path == path, best_is_here = best && best->path == path;
        if (!best || (is_here && !best_is_here) ||
            (is_here == best_is_here && (int16_t)(uint16_t)(k->number - best->number) > 0))
            best = k;
    }
    return best;
}

bool hdr_number_is_free(const hdr_tx_context *c, const hdr_place *at, const hdr_candidate *ref,
                        uint16_t number)
{
    const hdr_candidate *k = &c->slots[number % HDR_SLOTS];
    if ((int16_t)(uint16_t)(number - c->newest) <= 0 || k == ref)
        return false;
    if (ref && (uint16_t)(number - ref->number) > HDR_AHEAD)
        return false;
    /* A second one in the same datagram would be lost with the first. */
    const hdr_candidate *newest = &c->slots[c->newest % HDR_SLOTS];
    if (newest->state == CANDIDATE_SENT && newest->pn == at->pn && newest->path == at->path)
        return false;
    return k->state != CANDIDATE_SENT || hdr_candidate_is_lost(c, at->acked, k);
}

bool hdr_number_next(const hdr_tx_context *c, const hdr_place *at, const hdr_candidate *ref, uint16_t *number)
{
    for (uint32_t i = 1; i <= HDR_SLOTS; i++) {
        *number = (uint16_t)(c->newest + i);
        if (hdr_number_is_free(c, at, ref, *number))
            return true;
    }
    return false;
}

void hdr_candidate_sent(hdr_tx_context *c, uint16_t number, uint32_t path, uint64_t pn, const hdr_fields *f)
{
    c->slots[number % HDR_SLOTS] = (hdr_candidate){ .f = *f, .pn = pn, .at = c->packets, .number = number,
                                                    .path = (uint8_t)path, .state = CANDIDATE_SENT };
    c->newest = number;
    c->candidate_at = c->packets;
}

uint32_t hdr_distance(const hdr_tx_context *c, const hdr_fields *now, const hdr_candidate *ref)
{
    switch (c->shape.profile) {
    case HDR_RTP:
    case HDR_ICMP: return (uint32_t)(int32_t)(int16_t)(uint16_t)(now->seq - ref->f.seq);
    case HDR_ESP: return now->seq - ref->f.seq;
    default: return c->packets - ref->at;
    }
}

/* ---- candidates of the restorer ---- */

const hdr_candidate *hdr_kept_latest(const hdr_rx_context *c, uint32_t slot, uint32_t path, uint64_t pn)
{
    const hdr_candidate *best = NULL;
    for (uint32_t i = 0; i < HDR_KEPT; i++) {
        const hdr_candidate *k = &c->kept[i];
        if (k->state == CANDIDATE_NONE || k->number % HDR_SLOTS != slot || k->path != path || k->pn >= pn)
            continue;
        if (!best || (int16_t)(uint16_t)(k->number - best->number) > 0)
            best = k;
    }
    /* Something in between could not be restored, and is the candidate that is meant. */
    bool is_failed = best && c->failed_path[slot] == path && best->pn < c->failed_next[slot] &&
                     c->failed_next[slot] <= pn;
    return is_failed ? NULL : best;
}

void hdr_keep_failed(hdr_rx_context *c, uint32_t slot, uint32_t path, uint64_t pn)
{
    bool is_older = c->failed_path[slot] == path && c->failed_next[slot] > pn;
    if (is_older)
        return;
    c->failed_next[slot] = pn + 1;
    c->failed_path[slot] = (uint8_t)path;
}

const hdr_candidate *hdr_kept_exact(const hdr_rx_context *c, uint16_t number)
{
    for (uint32_t i = 0; i < HDR_KEPT; i++) {
        if (c->kept[i].state != CANDIDATE_NONE && c->kept[i].number == number)
            return &c->kept[i];
    }
    return NULL;
}

void hdr_keep(hdr_rx_context *c, uint16_t number, uint32_t path, uint64_t pn, const hdr_fields *f)
{
    hdr_candidate *place = NULL;
    for (uint32_t i = 0; i < HDR_KEPT; i++) {
        hdr_candidate *k = &c->kept[i];
        if (k->state == CANDIDATE_NONE || k->number == number) {
            place = k;
            break;
        }
        if (!place || (int16_t)(uint16_t)(k->number - place->number) < 0)
            place = k;
    }
    bool is_older = place->state != CANDIDATE_NONE && (int16_t)(uint16_t)(number - place->number) < 0;
    if (!is_older)
        *place = (hdr_candidate){ .f = *f, .pn = pn, .number = number, .path = (uint8_t)path,
                                  .state = CANDIDATE_ACKED };
}
