/* oracle.c - the compression oracle: judging a packet, and remembering verdicts per flow. */
#include "oracle.h"

#include "bytes.h"
#include "l4.h"

static_assert((ORACLE_FLOWS & (ORACLE_FLOWS - 1)) == 0, "a place is a mask");
static_assert(sizeof(oracle_flow) == 8, "the table is 16 KB");

enum {
    DSCP_URGENT_MIN = 32 << 2, /* class selector 4, AF4x, EF and above (RFC 4594), as a traffic class */
    LARGE_BYTES_MIN = 600      /* of the heuristic */
};

/* ---- judging ---- */

/* Sums stay in registers: in memory each addition would wait for the store before it. */
enum { QUAD = 4, HIDDEN_QUADS = OXI_ORACLE_HIDDEN / QUAD };
typedef float quad __attribute__((vector_size(QUAD * sizeof(float))));

static inline quad quad_load(const float *p)
{
    quad v;
    memcpy(&v, p, sizeof v);
    return v;
}

void oracle_scores(const oracle_model *m, const float *features, float *scores_out)
{
    quad hidden[HIDDEN_QUADS];
    for (uint32_t k = 0; k < HIDDEN_QUADS; k++)
        hidden[k] = quad_load(m->hidden_bias + QUAD * k);
    for (uint32_t f = 0; f < ORACLE_FEATURE_COUNT; f++)
        for (uint32_t k = 0; k < HIDDEN_QUADS; k++)
            hidden[k] += features[f] * quad_load(m->hidden_weights + f * OXI_ORACLE_HIDDEN + QUAD * k);
    quad scores = quad_load(m->score_bias), more = { 0 };
    for (uint32_t k = 0; k < HIDDEN_QUADS; k++) {
        for (uint32_t h = 0; h < QUAD; h++) {
            float active = hidden[k][h] > 0 ? hidden[k][h] : 0;
            quad part = active * quad_load(m->score_weights + (k * QUAD + h) * QUAD);
            if (h % 2)
                more += part;
            else
                scores += part;
        }
    }
    scores += more;
    memcpy(scores_out, &scores, sizeof scores);
}
static_assert((int)QUAD == (int)ORACLE_VERDICT_COUNT, "one quad of scores");

/* A weight of 1e4 is a hundred times what training gives; NaN compares as false. With features of at most 1.5
 * a score stays below 16 * 1e4 * (8 * 1.5e4 + 1e4) + 1e4, far from where binary32 ends. */
static bool are_sound(const float *weights, size_t count)
{
    bool are_all = true;
    for (size_t i = 0; i < count; i++)
        are_all &= weights[i] >= -1e4f && weights[i] <= 1e4f;
    return are_all;
}

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

bool oracle_model_is_sound(const oracle_model *m)
{
    return are_sound(m->hidden_weights, COUNT_OF(m->hidden_weights)) &&
           are_sound(m->hidden_bias, COUNT_OF(m->hidden_bias)) &&
           are_sound(m->score_weights, COUNT_OF(m->score_weights)) &&
           are_sound(m->score_bias, COUNT_OF(m->score_bias));
}

static bool is_pressed(uint32_t verdict) { return verdict == ORACLE_LIGHT || verdict == ORACLE_AGGRESSIVE; }

/* With the payload as it is: a matter of size alone, so the net's word for one of the two stands for both. */
static oracle_verdict verdict_bare(uint32_t len)
{
    return len >= ORACLE_TRAIN_BYTES_MIN ? ORACLE_SKIP : ORACLE_ROHC_ONLY;
}

/* Thresholds are the best of a grid on what the net learns from (`./dev train oracle --heuristic`).
 * Static dictionaries bring most where there is little to refer back to. */
static oracle_verdict heuristic(const float *features, uint32_t len)
{
    if (features[ORACLE_MAGIC] > 0 || features[ORACLE_ENTROPY] > 0.75f)
        return verdict_bare(len);
    return len >= LARGE_BYTES_MIN ? ORACLE_LIGHT : ORACLE_AGGRESSIVE;
}

oracle_verdict oracle_judge(const oracle_model *m, const float *features, uint32_t len)
{
    if (!m)
        return heuristic(features, len);
    float scores[ORACLE_VERDICT_COUNT];
    oracle_scores(m, features, scores);
    uint32_t best = 0;
    for (uint32_t v = 1; v < ORACLE_VERDICT_COUNT; v++)
        best = scores[v] > scores[best] ? v : best;
    return is_pressed(best) ? (oracle_verdict)best : verdict_bare(len);
}

/* ---- remembering ---- */

static inline uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9fb21c651e98df25ULL;
    return h ^ h >> 32;
}

