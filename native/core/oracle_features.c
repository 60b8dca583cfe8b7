/* oracle_features.c - what the compression oracle sees of a packet.
 *
 * 64 bytes are sampled, in 8 blocks at even distances; a full histogram costs several times the budget. Their
 * collision entropy (of order 2: how often two samples are equal) needs no logarithm per byte. It tells how
 * even bytes are distributed, not whether strings repeat, which alone is what LZ4 saves; the same measure
 * over pairs of neighbours tells text from random digits.
 *
 * All samples are compared with all, 16 at a time: a table of counts would take thrice as long, as each step
 * waits for the one before. */
#include "oracle_features.h"

#include "bytes.h"
#include "l4.h"

enum { HTTPS_PORT = 443, IP_ESP = 50 };

/* log2, linear between powers of two (at most 0.09 too small); 0 of 0. Exact in binary32 for what is asked
 * here, so that another implementation can agree to the last bit. */
static float log2_linear(uint32_t v)
{
    if (v == 0)
        return 0;
    uint32_t exponent = 31 - (uint32_t)__builtin_clz(v);
    return (float)exponent + (float)(v - (1U << exponent)) / (float)(1U << exponent);
}

/* Of so many samples, of which so many pairs are equal. */
static float collision_entropy(uint32_t samples, uint32_t collisions)
{
    if (samples < 2)
        return 0;
    return log2_linear(samples * (samples - 1) / 2) - log2_linear(collisions ? collisions : 1);
}

typedef struct sampled {
    uint32_t count;
    uint32_t collisions;      /* of bytes */
    uint32_t pair_collisions; /* of bytes with their right-hand neighbours */
    uint32_t top4, top4_of;   /* samples that are one of the four most common bytes; of so many looked at */
    uint32_t printable;
    uint32_t zeros;
} sampled;

static bool is_printable(uint8_t b)
{
    return (uint8_t)(b - 0x20) < 0x5f || b == '\t' || b == '\r' || b == '\n';
}

/* ---- payloads of up to 64 bytes: each byte but the last is a sample ---- */

static void sample_short(const uint8_t *data, uint32_t count, sampled *s)
{
    uint8_t seen[256] = { 0 }, reached[ORACLE_SAMPLES + 1] = { 0 };
    *s = (sampled){ .count = count, .top4_of = count };
    for (uint32_t i = 0; i < count; i++) {
        uint8_t before = seen[data[i]]++;
        reached[before + 1]++;
        s->collisions += before;
        s->printable += is_printable(data[i]);
        s->zeros += data[i] == 0;
        for (uint32_t k = 0; k < i; k++)
            s->pair_collisions += data[k] == data[i] && data[k + 1] == data[i + 1];
    }
    /* As many bytes came up for the r-th time as have a count of r or more. */
    for (uint32_t rank = 1; rank <= count; rank++)
        s->top4 += reached[rank] < 4 ? reached[rank] : 4;
}

/* ---- longer ones ---- */

enum { LANES = 16, VECTORS = ORACLE_SAMPLES / LANES, HALF = ORACLE_SAMPLES / 2 };
typedef uint8_t lanes __attribute__((vector_size(LANES)));

