/* hdr_tcp.c - TCP (RFC 9293), its time stamps (RFC 7323) and selective acknowledgements (RFC 2018).
 *
 * A mask says which fields are not as predicted: the sequence number by a stride, the echoed time stamp
 * moving along with the own one, the rest as in the reference. Blocks of SACK lie close above the
 * acknowledgement and are coded against it alone. All other options are part of the fixed bytes. */
#include "hdr_fields.h"
#include "hdr_state.h"
#include "l4.h"

enum { OPTION_END = 0, OPTION_NOP = 1, OPTION_SACK = 5, OPTION_STAMPS = 8, STAMPS_BYTES = 10, SACK_BLOCK = 8,
       SACK_PADDED = 4 };

uint32_t hdr_sack_bytes(const hdr_once *o) { return SACK_PADDED + SACK_BLOCK * (uint32_t)o->sack_count; }

/* Finds the time stamps; takes SACK off the end when it comes last and with its usual padding. */
void hdr_tcp_options(const uint8_t *tcp, uint32_t tcp_bytes, hdr_header *h)
{
    uint32_t nops = 0; /* directly in front */
    for (uint32_t i = TCP_HEADER; i < tcp_bytes && tcp[i] != OPTION_END;) {
        uint32_t left = tcp_bytes - i;
        uint32_t bytes = tcp[i] == OPTION_NOP ? 1 : left < 2 ? 0 : tcp[i + 1];
        if (bytes == 0 || bytes > left || (bytes == 1 && tcp[i] != OPTION_NOP))
            return;
        if (tcp[i] == OPTION_STAMPS && bytes == STAMPS_BYTES && !h->shape.stamps_at)
            h->shape.stamps_at = (uint8_t)(h->shape.l4_at + i + 2);
        bool is_last = tcp[i] == OPTION_SACK && bytes == left && nops >= 2;
        if (is_last && bytes % SACK_BLOCK == 2 && bytes > 2 && bytes <= 2 + SACK_BLOCK * HDR_SACK_MAX) {
            h->once.sack_count = (uint8_t)(bytes / SACK_BLOCK);
            for (uint32_t k = 0; k < 2U * h->once.sack_count; k++)
                h->once.sack[k] = load_be32(tcp + i + 2 + 4 * k);
            h->shape.header_bytes = (uint8_t)(h->shape.header_bytes - bytes - 2);
        }
        nops = tcp[i] == OPTION_NOP ? nops + 1 : 0;
        i += bytes;
    }
}

void hdr_tcp_take(const hdr_shape *s, uint8_t *fixed, hdr_fields *f)
{
    uint8_t *tcp = fixed + s->l4_at;
    f->seq = load_be32(tcp + 4);
    f->ack = load_be32(tcp + 8);
    f->reserved = tcp[12] & 0x0f;
    f->flags = tcp[13];
    f->window = load_be16(tcp + 14);
    f->urgent = load_be16(tcp + 18);
    memset(tcp + 4, 0, 8);
    tcp[12] = (uint8_t)((uint32_t)(s->header_bytes - s->l4_at) / 4 << 4);
    tcp[13] = 0;
    store_be16(tcp + 14, 0);
    store_be16(tcp + 18, 0);
    if (s->stamps_at) {
        f->stamp = load_be32(fixed + s->stamps_at);
        f->echo = load_be32(fixed + s->stamps_at + 4);
        memset(fixed + s->stamps_at, 0, 8);
    }
}

void hdr_tcp_put(const hdr_shape *s, const hdr_fields *f, const hdr_once *once, uint8_t *out)
{
    uint8_t *tcp = out + s->l4_at;
    uint32_t bytes = (uint32_t)(s->header_bytes - s->l4_at);
    if (once->sack_count) {
        uint8_t *p = tcp + bytes;
        p[0] = p[1] = OPTION_NOP;
        p[2] = OPTION_SACK;
        p[3] = (uint8_t)(2 + SACK_BLOCK * once->sack_count);
        for (uint32_t k = 0; k < 2U * once->sack_count; k++)
            store_be32(p + 4 + 4 * k, once->sack[k]);
        bytes += hdr_sack_bytes(once);
    }
    store_be32(tcp + 4, f->seq);
    store_be32(tcp + 8, f->ack);
    tcp[12] = (uint8_t)(bytes / 4 << 4 | f->reserved);
    tcp[13] = f->flags;
    store_be16(tcp + 14, f->window);
    store_be16(tcp + 18, f->urgent);
    if (s->stamps_at) {
        store_be32(out + s->stamps_at, f->stamp);
        store_be32(out + s->stamps_at + 4, f->echo);
    }
}

