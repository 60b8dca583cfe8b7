"""Shows that the tests notice bugs: `python -m tests.native.planted [NAME...]`; five minutes for all.

Each mutant is one change of native/ in a copy, whose extension is put in the way of the real one; then the
suite must go red, or for those of planted_sim.py the simulator. A text that is no longer there, or there more
than once, is an error: the list follows the code. Tests that fail without any change are left out and named.
Exit code 1 when a mutant survives.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from oxidized.ffi.build import ROOT, make_builder, sources
from tests.native import planted_lz, planted_rlc, planted_sim
from tests.native.mutant import Mutant
from tests.native.planted_flows import FLOWS
from tests.native.planted_headers import HEADERS
from tests.native.planted_oracle import MUTANTS as ORACLE_MUTANTS
from tests.native.planted_order import ORDER
from tests.native.planted_packing import PACKING
from tests.native.planted_repair import REPAIR

TESTS = (
    "tests/unit/native",
    "tests/native/test_aead_library.py",
    "tests/golden",
    "tests/native/test_headers.py",
    "tests/robustness",
    "tests/differential",
    "tests/property",
)
LIMIT_S = 240
FLAGS = ("-std=c11", "-D_GNU_SOURCE", "-O1", "-fPIC", "-w", "-DPy_LIMITED_API=0x030b0000")


MUTANTS = (
    Mutant(
        "no replay check before opening",
        "core/wire.c",
        "switch (replay_check(seen, p->pn))",
        "switch (REPLAY_NEW)",
    ),
    Mutant(
        "no replay check after opening",
        "core/seal.c",
        "if (verdict != REPLAY_NEW)",
        "if (verdict == REPLAY_OLD)",
    ),
    Mutant("window not cleared on a jump", "core/replay.h", "i < clear; i++", "i + 1 < clear; i++"),
    Mutant(
        "window one too wide",
        "core/replay.h",
        "r->next - pn > REPLAY_WINDOW",
        "r->next - pn > REPLAY_WINDOW + 1",
    ),
    Mutant(
        "window marked before opening",
        "core/wire.c",
        "    return DROP_COUNT;\n}\n\nvoid wire_batch",
        "    replay_mark((replay *)seen, p->pn);\n    return DROP_COUNT;\n}\n\nvoid wire_batch",
    ),
    Mutant(
        "number not spent",
        "core/seal.c",
        ".next_pn++;",
        ".next_pn;\n    s->paths[p->path].next_pn += p->inner_bytes != 0;",
    ),
    Mutant("nonce without the path", "core/aead.c", "store_be32(n.bytes, path)", "store_be32(n.bytes, 0)"),
    Mutant(
        "header not authenticated",
        "core/seal.c",
        "aead_open(&k->rx, &n, header, HEADER_BYTES,",
        "aead_open(&k->rx, &n, header, 0,",
    ),
    Mutant(
        "tag not checked",
        "core/aead_openssl.c",
        "EVP_CipherFinal_ex(ctx, none, &out) == 1",
        "(EVP_CipherFinal_ex(ctx, none, &out), true)",
    ),
    Mutant(
        "tag not checked by the other library",
        "core/aead_ipsec_mb.c",
        "tags_are_equal(tag, data + len);",
        "true;",
    ),
    Mutant("tag checked but for its end", "core/aead_ipsec_mb.c", "i < TAG_BYTES", "i + 1 < TAG_BYTES"),
    Mutant("the wish for a library not heard", "io/crypto.c", "wanted != OXI_AEAD_OPENSSL &&", "true &&"),
    Mutant(
        "number expanded from the largest",
        "core/wire.c",
        "pn_expand(seen->next, h.pn_low)",
        "pn_expand(seen->next & ~0xffffffffULL, h.pn_low)",
    ),
    Mutant("phase is the epoch's low bit", "core/seal.c", "send_epoch % OXI_EPOCHS", "send_epoch % 2"),
    Mutant("third epoch keeps the first", "core/session.c", "if (epoch >= 2)", "if (epoch >= 200)"),
    Mutant(
        "epochs may be skipped", "core/session.c", "epoch != s->newest_epoch + 1", "epoch <= s->newest_epoch"
    ),
    Mutant("key never worn by packets", "core/seal.c", "k->tx_packets >= d->conf.key_packets_max", "false"),
    Mutant("key never worn by age", "core/seal.c", "now_ns - k->made_ns > d->conf.key_age_ns_max", "false"),
    Mutant(
        "one packet too many under a key",
        "core/seal.c",
        "k->tx_packets >= d->conf",
        "k->tx_packets > d->conf",
    ),
    Mutant(
        "rekey asked for again and again",
        "core/seal.c",
        "k->tx_packets == d->conf.rekey_packets",
        "k->tx_packets >= d->conf.rekey_packets",
    ),
    Mutant("old session closed at once", "core/peer.c", "now_ns + SESSION_GRACE_NS", "now_ns"),
    Mutant("old session never closed", "core/liveness.c", "pr->before->expires_ns <= now_ns", "false"),
    Mutant("carrier not bound to its peer", "core/wire.c", "&& s->peer != p->peer)", "&& s->peer > 4096)"),
    Mutant("wrong source accepted", "core/route.c", "!= (int32_t)p->peer)", "< 0)"),
    Mutant(
        "route of the shortest prefix",
        "core/allowed_ips.c",
        "if (n->peer >= 0)\n            found = n->peer;",
        "if (n->peer >= 0 && found < 0)\n            found = n->peer;",
    ),
    Mutant(
        "default route ignored",
        "core/allowed_ips.c",
        "if (n->bits == width)\n            break;",
        "if (n->bits == width || n->bits == 0)\n            break;",
    ),
    Mutant(
        "same prefix twice", "core/allowed_ips.c", "if (n->peer >= 0)\n                return OXI_E_ARG;", ""
    ),
    Mutant(
        "routes changed though refused",
        "core/peer.c",
        "    routes_clear(t);\n",
        "    routes_clear(t);\n    d->routes_live = spare;\n",
    ),
    Mutant(
        "overhead not counted", "core/sched.c", "(uint32_t)p->len + OXI_OVERHEAD_BYTES", "(uint32_t)p->len"
    ),
    Mutant("tunnel's own limit ignored", "core/sched.c", "p->len > d->conf.mtu_bytes || ", ""),
    Mutant("total length not compared", "core/ip.c", " || total != len)", ")"),
    Mutant("header length not compared", "core/ip.c", "header < 20 || header > total", "header < 20"),
    Mutant(
        "checksum not mended after a mark",
        "core/ip.c",
        "checksum_fix(load_be16(data + 10), before, load_be16(data))",
        "load_be16(data + 10)",
    ),
    Mutant("segment size raised", "core/mss.c", "    if (before <= after)\n        return;\n", ""),
    Mutant("segment size of the other family", "core/mss.c", "HEADERS_IPV6 = 60", "HEADERS_IPV6 = 40"),
    Mutant(
        "checksum as if the option were even",
        "core/mss.c",
        "is_odd = at & 1;",
        "is_odd = false;",
    ),
    Mutant(
        "fragments taken for segments",
        "core/mss.c",
        "(load_be16(data + 6) & IPV4_FRAGMENT_MASK) != 0",
        "false",
    ),
    Mutant("every segment a first one", "core/mss.c", "!(data[header + 13] & TCP_SYN)", "false"),
    Mutant("option that runs past the end", "core/mss.c", "option < 2 || i + option > end", "option < 2"),
    Mutant("options past the end", "core/mss.c", "    if (end > len)\n        return false;\n", ""),
    Mutant("answer without DF", "core/too_big.c", "!has_df || ", ""),
    Mutant("answer to an ICMP error", "core/too_big.c", "header && !icmp_is_error(data[header])", "header"),
    Mutant("answer to an ICMPv6 error", "core/too_big.c", "type >= ICMPV6_INFORMATIONAL && ", ""),
    Mutant("answer to a later fragment", "core/too_big.c", "(load_be16(h + 2) & 0xfff8)", "false"),
    Mutant("answer to many", "core/too_big.c", "!ipv4_is_host(data + 12) || ", ""),
    Mutant("answers without end", "core/too_big.c", "    bucket->tokens--;\n", ""),
    Mutant("answers never again", "core/too_big.c", "bucket->tokens + earned", "bucket->tokens"),
    Mutant("answer that is too long", "core/too_big.c", "ERROR_IPV4_MAX = 576", "ERROR_IPV4_MAX = 592"),
    Mutant(
        "answer counted as a packet of the peer",
        "core/emit.c",
        "    if (p->inner_bytes == 0) {\n        COUNT_ADD(d->stats.own_inner_packets, 1);",
        "    if (p->inner_bytes == 9999) {\n        COUNT_ADD(d->stats.own_inner_packets, 1);",
    ),
    Mutant(
        "mark on what can not bear it", "core/ip.c", "p->ecn == ECN_CE && v.ecn == ECN_NOT_ECT)", "false)"
    ),
    Mutant("mark not copied out", "core/ip.c", "        p->ecn = v.ecn;\n", ""),
    Mutant(
        "roams on old packets",
        "core/liveness.c",
        "if (!p->is_newest || p->keeps_addr",
        "if (p->keeps_addr",
    ),
    Mutant("roams on probes", "core/liveness.c", "p->keeps_addr || ", ""),
    Mutant("roams by the old session", "core/liveness.c", "p->session != pr->current || ", ""),
    Mutant(
        "edge follows to the carrier",
        "core/liveness.c",
        "if (pr->is_initiator && is_carrier !=",
        "if (pr->is_initiator && false && is_carrier !=",
    ),
    Mutant(
        "silent hub goes on asking",
        "core/liveness.c",
        "    if (pr->is_silent && !pr->is_initiator)\n        return;\n",
        "",
    ),
    Mutant(
        "silence told too late",
        "core/liveness.c",
        "waited >= pr->dead_after_ns",
        "waited > pr->dead_after_ns + 1000",
    ),
    Mutant("hearing does not end silence", "core/liveness.c", "    pr->is_silent = false;\n", ""),
    Mutant("no keepalive", "core/liveness.c", "if (pr->keepalive_ns == 0 ||", "if (true ||"),
    Mutant("two PONGs per datagram", "core/frames.c", "first == FRAME_PING && has_answered", "false"),
    Mutant("PONG to the path's address", "core/frames.c", "p->path, &p->addr, pong", "p->path, NULL, pong"),
    Mutant("ACK of unsent packets taken", "core/ack.c", "largest >= sp->next_pn || ", ""),
    Mutant("ACK of more than there are taken", "core/ack.c", "missing > largest || ", ""),
    Mutant("ACK ranges below zero taken", "core/ack.c", "if (gap + more > below)", "if (false)"),
    Mutant("ACK at once", "core/ack.c", "sp->ack_from_ns + ack_delay(d, s, path_id)", "sp->ack_from_ns"),
    Mutant("sparse ACKs at any time", "core/ack.c", " && sp->opened > ACK_SPARSE_AFTER", ""),
    Mutant("loss waits with its ACK", "core/ack.c", "is_sparse && !sp->ack_is_urgent", "is_sparse"),
    Mutant("urgency never ends", "core/ack.c", "    sp->ack_is_urgent = false;\n", ""),
    Mutant("waiting bytes never acknowledged", "core/ack.c", "    sp->unacked_bytes = 0;\n", ""),
    Mutant(
        "ACK lists one gap too short",
        "core/ack.c",
        "write_varint(w, gap - 1);",
        "write_varint(w, gap > 1 ? gap - 2 : 0);",
    ),
    Mutant(
        "ACK tells a time for late packets",
        "core/ack.c",
        "if (p->is_newest)\n        sp->arrivals",
        "sp->arrivals",
    ),
    Mutant("ACK rides where it does not fit", "core/ack.c", "+ ACK_RIDE_MAX > payload_max", "> payload_max"),
    Mutant(
        "ACK delay in nanoseconds",
        "core/ack.c",
        "(now_ns - sp->largest_ns) / ACK_DELAY_UNIT_NS",
        "(now_ns - sp->largest_ns)",
    ),
    Mutant(
        "loss is what is missing now",
        "core/ack.c",
        "least = min_u64(least, i < sp->missing_count",
        "least = min_u64(sent - received, i < sp->missing_count",
    ),
    Mutant(
        "padding ends the frames",
        "core/frames.c",
        "        if (first == FRAME_PADDING)\n            continue;",
        "        if (first == FRAME_PADDING)\n            return DROP_BAD_FRAME;",
    ),
    Mutant(
        "QUIC inside the carrier",
        "core/wire.c",
        "(first & 0x40) && p->addr.family != OXI_AF_CARRIER",
        "(first & 0x40)",
    ),
    Mutant(
        "a buffer is lost per full ring",
        "core/wire.c",
        "        drop(d, p, OXI_DIR_IN_DATAGRAM, DROP_CONTROL_FULL);\n",
        "        COUNT_ADD(d->stats.drops[OXI_DIR_IN_DATAGRAM][DROP_CONTROL_FULL], 1);\n",
    ),
    Mutant(
        "held packets forgotten",
        "core/emit.c",
        "        COUNT_ADD(d->stats.inner_held_packets, -(uint64_t)p->inner_packets);\n",
        "",
    ),
    Mutant(
        "stop forgets the outbox",
        "io/loop.c",
        "        drop_out(d, p, DROP_STOPPED);",
        "        pool_give(&d->pool, p);",
    ),
    Mutant("carried packets wait for a datagram", "io/loop.c", "    tun_write(o);\n    for", "    for"),
    Mutant("our own address not kept", "io/udp.c", "memcpy(&info.ipi_spec_dst, p->addr.local, 4);", ""),
    Mutant("truncated datagrams taken", "io/udp.c", "if (h->msg_flags & MSG_TRUNC) {", "if (false) {"),
    Mutant("no notice to Python", "io/loop.c", "        eventfd_signal(o->notify_fd);\n", ""),
    Mutant("later segments keep CWR", "core/split.c", "tcp[13] & ~TCP_CWR", "tcp[13] & ~0"),
    Mutant("all segments keep PSH and FIN", "core/split.c", "tcp[13] & ~(TCP_FIN | TCP_PSH)", "tcp[13] & ~0"),
    Mutant(
        "number of the segment not advanced",
        "core/split.c",
        "load_be32(tcp + 4) + s->at",
        "load_be32(tcp + 4)",
    ),
    Mutant(
        "ID of the segment not advanced",
        "core/split.c",
        "load_be16(out + 4) + s->count",
        "load_be16(out + 4)",
    ),
    Mutant("sum of zero left in UDP", "core/split.c", "folded == 0 && is_udp ?", "false ?"),
    Mutant("sum of zero left to be finished", "core/split.c", "sum ? sum : 0xffff", "sum"),
    Mutant("checksum beyond the packet", "core/split.c", "(how->needs_csum && !csum_fits(s))", "false"),
    Mutant("segments of fragments", "core/split.c", " || v.is_fragment)", ")"),
    Mutant("super-packet of headers alone", "core/split.c", " && s->len > s->header_bytes", ""),
    Mutant(
        "push does not close",
        "core/merge.c",
        "return is_push || payload_bytes(p) < segment_bytes;",
        "(void)is_push; return payload_bytes(p) < segment_bytes;",
    ),
    Mutant(
        "shorter segment does not close",
        "core/merge.c",
        "return is_push || payload_bytes(p) < segment_bytes;",
        "(void)segment_bytes; return is_push;",
    ),
    Mutant("longer segment joins", "core/merge.c", "|| payload > c->segment_bytes ||", "||"),
    Mutant(
        "window not compared",
        "core/merge.c",
        "load_be16(head + 14) == load_be16(next + 14) &&",
        "true &&",
    ),
    Mutant(
        "urgent pointer not compared",
        "core/merge.c",
        "load_be16(head + 18) == load_be16(next + 18) &&",
        "true &&",
    ),
    Mutant(
        "acknowledgement not compared", "core/merge.c", "load_be32(next + 8) == load_be32(head + 8) && ", ""
    ),
    Mutant(
        "options not compared",
        "core/merge.c",
        "memcmp(head + TCP_HEADER, next + TCP_HEADER, bytes - TCP_HEADER) == 0",
        "bytes > 0",
    ),
    Mutant("hop limit not compared", "core/merge.c", " && head[7] == next[7]", ""),
    Mutant(
        "ID of what may be fragmented ignored",
        "core/merge.c",
        "return is_df || step == count;",
        "return true;",
    ),
    Mutant(
        "checksum not verified before joining",
        "core/merge.c",
        "return sum_fold(sum_add(sum, data + ip_bytes, l4_len)) == 0xffff;",
        "return sum_fold(sum_add(sum, data + ip_bytes, l4_len)) != 1;",
    ),
    Mutant(
        "header checksum not verified before joining",
        "core/merge.c",
        "sum_fold(sum_add(0, data, IPV4_HEADER)) != 0xffff || ",
        "",
    ),
    Mutant(
        "sum of ones joined", "core/merge.c", "+ TCP_CHECKSUM_AT) == 0xffff", "+ TCP_CHECKSUM_AT) == 0xfffe"
    ),
    Mutant("UDP without checksum joined", "core/merge.c", " && load_be16(l4 + UDP_CHECKSUM_AT) != 0;", ";"),
    Mutant("packets of two peers joined", "core/merge.c", "p->peer != head->peer || ", ""),
    Mutant("one segment too many", "core/limits.h", "MERGE_SEGMENTS_MAX = 64", "MERGE_SEGMENTS_MAX = 65"),
    Mutant("one byte too many", "core/limits.h", "MERGE_BYTES_MAX = 65535", "MERGE_BYTES_MAX = 65575"),
    Mutant(
        "two chains in one slot",
        "core/merge.c",
        "    slot_flush(d, slot);\n    p->chain.segment",
        "    p->chain.segment",
    ),
    Mutant(
        "what has no flow overtakes",
        "core/merge.c",
        "        merge_flush(d);\n        inbox_put(d, p);\n        return;",
        "        inbox_put(d, p);\n        return;",
    ),
    Mutant("push lost in joining", "core/merge.c", "& TCP_PSH;\n    *how", "& TCP_FIN;\n    *how"),
    Mutant(
        "length left out of the pseudo header", "core/checksum.h", "sum_be16((uint16_t)l4_bytes) +", "0 +"
    ),
    Mutant("odd byte not summed", "core/checksum.h", "if (len & 1) {", "if (false) {"),
    Mutant("carry lost", "core/checksum.h", "return (uint64_t)low + high;", "return (uint64_t)low;"),
    Mutant("train of two marks", "core/emit.c", " || p->ecn != head->ecn ||", " ||"),
    Mutant("train of two ways", "core/emit.c", "memcmp(&p->addr, &head->addr, sizeof p->addr) != 0", "false"),
    Mutant("longer one in a train", "core/emit.c", "if (p->len > head->len || ", "if ("),
    Mutant(
        "train goes on behind a shorter one",
        "core/emit.c",
        "            return n + 1;\n",
        "            continue;\n",
    ),
    Mutant("train of too many bytes", "core/emit.c", "bytes > TRAIN_BYTES_MAX || ", ""),
    Mutant("train of too many", "core/limits.h", "TRAIN_PKTS_MAX = 64", "TRAIN_PKTS_MAX = 129"),
    Mutant("refused train tried for ever", "io/udp.c", "        o->tx_singles = count;\n", ""),
    Mutant("no trains after a refused one", "io/udp.c", "if (errno == EIO)", "if (errno)"),
    Mutant(
        "last datagram of a train as long as the others",
        "io/udp.c",
        "left < step ? left : step",
        "step",
    ),
    Mutant("train taken for one datagram", "io/udp.c", "t.segment_bytes ? t.segment_bytes : len;", "len;"),
    Mutant(
        "refused super-packet lost",
        "io/tun.c",
        "is_taken = is_whole || packet_write(o, p);",
        "is_taken = is_whole || (!is_chain && packet_write(o, p));",
    ),
    Mutant("refused super-packets tried for ever", "io/tun.c", "++o->refused_supers < REFUSALS_MAX", "true"),
    Mutant(
        "refusals never forgiven",
        "io/tun.c",
        "            o->refused_supers = 0;\n        else",
        "            ;\n        else",
    ),
    Mutant("ECN of a super-packet unknown", "io/tun.c", "gso_type & ~VIRTIO_NET_HDR_GSO_ECN", "gso_type"),
    Mutant("trains never tried", "core/train_watch.c", "        trial_begin(w, lost, of);\n", ""),
    Mutant("silence not noticed", "core/train_watch.c", "now_ns - w->unheard_ns < TRAIN_SILENCE_NS", "true"),
    Mutant(
        "silence counted from long ago",
        "core/train_watch.c",
        "if (w->unheard == 0)",
        "if (w->unheard_ns == 0)",
    ),
    Mutant(
        "any trial blames trains",
        "core/train_watch.c",
        "lost * TRAIN_FAR_BETTER * other_of < other_lost * of",
        "true",
    ),
    Mutant("one short train is enough", "core/train_watch.c", "w->rounds == TRAIN_ROUNDS && alone", "proof"),
    Mutant(
        "proof does not look at the others",
        "core/train_watch.c",
        "is_far_better(singles_lost, singles, w->proof_lost, w->proof_sent)",
        "true",
    ),
    Mutant(
        "proof does not look at the trains",
        "core/train_watch.c",
        "have_arrived = w->proof_lost * 4 < w->proof_sent",
        "have_arrived = false",
    ),
    Mutant(
        "all of a proof's losses are the train's", "core/train_watch.c", "more_than(sent, r->proof)", "sent"
    ),
    Mutant("no rest", "core/train_watch.c", "w->next_pn + w->rest_pns;", "w->next_pn;"),
    Mutant("a trial without end", "core/train_watch.c", "w->unheard >= TRAIN_TRIAL_PNS_MAX", "false"),
    Mutant(
        "trials counted from the trains under way",
        "core/train_watch.c",
        "if (!w->is_based && r->acked >= w->sent_from)",
        "if (!w->is_based)",
    ),
    Mutant(
        "trains leave in a trial",
        "core/train_watch.h",
        "is_first && w->proof_from == w->proof_to ? TRAIN_PROOF_PKTS : 1",
        "true ? TRAIN_PKTS_MAX : 1",
    ),
    Mutant("trains leave again", "core/train_watch.h", " && w->verdict != TRAINS_LOST", ""),
    Mutant("one peer speaks for all", "core/dp.c", "known[TRAINS_LOST] > known[TRAINS_ARRIVE]", "true"),
    Mutant("a new session forgets", "core/train_watch.c", ".verdict = w->verdict, ", ""),
    Mutant(
        "ranges that end above the train", "core/ack.c", "below <= out->from || named == seen", "true"
    ),
    Mutant("shell forgets what left in trains", "io/udp.c", "o->tx.counts[i] > 1", "false"),
    Mutant(
        "reads on while another worker is behind",
        "core/handover.h",
        "if (w != h->worker && ring_room(&h->to[w]) < HANDOVER_ROOM_MIN + waiting)",
        "if (false)",
    ),
    Mutant("room but not for the batch", "core/handover.h", "HANDOVER_ROOM_MIN + waiting", "32u"),
    Mutant(
        "any stride will do",
        "boundary_packets.c",
        "!h || !buf || !len || !to || stride < OXI_DATAGRAM_MAX",
        "!h || !buf || !len || !to",
    ),
    Mutant("any batch size will do", "boundary_packets.c", "c->count > OXI_BATCH_MAX)", "c->count > 4096)"),
    *(Mutant(*row) for row in planted_lz.ROWS),
    *(Mutant(*row) for row in planted_rlc.ROWS),
    *ORACLE_MUTANTS,
    *PACKING,
    *REPAIR,
    *ORDER,
    *FLOWS,
    *(Mutant(*planted) for planted in HEADERS),
    *planted_sim.MUTANTS,
)


def compile_one(source: Path, native: Path, target: Path) -> None:
    includes = [f"-I{native / 'include'}", f"-I{sysconfig.get_path('include')}"]
    subprocess.run(["gcc", *FLAGS, *includes, "-c", str(source), "-o", str(target)], check=True)


class Workshop:
    """A copy of native/ with its objects, from which extensions are linked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.native = folder / "native"
        subprocess.run(["cp", "-r", str(ROOT / "native"), str(self.native)], check=True)
        glue = folder / "glue.c"
        make_builder(False).emit_c_code(str(glue))
        self.objects: dict[str, Path] = {}
        for name in sources():
            self.objects[name] = folder / (name.replace("/", "_") + ".o")
            compile_one(folder / name, self.native, self.objects[name])
        self.glue = folder / "glue.o"
        compile_one(glue, self.native, self.glue)

    def link(self, name: str, changed: Mutant | None) -> Path:
        """Builds the extension, with one change or none; returns the folder that holds it."""
        objects = dict(self.objects)
        if changed:
            objects |= self.changed_objects(changed)
        place = self.folder / name
        place.mkdir()
        libraries = ["-lcrypto", "-llz4", "-lpthread", "-ldl", "-o", str(place / "_oxi.abi3.so")]
        subprocess.run(
            ["gcc", "-shared", str(self.glue), *map(str, objects.values()), *libraries], check=True
        )
        return place

    def changed_objects(self, mutant: Mutant) -> dict[str, Path]:
        """The objects of the changed file; of all files when it is a header."""
        path = self.native / mutant.file
        text = path.read_text(encoding="utf-8")
        if text.count(mutant.old) != 1:
            raise SystemExit(
                f"{mutant.name}: found {text.count(mutant.old)} times in native/{mutant.file}: {mutant.old}"
            )
        path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
        is_header = path.suffix == ".h"
        names = [name for name in self.objects if is_header or name == f"native/{mutant.file}"]
        made = {name: self.folder / f"changed_{number}.o" for number, name in enumerate(names)}
        for name, target in made.items():
            compile_one(self.folder / name, self.native, target)
        path.write_text(text, encoding="utf-8")
        return made


