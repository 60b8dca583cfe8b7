"""Planted bugs of repair; `planted.py` runs them."""

from __future__ import annotations

from tests.native.mutant import Mutant

REPAIR = (
    Mutant(
        "a copy of what has come is delivered, too",
        "core/repair_in.c",
        "        if (is_known)\n            return false;\n",
        "",
    ),
    Mutant(
        "a number that came by a copy is not seen",
        "core/repair_in.c",
        "        replay_mark(&sp->rx, pn);\n",
        "",
    ),
    Mutant(
        "a repetition of itself",
        "core/repair_frames.c",
        "return path_read != datagram->path || *pn < datagram->pn;",
        "return true;",
    ),
    Mutant(
        "copies leave that come too late",
        "core/repair_loss.c",
        "else if (is_timed && k->now_ns > c->leave_ns)",
        "else if (false)",
    ),
    Mutant("repair without a bound", "core/repair_loss.c", "    *budget -= 1000;\n", ""),
    Mutant(
        "only the newest copy can be acknowledged",
        "core/repair_loss.c",
        "if (c->earlier[i] != NO_PN && is_acked",
        "if (false && is_acked",
    ),
    Mutant(
        "what a full queue took is repeated",
        "core/repair_loss.c",
        "else if (!is_timed && is_full_now)",
        "else if (false)",
    ),
    Mutant(
        "any queue overflows when that is foretold",
        "core/repair_out.c",
        " && is_brimful(rp, t);",
        ";",
    ),
    Mutant("given up is told once", "core/repair_loss.c", "        rp->told = k->abandoned;\n", ""),
    Mutant(
        "of calls empty numbers are abandoned",
        "core/repair_loss.c",
        " || k->now_ns > rp->ordered_ns + REPAIR_ORDERED_NS)",
        ")",
    ),
    Mutant(
        "headers are restored under the number of the copy",
        "core/pack.c",
        "            p->pn = p->content_pn;\n",
        "",
    ),
    Mutant(
        "a copy goes where it does not fit",
        "core/repair_loss.c",
        "bool fits = (uint32_t)c->len + OXI_OVERHEAD_BYTES <= k->pa->payload_max;",
        "bool fits = true;",
    ),
    Mutant(
        "acknowledgements of TCP are kept",
        "core/repair_out.c",
        "OXI_AF_CARRIER || p->is_bare)",
        "OXI_AF_CARRIER)",
    ),
    Mutant("nothing is prompt", "core/ack.c", "    if (sp->ack_is_prompt)\n", "    if (false)\n"),
    Mutant(
        "what is acknowledged hides what is lost from a symbol",
        "core/repair_code.c",
        "(next->is_live || class_is_timed(c->traffic_class))",
        "next->is_live",
    ),
    Mutant(
        "the path of a repair without a stream",
        "core/repair_code.c",
        "if (!t || e.newest + 1 < e.frame.count)",
        "if (e.newest + 1 < e.frame.count)",
    ),
    Mutant(
        "a content outlives its last copy",
        "core/repair_loss.c",
        "            c->copies_left = 0;\n        }\n",
        "            continue;\n        }\n",
    ),
)