static inline lanes lanes_load(const uint8_t *p)
{
    lanes v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Of one vector. */
static inline uint32_t lanes_sum(lanes v)
{
    uint8_t all[LANES];
    memcpy(all, &v, sizeof all);
    uint32_t sum = 0;
    for (uint32_t i = 0; i < LANES; i++)
        sum += all[i];
    return sum;
}

/* Sample i against i + 1 ... i + 32, around the end: each two samples meet once. ring: the samples twice;
 * next: their neighbours, twice. */
static inline void collide(const uint8_t *ring, const uint8_t *next, sampled *s)
{
    lanes bytes[VECTORS], neighbours[VECTORS], equal[VECTORS], equal_pairs[VECTORS];
    for (uint32_t j = 0; j < VECTORS; j++) {
        bytes[j] = lanes_load(ring + LANES * j);
        neighbours[j] = lanes_load(next + LANES * j);
        equal[j] = equal_pairs[j] = (lanes){ 0 };
    }
    for (uint32_t k = 1; k < HALF; k++) {
        for (uint32_t j = 0; j < VECTORS; j++) {
            lanes hit = (lanes)(bytes[j] == lanes_load(ring + LANES * j + k)); /* 255: equal, -1 */
            equal[j] -= hit;
            equal_pairs[j] -= hit & (lanes)(neighbours[j] == lanes_load(next + LANES * j + k));
        }
    }
    for (uint32_t j = 0; j < VECTORS / 2; j++) { /* at half the ring they would meet twice */
        lanes hit = (lanes)(bytes[j] == bytes[j + VECTORS / 2]);
        equal[j] -= hit;
        equal_pairs[j] -= hit & (lanes)(neighbours[j] == neighbours[j + VECTORS / 2]);
    }
    static_assert(VECTORS == 4 && VECTORS * HALF <= UINT8_MAX, "a lane of all vectors together is a byte");
    s->collisions = lanes_sum(equal[0] + equal[1] + equal[2] + equal[3]);
    s->pair_collisions = lanes_sum(equal_pairs[0] + equal_pairs[1] + equal_pairs[2] + equal_pairs[3]);
}

/* The most common bytes of half the samples. ring: those 32 twice. */
static inline uint32_t top4_of_half(const uint8_t *ring)
{
    lanes bytes[VECTORS / 2], equal[VECTORS / 2];
    for (uint32_t j = 0; j < VECTORS / 2; j++) {
        bytes[j] = lanes_load(ring + LANES * j);
        equal[j] = (lanes){ 0 } + 1;
    }
    for (uint32_t k = 1; k < HALF; k++)
        for (uint32_t j = 0; j < VECTORS / 2; j++)
            equal[j] -= (lanes)(bytes[j] == lanes_load(ring + LANES * j + k));
    uint8_t counts[HALF];
    memcpy(counts, equal, sizeof counts);
    int16_t keys[HALF]; /* count and byte: the largest is the most common byte, wherever it stands */
    for (uint32_t i = 0; i < HALF; i++)
        keys[i] = (int16_t)(counts[i] << 8 | ring[i]);
    uint32_t sum = 0;
    for (uint32_t round = 0; round < 4; round++) {
        int16_t best = 0;
        for (uint32_t i = 0; i < HALF; i++)
            best = keys[i] > best ? keys[i] : best;
        for (uint32_t i = 0; i < HALF; i++)
            keys[i] = keys[i] == best ? 0 : keys[i];
        sum += (uint32_t)best >> 8;
    }
    return sum;
}

static inline void classes(const uint8_t *ring, sampled *s)
{
    lanes printable = { 0 }, zeros = { 0 };
    for (uint32_t j = 0; j < VECTORS; j++) {
        lanes b = lanes_load(ring + LANES * j);
        printable -= (lanes)((lanes)(b - 0x20) < 0x5f) | (lanes)(b == '\t') | (lanes)(b == '\r') |
                     (lanes)(b == '\n');
        zeros -= (lanes)(b == 0);
    }
    s->printable = lanes_sum(printable);
    s->zeros = lanes_sum(zeros);
}

/* Even blocks first, so that half of the samples are of the whole payload, too. */
static void sample_long(const uint8_t *data, uint32_t len, sampled *s)
{
    uint8_t ring[2 * ORACLE_SAMPLES], next[2 * ORACLE_SAMPLES], half[ORACLE_SAMPLES];
    for (uint32_t i = 0; i < ORACLE_BLOCKS; i++) {
        uint32_t block = i < ORACLE_BLOCKS / 2 ? 2 * i : 2 * i - ORACLE_BLOCKS + 1;
        const uint8_t *p = data + block * (len - ORACLE_BLOCK - 1) / (ORACLE_BLOCKS - 1);
        memcpy(ring + ORACLE_BLOCK * i, p, ORACLE_BLOCK);
        memcpy(next + ORACLE_BLOCK * i, p + 1, ORACLE_BLOCK);
    }
    memcpy(ring + ORACLE_SAMPLES, ring, ORACLE_SAMPLES);
    memcpy(next + ORACLE_SAMPLES, next, ORACLE_SAMPLES);
    memcpy(half, ring, HALF);
    memcpy(half + HALF, ring, HALF);
    s->count = ORACLE_SAMPLES;
    collide(ring, next, s);
    classes(ring, s);
    s->top4 = top4_of_half(half);
    s->top4_of = HALF;
}

#define WORD(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))

/* By the first four bytes; formats as in the file(1) database. */
static int magic_of_word(uint32_t word)
{
    switch (word) {
    case WORD(0x28, 0xb5, 0x2f, 0xfd): /* zstd */
    case WORD(0x04, 0x22, 0x4d, 0x18): /* LZ4 frame */
    case WORD(0x89, 'P', 'N', 'G'):
    case WORD('P', 'K', 3, 4): /* ZIP */
    case WORD(0xfd, '7', 'z', 'X'): /* xz */
    case WORD('7', 'z', 0xbc, 0xaf):
    case WORD('O', 'g', 'g', 'S'):
    case WORD(0x1a, 0x45, 0xdf, 0xa3): /* Matroska, WebM */
        return 1;
    case WORD('H', 'T', 'T', 'P'):
    case WORD('G', 'E', 'T', ' '):
    case WORD('P', 'O', 'S', 'T'):
    case WORD('P', 'U', 'T', ' '):
    case WORD('S', 'I', 'P', '/'):
    case WORD('I', 'N', 'V', 'I'):
    case WORD('R', 'E', 'G', 'I'):
    case WORD('O', 'P', 'T', 'I'):
    case WORD('N', 'O', 'T', 'I'):
    case WORD('A', 'C', 'K', ' '):
    case WORD('B', 'Y', 'E', ' '):
    case WORD('<', '!', 'D', 'O'):
    case WORD('<', 'h', 't', 'm'):
    case WORD('<', '?', 'x', 'm'):
        return -1;
    default:
        break;
    }
    uint32_t head = word >> 8;
    /* TLS application data, RFC 8446 section 5.1 */
    bool is_tls = head >= WORD(0, 0x17, 3, 0) && head <= WORD(0, 0x17, 3, 4);
    if (is_tls || head == WORD(0, 0x1f, 0x8b, 8) /* gzip */ || head == WORD(0, 0xff, 0xd8, 0xff) /* JPEG */ ||
        head == WORD(0, 'B', 'Z', 'h'))
        return 1;
    /* JSON; syslog (RFC 5424 section 6: "<" and a priority) */
    bool is_json = word >> 16 == WORD(0, 0, '{', '"') || word >> 16 == WORD(0, 0, '[', '{');
    uint32_t second = (word >> 16) & 0xff;
    return is_json || (word >> 24 == '<' && second >= '0' && second <= '9') ? -1 : 0;
}

/* QUIC and ESP have no magic of their own; port and protocol tell. */
static bool is_encrypted(const uint8_t *packet, uint32_t len)
{
    l4_view l4;
    if (!l4_parse(packet, len, &l4) || l4.is_fragment)
        return false;
    if (l4.protocol == IP_ESP)
        return true;
    const uint8_t *ports = packet + l4.ip_bytes;
    return l4.protocol == L4_UDP && (load_be16(ports) == HTTPS_PORT || load_be16(ports + 2) == HTTPS_PORT);
}

void oracle_features(const uint8_t *packet, uint32_t len, uint32_t payload_at, bool is_urgent, float *out)
{
    uint32_t payload_bytes = payload_at < len ? len - payload_at : 0;
    const uint8_t *payload = packet + len - payload_bytes;
    sampled s;
    if (payload_bytes > ORACLE_SAMPLES)
        sample_long(payload, payload_bytes, &s);
    else
        sample_short(payload, payload_bytes > 0 ? payload_bytes - 1 : 0, &s);
    float each = s.count ? 1.0f / (float)s.count : 0;
    int magic = payload_bytes >= 4 ? magic_of_word(load_be32(payload)) : 0;
    out[ORACLE_SIZE] = log2_linear(payload_bytes + 1) / 14.0f;
    out[ORACLE_ENTROPY] = collision_entropy(s.count, s.collisions) / 8.0f;
    out[ORACLE_PAIR_ENTROPY] = collision_entropy(s.count, s.pair_collisions) / 11.0f;
    out[ORACLE_TOP4_SHARE] = s.top4_of ? (float)s.top4 / (float)s.top4_of : 0;
    out[ORACLE_PRINTABLE_SHARE] = (float)s.printable * each;
    out[ORACLE_ZERO_SHARE] = (float)s.zeros * each;
    out[ORACLE_MAGIC] = magic > 0 || is_encrypted(packet, len) ? 1.0f : (float)magic;
    out[ORACLE_URGENCY] = is_urgent ? 1.0f : 0;
}
