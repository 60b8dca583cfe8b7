/* merge.c - the last stage inbound: consecutive segments of a TCP or UDP flow become one super-packet, which
 * the kernel takes in one write and cuts again only where it must (linux/virtio_net.h).
 *
 * Packets are chained, never changed: the header of the super-packet is written apart, so a chain that the
 * kernel refuses can still be written one by one. Two packets are joined only if cutting the super-packet
 * gives back both, byte for byte; what differs at most is the IPv4 ID of datagrams that may not be
 * fragmented, which has no meaning (RFC 6864). Hence: same addresses, ports, TTL, TOS with ECN, DF, flow
 * label; TCP: same acknowledgement, window, options, next sequence number, flags ACK and ECE only, PSH
 * closes; equal sizes, a shorter one closes; and each checksum has been found right, as the kernel will write
 * a new one. */
#include "merge.h"

#include "checksum.h"
#include "l4.h"
#include "stages.h"

/* Where the fields of IP lie that identify a flow, or must not change within one. */
typedef struct ip_layout {
    uint32_t bytes;          /* IP header */
    uint32_t addresses_at;   /* source, target, then the ports, in one piece */
    uint32_t addresses_bytes;
} ip_layout;

static const ip_layout LAYOUT_V4 = { IPV4_HEADER, 12, 8 };
static const ip_layout LAYOUT_V6 = { IPV6_HEADER, 8, 32 };

static const ip_layout *layout_of(const uint8_t *data) { return data[0] >> 4 == 6 ? &LAYOUT_V6 : &LAYOUT_V4; }
static uint32_t payload_bytes(const pkt *p) { return (uint32_t)p->len - p->chain.header_bytes; }

static bool is_same_flow(const uint8_t *a, const uint8_t *b)
{
    const ip_layout *at = layout_of(a);
    bool is_v6 = at == &LAYOUT_V6;
    return (a[0] >> 4) == (b[0] >> 4) && a[is_v6 ? 6 : 9] == b[is_v6 ? 6 : 9] &&
           memcmp(a + at->addresses_at, b + at->addresses_at, at->addresses_bytes + 4) == 0;
}

static uint32_t slot_of(const uint8_t *data)
{
    const ip_layout *at = layout_of(data);
    uint64_t mixed = load_be32(data + at->bytes); /* ports */
    for (uint32_t i = 0; i < at->addresses_bytes; i += 4)
        mixed = (mixed ^ load_be32(data + at->addresses_at + i)) * 0x9e3779b97f4a7c15ULL;
    return (uint32_t)(mixed >> 32) % MERGE_SLOTS;
}

/* ---- chains ---- */

static void chain_emit(dp *d, pkt *head) { fifo_put(&d->inbox, head); }

void inbox_put(dp *d, pkt *p)
{
    p->chain = (pkt_chain){ .last = p, .count = 1 };
    chain_emit(d, p);
}

static void slot_flush(dp *d, uint32_t slot)
{
    merge_table *t = &d->merge;
    if (!t->heads[slot])
        return;
    chain_emit(d, t->heads[slot]);
    t->heads[slot] = NULL;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < t->used_count; i++)
        if (t->used[i] != slot)
            t->used[kept++] = t->used[i];
    t->used_count = kept;
}

void merge_flush(dp *d)
{
    merge_table *t = &d->merge;
    for (uint32_t i = 0; i < t->used_count; i++) {
        chain_emit(d, t->heads[t->used[i]]);
        t->heads[t->used[i]] = NULL;
    }
    t->used_count = 0;
}

static void chain_begin(dp *d, uint32_t slot, pkt *p)
{
    merge_table *t = &d->merge;
    OXI_ASSERT(!t->heads[slot]);
    t->heads[slot] = p;
    t->used[t->used_count++] = (uint8_t)slot;
}

pkt *chain_take_first(dp *d)
{
    pkt *head = fifo_take(&d->inbox);
    pkt *rest = head ? head->chain.next : NULL;
    if (rest) {
        rest->chain.last = head->chain.last;
        rest->chain.count = (uint16_t)(head->chain.count - 1);
        rest->chain.payload_bytes = head->chain.payload_bytes - payload_bytes(head);
        rest->chain.segment_bytes = head->chain.segment_bytes;
        fifo_put_front(&d->inbox, rest);
    }
    return head;
}

