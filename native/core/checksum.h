/* checksum.h - the Internet checksum: made anew (RFC 1071) and put right after a change (RFC 1624). */
#ifndef OXI_CHECKSUM_H
#define OXI_CHECKSUM_H
#include "bytes.h"

/* Of at most 64 KiB, as a running sum that has yet to be finished. */
static inline uint64_t checksum_add(uint64_t sum, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i + 1 < len; i += 2)
        sum += load_be16(data + i);
    return len & 1 ? sum + ((uint64_t)data[len - 1] << 8) : sum;
}
static inline uint16_t checksum_finish(uint64_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)(~sum & 0xffff);
}
/* The checksum after one aligned 16-bit word of what it covers changed: RFC 1624, equation 3. */
static inline uint16_t checksum_fix(uint16_t checksum, uint16_t before, uint16_t after)
{
    return checksum_finish((uint64_t)(uint16_t)~checksum + (uint16_t)~before + after);
}
#endif
