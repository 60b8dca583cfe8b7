/* lz_policy.h - which packets may be compressed, and with which dictionary: by ports the operator named. */
#ifndef OXI_LZ_POLICY_H
#define OXI_LZ_POLICY_H
#include "base.h"
#include "limits.h"

enum {
    LZ_SLOTS_LOG = 9,
    LZ_SLOTS = 1 << LZ_SLOTS_LOG /* eight for each rule: a search is short */
};
static_assert(OXI_LZ_RULES_MAX * 8 <= LZ_SLOTS, "most slots are free");

/* All zero: nothing may be compressed. */
typedef struct lz_policy {
    oxi_lz_rule slots[LZ_SLOTS]; /* by hash of protocol and port, the next one free if taken; port 0: free */
} lz_policy;

/* Replaces all. False: more than OXI_LZ_RULES_MAX, no such protocol or dictionary, port 0, or one twice. */
bool lz_policy_set(lz_policy *p, const oxi_lz_rule *rules, uint32_t count);

/* The dictionary for a whole packet of len bytes that has a rule for one of its ports, so that both
 * directions of a flow find the same (with two rules, that of the lower port). OXI_LZ_REFUSED: it goes as
 * it is. */
int32_t lz_class_of(const lz_policy *p, const uint8_t *packet, uint32_t len);
#endif
