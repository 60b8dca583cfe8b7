"""The simulator over a few seeds, and tests of the simulator: that it replays, that it sees enough.

OXI_SIM_SEEDS says how many seeds (default 60); `./dev test` runs more through the command line.
"""

from __future__ import annotations

import functools
import io
import os
import random
import struct
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from oxidized.ffi.headers import HEADER_PROFILES
from tests.sim import compression
from tests.sim.clock import NodeClock
from tests.sim.flows import Flow, Flows, checksum
from tests.sim.ledger import Ledger, SimFailure, inner_packet, uid_of
from tests.sim.link import MS, Link, LinkFaults, S
from tests.sim.load import inside
from tests.sim.pcap import PcapWriter
from tests.sim.plan import FAULTS
from tests.sim.regressions import REGRESSIONS
from tests.sim.run import DEFAULT, Options, Verdict, make_plan, run_many, run_seed, tell_failure
from tests.sim.watches import REPLACED, HoldWatch, SessionWatch

ROOT = Path(__file__).resolve().parents[2]
SEEDS = int(os.environ.get("OXI_SIM_SEEDS", "60"))
STRAINED = 24
STRAIN = frozenset({"late", "reorder", "jitter", "burst", "short-loss", "replace", "duplicate", "flood"})
REPLAYED = (3, 8, 19)  # with and without handshakes, with many faults


@functools.cache
def verdict_of(seed: int) -> Verdict:
    """Of the one run of it that several tests look at."""
    return run_seed(seed)


@pytest.mark.parametrize("seed", sorted({*range(SEEDS), *REGRESSIONS}))
def test_seed(seed: int) -> None:
    verdict = verdict_of(seed)
    assert not verdict.failure, tell_failure(verdict, DEFAULT)
    assert verdict.delivered > 0


@pytest.mark.parametrize("seed", range(STRAINED))
def test_compression_is_strained(seed: int) -> None:
    """All that could make the two ends of a context disagree, at once; with planes alone every other time."""
    options = Options(has_handshakes=seed % 2 == 0, always=STRAIN)
    verdict = run_seed(1000 + seed, options)
    assert not verdict.failure, tell_failure(verdict, options)


@pytest.mark.parametrize("seed", REPLAYED)
def test_replays_exactly(seed: int) -> None:
    """Also in another process, with another hash seed."""
    here = verdict_of(seed).digest
    assert here == run_seed(seed).digest
    script = f"from tests.sim.run import run_seed; print(run_seed({seed}).digest)"
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    there = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert there.stdout.split() == [here]


def test_seeds_differ() -> None:
    assert len({verdict_of(seed).digest for seed in (1, 2, 4)}) == 3


def test_every_fault_and_shape_is_drawn() -> None:
    plans = [make_plan(seed)[0] for seed in range(200)]
    assert set().union(*(plan.faults for plan in plans)) == set(FAULTS)
    assert {len(plan.edges) for plan in plans} == {1, 2, 3}
    assert {plan.has_handshakes for plan in plans} == {True, False}
    assert any(not plan.faults for plan in plans)


def test_runs_show_what_they_are_for() -> None:
    """A network that never drops, roams or falls back to QUIC would prove nothing."""
    seen: Counter[str] = Counter()
    for seed in range(40):
        seen.update(verdict_of(seed).seen)
    wanted = {
        "drop receive_datagram forged", "drop receive_datagram replayed", "drop receive_datagram no-session",
        "drop receive_datagram short", "drop receive_datagram not-ours", "drop receive_datagram bad-type",
        "drop receive wrong-source", "drop transmit no-route", "drop transmit bad-ip",
        "drop transmit too-big", "drop transmit pool-empty", "event PeerDown silent", "event PeerDown bye",
        "event Rekeyed", "event Pong", "event Roamed", "event TransportChanged quic as the peer sends",
        "event MtuChanged", "told too big", "control retry-sent", "control replaced",
        "control handshake-timeout", "calls coded", "runs that lost nothing", "compression setups",
        "compression passed_packets", "compression whole_packets tcp", "compression payloads_restored",
        "compression bundled_in_packets", "compression payload_packets syslog",
        "compression payload_packets mqtt", "compression payload_packets http",
        "compression payload_packets none",
        "repair repeats_out", "repair codes_out", "repair repaired_packets",
        "repair vain_packets", "repair too_late_packets",
        "repair congestion_packets", "repair crowded_packets", "repair restored_in", "repair known_in",
        "repair decoded_in", "repair abandoned_in",
        *(f"compression restored_packets {profile}" for profile in HEADER_PROFILES),
    }  # fmt: skip
    assert wanted <= seen.keys(), sorted(wanted - seen.keys())


