/* traffic_class.c - see traffic_class.h. */
#include "traffic_class.h"

#include "l4.h"

typedef struct verdict {
    uint8_t traffic_class;
    uint8_t why; /* OXI_WHY_DEFAULT: nothing is known */
} verdict;

static const verdict UNKNOWN = { OXI_CLASS_WEB, OXI_WHY_DEFAULT };

/* ---- what stands in the key ---- */

static bool prefix_matches(const uint8_t *address, const oxi_class_rule *r)
{
    uint32_t whole = r->bits / 8;
    uint32_t rest = r->bits % 8;
    if (memcmp(address, r->ip, whole) != 0)
        return false;
    return rest == 0 || (address[whole] ^ r->ip[whole]) >> (8 - rest) == 0;
}

static bool rule_matches(const oxi_class_rule *r, const flow *f)
{
    const uint8_t *addresses = (const uint8_t *)f->key.addresses;
    uint8_t family = f->is_v6 ? OXI_AF_INET6 : OXI_AF_INET;
    if (r->family != OXI_AF_NONE &&
        (r->family != family || !(prefix_matches(addresses, r) ||
                                  prefix_matches(addresses + (f->is_v6 ? 16 : 4), r))))
        return false;
    if (r->dscp != OXI_DSCP_ANY && r->dscp != f->dscp)
        return false;
    if (r->protocol != 0 && r->protocol != f->protocol)
        return false;
    return r->port == 0 || r->port == f->source_port || r->port == f->target_port;
}

static verdict by_rules(const class_rules *rules, const flow *f)
{
    for (uint32_t i = 0; i < rules->count; i++)
        if (rule_matches(&rules->at[i], f))
            return (verdict){ rules->at[i].traffic_class, OXI_WHY_RULE };
    return UNKNOWN;
}

/* RFC 4594, figure 3; LE: RFC 8622; VA: RFC 5865. CS5 is signalling there (section 4.2), not a call itself.
 * TCP can not be a call: EF is what OpenSSH marks its keystrokes with. */
static verdict by_dscp(const flow *f)
{
    enum { LE = 1, CS1 = 8, AF11 = 10, AF12 = 12, AF13 = 14, CS2 = 16, CS3 = 24, AF31 = 26, AF32 = 28,
           AF33 = 30, CS4 = 32, AF41 = 34, AF42 = 36, AF43 = 38, CS5 = 40, VA = 44, EF = 46, CS6 = 48,
           CS7 = 56 };
    switch (f->dscp) {
    case EF:
    case VA:
        return (verdict){ f->protocol == L4_TCP ? OXI_CLASS_CONTROL : OXI_CLASS_VOIP, OXI_WHY_DSCP };
    case CS4:
        return (verdict){ OXI_CLASS_GAMING, OXI_WHY_DSCP };
    case CS3:
    case AF31:
    case AF32:
    case AF33:
    case AF41:
    case AF42:
    case AF43:
        return (verdict){ OXI_CLASS_STREAMING, OXI_WHY_DSCP };
    case LE:
    case CS1:
    case AF11:
    case AF12:
    case AF13:
        return (verdict){ OXI_CLASS_BULK, OXI_WHY_DSCP };
    case CS2:
    case CS5:
    case CS6:
    case CS7:
        return (verdict){ OXI_CLASS_CONTROL, OXI_WHY_DSCP };
    default:
        return UNKNOWN;
    }
}

/* SSH, telnet, DNS (also over TLS, and multicast), DHCP, NTP, SNMP, BGP, BFD, SIP. */
static bool is_control_port(uint16_t port)
{
    switch (port) {
    case 22:
    case 23:
    case 53:
    case 67:
    case 68:
    case 123:
    case 161:
    case 162:
    case 179:
    case 546:
    case 547:
    case 853:
    case 3784:
    case 5060:
    case 5061:
    case 5353:
        return true;
    default:
        return false;
    }
}

static bool is_known_port(const flow *f)
{
    enum { ICMP = 1, IGMP = 2, ICMP6 = 58, OSPF = 89, PIM = 103, VRRP = 112 };
    switch (f->protocol) {
    case ICMP:
    case IGMP:
    case ICMP6:
    case OSPF:
    case PIM:
    case VRRP:
        return true;
    case L4_TCP:
    case L4_UDP:
        return is_control_port(f->source_port) || is_control_port(f->target_port);
    default:
        return false;
    }
}

/* ---- what its packets show ---- */

/* A clock behind it: small packets, 10 to 130 a second, the gaps steady. */
static bool is_steady(const flow *f)
{
    enum { BYTES_MAX = 300, GAP_US_MIN = 7700, GAP_US_MAX = 100000 };
    return f->protocol == L4_UDP && f->packets >= 2 * CLASS_REVIEW_PACKETS &&
           f->size_x16 <= BYTES_MAX * 16 && f->gap_us >= GAP_US_MIN && f->gap_us <= GAP_US_MAX &&
           f->gap_dev_us <= f->gap_us / 2;
}

