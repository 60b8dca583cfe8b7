/* checksum.h - the Internet checksum (RFC 1071), in the byte order of the machine.
 *
 * A sum is a 64-bit number that is congruent, modulo 0xffff, to the sum of the 16-bit words as they lie in
 * memory; it is folded once at the end. As RFC 1071 section 2(B) says, the byte order does not matter as long
 * as the result is stored the way the words were read. */
#ifndef OXI_CHECKSUM_H
#define OXI_CHECKSUM_H
#include "base.h"
#include "bytes.h"

/* Both halves of each 32-bit word by themselves, which the compiler vectorises without widening: 65,536 words
 * fit the two sums, more than a packet has. 2^16 is 1 modulo 0xffff, so the halves add up. */
#define SUM_WORDS                                                                                            \
    uint32_t low = 0, high = 0;                                                                              \
    for (size_t i = 0; i < words; i++) {                                                                     \
        uint32_t w;                                                                                          \
        memcpy(&w, data + 4 * i, sizeof w);                                                                  \
        low += w & 0xffff;                                                                                   \
        high += w >> 16;                                                                                     \
    }                                                                                                        \
    return (uint64_t)low + high;

static inline uint64_t sum_words_plain(const uint8_t *data, size_t words) { SUM_WORDS }
#if defined(__x86_64__)
__attribute__((target("avx2"))) static inline uint64_t sum_words_avx2(const uint8_t *data, size_t words)
{
    SUM_WORDS
}
#endif
#undef SUM_WORDS

static inline uint64_t sum_words(const uint8_t *data, size_t words)
{
#if defined(__x86_64__)
    if (words > 16 && __builtin_cpu_supports("avx2"))
        return sum_words_avx2(data, words);
#endif
    return sum_words_plain(data, words);
}

/* Add len bytes that begin at an even offset of what is summed. */
static inline uint64_t sum_add(uint64_t sum, const uint8_t *data, size_t len)
{
    size_t words = len / 4;
    uint64_t total = sum_words(data, words);
    data += 4 * words;
    if (len & 2) {
        uint16_t w;
        memcpy(&w, data, sizeof w);
        total += w;
        data += 2;
    }
    if (len & 1) { /* padded by a zero byte behind */
        uint8_t pair[2] = { data[0], 0 };
        uint16_t w;
        memcpy(&w, pair, sizeof w);
        total += w;
    }
    return sum + total; /* below 2^34, so that sums of sums can not overflow */
}

static inline uint16_t sum_fold(uint64_t sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

/* A 16-bit field as it goes into a sum. */
static inline uint64_t sum_be16(uint16_t value)
{
    uint8_t bytes[2];
    store_be16(bytes, value);
    uint16_t w;
    memcpy(&w, bytes, sizeof w);
    return w;
}

/* Pseudo header of TCP and UDP: RFC 9293 section 3.1, RFC 8200 section 8.1. addresses: source and target, one
 * behind the other as in the IP header. */
static inline uint64_t sum_pseudo(const uint8_t *addresses, bool is_v6, uint8_t protocol, uint32_t l4_bytes)
{
    return sum_add(0, addresses, is_v6 ? 32 : 8) + sum_be16(protocol) + sum_be16((uint16_t)l4_bytes) +
           sum_be16((uint16_t)(l4_bytes >> 16));
}

static inline void sum_store(uint8_t *at, uint16_t folded) { memcpy(at, &folded, sizeof folded); }

/* A checksum after one aligned 16-bit word of what it covers changed, all three as numbers: RFC 1624,
 * equation 3. */
static inline uint16_t checksum_fix(uint16_t checksum, uint16_t before, uint16_t after)
{
    return (uint16_t)~sum_fold((uint64_t)(uint16_t)~checksum + (uint16_t)~before + after);
}

/* Write the checksum field of an IPv4 header of `bytes` length. */
static inline void ipv4_header_sum(uint8_t *header, uint32_t bytes)
{
    store_be16(header + 10, 0);
    sum_store(header + 10, (uint16_t)~sum_fold(sum_add(0, header, bytes)));
}
#endif
