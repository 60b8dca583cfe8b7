/* hdr_chain.c - chains of headers: taken apart, carried in a set-up, and built again.
 *
 * A chain is IP headers with their extension headers, one inside the other, and a transport header that a
 * profile knows. Lengths and checksums that are right are not kept anywhere: the builder infers them. So a
 * chain ends before the first header in which one of them is wrong; the rest of it is payload. */
#include "checksum.h"
#include "hdr_fields.h"
#include "hdr_state.h"
#include "l4.h"

enum { EXT_HOP_BY_HOP = 0, EXT_ROUTING = 43, EXT_OPTIONS = 60, EXT_BYTES = 8, IP_BYTES_MAX = 65535 };
enum { PROTOCOL_ICMP = 1, PROTOCOL_IPV4 = 4, PROTOCOL_IPV6 = 41, PROTOCOL_ESP = 50, PROTOCOL_ICMPV6 = 58,
       PROTOCOL_NONE = 255 };

static bool is_extension(uint8_t protocol)
{
    return protocol == EXT_HOP_BY_HOP || protocol == EXT_ROUTING || protocol == EXT_OPTIONS;
}

static bool last_is_v6(const hdr_shape *s) { return s->v6_levels >> (s->levels - 1) & 1; }

static void shape_add_ip(hdr_shape *s, uint32_t at, bool is_v6)
{
    s->ip_at[s->levels] = (uint8_t)at;
    s->v6_levels = (uint8_t)(s->v6_levels | (is_v6 ? 1U << s->levels : 0));
    s->levels++;
    s->parts++;
}

/* ---- from a packet ---- */

static uint32_t ipv4_whole(const uint8_t *p, uint32_t left) /* its header bytes; 0: not to be inferred */
{
    if (left < IPV4_HEADER)
        return 0;
    uint32_t bytes = (uint32_t)(p[0] & 0x0f) * 4;
    bool is_whole = p[0] >> 4 == 4 && bytes >= IPV4_HEADER && bytes <= left && load_be16(p + 2) == left;
    if (!is_whole)
        return 0;
    uint64_t sum = sum_add(0, p, bytes) - sum_be16(load_be16(p + 10));
    return (uint16_t)~sum_fold(sum) == (uint16_t)sum_be16(load_be16(p + 10)) ? bytes : 0;
}

static uint32_t ipv6_whole(const uint8_t *p, uint32_t left)
{
    bool is_whole = left >= IPV6_HEADER && p[0] >> 4 == 6 && load_be16(p + 4) == left - IPV6_HEADER;
    return is_whole ? IPV6_HEADER : 0;
}

/* IP headers and extension headers; returns where they end, 0: there is none. */
static uint32_t parts_parse(const uint8_t *data, uint32_t len, hdr_shape *s)
{
    uint32_t at = 0;
    uint8_t protocol = len && data[0] >> 4 == 6 ? PROTOCOL_IPV6 : PROTOCOL_IPV4;
    while (s->parts < HDR_PARTS_MAX) {
        const uint8_t *p = data + at;
        uint32_t bytes = 0;
        if (protocol == PROTOCOL_IPV4 && s->levels < HDR_LEVELS)
            bytes = ipv4_whole(p, len - at);
        else if (protocol == PROTOCOL_IPV6 && s->levels < HDR_LEVELS)
            bytes = ipv6_whole(p, len - at);
        else if (s->levels && last_is_v6(s) && is_extension(protocol) && len - at >= EXT_BYTES)
            bytes = (p[1] + 1U) * EXT_BYTES <= len - at ? (p[1] + 1U) * EXT_BYTES : 0;
        if (bytes == 0 || at + bytes > HDR_FIXED_MAX)
            break;
        if (protocol == PROTOCOL_IPV4 || protocol == PROTOCOL_IPV6) {
            shape_add_ip(s, at, protocol == PROTOCOL_IPV6);
            s->is_fragment = protocol == PROTOCOL_IPV4 && (load_be16(p + 6) & IPV4_FRAGMENT_MASK) != 0;
            protocol = s->is_fragment ? PROTOCOL_NONE : protocol == PROTOCOL_IPV4 ? p[9] : p[6];
        } else {
            s->parts++;
            protocol = p[0];
        }
        at += bytes;
    }
    s->protocol = protocol;
    return at;
}

