"""Planted bugs of flows and traffic classes; `planted.py` runs them."""

from __future__ import annotations

from tests.native.mutant import Mutant

FLOWS = (
    Mutant("voice by a single packet", "core/traffic_class.h", "RTP_SCORE = 3", "RTP_SCORE = 1"),
    Mutant("voice whatever its numbers", "core/flows.c", " && step >= 1 && step <= RTP_GAP_MAX", ""),
    Mutant("the newest flow gives way", "core/flows.c", ".last_ns < t->slots", ".last_ns > t->slots"),
    Mutant("flows of two peers are one", "core/flows.c", "(uint64_t)p->peer << 1 | 1", "1"),
    Mutant(
        "a class changes at the first sight",
        "core/traffic_class.c",
        "is_sure || v.traffic_class == f->traffic_class || v.traffic_class == f->wished",
        "true",
    ),
    Mutant("rules do not count", "core/traffic_class.c", "v = by_rules(rules, f);", "v = UNKNOWN;"),
    Mutant(
        "a prefix to the byte only", "core/traffic_class.c",
        "rest == 0 || (address[whole] ^ r->ip[whole]) >> (8 - rest) == 0", "true",
    ),
    Mutant("bulk for ever", "core/flows.c", "        f->stretch_bytes = 0;\n", ""),
)  # fmt: skip
