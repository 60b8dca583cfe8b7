/* hdr_trend.c - how the fields of a flow have moved lately, and so what to predict: strides,
 * identification. */
#include "hdr_context.h"

enum { ID_ODD = ID_MODES, /* no pattern between two packets */
       MISS = 4, MISSES_MAX = 16, MISSES_IRREGULAR = 8, LEAP_SMALL = 2048, LEAPS_MANY = 4, LEAPS_MAX = 15 };

static uint16_t swapped(uint16_t v) { return (uint16_t)(v << 8 | v >> 8); }

static uint8_t id_pattern(uint16_t before, uint16_t now, uint32_t distance, uint8_t known)
{
    bool fits[ID_MODES] = { [ID_CONSTANT] = now == before,
                            [ID_COUNTS] = now == (uint16_t)(before + distance),
                            [ID_SWAPPED] = swapped(now) == (uint16_t)(swapped(before) + distance) };
    if (fits[known] || fits[ID_COUNTS])
        return fits[known] ? known : ID_COUNTS;
    return fits[ID_CONSTANT] ? ID_CONSTANT : fits[ID_SWAPPED] ? ID_SWAPPED : ID_ODD;
}

static void id_follow(hdr_tx_context *c, uint32_t i, uint32_t distance, hdr_fields *now)
{
    hdr_trend *t = &c->trend;
    if (c->packets <= 1) {
        t->id_mode[i] = now->id[i] ? ID_COUNTS : ID_CONSTANT; /* RFC 6864: constant where nothing fragments */
        t->id_seen[i] = ID_ODD;
    } else {
        uint8_t pattern = id_pattern(t->id[i], now->id[i], distance, t->id_mode[i]);
        bool is_new = pattern != ID_ODD && (pattern == t->id_seen[i] || c->packets == 2);
        if (pattern == t->id_mode[i]) {
            t->id_misses[i] = (uint8_t)(t->id_misses[i] - (t->id_misses[i] > 0));
        } else if (is_new) {
            t->id_mode[i] = pattern;
            t->id_misses[i] = 0;
        } else {
            t->id_misses[i] = (uint8_t)min_u64(t->id_misses[i] + MISS, MISSES_MAX);
        }
        uint16_t leap = (uint16_t)(now->id[i] - t->id[i]);
        if (pattern == ID_ODD && leap < LEAP_SMALL)
            t->id_leaps[i] = (uint8_t)(t->id_leaps[i] - (t->id_leaps[i] > 0));
        else if (pattern == ID_ODD)
            t->id_leaps[i] = (uint8_t)min_u64(t->id_leaps[i] + MISS, LEAPS_MAX);
        t->id_seen[i] = pattern;
    }
    t->id[i] = now->id[i];
    bool is_irregular = t->id_misses[i] >= MISSES_IRREGULAR;
    now->id_mode[i] = !is_irregular ? t->id_mode[i] : t->id_leaps[i] >= LEAPS_MANY ? ID_CARRIED : ID_DELTA;
}

static void stride_follow(hdr_tx_context *c, const hdr_header *h, uint32_t distance)
{
    hdr_trend *t = &c->trend;
    const hdr_fields *now = &h->now;
    bool is_rtp = c->shape.profile == HDR_RTP;
    if (c->packets <= 1) {
        t->stride = is_rtp ? hdr_rtp_stride_guess(h->fixed + h->shape.l4_at) : now->stride;
        t->stride_seen = t->stride;
        return;
    }
    uint32_t moved = is_rtp ? now->ack - t->ack : now->seq - t->seq;
    if ((int32_t)distance <= 0 || moved % distance)
        return;
    uint32_t stride = moved / distance;
    if (stride == t->stride_seen || c->packets == 2)
        t->stride = stride;
    t->stride_seen = stride;
}

void hdr_trend_follow(hdr_tx_context *c, hdr_header *h)
{
    hdr_trend *t = &c->trend;
    hdr_fields *now = &h->now;
    uint32_t distance = 1;
    if (c->shape.profile == HDR_RTP || c->shape.profile == HDR_ICMP)
        distance = (uint32_t)(int32_t)(int16_t)(uint16_t)(now->seq - t->seq);
    else if (c->shape.profile == HDR_ESP)
        distance = now->seq - t->seq;
    for (uint32_t i = 0; i < c->shape.levels; i++) {
        if (!(c->shape.v6_levels >> i & 1))
            id_follow(c, i, distance, now);
    }
    if (c->shape.profile == HDR_RTP || c->shape.profile == HDR_TCP)
        stride_follow(c, h, distance);
    if (now->sum_mode == SUM_CARRIED && c->packets > 1 && now->checksum == t->checksum)
        now->sum_mode = SUM_CONSTANT; /* as with offload, where the same value stands in each packet */
    t->checksum = now->checksum;
    t->seq = now->seq;
    t->ack = now->ack;
    now->stride = t->stride;
}

void hdr_modes_settle(const hdr_shape *s, const hdr_fields *ref, const hdr_fields *predicted, bool may_switch,
                      hdr_fields *now)
{
    for (uint32_t i = 0; i < s->levels; i++) {
        bool is_carried = ref->id_mode[i] == ID_CARRIED || ref->id_mode[i] == ID_DELTA;
        bool does_well = is_carried ? !may_switch : predicted->id[i] == now->id[i];
        if (does_well)
            now->id_mode[i] = ref->id_mode[i];
    }
    if (ref->sum_mode == SUM_CONSTANT && ref->checksum == now->checksum)
        now->sum_mode = SUM_CONSTANT;
}
