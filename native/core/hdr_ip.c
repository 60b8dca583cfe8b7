/* hdr_ip.c - what every profile shares: TOS, TTL, identification, the transport checksum, the general
 * mask. */
#include "checksum.h"
#include "hdr_fields.h"
#include "hdr_state.h"
#include "l4.h"

static bool is_v6_level(const hdr_shape *s, uint32_t level) { return s->v6_levels >> level & 1; }

static uint16_t swapped(uint16_t v) { return (uint16_t)(v << 8 | v >> 8); }

/* Moves the fields that change out of the fixed bytes. Lengths and header checksums are inferred. */
void hdr_ip_take(const hdr_shape *s, uint8_t *fixed, hdr_fields *f)
{
    for (uint32_t i = 0; i < s->levels; i++) {
        uint8_t *p = fixed + s->ip_at[i];
        if (is_v6_level(s, i)) {
            f->tos[i] = (uint8_t)(p[0] << 4 | p[1] >> 4);
            f->ttl[i] = p[7];
            p[0] &= 0xf0;
            p[1] &= 0x0f;
            store_be16(p + 4, 0);
            p[7] = 0;
        } else {
            f->tos[i] = p[1];
            f->ttl[i] = p[8];
            f->id[i] = load_be16(p + 4);
            p[1] = p[8] = 0;
            store_be32(p + 2, 0); /* total length, identification */
            store_be16(p + 10, 0);
        }
    }
}

void hdr_ip_put(const hdr_shape *s, const hdr_fields *f, uint32_t total_bytes, uint8_t *out)
{
    for (uint32_t i = 0; i < s->levels; i++) {
        uint8_t *p = out + s->ip_at[i];
        uint32_t bytes = total_bytes - s->ip_at[i];
        if (is_v6_level(s, i)) {
            p[0] = (uint8_t)(p[0] | f->tos[i] >> 4);
            p[1] = (uint8_t)(p[1] | f->tos[i] << 4);
            store_be16(p + 4, (uint16_t)(bytes - IPV6_HEADER));
            p[7] = f->ttl[i];
        } else {
            p[1] = f->tos[i];
            store_be16(p + 2, (uint16_t)bytes);
            store_be16(p + 4, f->id[i]);
            p[8] = f->ttl[i];
            ipv4_header_sum(p, (uint32_t)(p[0] & 0x0f) * 4);
        }
    }
}

void hdr_ip_predict(const hdr_shape *s, const hdr_fields *ref, uint32_t distance, hdr_fields *out)
{
    for (uint32_t i = 0; i < s->levels; i++) {
        if (ref->id_mode[i] == ID_COUNTS || ref->id_mode[i] == ID_DELTA)
            out->id[i] = (uint16_t)(ref->id[i] + distance);
        else if (ref->id_mode[i] == ID_SWAPPED)
            out->id[i] = swapped((uint16_t)(swapped(ref->id[i]) + distance));
    }
}

/* The part of the general mask that all profiles have. Modes of `now` are what it is to be coded with. */
uint8_t hdr_ip_differ(const hdr_shape *s, const hdr_fields *now, const hdr_fields *predicted)
{
    uint8_t mask = 0;
    for (uint32_t i = 0; i < s->levels; i++) {
        if (now->tos[i] != predicted->tos[i] || now->ttl[i] != predicted->ttl[i])
            mask |= G_TOS_TTL;
        bool is_carried = now->id_mode[i] == ID_CARRIED || now->id_mode[i] == ID_DELTA;
        if (now->id_mode[i] != predicted->id_mode[i] || (!is_carried && now->id[i] != predicted->id[i]))
            mask |= is_v6_level(s, i) ? 0 : G_IPID;
    }
    if (now->sum_mode != predicted->sum_mode ||
        (now->sum_mode == SUM_CONSTANT && now->checksum != predicted->checksum))
        mask |= G_CHECKSUM;
    return mask;
}

static bool has_sum(const hdr_shape *s) { return s->profile != HDR_IP && s->profile != HDR_ESP; }

