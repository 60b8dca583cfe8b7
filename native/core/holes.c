/* holes.c - see holes.h. */
#include "holes.h"

static uint32_t ms_of(uint64_t ns) { return (uint32_t)(ns / NS_PER_MS); }
static uint64_t end_of(const hole *r) { return r->from + r->count; }

/* Ranges that end at or below pn: so the number of the first one that reaches beyond. */
static uint32_t below(const holes *h, uint64_t pn)
{
    uint32_t low = 0, high = h->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (end_of(&h->at[middle]) <= pn)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void cut(hole_pool *hp, holes *h, uint32_t at, uint32_t count)
{
    h->count -= count;
    memmove(&h->at[at], &h->at[at + count], (h->count - at) * sizeof(hole));
    if (h->count == 0)
        holes_clear(hp, h);
}

/* Room for one more range. The oldest gives way: it is the one that the others wait for least. */
static bool make_room(hole_pool *hp, holes *h)
{
    if (!h->at) {
        if (hp->free_count == 0) {
            hp->given_up++;
            return false;
        }
        h->at = hp->free[--hp->free_count];
    } else if (h->count == HOLES_MAX) {
        cut(hp, h, 0, 1);
        hp->given_up++;
        hp->changes++;
    }
    return true;
}

void holes_note(hole_pool *hp, holes *h, uint64_t pn, uint64_t next_before, uint64_t now_ns)
{
    if (pn < next_before) {
        holes_resolved(hp, h, pn);
        return;
    }
    /* What is below the window can not be opened any more. */
    uint64_t count = min_u64(pn - next_before, REPLAY_WINDOW);
    if (count > 0 && make_room(hp, h))
        h->at[h->count++] =
            (hole){ .from = pn - count, .count = (uint32_t)count, .noticed_ms = ms_of(now_ns) };
}

bool holes_resolved(hole_pool *hp, holes *h, uint64_t pn)
{
    uint32_t i = below(h, pn);
    if (i == h->count || h->at[i].from > pn)
        return false;
    hp->changes++;
    hole r = h->at[i];
    if (r.count == 1) {
        cut(hp, h, i, 1);
    } else if (pn == r.from) {
        h->at[i].from++;
        h->at[i].count--;
    } else if (pn == end_of(&r) - 1) {
        h->at[i].count--;
    } else {
        bool is_oldest = i == 0 && h->count == HOLES_MAX;
        i -= h->count == HOLES_MAX && i > 0;
        make_room(hp, h);
        hole upper = { .from = pn + 1, .count = (uint32_t)(end_of(&r) - pn - 1), .noticed_ms = r.noticed_ms };
        uint32_t at = is_oldest ? 0 : i + 1; /* what was below pn has just given way */
        memmove(&h->at[at + 1], &h->at[at], (h->count - at) * sizeof(hole));
        h->at[at] = upper;
        h->count++;
        if (!is_oldest)
            h->at[i].count = (uint32_t)(pn - r.from);
    }
    return true;
}

void holes_expire(hole_pool *hp, holes *h, uint64_t now_ns, uint64_t age_ns)
{
    uint32_t old = 0;
    while (old < h->count && (uint32_t)(ms_of(now_ns) - h->at[old].noticed_ms) >= ms_of(age_ns))
        old++;
    if (old > 0) {
        hp->changes++;
        cut(hp, h, 0, old);
    }
}

void holes_clear(hole_pool *hp, holes *h)
{
    if (h->at) {
        hp->free[hp->free_count++] = h->at;
        hp->changes++;
    }
    *h = (holes){ 0 };
}

const hole *holes_between(const holes *h, uint64_t from_pn, uint64_t to_pn)
{
    if (from_pn >= to_pn)
        return NULL;
    uint32_t i = below(h, to_pn); /* it, or the one before, is the last that begins below to_pn */
    if (i == h->count || h->at[i].from >= to_pn) {
        if (i == 0)
            return NULL;
        i--;
    }
    uint64_t first = max_u64(h->at[i].from, from_pn + 1);
    return first < min_u64(end_of(&h->at[i]), to_pn) ? &h->at[i] : NULL;
}