void hdr_tcp_differ(const hdr_fields *now, const hdr_fields *ref, const hdr_once *once, uint32_t distance,
                    uint32_t stride, hdr_difference *d)
{
    d->own = 0;
    if (now->seq != ref->seq + distance * ref->stride) {
        if (stride != ref->stride && now->seq == ref->seq + distance * stride)
            d->general |= G_STRIDE;
        else
            d->own |= T_SEQ;
    }
    uint32_t moved = now->stamp - ref->stamp;
    d->own = (uint8_t)(d->own | (now->ack != ref->ack ? T_ACK : 0) |
                       (now->window != ref->window ? T_WINDOW : 0) | (moved ? T_STAMP : 0) |
                       (now->echo - ref->echo != moved ? T_ECHO : 0) | (once->sack_count ? T_SACK : 0));
    if ((now->flags ^ ref->flags) & ~TCP_PSH || now->reserved != ref->reserved || now->urgent != ref->urgent)
        d->general |= G_FLAGS;
    /* The flag itself stands in the mask, so a base form has that of the reference. */
    d->is_extended = d->own || (now->flags ^ ref->flags) & TCP_PSH;
    d->own = (uint8_t)(d->own | (now->flags & TCP_PSH ? T_PSH : 0));
}

void hdr_sack_write(const hdr_once *once, uint32_t ack, writer *w)
{
    write_u8(w, once->sack_count);
    for (uint32_t k = 0; k < once->sack_count; k++) {
        write_number(w, zigzag(once->sack[2 * k] - ack));
        write_number(w, once->sack[2 * k + 1] - once->sack[2 * k]);
    }
}

hdr_verdict hdr_sack_read(reader *r, uint32_t ack, hdr_once *once)
{
    once->sack_count = read_u8(r);
    if (r->is_bad)
        return HDR_TRUNCATED;
    if (once->sack_count == 0 || once->sack_count > HDR_SACK_MAX)
        return HDR_BAD_FORM;
    for (uint32_t k = 0; k < once->sack_count; k++) {
        once->sack[2 * k] = ack + unzigzag(read_number(r));
        once->sack[2 * k + 1] = once->sack[2 * k] + read_number(r);
    }
    return r->is_bad ? HDR_TRUNCATED : HDR_OK;
}

/* The mask, and what it announces; the general mask follows where d->general is not 0. */
void hdr_tcp_write(const hdr_difference *d, const hdr_fields *now, const hdr_fields *ref, uint32_t distance,
                   const hdr_once *once, writer *w)
{
    uint32_t moved = now->stamp - ref->stamp;
    write_u8(w, (uint8_t)(d->own | (d->general ? T_GENERAL : 0)));
    if (d->own & T_SEQ)
        write_number(w, zigzag(now->seq - (ref->seq + distance * now->stride)));
    if (d->own & T_ACK)
        write_number(w, zigzag(now->ack - ref->ack));
    if (d->own & T_WINDOW)
        write_number(w, zigzag(widen16((uint16_t)(now->window - ref->window))));
    if (d->own & T_STAMP)
        write_number(w, moved);
    if (d->own & T_ECHO)
        write_number(w, zigzag(now->echo - ref->echo - moved));
    if (d->own & T_SACK)
        hdr_sack_write(once, now->ack, w);
}

/* out: a copy of the reference; its seq becomes the residual, as the stride may still change. */
hdr_verdict hdr_tcp_read(uint8_t mask, reader *r, const hdr_fields *ref, hdr_fields *out, hdr_once *once)
{
    out->seq = mask & T_SEQ ? unzigzag(read_number(r)) : 0;
    if (mask & T_ACK)
        out->ack = ref->ack + unzigzag(read_number(r));
    if (mask & T_WINDOW)
        out->window = (uint16_t)(ref->window + unzigzag(read_number(r)));
    uint32_t moved = mask & T_STAMP ? read_number(r) : 0;
    out->stamp = ref->stamp + moved;
    out->echo = ref->echo + moved + (mask & T_ECHO ? unzigzag(read_number(r)) : 0);
    out->flags = (uint8_t)((ref->flags & ~TCP_PSH) | (mask & T_PSH ? TCP_PSH : 0));
    if (mask & T_SACK)
        return hdr_sack_read(r, out->ack, once);
    return r->is_bad ? HDR_TRUNCATED : HDR_OK;
}
