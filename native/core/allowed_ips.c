/* allowed_ips.c - insertion and look-up of the allowed-ips trie. */
#include "allowed_ips.h"

static bool bit_of(const uint8_t *key, uint32_t i) { return (key[i / 8] >> (7 - i % 8)) & 1; }

/* How many leading bits a and b share, at most max. */
static uint32_t common_bits(const uint8_t *a, const uint8_t *b, uint32_t max)
{
    uint32_t n = 0;
    while (n + 8 <= max && a[n / 8] == b[n / 8])
        n += 8;
    while (n < max && bit_of(a, n) == bit_of(b, n))
        n++;
    return n;
}

void routes_clear(route_table *t)
{
    t->used = 0;
    t->root4 = -1;
    t->root6 = -1;
}

static int32_t node_new(route_table *t, const uint8_t *key, uint32_t bits, int32_t peer)
{
    OXI_ASSERT(t->used < t->cap);
    route_node *n = &t->nodes[t->used];
    memset(n, 0, sizeof *n);
    memcpy(n->key, key, (bits + 7) / 8);
    n->bits = (uint8_t)bits;
    n->child[0] = n->child[1] = -1;
    n->peer = peer;
    return (int32_t)t->used++;
}

int routes_add(route_table *t, const oxi_prefix *prefix)
{
    if (t->cap - t->used < 2)
        return OXI_E_FULL;
    uint32_t bits = prefix->bits;
    int32_t *link = prefix->family == OXI_AF_INET6 ? &t->root6 : &t->root4;
    while (*link >= 0) {
        route_node *n = &t->nodes[*link];
        uint32_t common = common_bits(n->key, prefix->ip, bits < n->bits ? bits : n->bits);
        if (common == n->bits && n->bits == bits) {
            if (n->peer >= 0)
                return OXI_E_ARG;
            n->peer = (int32_t)prefix->peer;
            return OXI_OK;
        }
        if (common < n->bits) { /* the new prefix ends inside this edge, or leaves it there */
            int32_t below = *link;
            bool side = bit_of(n->key, common);
            int32_t top = node_new(t, prefix->ip, common, common == bits ? (int32_t)prefix->peer : -1);
            t->nodes[top].child[side] = below;
            if (common < bits)
                t->nodes[top].child[!side] = node_new(t, prefix->ip, bits, (int32_t)prefix->peer);
            *link = top;
            return OXI_OK;
        }
        link = &n->child[bit_of(prefix->ip, n->bits)];
    }
    *link = node_new(t, prefix->ip, bits, (int32_t)prefix->peer);
    return OXI_OK;
}

void routes_forget(route_table *t, int32_t peer)
{
    for (uint32_t i = 0; i < t->used; i++)
        if (t->nodes[i].peer == peer)
            t->nodes[i].peer = -1;
}

int32_t routes_find(const route_table *t, bool is_v6, const uint8_t *ip)
{
    uint32_t width = is_v6 ? 128 : 32;
    int32_t at = is_v6 ? t->root6 : t->root4;
    int32_t found = -1;
    while (at >= 0) {
        const route_node *n = &t->nodes[at];
        if (common_bits(n->key, ip, n->bits) < n->bits)
            break;
        if (n->peer >= 0)
            found = n->peer;
        if (n->bits == width)
            break;
        at = n->child[bit_of(ip, n->bits)];
    }
    return found;
}