static uint64_t sum_pseudo_of(const hdr_shape *s, const uint8_t *header, uint32_t l4_bytes)
{
    const uint8_t *ip = header + s->ip_at[s->levels - 1];
    if (s->profile == HDR_ICMP && !last_is_v6(s))
        return 0;
    return sum_pseudo(ip + (last_is_v6(s) ? 8 : 12), last_is_v6(s), s->protocol, l4_bytes);
}

static uint32_t sum_at(const hdr_shape *s) /* where the checksum of the transport is; 0: it has none */
{
    switch (s->profile) {
    case HDR_UDP:
    case HDR_RTP: return s->l4_at + UDP_CHECKSUM_AT;
    case HDR_TCP: return s->l4_at + TCP_CHECKSUM_AT;
    case HDR_ICMP: return s->l4_at + 2U;
    default: return 0;
    }
}

/* The checksum as its bytes lie in memory, over a transport header in which the field itself is `field`. */
static uint16_t sum_of_transport(const hdr_shape *s, const uint8_t *header, uint32_t header_bytes,
                                 const uint8_t *payload, uint32_t payload_bytes, uint64_t field)
{
    uint32_t own = header_bytes - s->l4_at;
    uint64_t sum = sum_pseudo_of(s, header, own + payload_bytes) - field;
    sum = sum_add(sum_add(sum + 0xffff, header + s->l4_at, own), payload, payload_bytes);
    uint16_t folded = (uint16_t)~sum_fold(sum);
    bool is_udp = s->profile == HDR_UDP || s->profile == HDR_RTP;
    return is_udp && folded == 0 ? 0xffff : folded; /* RFC 768: 0 means that there is none */
}

static uint32_t l4_bytes_of(const uint8_t *p, uint32_t left, bool may_be_rtp, hdr_shape *s)
{
    s->profile = HDR_IP;
    switch (s->protocol) {
    case L4_UDP:
        if (left < UDP_HEADER || load_be16(p + 4) != left)
            return 0;
        s->profile = HDR_UDP;
        if (!may_be_rtp || !hdr_rtp_fits(p, left))
            return UDP_HEADER;
        s->profile = HDR_RTP;
        return UDP_HEADER + hdr_rtp_bytes(p + UDP_HEADER);
    case L4_TCP: {
        uint32_t bytes = left >= TCP_HEADER ? (uint32_t)(p[12] >> 4) * 4 : 0;
        s->profile = bytes >= TCP_HEADER && bytes <= left ? HDR_TCP : HDR_IP;
        return s->profile == HDR_TCP ? bytes : 0;
    }
    case PROTOCOL_ESP:
        s->profile = left >= hdr_counter_bytes(HDR_ESP) ? HDR_ESP : HDR_IP;
        return s->profile == HDR_ESP ? hdr_counter_bytes(HDR_ESP) : 0;
    case PROTOCOL_ICMP:
    case PROTOCOL_ICMPV6:
        if ((s->protocol == PROTOCOL_ICMPV6) != last_is_v6(s) || !hdr_icmp_fits(p, left, last_is_v6(s)))
            return 0;
        s->profile = HDR_ICMP;
        return hdr_counter_bytes(HDR_ICMP);
    default:
        return 0;
    }
}

/* What changes goes from h->fixed to h->now. */
static void fields_take(hdr_header *h)
{
    const hdr_shape *s = &h->shape;
    uint8_t *l4 = h->fixed + s->l4_at;
    hdr_ip_take(s, h->fixed, &h->now);
    uint32_t checksum = sum_at(s);
    if (checksum) {
        h->now.checksum = load_be16(h->fixed + checksum);
        store_be16(h->fixed + checksum, 0);
    }
    if (s->profile == HDR_UDP || s->profile == HDR_RTP)
        store_be16(l4 + 4, 0);
    if (s->profile == HDR_RTP)
        hdr_rtp_take(l4 + UDP_HEADER, &h->now, &h->once);
    else if (s->profile == HDR_TCP)
        hdr_tcp_take(s, h->fixed, &h->now);
    else if (s->profile == HDR_ICMP || s->profile == HDR_ESP)
        hdr_counter_take(s->profile, l4, &h->now);
}

