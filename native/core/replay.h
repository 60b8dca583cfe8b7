/* replay.h - which packet numbers have been opened: a sliding window in the shape of RFC 6479.
 *
 * A ring of 64-bit words; moving forward clears the words it enters, so there is no shifting. One
 * word is always partly cleared ahead, hence REPLAY_WINDOW = (words - 1) * 64. Acknowledgements
 * are made from the same bits. */
#ifndef OXI_REPLAY_H
#define OXI_REPLAY_H
#include "limits.h"
#include "base.h"

typedef struct replay {
    uint64_t next; /* largest opened + 1; 0: none yet */
    uint64_t words[REPLAY_WORDS];
} replay;

typedef enum { REPLAY_NEW, REPLAY_SEEN, REPLAY_OLD } replay_verdict;

static inline bool replay_has(const replay *r, uint64_t pn) /* pn within the window below next */
{
    return (r->words[(pn / 64) & (REPLAY_WORDS - 1)] >> (pn % 64)) & 1;
}

static inline replay_verdict replay_check(const replay *r, uint64_t pn)
{
    if (pn >= r->next)
        return REPLAY_NEW;
    if (r->next - pn > REPLAY_WINDOW)
        return REPLAY_OLD;
    return replay_has(r, pn) ? REPLAY_SEEN : REPLAY_NEW;
}

/* Mark pn as opened; the caller has just checked that it is new. */
static inline void replay_mark(replay *r, uint64_t pn)
{
    if (pn >= r->next) {
        uint64_t from = r->next ? (r->next - 1) / 64 : 0;
        uint64_t to = pn / 64;
        uint64_t clear = min_u64(to - from, REPLAY_WORDS);
        for (uint64_t i = 0; i < clear; i++)
            r->words[(to - i) & (REPLAY_WORDS - 1)] = 0;
        r->next = pn + 1;
    }
    r->words[(pn / 64) & (REPLAY_WORDS - 1)] |= 1ULL << (pn % 64);
}
/* The same for a number that may have been marked before, or be too old to matter. */
static inline void replay_mark_any(replay *r, uint64_t pn)
{
    if (replay_check(r, pn) == REPLAY_NEW)
        replay_mark(r, pn);
}

/* Mark from..to - 1, as far as they are within the window below next. */
static inline void replay_mark_range(replay *r, uint64_t from, uint64_t to)
{
    uint64_t low = r->next > REPLAY_WINDOW ? r->next - REPLAY_WINDOW : 0;
    from = max_u64(from, low);
    to = min_u64(to, r->next);
    while (from < to) {
        uint64_t count = min_u64(to - from, 64 - from % 64);
        uint64_t bits = count == 64 ? UINT64_MAX : (1ULL << count) - 1;
        r->words[(from / 64) & (REPLAY_WORDS - 1)] |= bits << (from % 64);
        from += count;
    }
}
#endif
