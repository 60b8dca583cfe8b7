/* too_big.c - tells who sent a packet that the path can not carry what it can: ICMP "fragmentation needed"
 * (RFC 792, RFC 1191) and ICMPv6 "packet too big" (RFC 4443, section 3.2), into the TUN.
 *
 * The source address is the destination of the packet: we may have no address of our own, and the kernel
 * drops as martian what comes in from an address that is its own. The receiver looks at the packet quoted. */
#include "checksum.h"
#include "l4.h"
#include "stages.h"

enum {
    PROTO_HOPOPTS = 0,
    PROTO_ICMP = 1,
    PROTO_ROUTING = 43,
    PROTO_FRAGMENT = 44,
    PROTO_ICMPV6 = 58,
    PROTO_DSTOPTS = 60,
    ICMP_BYTES = 8,
    ICMP_UNREACHABLE = 3,
    ICMP_FRAGMENTATION_NEEDED = 4,
    ICMPV6_TOO_BIG = 2,
    ICMPV6_REDIRECT = 137,
    ICMPV6_INFORMATIONAL = 128,
    IPV6_HEADERS_MAX = 8,
    ERROR_TTL = 64,
    ERROR_IPV4_MAX = 576,         /* RFC 1812, section 4.3.2.3 */
    ERROR_IPV6_MAX = OXI_MTU_MIN, /* RFC 4443, section 2.4 (c) */
    IPV4_MTU_MIN = 68             /* RFC 791 */
};

/* RFC 1122, section 3.2.2, and RFC 1812, section 4.3.2.7: errors about errors would never end. Only the
 * types that ask or answer are known not to be errors. */
static bool icmp_is_error(uint8_t type)
{
    return !(type == 0 || type == 8 || type == 13 || type == 14);
}

static bool ipv4_is_host(const uint8_t *a) { return a[0] != 0 && a[0] != 127 && a[0] < 224; }

static bool ipv6_is_host(const uint8_t *a)
{
    static const uint8_t unspecified[16];
    return a[0] != 0xff && memcmp(a, unspecified, sizeof unspecified) != 0;
}

bool too_big_ipv4_parse(const uint8_t *data, uint32_t len)
{
    uint32_t header = (uint32_t)(data[0] & 0x0f) * 4;
    uint16_t fragment = load_be16(data + 6);
    bool has_df = fragment & IPV4_DF;
    if (!has_df || (fragment & 0x1fff) || !ipv4_is_host(data + 12) || !ipv4_is_host(data + 16))
        return false;
    return data[9] != PROTO_ICMP || (len > header && !icmp_is_error(data[header]));
}

/* Through the extension headers, as far as it takes to say that this is no ICMPv6 error, redirect or later
 * fragment. Multicast destinations are answered in general (RFC 4443, section 2.4 (e.3)), but can not be the
 * source of the answer. */
bool too_big_ipv6_parse(const uint8_t *data, uint32_t len)
{
    if (!ipv6_is_host(data + 8) || !ipv6_is_host(data + 24))
        return false;
    reader r = reader_of(data + 40, len - 40);
    uint8_t next = data[6];
    for (uint32_t i = 0; i < IPV6_HEADERS_MAX; i++) {
        if (next == PROTO_ICMPV6) {
            uint8_t type = read_u8(&r);
            return !r.is_bad && type >= ICMPV6_INFORMATIONAL && type != ICMPV6_REDIRECT;
        }
        bool is_fragment = next == PROTO_FRAGMENT;
        if (!is_fragment && next != PROTO_HOPOPTS && next != PROTO_ROUTING && next != PROTO_DSTOPTS)
            return true;
        const uint8_t *h = read_bytes(&r, 8);
        if (!h || (is_fragment && (load_be16(h + 2) & 0xfff8)))
            return false;
        next = h[0];
        if (!is_fragment && !read_bytes(&r, (size_t)h[1] * 8))
            return false;
    }
    return false;
}

