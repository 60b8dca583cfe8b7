/* fuzz_hdr.c - header compression: packets there and back over a link that loses, delays and doubles; and
 * items that no compressor wrote.
 *
 * Invariant: what a restorer accepts of its own compressor is the packet, bit by bit; what it refuses has a
 * name, and was late or of a flow that lost its place. Whatever the bytes, a restorer writes no more than it
 * was given room for, and names what it refuses.
 * Parsers: hdr_chain_parse, hdr_chain_read, hdr_general_read, hdr_carried_read, hdr_rtp_read, hdr_tcp_read,
 * hdr_sack_read. */
#include <string.h>

#include "../../native/core/checksum.h"
#include "support.h"

enum { PACKET_MAX = 700, HELD = 8, OPS_MAX = 300, GUARD = 0xa5, GUARD_BYTES = 64, PATHS = 2,
       ITEM_ROOM = 1024 };

typedef struct datagram {
    uint8_t packet[PACKET_MAX];
    uint8_t item[ITEM_ROOM];
    uint32_t packet_len, item_len, path;
    uint64_t pn;
} datagram;

typedef struct world {
    oxi_hdr *pair;
    oxi_hdr *hostile; /* its restorer hears broken items as well */
    datagram held[HELD];
    uint64_t next_pn[PATHS];
    bool is_in_order; /* nothing was late so far, and contexts suffice: nothing may be refused */
} world;

/* ---- packets ---- */

static const uint8_t PROTOCOLS[] = { 6, 17, 17, 1, 58, 50, 132, 4, 41, 0, 43, 60, 44, 51 };

static uint32_t ip_begin(uint8_t *p, bool is_v6, uint8_t protocol, uint8_t how)
{
    memset(p, 0, 40);
    p[is_v6 ? 0 : 8] = is_v6 ? 0x60 : 64;
    if (is_v6) {
        p[6] = protocol;
        p[7] = 64;
        p[8] = p[24] = 0xfd;
        p[39] = how & 3;
        return 40;
    }
    p[0] = 0x45;
    p[9] = protocol;
    p[12] = p[16] = 10;
    p[19] = how & 3;
    return 20;
}

/* Lengths and checksums as they should be, from the outermost header in. */
static void ip_end(uint8_t *p, uint32_t at, uint32_t len, uint16_t id)
{
    uint8_t *ip = p + at;
    if (ip[0] >> 4 == 6) {
        store_be16(ip + 4, (uint16_t)(len - at - 40));
        return;
    }
    store_be16(ip + 2, (uint16_t)(len - at));
    store_be16(ip + 4, id);
    ipv4_header_sum(ip, 20);
}

static void l4_end(uint8_t *p, uint32_t ip_at, uint32_t l4_at, uint32_t len, uint8_t protocol)
{
    bool is_v6 = p[ip_at] >> 4 == 6;
    uint32_t left = len - l4_at;
    uint32_t sum_at = protocol == 17 ? 6 : protocol == 6 ? 16 : protocol == 1 || protocol == 58 ? 2 : 0;
    if (protocol == 17 && left >= 8)
        store_be16(p + l4_at + 4, (uint16_t)left);
    if (protocol == 6 && left >= 20)
        p[l4_at + 12] = (uint8_t)((p[l4_at + 12] & 0x0f) | (left >= 32 && p[l4_at + 12] & 0x10 ? 128 : 80));
    if (sum_at == 0 || left < sum_at + 2)
        return;
    store_be16(p + l4_at + sum_at, 0);
    uint64_t pseudo = protocol == 1 ? 0 : sum_pseudo(p + ip_at + (is_v6 ? 8 : 12), is_v6, protocol, left);
    sum_store(p + l4_at + sum_at, (uint16_t)~sum_fold(sum_add(pseudo, p + l4_at, left)));
}

/* Most bytes come from few values, so that flows last and fields move in small steps. */
static uint32_t packet_make(input *in, uint8_t *p)
{
    static uint16_t id;
    uint8_t how = (uint8_t)input_number(in, 1), kind = (uint8_t)input_number(in, 1);
    if (how >= 0xfc)
        return input_copy(in, p, PACKET_MAX);
    bool is_v6 = how & 1, is_tunnel = how & 2;
    uint8_t protocol = PROTOCOLS[kind % sizeof PROTOCOLS];
    uint32_t at = 0, ip_at = 0;
    if (is_tunnel) {
        at = ip_begin(p, kind & 0x40, is_v6 ? 41 : 4, how >> 2);
        ip_at = at;
    }
    at += ip_begin(p + at, is_v6, protocol, how >> 4);
    uint32_t l4_at = at, body = 8 + (uint32_t)input_number(in, 1) % 80;
    memset(p + at, 0, body);
    store_be16(p + at, protocol == 17 ? 16384 : 0);
    p[at + 8 < at + body ? at + 8 : at] = protocol == 17 ? 0x80 : 0;
    uint32_t changes = (uint32_t)input_number(in, 1) % 8;
    for (uint32_t i = 0; i < changes; i++)
        p[at + (uint32_t)input_number(in, 1) % body] = (uint8_t)input_number(in, 1);
    uint32_t len = at + body;
    id = (uint16_t)(id + input_number(in, 1) % 4);
    l4_end(p, ip_at, l4_at, len, protocol);
    ip_end(p, ip_at, len, id);
    if (is_tunnel)
        ip_end(p, 0, len, (uint16_t)(7 * id));
    if ((how & 0x0c) == 0x0c) /* one wrong byte finds the edges of each check */
        p[(uint32_t)input_number(in, 1) % len] ^= (uint8_t)input_number(in, 1);
    return len;
}

