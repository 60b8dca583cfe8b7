/* pack.h - datagrams whose inner packets have not been taken out yet (pack.c). */
#ifndef OXI_PACK_H
#define OXI_PACK_H
#include "pkt.h"

/* Whether it may share a datagram. */
static inline bool pkt_is_small(const pkt *p) { return p->len <= BUNDLE_ITEM_MAX; }

typedef struct unpacker {
    uint32_t count;
    uint32_t next;
    bool is_open; /* of datagrams[next] a part has been taken */
    pkt *datagrams[OXI_BATCH_MAX];
} unpacker;

/* Takes over what is in b and leaves it empty; all that was taken over before must be done with. */
void unpack_begin(unpacker *u, batch *b);
static inline bool unpack_is_done(const unpacker *u) { return u->next == u->count; }
#endif
