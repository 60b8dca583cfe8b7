"""The planted bugs of header compression, for planted.py: name, file below native/, the text, its change."""

from __future__ import annotations

HEADERS = (
    (
        "reference not acknowledged",
        "core/hdr_context.c",
        "if (k->state != CANDIDATE_ACKED || (uint16_t)(c->newest",
        "if (k->state == CANDIDATE_NONE || (uint16_t)(c->newest",
    ),
    (
        "reference of a later packet",
        "core/hdr_context.c",
        "k->path != path || k->pn >= pn)",
        "k->path != path)",
    ),
    (
        "reference of another path",
        "core/hdr_context.c",
        "k->path != path || k->pn >= pn)",
        "k->pn >= pn)",
    ),
    (
        "numbers begin anew with a flow",
        "core/hdr_context.c",
        "    c->newest = newest;\n",
        "    c->newest = 0;\n    (void)newest;\n",
    ),
    (
        "candidates kept too short",
        "core/hdr_state.h",
        "HDR_KEPT = 6,",
        "HDR_KEPT = 2,",
    ),
    (
        "a late set-up takes over",
        "core/hdr.c",
        "if (c->is_used && !is_newer_flow(c, x, number))",
        "if (c->is_used && false && !is_newer_flow(c, x, number))",
    ),
    (
        "a live flow gives way",
        "core/hdr_context.c",
        "if (!is_idle(tx, i, HDR_ESTABLISHED_IDLE))",
        "if (!is_idle(tx, i, 1))",
    ),
    (
        "a new flow gives way at once",
        "core/hdr_context.c",
        "if (!is_idle(tx, i, (uint64_t)HDR_PROBATION_TABLES * tx->flows)) {",
        "if (!is_idle(tx, i, 1)) {",
    ),
    (
        "checksum elided unseen",
        "core/hdr_chain.c",
        "is_there == right ? SUM_COMPUTED",
        "is_there || right ? SUM_COMPUTED",
    ),
    (
        "twins of zero alike",
        "core/hdr_chain.c",
        "h->now.sum_mode = is_there == right ?",
        "h->now.sum_mode = is_there % 0xffff == right % 0xffff ?",
    ),
    (
        "header checksum inferred unseen",
        "core/hdr_chain.c",
        "return (uint16_t)~sum_fold(sum) == (uint16_t)sum_be16(load_be16(p + 10)) ? bytes : 0;",
        "return sum ? bytes : 0;",
    ),
    (
        "length of UDP inferred unseen",
        "core/hdr_chain.c",
        "if (left < UDP_HEADER || load_be16(p + 4) != left)",
        "if (left < UDP_HEADER)",
    ),
    (
        "length of IPv6 inferred unseen",
        "core/hdr_chain.c",
        "p[0] >> 4 == 6 && load_be16(p + 4) == left - IPV6_HEADER;",
        "p[0] >> 4 == 6;",
    ),
    (
        "fragment with a transport",
        "core/hdr_chain.c",
        "protocol = s->is_fragment ? PROTOCOL_NONE : protocol == PROTOCOL_IPV4 ? p[9] : p[6];",
        "protocol = protocol == PROTOCOL_IPV4 ? p[9] : p[6];",
    ),
    (
        "restored beyond its room",
        "core/hdr_chain.c",
        "if (total > IP_BYTES_MAX || total > cap)",
        "if (total > IP_BYTES_MAX)",
    ),
    (
        "marker kept",
        "core/hdr_udp_rtp.c",
        "d->own = once->marker ? R_LONG | R_MARKER : 0;",
        "d->own = 0;",
    ),
    (
        "SACK without its padding",
        "core/hdr_tcp.c",
        "bytes == left && nops >= 2;",
        "bytes == left && i >= TCP_HEADER + 2;",
    ),
    ("PSH of the reference", "core/hdr_tcp.c", "(mask & T_PSH ? TCP_PSH : 0)", "(ref->flags & TCP_PSH)"),
    (
        "paths as if one",
        "core/hdr_context.c",
        "        paths++;\n",
        "        paths = 1;\n",
    ),
    (
        "no set-up against what never ends",
        "core/hdr.c",
        "c->packets - c->setup_at >= HDR_REFRESH_PACKETS ||",
        "",
    ),
    (
        "distance of a biased reference",
        "core/hdr.c",
        "x->distance += (uint32_t)x->ref->f.bias * HDR_BIAS_UNIT;",
        "x->distance += (uint32_t)x->ref->f.bias * HDR_BIAS_UNIT + (x->ref->f.bias > 0);",
    ),
    (
        "no candidate without room",
        "core/hdr.c",
        "    if (x->ahead)\n",
        "    if (x->ahead && cap)\n",
    ),
    (
        "a refused candidate forgotten",
        "core/hdr_context.c",
        "    c->failed_next[slot] = pn + 1;\n",
        "",
    ),
    (
        "overtaken candidate taken",
        "core/hdr_context.c",
        "has_later(c, k, acked) ? CANDIDATE_NONE : CANDIDATE_ACKED",
        "CANDIDATE_ACKED",
    ),
    (
        "stuck with lost candidates",
        "core/hdr.c",
        "HDR_REFRESH_PACKETS || is_stuck(&k);",
        "HDR_REFRESH_PACKETS;",
    ),
)
