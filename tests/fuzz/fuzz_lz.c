/* fuzz_lz.c - payload compression both ways: items from outside, and packets of our own.
 *
 * Invariant: whatever an item is, it gives at most as many bytes as fit, the same whatever lay in the buffer,
 * and writes nothing behind it; what is made of a packet is smaller by eight bytes at least, the same
 * whatever was compressed before, and gives the packet back byte for byte. No packet makes the look-up of its
 * class read past its end. Parsers: lz_decode, lz_block_parse. */
#include <stdlib.h>
#include <string.h>

#include "../../native/boundary_lz.h"
#include "../../native/core/lz_block.h"
#include "../../native/core/lz_policy.h"
#include "support.h"

static uint8_t first[ROOM], second[ROOM], item[ROOM];

static void decode_twice(const uint8_t *data, uint32_t len, uint32_t cap)
{
    uint32_t first_len = 0, second_len = 0;
    memset(first, 0x11, sizeof first);
    memset(second, 0xee, sizeof second);
    lz_result result = lz_decode(data, len, first, cap, &first_len);
    must(lz_decode(data, len, second, cap, &second_len) == result, "an item always means the same");
    must(first_len == second_len && first_len <= cap, "a packet fits");
    must((result == LZ_OK) == (first_len > 0), "a packet or an error");
    must(memcmp(first, second, first_len) == 0, "a packet has nothing of what lay in its buffer");
    for (uint32_t i = cap; i < ROOM; i++)
        must(first[i] == 0x11 && second[i] == 0xee, "nothing is written behind the buffer");
}

/* Input as a block: the parser alone bounds what comes out. */
static void parse_block(const uint8_t *data, uint32_t len, uint32_t text_bytes, uint32_t cap)
{
    uint32_t bytes = 0;
    lz_result result = lz_block_parse(data, len, text_bytes, cap, &bytes);
    must(result != LZ_OK || (bytes > 0 && bytes <= cap), "a good block has a length that fits");
}

static void both_ways(lz *used, const lz_indexes *indexes, uint8_t how, const uint8_t *data, uint32_t len)
{
    lz_level level = how & 1 ? LZ_LIGHT : LZ_AGGRESSIVE;
    uint32_t dictionary = level == LZ_LIGHT ? 0 : (how >> 1) % LZ_KNOWN;
    uint32_t clear_bytes = len ? (how >> 4) * len / 16 : 0;
    uint32_t item_len = lz_compress(used, level, dictionary, clear_bytes, data, len, item, sizeof item);
    lz *fresh = calloc(1, lz_bytes());
    must(fresh != NULL, "memory for another one");
    lz_init(fresh, indexes);
    uint32_t again = lz_compress(fresh, level, dictionary, clear_bytes, data, len, second, sizeof second);
    free(fresh);
    must(again == item_len && memcmp(item, second, item_len) == 0, "no packet counts in the next");
    if (item_len == 0)
        return;
    must(item_len + 8 <= len && item_len * 100 <= len * 95 + 100, "an item is worth it");
    must(item[0] == LZ_FRAME + dictionary, "an item names its dictionary");
    uint32_t back = 0;
    must(lz_decode(item, item_len, first, len, &back) == LZ_OK, "an item of ours is good");
    must(back == len && memcmp(first, data, len) == 0, "a packet comes back byte for byte");
    must(lz_decode(item, item_len, first, len - 1, &back) == LZ_TOO_LONG, "and not into less room");
    must(lz_compress(used, level, dictionary, clear_bytes, data, len, second, item_len - 1) == 0,
         "an item is not longer than its room");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static lz *used;
    static lz_policy policy;
    const lz_indexes *indexes = lz_indexes_shared();
    if (!used) {
        const oxi_lz_rule rules[] = { { 514, 17, 2 }, { 5060, 17, 1 }, { 80, 6, 4 } };
        used = calloc(1, lz_bytes());
        must(used && indexes && lz_policy_set(&policy, rules, 3), "memory, and rules");
        lz_init(used, indexes);
    }
    input in = { data, size };
    uint8_t how = (uint8_t)input_number(&in, 1);
    uint32_t cap = (uint32_t)input_number(&in, 2) % (OXI_MTU_MAX + 1);
    uint32_t len = (uint32_t)in.left;
    decode_twice(in.at, len, cap);
    parse_block(in.at, len, how % 2 ? LZ_DICT_BYTES_MAX : 0, cap);
    both_ways(used, indexes, how, in.at, len);
    int32_t class = lz_class_of(&policy, in.at, len);
    must(class == OXI_LZ_REFUSED || class == 2 || class == 1 || class == 4, "a class is one of the rules'");
    return 0;
}