static inline uint64_t load_word(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Of peer, addresses, protocol and ports; large packets of a flow are judged apart from its small ones. Never
 * 0. Ports of fragments are not there, those of IPv6 with extension headers are not looked for. */
static inline uint64_t flow_hash(const oracle *o, const oracle_packet *p)
{
    const uint8_t *data = p->data;
    bool is_v6 = data[0] >> 4 == 6;
    uint32_t ip_bytes = is_v6 ? IPV6_HEADER : (uint32_t)(data[0] & 0x0f) * 4;
    uint64_t about = (uint64_t)p->peer << 32 | (uint64_t)(p->len >= ORACLE_TRAIN_BYTES_MIN) << 8;
    about |= is_v6 ? 1U << 9 | data[6] : data[9];
    uint64_t h = mix(o->seed, about);
    const uint8_t *addresses = data + (is_v6 ? 8 : 12);
    h = mix(h, load_word(addresses));
    for (uint32_t at = 8; is_v6 && at < 32; at += 8)
        h = mix(h, load_word(addresses + at));
    uint8_t protocol = (uint8_t)about;
    bool is_part = !is_v6 && (load_be16(data + 6) & IPV4_FRAGMENT_MASK) != 0;
    if ((protocol == L4_TCP || protocol == L4_UDP) && !is_part && p->len >= ip_bytes + 4)
        h = mix(h, load_be32(data + ip_bytes));
    h = mix(h, h >> 32);
    return h | (uint64_t)1 << 32;
}

void oracle_set(oracle *o, const oracle_model *model, uint64_t seed)
{
    o->seed = seed;
    o->has_model = model != NULL;
    if (model)
        o->model = *model;
    memset(o->flows, 0, sizeof o->flows);
}

static oracle_verdict counted(oracle *o, oracle_verdict v)
{
    COUNT_ADD(o->stats.verdicts[v], 1);
    return v;
}

/* Looks at the packet, and remembers what it finds for flow f, which may have been another's. */
static oracle_verdict look(oracle *o, const oracle_packet *p, oracle_flow *f, uint32_t tag)
{
    float features[ORACLE_FEATURE_COUNT];
    bool is_v6 = p->data[0] >> 4 == 6;
    uint8_t traffic_class = is_v6 ? (uint8_t)(load_be16(p->data) >> 4) : p->data[1];
    bool is_urgent = p->is_urgent || traffic_class >= DSCP_URGENT_MIN;
    oracle_features(p->data, p->len, p->payload_at, is_urgent, features);
    oracle_verdict v = oracle_judge(o->has_model ? &o->model : NULL, features, p->len);
    /* One more miss is enough for a flow that was tried in vain before. */
    uint8_t misses = f->tag == tag && f->misses >= ORACLE_MISSES_MAX ? ORACLE_MISSES_MAX - 1 : 0;
    uint16_t left = is_pressed(v) ? ORACLE_PRESSED_PKTS : ORACLE_SKIPPED_PKTS;
    *f = (oracle_flow){ .tag = tag, .left = (uint16_t)(left - 1), .verdict = (uint8_t)v, .misses = misses };
    COUNT_ADD(o->stats.looked_packets, 1);
    return v;
}

oracle_verdict oracle_ask(oracle *o, const oracle_packet *p, oracle_ticket *ticket_out)
{
    oracle_verdict bare = verdict_bare(p->len);
    *ticket_out = (oracle_ticket){ .slot = ORACLE_FLOWS, .bare = bare };
    if (!p->is_allowed || p->payload_at >= p->len || p->len - p->payload_at < ORACLE_PAYLOAD_MIN)
        return counted(o, bare);
    uint64_t h = flow_hash(o, p);
    uint32_t slot = (uint32_t)h & (ORACLE_FLOWS - 1), tag = (uint32_t)(h >> 32);
    oracle_flow *f = &o->flows[slot];
    *ticket_out = (oracle_ticket){ .slot = slot, .tag = tag, .bare = bare };
    if (f->tag != tag || f->left == 0)
        return counted(o, look(o, p, f, tag));
    f->left--;
    return counted(o, (oracle_verdict)f->verdict);
}

void oracle_learn(oracle *o, const oracle_ticket *ticket, bool has_saved)
{
    if (ticket->slot >= ORACLE_FLOWS)
        return;
    oracle_flow *f = &o->flows[ticket->slot];
    if (f->tag != ticket->tag || !is_pressed(f->verdict))
        return;
    f->misses = has_saved ? 0 : (uint8_t)(f->misses + 1);
    COUNT_ADD(o->stats.missed_attempts, !has_saved);
    if (f->misses < ORACLE_MISSES_MAX)
        return;
    f->verdict = (uint8_t)ticket->bare;
    f->left = ORACLE_SKIPPED_PKTS;
    COUNT_ADD(o->stats.given_up_flows, 1);
}
