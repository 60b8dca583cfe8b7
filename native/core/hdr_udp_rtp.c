/* hdr_udp_rtp.c - RTP over UDP (RFC 3550), recognised by its shape; a wrong guess costs bytes, nothing else.
 *
 * The time stamp is predicted by a stride per sequence number. A silence moves it by a multiple of the
 * stride, which is one number; the marker bit says what no other packet refers to. */
#include "hdr_fields.h"
#include "hdr_state.h"
#include "l4.h"

enum { RTP_BYTES = 12, RTP_PORT_MIN = 1024, RTP_MARKER = 0x80, RTP_STATIC_TYPES = 35, RTP_DYNAMIC_TYPES = 96,
       PORTS_MIN = 8000, PORTS_END = 32768, DSCP_EF = 46,
       AUDIO_STRIDE = 160 /* 20 ms at 8 kHz, RFC 3551 table 4 */ };

uint32_t hdr_rtp_bytes(const uint8_t *rtp) { return RTP_BYTES + 4U * (rtp[0] & 0x0f); }

/* Version 2, a payload type of audio or video that is not RTCP (RFC 5761 section 4), even ports as RFC 3550
 * section 11 asks for on one side at least. */
bool hdr_rtp_fits(const uint8_t *udp, uint32_t udp_bytes)
{
    if (udp_bytes < UDP_HEADER + RTP_BYTES)
        return false;
    const uint8_t *rtp = udp + UDP_HEADER;
    uint32_t source = load_be16(udp), target = load_be16(udp + 2), type = rtp[1] & 0x7f;
    bool is_port = source >= RTP_PORT_MIN && target >= RTP_PORT_MIN && (!(source & 1) || !(target & 1));
    bool is_type = type < RTP_STATIC_TYPES || type >= RTP_DYNAMIC_TYPES;
    return rtp[0] >> 6 == 2 && is_port && is_type && UDP_HEADER + hdr_rtp_bytes(rtp) <= udp_bytes;
}

static uint32_t type_of(const uint8_t *udp) { return udp[UDP_HEADER + 1] & 0x7f; }

uint32_t hdr_rtp_stride_guess(const uint8_t *udp)
{
    return type_of(udp) < RTP_STATIC_TYPES ? AUDIO_STRIDE : 0;
}

uint32_t hdr_rtp_source(const uint8_t *udp) { return load_be32(udp + UDP_HEADER + 8); }

/* By its DSCP (RFC 4594 section 4.1), or a registered type between the ports that RTP is mostly given. */
bool hdr_rtp_is_voice(const uint8_t *udp, uint8_t tos)
{
    uint32_t source = load_be16(udp), target = load_be16(udp + 2);
    bool is_range = source >= PORTS_MIN && source < PORTS_END && target >= PORTS_MIN && target < PORTS_END;
    bool is_typed = is_range && !(source & 1) && !(target & 1) && type_of(udp) < RTP_STATIC_TYPES;
    return (udp[UDP_HEADER] & 0x0f) == 0 && (tos >> 2 == DSCP_EF || is_typed);
}

void hdr_rtp_take(uint8_t *rtp, hdr_fields *f, hdr_once *once)
{
    once->marker = rtp[1] & RTP_MARKER;
    f->seq = load_be16(rtp + 2);
    f->ack = load_be32(rtp + 4);
    rtp[1] &= 0x7f;
    store_be16(rtp + 2, 0);
    store_be32(rtp + 4, 0);
}

void hdr_rtp_put(const hdr_fields *f, const hdr_once *once, uint8_t *rtp)
{
    rtp[1] = (uint8_t)(rtp[1] | once->marker);
    store_be16(rtp + 2, (uint16_t)f->seq);
    store_be32(rtp + 4, f->ack);
}

/* stride: what the compressor believes by now; used where it fits and that of the reference does not. */
void hdr_rtp_differ(const hdr_fields *now, const hdr_fields *ref, const hdr_once *once, uint32_t distance,
                    uint32_t stride, hdr_difference *d)
{
    uint32_t residual = now->ack - (ref->ack + distance * ref->stride);
    d->own = once->marker ? R_LONG | R_MARKER : 0;
    if (residual == 0)
        return;
    if (stride != ref->stride && now->ack == ref->ack + distance * stride) {
        d->general |= G_STRIDE;
        return;
    }
    bool is_jump = ref->stride && residual % ref->stride == 0;
    d->jump = is_jump ? residual / ref->stride : zigzag(residual);
    if (is_jump && !once->marker && d->jump < R_LONG)
        d->own = (uint8_t)d->jump;
    else
        d->own |= is_jump ? R_LONG | R_JUMP : R_LONG | R_RESIDUAL;
}

/* The mask, and what it announces; the general mask follows where d->general is not 0. */
void hdr_rtp_write(const hdr_difference *d, writer *w)
{
    uint8_t own = d->own;
    if (d->general && own)
        own = (uint8_t)(own < R_LONG ? R_LONG | R_JUMP | R_GENERAL : own | R_GENERAL);
    write_u8(w, own);
    if (own & R_LONG && own & (R_JUMP | R_RESIDUAL))
        write_number(w, d->jump);
}

hdr_verdict hdr_rtp_read(reader *r, hdr_difference *d, hdr_once *once)
{
    d->own = read_u8(r);
    d->is_extended = d->own == 0 || (d->own & R_LONG && d->own & R_GENERAL);
    if (!(d->own & R_LONG)) {
        d->jump = d->own;
        return r->is_bad ? HDR_TRUNCATED : HDR_OK;
    }
    once->marker = d->own & R_MARKER ? RTP_MARKER : 0;
    if (d->own & (R_JUMP | R_RESIDUAL))
        d->jump = read_number(r);
    bool is_bad = d->own & R_NONE || (d->own & R_JUMP && d->own & R_RESIDUAL);
    return r->is_bad ? HDR_TRUNCATED : is_bad ? HDR_BAD_FORM : HDR_OK;
}

void hdr_rtp_apply(const hdr_difference *d, const hdr_fields *ref, uint32_t distance, hdr_fields *out)
{
    bool is_residual = d->own & R_LONG && d->own & R_RESIDUAL;
    uint32_t more = is_residual ? unzigzag(d->jump) : d->jump * out->stride;
    out->ack = ref->ack + distance * out->stride + more;
}