static uint32_t ipv4_error(const uint8_t *about, uint32_t about_len, uint32_t mtu_bytes, uint8_t *out)
{
    uint32_t quoted = (uint32_t)min_u64(about_len, ERROR_IPV4_MAX - IPV4_HEADER - ICMP_BYTES);
    uint32_t len = IPV4_HEADER + ICMP_BYTES + quoted;
    memset(out, 0, IPV4_HEADER + ICMP_BYTES);
    out[0] = 0x45;
    store_be16(out + 2, (uint16_t)len);
    out[8] = ERROR_TTL;
    out[9] = PROTO_ICMP;
    memcpy(out + 12, about + 16, 4);
    memcpy(out + 16, about + 12, 4);
    ipv4_header_sum(out, IPV4_HEADER);
    uint8_t *icmp = out + IPV4_HEADER;
    icmp[0] = ICMP_UNREACHABLE;
    icmp[1] = ICMP_FRAGMENTATION_NEEDED;
    store_be16(icmp + 6, (uint16_t)mtu_bytes);
    memcpy(icmp + ICMP_BYTES, about, quoted);
    sum_store(icmp + 2, (uint16_t)~sum_fold(sum_add(0, icmp, ICMP_BYTES + quoted)));
    return len;
}

static uint32_t ipv6_error(const uint8_t *about, uint32_t about_len, uint32_t mtu_bytes, uint8_t *out)
{
    uint32_t quoted = (uint32_t)min_u64(about_len, ERROR_IPV6_MAX - IPV6_HEADER - ICMP_BYTES);
    uint32_t payload = ICMP_BYTES + quoted;
    memset(out, 0, IPV6_HEADER + ICMP_BYTES);
    out[0] = 0x60;
    store_be16(out + 4, (uint16_t)payload);
    out[6] = PROTO_ICMPV6;
    out[7] = ERROR_TTL;
    memcpy(out + 8, about + 24, 16);
    memcpy(out + 24, about + 8, 16);
    uint8_t *icmp = out + IPV6_HEADER;
    icmp[0] = ICMPV6_TOO_BIG;
    store_be32(icmp + 4, mtu_bytes);
    memcpy(icmp + ICMP_BYTES, about, quoted);
    uint64_t pseudo = sum_pseudo(out + 8, true, PROTO_ICMPV6, payload);
    sum_store(icmp + 2, (uint16_t)~sum_fold(sum_add(pseudo, icmp, payload)));
    return IPV6_HEADER + payload;
}

/* RFC 4443, section 2.4 (f): a token bucket. Time that stands still gives nothing. */
static bool bucket_take(too_big_bucket *bucket, uint64_t now_ns)
{
    uint64_t since = now_ns > bucket->filled_ns ? now_ns - bucket->filled_ns : 0;
    uint64_t earned = min_u64(since / TOO_BIG_NS_PER_ANSWER, TOO_BIG_BURST);
    bucket->tokens = min_u64(bucket->tokens + earned, TOO_BIG_BURST);
    if (earned == TOO_BIG_BURST)
        bucket->filled_ns = now_ns;
    else
        bucket->filled_ns += earned * TOO_BIG_NS_PER_ANSWER;
    if (bucket->tokens == 0)
        return false;
    bucket->tokens--;
    return true;
}

void too_big_answer(dp *d, uint64_t now_ns, pkt *p, uint32_t mtu_bytes)
{
    const uint8_t *about = pkt_data(p);
    bool is_v6 = about[0] >> 4 == 6;
    /* Below the least MTU of the family nothing can be asked of the sender. */
    mtu_bytes = (uint32_t)max_u64(mtu_bytes, is_v6 ? OXI_MTU_MIN : IPV4_MTU_MIN);
    bool is_answered = is_v6 ? too_big_ipv6_parse(about, p->len) : too_big_ipv4_parse(about, p->len);
    if (!is_answered || p->len <= mtu_bytes || !bucket_take(&d->too_big, now_ns))
        return;
    pkt *answer = pool_take(&d->pool);
    if (!answer) {
        COUNT_ADD(d->stats.own_inner_dropped_packets, 1);
        return;
    }
    uint8_t *out = pkt_data(answer);
    answer->peer = p->peer;
    answer->len = (uint16_t)(is_v6 ? ipv6_error(about, p->len, mtu_bytes, out)
                                   : ipv4_error(about, p->len, mtu_bytes, out));
    inbox_put(d, answer);
}
