/* fuzz_rlc.c - the repair code: a stream over a link that loses, delays and repeats, and a second receiver
 * that hears broken repairs as well.
 *
 * Invariant: what the first receiver finds is what was sent, under its number, and nothing twice; no repair
 * of an honest sender contradicts. Whatever the bytes, a decoder holds no more than it has room for, finds
 * nothing longer than the repairs it was given, and names what it refuses.
 * Parsers: rlc_frame_read, rlc_symbol_read. */
#include <string.h>

#include "../../native/core/rlc_decoder.h"
#include "support.h"

enum { STREAM_MAX = 200, DELAYED = 4, OPS_MAX = 400, BODY_ROOM = RLC_HEAD_BYTES + RLC_SYMBOL_MAX,
       DECODER_ROOM = 65536 };

typedef struct receiver {
    rlc_decoder *decoder;
    bool is_hostile;
    bool has[STREAM_MAX];
    uint8_t symbols[STREAM_MAX][RLC_SYMBOL_ROOM]; /* that it has received or found */
} receiver;

typedef struct repair {
    uint32_t seed, len;
    uint8_t body[BODY_ROOM];
} repair;

static uint8_t sent[STREAM_MAX][RLC_SYMBOL_ROOM];
static uint32_t count;
static uint64_t base, now_ns; /* base: number of the first, a multiple of 2^16 less a few */
static receiver honest, hostile;
static repair delayed[DELAYED];

static void take(receiver *r, uint32_t len_max)
{
    rlc_content c;
    uint64_t last = 0;
    for (bool is_first = true; rlc_decoder_next(r->decoder, &c); is_first = false) {
        must(is_first || c.sequence > last, "the oldest comes first");
        must(c.len >= 1 && c.len <= len_max, "a content is shorter than what it came from");
        last = c.sequence;
        uint64_t number = c.sequence - base;
        if (!r->is_hostile) {
            must(number < count && !r->has[number], "what was sent, and is missing");
            must(c.pn == load_be16(sent[number]) && c.len == load_be16(sent[number] + 2) &&
                     memcmp(c.bytes, sent[number] + RLC_SYMBOL_HEAD, c.len) == 0,
                 "byte for byte");
        }
        if (number < STREAM_MAX) {
            rlc_symbol_write(r->symbols[number], c.pn, c.bytes, c.len);
            r->has[number] = true;
        }
    }
    must(rlc_decoder_unknowns(r->decoder) <= RLC_UNKNOWNS_MAX, "bounded");
    must(rlc_decoder_equations(r->decoder) <= rlc_decoder_unknowns(r->decoder), "no more than can be of use");
}

static void known(receiver *r, uint32_t number)
{
    memcpy(r->symbols[number], sent[number], sizeof sent[number]);
    r->has[number] = true;
    rlc_result result = rlc_decoder_known(r->decoder, &GF256_PORTABLE, base + number, r->symbols[number]);
    must(r->is_hostile || result <= RLC_REDUNDANT, "what was sent contradicts nothing");
    take(r, RLC_CONTENT_MAX);
}

static void hear(receiver *r, uint32_t seed, const uint8_t *body, uint32_t len)
{
    rlc_equation e = { .seed = seed };
    const uint8_t *members[RLC_WINDOW_MAX];
    rlc_result result = rlc_frame_read(body, len, &e.frame);
    must(result == RLC_KEPT || r->is_hostile, "a repair of ours is good");
    if (result != RLC_KEPT)
        return;
    must(e.frame.symbol + e.frame.len == body + len, "the symbol is the rest");
    e.newest = seq_expand(base + count, e.frame.newest);
    for (uint32_t i = 0; i < e.frame.count; i++) {
        uint64_t number = e.newest - i - base;
        members[i] = number < STREAM_MAX && r->has[number] ? r->symbols[number] : NULL;
    }
    result = rlc_decoder_add(r->decoder, &GF256_PORTABLE, &e, members, now_ns);
    must(rlc_result_name(result) != NULL, "a result has a name");
    must(r->is_hostile || result <= RLC_TOO_MANY, "a repair of ours contradicts nothing");
    take(r, RLC_CONTENT_MAX);
}

