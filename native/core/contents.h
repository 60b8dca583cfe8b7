/* contents.h - what datagrams carried that the peer has not acknowledged, kept so that it can be sent again.
 *
 * A content is the plaintext of a datagram from its first item on, and is known by the path and the packet
 * number that it first left with. All lie in one arena in the order in which they were sent, and each in one
 * list of the path that carries it now. What is acknowledged leaves its list at once; its place comes free
 * when it has become the oldest. Where there is no room the oldest goes, acknowledged or not: so a peer that
 * never acknowledges costs nothing but that. */
#ifndef OXI_CONTENTS_H
#define OXI_CONTENTS_H
#include "limits.h"
#include "rlc.h"

/* BULK: waits for acknowledgements; TIMED: of a class with a deadline; AGAIN: sent more than once. */
typedef enum { CONTENTS_BULK, CONTENTS_TIMED, CONTENTS_AGAIN, CONTENTS_LISTS } contents_list;

typedef struct kept_content {
    uint64_t first_pn;
    uint64_t pn;         /* of the newest datagram that carries it */
    uint64_t earlier[2]; /* those of the two before; NO_PN: none */
    uint64_t sent_ns;    /* the newest one */
    uint64_t leave_ns;   /* what leaves later comes too late */
    uint64_t at;         /* symbol in the arena, counted from its beginning through all turns */
    uint32_t peer;
    uint64_t seq;        /* in its stream */
    uint32_t member_before; /* the one before it in its stream: slot + 1 */
    uint32_t before;     /* in its list: slot + 1; 0: none */
    uint32_t behind;
    uint16_t len;
    uint8_t path;
    uint8_t first_path;
    uint8_t traffic_class;
    uint8_t list;        /* contents_list */
    uint8_t rounds;      /* of repetition that have begun */
    uint8_t copies_left; /* of this round */
    bool is_live;
    bool is_prompt;      /* asked to be acknowledged at once */
    bool is_passed;      /* later ones have been acknowledged */
    bool is_of_full;     /* and a queue was full when that was first seen */
    bool is_resent;      /* by its sender: it knows of a full queue already */
    bool is_source;      /* member of a code: of the stream of its class */
    bool owes_code;      /* a repair symbol is to be made when it is old enough */
} kept_content;

#define NO_PN UINT64_MAX

typedef struct contents {
    uint8_t *arena;      /* of symbols (rlc.h) */
    kept_content *slots; /* CONTENTS_MAX, by id modulo that */
    uint32_t bytes;   /* of the arena */
    uint64_t head;    /* next id */
    uint64_t tail;    /* oldest id whose place is not free */
    uint64_t head_at;
} contents;

typedef struct contents_ends {
    uint32_t first; /* slot + 1 */
    uint32_t last;
    uint32_t count;
} contents_ends;

static inline kept_content *content_of(const contents *s, uint32_t slot_and_1) /* NULL: none */
{
    return slot_and_1 ? &s->slots[slot_and_1 - 1] : NULL;
}
static inline uint8_t *content_symbol(const contents *s, const kept_content *c)
{
    return s->arena + c->at % s->bytes;
}
static inline const uint8_t *content_data(const contents *s, const kept_content *c)
{
    return content_symbol(s, c) + RLC_SYMBOL_HEAD;
}
static inline uint32_t content_padded(uint32_t len) { return gf256_padded(RLC_SYMBOL_HEAD + len); }

/* Where so many bytes begin in an arena of this size that is filled again and again: never broken by its end.
 * head_at counts all bytes so far. */
static inline uint64_t arena_place(uint64_t head_at, uint64_t size, uint32_t bytes)
{
    uint64_t left = size - head_at % size;
    return left >= bytes ? head_at : head_at + left;
}

/* The oldest content, which must go for `padded` more bytes or another slot; NULL: there is room. Those that
 * are not live any more are passed over. */
kept_content *contents_crowded(contents *s, uint32_t padded);
/* A new content, in all else like that one; what was crowded must have been let go. The caller lists it. */
kept_content *content_add(contents *s, const kept_content *like, const uint8_t *data, uint32_t len);
void content_append(contents *s, contents_ends *list, kept_content *c);
/* Out of its list, and no longer live. */
void content_end(contents *s, contents_ends *list, kept_content *c);
#endif
