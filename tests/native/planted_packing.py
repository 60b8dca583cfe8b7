"""Planted bugs of bundles and waits, for planted.py."""

from __future__ import annotations

from tests.native.mutant import Mutant

PACKING = (
    Mutant(
        "bundle larger than the path",
        "core/pack.c",
        "head->len + begin + more <= content_max(d, head) && ",
        "",
    ),
    Mutant("bundle past its buffer", "core/pack.c", " && has_room_behind(head, more)", ""),
    Mutant(
        "bundle larger than the carrier's datagrams",
        "core/pack.c",
        "p->addr.family == OXI_AF_CARRIER ? (uint32_t)OXI_CONTROL_MAX : d->pool.data_max",
        "d->pool.data_max",
    ),
    Mutant(
        "an old session takes new contexts",
        "core/compress.c",
        "(s == pr->before && are_of(h, pr->current))",
        "false",
    ),
    Mutant("contexts stay when the session changes", "core/peer.c", "    pr->headers.tx_index = 0;\n", ""),
    Mutant("near paths are not left alone", "core/compress.c", "rtt_ns > 0 && rtt_ns <", "false && rtt_ns <"),
    Mutant("bundle of two ECN marks", "core/pack.c", "p->ecn == head->ecn &&", ""),
    Mutant("bundle to two peers", "core/pack.c", "p->session == head->session && ", ""),
    Mutant("bundle for who takes none", "core/pack.c", "p->session->may_bundle && ", ""),
    Mutant("bundle counted as one packet", "core/pack.c", "head->inner_packets + p->inner_packets", "1"),
    Mutant("bundle of large packets", "core/pack.h", "p->len <= BUNDLE_ITEM_MAX", "true"),
    Mutant(
        "length of an item one byte short",
        "core/pack.c",
        "*at = (uint8_t)len;",
        "*at = (uint8_t)(len - 1);",
    ),
    Mutant("bundle in a bundle", "core/pack.c", "!frame_is_item(*item)", "!frame_is_last(*item)"),
    Mutant("frames of our own in a bundle", "core/pack.c", " || !frame_is_item(*item)", ""),
    Mutant(
        "the rest of a full batch lost",
        "core/pack.c",
        "        if (u->is_open)\n            return;\n",
        "        u->is_open = false;\n",
    ),
    Mutant(
        "item without a buffer not counted",
        "core/pack.c",
        "[why == DROP_COUNT ? DROP_POOL_EMPTY : why], 1);",
        "[why == DROP_COUNT ? DROP_POOL_EMPTY : why], why != DROP_COUNT);",
    ),
    Mutant(
        "voice held too long", "core/hold.c", "pr->held_due_ns > now_ns", "pr->held_due_ns + 1000000 > now_ns"
    ),
    Mutant("the last one held sets the time", "core/hold.c", "|| due_ns < pr->held_due_ns", "|| true"),
    Mutant("held packets forgotten with their peer", "core/peer.c", "    hold_end(d, pr);\n", ""),
    Mutant(
        "held without end", "core/hold.c", "pr->held_count == HELD_MAX || pr->held_bytes", "pr->held_bytes"
    ),
    Mutant("buffers run out in hold", "core/hold.c", "d->pool.free_count > d->pool.count / 2", "true"),
    Mutant("small packets pass by", "core/hold.c", "pr->held_count > 0 && pkt_is_small(p)", "false"),
)