static void source(input *in)
{
    if (count == STREAM_MAX)
        return;
    uint8_t content[RLC_CONTENT_MAX];
    uint64_t how = input_number(in, 2);
    uint32_t len = how & 0x8000 ? 1 + (uint32_t)how % RLC_CONTENT_MAX : 1 + (uint32_t)how % 32;
    for (uint32_t i = 0; i < len; i++)
        content[i] = (uint8_t)(count * 31 + i * (how >> 8) + 1);
    rlc_symbol_write(sent[count], (uint16_t)(how * 7 + count), content, len);
    bool is_lost = how >> 10 & 1;
    count++;
    if (!is_lost) {
        known(&honest, count - 1);
        known(&hostile, count - 1);
    }
}

/* It goes to both, only to the hostile one with a bit changed, or waits. */
static void repair_of(input *in)
{
    if (count == 0)
        return;
    static repair r;
    const uint8_t *members[RLC_WINDOW_MAX];
    uint32_t window = 1 + (uint32_t)input_number(in, 1) % (count < RLC_WINDOW_MAX ? count : RLC_WINDOW_MAX);
    uint64_t fate = input_number(in, 2);
    for (uint32_t i = 0; i < window; i++)
        members[i] = sent[count - 1 - i];
    r.seed = (uint32_t)(fate * 0x01000193);
    r.len = rlc_frame_write(&GF256_PORTABLE, r.seed, (uint16_t)(base + count - 1), members, window, r.body,
                            sizeof r.body);
    must(r.len > RLC_HEAD_BYTES + RLC_SYMBOL_HEAD, "there was room");
    if ((fate & 7) == 7) {
        delayed[fate >> 3 & (DELAYED - 1)] = r;
        return;
    }
    if ((fate & 7) != 6)
        hear(&honest, r.seed, r.body, r.len);
    else
        r.body[(fate >> 3) % r.len] ^= (uint8_t)(1U << (fate & 7));
    hear(&hostile, r.seed, r.body, r.len);
}

static void late(input *in)
{
    uint64_t which = input_number(in, 1);
    repair *r = &delayed[which & (DELAYED - 1)];
    if (which & 0x80 && r->len) {
        hear(&honest, r->seed, r->body, r->len);
        hear(&hostile, r->seed, r->body, r->len);
    } else if (count) {
        known(&honest, (uint32_t)which % count);
        known(&hostile, (uint32_t)which % count);
    }
}

static void raw(input *in)
{
    static uint8_t body[BODY_ROOM + 8];
    uint32_t seed = (uint32_t)input_number(in, 1);
    uint32_t len = (uint32_t)input_number(in, 1);
    hear(&hostile, seed, body, input_copy(in, body, len == 255 ? sizeof body : len));
}

static void begin(receiver *r, bool is_hostile, void *memory)
{
    must(rlc_decoder_bytes() <= DECODER_ROOM, "a decoder fits");
    memset(r->has, 0, sizeof r->has);
    r->is_hostile = is_hostile;
    r->decoder = rlc_decoder_init(memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static _Alignas(64) uint8_t memory[2][DECODER_ROOM];
    input in = { data, size };
    begin(&honest, false, memory[0]);
    begin(&hostile, true, memory[1]);
    for (uint32_t i = 0; i < DELAYED; i++)
        delayed[i].len = 0;
    count = 0;
    now_ns = 0;
    uint64_t first = input_number(&in, 1);
    base = first & 0x80 ? 65536 - (first & 0x3f) : 0;
    for (uint32_t i = 0; i < OPS_MAX && in.left; i++, now_ns++) {
        uint8_t op = (uint8_t)input_number(&in, 1);
        if (op < 0x90)
            source(&in);
        else if (op < 0xd8)
            repair_of(&in);
        else if (op < 0xe8)
            late(&in);
        else if (op < 0xf8)
            raw(&in);
        else {
            rlc_decoder_expire(honest.decoder, &GF256_PORTABLE, now_ns, 16);
            rlc_decoder_expire(hostile.decoder, &GF256_PORTABLE, now_ns, 16);
        }
    }
    return 0;
}
