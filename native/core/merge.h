/* merge.h - segments of one flow joined into super-packets for the TUN. */
#ifndef OXI_MERGE_H
#define OXI_MERGE_H
#include "base.h"
#include "limits.h"

struct pkt;

enum { SUPER_HEADER_MAX = 40 + 60 }; /* IPv6, and TCP with all its options */

/* Chains that may still grow. A flow has its slot by hash; two flows in one slot take turns. */
typedef struct merge_table {
    struct pkt *heads[MERGE_SLOTS];
    uint8_t used[MERGE_SLOTS]; /* slots with a chain, in the order in which they were begun */
    uint32_t used_count;
} merge_table;
#endif
