"""Planted bugs of the compression oracle; `planted.py` runs them."""

from __future__ import annotations

from tests.native.mutant import Mutant

MUTANTS = (
    Mutant(
        "pressed without permission",
        "core/oracle.c",
        "if (!p->is_allowed || p->payload_at",
        "if (p->payload_at",
    ),
    Mutant("short payload looked at", "core/oracle.c", "< ORACLE_PAYLOAD_MIN)", "< ORACLE_PAYLOAD_MIN - 1)"),
    Mutant(
        "a verdict lives one packet too long", "core/oracle.c", ".left = (uint16_t)(left - 1)", ".left = left"
    ),
    Mutant("a verdict lives for ever", "core/oracle.c", "    f->left--;\n", ""),
    Mutant(
        "a flow is not told apart from another",
        "core/oracle.c",
        "if (f->tag != tag || f->left",
        "if (f->left",
    ),
    Mutant("peers share their flows", "core/oracle.c", "(uint64_t)p->peer << 32", "0"),
    Mutant(
        "large and small packets share a verdict",
        "core/oracle.c",
        "(uint64_t)(p->len >= ORACLE_TRAIN_BYTES_MIN) << 8",
        "0",
    ),
    Mutant("IPv6 source by half", "core/oracle.c", "uint32_t at = 8; is_v6", "uint32_t at = 16; is_v6"),
    Mutant("ports of fragments", "core/oracle.c", "&& !is_part && p->len", "&& p->len"),
    Mutant("ports not looked at", "core/oracle.c", "p->len >= ip_bytes + 4)", "p->len >= ip_bytes + 4000)"),
    Mutant("seed of no use", "core/oracle.c", "mix(o->seed, about)", "mix(0, about)"),
    Mutant("flows not forgotten", "core/oracle.c", "    memset(o->flows, 0, sizeof o->flows);\n", ""),
    Mutant("old tickets teach", "core/oracle.c", "if (f->tag != ticket->tag ||", "if (0 ||"),
    Mutant("a given-up flow goes on learning", "core/oracle.c", "|| !is_pressed(f->verdict))", "|| 0)"),
    Mutant("one failure is forgiven at a look", "core/oracle.c", "ORACLE_MISSES_MAX - 1 : 0;", "0 : 0;"),
    Mutant(
        "success forgives nothing",
        "core/oracle.c",
        "has_saved ? 0 : (uint8_t)",
        "has_saved ? f->misses : (uint8_t)",
    ),
    Mutant("given up for ever", "core/oracle.c", "f->left = ORACLE_SKIPPED_PKTS;", "f->left = 60000;"),
    Mutant(
        "large packets given up go without header compression, small ones too",
        "core/oracle.c",
        "f->verdict = (uint8_t)ticket->bare;",
        "f->verdict = ORACLE_SKIP;",
    ),
    Mutant("the least score wins", "core/oracle.c", "scores[v] > scores[best]", "scores[v] < scores[best]"),
    Mutant(
        "the net decides about trains",
        "core/oracle.c",
        "is_pressed(best) ? (oracle_verdict)best : verdict_bare(len)",
        "(oracle_verdict)best",
    ),
    Mutant("no ReLU", "core/oracle.c", "hidden[k][h] > 0 ? hidden[k][h] : 0", "hidden[k][h]"),
    Mutant(
        "NaN is sound", "core/oracle.c", "weights[i] >= -1e4f && weights[i] <= 1e4f", "!(weights[i] > 1e4f)"
    ),
    Mutant("no urgency from IPv6", "core/oracle.c", "(uint8_t)(load_be16(p->data) >> 4)", "0"),
    Mutant("the heuristic heeds no magic", "core/oracle.c", "features[ORACLE_MAGIC] > 0 ||", "0 ||"),
    Mutant(
        "two samples meet twice",
        "core/oracle_features.c",
        "j < VECTORS / 2; j++) { /* at",
        "j < VECTORS; j++) { /* at",
    ),
    Mutant(
        "a distance is left out",
        "core/oracle_features.c",
        "for (uint32_t k = 1; k < HALF; k++) {",
        "for (uint32_t k = 2; k < HALF; k++) {",
    ),
    Mutant("top three", "core/oracle_features.c", "round < 4", "round < 3"),
    Mutant(
        "top three of short ones",
        "core/oracle_features.c",
        "reached[rank] < 4 ? reached[rank] : 4",
        "reached[rank] < 3 ? reached[rank] : 3",
    ),
    Mutant(
        "64 bytes are long",
        "core/oracle_features.c",
        "payload_bytes > ORACLE_SAMPLES)",
        "payload_bytes >= ORACLE_SAMPLES)",
    ),
    Mutant(
        "DEL is printable", "core/oracle_features.c", "(lanes)(b - 0x20) < 0x5f)", "(lanes)(b - 0x20) < 0x60)"
    ),
    Mutant(
        "QUIC by source port alone", "core/oracle_features.c", "|| load_be16(ports + 2) == HTTPS_PORT", ""
    ),
    Mutant("a fragment has ports", "core/oracle_features.c", "|| l4.is_fragment)", ")"),
    Mutant(
        "TLS 1.3 alone",
        "core/oracle_features.c",
        "head >= WORD(0, 0x17, 3, 0)",
        "head >= WORD(0, 0x17, 3, 4)",
    ),
    Mutant("any saving is worth it", "core/oracle.h", "saved_bytes >= saved_min &&", "saved_bytes > 0 &&"),
)
