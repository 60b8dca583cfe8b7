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

/* Packets of a TCP flow that wait for what is missing before them (order.c): runs without a gap, one behind
 * the other. Of all but the first packet of a run only `next` is used. */
typedef struct pkt_wait {
    struct pkt *next;    /* of this run, or the first of the next one */
    struct pkt *last;    /* of this run */
    uint32_t seq;
    uint32_t end;        /* sequence number behind the run */
    uint32_t due_ms;     /* when it goes on whatever is missing; low bits */
} pkt_wait;

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
    uint8_t traffic_class;   /* outbound: OXI_CLASS_*, from classify on */
    uint8_t keeps_addr;      /* inbound: a PONG or a probe: the address of the peer stays */
    uint8_t is_prompt;       /* inbound: to be acknowledged at once */
    uint8_t is_source;       /* inbound: its content may be named by a repair symbol */
    uint8_t is_repeat;       /* inbound: its content first left in another datagram */
    uint8_t elicits;         /* inbound: it wants to be acknowledged */
    uint8_t is_resent;       /* outbound: of TCP, and sent before */
    uint8_t is_bare;         /* outbound: nothing that is missed: a TCP acknowledgement alone */
    uint8_t is_pushed;       /* outbound: the end of what a TCP application has written for now */
    uint8_t content_path;    /* inbound: the content is known by this path and number */
    uint8_t code_stream;     /* inbound, of a source: its stream, and its place in it */
    uint16_t code_seq;
    uint64_t content_pn;
    union {
        pkt_wait wait;       /* inbound, in order */
        pkt_chain chain;     /* inbound, from merge on */
    };
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