/* ---- may it be joined? ---- */

/* Right, and as the kernel would write them: a sum that comes out as zero has two forms (RFC 1624), of which
 * all ones is only ever UDP's. Linux itself sends TCP with the other one now and then. */
static bool sums_are_right(const uint8_t *data, uint32_t len, bool is_v6, uint32_t ip_bytes, uint8_t protocol)
{
    if (!is_v6 && (sum_fold(sum_add(0, data, IPV4_HEADER)) != 0xffff || load_be16(data + 10) == 0xffff))
        return false;
    if (protocol == L4_TCP && load_be16(data + ip_bytes + TCP_CHECKSUM_AT) == 0xffff)
        return false;
    uint32_t l4_len = len - ip_bytes;
    uint64_t sum = sum_pseudo(data + (is_v6 ? 8 : 12), is_v6, protocol, l4_len);
    return sum_fold(sum_add(sum, data + ip_bytes, l4_len)) == 0xffff;
}

/* A segment that could be part of a super-packet, by itself. */
static bool is_joinable(const dp *d, const pkt *p, const l4_view *v)
{
    const uint8_t *l4 = pkt_data(p) + v->ip_bytes;
    uint32_t header = v->ip_bytes + v->l4_bytes;
    if (p->len <= header || (!v->is_v6 && v->ip_bytes != IPV4_HEADER))
        return false;
    if (v->protocol == L4_TCP) {
        bool is_plain = (l4[13] & ~(TCP_PSH | TCP_ECE)) == TCP_ACK && (l4[12] & 0x0f) == 0;
        if (!(d->offload & OXI_OFFLOAD_TSO) || !is_plain)
            return false;
    } else {
        bool is_whole = load_be16(l4 + 4) == p->len - v->ip_bytes && load_be16(l4 + UDP_CHECKSUM_AT) != 0;
        if (!(d->offload & OXI_OFFLOAD_USO) || !is_whole)
            return false;
    }
    return sums_are_right(pkt_data(p), p->len, v->is_v6, v->ip_bytes, v->protocol);
}

/* IPv4 ID: counts up by one, as Linux cuts, or stays while DF is set. */
static bool id_follows(const uint8_t *head, const uint8_t *next, uint16_t count)
{
    uint16_t step = (uint16_t)(load_be16(next + 4) - load_be16(head + 4));
    bool is_df = load_be16(head + 6) & IPV4_DF;
    return is_df || step == count;
}

/* The fields of IP that every packet of a super-packet repeats. */
static bool ip_repeats(const uint8_t *head, const uint8_t *next, uint16_t count)
{
    if (head[0] >> 4 == 6)
        return load_be32(head) == load_be32(next) && head[7] == next[7];
    return head[1] == next[1] && load_be16(head + 6) == load_be16(next + 6) && head[8] == next[8] &&
           id_follows(head, next, count);
}

/* The fields of TCP that every segment repeats, and the sequence number that must come next. */
static bool tcp_repeats(const uint8_t *head, const uint8_t *next, uint32_t bytes, uint32_t payload)
{
    const uint8_t not_psh = (uint8_t)~TCP_PSH;
    return load_be32(next + 4) == load_be32(head + 4) + payload &&
           load_be32(next + 8) == load_be32(head + 8) && head[12] == next[12] &&
           (head[13] & not_psh) == (next[13] & not_psh) && load_be16(head + 14) == load_be16(next + 14) &&
           load_be16(head + 18) == load_be16(next + 18) &&
           memcmp(head + TCP_HEADER, next + TCP_HEADER, bytes - TCP_HEADER) == 0;
}

static bool may_join(const pkt *head, const pkt *p)
{
    const pkt_chain *c = &head->chain;
    const uint8_t *a = pkt_data(head);
    const uint8_t *b = pkt_data(p);
    uint32_t ip_bytes = layout_of(a)->bytes;
    uint32_t payload = payload_bytes(p);
    if (c->count >= MERGE_SEGMENTS_MAX || payload > c->segment_bytes ||
        c->header_bytes + c->payload_bytes + payload > MERGE_BYTES_MAX ||
        c->header_bytes != p->chain.header_bytes || p->peer != head->peer || !ip_repeats(a, b, c->count))
        return false;
    bool is_udp = c->header_bytes == ip_bytes + UDP_HEADER;
    return is_udp || tcp_repeats(a + ip_bytes, b + ip_bytes, c->header_bytes - ip_bytes, c->payload_bytes);
}

