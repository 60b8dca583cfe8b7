/* holes.h - which packet numbers of a path are missing, as far as somebody may still wait for them.
 *
 * Ranges, sorted, the oldest first. A number is missing from when a later one was opened until it comes
 * itself, its content comes some other way, its sender gives it up, or it is too old. A path borrows room for
 * its ranges only while it has some: most paths of most peers never do. Where there is no room a number
 * counts as not missing, so that nobody waits for it. */
#ifndef OXI_HOLES_H
#define OXI_HOLES_H
#include "base.h"
#include "limits.h"

typedef struct hole {
    uint64_t from; /* first number that is missing */
    uint32_t count;
    uint32_t noticed_ms; /* low bits */
} hole;

/* Of one path under the session that is received now; all zero: nothing is missing. */
typedef struct holes {
    hole *at; /* HOLES_MAX, borrowed; NULL: none */
    uint32_t count;
} holes;

typedef struct hole_pool {
    hole *all;
    hole **free; /* rooms of HOLES_MAX each */
    uint32_t free_count;
    uint64_t changes;  /* times that a number stopped being missing, by whatever way */
    uint64_t given_up; /* ranges for which there was no room */
} hole_pool;

static inline bool holes_any(const holes *h) { return h->count > 0; }

/* pn has been opened, when next_before was the largest number so far + 1. */
void holes_note(hole_pool *hp, holes *h, uint64_t pn, uint64_t next_before, uint64_t now_ns);
static inline void holes_opened(hole_pool *hp, holes *h, uint64_t pn, uint64_t next_before, uint64_t now_ns)
{
    if (OXI_UNLIKELY(pn != next_before))
        holes_note(hp, h, pn, next_before, now_ns);
}
/* The content of pn has come, or never will. False: it was not missing. */
bool holes_resolved(hole_pool *hp, holes *h, uint64_t pn);
void holes_expire(hole_pool *hp, holes *h, uint64_t now_ns, uint64_t age_ns);
void holes_clear(hole_pool *hp, holes *h);
/* The newest range that has numbers strictly between these two; NULL: nothing is missing there. */
const hole *holes_between(const holes *h, uint64_t from_pn, uint64_t to_pn);
static inline bool holes_any_between(const holes *h, uint64_t from_pn, uint64_t to_pn)
{
    return holes_any(h) && holes_between(h, from_pn, to_pn) != NULL;
}
#endif
