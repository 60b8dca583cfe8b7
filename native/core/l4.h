/* l4.h - where the TCP or UDP header of a packet lies, as split and merge need it. */
#ifndef OXI_L4_H
#define OXI_L4_H
#include "base.h"
#include "bytes.h"

enum { L4_TCP = 6, L4_UDP = 17, IPV4_HEADER = 20, IPV6_HEADER = 40, TCP_HEADER = 20, UDP_HEADER = 8,
       TCP_CHECKSUM_AT = 16, UDP_CHECKSUM_AT = 6 };
enum { TCP_FIN = 0x01, TCP_SYN = 0x02, TCP_RST = 0x04, TCP_PSH = 0x08, TCP_ACK = 0x10, TCP_URG = 0x20,
       TCP_ECE = 0x40, TCP_CWR = 0x80 };
enum { IPV4_DF = 0x4000, IPV4_FRAGMENT_MASK = 0x3fff /* more fragments, offset */ };

typedef struct l4_view {
    bool is_v6;
    bool is_fragment;
    uint8_t protocol;   /* next header; of IPv6 the first one, extension headers are not walked */
    uint32_t ip_bytes;  /* header of IP, options included */
    uint32_t l4_bytes;  /* header of TCP (with options) or UDP; 0 for other protocols */
} l4_view;

/* False: not IP, or its header, or the header of TCP or UDP, does not fit into len bytes. */
static inline bool l4_parse(const uint8_t *data, uint32_t len, l4_view *out)
{
    uint32_t version = len > 0 ? data[0] >> 4 : 0;
    *out = (l4_view){ .is_v6 = version == 6 };
    if (version == 4 && len >= IPV4_HEADER) {
        out->ip_bytes = (uint32_t)(data[0] & 0x0f) * 4;
        out->protocol = data[9];
        out->is_fragment = (load_be16(data + 6) & IPV4_FRAGMENT_MASK) != 0;
    } else if (version == 6 && len >= IPV6_HEADER) {
        out->ip_bytes = IPV6_HEADER;
        out->protocol = data[6];
    } else {
        return false;
    }
    if (out->ip_bytes < IPV4_HEADER || out->ip_bytes > len)
        return false;
    uint32_t left = len - out->ip_bytes;
    if (out->protocol == L4_UDP)
        out->l4_bytes = UDP_HEADER;
    else if (out->protocol == L4_TCP)
        out->l4_bytes = left >= TCP_HEADER ? (uint32_t)(data[out->ip_bytes + 12] >> 4) * 4 : TCP_HEADER;
    bool is_short_tcp = out->protocol == L4_TCP && out->l4_bytes < TCP_HEADER;
    return !is_short_tcp && out->l4_bytes <= left;
}
#endif
