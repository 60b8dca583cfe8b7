/* contents.c - see contents.h. */
#include "contents.h"

static kept_content *slot_of(const contents *s, uint64_t id) { return &s->slots[id % CONTENTS_MAX]; }

kept_content *contents_crowded(contents *s, uint32_t padded)
{
    OXI_ASSERT(padded <= s->bytes);
    uint64_t end = arena_place(s->head_at, s->bytes, padded) + padded;
    while (s->tail < s->head) {
        kept_content *oldest = slot_of(s, s->tail);
        bool has_room = s->head - s->tail < CONTENTS_MAX && end <= oldest->at + s->bytes;
        if (oldest->is_live)
            return has_room ? NULL : oldest;
        s->tail++;
    }
    return NULL;
}

kept_content *content_add(contents *s, const kept_content *like, const uint8_t *data, uint32_t len)
{
    uint32_t padded = content_padded(len);
    uint64_t at = arena_place(s->head_at, s->bytes, padded);
    OXI_ASSERT(s->head - s->tail < CONTENTS_MAX);
    OXI_ASSERT(s->tail == s->head || at + padded <= slot_of(s, s->tail)->at + s->bytes);
    kept_content *c = slot_of(s, s->head++);
    *c = *like;
    c->at = at;
    c->len = (uint16_t)len;
    c->is_live = true;
    s->head_at = at + padded;
    symbol_write(content_symbol(s, c), (uint16_t)c->first_pn, data, len);
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
