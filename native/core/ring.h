/* ring.h - one-writer one-reader ring of fixed slots between the data plane's thread and Python.
 * Neither side ever waits: full is false for the writer, empty is NULL for the reader. */
#ifndef OXI_RING_H
#define OXI_RING_H
#include "base.h"

typedef struct ring {
    uint8_t *slots;
    uint32_t slot_bytes;
    uint32_t count;   /* power of two */
    uint32_t head;    /* next to read; written by the reader only */
    uint32_t tail;    /* next to write; written by the writer only */
} ring;

static inline void *ring_write_slot(ring *r) /* NULL: full */
{
    uint32_t head = __atomic_load_n(&r->head, __ATOMIC_ACQUIRE);
    if (r->tail - head == r->count)
        return NULL;
    return r->slots + (size_t)(r->tail & (r->count - 1)) * r->slot_bytes;
}
static inline uint32_t ring_room(const ring *r) /* for the writer: slots free now, or a moment ago */
{
    return r->count - (r->tail - __atomic_load_n(&r->head, __ATOMIC_ACQUIRE));
}
static inline void ring_written(ring *r) { __atomic_store_n(&r->tail, r->tail + 1, __ATOMIC_RELEASE); }

static inline void *ring_read_slot(ring *r) /* NULL: empty */
{
    uint32_t tail = __atomic_load_n(&r->tail, __ATOMIC_ACQUIRE);
    if (r->head == tail)
        return NULL;
    return r->slots + (size_t)(r->head & (r->count - 1)) * r->slot_bytes;
}
static inline void ring_read_done(ring *r) { __atomic_store_n(&r->head, r->head + 1, __ATOMIC_RELEASE); }

/* Slots of the two datagram rings. */
typedef struct datagram_slot {
    oxi_addr addr;  /* control: where it came from */
    uint32_t peer;  /* carrier: whose connection takes it */
    uint32_t len;
    uint8_t data[OXI_CONTROL_MAX];
} datagram_slot;
#endif
