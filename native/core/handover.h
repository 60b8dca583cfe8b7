/* handover.h - workers: several data planes, each with a thread of its own, that share the peers.
 *
 * A session belongs to one worker, told by its receiver index (index modulo workers), so the kernel can steer
 * each datagram to where it is opened. A peer belongs to the worker of the session that sends; the others
 * keep a record of it that sleeps. What a worker reads from its queue of the TUN for another worker's peer
 * goes there through a ring: between workers nothing else is shared, and no lock is taken. */
#ifndef OXI_HANDOVER_H
#define OXI_HANDOVER_H
#include "limits.h"
#include "ring.h"

struct dp;

typedef struct handover {
    uint32_t worker;            /* which one we are */
    uint32_t workers;
    uint8_t *owners;            /* worker of each peer; written by the control plane, read by all */
    ring to[OXI_WORKERS_MAX];   /* ours to write */
    ring *from[OXI_WORKERS_MAX]; /* ours to read; NULL: our own place */
    uint32_t pending;           /* bit per worker: something new lies in its ring */
} handover;

/* What lies in the rings. */
typedef struct handover_slot {
    uint32_t peer;
    uint16_t len;
    uint8_t ecn;
    uint8_t data[];
} handover_slot;

/* Whether one more super-packet of our queue can be handed over, with so many packets that wait in a batch,
 * whoever their peer belongs to. If not, it stays in the queue, where the kernel slows down who sends: a full
 * ring would be a loss. */
static inline bool handover_has_room(const handover *h, uint32_t waiting)
{
    for (uint32_t w = 0; h->workers > 1 && w < h->workers; w++)
        if (w != h->worker && ring_room(&h->to[w]) < HANDOVER_ROOM_MIN + waiting)
            return false;
    return true;
}

/* Send on what the other workers left here; at most one batch. False: there was nothing. */
bool handover_take(struct dp *d, uint64_t now_ns);
/* The plane stops: what lies here is counted as dropped. */
void handover_drain(struct dp *d);

static inline uint32_t handover_owner(const handover *h, uint32_t number) /* of this peer */
{
    return __atomic_load_n(&h->owners[number], __ATOMIC_RELAXED);
}
#endif