bool hdr_chain_parse(const uint8_t *data, uint32_t len, bool may_be_rtp, hdr_header *h)
{
    hdr_shape *s = &h->shape;
    memset(s, 0, sizeof *s);
    memset(&h->now, 0, sizeof h->now);
    h->once.marker = h->once.sack_count = 0;
    if (len > IP_BYTES_MAX)
        return false;
    uint32_t at = parts_parse(data, len, s);
    if (at == 0)
        return false;
    uint32_t bytes = l4_bytes_of(data + at, len - at, may_be_rtp, s);
    if (at + bytes > HDR_FIXED_MAX && s->profile == HDR_RTP)
        bytes = l4_bytes_of(data + at, len - at, false, s);
    if (at + bytes > HDR_FIXED_MAX) {
        s->profile = HDR_IP;
        bytes = 0;
    }
    s->l4_at = (uint8_t)at;
    h->header_bytes = at + bytes;
    s->header_bytes = (uint8_t)h->header_bytes;
    if (s->profile == HDR_TCP)
        hdr_tcp_options(data + at, bytes, h);
    memcpy(h->fixed, data, s->header_bytes);
    uint32_t sum = sum_at(s);
    if (sum) {
        uint16_t is_there;
        memcpy(&is_there, data + sum, sizeof is_there);
        const uint8_t *payload = data + h->header_bytes;
        uint16_t right = sum_of_transport(s, data, h->header_bytes, payload, len - h->header_bytes, is_there);
        h->now.sum_mode = is_there == right ? SUM_COMPUTED : is_there == 0 ? SUM_CONSTANT : SUM_CARRIED;
    }
    fields_take(h);
    return true;
}

/* ---- a set-up: the header without what is inferred ---- */

/* Where the next inferred bytes begin, at or after `at`; the end of the header when there are none. */
static uint32_t gap_after(const hdr_header *h, uint32_t at, uint32_t *bytes)
{
    const hdr_shape *s = &h->shape;
    uint32_t gaps[2 * HDR_LEVELS + 2], count = 0, best = s->header_bytes;
    for (uint32_t i = 0; i < s->levels; i++) {
        bool is_v6 = s->v6_levels >> i & 1;
        gaps[count++] = s->ip_at[i] + (is_v6 ? 4U : 2U);
        if (!is_v6)
            gaps[count++] = s->ip_at[i] + 10U;
    }
    if (s->profile == HDR_UDP || s->profile == HDR_RTP)
        gaps[count++] = s->l4_at + 4U;
    if (sum_at(s) && h->now.sum_mode == SUM_COMPUTED)
        gaps[count++] = sum_at(s);
    for (uint32_t i = 0; i < count; i++)
        best = gaps[i] >= at && gaps[i] < best ? gaps[i] : best;
    *bytes = best < s->header_bytes ? 2 : 0;
    return best;
}

void hdr_chain_write(const hdr_header *h, writer *w)
{
    uint8_t header[HDR_FIXED_MAX];
    const hdr_shape *s = &h->shape;
    write_u8(w, (uint8_t)(s->profile << 4 | s->parts));
    uint32_t modes = h->now.sum_mode;
    for (uint32_t i = 0; i < HDR_LEVELS; i++)
        modes |= (uint32_t)h->now.id_mode[i] << (2 + 3 * i);
    write_be16(w, (uint16_t)modes);
    if (s->profile == HDR_RTP || s->profile == HDR_TCP)
        write_number(w, h->now.stride);
    hdr_once none = { .marker = h->once.marker };
    /* Without payload and with any checksum: those bytes do not travel. */
    bool is_built = hdr_chain_build(s, h->fixed, &h->now, &none, h->fixed, 0, header, sizeof header);
    OXI_ASSERT(is_built);
    for (uint32_t at = 0, gap; at < s->header_bytes;) {
        uint32_t skipped, next = gap_after(h, at, &skipped);
        gap = next - at;
        uint8_t *p = write_space(w, gap);
        if (p)
            memcpy(p, header + at, gap);
        at = next + skipped;
    }
    if (s->profile == HDR_TCP) {
        write_u8(w, h->once.sack_count);
        for (uint32_t i = 0; i < 2U * h->once.sack_count; i++)
            write_be32(w, h->once.sack[i]);
    }
}

