/* hdr_icmp_esp.c - ICMP echo (RFC 792, RFC 4443) and ESP (RFC 4303): a counter is all that changes. */
#include "hdr_state.h"

enum { COUNTER_BYTES = 8, ECHO_REPLY = 0, ECHO = 8, ECHO_V6 = 128, ECHO_REPLY_V6 = 129, SEQ_AT_ICMP = 6,
       SEQ_AT_ESP = 4 };

uint32_t hdr_counter_bytes(uint8_t profile)
{
    OXI_ASSERT(profile == HDR_ICMP || profile == HDR_ESP);
    return COUNTER_BYTES;
}

bool hdr_icmp_fits(const uint8_t *icmp, uint32_t icmp_bytes, bool is_v6)
{
    if (icmp_bytes < COUNTER_BYTES || icmp[1] != 0)
        return false;
    return is_v6 ? icmp[0] == ECHO_V6 || icmp[0] == ECHO_REPLY_V6 : icmp[0] == ECHO || icmp[0] == ECHO_REPLY;
}

void hdr_counter_take(uint8_t profile, uint8_t *l4, hdr_fields *f)
{
    if (profile == HDR_ICMP) {
        f->seq = load_be16(l4 + SEQ_AT_ICMP);
        store_be16(l4 + SEQ_AT_ICMP, 0);
    } else {
        f->seq = load_be32(l4 + SEQ_AT_ESP);
        store_be32(l4 + SEQ_AT_ESP, 0);
    }
}

void hdr_counter_put(uint8_t profile, const hdr_fields *f, uint8_t *l4)
{
    if (profile == HDR_ICMP)
        store_be16(l4 + SEQ_AT_ICMP, (uint16_t)f->seq);
    else
        store_be32(l4 + SEQ_AT_ESP, f->seq);
}
