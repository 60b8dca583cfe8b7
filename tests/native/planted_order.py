"""Planted bugs of the order of TCP flows; `planted.py` runs them."""

from __future__ import annotations

from tests.native.mutant import Mutant

ORDER = (
    Mutant(
        "what comes with a repaired packet runs ahead of it",
        "core/order.c",
        "bool is_unsettled = t->holes.changes != t->changes_at &&",
        "bool is_unsettled = false &&",
    ),
    Mutant("all gaps are shown at once", "core/order.c", "    if (f->gap_ns > now_ns) {", "    if (false) {"),
    Mutant(
        "what has waited long enough goes at once",
        "core/order.c",
        "i < overdue && (i < late || is_next(f) || gap_may_show(d, f, b->now_ns));",
        "i < overdue;",
    ),
    Mutant(
        "keystrokes wait", "core/order.c", " && !(payload < ORDER_TINY_BYTES && (s->flags & TCP_PSH))", ""
    ),
    Mutant(
        "others of the flow overtake what waits",
        "core/order.c",
        "return (f->first || h || is_unsettled)",
        "return (h || is_unsettled)",
    ),
    Mutant(
        "what is sent again overtakes what was sent before",
        "core/order.c",
        "if (OXI_UNLIKELY(is_sent_anew(f, p, s.seq)) &&",
        "if (false &&",
    ),
    Mutant(
        "what is sent again waits for what was sent later, too",
        "core/order.c",
        " && p->path == run->path && p->pn > run->pn;",
        ";",
    ),
    Mutant(
        "sequence numbers do not come round",
        "core/order.c",
        "{ return (int32_t)(a - b); }",
        "{ return a < b ? -1 : a > b; }",
    ),
    Mutant(
        "holes of the session before",
        "core/order.c",
        "            holes_clear(hp, &pr->paths[i].holes);\n        pr->rx_serial",
        "            ;\n        pr->rx_serial",
    ),
    Mutant(
        "bytes that wait stay the shell's", "core/order.c", "    if (p->base == p->buf)\n", "    if (true)\n"
    ),
    Mutant("all buffers may wait", "core/order.c", "waiting < pl->count / 2 &&", "waiting < pl->count &&"),
    Mutant("old holes are waited for", "core/holes.c", ".noticed_ms) >= ms_of(age_ns))", ".noticed_ms) < 0)"),
    Mutant(
        "a hole of one number is none",
        "core/holes.c",
        "return first < min_u64(end_of",
        "return first + 1 < min_u64(end_of",
    ),
)