typedef struct expander {
    reader *r;
    uint8_t *out;
    uint32_t at;
} expander;

static bool take(expander *x, uint32_t n)
{
    if (x->at + n > HDR_FIXED_MAX) {
        x->r->is_bad = true;
        return false;
    }
    const uint8_t *p = read_bytes(x->r, n);
    if (!p)
        return false;
    memcpy(x->out + x->at, p, n);
    x->at += n;
    return true;
}

static bool leave(expander *x)
{
    if (x->at + 2 > HDR_FIXED_MAX)
        return false;
    store_be16(x->out + x->at, 0);
    x->at += 2;
    return true;
}

static bool expand_ip(expander *x, hdr_shape *s, bool is_v6, uint8_t *protocol)
{
    uint32_t at = x->at;
    if (s->levels == HDR_LEVELS || !take(x, is_v6 ? 4 : 2) || x->out[at] >> 4 != (is_v6 ? 6 : 4))
        return false;
    uint8_t *p = x->out + at;
    uint32_t bytes = is_v6 ? IPV6_HEADER : (uint32_t)(p[0] & 0x0f) * 4;
    if (bytes < IPV4_HEADER || !leave(x))
        return false;
    bool is_there = is_v6 ? take(x, IPV6_HEADER - 6) : take(x, 6) && leave(x) && take(x, bytes - 12);
    if (!is_there)
        return false;
    shape_add_ip(s, at, is_v6);
    s->is_fragment = !is_v6 && (load_be16(p + 6) & IPV4_FRAGMENT_MASK) != 0;
    *protocol = s->is_fragment ? PROTOCOL_NONE : is_v6 ? p[6] : p[9];
    return true;
}

static bool expand_parts(expander *x, hdr_shape *s, uint32_t parts)
{
    uint8_t protocol = reader_left(x->r) && x->r->at[0] >> 4 == 6 ? PROTOCOL_IPV6 : PROTOCOL_IPV4;
    while (s->parts < parts) {
        if (protocol == PROTOCOL_IPV4 || protocol == PROTOCOL_IPV6) {
            if (!expand_ip(x, s, protocol == PROTOCOL_IPV6, &protocol))
                return false;
            continue;
        }
        uint32_t at = x->at;
        if (!is_extension(protocol) || !last_is_v6(s) || !take(x, 2))
            return false;
        protocol = x->out[at];
        if (!take(x, (x->out[at + 1] + 1U) * EXT_BYTES - 2))
            return false;
        s->parts++;
    }
    s->protocol = protocol;
    return true;
}

static bool expand_sum(expander *x, const hdr_header *h)
{
    return h->now.sum_mode == SUM_COMPUTED ? leave(x) : take(x, 2);
}

static bool expand_l4(expander *x, hdr_header *h)
{
    hdr_shape *s = &h->shape;
    uint32_t at = x->at;
    s->l4_at = (uint8_t)at;
    switch (s->profile) {
    case HDR_IP: return true;
    case HDR_UDP:
    case HDR_RTP:
        if (s->protocol != L4_UDP || !take(x, 4) || !leave(x) || !expand_sum(x, h))
            return false;
        if (s->profile == HDR_UDP)
            return true;
        return take(x, 12) && take(x, hdr_rtp_bytes(x->out + at + UDP_HEADER) - 12);
    case HDR_TCP: {
        if (s->protocol != L4_TCP || !take(x, TCP_CHECKSUM_AT) || !expand_sum(x, h) || !take(x, 2))
            return false;
        uint32_t bytes = (uint32_t)(x->out[at + 12] >> 4) * 4;
        return bytes >= TCP_HEADER && take(x, bytes - TCP_HEADER);
    }
    case HDR_ESP: return s->protocol == PROTOCOL_ESP && take(x, hdr_counter_bytes(HDR_ESP));
    case HDR_ICMP: {
        uint8_t wanted = last_is_v6(s) ? PROTOCOL_ICMPV6 : PROTOCOL_ICMP;
        return s->protocol == wanted && take(x, 2) && expand_sum(x, h) && take(x, 4);
    }
    default: return false;
    }
}

