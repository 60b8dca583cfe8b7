/* oracle_features.h - what the compression oracle sees of a packet: eight numbers.
 *
 * The table below is their one definition: C computes them, Python and the training read names and meaning
 * from here through the boundary. A model whose own list differs is refused. */
#ifndef OXI_ORACLE_FEATURES_H
#define OXI_ORACLE_FEATURES_H
#include "base.h"
#include "limits.h"

/* X(id, name, range_max, what it is). All are at most range_max, and at least 0 but for ORACLE_MAGIC (-1). */
#define ORACLE_FEATURES(X)                                                                                   \
    X(ORACLE_SIZE, "size", 1.25f, "log2(payload bytes + 1) / 14")                                            \
    X(ORACLE_ENTROPY, "entropy", 1.5f, "collision entropy of sampled bytes, in bits / 8")                    \
    X(ORACLE_PAIR_ENTROPY, "pair_entropy", 1.5f, "collision entropy of sampled pairs of neighbours, / 11")   \
    X(ORACLE_TOP4_SHARE, "top4_share", 1.0f, "share of the four most common bytes among the samples")       \
    X(ORACLE_PRINTABLE_SHARE, "printable_share", 1.0f, "share of printable ASCII, tab, CR and LF")           \
    X(ORACLE_ZERO_SHARE, "zero_share", 1.0f, "share of zero bytes")                                          \
    X(ORACLE_MAGIC, "magic", 1.0f, "1: begins as compressed or encrypted data do; -1: as text does; else 0") \
    X(ORACLE_URGENCY, "urgency", 1.0f, "1: the flow is sensitive to time; else 0")

enum {
#define X(id, name, range_max, help) id,
    ORACLE_FEATURES(X)
#undef X
    ORACLE_FEATURE_COUNT,
    /* Enough to tell random bytes (8 collisions, seldom 16) from text (50 and more); each with its right-hand
     * neighbour. */
    ORACLE_SAMPLES = 64,
    ORACLE_BLOCK = 8, /* samples that lie side by side */
    ORACLE_BLOCKS = ORACLE_SAMPLES / ORACLE_BLOCK
};
static_assert((int)ORACLE_FEATURE_COUNT == (int)OXI_ORACLE_FEATURES, "oxi.h tells how many there are");

/* Fills out[ORACLE_FEATURE_COUNT]. payload_at: behind the headers; at or beyond len: no payload, all of the
 * content is 0. Works on any bytes. */
void oracle_features(const uint8_t *packet, uint32_t len, uint32_t payload_at, bool is_urgent, float *out);
#endif
