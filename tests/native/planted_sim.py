"""Planted bugs that take a network and time to be seen: planted.py runs the simulator for them."""

from __future__ import annotations

from tests.native.mutant import Mutant

TESTS = ("tests/sim/test_sim.py::test_compression_is_strained", "tests/sim/test_sim.py::test_seed")

MUTANTS = (
    Mutant(
        "header that refers to what nobody acknowledged",
        "core/hdr_context.c",
        "        if (is_seen) {\n            lag_follow",
        "        if (true) {\n            lag_follow",
    ),
    Mutant(
        "a lost packet is waited for too long",
        "core/limits.h",
        "#define HOLD_ORDER_NS_MAX (400 * NS_PER_MS)",
        "#define HOLD_ORDER_NS_MAX (700 * NS_PER_MS)",
    ),
    Mutant(
        "calls are repaired when it is too late",
        "core/repair_when.c",
        "        return 150 * NS_PER_MS;",
        "        return 400 * NS_PER_MS;",
    ),
    Mutant(
        "acknowledgement of one too many",
        "core/ack.c",
        "replay_mark_range(s->acked, lowest, lowest + count)",
        "replay_mark_range(s->acked, lowest, lowest + count + 1)",
    ),
    Mutant(
        "acknowledgements that outlive their session",
        "core/peer.c",
        "        pr->acked[i] = (replay){ 0 };\n",
        "",
    ),
    Mutant(
        "acknowledgements of the session before count",
        "core/ack.c",
        "    if (s == pr->current) {\n        out.acked",
        "    {\n        out.acked",
    ),
    Mutant(
        "contexts of the session before to send by",
        "core/compress.c",
        "if (h->tx_index != s->rx_index) {",
        "if (!h->tx) {",
    ),
    Mutant(
        "contexts of the session before to restore by",
        "core/compress.c",
        "if (h->rx_index != s->rx_index) {",
        "if (!h->rx) {",
    ),
    Mutant(
        "late packets of the session before take the contexts",
        "core/compress.c",
        "if (are_of(h, pr->pending) || (s == pr->before && are_of(h, pr->current)))",
        "if (false)",
    ),
    Mutant(
        "a session whose successor nobody uses yet restores nothing",
        "core/compress.c",
        "(s == pr->before && are_of(h, pr->current))",
        "s == pr->before",
    ),
    Mutant(
        "a flow whose candidates are all lost has no new ones",
        "core/hdr.c",
        " || is_stuck(&k);",
        ";",
    ),
    Mutant(
        "what is held stays behind with a worker",
        "core/peer.c",
        "    hold_flush(d, pr, now_ns);\n    repair_forget(d, pr);\n    current_to_before",
        "    repair_forget(d, pr);\n    current_to_before",
    ),
    Mutant("what is held wakes nobody", "core/hold.c", "        wake_at(d, pr, due_ns);\n", ""),
    Mutant(
        "what is held is forgotten after another timer",
        "core/hold.c",
        "        wake_at(d, pr, pr->held_due_ns);\n",
        "        (void)d;\n",
    ),
    Mutant(
        "the wait begins anew with each packet",
        "core/hold.c",
        "if (pr->held_count == 0 || due_ns < pr->held_due_ns) {",
        "{",
    ),
    Mutant(
        "payloads are compressed for who takes none",
        "core/compress.c",
        "bool may_press = s->tx_payload && c->lz != NULL;",
        "bool may_press = c->lz != NULL;",
    ),
)