/* Nothing may follow: a push, or a segment shorter than the others. */
static bool is_closing(const pkt *p, const l4_view *v, uint32_t segment_bytes)
{
    bool is_push = v->protocol == L4_TCP && (pkt_data(p)[v->ip_bytes + 13] & TCP_PSH);
    return is_push || payload_bytes(p) < segment_bytes;
}

static void chain_append(pkt *head, pkt *p)
{
    pkt_chain *c = &head->chain;
    c->last->chain.next = p;
    c->last = p;
    c->count++;
    c->payload_bytes += payload_bytes(p);
}

static void merge_one(dp *d, pkt *p)
{
    l4_view v;
    bool has_flow = l4_parse(pkt_data(p), p->len, &v) && v.l4_bytes > 0 && !v.is_fragment &&
                    (v.is_v6 || v.ip_bytes == IPV4_HEADER);
    if (!has_flow) { /* a fragment, say, may belong to any flow: what came before it goes before it */
        merge_flush(d);
        inbox_put(d, p);
        return;
    }
    p->chain = (pkt_chain){ .last = p, .count = 1, .header_bytes = (uint16_t)(v.ip_bytes + v.l4_bytes) };
    uint32_t slot = slot_of(pkt_data(p));
    pkt *head = d->merge.heads[slot];
    bool can_join = is_joinable(d, p, &v);
    if (can_join && head && is_same_flow(pkt_data(head), pkt_data(p)) && may_join(head, p)) {
        chain_append(head, p);
        if (is_closing(p, &v, head->chain.segment_bytes) || head->chain.count >= MERGE_SEGMENTS_MAX)
            slot_flush(d, slot);
        return;
    }
    slot_flush(d, slot);
    p->chain.segment_bytes = (uint16_t)(can_join ? payload_bytes(p) : 0);
    p->chain.payload_bytes = p->chain.segment_bytes;
    if (can_join && !is_closing(p, &v, p->chain.segment_bytes))
        chain_begin(d, slot, p);
    else
        chain_emit(d, p);
}

void merge_batch(dp *d, batch *b)
{
    COUNT_ADD(d->stats.deliver_held_packets, b->count);
    for (uint32_t i = 0; i < b->count; i++)
        merge_one(d, b->pkts[i]);
    b->count = 0;
}

/* ---- what the super-packet says ---- */

uint32_t merge_header(const pkt *head, uint8_t *out, oxi_super *how)
{
    const pkt_chain *c = &head->chain;
    memset(how, 0, sizeof *how);
    if (c->count == 1)
        return 0;
    memcpy(out, pkt_data(head), c->header_bytes);
    bool is_v6 = out[0] >> 4 == 6;
    uint32_t ip_bytes = layout_of(out)->bytes;
    uint32_t total = c->header_bytes + c->payload_bytes;
    uint8_t *l4 = out + ip_bytes;
    bool is_udp = c->header_bytes == ip_bytes + UDP_HEADER;
    if (is_v6) {
        store_be16(out + 4, (uint16_t)(total - IPV6_HEADER));
    } else {
        store_be16(out + 2, (uint16_t)total);
        ipv4_header_sum(out, IPV4_HEADER);
    }
    if (is_udp)
        store_be16(l4 + 4, (uint16_t)(total - ip_bytes));
    else
        l4[13] |= pkt_data(c->last)[ip_bytes + 13] & TCP_PSH;
    *how = (oxi_super){ .kind = is_udp ? OXI_SUPER_UDP : is_v6 ? OXI_SUPER_TCP6 : OXI_SUPER_TCP4,
                        .needs_csum = 1,
                        .segment_bytes = c->segment_bytes,
                        .csum_start = (uint16_t)ip_bytes,
                        .csum_offset = is_udp ? UDP_CHECKSUM_AT : TCP_CHECKSUM_AT,
                        .header_bytes = c->header_bytes };
    uint64_t sum = sum_pseudo(out + (is_v6 ? 8 : 12), is_v6, is_udp ? L4_UDP : L4_TCP, total - ip_bytes);
    sum_store(l4 + how->csum_offset, sum_fold(sum));
    return c->header_bytes;
}
