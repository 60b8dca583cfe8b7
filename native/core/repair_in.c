/* repair_in.c - on the way in: each content once, whichever of its datagrams comes first. */
#include "bytes.h"
#include "frames.h"
#include "stages.h"

drop_reason content_claim(dp *d, session *s, uint32_t path_id, uint64_t pn, bool *is_known)
{
    session_path *sp = &s->paths[path_id];
    if (pn >= sp->rx.next)
        return DROP_BAD_REPAIR;
    replay_verdict verdict = replay_check(&sp->rx, pn);
    *is_known = verdict == REPLAY_SEEN;
    if (verdict == REPLAY_OLD)
        return DROP_TOO_OLD;
    if (verdict == REPLAY_NEW) {
        replay_mark(&sp->rx, pn);
        sp->repaired++;
        order_resolved(d, s, path_id, pn);
    }
    return DROP_COUNT;
}

static drop_reason repeat_take(dp *d, pkt *p, reader *r)
{
    uint32_t path_id;
    uint64_t pn;
    if (!repeat_read(p->session, p, r, &path_id, &pn) || reader_left(r) == 0 || !frame_is_last(*r->at))
        return DROP_BAD_REPAIR;
    COUNT_ADD(d->repair.stats.repeats_in, 1);
    p->is_repeat = 1;
    p->content_path = (uint8_t)path_id;
    p->content_pn = pn;
    return DROP_COUNT;
}

static drop_reason abandon_take(dp *d, const pkt *p, reader *r)
{
    uint32_t path_id;
    abandoned a;
    if (!abandon_read(r, &path_id, &a) || a.pns[0] >= p->session->paths[path_id].rx.next)
        return DROP_BAD_REPAIR;
    COUNT_ADD(d->repair.stats.abandoned_in, a.count);
    for (uint32_t i = 0; i < a.count; i++)
        order_resolved(d, p->session, path_id, a.pns[i]);
    return DROP_COUNT;
}

/* Behind the type. */
drop_reason repair_frame_take(dp *d, pkt *p, uint8_t first, reader *r, uint64_t now_ns)
{
    p->session->is_repaired = true;
    if (first == FRAME_PROMPT) {
        p->is_prompt = 1;
        return DROP_COUNT;
    }
    if (first == FRAME_REPEAT)
        return repeat_take(d, p, r);
    if (first == FRAME_ABANDON)
        return abandon_take(d, p, r);
    if (frame_is_code(first)) {
        p->elicits = 1;
        return code_take(d, p, first, r, now_ns);
    }
    return source_read(first, r, p) ? DROP_COUNT : DROP_BAD_FRAME;
}

bool content_arrived(dp *d, pkt *p, drop_reason *why)
{
    if (p->is_repeat) {
        bool is_known = false;
        *why = content_claim(d, p->session, p->content_path, p->content_pn, &is_known);
        if (*why != DROP_COUNT)
            return false;
        COUNT_ADD(d->repair.stats.known_in, is_known);
        COUNT_ADD(d->repair.stats.restored_in, !is_known);
        if (is_known)
            return false;
    }
    if (p->is_source)
        source_arrived(d, p);
    return true;
}
