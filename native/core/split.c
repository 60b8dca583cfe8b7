/* split.c - TCP and UDP segmentation of what the TUN hands over in one piece (linux/virtio_net.h).
 *
 * The kernel leaves two jobs to us: cutting (gso) and checksums (needs_csum). Both are done here and
 * nowhere later, so that the rest of the path only ever sees finished packets. What the headers of
 * the cut packets say is what Linux itself would have made of them (RFC 9293, RFC 3168 for CWR). */
#include "split.h"

#include "checksum.h"
#include "l4.h"

static bool csum_fits(const split *s)
{
    return (uint32_t)s->how.csum_start + s->how.csum_offset + 2 <= s->len;
}

/* Where the headers end. The kernel says where TCP or UDP begins (csum_start), as between that and the IP
 * header there may be extension headers; what the packet itself shows must agree. */
static bool headers_find(split *s)
{
    bool is_udp = s->how.kind == OXI_SUPER_UDP;
    bool is_v6 = s->data[0] >> 4 == 6;
    uint32_t start = s->how.csum_start;
    l4_view v;
    if (!s->how.needs_csum || s->how.csum_offset != (is_udp ? UDP_CHECKSUM_AT : TCP_CHECKSUM_AT) ||
        !l4_parse(s->data, s->len, &v) || v.is_fragment)
        return false;
    if (!is_udp && is_v6 != (s->how.kind == OXI_SUPER_TCP6))
        return false;
    bool has_extensions = is_v6 && start > v.ip_bytes;
    if (!has_extensions && (start != v.ip_bytes || v.protocol != (is_udp ? L4_UDP : L4_TCP)))
        return false;
    uint32_t l4_bytes = UDP_HEADER;
    if (!is_udp)
        l4_bytes = start + TCP_HEADER <= s->len ? (uint32_t)(s->data[start + 12] >> 4) * 4 : 0;
    s->ip_bytes = start;
    s->header_bytes = start + l4_bytes;
    return (is_udp || l4_bytes >= TCP_HEADER) && s->len > s->header_bytes;
}

bool split_begin(split *s, const uint8_t *data, uint32_t len, const oxi_super *how)
{
    *s = (split){ .data = data, .len = len, .how = *how };
    if (len == 0 || (how->needs_csum && !csum_fits(s)))
        return false;
    if (how->kind == OXI_SUPER_NONE)
        return true;
    return how->kind <= OXI_SUPER_UDP && how->segment_bytes > 0 && len <= OXI_SUPER_MAX && headers_find(s);
}

uint32_t split_peek(const split *s)
{
    if (s->is_done)
        return 0;
    if (s->header_bytes == 0)
        return s->len;
    uint32_t left = s->len - s->header_bytes - s->at;
    return s->header_bytes + (left < s->how.segment_bytes ? left : s->how.segment_bytes);
}

void split_skip(split *s)
{
    s->at += s->how.segment_bytes;
    s->count++;
    s->is_done = s->header_bytes == 0 || s->header_bytes + s->at >= s->len;
}

/* One packet, whose checksum may be ours to finish: what stands in its field is the sum of the pseudo
 * header. Zero is written as its twin, as it means "none" in UDP (RFC 768) and nothing special in TCP. */
static void whole_copy(const split *s, uint8_t *out)
{
    memcpy(out, s->data, s->len);
    if (!s->how.needs_csum)
        return;
    uint32_t start = s->how.csum_start;
    uint16_t sum = (uint16_t)~sum_fold(sum_add(0, out + start, s->len - start));
    sum_store(out + start + s->how.csum_offset, sum ? sum : 0xffff);
}

static void tcp_fix(const split *s, uint8_t *tcp, bool is_last)
{
    store_be32(tcp + 4, load_be32(tcp + 4) + s->at);
    if (!is_last)
        tcp[13] = (uint8_t)(tcp[13] & ~(TCP_FIN | TCP_PSH));
    if (s->count > 0)
        tcp[13] = (uint8_t)(tcp[13] & ~TCP_CWR);
}

static void segment_cut(const split *s, uint8_t *out, uint32_t len, bool is_last)
{
    uint32_t payload = len - s->header_bytes;
    memcpy(out, s->data, s->header_bytes);
    memcpy(out + s->header_bytes, s->data + s->header_bytes + s->at, payload);
    bool is_v6 = out[0] >> 4 == 6;
    uint8_t *l4 = out + s->ip_bytes;
    uint32_t l4_len = len - s->ip_bytes;
    if (is_v6) {
        store_be16(out + 4, (uint16_t)(len - IPV6_HEADER));
    } else {
        store_be16(out + 2, (uint16_t)len);
        store_be16(out + 4, (uint16_t)(load_be16(out + 4) + s->count));
        ipv4_header_sum(out, s->ip_bytes);
    }
    bool is_udp = s->how.kind == OXI_SUPER_UDP;
    if (is_udp)
        store_be16(l4 + 4, (uint16_t)l4_len);
    else
        tcp_fix(s, l4, is_last);
    /* The field holds the sum of the pseudo header of the whole; only the length in it differs. */
    uint64_t sum = sum_add(0, l4, l4_len) + sum_be16((uint16_t)l4_len) +
                   (0xffff - sum_be16((uint16_t)(s->len - s->ip_bytes)));
    uint16_t folded = (uint16_t)~sum_fold(sum);
    sum_store(l4 + s->how.csum_offset, folded == 0 && is_udp ? 0xffff : folded);
}

void split_next(split *s, uint8_t *out)
{
    uint32_t len = split_peek(s);
    OXI_ASSERT(len > 0);
    if (s->header_bytes == 0)
        whole_copy(s, out);
    else
        segment_cut(s, out, len, s->header_bytes + s->at + s->how.segment_bytes >= s->len);
    split_skip(s);
}
