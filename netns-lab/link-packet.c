/* link-packet.c - reading and changing the packets on the link: IPv4, IPv6, UDP, ICMP.
 * Everything is bounded by the length that packet_parse() has checked. */
#include "link.h"
#include <string.h>

enum { IP4_HEADER = 20, IP6_HEADER = 40, FRAGMENT_HEADER = 8, UDP_HEADER = 8 };
enum { PROTOCOL_TCP = 6, PROTOCOL_UDP = 17, PROTOCOL_FRAGMENT = 44, PROTOCOL_ICMP6 = 58 };

static uint16_t get16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

/* The Internet checksum (RFC 1071) of `bytes`, added to `start`; not yet inverted. */
uint16_t packet_sum(const uint8_t *bytes, uint32_t len, uint32_t start)
{
    uint64_t sum = start;
    for (uint32_t i = 0; i + 1 < len; i += 2)
        sum += get16(bytes + i);
    if (len & 1)
        sum += (uint32_t)bytes[len - 1] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

/* Updates a checksum for one 16-bit word that changed (RFC 1624, equation 3). */
static uint16_t sum_update(uint16_t checksum, uint16_t was, uint16_t is)
{
    uint32_t sum = (uint16_t)~checksum + (uint32_t)(uint16_t)~was + is;
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static void udp_sum_update(uint8_t *udp, uint16_t was, uint16_t is)
{
    uint16_t checksum = get16(udp + 6);
    if (checksum == 0)           /* the sender left it out (IPv4 only) */
        return;
    checksum = sum_update(checksum, was, is);
    put16(udp + 6, checksum ? checksum : 0xffff);
}

static bool parse_ip4(const uint8_t *bytes, uint32_t len, struct view *view)
{
    uint32_t header = (uint32_t)(bytes[0] & 15) * 4;
    if (len < IP4_HEADER || header < IP4_HEADER || header > len || get16(bytes + 2) != len)
        return false;
    uint32_t fragment_offset = get16(bytes + 6) & 0x1fff;
    view->body = header;
    view->may_fragment = !(bytes[6] & 0x40);
    if (bytes[9] == PROTOCOL_UDP && fragment_offset == 0 && header + UDP_HEADER <= len)
        view->udp = header;
    return true;
}

static bool parse_ip6(const uint8_t *bytes, uint32_t len, struct view *view)
{
    if (len < IP6_HEADER || (uint32_t)get16(bytes + 4) + IP6_HEADER != len)
        return false;
    uint8_t protocol = bytes[6];
    bool first = true;
    view->body = IP6_HEADER;
    if (protocol == PROTOCOL_FRAGMENT && len >= IP6_HEADER + FRAGMENT_HEADER) {
        protocol = bytes[IP6_HEADER];
        first = (get16(bytes + IP6_HEADER + 2) & 0xfff8) == 0;
        view->body += FRAGMENT_HEADER;
    }
    if (protocol == PROTOCOL_UDP && first && view->body + UDP_HEADER <= len)
        view->udp = view->body;
    return true;
}

/* False: not IP, or its length field does not agree with `len`. */
bool packet_parse(const uint8_t *bytes, uint32_t len, struct view *view)
{
    *view = (struct view){.len = len};
    if (len == 0)
        return false;
    view->version = bytes[0] >> 4;
    if (view->version == 4)
        return parse_ip4(bytes, len, view);
    return view->version == 6 && parse_ip6(bytes, len, view);
}

/* Sets ECN "congestion experienced" where the sender can understand it.  False: it can not. */
bool packet_mark_ce(uint8_t *bytes, const struct view *view)
{
    uint16_t was = get16(bytes);
    uint32_t ecn = view->version == 4 ? bytes[1] & 3u : bytes[1] >> 4 & 3u;
    if (ecn == 0)
        return false;
    bytes[1] |= view->version == 4 ? 0x03 : 0x30;
    if (view->version == 4)
        put16(bytes + 10, sum_update(get16(bytes + 10), was, get16(bytes)));
    return true;
}

bool packet_flip(uint8_t *bytes, const struct view *view, uint64_t random, bool fix_checksum)
{
    uint32_t start = view->udp ? view->udp + UDP_HEADER : view->body;
    if (start >= view->len)
        start = view->body;
    uint32_t at = start + (uint32_t)((random >> 3) % (view->len - start));
    uint32_t origin = view->udp ? view->udp : view->body;
    uint8_t before[2] = {0, 0}, after[2] = {0, 0};
    uint32_t half = (at - origin) & 1;
    before[half] = bytes[at];
    bytes[at] ^= (uint8_t)(1u << (random & 7));
    after[half] = bytes[at];
    if (!view->udp || !fix_checksum || start < view->udp + UDP_HEADER)
        return false;
    udp_sum_update(bytes + view->udp, get16(before), get16(after));
    return true;
}

uint16_t packet_port(const uint8_t *bytes, const struct view *view, bool source)
{
    return get16(bytes + view->udp + (source ? 0 : 2));
}

void packet_set_port(uint8_t *bytes, const struct view *view, bool source, uint16_t port)
{
    uint8_t *udp = bytes + view->udp;
    uint16_t was = get16(udp + (source ? 0 : 2));
    put16(udp + (source ? 0 : 2), port);
    udp_sum_update(udp, was, port);
}

/* The checksum start of a pseudo header: addresses, protocol, length (RFC 768, RFC 8200 section 8.1). */
static uint16_t pseudo_sum(const uint8_t *ip, uint8_t version, uint32_t protocol, uint32_t len)
{
    const uint8_t *addresses = version == 4 ? ip + 12 : ip + 8;
    return packet_sum(addresses, version == 4 ? 8 : 32, protocol + len);
}

bool packet_udp_checksum_good(const uint8_t *bytes, const struct view *view)
{
    if (!view->udp)
        return false;
    uint32_t len = view->len - view->udp;
    if (get16(bytes + view->udp + 6) == 0)
        return view->version == 4;
    return packet_sum(bytes + view->udp, len, pseudo_sum(bytes, view->version, PROTOCOL_UDP, len)) == 0xffff;
}

static uint32_t too_big_ip4(const uint8_t *bytes, const struct view *view, uint32_t mtu, uint8_t *out)
{
    uint32_t quoted = view->len < 548 ? view->len : 548;    /* RFC 1812: at most 576 bytes in all */
    uint32_t len = IP4_HEADER + 8 + quoted;
    memset(out, 0, IP4_HEADER + 8);
    out[0] = 0x45;
    put16(out + 2, len);
    out[8] = 64;
    out[9] = 1;
    memcpy(out + 12, bytes + 16, 4);     /* from whom it was meant for: the link has no address */
    memcpy(out + 16, bytes + 12, 4);
    put16(out + 10, (uint16_t)~packet_sum(out, IP4_HEADER, 0));
    uint8_t *icmp = out + IP4_HEADER;
    icmp[0] = 3;
    icmp[1] = 4;
    put16(icmp + 6, mtu);
    memcpy(icmp + 8, bytes, quoted);
    put16(icmp + 2, (uint16_t)~packet_sum(icmp, 8 + quoted, 0));
    return len;
}

static uint32_t too_big_ip6(const uint8_t *bytes, const struct view *view, uint32_t mtu, uint8_t *out)
{
    uint32_t quoted = view->len < 1232 ? view->len : 1232;  /* RFC 4443: at most 1280 bytes in all */
    uint32_t len = IP6_HEADER + 8 + quoted;
    memset(out, 0, IP6_HEADER + 8);
    out[0] = 0x60;
    put16(out + 4, 8 + quoted);
    out[6] = PROTOCOL_ICMP6;
    out[7] = 64;
    memcpy(out + 8, bytes + 24, 16);
    memcpy(out + 24, bytes + 8, 16);
    uint8_t *icmp = out + IP6_HEADER;
    icmp[0] = 2;
    put16(icmp + 6, mtu);
    memcpy(icmp + 8, bytes, quoted);
    uint16_t start = pseudo_sum(out, 6, PROTOCOL_ICMP6, 8 + quoted);
    put16(icmp + 2, (uint16_t)~packet_sum(icmp, 8 + quoted, start));
    return len;
}

/* Writes the ICMP answer "packet too big" and returns its length; at most 1280 bytes. */
uint32_t packet_too_big(const uint8_t *bytes, const struct view *view, uint32_t mtu, uint8_t out[1280])
{
    return view->version == 4 ? too_big_ip4(bytes, view, mtu, out) : too_big_ip6(bytes, view, mtu, out);
}
