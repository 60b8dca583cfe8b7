/* lz_policy.c - see lz_policy.h. */
#include "lz_policy.h"

#include "l4.h"
#include "lz.h"

static uint32_t slot_of(uint32_t protocol, uint32_t port)
{
    return ((protocol << 16 | port) * 2654435761u) >> (32 - LZ_SLOTS_LOG);
}

/* NULL: no rule for it. Ends at a free slot, of which there are always some. */
static const oxi_lz_rule *rule_find(const lz_policy *p, uint32_t protocol, uint32_t port)
{
    for (uint32_t i = slot_of(protocol, port); p->slots[i].port; i = (i + 1) % LZ_SLOTS)
        if (p->slots[i].port == port && p->slots[i].protocol == protocol)
            return &p->slots[i];
    return NULL;
}

bool lz_policy_set(lz_policy *p, const oxi_lz_rule *rules, uint32_t count)
{
    lz_policy made = { 0 };
    if (count > OXI_LZ_RULES_MAX)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        const oxi_lz_rule *r = &rules[i];
        bool is_l4 = r->protocol == L4_TCP || r->protocol == L4_UDP;
        bool is_known = is_l4 && r->port && r->dictionary < LZ_KNOWN;
        if (!is_known || rule_find(&made, r->protocol, r->port))
            return false;
        uint32_t slot = slot_of(r->protocol, r->port);
        while (made.slots[slot].port)
            slot = (slot + 1) % LZ_SLOTS;
        made.slots[slot] = *r;
    }
    *p = made;
    return true;
}

int32_t lz_class_of(const lz_policy *p, const uint8_t *packet, uint32_t len)
{
    l4_view v;
    if (!l4_parse(packet, len, &v) || v.l4_bytes == 0 || v.is_fragment)
        return OXI_LZ_REFUSED;
    uint32_t source = load_be16(packet + v.ip_bytes), target = load_be16(packet + v.ip_bytes + 2);
    const oxi_lz_rule *low = rule_find(p, v.protocol, source < target ? source : target);
    const oxi_lz_rule *found = low ? low : rule_find(p, v.protocol, source < target ? target : source);
    return found ? found->dictionary : OXI_LZ_REFUSED;
}
