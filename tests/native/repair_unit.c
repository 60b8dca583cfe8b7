/* repair_unit.c - what is kept for repair, beside a plain list of it; and what the clock says.
 * Built with the sanitizers and run by test_core_unit.py; exits 0 when all holds. */
#include <stdio.h>
#include <stdlib.h>

#include "../../native/core/bytes.h"
#include "../../native/core/contents.h"
#include "../../native/core/repair_when.h"
#include "unit.h"

/* ---- contents, beside a list ---- */

enum { LISTS = 3, STEPS = 20000, MODEL_MAX = CONTENTS_MAX };

typedef struct model_item {
    kept_content *c;
    uint64_t pn;
    uint32_t len;
    uint32_t list;
} model_item;

/* In the order in which they were added; those that ended are taken out. */
typedef struct model {
    model_item items[MODEL_MAX];
    uint32_t count;
} model;

typedef struct contents_rig {
    contents s;
    contents_ends lists[LISTS];
    model m;
    uint64_t next_pn;
    uint64_t evicted;
} contents_rig;

static uint8_t byte_of(uint64_t pn, uint32_t i) { return (uint8_t)(pn * 31 + i * 7 + 1); }

static void model_take(model *m, uint32_t i)
{
    memmove(&m->items[i], &m->items[i + 1], (m->count - i - 1) * sizeof m->items[0]);
    m->count--;
}

static void add(contents_rig *r, uint32_t len)
{
    uint8_t data[2048];
    kept_content *oldest;
    for (uint32_t i = 0; i < len; i++)
        data[i] = byte_of(r->next_pn, i);
    while ((oldest = contents_crowded(&r->s, content_padded(len)))) {
        CHECK(r->m.count > 0 && oldest == r->m.items[0].c);
        content_end(&r->s, &r->lists[r->m.items[0].list], oldest);
        model_take(&r->m, 0);
        r->evicted++;
    }
    uint32_t list = (uint32_t)(dice() % LISTS);
    kept_content *c = content_add(&r->s, &(kept_content){ .first_pn = r->next_pn }, data, len);
    CHECK(c->is_live && c->len == len && c->first_pn == r->next_pn);
    content_append(&r->s, &r->lists[list], c);
    r->m.items[r->m.count++] = (model_item){ c, r->next_pn++, len, list };
}

static void is_as(const contents_rig *r)
{
    uint32_t before[LISTS] = { 0 };
    uint32_t counts[LISTS] = { 0 };
    for (uint32_t i = 0; i < r->m.count; i++) {
        const model_item *item = &r->m.items[i];
        const kept_content *c = item->c;
        CHECK(c->is_live && c->first_pn == item->pn && c->len == item->len);
        CHECK(c->before == before[item->list]);
        uint32_t here = (uint32_t)(c - r->s.slots) + 1;
        CHECK(before[item->list] == 0 ? r->lists[item->list].first == here
                                      : content_of(&r->s, before[item->list])->behind == here);
        before[item->list] = here;
        counts[item->list]++;
        const uint8_t *symbol = content_symbol(&r->s, c);
        uint32_t padded = content_padded(item->len);
        CHECK(symbol >= r->s.arena && symbol + padded <= r->s.arena + r->s.bytes);
        CHECK(padded % GF256_STEP == 0 && padded >= GF256_PADDED_MIN);
        CHECK(load_be16(symbol) == (uint16_t)item->pn && load_be16(symbol + 2) == item->len);
        for (uint32_t k = 0; k < item->len; k++)
            CHECK(content_data(&r->s, c)[k] == byte_of(item->pn, k));
        for (uint32_t k = item->len + RLC_SYMBOL_HEAD; k < padded; k++)
            CHECK(symbol[k] == 0);
    }
    for (uint32_t i = 0; i < LISTS; i++) {
        CHECK(r->lists[i].count == counts[i] && r->lists[i].last == before[i]);
        CHECK(before[i] == 0 || content_of(&r->s, before[i])->behind == 0);
        CHECK((r->lists[i].first == 0) == (counts[i] == 0));
    }
}

/* Anything is added, anything ends: what is left is unchanged, in order, and where the oldest must go it is
 * because there was no room. len_max: of contents; most of them end sooner or later. */
