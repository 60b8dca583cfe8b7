/* allowed_ips.h - which peer may use an inner address: longest prefix, IPv4 and IPv6.
 *
 * A path-compressed binary trie in a fixed arena. The whole table is built anew in the spare arena
 * and swapped, so there is no removal and no half-changed state. */
#ifndef OXI_ALLOWED_IPS_H
#define OXI_ALLOWED_IPS_H
#include "base.h"
#include "limits.h"

typedef struct route_node {
    uint8_t key[16];
    int32_t child[2]; /* index into the arena, -1: none */
    int32_t peer;     /* -1: a branching point only */
    uint8_t bits;
} route_node;

typedef struct route_table {
    route_node *nodes; /* 2 * routes_max: every insertion makes at most two */
    uint32_t used;
    uint32_t cap;
    int32_t root4, root6;
} route_table;

void routes_clear(route_table *t);
/* OXI_OK, OXI_E_FULL, or OXI_E_ARG for the same prefix twice. Bits of the key past `bits` are ignored. */
int routes_add(route_table *t, const oxi_prefix *prefix);
/* Prefixes of this peer lead nowhere from now on. */
void routes_forget(route_table *t, int32_t peer);
/* The peer with the longest matching prefix, -1: none. ip: 4 or 16 bytes. */
int32_t routes_find(const route_table *t, bool is_v6, const uint8_t *ip);
#endif
