/* frames_text.c - see frames_text.h. */
#include "frames_text.h"

#include <string.h>

enum { ACK_CE = 4, ACK_RANGES = 8, ACK_TIMES = 16, ACK_REPAIRED = 32 };

void put(text *t, const void *bytes, uint32_t len)
{
    if (t->len + len > TEXT_MAX)
        return;
    memcpy(t->bytes + t->len, bytes, len);
    t->len += len;
}

void put_number(text *t, uint64_t value, uint32_t bytes)
{
    uint8_t be[8];
    for (uint32_t i = 0; i < bytes; i++)
        be[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
    put(t, be, bytes);
}

void put_varint(text *t, uint64_t value, uint32_t size)
{
    uint32_t bytes = 1U << (size & 3);
    uint64_t mask = bytes == 8 ? 0x3fffffffffffffffULL : (1ULL << (8 * bytes - 2)) - 1;
    put_number(t, (value & mask) | (uint64_t)(size & 3) << (8 * bytes - 2), bytes);
}

void put_ack(text *t, input *in)
{
    uint8_t shape = (uint8_t)input_number(in, 1), flags = (uint8_t)input_number(in, 1);
    uint32_t size = shape >> 6;
    if (flags < 0xe0)
        flags &= ACK_CE | ACK_RANGES | ACK_TIMES | ACK_REPAIRED | 3;
    put_number(t, ACK, 1);
    put_number(t, flags, 1);
    for (uint32_t i = 0; i < 3U + !!(flags & ACK_CE) + !!(flags & ACK_REPAIRED); i++)
        put_varint(t, input_number(in, shape & 8 ? 8 : 1), shape & 8 ? 3 : size);
    put_varint(t, input_number(in, 1), size);
    uint8_t ranges = flags & ACK_RANGES ? (uint8_t)input_number(in, 1) & 0x3f : 0;
    if (flags & ACK_RANGES)
        put_number(t, ranges, 1);
    for (uint32_t i = 0; i < 2U * ranges; i++)
        put_varint(t, input_number(in, 1), size);
    uint8_t times = flags & ACK_TIMES ? (uint8_t)input_number(in, 1) & 0x1f : 0;
    if (flags & ACK_TIMES)
        put_number(t, times, 1);
    for (uint32_t i = 0; i < 2U * times; i++)
        put_varint(t, input_number(in, 1), size);
}

uint64_t take_varint(const text *t, uint32_t *at)
{
    uint32_t bytes = *at < t->len ? 1U << (t->bytes[*at] >> 6) : 1;
    if (*at + bytes > t->len)
        return UINT64_MAX;
    uint64_t value = t->bytes[*at] & 0x3f;
    for (uint32_t i = 1; i < bytes; i++)
        value = value << 8 | t->bytes[*at + i];
    *at += bytes;
    return value;
}

/* The count of a list that may be left out; UINT8_MAX: past the end. */
static uint8_t take_count(const text *t, uint32_t *at, bool is_there)
{
    if (!is_there)
        return 0;
    return *at < t->len ? t->bytes[(*at)++] : UINT8_MAX;
}

bool is_whole(uint8_t first) { return first >> 4 == 4 || first >> 4 == 6; }
bool is_item(uint8_t first) { return is_whole(first) || first >> 3 == 1 || first >= 0x80; }

uint32_t walk_ack(const text *t, uint32_t at, const uint64_t *sent)
{
    if (t->len - at < 2 || t->bytes[at + 1] & ~(3 | ACK_CE | ACK_RANGES | ACK_TIMES | ACK_REPAIRED))
        return 0;
    uint8_t flags = t->bytes[at + 1];
    uint64_t there = sent[flags & 3];
    at += 2;
    uint64_t largest = take_varint(t, &at), delay = take_varint(t, &at), missing = take_varint(t, &at);
    uint64_t ce = flags & ACK_CE ? take_varint(t, &at) : 0;
    uint64_t repaired = flags & ACK_REPAIRED ? take_varint(t, &at) : 0, first = take_varint(t, &at);
    if (delay == UINT64_MAX || largest >= there || missing > largest || ce > largest + 1 - missing ||
        repaired > missing)
        return 0;
    uint8_t ranges = take_count(t, &at, flags & ACK_RANGES);
    if (ranges > 32 || first > largest)
        return 0;
    uint64_t lowest = largest - first, named = first + 1;
    for (uint8_t i = 0; i < ranges; i++) {
        uint64_t gap = take_varint(t, &at), more = take_varint(t, &at);
        if (gap > lowest || more > lowest || gap + more + 2 > lowest)
            return 0;
        lowest -= gap + more + 2;
        named += more + 1;
    }
    uint8_t times = take_count(t, &at, flags & ACK_TIMES);
    if (named > largest + 1 - missing + repaired || times > 16)
        return 0;
    for (; times; times--) {
        uint64_t distance = take_varint(t, &at);
        if (take_varint(t, &at) == UINT64_MAX || distance > largest)
            return 0;
        largest -= distance;
    }
    return at;
}
