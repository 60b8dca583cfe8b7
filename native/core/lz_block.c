/* lz_block.c - see lz_block.h. The format: lz4_Block_format.md of the LZ4 project (a token of two lengths,
 * literals, an offset back of two bytes, little-endian; lengths from 15 on continue in further bytes). */
#include "lz_block.h"

#include "bytes.h"
#include "limits.h"

enum {
    MATCH_BYTES_MIN = 4,
    LENGTH_NIBBLE = 15,
    /* The format's end of block: the last match begins so far before the end, and so many bytes follow it. */
    LAST_MATCH_BYTES = 12,
    LAST_LITERALS = 5,
    /* So many places in vain, and one more is skipped each time: random bytes are soon over. */
    MISSES_PER_STEP_LOG = 6
};
static_assert(LZ_DICT_BYTES_MAX + OXI_MTU_MAX <= UINT16_MAX, "an offset reaches the dictionary's begin");
static_assert(OXI_MTU_MAX < UINT16_MAX, "a place, plus 1, is 16 bits");

typedef struct match {
    uint32_t bytes;  /* 0: none */
    uint32_t offset; /* how far back */
} match;

static uint32_t hash_of(uint32_t four, uint32_t bits) { return (four * 2654435761u) >> (32 - bits); }

/* How many of at most max bytes are the same. */
static uint32_t common_bytes(const uint8_t *a, const uint8_t *b, uint32_t max)
{
    uint32_t n = 0;
    for (; n + 8 <= max; n += 8) {
        uint64_t different = load_be64(a + n) ^ load_be64(b + n);
        if (different)
            return n + (uint32_t)__builtin_clzll(different) / 8;
    }
    while (n < max && a[n] == b[n])
        n++;
    return n;
}

/* ---- the sorted text ---- */

static bool is_before(const lz_index *x, uint32_t a, uint32_t b)
{
    uint32_t max = x->len - (a > b ? a : b);
    uint32_t n = common_bytes(x->text + a, x->text + b, max);
    return n == max ? a > b : x->text[a + n] < x->text[b + n]; /* the shorter one first */
}

static void bucket_sort(const lz_index *x, uint16_t *at, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        uint16_t moved = at[i];
        uint32_t k = i;
        for (; k > 0 && is_before(x, moved, at[k - 1]); k--)
            at[k] = at[k - 1];
        at[k] = moved;
    }
}

void lz_index_init(lz_index *x, const uint8_t *text, uint32_t len)
{
    OXI_ASSERT(len <= LZ_DICT_BYTES_MAX);
    memset(x, 0, sizeof *x);
    x->text = text;
    x->len = len;
    uint32_t places = len < MATCH_BYTES_MIN ? 0 : len - MATCH_BYTES_MIN + 1;
    for (uint32_t i = 0; i < places; i++) {
        uint32_t seen = hash_of(load_be32(text + i), LZ_SEEN_LOG);
        x->seen[seen / 64] |= 1ULL << seen % 64;
        x->first[seen >> (LZ_SEEN_LOG - LZ_BUCKETS_LOG)]++;
    }
    uint16_t end = 0;
    for (uint32_t h = 0; h <= LZ_BUCKETS; h++)
        x->first[h] = end = (uint16_t)(end + x->first[h]);
    for (uint32_t i = places; i-- > 0;) /* from the ends down: then first[] is where each bucket begins */
        x->sorted[--x->first[hash_of(load_be32(text + i), LZ_BUCKETS_LOG)]] = (uint16_t)i;
    for (uint32_t h = 0; h < LZ_BUCKETS; h++)
        bucket_sort(x, x->sorted + x->first[h], (uint32_t)(x->first[h + 1] - x->first[h]));
}

/* The longest match of data[at..], of at most max bytes, in the text: next to where it would be sorted in. */
static match text_match(const lz_index *x, const uint8_t *data, uint32_t at, uint32_t max, uint32_t seen)
{
    match best = { 0 };
    if (!(x->seen[seen / 64] >> seen % 64 & 1))
        return best;
    uint32_t hash = seen >> (LZ_SEEN_LOG - LZ_BUCKETS_LOG);
    uint32_t low = x->first[hash], high = x->first[hash + 1];
    while (low < high) {
        uint32_t middle = (low + high) / 2, place = x->sorted[middle];
        uint32_t room = x->len - place < max ? x->len - place : max;
        uint32_t n = common_bytes(x->text + place, data + at, room);
        if (n > best.bytes)
            best = (match){ .bytes = n, .offset = x->len - place + at };
        if (n == max)
            break;
        if (n == room || x->text[place + n] < data[at + n])
            low = middle + 1;
        else
            high = middle;
    }
    return best;
}

/* ---- the block ---- */