hdr_verdict hdr_chain_read(reader *r, hdr_header *h)
{
    hdr_shape *s = &h->shape;
    memset(h, 0, offsetof(hdr_header, fixed));
    uint8_t kind = read_u8(r);
    uint32_t modes = read_be16(r);
    uint32_t parts = kind & 0x0f;
    s->profile = kind >> 4;
    if (s->profile == HDR_RTP || s->profile == HDR_TCP)
        h->now.stride = read_number(r);
    if (r->is_bad)
        return HDR_TRUNCATED;
    h->now.sum_mode = modes & 3;
    bool is_good = s->profile < HDR_PROFILES && parts > 0 && h->now.sum_mode < SUM_MODES && modes >> 11 == 0;
    for (uint32_t i = 0; i < HDR_LEVELS; i++) {
        h->now.id_mode[i] = modes >> (2 + 3 * i) & 7;
        is_good = is_good && h->now.id_mode[i] < ID_MODES;
    }
    expander x = { .r = r, .out = h->fixed };
    if (!is_good || !expand_parts(&x, s, parts) || !expand_l4(&x, h))
        return r->is_bad ? HDR_TRUNCATED : HDR_BAD_FORM;
    s->header_bytes = (uint8_t)x.at;
    h->header_bytes = x.at;
    hdr_header seen = { .shape = *s };
    if (s->profile == HDR_TCP) {
        hdr_tcp_options(h->fixed + s->l4_at, x.at - s->l4_at, &seen);
        s->stamps_at = seen.shape.stamps_at;
        h->once.sack_count = read_u8(r);
        if (h->once.sack_count > HDR_SACK_MAX)
            return HDR_BAD_FORM;
        for (uint32_t i = 0; i < 2U * h->once.sack_count; i++)
            h->once.sack[i] = read_be32(r);
        if (r->is_bad)
            return HDR_TRUNCATED;
    }
    fields_take(h);
    return HDR_OK;
}

/* ---- back to a packet ---- */

bool hdr_chain_build(const hdr_shape *s, const uint8_t *fixed, const hdr_fields *f, const hdr_once *once,
                     const uint8_t *payload, uint32_t payload_bytes, uint8_t *out, uint32_t cap)
{
    uint32_t header_bytes = s->header_bytes + (once->sack_count ? hdr_sack_bytes(once) : 0);
    uint32_t total = header_bytes + payload_bytes;
    if (total > IP_BYTES_MAX || total > cap)
        return false;
    memcpy(out, fixed, s->header_bytes);
    hdr_ip_put(s, f, total, out);
    uint8_t *l4 = out + s->l4_at;
    switch (s->profile) {
    case HDR_RTP:
        hdr_rtp_put(f, once, l4 + UDP_HEADER);
        store_be16(l4 + 4, (uint16_t)(total - s->l4_at));
        break;
    case HDR_UDP: store_be16(l4 + 4, (uint16_t)(total - s->l4_at)); break;
    case HDR_TCP: hdr_tcp_put(s, f, once, out); break;
    case HDR_ICMP:
    case HDR_ESP: hdr_counter_put(s->profile, f, l4); break;
    default: break;
    }
    uint32_t sum = sum_at(s);
    if (sum && f->sum_mode == SUM_COMPUTED)
        sum_store(out + sum, sum_of_transport(s, out, header_bytes, payload, payload_bytes, 0));
    else if (sum)
        store_be16(out + sum, f->checksum);
    return true;
}
