/* lz.h - payload compression: packets as LZ items and back (PROTOCOL.md, section 10), each by itself.
 *
 * Nothing is remembered from one packet to the next: what a packet becomes depends on its own bytes and on a
 * dictionary that is public and the same in every build. */
#ifndef OXI_LZ_H
#define OXI_LZ_H
#include "base.h"
#include "limits.h"

/* Specification: the dictionaries and their numbers are part of the wire. */
enum {
    LZ_FRAME = 0x08,       /* first byte of an item, plus the dictionary's number */
    LZ_DICTIONARIES = 8,   /* numbers 0..7; 0 is none, and those from LZ_KNOWN on there are not */
    LZ_KNOWN = 6,
    LZ_DICT_BYTES_MAX = 49152
};

/* Implementation. */
enum {
    /* An item must be smaller than the packet by both, or the packet goes as it is: decompressing costs the
     * other end more than the bytes are worth. */
    LZ_SAVED_BYTES_MIN = 8,
    LZ_SAVED_PERCENT_MIN = 5
};

typedef enum lz_level {
    LZ_LIGHT = OXI_LZ_LIGHT,           /* LZ4 fast, without a dictionary */
    LZ_AGGRESSIVE = OXI_LZ_AGGRESSIVE  /* longest matches, of the dictionary as well */
} lz_level;

typedef enum lz_result {
    LZ_OK,
    LZ_TRUNCATED,     /* ends within its head, or holds no block */
    LZ_NO_DICTIONARY, /* of a dictionary that there is not */
    LZ_CORRUPT,       /* no LZ4 block, or one that reaches back before the dictionary */
    LZ_TOO_LONG,      /* would become larger than the packets of this tunnel */
    LZ_RESULTS
} lz_result;
const char *lz_result_name(lz_result result);

typedef struct lz_dictionary {
    const char *name; /* of the class; NULL: number 0 */
    const uint8_t *text;
    uint32_t len;
} lz_dictionary;
/* number < LZ_KNOWN. */
const lz_dictionary *lz_dictionary_of(uint32_t number);
/* Of all dictionaries and their numbers; both ends of a tunnel must have the same. */
uint32_t lz_digest(void);

/* All dictionaries, indexed: made once, then only read, so that all planes of a process may share it. */
typedef struct lz_indexes lz_indexes;
size_t lz_indexes_bytes(void);
void lz_indexes_init(lz_indexes *all); /* zeroed memory of that size; takes milliseconds */

/* What one plane works with; the caller's memory of lz_bytes(), aligned as by calloc. */
typedef struct lz lz;
size_t lz_bytes(void);
void lz_init(lz *z, const lz_indexes *all);

/* Writes packet as an item whose first clear_bytes (<= len) stay as they are: a header that is compressed
 * already, or one that does not compress. dictionary < LZ_KNOWN; with LZ_LIGHT it is 0.
 * Returns the item's length; 0: the packet does not shrink enough, or len is over OXI_MTU_MAX, or the item
 * over cap. out and packet are apart. */
uint32_t lz_compress(lz *z, lz_level level, uint32_t dictionary, uint32_t clear_bytes, const uint8_t *packet,
                     uint32_t len, uint8_t *out, uint32_t cap);

/* The packet that an item stands for, of at most cap bytes (the tunnel's inner MTU, <= OXI_MTU_MAX), in
 * *out_len; 0 unless LZ_OK. out and item are apart; out may be written up to cap in any case. */
lz_result lz_decode(const uint8_t *item, uint32_t len, uint8_t *out, uint32_t cap, uint32_t *out_len);
#endif
