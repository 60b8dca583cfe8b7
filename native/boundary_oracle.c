/* boundary_oracle.c - the door of the compression oracle: checks arguments, no logic. */
#include "boundary.h"

static const struct {
    const char *name;
    float max;
    const char *help;
} FEATURES[] = {
#define X(id, name, range_max, help) { name, range_max, help },
    ORACLE_FEATURES(X)
#undef X
};
static const char *const VERDICTS[] = { "skip", "light", "aggressive", "rohc-only" };
static_assert(sizeof VERDICTS / sizeof VERDICTS[0] == ORACLE_VERDICT_COUNT, "each has a name");

const char *oxi_oracle_feature_name(uint32_t i) { return i < ORACLE_FEATURE_COUNT ? FEATURES[i].name : NULL; }
const char *oxi_oracle_feature_help(uint32_t i) { return i < ORACLE_FEATURE_COUNT ? FEATURES[i].help : NULL; }
float oxi_oracle_feature_max(uint32_t i) { return i < ORACLE_FEATURE_COUNT ? FEATURES[i].max : 0; }
const char *oxi_oracle_verdict_name(uint32_t v) { return v < ORACLE_VERDICT_COUNT ? VERDICTS[v] : NULL; }

int oxi_oracle_features(const uint8_t *packet, uint32_t len, uint32_t payload_at, uint32_t is_urgent,
                        float *out)
{
    if (!packet || !out || len > OXI_SUPER_MAX)
        return OXI_E_ARG;
    oracle_features(packet, len, payload_at, is_urgent != 0, out);
    return OXI_OK;
}

int oxi_oracle_scores(const oxi_oracle_model *model, const float *features, float *scores_out)
{
    if (!model || !features || !scores_out)
        return OXI_E_ARG;
    oracle_scores(model, features, scores_out);
    return OXI_OK;
}

int oxi_oracle_judge(const oxi_oracle_model *model, const float *features, uint32_t len,
                     uint32_t *verdict_out)
{
    if (!features || !verdict_out)
        return OXI_E_ARG;
    *verdict_out = oracle_judge(model, features, len);
    return OXI_OK;
}

uint32_t oxi_oracle_is_worth(uint32_t len, uint32_t payload_bytes, uint32_t saved_bytes)
{
    return oracle_is_worth(len, payload_bytes, saved_bytes);
}

static int do_oracle_set(dp *d, call *c)
{
    oracle_set(&d->compressor.oracle, c->data, c->a);
    return OXI_OK;
}

int oxi_oracle_set(oxi_dp *h, const oxi_oracle_model *model, uint64_t seed)
{
    if (!h || (model && !oracle_model_is_sound(model)))
        return OXI_E_ARG;
    return all_call(h, &(call){ .run = do_oracle_set, .data = model, .a = seed });
}

static uint64_t load(const uint64_t *word) { return __atomic_load_n(word, __ATOMIC_RELAXED); }

int oxi_oracle_stats_read(oxi_dp *h, oxi_oracle_stats *out)
{
    if (!h || !out)
        return OXI_E_ARG;
    *out = (oxi_oracle_stats){ 0 };
    for (uint32_t w = 0; w < h->workers; w++) {
        const oxi_oracle_stats *one = &h->cores[w].compressor.oracle.stats;
        for (uint32_t v = 0; v < ORACLE_VERDICT_COUNT; v++)
            out->verdicts[v] += load(&one->verdicts[v]);
        out->looked_packets += load(&one->looked_packets);
        out->missed_attempts += load(&one->missed_attempts);
        out->given_up_flows += load(&one->given_up_flows);
    }
    return OXI_OK;
}

int oxi_oracle_ask(oxi_dp *h, const oxi_oracle_packet *p, uint32_t *verdict_out,
                   oxi_oracle_ticket *ticket_out)
{
    ip_view ip;
    if (!h || !p || !p->data || !verdict_out || !ticket_out || !ip_parse(p->data, p->len, &ip))
        return OXI_E_ARG;
    if (h->ios[0])
        return OXI_E_BUSY;
    *verdict_out = oracle_ask(&h->cores[0].compressor.oracle, p, ticket_out);
    return OXI_OK;
}

int oxi_oracle_learn(oxi_dp *h, const oxi_oracle_ticket *ticket, uint32_t has_saved)
{
    if (!h || !ticket || ticket->bare >= ORACLE_VERDICT_COUNT)
        return OXI_E_ARG;
    if (h->ios[0])
        return OXI_E_BUSY;
    oracle_learn(&h->cores[0].compressor.oracle, ticket, has_saved != 0);
    return OXI_OK;
}

/* ---- compression as a whole ---- */

static int do_compression_set(dp *d, call *c)
{
    if (!d->compressor.lz)
        return OXI_E_ARG;
    return lz_policy_set(&d->compressor.policy, c->data, c->count) ? OXI_OK : OXI_E_ARG;
}

int oxi_compression_set(oxi_dp *h, const oxi_lz_rule *rules, uint32_t count)
{
    if (!h || (!rules && count > 0))
        return OXI_E_ARG;
    return all_call(h, &(call){ .run = do_compression_set, .data = rules, .count = count });
}

int oxi_compression_stats_read(oxi_dp *h, oxi_compression_stats *out)
{
    if (!h || !out)
        return OXI_E_ARG;
    *out = (oxi_compression_stats){ 0 };
    uint64_t *sums = (uint64_t *)out;
    for (uint32_t w = 0; w < h->workers; w++) {
        const uint64_t *words = (const uint64_t *)&h->cores[w].compressor.stats;
        for (size_t i = 0; i < sizeof *out / sizeof *sums; i++)
            sums[i] += load(&words[i]);
    }
    return OXI_OK;
}