def run_tests(extension: Path, *options: str, tests: tuple[str, ...] = TESTS) -> list[str] | None:
    """The tests that fail with this extension; None: it hangs or dies."""
    environment = {**os.environ, "OXI_SANITIZED": str(extension), "CI": "true"}
    command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "--assert=plain", *options, *tests]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LIMIT_S
        )
    except subprocess.TimeoutExpired:
        return None
    if done.returncode not in (0, 1):
        return None
    return re.findall(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", done.stdout, re.M)


def main(wanted: list[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="oxi-planted-") as folder:
        shop = Workshop(Path(folder))
        red_before = run_tests(shop.link("unchanged", None))
        if red_before is None:
            raise SystemExit("the tests die without any change")
        for test in red_before:
            print(f"left out, red without any change: {test}", flush=True)
        left_out = [f"--deselect={test}" for test in red_before]
        survivors = []
        for number, mutant in enumerate(MUTANTS):
            if wanted and mutant.name not in wanted:
                continue
            tests = planted_sim.TESTS if mutant in planted_sim.MUTANTS else TESTS
            found = run_tests(shop.link(f"mutant{number}", mutant), "-x", *left_out, tests=tests)
            if found == []:
                survivors.append(mutant.name)
            print(
                f"{mutant.name}: {'survives' if found == [] else found[0] if found else 'dies or hangs'}",
                flush=True,
            )
    print(f"{len(survivors)} survive: {survivors}" if survivors else "all found")
    return 1 if survivors else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
