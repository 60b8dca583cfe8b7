/* fuzz_oracle.c - any bytes before the compression oracle: as a packet, and as the weights of its net.
 *
 * Invariant: features lie within the ranges of their table, whatever the bytes and wherever the payload
 * begins; a sound net gives scores that are numbers; without permission no payload is pressed; a flow is
 * looked at again after 256 packets at the latest; verdicts add up to the packets asked about. */
#include <string.h>

#include "../../native/core/oracle.h"
#include "../../native/core/stages.h"
#include "support.h"

enum { PACKET_MAX = 2048 };

static void features_in_range(const float *features)
{
    static const float range_max[] = {
#define X(id, name, max, help) max,
        ORACLE_FEATURES(X)
#undef X
    };
    for (uint32_t i = 0; i < ORACLE_FEATURE_COUNT; i++)
        must(features[i] <= range_max[i] && features[i] >= (i == ORACLE_MAGIC ? -1.0f : 0.0f),
             "a feature lies within its range");
}

/* Weights of any bits; most inputs give small numbers, so that most are sound. */
static bool pick_model(input *in, oracle_model *m)
{
    bool is_raw = input_number(in, 1) % 8 == 0;
    float *weights = (float *)(void *)m;
    for (uint32_t i = 0; i < sizeof *m / sizeof *weights; i++) {
        uint32_t bits = (uint32_t)input_number(in, is_raw ? 4 : 1);
        float small = ((float)bits - 128.0f) / 16.0f;
        memcpy(&weights[i], is_raw ? (const void *)&bits : (const void *)&small, sizeof bits);
    }
    return oracle_model_is_sound(m);
}

static oracle o;

static void ask_about(input *in, uint64_t *asked)
{
    static uint8_t bytes[PACKET_MAX];
    uint32_t len = (uint32_t)input_number(in, 2) % PACKET_MAX;
    uint32_t payload_at = (uint32_t)input_number(in, 2) % (PACKET_MAX + 10);
    uint8_t how = (uint8_t)input_number(in, 1);
    memset(bytes, how, sizeof bytes);
    input_copy(in, bytes, len);
    /* It ends where the array does, so that the sanitizer sees a step beyond. */
    uint8_t *packet = bytes + PACKET_MAX - len;
    memmove(packet, bytes, len);
    float features[ORACLE_FEATURE_COUNT];
    oracle_features(packet, len, payload_at, how & 1, features);
    features_in_range(features);
    ip_view ip;
    if (!ip_parse(packet, len, &ip))
        return;
    uint64_t looked = o.stats.looked_packets;
    oracle_packet p = { .data = packet, .len = len, .payload_at = payload_at, .peer = how & 3,
                        .is_allowed = (how & 4) != 0, .is_urgent = (how & 8) != 0 };
    for (uint32_t i = 0; i < (how & 16 ? 257U : 2U); i++, ++*asked) {
        oracle_ticket ticket;
        oracle_verdict v = oracle_ask(&o, &p, &ticket);
        bool is_pressed = v == ORACLE_LIGHT || v == ORACLE_AGGRESSIVE;
        must(v < ORACLE_VERDICT_COUNT && (p.is_allowed || !is_pressed),
             "nothing is pressed without permission");
        must(ticket.bare == ORACLE_SKIP || ticket.bare == ORACLE_ROHC_ONLY,
             "the bare verdict presses nothing");
        must(ticket.slot <= ORACLE_FLOWS, "a place in the table, or none");
        if (how & 32)
            oracle_learn(&o, &ticket, how & 64);
    }
    bool has_payload = payload_at < len && len - payload_at >= ORACLE_PAYLOAD_MIN;
    if ((how & 16) && p.is_allowed && has_payload)
        must(o.stats.looked_packets > looked, "a flow is looked at again");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input in = { data, size };
    oracle_model model;
    memset(&o, 0, sizeof o);
    bool is_sound = (input_number(&in, 1) & 1) && pick_model(&in, &model);
    oracle_set(&o, is_sound ? &model : NULL, input_number(&in, 4));
    if (is_sound) {
        const float most[] = { 1.5f, 1.5f, 1.5f, 1.5f, 1.5f, 1.5f, 1.0f, 1.0f };
        float scores[ORACLE_VERDICT_COUNT];
        oracle_scores(&model, most, scores);
        for (uint32_t v = 0; v < ORACLE_VERDICT_COUNT; v++)
            must(scores[v] - scores[v] == 0, "a sound net gives numbers");
    }
    uint64_t asked = 0, told = 0;
    for (uint32_t i = 0; i < 16 && in.left; i++)
        ask_about(&in, &asked);
    for (uint32_t v = 0; v < ORACLE_VERDICT_COUNT; v++)
        told += o.stats.verdicts[v];
    must(told == asked, "each packet has one verdict");
    return 0;
}
