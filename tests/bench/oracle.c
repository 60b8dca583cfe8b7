/* oracle.c - nanoseconds of the compression oracle per packet: on a new flow, and on a remembered one.
 *
 * The best of several rounds, as neighbours on the machine only ever add. Prints lines
 * `oracle/WHAT/CONTENT/BYTES ns`; test_bench_oracle.py builds and runs it. */
#include "bench.h"

#include "../../native/core/oracle.h"

enum { ROUNDS = 15, PACKETS = 64, TURNS = 300, ROOM = 1500 };

static uint64_t dice_state = 88172645463325252ULL;

static uint64_t dice(void) /* xorshift64 */
{
    dice_state ^= dice_state << 13;
    dice_state ^= dice_state >> 7;
    dice_state ^= dice_state << 17;
    return dice_state;
}

enum { RANDOM, TEXT, ZEROS, CONTENTS };
static const char *const CONTENT_NAMES[] = { "random", "text", "zeros" };

/* IPv4 and UDP, a flow of its own. */
static void fill(uint8_t *p, uint32_t len, uint32_t content, uint32_t flow)
{
    static const char letters[] = "eeeeeeettttaaaooiinnsshhrrdlcumwfgypbvk      ,.\n";
    memset(p, 0, len);
    p[0] = 0x45;
    p[2] = (uint8_t)(len >> 8);
    p[3] = (uint8_t)len;
    p[9] = 17;
    p[12] = 10;
    p[16] = 172;
    p[20] = (uint8_t)(flow >> 8);
    p[21] = (uint8_t)flow;
    p[24] = (uint8_t)((len - 20) >> 8);
    p[25] = (uint8_t)(len - 20);
    for (uint32_t i = 28; i < len; i++)
        p[i] = content == RANDOM ? (uint8_t)dice() : content == TEXT ? (uint8_t)letters[dice() % 48] : 0;
}

static uint8_t packets[PACKETS][ROOM];
static oracle o;

static double measure(uint32_t len, bool is_new)
{
    double best = 1e12;
    uint32_t sum = 0;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        double begin = wall_ns();
        for (uint32_t turn = 0; turn < TURNS; turn++) {
            for (uint32_t i = 0; i < PACKETS; i++) {
                if (is_new) /* the flow's port: nobody remembers it */
                    packets[i][22] = (uint8_t)turn, packets[i][23] = (uint8_t)round;
                oracle_packet p = { .data = packets[i], .len = len, .payload_at = 28, .is_allowed = 1 };
                oracle_ticket t;
                sum += oracle_ask(&o, &p, &t);
            }
        }
        double spent = (wall_ns() - begin) / (TURNS * PACKETS);
        best = spent < best ? spent : best;
    }
    __asm__ volatile("" ::"r"(sum));
    return best;
}

int main(void)
{
    static oracle_model model;
    for (uint32_t i = 0; i < 128; i++)
        model.hidden_weights[i] = (float)(dice() % 2000) / 1000.0f - 1;
    for (uint32_t i = 0; i < 64; i++)
        model.score_weights[i] = (float)(dice() % 2000) / 1000.0f - 1;
    static const uint32_t lengths[] = { 100, 400, 1400 };
    for (uint32_t has_model = 0; has_model < 2; has_model++) {
        for (uint32_t content = 0; content < CONTENTS; content++) {
            for (uint32_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
                for (uint32_t k = 0; k < PACKETS; k++)
                    fill(packets[k], lengths[i], content, k);
                oracle_set(&o, has_model ? &model : NULL, 7);
                const char *who = has_model ? "model" : "heuristic";
                printf("oracle/%s-new/%s/%u %.1f ns\n", who, CONTENT_NAMES[content], lengths[i],
                       measure(lengths[i], true));
                printf("oracle/%s-remembered/%s/%u %.1f ns\n", who, CONTENT_NAMES[content], lengths[i],
                       measure(lengths[i], false));
            }
        }
    }
    return 0;
}
