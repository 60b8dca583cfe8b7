"""The link emulator against its own specification, in virtual time: counts and exact times, no root.

Statistical bounds are five standard deviations wide and the seeds are fixed, so a run never differs.
"""

from __future__ import annotations

import itertools
import json
import math
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

LAB_FOLDER = Path(__file__).resolve().parents[2] / "netns-lab"
sys.path.insert(0, str(LAB_FOLDER))

from lab import build  # noqa: E402

MS = 1_000_000
SIGMAS = 5


def simulate(packets: int, both: str = "", *options: str, seed: int = 1) -> dict[str, Any]:
    command = [str(build.helper("link-emulator")), "--simulate", str(packets), "--seed", str(seed), "--list"]
    command += ["--both", both, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def delivered(report: dict[str, Any], direction: str = "ab") -> list[list[int]]:
    """Per packet in order of delivery: index, release_ns, changed bits, checksum good, ECN, port of a."""
    packets: list[list[int]] = report["simulation"][direction]["delivered"]
    return packets


def indices(report: dict[str, Any], direction: str = "ab") -> list[int]:
    return [packet[0] for packet in delivered(report, direction)]


def dropped(report: dict[str, Any], reason: str, direction: str = "ab") -> int:
    count: int = report[direction]["drops"][reason]["packets"]
    return count


def assert_share(count: int, total: int, share: float) -> None:
    width = SIGMAS * math.sqrt(total * share * (1 - share))
    assert abs(count - total * share) <= width, f"{count} of {total}, wanted {share}"


EVERYTHING = (
    "rate=10M queue=20p queue=30ms ecn=5p loss=2% ge-time=40ms/600ms/0.8 duplicate=3% corrupt=3% "
    "reorder=2%/5ms jitter=3ms/reorders outage=1s-1.2s mtu=1400 ptb=yes delay=7ms"
)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("version", [(), ("--ipv6",)])
def test_every_packet_is_out_or_dropped_for_one_reason(seed: int, version: tuple[str, ...]) -> None:
    options = ("--ab", "rebind=0.5s/1.5s", "--sim-dirs", "both", "--gap", "150us", "--ect", *version)
    report = simulate(15_000, EVERYTHING, *options, seed=seed)
    for direction in ("ab", "ba"):
        counts = report[direction]
        for unit in ("packets", "bytes"):
            came = counts[f"in_{unit}"] + counts[f"duplicated_{unit}"]
            gone = counts[f"out_{unit}"] + sum(drop[unit] for drop in counts["drops"].values())
            assert came == gone + counts[f"held_{unit}"]
        assert counts["in_packets"] == 15_000
        assert counts["out_packets"] == len(delivered(report, direction))
        assert counts["held_packets"] == 0
        met = {reason for reason, drop in counts["drops"].items() if drop["packets"]}
        assert {"loss", "burst-loss", "outage", "queue-full"} <= met


@pytest.mark.parametrize("share", [0.001, 0.01, 0.05, 0.5])
def test_independent_loss_has_its_share(share: float) -> None:
    report = simulate(50_000, f"loss={share}", "--sim-dirs", "both")
    for direction in ("ab", "ba"):
        assert_share(dropped(report, "loss", direction), 50_000, share)


def test_loss_of_all_and_of_none() -> None:
    assert indices(simulate(1000, "loss=1")) == []
    assert indices(simulate(1000, "loss=0")) == list(range(1000))


def test_losses_are_independent_of_each_other() -> None:
    lost = sorted(set(range(50_000)) - set(indices(simulate(50_000, "loss=0.1"))))
    pairs = sum(second - first == 1 for first, second in itertools.pairwise(lost))
    assert_share(pairs, len(lost), 0.1)


def test_same_seed_same_losses_whatever_else_the_link_does() -> None:
    plain = set(indices(simulate(20_000, "loss=3%", seed=7)))
    busy = "loss=3% delay=9ms jitter=4ms/reorders duplicate=2% corrupt=5% reorder=1%/3ms rate=100M"
    again = set(indices(simulate(20_000, busy, "--size", "900", seed=7)))
    assert plain == again
    assert plain != set(indices(simulate(20_000, "loss=3%", seed=8)))


def test_the_two_directions_lose_different_packets() -> None:
    report = simulate(20_000, "loss=5%", "--sim-dirs", "both")
    assert set(indices(report, "ab")) != set(indices(report, "ba"))


@pytest.mark.parametrize(("enter", "leave"), [(0.01, 0.5), (0.02, 0.25), (0.005, 0.1)])
def test_gilbert_elliott_by_packet_has_its_bursts(enter: float, leave: float) -> None:
    total = 100_000
    report = simulate(total, f"ge={enter}/{leave}/1")
    kept = set(indices(report))
    bursts: list[int] = []
    for index in range(total):
        if index in kept:
            continue
        if index - 1 in kept or index == 0:
            bursts.append(0)
        bursts[-1] += 1
    mean = sum(bursts) / len(bursts)
    deviation = math.sqrt(1 - leave) / leave / math.sqrt(len(bursts))  # of the mean of geometric lengths
    assert abs(mean - 1 / leave) < SIGMAS * deviation
    good_spells = total * leave / (enter + leave) * enter
    assert abs(len(bursts) - good_spells) < SIGMAS * math.sqrt(good_spells)


def test_gilbert_elliott_loses_in_both_states_as_told() -> None:
    report = simulate(100_000, "ge=0.02/0.2/0.5/0.01")
    bad_share = 0.02 / 0.22
    lost = dropped(report, "burst-loss")
    wanted = 100_000 * (bad_share * 0.5 + (1 - bad_share) * 0.01)
    assert abs(lost - wanted) < wanted * 0.08


def test_gilbert_elliott_by_time_does_not_depend_on_the_packet_rate() -> None:
    words = "ge-time=40ms/600ms/1"
    slow = simulate(20_000, words, "--gap", "20ms")
    fast = simulate(200_000, words, "--gap", "2ms")
    assert set(indices(slow)) == {index // 10 for index in indices(fast) if index % 10 == 0}
    assert dropped(slow, "burst-loss") / 20_000 == pytest.approx(40 / 640, rel=0.1)


def test_rate_and_delay_are_exact() -> None:
    report = simulate(100, "rate=1M delay=10ms", "--size", "125", "--gap", "400us")
    # 125 bytes at 1 Mbit/s take 1 ms, and one comes each 0.4 ms: the bottleneck is never idle.
    assert [packet[1] for packet in delivered(report)] == [(i + 1) * MS + 10 * MS for i in range(100)]
    idle = simulate(100, "rate=1M delay=10ms", "--size", "125", "--gap", "3ms")
    assert [packet[1] for packet in delivered(idle)] == [i * 3 * MS + MS + 10 * MS for i in range(100)]


@pytest.mark.parametrize(
    ("queue", "kept"),
    [
        ("queue=10p", 10),
        ("queue=1250B", 10),
        ("queue=10ms", 10),
        ("queue=10ms queue=4p", 4),
        ("queue=none", 100),
    ],
)
def test_a_queue_holds_what_it_says(queue: str, kept: int) -> None:
    """All at once: what the limit holds is kept (in bytes at the rate for a time), the rest is dropped."""
    report = simulate(100, f"rate=1M {queue}", "--size", "125", "--gap", "0")
    assert indices(report) == list(range(kept))
    assert dropped(report, "queue-full") == 100 - kept
    assert report["ab"]["queue_max_packets"] == kept
    assert report["ab"]["queue_max_bytes"] == kept * 125


def test_an_overloaded_queue_keeps_the_link_busy_and_its_delay_bounded() -> None:
    report = simulate(10_000, "rate=1M queue=10ms", "--size", "125", "--gap", "500us")
    out = delivered(report)
    assert dropped(report, "queue-full") == pytest.approx(5_000, abs=20)
    assert max(release - index * MS // 2 for index, release, *_ in out) == 10 * MS
    spacing = {later[1] - earlier[1] for earlier, later in itertools.pairwise(out)}
    assert spacing == {MS}


def mahimahi(trace_ms: list[int], arrivals_ns: list[int], size: int) -> list[int]:
    """Reference: walks the opportunities one by one; each carries 1500 bytes of what waits then."""
    departures: list[int] = []
    lap, at, left, rest = 0, 0, 1500, 0
    for arrival in arrivals_ns:
        rest = size
        while True:
            now = (lap * trace_ms[-1] + trace_ms[at]) * MS
            if now >= arrival and left > 0:
                used = min(rest, left)
                rest, left = rest - used, left - used
                if rest == 0:
                    departures.append(now)
                    break
            at, left = at + 1, 1500
            if at == len(trace_ms):
                lap, at = lap + 1, 0
    return departures


@pytest.mark.parametrize("size", [100, 700, 1500, 4000])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_mahimahi_trace_is_replayed_exactly(tmp_path: Path, size: int, seed: int) -> None:
    source = random.Random(seed)
    trace_ms = sorted(source.randrange(1, 400) for _ in range(60))
    path = tmp_path / "trace"
    path.write_text("".join(f"{ms}\n" for ms in trace_ms))
    report = simulate(500, f"trace={path}", "--size", str(size), "--gap", "5ms")
    wanted = mahimahi(trace_ms, [i * 5 * MS for i in range(500)], size)
    assert [packet[1] for packet in delivered(report)] == wanted


def test_a_trace_after_a_long_silence_goes_on_where_time_is(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_text("3\n10\n")
    report = simulate(4, f"trace={path}", "--gap", "10001ms")
    # Laps of 10 ms: at 10001 ms the next opportunity is 10003 ms, at 20002 ms 20003 ms, at 30003 ms at once.
    assert [packet[1] for packet in delivered(report)] == [3 * MS, 10_003 * MS, 20_003 * MS, 30_003 * MS]


def test_jitter_stays_in_bounds_and_in_order_unless_told() -> None:
    kept = delivered(simulate(5000, "delay=10ms jitter=8ms"))
    assert [packet[0] for packet in kept] == list(range(5000))
    free = delivered(simulate(5000, "delay=10ms jitter=8ms/reorders"))
    extra = [release - index * MS - 10 * MS for index, release, *_ in free]
    assert min(extra) >= 0 and max(extra) <= 8 * MS
    assert sum(extra) / len(extra) == pytest.approx(4 * MS, rel=0.05)
    assert [packet[0] for packet in free] != sorted(packet[0] for packet in free)


def test_reordered_packets_are_late_by_the_given_time() -> None:
    report = simulate(20_000, "delay=10ms reorder=4%/25ms")
    late = Counter(release - index * MS - 10 * MS for index, release, *_ in delivered(report))
    assert set(late) == {0, 25 * MS}
    assert late[25 * MS] == report["ab"]["reordered_packets"]
    assert_share(late[25 * MS], 20_000, 0.04)


def test_duplicates_come_twice_and_are_counted() -> None:
    report = simulate(20_000, "duplicate=5%")
    times = Counter(indices(report))
    assert set(times.values()) == {1, 2}
    doubled = sum(count == 2 for count in times.values())
    assert doubled == report["ab"]["duplicated_packets"]
    assert_share(doubled, 20_000, 0.05)


@pytest.mark.parametrize("version", [(), ("--ipv6",)])
@pytest.mark.parametrize(("mode", "checksum_good"), [("", 1), ("/break", 0)])
def test_corruption_flips_one_bit_of_the_payload(
    version: tuple[str, ...], mode: str, checksum_good: int
) -> None:
    report = simulate(10_000, f"corrupt=5%{mode}", "--size", "333", *version)
    changed = [packet for packet in delivered(report) if packet[2]]
    assert {packet[2] for packet in changed} == {1}
    assert {packet[3] for packet in changed} == {checksum_good}
    assert {packet[3] for packet in delivered(report) if not packet[2]} == {1}
    assert len(changed) == report["ab"]["corrupted_packets"]
    assert report["ab"]["corrupted_checksum_bad_packets"] == (0 if checksum_good else len(changed))
    assert_share(len(changed), 10_000, 0.05)


def test_outages_take_exactly_their_time() -> None:
    report = simulate(1000, "outage=100ms-200ms/0.5s-0.6s")
    gone = set(range(1000)) - set(indices(report))
    assert gone == set(range(100, 200)) | set(range(500, 600))
    assert dropped(report, "outage") == 200


@pytest.mark.parametrize(
    ("options", "icmp"),
    [(("--dont-fragment",), [[0, 576, 3]] * 5), (("--ipv6",), [[0, 1280, 2]] * 5), ((), [])],
)
def test_packets_over_the_mtu_are_dropped_and_answered(
    options: tuple[str, ...], icmp: list[list[int]]
) -> None:
    """IPv4 only with DF, IPv6 always: [side, bytes, ICMP type]."""
    report = simulate(5, "mtu=1300 ptb=yes", "--size", "1301", *options)
    assert dropped(report, "too-big") == 5
    assert report["simulation"]["icmp"] == icmp
    assert report["ab"]["icmp_made_packets"] == len(icmp)
    silent = simulate(5, "mtu=1300", "--size", "1301", *options)
    assert silent["simulation"]["icmp"] == []
    assert indices(simulate(5, "mtu=1300 ptb=yes", "--size", "1300", *options)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("version", [(), ("--ipv6",)])
def test_ecn_marks_capable_packets_while_the_queue_is_long(version: tuple[str, ...]) -> None:
    options = ("--size", "125", "--gap", "0", *version)
    report = simulate(20, "rate=1M ecn=5p", "--ect", *options)
    assert [packet[4] for packet in delivered(report)] == [2] * 6 + [3] * 14
    assert report["ab"]["ce_marked_packets"] == 14
    plain = simulate(20, "rate=1M ecn=5p", *options)
    assert {packet[4] for packet in delivered(plain)} == {0}
    assert plain["ab"]["ce_marked_packets"] == 0


@pytest.mark.parametrize("version", [(), ("--ipv6",)])
def test_a_rebind_changes_the_source_port_and_answers_find_back(version: tuple[str, ...]) -> None:
    options = ("--ab", "rebind=100ms/200ms", "--sim-dirs", "both", *version)
    report = simulate(300, "", *options)
    ports = [packet[5] for packet in delivered(report)]
    assert set(ports[:100]) == {40_000}
    assert len(set(ports[100:200])) == len(set(ports[200:])) == 1
    assert len({40_000, ports[100], ports[200]}) == 3
    assert {packet[3] for packet in delivered(report)} == {1}
    assert {packet[5] for packet in delivered(report, "ba")} == {40_000}
    assert len(delivered(report, "ba")) == 300
    assert report["ab"]["nat_rewritten_packets"] == report["ba"]["nat_rewritten_packets"] == 200


def test_a_forgotten_port_is_dropped() -> None:
    report = simulate(100, "", "--ab", "rebind=50ms", "--sim-dirs", "ba")
    assert indices(report, "ba") == list(range(50))
    assert dropped(report, "nat-unknown", "ba") == 50


def test_the_nat_leaves_other_ports_alone() -> None:
    report = simulate(100, "", "--ab", "rebind=50ms nat-port=444", "--sim-dirs", "both")
    assert report["ab"]["nat_rewritten_packets"] == 0
    assert len(delivered(report)) == len(delivered(report, "ba")) == 100


@pytest.mark.parametrize(
    ("first_byte", "passes"), [("00", False), ("1f", False), ("3f", False), ("40", True), ("c3", True)]
)
def test_blocking_by_the_first_payload_byte(first_byte: str, passes: bool) -> None:
    """Data packets (top bits 00) blocked, QUIC let through."""
    report = simulate(10, "block=c0/00", "--first-byte", first_byte)
    assert len(delivered(report)) == (10 if passes else 0)
    assert dropped(report, "blocked") == (0 if passes else 10)


@pytest.mark.parametrize(
    "words",
    [
        "rate=fast", "rate=-1", "delay=5", "delay=5x", "loss=2", "loss=-0.1", "loss=101%", "queue=10",
        "queue=p", "ge=0.1/0.2", "ge=0.1", "ge-time=1ms/2ms", "reorder=1%", "jitter=1ms/maybe",
        "corrupt=1%/fix", "outage=5s",
        "outage=5s-1s", "rebind=2s/1s", "mtu=x", "ptb=perhaps", "block=c0", "block=c0/ff", "block=zz/00",
        "trace=/nonexistent", "nat-port=70000", "unknown=1", "rate", "=",
    ],
)  # fmt: skip
def test_a_bad_setting_is_named_and_refused(words: str) -> None:
    command = [str(build.helper("link-emulator")), "--simulate", "1", "--both", f"delay=1ms {words}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stdout == ""