def test_flows_are_what_they_say() -> None:
    """All kinds, of both address families: whole packets with right checksums, no two alike, named."""
    addresses = {"hub": inside("hub").addresses, "edge1": inside("edge1").addresses}
    seen: set[bytes] = set()
    for seed in range(40):
        flows = Flows(addresses, [("edge1", "hub"), ("hub", "edge1")], random.Random(seed))
        for uid in range(100):
            flow, _ = flows.draw()
            packet = flow.packet(uid)
            is_v6 = packet[0] >> 4 == 6
            length = int.from_bytes(packet[4:6], "big") + 40 if is_v6 else int.from_bytes(packet[2:4], "big")
            assert length == len(packet) and (is_v6 or checksum(packet[:20]) == 0)
            assert uid_of(packet) == (None if flow.kind == "acks" else uid)
            assert packet not in seen
            seen.add(packet)


def test_compression_is_drawn_in_every_shape() -> None:
    drawn = [
        compression.draw(seed, name, boot)
        for seed in range(60)
        for name in ("hub", "edge1")
        for boot in (0, 1)
    ]
    assert {compression.flows_of(each) for each in drawn} == {0, 16, 64, 130}
    assert {each.headers for each in drawn} == {"auto", "all", "off"}
    assert {(each.bundle, each.accept_payload, len(each.rules)) for each in drawn} == {
        (bundle, takes, rules) for bundle in (True, False) for takes in (True, False) for rules in (0, 2, 4)
    }
    assert {ns for each in drawn for ns in compression.holds_of(each)} == set(compression.HOLDS_NS)


def test_a_hold_ends_with_the_bound_of_its_class() -> None:
    flow = Flow("rtp", "edge1", "hub", "10.9.1.1", "10.9.0.1", random.Random(1), is_steady=True)
    call, other = flow.packet(1), inner_packet("10.9.1.1", "10.9.0.1", 2, 60)
    watch = HoldWatch((2 * MS, 0, MS))
    watch.pushed(10 * MS, [call, other, inner_packet("10.9.1.1", "10.9.0.1", 3, 600)])
    assert [watch.may_hold(ns) for ns in (10 * MS, 11 * MS - 1, 11 * MS, 12 * MS - 1, 12 * MS)] == [
        2,
        2,
        1,
        1,
        0,
    ]


def test_who_was_overtaken_and_who_was_replaced() -> None:
    def datagram(index: int, pn: int) -> bytes:
        return struct.pack(">II", index, pn)

    watch = SessionWatch()
    watch.peer(0)
    watch.installed(0, 7, may_send=True)
    watch.installed(0, 9, may_send=True)
    came = [datagram(7, 5), datagram(7, 6), datagram(7, 1), datagram(9, 0), datagram(7, 7), datagram(8, 1)]
    runs = [(len(run), overtaken) for run, overtaken in watch.runs(came, came)]
    assert runs == [(2, 0), (1, 5), (1, 0), (1, REPLACED), (1, 0)]
    assert not watch.all_could_send() and watch.all_could_send()
    watch.dropped(0)
    assert not watch.all_could_send()


def test_no_faults_means_nothing_is_dropped() -> None:
    """Without faults the network is transparent: only what came before the session is missing."""
    verdict = run_seed(1, Options(has_handshakes=False, only=frozenset()))
    assert not verdict.failure
    assert {name for name in verdict.seen if name.startswith("drop")} <= {
        "drop transmit no-session", "drop transmit no-address", "drop transmit too-big",
        "drop transmit pool-empty",
    }  # fmt: skip


