/* mss.c - TCP connections are told, as they begin, what fits the path.
 *
 * A SYN says how large the segments may be that its sender wants to get (RFC 9293, section 3.7.1). Many hosts
 * and firewalls throw away the ICMP that would tell them later, so the option is lowered to what the path to
 * the peer carries. Never raised, never added; both ways, as each end knows only the way it sends. A SYN is
 * told apart by four bytes; all other packets cost no more than a look at them. */
#include "checksum.h"
#include "l4.h"
#include "stages.h"

enum {
    OPTION_END = 0,
    OPTION_NOP = 1,
    OPTION_MSS = 2,
    OPTION_MSS_BYTES = 4,
    HEADERS_IPV4 = 40, /* IP and TCP without options, as RFC 6691 counts them */
    HEADERS_IPV6 = 60
};

/* The TCP header of a SYN that is no fragment; NULL: it is something else. */
static uint8_t *syn_find(uint8_t *data, uint32_t len)
{
    bool is_v4 = data[0] >> 4 == 4;
    if (data[is_v4 ? 9 : 6] != L4_TCP)
        return NULL;
    uint32_t header = is_v4 ? (uint32_t)(data[0] & 0x0f) * 4 : IPV6_HEADER;
    bool is_fragment = is_v4 && (load_be16(data + 6) & IPV4_FRAGMENT_MASK) != 0;
    if (is_fragment || len < header + TCP_HEADER || !(data[header + 13] & TCP_SYN))
        return NULL;
    return data + header;
}

bool mss_read(const uint8_t *tcp, uint32_t len, uint32_t *at)
{
    uint32_t end = (uint32_t)(tcp[12] >> 4) * 4;
    if (end > len)
        return false;
    uint32_t i = TCP_HEADER;
    while (i < end && tcp[i] != OPTION_END) {
        if (tcp[i] == OPTION_NOP) {
            i++;
            continue;
        }
        uint32_t option = i + 1 < end ? tcp[i + 1] : 0;
        if (option < 2 || i + option > end)
            return false;
        if (tcp[i] == OPTION_MSS && option == OPTION_MSS_BYTES) {
            *at = i + 2;
            return true;
        }
        i += option;
    }
    return false;
}

static uint16_t swapped(uint32_t v) { return (uint16_t)(v >> 8 | v << 8); }

static void clamp(uint8_t *data, uint32_t len, uint32_t mtu_bytes)
{
    uint8_t *tcp = syn_find(data, len);
    uint32_t headers = data[0] >> 4 == 4 ? HEADERS_IPV4 : HEADERS_IPV6;
    uint32_t at;
    if (!tcp || mtu_bytes <= headers || !mss_read(tcp, len - (uint32_t)(tcp - data), &at))
        return;
    uint16_t before = load_be16(tcp + at), after = (uint16_t)(mtu_bytes - headers);
    if (before <= after)
        return;
    store_be16(tcp + at, after);
    /* At an odd place the bytes lie in two words, and count as one of swapped bytes (RFC 1071, 2(B)). */
    bool is_odd = at & 1;
    uint16_t fixed = checksum_fix(load_be16(tcp + TCP_CHECKSUM_AT), is_odd ? swapped(before) : before,
                                  is_odd ? swapped(after) : after);
    store_be16(tcp + TCP_CHECKSUM_AT, fixed);
}

/* Lengths are as ip_parse() found them: a whole packet of 20 or 40 bytes at least. */
void mss_batch(dp *d, batch *b)
{
    for (uint32_t i = 0; i < b->count; i++) {
        pkt *p = b->pkts[i];
        clamp(pkt_data(p), p->len, path_mtu(d, &d->peers[p->peer].paths[p->path]));
    }
}
