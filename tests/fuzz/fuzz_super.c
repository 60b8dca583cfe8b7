/* fuzz_super.c - super-packets: what is cut out of them, and what is joined into them.
 *
 * Invariant: split refuses an arbitrary offload header over arbitrary bytes, or makes as many packets of it
 * as its numbers say, each what a slow second version makes, each whole (ip_parse), and nothing is read or
 * written beyond either end; a header that Linux would make is never refused. What comes to merge leaves
 * once, flow by flow in order; a chain has at most 64 packets of one peer and 65,535 bytes, and its
 * super-packet, cut by the second version and by split itself, gives back the packets byte for byte, but for
 * the IPv4 ID (and the header sum over it) where DF is set. A packet without a flow overtakes nothing and
 * nothing overtakes it. Parsers: ip_parse. */
#include <stdlib.h>
#include <string.h>

#include "../../native/core/l4.h"
#include "../../native/core/aead_library.h"
#include "../../native/core/stages.h"
#include "support.h"

enum { PKTS_MAX = 200, FLOWS = 4, SEGMENT_MAX = 1300, PKT_ROOM = 1420, HEADERS_MAX = 128 };

/* ---- the slow version ---- */

static uint16_t words_sum(const uint8_t *at, uint32_t len, uint32_t sum)
{
    for (uint32_t i = 0; i < len; i++)
        sum += (uint32_t)at[i] << (i % 2 ? 0 : 8);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

static bool is_six(const uint8_t *p) { return p[0] >> 4 == 6; }
static uint32_t ip_bytes_of(const uint8_t *p) { return is_six(p) ? 40 : (p[0] & 15U) * 4; }

static uint16_t pseudo_of(const uint8_t *p, uint32_t l4_len, bool is_udp)
{
    uint16_t sum = words_sum(p + (is_six(p) ? 8 : 12), is_six(p) ? 32 : 8, 0);
    return words_sum(NULL, 0, (uint32_t)sum + (is_udp ? 17 : 6) + (l4_len >> 16) + (l4_len & 0xffff));
}

static uint32_t sum_at(bool is_udp) { return is_udp ? 6 : 16; }

/* Lengths and checksums as they must be for this many bytes, where TCP or UDP begins at `start`. */
static void finish(uint8_t *p, uint32_t len, uint32_t start, bool is_udp)
{
    if (is_six(p)) {
        store_be16(p + 4, (uint16_t)(len - 40));
    } else {
        store_be16(p + 2, (uint16_t)len);
        store_be16(p + 10, 0);
        store_be16(p + 10, (uint16_t)~words_sum(p, ip_bytes_of(p), 0));
    }
    if (is_udp)
        store_be16(p + start + 4, (uint16_t)(len - start));
    uint8_t *field = p + start + sum_at(is_udp);
    store_be16(field, 0);
    uint16_t sum = (uint16_t)~words_sum(p + start, len - start, pseudo_of(p, len - start, is_udp));
    store_be16(field, sum == 0 && is_udp ? 0xffff : sum);
}

/* A super-packet as it lies in memory. */
typedef struct whole {
    uint8_t *data;
    uint32_t len;
    oxi_super how;
} whole;

static uint32_t headers_of(const whole *w)
{
    uint32_t start = w->how.csum_start;
    return start + (w->how.kind == OXI_SUPER_UDP ? 8 : (w->data[start + 12] >> 4) * 4U);
}

static uint32_t packets_of(const whole *w)
{
    if (w->how.kind == OXI_SUPER_NONE)
        return 1;
    return (w->len - headers_of(w) + w->how.segment_bytes - 1) / w->how.segment_bytes;
}

/* Packet number i of a super-packet that was not refused. Returns its length. */
static uint32_t slow_cut(const whole *w, uint32_t i, uint8_t *out)
{
    uint32_t head = headers_of(w), start = w->how.csum_start, segment = w->how.segment_bytes;
    bool is_udp = w->how.kind == OXI_SUPER_UDP, is_last = i + 1 == packets_of(w);
    uint32_t payload = is_last ? w->len - head - i * segment : segment;
    memcpy(out, w->data, head);
    memcpy(out + head, w->data + head + i * segment, payload);
    if (!is_six(out))
        store_be16(out + 4, (uint16_t)(load_be16(out + 4) + i));
    if (!is_udp) {
        store_be32(out + start + 4, load_be32(out + start + 4) + i * segment);
        out[start + 13] &= (uint8_t)~((is_last ? 0 : TCP_FIN | TCP_PSH) | (i > 0 ? TCP_CWR : 0));
    }
    finish(out, head + payload, start, is_udp);
    return head + payload;
}

/* ---- split ---- */

/* Anything at all. */
static void whole_raw(whole *w, input *in)
{
    w->how.kind = (uint8_t)(input_number(in, 1) % 6);
    w->how.needs_csum = input_number(in, 1) & 1;
    w->how.segment_bytes = (uint16_t)input_number(in, 2);
    w->how.csum_start = (uint16_t)(input_number(in, 2) % 128);
    w->how.csum_offset = (uint16_t)(input_number(in, 1) & 0x80 ? input_number(in, 2) : sum_at(in->left & 1));
    w->len = (uint32_t)input_number(in, 2) % (OXI_SUPER_MAX + 1);
    w->data = malloc(w->len ? w->len : 1);
    must(w->data != NULL, "memory");
    memset(w->data, 0x45, w->len);
    input_copy(in, w->data, w->len);
}

/* What Linux would hand over. */
static void whole_good(whole *w, input *in)
{
    uint32_t shape = (uint32_t)input_number(in, 1);
    bool v6 = shape & 1, is_udp = shape & 2;
    uint32_t start = v6 ? 40 + (shape >> 2 & 1) * 8 : 20 + (shape >> 2 & 3) * 4;
    uint32_t words = 5 + (uint32_t)input_number(in, 1) % 11;
    uint32_t head = start + (is_udp ? 8 : words * 4);
    uint32_t payload = 1 + (uint32_t)input_number(in, 2) % (65535 - head);
    w->len = head + payload;
    w->data = malloc(w->len);
    must(w->data != NULL, "memory");
    memset(w->data, 0x5a, w->len);
    uint32_t copied = input_copy(in, w->data, head + 300 < w->len ? head + 300 : w->len);
    for (uint32_t i = copied; i < w->len; i++)
        w->data[i] = (uint8_t)(i * 7);
    w->data[0] = (uint8_t)(v6 ? 0x60 : 0x40 | start / 4);
    w->data[v6 ? 6 : 9] = is_udp ? 17 : 6;
    if (v6 && start > 40)
        w->data[6] = 60; /* destination options */
    if (!v6)
        store_be16(w->data + 6, load_be16(w->data + 6) & IPV4_DF);
    if (!is_udp)
        w->data[start + 12] = (uint8_t)(words << 4);
    finish(w->data, w->len, start, is_udp);
    store_be16(w->data + start + sum_at(is_udp), pseudo_of(w->data, payload + head - start, is_udp));
    uint32_t wanted = (uint32_t)(shape >> 5 ? payload / (shape >> 5) : input_number(in, 2) % payload);
    /* At most 400 packets: more are only slower. */
    uint32_t segment = 1 + (wanted > payload / 400 ? wanted : payload / 400);
    w->how = (oxi_super){ .kind = is_udp ? OXI_SUPER_UDP : v6 ? OXI_SUPER_TCP6 : OXI_SUPER_TCP4,
                          .needs_csum = 1, .segment_bytes = (uint16_t)segment,
                          .csum_start = (uint16_t)start, .csum_offset = (uint16_t)sum_at(is_udp) };
}

/* Cut it. is_right: the checksum field held what the kernel leaves there; then what comes is right, too. */
static void whole_cut(const whole *w, bool is_right)
{
    static uint8_t expected[OXI_SUPER_MAX];
    static uint8_t *room; /* what is cut lies at its very end: a write beyond is seen */
    room = room ? room : malloc(OXI_SUPER_MAX);
    must(room != NULL, "memory");
    split s;
    if (!split_begin(&s, w->data, w->len, &w->how)) {
        must(!is_right, "nothing that Linux makes is refused");
        return;
    }
    uint32_t count = 0, len;
    for (; (len = split_peek(&s)) > 0; count++) {
        must(len <= w->len, "no packet is larger than the whole");
        uint8_t *out = room + OXI_SUPER_MAX - len;
        if ((count & 7) == 5)
            split_skip(&s);
        else
            split_next(&s, out);
        if ((count & 7) == 5 || w->how.kind == OXI_SUPER_NONE)
            continue;
        ip_view v;
        must(ip_parse(out, len, &v), "each is a whole packet");
        must(slow_cut(w, count, expected) == len, "of the length that was to be");
        uint32_t field = w->how.csum_start + w->how.csum_offset;
        if (!is_right)
            memcpy(expected + field, out + field, 2);
        must(memcmp(out, expected, len) == 0, "as the slow version makes it");
    }
    must(count == packets_of(w), "as many as the numbers say");
}

/* One packet whose checksum only is left to us. */
static void whole_sum(const whole *w)
{
    split s;
    whole one = *w;
    one.how.kind = OXI_SUPER_NONE;
    bool is_udp = w->how.kind == OXI_SUPER_UDP;
    uint8_t *out = malloc(w->len);
    must(out != NULL && split_begin(&s, one.data, one.len, &one.how), "a checksum to finish is taken");
    must(split_peek(&s) == w->len, "one packet");
    split_next(&s, out);
    must(split_peek(&s) == 0, "and no more");
    finish(one.data, one.len, w->how.csum_start, is_udp);
    uint32_t field = w->how.csum_start + w->how.csum_offset;
    if (load_be16(one.data + field) == 0)
        store_be16(one.data + field, 0xffff); /* its twin; TCP takes either */
    must(memcmp(one.data, out, w->len) == 0, "the sum is right");
    free(out);
}

static void split_run(input *in)
{
    whole w = { .len = 0 };
    uint32_t mode = (uint32_t)input_number(in, 1);
    if (mode & 1) {
        whole_raw(&w, in);
        whole_cut(&w, false);
    } else {
        whole_good(&w, in);
        for (uint32_t i = mode >> 1 & 3; i > 0; i--) { /* nearly what Linux would hand over */
            w.data[input_number(in, 1) % w.len] ^= (uint8_t)input_number(in, 1);
            w.how.csum_start ^= (uint16_t)(mode >> 5);
        }
        whole_cut(&w, (mode >> 1 & 3) == 0);
        if ((mode >> 1 & 3) == 0)
            whole_sum(&w);
    }
    free(w.data);
}

/* ---- merge ---- */

typedef struct sent {
    uint8_t data[PKT_ROOM];
    uint32_t len;
    uint32_t from;
    bool is_claimed;
} sent;

typedef struct super_flow {
    bool is_v6, is_udp, is_df;
    uint32_t segment, words, seq;
    uint16_t ident;
} super_flow;

typedef struct world {
    dp *d;
    batch b;
    super_flow flows[FLOWS];
    sent sent[PKTS_MAX];
    uint32_t count, claimed;
} world;

static dp *plane(void)
{
    static dp *d;
    const oxi_conf conf = { .peers_max = 2, .routes_max = 1, .pool_pkts = 256, .mtu_bytes = 1420,
                            .rekey_packets = 1, .key_packets_max = 1, .key_age_ns_max = 1 };
    if (!d) {
        d = calloc(1, sizeof *d);
        must(d && dp_init(d, &conf, &AEAD_OPENSSL), "a plane can be made");
    }
    return d;
}

static void flows_make(world *w, input *in)
{
    for (uint32_t i = 0; i < FLOWS; i++) {
        uint32_t shape = (uint32_t)input_number(in, 1);
        w->flows[i] = (super_flow){ .is_v6 = shape & 1, .is_udp = shape & 2, .is_df = shape & 4,
                              .words = 5 + (shape >> 3 & 3), .ident = (uint16_t)(0 - (shape >> 5)),
                              .seq = shape & 8 ? 0 - 2000U : 7 };
        w->flows[i].segment = 1 + (uint32_t)input_number(in, 2) % SEGMENT_MAX;
    }
}

/* The next segment of a flow. */
static uint32_t segment_make(super_flow *f, uint32_t port, uint32_t payload, bool is_push, uint8_t *out)
{
    uint32_t start = f->is_v6 ? 40 : 20;
    uint32_t len = start + (f->is_udp ? 8 : f->words * 4) + payload;
    memset(out, (uint8_t)(payload + f->seq), len);
    memset(out, 0, start + (f->is_udp ? 8 : 20));
    out[0] = f->is_v6 ? 0x60 : 0x45;
    out[f->is_v6 ? 6 : 9] = f->is_udp ? 17 : 6;
    out[f->is_v6 ? 7 : 8] = 64;
    if (!f->is_v6) {
        store_be16(out + 4, f->ident++);
        store_be16(out + 6, f->is_df ? IPV4_DF : 0);
    }
    store_be16(out + start, (uint16_t)port);
    if (!f->is_udp) {
        store_be32(out + start + 4, f->seq);
        out[start + 12] = (uint8_t)(f->words << 4);
        out[start + 13] = (uint8_t)(TCP_ACK | (is_push ? TCP_PSH : 0));
        memset(out + start + 20, 1, f->words * 4 - 20); /* options: nothing, many times */
    }
    f->seq += payload;
    finish(out, len, start, f->is_udp);
    return len;
}

/* Make a checksum come out as zero by changing the word at `at`, and write the zero or its twin. */
static void twin(uint8_t *at, uint8_t *field, bool is_twin)
{
    uint16_t sum = load_be16(field);
    store_be16(at, words_sum(NULL, 0, (uint32_t)load_be16(at) + sum));
    store_be16(field, is_twin ? 0xffff : 0);
}

/* One or two bytes that are not as they should be, with checksums that know of it or not. */
static void damage(uint8_t *p, uint32_t len, const super_flow *f, input *in)
{
    uint32_t how = (uint32_t)input_number(in, 1);
    uint32_t start = f->is_v6 ? 40 : 20, head = start + (f->is_udp ? 8 : f->words * 4);
    if ((how & 3) == 3) {
        if (how & 4 && !f->is_v6)
            twin(p + 4, p + 10, how & 8);
        else if (len >= head + 2 && load_be16(p + start + sum_at(f->is_udp)) != 0xffff)
            twin(p + head, p + start + sum_at(f->is_udp), how & 8);
        return;
    }
    uint32_t at = (uint32_t)input_number(in, 1) % (how & 64 ? len : len < HEADERS_MAX ? len : HEADERS_MAX);
    p[at] ^= (uint8_t)input_number(in, 1);
    uint32_t now = ip_bytes_of(p);
    bool is_ip = p[0] >> 4 == (f->is_v6 ? 6 : 4) && now >= 20 && now + 20 <= len;
    if ((how & 3) && is_ip && (f->is_udp || len >= now + 20))
        finish(p, len, now, f->is_udp);
    if (how & 16 && f->is_udp)
        store_be16(p + start + 6, 0);
}

static void batch_flush(world *w)
{
    if (w->b.count)
        merge_batch(w->d, &w->b);
}

static void packet_send(world *w, const uint8_t *data, uint32_t len, uint32_t from)
{
    ip_view v;
    if (!ip_parse(data, len, &v)) /* the stage before has dropped it */
        return;
    sent *s = &w->sent[w->count++];
    memcpy(s->data, data, len);
    s->len = len;
    s->from = from;
    s->is_claimed = false;
    pkt *p = pool_take(&w->d->pool);
    must(p != NULL, "a buffer is free");
    memcpy(pkt_data(p), data, len);
    p->len = (uint16_t)len;
    p->inner_bytes = len;
    p->peer = from;
    batch_add(&w->b, p);
    if (w->b.count == OXI_BATCH_MAX)
        batch_flush(w);
}

static void packet_next(world *w, input *in)
{
    static uint8_t data[PKT_ROOM];
    uint32_t op = (uint32_t)input_number(in, 1);
    uint32_t from = (op & 0xe0) == 0xe0, len;
    if ((op & 0x7c) == 0x7c) { /* bytes of the input's own */
        len = (uint32_t)input_number(in, 1);
        memset(data, 0, len);
        input_copy(in, data, len);
        data[2] = 0;
        data[3] = (uint8_t)len;
    } else {
        super_flow *f = &w->flows[op & 3];
        bool is_short = op & 4;
        uint32_t payload = is_short ? (uint32_t)input_number(in, 2) % (f->segment + 1) : f->segment;
        len = segment_make(f, op & 3, payload, (op & 0x18) == 0x18, data);
        if ((op & 0x18) == 0x10)
            damage(data, len, f, in);
    }
    packet_send(w, data, len, from);
    if ((op & 0x60) == 0x40)
        batch_flush(w);
    if ((op & 0x78) == 0x60)
        merge_flush(w->d);
}

/* ---- what came of it ---- */

/* As merge sees it: TCP or UDP right behind a plain IP header, and no fragment. */
static bool has_flow(const uint8_t *p, uint32_t len)
{
    uint32_t start = ip_bytes_of(p);
    uint8_t protocol = p[is_six(p) ? 6 : 9];
    if (!is_six(p) && (start != 20 || load_be16(p + 6) & IPV4_FRAGMENT_MASK))
        return false;
    if (protocol == 17)
        return len >= start + 8;
    uint32_t l4 = protocol == 6 && len >= start + 20 ? (p[start + 12] >> 4) * 4U : 0;
    return l4 >= 20 && start + l4 <= len;
}

static bool is_one_flow(const uint8_t *a, uint32_t a_len, const uint8_t *b, uint32_t b_len)
{
    bool has_a = has_flow(a, a_len), v6 = is_six(a);
    if (has_a != has_flow(b, b_len) || !has_a)
        return has_a == has_flow(b, b_len);
    uint32_t at = v6 ? 8 : 12, bytes = v6 ? 36 : 12;
    return v6 == is_six(b) && a[v6 ? 6 : 9] == b[v6 ? 6 : 9] && memcmp(a + at, b + at, bytes) == 0;
}

static bool is_same(const uint8_t *was, const uint8_t *came, uint32_t len)
{
    bool is_atomic = !is_six(was) && load_be16(was + 6) & IPV4_DF;
    if (!is_atomic)
        return memcmp(was, came, len) == 0;
    return memcmp(was, came, 4) == 0 && memcmp(was + 6, came + 6, 4) == 0 &&
           memcmp(was + 12, came + 12, len - 12) == 0;
}

/* This one leaves now: it must be the next of its flow. */
static void claim(world *w, const uint8_t *data, uint32_t len, uint32_t from, bool is_joined)
{
    bool is_without = !has_flow(data, len);
    sent *found = NULL;
    for (uint32_t i = 0; i < w->count && !found; i++) {
        sent *s = &w->sent[i];
        if (s->is_claimed)
            continue;
        if (is_one_flow(data, len, s->data, s->len))
            found = s;
        else
            must(!is_without && has_flow(s->data, s->len), "what has no flow is passed by nothing");
    }
    must(found != NULL, "nothing comes that was not sent");
    must(found->len == len && found->from == from, "the next of its flow, of its peer");
    must(is_joined ? is_same(found->data, data, len) : memcmp(found->data, data, len) == 0, "unchanged");
    found->is_claimed = true;
    w->claimed++;
}

/* The super-packet of a chain, cut by the slow version and by split. */
static void chain_take(world *w, const pkt *head)
{
    static uint8_t data[OXI_SUPER_MAX + SUPER_HEADER_MAX], slow[PKT_ROOM], fast[PKT_ROOM];
    whole super = { .data = data };
    must(head->chain.count <= MERGE_SEGMENTS_MAX, "at most 64 packets");
    super.len = merge_header(head, data, &super.how);
    uint32_t header_bytes = super.len;
    for (const pkt *p = head; p; p = p->chain.next) {
        must(super.len + p->len - header_bytes <= sizeof data, "within bounds");
        memcpy(data + super.len, p->buf + p->off + header_bytes, p->len - header_bytes);
        super.len += p->len - header_bytes;
    }
    if (head->chain.count == 1) {
        must(header_bytes == 0 && super.how.kind == OXI_SUPER_NONE && !super.how.needs_csum, "as it is");
        claim(w, data, super.len, head->peer, false);
        return;
    }
    must(super.len <= 65535 && header_bytes == headers_of(&super), "fits the length field of IP");
    must(packets_of(&super) == head->chain.count, "as many as were joined");
    split s;
    must(split_begin(&s, data, super.len, &super.how), "what we make we take");
    for (uint32_t i = 0; i < head->chain.count; i++) {
        uint32_t len = slow_cut(&super, i, slow);
        must(split_peek(&s) == len, "split agrees on the length");
        split_next(&s, fast);
        must(memcmp(slow, fast, len) == 0, "split agrees");
        claim(w, slow, len, head->peer, true);
    }
    must(split_peek(&s) == 0, "split agrees on the number");
}

/* by_packet: as a shell takes them that knows no super-packets. */
static void inbox_take(world *w, bool by_packet)
{
    pkt *p;
    merge_flush(w->d);
    while ((p = by_packet ? chain_take_first(w->d) : fifo_take(&w->d->inbox))) {
        if (by_packet)
            claim(w, pkt_data(p), p->len, p->peer, false);
        else
            chain_take(w, p);
        for (pkt *next; p; p = next) {
            next = by_packet ? NULL : p->chain.next;
            dp_delivered(w->d, p);
        }
    }
}

static void merge_run(input *in)
{
    static world w;
    w.d = plane();
    w.b.count = w.count = w.claimed = 0;
    uint32_t mode = (uint32_t)input_number(in, 1);
    w.d->offload = mode & 1 ? mode >> 1 & OXI_OFFLOAD_ALL : OXI_OFFLOAD_ALL;
    flows_make(&w, in);
    while (in->left && w.count < PKTS_MAX)
        packet_next(&w, in);
    batch_flush(&w);
    inbox_take(&w, mode & 0x80);
    must(w.claimed == w.count, "whatever comes leaves");
    must(w.d->pool.free_count == w.d->pool.count, "every packet is back in the pool");
    must(w.d->stats.deliver_held_packets == 0, "nothing is held");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input in = { data, size };
    if (input_number(&in, 1) & 1)
        split_run(&in);
    else
        merge_run(&in);
    return 0;
}