/* Frames of a codec, of one size and 10 to 60 ms each, without RTP around them; a game sends now more, now
 * less. */
static bool is_codec(const flow *f)
{
    return f->gap_us >= 9000 && f->gap_us <= 66000 && f->size_dev_x16 <= f->size_x16 / 16;
}

/* A player that fetches the next seconds whenever its buffer has room: blocks of bytes, one each so long. */
static bool is_fetched_in_blocks(const flow *f, uint32_t at_ms)
{
    enum { BLOCKS_MIN = 4 };
    return f->blocks >= BLOCKS_MIN && f->period_dev_ms <= f->period_ms / 4 &&
           at_ms - f->block_ms <= 2 * FLOW_PERIOD_MS_MAX;
}

/* A camera or broadcast: large packets, as many in each second. What QUIC sends evenly is as fast as its way
 * allows, so it is not told apart like that. */
static bool is_even(const flow *f)
{
    enum { BYTES_MIN = 700, WINDOWS_MIN = 10, RATE_MIN = 30000, RATE_MAX = 6000000, QUIC_PORT = 443 };
    return f->protocol == L4_UDP && f->source_port != QUIC_PORT && f->target_port != QUIC_PORT &&
           f->size_x16 >= BYTES_MIN * 16 && f->windows >= WINDOWS_MIN && f->rate >= RATE_MIN &&
           f->rate <= RATE_MAX && f->rate_dev <= f->rate / 8;
}

static bool is_bulk(const flow *f, uint32_t at_ms)
{
    enum { BYTES_MIN = 1 << 20, LASTS_MS_MIN = 10000, RATE_MIN = 60000 };
    return f->stretch_bytes > BYTES_MIN || (at_ms > LASTS_MS_MIN && f->rate > RATE_MIN);
}

static verdict by_flow(const flow *f)
{
    uint32_t at_ms = (uint32_t)((f->last_ns - f->first_ns) / NS_PER_MS);
    if (f->has_known_port && f->size_x16 <= CONTROL_BYTES_MAX * 16)
        return (verdict){ OXI_CLASS_CONTROL, OXI_WHY_PORT };
    if (f->rtp_score == RTP_SCORE && !f->has_known_port)
        return (verdict){ f->size_x16 > VOIP_BYTES_MAX * 16 ? OXI_CLASS_STREAMING : OXI_CLASS_VOIP,
                          OXI_WHY_RTP };
    if (is_steady(f))
        return (verdict){ is_codec(f) ? OXI_CLASS_VOIP : OXI_CLASS_GAMING, OXI_WHY_SHAPE };
    if (is_fetched_in_blocks(f, at_ms) || is_even(f))
        return (verdict){ OXI_CLASS_STREAMING, OXI_WHY_SHAPE };
    return is_bulk(f, at_ms) ? (verdict){ OXI_CLASS_BULK, OXI_WHY_SHAPE } : UNKNOWN;
}

/* ---- over time ---- */

static bool is_final(const flow *f) { return f->why == OXI_WHY_RULE || f->why == OXI_WHY_DSCP; }

static bool change(flow *f, verdict v)
{
    bool is_other = v.traffic_class != f->traffic_class;
    f->changes = (uint16_t)min_u64(f->changes + (is_other ? 1u : 0u), UINT16_MAX);
    f->traffic_class = f->wished = v.traffic_class;
    f->why = v.why;
    return is_other;
}

void class_begin(flow *f, const class_rules *rules)
{
    verdict v = by_rules(rules, f);
    if (v.why == OXI_WHY_DEFAULT)
        v = by_dscp(f);
    f->has_known_port = v.why == OXI_WHY_DEFAULT && is_known_port(f);
    if (v.why == OXI_WHY_DEFAULT)
        v = by_flow(f);
    f->traffic_class = f->wished = v.traffic_class;
    f->why = v.why;
}

bool class_review(flow *f)
{
    if (is_final(f))
        return false;
    /* RTP is as good as a mark, and its wait begins with the first packets. */
    bool is_sure = f->rtp_score == RTP_SCORE && f->why == OXI_WHY_DEFAULT;
    if (!is_sure && f->packets % CLASS_REVIEW_PACKETS != 0)
        return false;
    verdict v = by_flow(f);
    if (is_sure || v.traffic_class == f->traffic_class || v.traffic_class == f->wished)
        return change(f, v);
    f->wished = v.traffic_class;
    return false;
}

uint32_t class_of_packet(const flow *f, uint8_t tcp_flags)
{
    return tcp_flags & TCP_SYN && !is_final(f) ? (uint32_t)OXI_CLASS_CONTROL : f->traffic_class;
}
