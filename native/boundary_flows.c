/* boundary_flows.c - the door of the traffic classes: checks arguments, no logic. */
#include "boundary.h"

static const char *const CLASSES[] = { "voip", "gaming", "web", "streaming", "bulk", "control" };
static const char *const WHYS[] = { "default", "rule", "dscp", "port", "rtp", "shape" };
static_assert(sizeof CLASSES / sizeof CLASSES[0] == OXI_CLASSES, "each has a name");
static_assert(sizeof WHYS / sizeof WHYS[0] == OXI_WHYS, "each has a name");

const char *oxi_class_name(uint32_t c) { return c < OXI_CLASSES ? CLASSES[c] : NULL; }
const char *oxi_why_name(uint32_t w) { return w < OXI_WHYS ? WHYS[w] : NULL; }

static bool rule_is_good(const oxi_class_rule *r)
{
    uint32_t width = r->family == OXI_AF_INET ? 32 : r->family == OXI_AF_INET6 ? 128 : 0;
    bool is_known = r->family == OXI_AF_NONE || width > 0;
    return is_known && r->bits <= width && r->dscp <= OXI_DSCP_ANY && r->traffic_class < OXI_CLASSES;
}

static int do_classes_set(dp *d, call *c)
{
    flows_rules_set(&d->flows, c->data, c->count);
    return OXI_OK;
}

int oxi_classes_set(oxi_dp *h, const oxi_class_rule *rules, uint32_t count)
{
    if (!h || (!rules && count > 0) || count > OXI_CLASS_RULES_MAX)
        return OXI_E_ARG;
    for (uint32_t i = 0; i < count; i++)
        if (!rule_is_good(&rules[i]))
            return OXI_E_ARG;
    return all_call(h, &(call){ .run = do_classes_set, .data = rules, .count = count });
}

typedef struct flows_wanted {
    oxi_flow *out;
    uint32_t max;
} flows_wanted;

static int do_flows_read(dp *d, call *c)
{
    const flows_wanted *w = c->data;
    return (int)flows_copy(&d->flows, c->now_ns, w->out, w->max);
}

int oxi_flows_read(oxi_dp *h, uint64_t now_ns, oxi_flow *out, uint32_t max)
{
    if (!h || (!out && max > 0) || max > OXI_WORKERS_MAX * OXI_FLOWS_MAX)
        return OXI_E_ARG;
    uint32_t count = 0;
    for (uint32_t w = 0; w < h->workers && count < max; w++) {
        flows_wanted wanted = { .out = out + count, .max = max - count };
        call c = { .run = do_flows_read, .now_ns = now_ns, .data = &wanted };
        count += (uint32_t)worker_call(h, w, &c);
    }
    return (int)count;
}
