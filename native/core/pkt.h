/* pkt.h - a packet with room in front and behind, and the pool it lives in.
 *
 *     base        off              off+len             buf_bytes
 *      |  headroom  |     data       |    tailroom     |
 *
 * A pkt is owned by exactly one of: the pool, a batch, a fifo. A stage that drops gives it back by
 * drop(); whoever hands it on no longer touches it. */
#ifndef OXI_PKT_H
#define OXI_PKT_H
#include "base.h"
#include "limits.h"

struct session;
struct pkt;

/* Packets that leave together as one super-packet; kept in the first of them (merge.c). */
typedef struct pkt_chain {
    struct pkt *next;
    struct pkt *last;
    uint32_t payload_bytes;  /* of all */
    uint16_t count;          /* packets, this one included */
    uint16_t segment_bytes;  /* payload of each but the last; 0: nothing may join */
    uint16_t header_bytes;   /* IP and TCP or UDP */
} pkt_chain;

typedef struct pkt {
    uint64_t pn;             /* packet number, once known */
    struct session *session; /* inbound: that opened it; outbound: that seals it */
    oxi_addr addr;           /* inbound: where from; outbound: where to */
    uint32_t peer;
    uint32_t inner_bytes;    /* of the inner packets; 0: a datagram of our own frames */
    uint16_t inner_packets;  /* outbound: how many it carries */
    uint16_t off;
    uint16_t len;
    uint8_t path;
    uint8_t ecn;             /* ECN bits of the outer header, both directions */
    uint8_t is_newest;       /* inbound: its packet number was the largest yet */
    uint8_t keeps_addr;      /* inbound: a PONG or a probe: the address of the peer stays */
    pkt_chain chain;         /* inbound, from merge on */
    uint8_t *base;           /* buf, or bytes of the shell: see pkt_borrow() */
    uint32_t buf_bytes;      /* set once; all above is cleared when the packet is taken */
    _Alignas(16) uint8_t buf[];
} pkt;

static inline uint8_t *pkt_data(const pkt *p) { return p->base + p->off; }
static inline void pkt_push(pkt *p, uint32_t n) /* n more bytes in front */
{
    OXI_ASSERT(n <= p->off);
    p->off = (uint16_t)(p->off - n);
    p->len = (uint16_t)(p->len + n);
}
static inline void pkt_pull(pkt *p, uint32_t n) /* n bytes fewer in front */
{
    OXI_ASSERT(n <= p->len);
    p->off = (uint16_t)(p->off + n);
    p->len = (uint16_t)(p->len - n);
}
static inline void pkt_grow(pkt *p, uint32_t n) /* n more bytes behind */
{
    OXI_ASSERT(p->base == p->buf && (uint32_t)p->off + p->len + n <= p->buf_bytes);
    p->len = (uint16_t)(p->len + n);
}

/* The packet is these bytes, without a copy and without room in front or behind. They are the shell's, which
 * keeps them until it has emptied the inbox: whoever holds a packet for longer must copy it. */
static inline void pkt_borrow(pkt *p, uint8_t *data, uint32_t len)
{
    p->base = data;
    p->off = 0;
    p->len = (uint16_t)len;
}

/* A fixed set of packets, last in first out so that the warm ones are used again. */
typedef struct pool {
    uint8_t *all;
    pkt **free;
    uint32_t free_count;
    uint32_t count;
    uint32_t data_max; /* bytes that fit behind the headroom, with room for a tag behind them */
} pool;

static inline pkt *pool_take(pool *pl) /* NULL: none left; the caller counts it */
{
    if (OXI_UNLIKELY(pl->free_count == 0))
        return NULL;
    pkt *p = pl->free[--pl->free_count];
    memset(p, 0, offsetof(pkt, buf_bytes));
    p->base = p->buf;
    p->off = PKT_HEADROOM;
    return p;
}
static inline void pool_give(pool *pl, pkt *p)
{
    OXI_ASSERT(pl->free_count < pl->count);
    pl->free[pl->free_count++] = p;
}

/* Packets on their way out of the core, first in first out; holds the whole pool, so never full. */
typedef struct fifo {
    pkt **slots;
    uint32_t cap;   /* power of two */
    uint32_t head;
    uint32_t count;
} fifo;

static inline void fifo_put(fifo *f, pkt *p)
{
    OXI_ASSERT(f->count < f->cap);
    f->slots[(f->head + f->count++) & (f->cap - 1)] = p;
}
static inline void fifo_put_front(fifo *f, pkt *p)
{
    OXI_ASSERT(f->count < f->cap);
    f->head = (f->head - 1) & (f->cap - 1);
    f->slots[f->head] = p;
    f->count++;
}
static inline pkt *fifo_peek(const fifo *f, uint32_t i)
{
    OXI_ASSERT(i < f->count);
    return f->slots[(f->head + i) & (f->cap - 1)];
}
static inline pkt *fifo_take(fifo *f)
{
    if (f->count == 0)
        return NULL;
    pkt *p = f->slots[f->head];
    f->head = (f->head + 1) & (f->cap - 1);
    f->count--;
    return p;
}

typedef struct batch {
    uint64_t now_ns;
    uint32_t count;
    pkt *pkts[OXI_BATCH_MAX];
} batch;

static inline void batch_add(batch *b, pkt *p)
{
    OXI_ASSERT(b->count < OXI_BATCH_MAX);
    b->pkts[b->count++] = p;
}
#endif