static match longest_match(lz_block *b, const lz_index *x, const uint8_t *data, uint32_t at, uint32_t max)
{
    uint32_t four = load_be32(data + at);
    match best = text_match(x, data, at, max, hash_of(four, LZ_SEEN_LOG));
    uint16_t *recent = &b->recent[hash_of(four, LZ_RECENT_LOG)];
    uint32_t place = *recent;
    *recent = (uint16_t)(at + 1);
    if (place != 0 && place <= at) {
        uint32_t n = common_bytes(data + place - 1, data + at, max);
        if (n > best.bytes)
            best = (match){ .bytes = n, .offset = at + 1 - place };
    }
    return best.bytes >= MATCH_BYTES_MIN ? best : (match){ 0 };
}

static void length_write(writer *w, uint32_t length)
{
    if (length < LENGTH_NIBBLE)
        return;
    for (length -= LENGTH_NIBBLE; length >= UINT8_MAX; length -= UINT8_MAX)
        write_u8(w, UINT8_MAX);
    write_u8(w, (uint8_t)length);
}

static uint32_t nibble(uint32_t length) { return length < LENGTH_NIBBLE ? length : LENGTH_NIBBLE; }

/* Literals and the match behind them; m NULL: the last sequence, which has none. */
static void sequence_write(writer *w, const uint8_t *literals, uint32_t count, const match *m)
{
    uint32_t more = m ? m->bytes - MATCH_BYTES_MIN : 0;
    write_u8(w, (uint8_t)(nibble(count) << 4 | nibble(more)));
    length_write(w, count);
    uint8_t *at = write_space(w, count);
    if (at)
        memcpy(at, literals, count);
    if (!m)
        return;
    write_u8(w, (uint8_t)m->offset);
    write_u8(w, (uint8_t)(m->offset >> 8));
    length_write(w, more);
}

uint32_t lz_block_write(lz_block *b, const lz_index *x, const uint8_t *data, uint32_t len, uint8_t *out,
                        uint32_t cap)
{
    OXI_ASSERT(len <= OXI_MTU_MAX);
    memset(b->recent, 0, sizeof b->recent);
    writer w = writer_of(out, cap);
    uint32_t written = 0; /* of data */
    uint32_t last = len > LAST_MATCH_BYTES ? len - LAST_MATCH_BYTES : 0;
    for (uint32_t at = 0; at < last && !w.is_bad;) {
        match m = longest_match(b, x, data, at, len - LAST_LITERALS - at);
        if (m.bytes == 0) {
            at += 1 + ((at - written) >> MISSES_PER_STEP_LOG);
            continue;
        }
        while (at + 1 < last) { /* a longer one may begin one place on */
            match next = longest_match(b, x, data, at + 1, len - LAST_LITERALS - at - 1);
            if (next.bytes <= m.bytes)
                break;
            m = next;
            at++;
        }
        sequence_write(&w, data + written, at - written, &m);
        at += m.bytes;
        written = at;
    }
    sequence_write(&w, data + written, len - written, NULL);
    return w.is_bad ? 0 : (uint32_t)(w.at - out);
}

/* ---- blocks from outside ---- */

/* A length of which the token held a nibble; what it says is bounded by 255 times the bytes of the block. */
static uint32_t length_read(reader *r, uint32_t begun)
{
    uint32_t length = begun;
    if (begun < LENGTH_NIBBLE)
        return length;
    uint8_t more = UINT8_MAX;
    while (more == UINT8_MAX && !r->is_bad) {
        more = read_u8(r);
        length += more;
    }
    return length;
}

lz_result lz_block_parse(const uint8_t *block, uint32_t len, uint32_t text_bytes, uint32_t cap,
                         uint32_t *bytes_out)
{
    static_assert(OXI_DATAGRAM_MAX * 255u < UINT32_MAX / 2, "the sum of all lengths does not overflow");
    OXI_ASSERT(len <= OXI_DATAGRAM_MAX && cap <= OXI_MTU_MAX);
    reader r = reader_of(block, len);
    uint32_t total = 0;
    for (bool has_match = false;; has_match = true) {
        uint32_t token = read_u8(&r);
        uint32_t literals = length_read(&r, token >> 4);
        read_bytes(&r, literals);
        total += literals;
        if (r.is_bad)
            return LZ_CORRUPT;
        if (total > cap)
            return LZ_TOO_LONG;
        if (reader_left(&r) == 0) {
            *bytes_out = total;
            bool is_end = (!has_match || literals >= LAST_LITERALS) && !(token & LENGTH_NIBBLE);
            return total > 0 && is_end ? LZ_OK : LZ_CORRUPT;
        }
        uint32_t low = read_u8(&r), offset = low | (uint32_t)read_u8(&r) << 8;
        if (r.is_bad || offset == 0 || offset > total + text_bytes)
            return LZ_CORRUPT;
        total += length_read(&r, token & LENGTH_NIBBLE) + MATCH_BYTES_MIN;
    }
}
