/* lz.c - LZ items: frame byte and dictionary, the length of what stays clear, that, and an LZ4 block. */
#include "lz.h"

#include <lz4.h>

#include "bytes.h"
#include "limits.h"
#include "lz_block.h"
#include "lz_dictionaries.h"

struct lz_indexes {
    lz_index of[LZ_KNOWN]; /* the first is of no text */
};

struct lz {
    LZ4_stream_t fast; /* cleared by each packet */
    lz_block block;
    const lz_indexes *indexes;
};

const char *lz_result_name(lz_result result)
{
    static const char *const NAMES[] = { "ok", "lz-truncated", "lz-dictionary", "lz-corrupt", "lz-too-long" };
    static_assert(sizeof NAMES / sizeof NAMES[0] == LZ_RESULTS, "each has a name");
    return result < LZ_RESULTS ? NAMES[result] : NULL;
}

const lz_dictionary *lz_dictionary_of(uint32_t number)
{
    OXI_ASSERT(number < LZ_KNOWN);
    return &LZ_DICTIONARY[number];
}

uint32_t lz_digest(void) { return LZ_DICTIONARIES_DIGEST; }

size_t lz_indexes_bytes(void) { return sizeof(lz_indexes); }

void lz_indexes_init(lz_indexes *all)
{
    for (uint32_t i = 0; i < LZ_KNOWN; i++)
        lz_index_init(&all->of[i], LZ_DICTIONARY[i].text, LZ_DICTIONARY[i].len);
}

size_t lz_bytes(void) { return sizeof(lz); }

void lz_init(lz *z, const lz_indexes *all)
{
    z->indexes = all;
}

/* The block, at most cap bytes; 0: it does not fit. */
static uint32_t block_write(lz *z, lz_level level, uint32_t dictionary, const uint8_t *data, uint32_t len,
                            uint8_t *out, uint32_t cap)
{
    if (level == LZ_AGGRESSIVE)
        return lz_block_write(&z->block, &z->indexes->of[dictionary], data, len, out, cap);
    /* The library can also start from a table that it need not clear; then a packet's block would depend on
     * whether it is the first. */
    int bytes = LZ4_compress_fast_extState(&z->fast, (const char *)data, (char *)out, (int)len, (int)cap, 1);
    return bytes > 0 ? (uint32_t)bytes : 0;
}

/* As a varint of at most two bytes: gcc takes the longer ones of write_varint() for an overflow here. */
static void length_write(writer *w, uint32_t length)
{
    static_assert(OXI_MTU_MAX < 1 << 14, "two bytes hold it");
    if (length >= 1 << 6)
        write_u8(w, (uint8_t)(0x40 | length >> 8));
    write_u8(w, (uint8_t)length);
}

uint32_t lz_compress(lz *z, lz_level level, uint32_t dictionary, uint32_t clear_bytes, const uint8_t *packet,
                     uint32_t len, uint8_t *out, uint32_t cap)
{
    OXI_ASSERT(dictionary < LZ_KNOWN && clear_bytes <= len && (dictionary == 0 || level == LZ_AGGRESSIVE));
    uint32_t saved_min = len * LZ_SAVED_PERCENT_MIN / 100;
    saved_min = saved_min > LZ_SAVED_BYTES_MIN ? saved_min : LZ_SAVED_BYTES_MIN;
    if (len > OXI_MTU_MAX || len <= saved_min)
        return 0;
    writer w = writer_of(out, min_u64(cap, len - saved_min));
    write_u8(&w, (uint8_t)(LZ_FRAME + dictionary));
    length_write(&w, clear_bytes);
    uint8_t *clear = write_space(&w, clear_bytes);
    if (!clear)
        return 0;
    memcpy(clear, packet, clear_bytes);
    uint32_t block_bytes = block_write(z, level, dictionary, packet + clear_bytes, len - clear_bytes, w.at,
                                       (uint32_t)writer_left(&w));
    return block_bytes ? (uint32_t)(w.at - out) + block_bytes : 0;
}

lz_result lz_decode(const uint8_t *item, uint32_t len, uint8_t *out, uint32_t cap, uint32_t *out_len)
{
    *out_len = 0;
    reader r = reader_of(item, len);
    uint32_t dictionary = (uint32_t)read_u8(&r) - LZ_FRAME;
    uint64_t clear_bytes = read_varint(&r);
    const uint8_t *clear = read_bytes(&r, clear_bytes);
    size_t block_bytes = reader_left(&r);
    if (r.is_bad || block_bytes == 0)
        return LZ_TRUNCATED;
    if (dictionary >= LZ_KNOWN)
        return LZ_NO_DICTIONARY;
    if (clear_bytes >= cap || block_bytes > OXI_DATAGRAM_MAX)
        return LZ_TOO_LONG;
    const lz_dictionary *d = &LZ_DICTIONARY[dictionary];
    uint32_t room = cap - (uint32_t)clear_bytes, bytes = 0;
    lz_result result = lz_block_parse(r.at, (uint32_t)block_bytes, d->len, room, &bytes);
    if (result != LZ_OK)
        return result;
    int found = LZ4_decompress_safe_usingDict((const char *)r.at, (char *)out + clear_bytes, (int)block_bytes,
                                              (int)room, (const char *)d->text, (int)d->len);
    if (found != (int)bytes)
        return LZ_CORRUPT;
    memcpy(out, clear, clear_bytes);
    *out_len = (uint32_t)clear_bytes + bytes;
    return LZ_OK;
}
