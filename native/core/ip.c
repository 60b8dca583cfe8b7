/* ip.c - is this a whole IPv4 or IPv6 packet? And what its outer header must say of congestion.
 *
 * ECN is carried as RFC 6040 (normal mode) asks: copied outwards on the way in, and a mark met on the way
 * is passed on to an inner packet that can bear it. */
#include "checksum.h"
#include "stages.h"

enum { ECN_NOT_ECT = 0, ECN_ECT1 = 1, ECN_ECT0 = 2, ECN_CE = 3 };

static bool ipv4_parse(const uint8_t *data, uint32_t len, ip_view *out)
{
    if (len < 20)
        return false;
    uint32_t header = (uint32_t)(data[0] & 0x0f) * 4;
    uint32_t total = (uint32_t)((data[2] << 8) | data[3]);
    if (header < 20 || header > total || total != len)
        return false;
    *out = (ip_view){ .is_v6 = false, .ecn = data[1] & 3, .source = data + 12, .target = data + 16 };
    return true;
}

static bool ipv6_parse(const uint8_t *data, uint32_t len, ip_view *out)
{
    if (len < 40)
        return false;
    uint32_t payload = (uint32_t)((data[4] << 8) | data[5]);
    if (payload + 40 != len)
        return false;
    *out = (ip_view){
        .is_v6 = true, .ecn = (data[1] >> 4) & 3, .source = data + 8, .target = data + 24
    };
    return true;
}

bool ip_parse(const uint8_t *data, uint32_t len, ip_view *out)
{
    if (len == 0)
        return false;
    if (data[0] >> 4 == 4)
        return ipv4_parse(data, len, out);
    return data[0] >> 4 == 6 && ipv6_parse(data, len, out);
}

void ip_out_batch(dp *d, batch *b)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < b->count; i++) {
        pkt *p = b->pkts[i];
        ip_view v;
        if (!ip_parse(pkt_data(p), p->len, &v)) {
            drop(d, p, OXI_DIR_OUT, DROP_BAD_IP);
            continue;
        }
        p->ecn = v.ecn;
        b->pkts[kept++] = p;
    }
    b->count = kept;
}

/* What the inner packet must say after its trip: RFC 6040, figure 4 (CE outside, not-ECT inside is a
 * drop and does not come here). */
static uint8_t ecn_combine(uint8_t inner, uint8_t outer)
{
    if (inner == ECN_NOT_ECT || inner == ECN_CE || outer == ECN_NOT_ECT)
        return inner;
    return outer == ECN_CE ? ECN_CE : outer == ECN_ECT1 ? ECN_ECT1 : inner;
}

/* The IPv4 header checksum follows. */
static void ecn_set(uint8_t *data, const ip_view *v, uint8_t ecn)
{
    if (v->is_v6) {
        data[1] = (uint8_t)((data[1] & 0xcf) | (ecn << 4));
        return;
    }
    uint16_t before = load_be16(data);
    data[1] = (uint8_t)((data[1] & 0xfc) | ecn);
    store_be16(data + 10, checksum_fix(load_be16(data + 10), before, load_be16(data)));
}

void ip_in_batch(dp *d, batch *b)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < b->count; i++) {
        pkt *p = b->pkts[i];
        ip_view v;
        if (!ip_parse(pkt_data(p), p->len, &v)) {
            drop(d, p, OXI_DIR_IN_PACKET, DROP_BAD_IP);
            continue;
        }
        if (p->ecn == ECN_CE && v.ecn == ECN_NOT_ECT) {
            drop(d, p, OXI_DIR_IN_PACKET, DROP_CE_NOT_ECT);
            continue;
        }
        uint8_t ecn = ecn_combine(v.ecn, p->ecn);
        if (ecn != v.ecn)
            ecn_set(pkt_data(p), &v, ecn);
        b->pkts[kept++] = p;
    }
    b->count = kept;
}