void hdr_general_write(const hdr_shape *s, uint8_t mask, const hdr_fields *now, writer *w)
{
    for (uint32_t i = 0; mask & G_IPID && i < s->levels; i++) {
        if (!is_v6_level(s, i)) {
            write_u8(w, now->id_mode[i]);
            write_be16(w, now->id[i]);
        }
    }
    for (uint32_t i = 0; mask & G_TOS_TTL && i < s->levels; i++) {
        write_u8(w, now->tos[i]);
        write_u8(w, now->ttl[i]);
    }
    if (mask & G_CHECKSUM) {
        write_u8(w, now->sum_mode);
        if (now->sum_mode != SUM_COMPUTED)
            write_be16(w, now->checksum);
    }
    if (mask & G_STRIDE)
        write_number(w, now->stride);
    if (mask & G_BIAS)
        write_u8(w, now->bias);
    if (mask & G_FLAGS) {
        write_u8(w, now->flags);
        write_u8(w, now->reserved);
        write_be16(w, now->urgent);
    }
}

/* The values behind the general mask, but for the candidate's number. */
hdr_verdict hdr_general_read(const hdr_shape *s, uint8_t mask, reader *r, hdr_fields *out)
{
    bool has_stride = s->profile == HDR_RTP || s->profile == HDR_TCP;
    bool is_good = !(mask & G_NONE) && (!(mask & G_STRIDE) || has_stride) &&
                   (!(mask & G_FLAGS) || s->profile == HDR_TCP) && (!(mask & G_CHECKSUM) || has_sum(s));
    for (uint32_t i = 0; mask & G_IPID && i < s->levels; i++) {
        if (!is_v6_level(s, i)) {
            out->id_mode[i] = read_u8(r);
            out->id[i] = read_be16(r);
            is_good = is_good && out->id_mode[i] < ID_MODES;
        }
    }
    for (uint32_t i = 0; mask & G_TOS_TTL && i < s->levels; i++) {
        out->tos[i] = read_u8(r);
        out->ttl[i] = read_u8(r);
    }
    if (mask & G_CHECKSUM) {
        out->sum_mode = read_u8(r);
        is_good = is_good && out->sum_mode < SUM_MODES;
        if (out->sum_mode != SUM_COMPUTED)
            out->checksum = read_be16(r);
    }
    if (mask & G_STRIDE)
        out->stride = read_number(r);
    if (mask & G_BIAS)
        out->bias = read_u8(r);
    if (mask & G_FLAGS) {
        out->flags = read_u8(r);
        out->reserved = read_u8(r);
        out->urgent = read_be16(r);
        is_good = is_good && out->reserved < 0x10;
    }
    return r->is_bad ? HDR_TRUNCATED : is_good ? HDR_OK : HDR_BAD_FORM;
}

void hdr_carried_write(const hdr_shape *s, uint8_t mask, const hdr_fields *now, const hdr_fields *predicted,
                       writer *w)
{
    for (uint32_t i = 0; !(mask & G_IPID) && i < s->levels; i++) {
        if (is_v6_level(s, i))
            continue;
        if (now->id_mode[i] == ID_CARRIED)
            write_be16(w, now->id[i]);
        else if (now->id_mode[i] == ID_DELTA)
            write_number(w, zigzag(widen16((uint16_t)(now->id[i] - predicted->id[i]))));
    }
    if (!(mask & G_CHECKSUM) && now->sum_mode == SUM_CARRIED)
        write_be16(w, now->checksum);
}

void hdr_carried_read(const hdr_shape *s, uint8_t mask, reader *r, hdr_fields *out)
{
    for (uint32_t i = 0; !(mask & G_IPID) && i < s->levels; i++) {
        if (is_v6_level(s, i))
            continue;
        if (out->id_mode[i] == ID_CARRIED)
            out->id[i] = read_be16(r);
        else if (out->id_mode[i] == ID_DELTA)
            out->id[i] = (uint16_t)(out->id[i] + unzigzag(read_number(r)));
    }
    if (!(mask & G_CHECKSUM) && out->sum_mode == SUM_CARRIED)
        out->checksum = read_be16(r);
}
