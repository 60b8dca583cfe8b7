/* traffic_class.c - see traffic_class.h. */
#include "traffic_class.h"

#include "bytes.h"
#include "l4.h"

enum { RTP_HEADER = 12, RTP_SCORE = 3, RTP_GAP_MAX = 16, DSCP_EF = 46, DSCP_CS4 = 32 };

static uint32_t mix(uint32_t h, uint32_t v)
{
    h = (h ^ v) * 0x9e3779b1u; /* 2^32 / golden ratio */
    return h ^ (h >> 15);
}

static uint32_t key_of(const uint8_t *data, const l4_view *v)
{
    const uint8_t *addresses = data + (v->is_v6 ? 8 : 12);
    uint32_t h = load_be32(data + v->ip_bytes); /* both ports */
    for (uint32_t i = 0; i < (v->is_v6 ? 8u : 2u); i++)
        h = mix(h, load_be32(addresses + 4 * i));
    return h;
}

static bool follows(rtp_flow *f, uint32_t key, const uint8_t *rtp)
{
    uint16_t sequence = load_be16(rtp + 2);
    uint32_t ssrc = load_be32(rtp + 8);
    uint16_t step = (uint16_t)(sequence - f->sequence);
    bool is_next = f->key == key && f->ssrc == ssrc && step >= 1 && step <= RTP_GAP_MAX;
    uint16_t score = is_next ? (uint16_t)min_u64(f->score + 1u, RTP_SCORE) : 0;
    *f = (rtp_flow){ .key = key, .ssrc = ssrc, .sequence = sequence, .score = score };
    return score == RTP_SCORE;
}

uint32_t traffic_class_of(rtp_table *t, const pkt *p)
{
    const uint8_t *data = pkt_data(p);
    l4_view v;
    if (p->len > VOIP_BYTES_MAX || !l4_parse(data, p->len, &v))
        return OXI_CLASS_OTHER;
    uint8_t traffic_class = v.is_v6 ? (uint8_t)(load_be16(data) >> 4) : data[1];
    if (traffic_class >> 2 == DSCP_CS4)
        return OXI_CLASS_GAMING;
    if (v.protocol != L4_UDP || v.is_fragment)
        return OXI_CLASS_OTHER;
    if (traffic_class >> 2 == DSCP_EF)
        return OXI_CLASS_VOIP;
    const uint8_t *rtp = data + v.ip_bytes + v.l4_bytes;
    bool is_rtp = p->len >= v.ip_bytes + v.l4_bytes + RTP_HEADER && rtp[0] >> 6 == 2;
    uint32_t key = is_rtp ? key_of(data, &v) : 0;
    return is_rtp && follows(&t->flows[key % RTP_SLOTS], key, rtp) ? OXI_CLASS_VOIP : OXI_CLASS_OTHER;
}
