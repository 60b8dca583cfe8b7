/* contents.c - see contents.h. */
#include "contents.h"

#include "bytes.h"

static kept_content *slot_of(const contents *s, uint64_t id) { return &s->slots[id % CONTENTS_MAX]; }

/* Where a symbol of so many bytes begins: never broken by the end of the arena. */
static uint64_t place_of(const contents *s, uint32_t padded)
{
    uint64_t left = s->bytes - s->head_at % s->bytes;
    return left >= padded ? s->head_at : s->head_at + left;
}

kept_content *contents_crowded(contents *s, uint32_t padded)
{
    OXI_ASSERT(padded <= s->bytes);
    uint64_t end = place_of(s, padded) + padded;
    while (s->tail < s->head) {
        kept_content *oldest = slot_of(s, s->tail);
        bool has_room = s->head - s->tail < CONTENTS_MAX && end <= oldest->at + s->bytes;
        if (oldest->is_live)
            return has_room ? NULL : oldest;
        s->tail++;
    }
    return NULL;
}

kept_content *content_add(contents *s, uint64_t first_pn, const uint8_t *data, uint32_t len)
{
    uint32_t padded = content_padded(len);
    uint64_t at = place_of(s, padded);
    OXI_ASSERT(s->head - s->tail < CONTENTS_MAX);
    OXI_ASSERT(s->tail == s->head || at + padded <= slot_of(s, s->tail)->at + s->bytes);
    kept_content *c = slot_of(s, s->head++);
    *c = (kept_content){ .at = at, .len = (uint16_t)len, .is_live = true, .first_pn = first_pn };
    s->head_at = at + padded;
    uint8_t *symbol = content_symbol(s, c);
    store_be16(symbol, (uint16_t)first_pn);
    store_be16(symbol + 2, (uint16_t)len);
    memcpy(symbol + CONTENT_HEAD_BYTES, data, len);
    memset(symbol + CONTENT_HEAD_BYTES + len, 0, padded - CONTENT_HEAD_BYTES - len);
    return c;
}

void content_append(contents *s, contents_ends *list, kept_content *c)
{
    uint32_t here = (uint32_t)(c - s->slots) + 1;
    kept_content *last = content_of(s, list->last);
    c->before = list->last;
    c->behind = 0;
    if (last)
        last->behind = here;
    else
        list->first = here;
    list->last = here;
    list->count++;
}

void content_end(contents *s, contents_ends *list, kept_content *c)
{
    OXI_ASSERT(c->is_live && list->count > 0);
    kept_content *before = content_of(s, c->before);
    kept_content *behind = content_of(s, c->behind);
    if (before)
        before->behind = c->behind;
    else
        list->first = c->behind;
    if (behind)
        behind->before = c->before;
    else
        list->last = c->before;
    list->count--;
    c->is_live = false;
}
