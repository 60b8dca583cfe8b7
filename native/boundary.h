/* boundary.h - a plane behind its handle, and calls carried over to the thread that owns it. */
#ifndef OXI_BOUNDARY_H
#define OXI_BOUNDARY_H
#include "core/stages.h"
#include "io/io.h"

struct oxi_dp {
    uint32_t workers;
    uint8_t *owners;          /* the worker that sends to each peer */
    io *ios[OXI_WORKERS_MAX]; /* NULL: no thread runs; the caller owns the planes */
    dp cores[];
};

typedef struct call {
    int (*run)(dp *d, struct call *c);
    dp *core;
    int result;
    uint64_t now_ns;
    uint64_t a, b;
    uint32_t peer, path, flags, count, stride;
    uint32_t *out;
    const void *data;
    const void *more;
} call;

/* Run c->run(core, c) on the thread that owns the plane of this worker, and wait. E_ARG: no plane. */
int worker_call(oxi_dp *h, uint32_t worker, call *c);
/* The same for the worker that sends to c->peer; for all, one after the other: the first error, if any. */
int owner_call(oxi_dp *h, call *c);
int all_call(oxi_dp *h, call *c);

static inline peer *peer_of(dp *d, uint32_t number) /* NULL: no such peer */
{
    return number < d->conf.peers_max && d->peers[number].is_live ? &d->peers[number] : NULL;
}

bool addr_is_good(const oxi_addr *a);

/* A super-packet is told by its offload header; a device without one would take that for the packet's. */
static inline bool offload_fits(uint32_t offload, uint32_t tun_has_header)
{
    return tun_has_header || !(offload & (OXI_OFFLOAD_TSO | OXI_OFFLOAD_USO));
}
#endif