def test_failure_tells_how_to_replay() -> None:
    verdict = run_seed(5, Options(only=frozenset({"loss"})))
    told = tell_failure(verdict, Options(has_handshakes=True, only=frozenset({"loss"})))
    assert "python -m tests.sim --seed 5 --handshakes --faults loss" in told


def test_a_process_that_dies_fails_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.sim.run.run_seed", lambda seed, options: os._exit(3) if seed == 2 else None)
    verdicts = []
    run_many([2], 2, DEFAULT, verdicts.append)
    assert [(v.seed, "exit code 3" in v.failure) for v in verdicts] == [(2, True)]


def test_clock_runs_at_its_own_pace() -> None:
    clock = NodeClock(1_000, 5_000, 300)
    for local_ns in (5_000, 5_001, 10**9, 10**15 + 7):
        at_ns = clock.world_ns(local_ns)
        assert clock.local_ns(at_ns) >= local_ns > clock.local_ns(at_ns - 2)
    clock.freeze(S)
    frozen_ns = clock.local_ns(S)
    assert clock.local_ns(2 * S) == frozen_ns
    clock.thaw(2 * S)
    clock.jump(2 * S, S)
    assert clock.local_ns(2 * S) == frozen_ns + S


@pytest.mark.parametrize(
    ("faults", "low", "high"),
    [
        (LinkFaults(), 1000, 1000),
        (LinkFaults(loss=0.3), 600, 800),
        (LinkFaults(burst_enter=0.1, burst_leave=0.1, burst_loss=1.0), 350, 650),
        (LinkFaults(duplicate=0.5), 1700, 2100),
        (LinkFaults(rate_bps=8_000_000, queue_bytes=10_000), 100, 101),
        (LinkFaults(payload_max=99), 0, 0),
    ],
)
def test_link_does_what_it_says(faults: LinkFaults, low: int, high: int) -> None:
    link = Link(make_plan(0)[1], faults)
    copies = [copy for _ in range(1000) for copy in link.send(0, bytes(100))]
    assert low <= len(copies) <= high
    assert all(data == bytes(100) and at_ns >= 10 * MS for at_ns, data in copies)


def test_link_damages() -> None:
    link = Link(make_plan(0)[1], LinkFaults(flip=1.0))
    flipped = [data for _ in range(50) for _, data in link.send(0, bytes(100))]
    assert all(sum(byte.bit_count() for byte in data) == 1 for data in flipped)
    link = Link(make_plan(0)[1], LinkFaults(truncate=1.0))
    assert all(len(data) < 100 for _ in range(50) for _, data in link.send(0, bytes(100)))


@pytest.mark.parametrize(("source", "target"), [("10.9.1.1", "10.9.0.1"), ("fd09::1", "fd09::2")])
def test_ledger_lets_good_packets_pass_once(source: str, target: str) -> None:
    ledger = Ledger()
    entry = ledger.new(source, target, 200, "hub", 0, may_arrive=True)
    entry.carried_by.add("edge1")
    assert entry.packet == inner_packet(source, target, 1, 200) and uid_of(entry.packet) == 1
    ledger.deliver("hub", "edge1", entry.packet, 1)
    with pytest.raises(SimFailure, match="twice"):
        ledger.deliver("hub", "edge1", entry.packet, 2)
    with pytest.raises(SimFailure, match="which never had it"):
        ledger.deliver("edge2", "hub", entry.packet, 2)
    with pytest.raises(SimFailure, match="altered"):
        ledger.deliver("hub", "edge1", entry.packet[:-1] + b"\xff", 2)
    with pytest.raises(SimFailure, match="nobody sent"):
        ledger.deliver("hub", "edge1", entry.packet[:30], 2)


def test_pcap_is_one_wireshark_reads() -> None:
    scapy_utils = pytest.importorskip("scapy.utils")
    out = io.BytesIO()
    run_seed(1, pcap=PcapWriter(out))
    out.seek(0)
    packets = [packet for packet, _ in scapy_utils.RawPcapReader(out)]
    assert len(packets) > 100 and {packet[0] >> 4 for packet in packets} <= {4, 6}