/* ---- restorers ---- */

static int restore_guarded(oxi_hdr *h, const datagram *d, const uint8_t *item, uint32_t len, uint32_t cap,
                           uint8_t *out, oxi_hdr_row *row)
{
    memset(out, GUARD, cap + GUARD_BYTES);
    int verdict = oxi_hdr_restore(h, d->path, d->pn, item, len, out, cap, row);
    must(verdict >= 0 && oxi_hdr_verdict_name((uint32_t)verdict), "each verdict has a name");
    must(verdict == 0 || row->restored_bytes == 0, "nothing is restored of what is refused");
    must(row->restored_bytes <= cap, "what is restored fits");
    for (uint32_t i = 0; i < GUARD_BYTES; i++)
        must(out[cap + i] == GUARD, "no byte beyond the room given");
    return verdict;
}

static void deliver(world *w, const datagram *d)
{
    static uint8_t out[4096 + GUARD_BYTES];
    oxi_hdr_row row;
    int verdict = restore_guarded(w->pair, d, d->item, d->item_len, 4096, out, &row);
    bool is_same = row.restored_bytes == d->packet_len && memcmp(out, d->packet, d->packet_len) == 0;
    if (verdict == 0)
        must(is_same, "the packet itself");
    else
        must(!w->is_in_order, "in order, nothing is refused");
    restore_guarded(w->hostile, d, d->item, d->item_len, 4096, out, &row);
    oxi_hdr_ack(w->pair, d->path, d->pn);
}

static void garble(world *w, const datagram *d, input *in)
{
    static uint8_t item[ITEM_ROOM], out[4096 + GUARD_BYTES];
    oxi_hdr_row row;
    memcpy(item, d->item, d->item_len);
    uint32_t len = d->item_len, changes = (uint32_t)input_number(in, 1) % 4;
    for (uint32_t i = 0; i < changes && len; i++)
        item[(uint32_t)input_number(in, 1) % len] = (uint8_t)input_number(in, 1);
    if (input_number(in, 1) & 1)
        len = len ? (uint32_t)input_number(in, 2) % len : 0;
    restore_guarded(w->hostile, d, item, len, (uint32_t)input_number(in, 2) % 4096, out, &row);
}

static void raw(world *w, input *in)
{
    static uint8_t item[ITEM_ROOM], out[4096 + GUARD_BYTES];
    datagram d = { .path = (uint32_t)input_number(in, 1) % PATHS, .pn = input_number(in, 2) };
    oxi_hdr_row row;
    uint32_t len = input_copy(in, item, (size_t)input_number(in, 1) * 2);
    restore_guarded(w->hostile, &d, item, len, 4096, out, &row);
}

/* ---- the link ---- */

static void send(world *w, input *in)
{
    static datagram d;
    oxi_hdr_row row;
    uint8_t fate = (uint8_t)input_number(in, 1);
    d.path = fate & 0x80 ? 1 : 0;
    d.pn = w->next_pn[d.path]++;
    d.packet_len = packet_make(in, d.packet);
    uint8_t coded[OXI_HDR_CODED_MAX];
    int is_coded = oxi_hdr_compress(w->pair, d.path, d.pn, d.packet, d.packet_len, coded, &row);
    must(is_coded == 0 || is_coded == 1, "a packet is coded or goes whole");
    if (!is_coded)
        return;
    must(row.header_bytes <= d.packet_len && row.coded_bytes <= OXI_HDR_CODED_MAX, "coded within its bounds");
    memcpy(d.item, coded, row.coded_bytes);
    memcpy(d.item + row.coded_bytes, d.packet + row.header_bytes, d.packet_len - row.header_bytes);
    d.item_len = row.coded_bytes + d.packet_len - row.header_bytes;
    if ((fate & 0x0f) < 10)
        deliver(w, &d);
    else if ((fate & 0x0f) < 12)
        w->held[(fate >> 4) % HELD] = d;
    if ((fate & 0x0f) == 15)
        garble(w, &d, in);
}

static void release(world *w, input *in)
{
    datagram *d = &w->held[input_number(in, 1) % HELD];
    if (d->item_len == 0)
        return;
    w->is_in_order = false;
    deliver(w, d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static world w;
    input in = { data, size };
    memset(&w, 0, sizeof w);
    uint32_t flows = 1 + (uint32_t)input_number(&in, 1) % 8;
    w.pair = oxi_hdr_new(flows, 1);
    w.hostile = oxi_hdr_new(flows, 1);
    must(w.pair && w.hostile, "memory");
    w.is_in_order = true;
    for (uint32_t i = 0; i < OPS_MAX && in.left; i++) {
        uint8_t op = (uint8_t)input_number(&in, 1);
        if (op < 0xd0)
            send(&w, &in);
        else if (op < 0xe8)
            release(&w, &in);
        else if (op < 0xf4)
            raw(&w, &in);
        else
            oxi_hdr_ack(w.hostile, op & 1, input_number(&in, 2));
    }
    oxi_hdr_free(w.pair);
    oxi_hdr_free(w.hostile);
    return 0;
}