static void contents_as_a_list(uint32_t bytes, uint32_t len_max, uint32_t ends_percent)
{
    contents_rig *r = calloc(1, sizeof *r);
    CHECK(r != NULL);
    r->s = (contents){ .arena = malloc(bytes),
                       .slots = calloc(CONTENTS_MAX, sizeof(kept_content)),
                       .bytes = bytes };
    CHECK(r->s.arena && r->s.slots);
    for (uint32_t step = 0; step < STEPS; step++) {
        if (r->m.count > 0 && dice() % 100 < ends_percent) {
            uint32_t i = (uint32_t)(dice() % r->m.count);
            content_end(&r->s, &r->lists[r->m.items[i].list], r->m.items[i].c);
            model_take(&r->m, i);
        } else {
            add(r, 1 + (uint32_t)(dice() % len_max));
        }
        if (step % 997 == 0)
            is_as(r);
    }
    is_as(r);
    CHECK((r->evicted > 0) == (ends_percent < 50));
    uint32_t least = bytes / (content_padded(len_max) + GF256_STEP);
    CHECK(ends_percent > 0 || r->m.count >= (least < CONTENTS_MAX ? least / 2 : CONTENTS_MAX));
    free(r->s.arena);
    free(r->s.slots);
    free(r);
}

/* ---- times ---- */

/* Of a smooth path: nothing stands in a queue. */
static path_times smooth(uint64_t rtt_ns)
{
    return (path_times){ .rtt_ns = rtt_ns, .rtt_min_ns = rtt_ns, .rtt_latest_ns = rtt_ns };
}

static void deadlines(void)
{
    const uint64_t budget_ms[OXI_CLASSES] = { [OXI_CLASS_VOIP] = 150, [OXI_CLASS_GAMING] = 100,
                                              [OXI_CLASS_CONTROL] = 250 };
    for (uint32_t class = 0; class < OXI_CLASSES; class++) {
        CHECK(class_is_timed(class) == (budget_ms[class] > 0));
        for (uint64_t rtt_ms = 1; rtt_ms < 1000; rtt_ms++) {
            path_times t = smooth(rtt_ms * NS_PER_MS);
            uint64_t leave_ns = leave_after_ns(class, 2 * NS_PER_MS, &t);
            if (budget_ms[class] == 0) {
                CHECK(leave_ns == NEVER_NS);
                continue;
            }
            /* What leaves then, after it was held for 2 ms, is there in time; and 3 ms later it is not. */
            uint64_t there_ns = leave_ns + t.rtt_ns / 2 + 2 * NS_PER_MS;
            CHECK(leave_ns == 0 || there_ns <= budget_ms[class] * NS_PER_MS);
            CHECK(there_ns + 3 * NS_PER_MS > budget_ms[class] * NS_PER_MS);
        }
    }
    /* A queue stands on the way there. */
    path_times full = smooth(40 * NS_PER_MS);
    full.rtt_ns = 100 * NS_PER_MS;
    CHECK(leave_after_ns(OXI_CLASS_VOIP, 0, &full) == (150 - 80 - 2) * NS_PER_MS);
    CHECK(has_queue(&full));
}

static void waits(void)
{
    for (uint64_t rtt_ms = 1; rtt_ms < 2000; rtt_ms += 1 + rtt_ms / 10) {
        for (uint64_t var_ms = 0; var_ms < 100; var_ms += 1 + var_ms / 4) {
            path_times t = smooth(rtt_ms * NS_PER_MS);
            t.rtt_var_ns = var_ms * NS_PER_MS;
            t.reorder_ns = t.rtt_ns / 16;
            uint64_t delay_ns = prompt_delay_ns(t.rtt_ns);
            CHECK(delay_ns >= 1 * NS_PER_MS && delay_ns <= 3 * NS_PER_MS);
            /* Never before an acknowledgement can have come, and never far behind. */
            CHECK(prompt_wait_ns(&t) >= t.rtt_ns + delay_ns + 4 * NS_PER_MS);
            CHECK(prompt_wait_ns(&t) <= t.rtt_ns + delay_ns + 25 * NS_PER_MS);
            CHECK(passed_wait_ns(&t) > t.rtt_ns);
            CHECK(passed_wait_ns(&t) <= t.rtt_ns + t.rtt_ns / 16 + NS_PER_MS);
            CHECK(!round_fits(0, &t) && round_fits(t.rtt_ns + 30 * NS_PER_MS, &t));
            CHECK(!has_queue(&t));
        }
    }
    CHECK(code_lag_ns(999, 100 * NS_PER_MS) == 0);
    for (uint64_t leave_ms = 0; leave_ms < 300; leave_ms++) {
        uint64_t lag_ns = code_lag_ns(1000, leave_ms * NS_PER_MS);
        CHECK(lag_ns <= leave_ms * NS_PER_MS && lag_ns <= 60 * NS_PER_MS);
    }
}

int main(void)
{
    contents_as_a_list(REPAIR_ARENA_MIN, 1500, 0);
    contents_as_a_list(REPAIR_ARENA_MIN, 1500, 40);
    contents_as_a_list(REPAIR_ARENA_MIN, 60, 45);
    contents_as_a_list(1 << 20, 100, 0);
    contents_as_a_list(1 << 20, 2000, 55);
    deadlines();
    waits();
    puts("all hold");
    return 0;
}
