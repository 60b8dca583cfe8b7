/* lz_block.h - writes LZ4 blocks with the longest matches of a static dictionary.
 *
 * The library's own fast mode finds a third of what a dictionary of short phrases has to give, as it looks at
 * every third place of it and remembers one place per hash; its slow mode would need 256 KB of state to be
 * made anew for each packet. The text never changes, so here it is sorted once. */
#ifndef OXI_LZ_BLOCK_H
#define OXI_LZ_BLOCK_H
#include "lz.h"

enum {
    LZ_BUCKETS_LOG = 13,
    LZ_BUCKETS = 1 << LZ_BUCKETS_LOG,
    LZ_SEEN_LOG = 17, /* of 49,152 places at most three in eight */
    LZ_SEEN_WORDS = 1 << (LZ_SEEN_LOG - 6),
    LZ_RECENT_LOG = 11,
    LZ_RECENT = 1 << LZ_RECENT_LOG
};

/* All places of a text: by the hash of the four bytes there, and within a bucket sorted by what follows. */
typedef struct lz_index {
    const uint8_t *text;
    uint32_t len;
    uint64_t seen[LZ_SEEN_WORDS]; /* a bit for each hash that is there: most of what is not ends here */
    uint16_t first[LZ_BUCKETS + 1];
    uint16_t sorted[LZ_DICT_BYTES_MAX];
} lz_index;
void lz_index_init(lz_index *x, const uint8_t *text, uint32_t len); /* len <= LZ_DICT_BYTES_MAX */

typedef struct lz_block {
    uint16_t recent[LZ_RECENT]; /* where in this packet a hash was last seen, plus 1 */
} lz_block;

/* The block of at most cap bytes that gives data (of at most OXI_MTU_MAX bytes) behind the text of x. 0: it
 * is longer. */
uint32_t lz_block_write(lz_block *b, const lz_index *x, const uint8_t *data, uint32_t len, uint8_t *out,
                        uint32_t cap);

/* Of the block's lengths and offsets: LZ_OK, and in *bytes_out (> 0, at most cap) how many it gives behind a
 * text of text_bytes; or what is wrong with it. The library's decoder takes more than the format has: offset
 * 0, and an end that fits only a large enough buffer. */
lz_result lz_block_parse(const uint8_t *block, uint32_t len, uint32_t text_bytes, uint32_t cap,
                         uint32_t *bytes_out);
#endif
