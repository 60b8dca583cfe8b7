"""`oxidized headers`: runs captures through header compression and back, over a link that loses and delays.

Packets leave at equal distances in time, each in a datagram of its own. Losses come one by one or in bursts,
some packets arrive after later ones, and acknowledgements come a round-trip time after the packet, each with
all that has arrived by then; they are lost as often as packets. What is restored is compared byte by byte.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from random import Random
from typing import Any, Final

from oxidized.errors import Exit
from oxidized.ffi.headers import HeaderEvent, HeaderRow, Headers
from oxidized.io.capture import CaptureError, read

ROUNDS: Final = 3  # the first of them warms the caches up
ROUNDS_PACKETS_MAX: Final = 200_000


@dataclass(frozen=True, slots=True)
class Link:
    """How the simulated link treats packets. Ratios 0..1, times in µs, `late_by` in packets."""

    loss_ratio: float = 0.0
    burst: int = 1
    late_ratio: float = 0.0
    late_by: int = 0
    rtt_us: int = 40_000
    spacing_us: int = 20_000
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Summary:
    """Packets of one profile. Header bytes: means without the flow id; a whole packet counts its headers."""

    packets: int
    header_bytes_mean: float
    raw_header_bytes_mean: float
    undecodable: int
    wrong: int
    whole: int
    compress_ns: float
    restore_ns: float


def ratio(text: str) -> float:
    """`10%` and `0.1` are the same. ValueError outside of 0..1."""
    value = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    if not 0 <= value <= 1:
        raise ValueError(f"{text!r} is not within 0 and 1, nor within 0% and 100%")
    return value


def lateness(text: str) -> tuple[float, int]:
    """`5%:3`: so many arrive after three later ones."""
    part, colon, packets = text.partition(":")
    count = int(packets) if colon else 1
    if not 0 < count <= 10_000:
        raise ValueError(f"{text!r}: how late is a number of packets from 1 to 10000")
    return ratio(part), count


def duration_us(text: str) -> int:
    """`40ms`, `150us`, `0.1s`. ValueError when it is none, or beyond a minute."""
    for unit, factor in (("us", 1), ("ms", 1_000), ("s", 1_000_000)):
        number = text.removesuffix(unit)
        if number != text and number[-1:].isdigit():
            value = round(float(number) * factor)
            if 0 <= value <= 60_000_000:
                return value
    raise ValueError(f"{text!r} is no duration up to a minute, such as 40ms")


def events_of(packets: int, link: Link) -> list[HeaderEvent]:
    """The order in which packets leave and arrive and are known to have arrived."""
    dice = Random(link.seed)
    lost = _losses(packets, link, dice)
    steps: list[tuple[int, int, int, str]] = []  # time, rank among equals, packet, what
    for i in range(packets):
        sent_us = i * link.spacing_us
        steps.append((sent_us, 2, i, "send"))
        if lost[i]:
            continue
        is_late = dice.random() < link.late_ratio
        arrival_us = sent_us + link.rtt_us // 2 + (link.late_by * link.spacing_us if is_late else 0)
        steps.append((arrival_us, 1 if is_late else 0, i, "arrive"))
        if dice.random() >= link.loss_ratio:
            steps.append((arrival_us + link.rtt_us - link.rtt_us // 2, 1, i, "ack"))
    # A late packet comes behind the later one that arrives at the same time; an ACK before what leaves then.
    steps.sort()
    order = {packet: at for at, (_, _, packet, what) in enumerate(steps) if what == "arrive"}
    arrivals = sorted(order, key=order.__getitem__)
    found: list[HeaderEvent] = []
    known = 0
    place = {packet: at for at, packet in enumerate(arrivals)}
    for _, _, packet, what in steps:
        if what != "ack":
            found.append(HeaderEvent(what, packet, packet))
            continue
        while known <= place[packet]:
            found.append(HeaderEvent("ack", 0, arrivals[known]))
            known += 1
    return found


def _losses(packets: int, link: Link, dice: Random) -> list[bool]:
    """Bursts begin so often that `loss_ratio` of all packets are lost."""
    start = link.loss_ratio / (link.burst - (link.burst - 1) * link.loss_ratio)
    lost = []
    left = 0
    for _ in range(packets):
        if left == 0 and dice.random() < start:
            left = link.burst
        lost.append(left > 0)
        left -= left > 0
    return lost


def measure(packets: Sequence[bytes], link: Link, flows: int = 128) -> list[HeaderRow]:
    """A row for each packet, of the last round: its times are those of warm caches."""
    events = events_of(len(packets), link)
    rounds = [
        Headers(flows, hash_key=link.seed).run(packets, events)
        for _ in range(ROUNDS if len(packets) <= ROUNDS_PACKETS_MAX else 1)
    ]
    return rounds[-1]


def summary_of(packets: Iterable[bytes], rows: Iterable[HeaderRow]) -> dict[str, Summary]:
    """The packets of each profile; "other" are those without any IP header that holds."""
    groups: dict[str, list[tuple[bytes, HeaderRow]]] = {}
    for packet, row in zip(packets, rows, strict=True):
        groups.setdefault(row.profile, []).append((packet, row))
    return {profile: _summary(groups[profile]) for profile in sorted(groups)}


def _summary(group: list[tuple[bytes, HeaderRow]]) -> Summary:
    rows = [row for _, row in group]
    arrived = [(packet, row) for packet, row in group if row.has_arrived]
    restored = [row.restore_ns for _, row in arrived if row.kind != "whole"]
    return Summary(
        packets=len(rows),
        header_bytes_mean=round(statistics.fmean(map(carried_bytes, rows)), 4),
        raw_header_bytes_mean=round(statistics.fmean(row.header_bytes for row in rows), 4),
        undecodable=sum(row.restored is None for _, row in arrived),
        wrong=sum(row.restored is not None and row.restored != packet for packet, row in arrived),
        whole=sum(row.kind == "whole" for row in rows),
        compress_ns=float(statistics.median(row.compress_ns for row in rows)),
        restore_ns=float(statistics.median(restored)) if restored else 0.0,
    )


def carried_bytes(row: HeaderRow) -> int:
    """Bytes on the wire for the header, without the flow id."""
    return row.header_bytes if row.kind == "whole" else row.coded_bytes - row.flow_bytes


def main(files: Sequence[str], link: Link, json_path: str | None) -> int:
    """Prints a table, or writes JSON (`-`: to standard output). Not OK when a packet was lost to coding."""
    captures = []
    for file in files:
        try:
            captures.append((file, read(file)))
        except (CaptureError, OSError) as error:
            reason = error if isinstance(error, CaptureError) else f"{file}: {error.strerror}"
            print(f"oxidized: {reason}", file=sys.stderr)
            return Exit.CONFIG if isinstance(error, CaptureError) else Exit.ABSENT
    everything: list[tuple[bytes, HeaderRow]] = []
    found = []
    for file, capture in captures:
        rows = measure(capture.packets, link)
        everything += zip(capture.packets, rows, strict=True)
        profiles = summary_of(capture.packets, rows)
        found.append({"file": file, "not_ip": capture.not_ip, "profiles": profiles})
    total = summary_of((packet for packet, _ in everything), (row for _, row in everything))
    if json_path is None:
        print(_table(found, total))
    else:
        try:
            _json_write(json_path, link, found, total)
        except OSError as error:
            if json_path == "-":
                raise
            print(f"oxidized: {json_path}: {error.strerror}", file=sys.stderr)
            return Exit.FAILURE
    is_good = not any(part.undecodable or part.wrong for part in total.values())
    return Exit.OK if is_good else Exit.FAILURE


def _json_write(path: str, link: Link, found: list[dict[str, Any]], total: dict[str, Summary]) -> None:
    def plain(profiles: dict[str, Summary]) -> dict[str, Any]:
        return {name: asdict(part) for name, part in profiles.items()}

    report = {
        **asdict(link),
        "files": [{**entry, "profiles": plain(entry["profiles"])} for entry in found],
        "profiles": plain(total),
    }
    text = json.dumps(report, indent=2) + "\n"
    if path == "-":
        sys.stdout.write(text)
        return
    with open(path, "w", encoding="utf-8") as out:
        out.write(text)


def _table(found: list[dict[str, Any]], total: dict[str, Summary]) -> str:
    head = ("profile", "packets", "header", "raw", "undecodable", "wrong", "whole", "compress", "restore")
    lines = []
    sections = [(entry["file"], entry["profiles"]) for entry in found]
    for title, profiles in sections if len(sections) == 1 else [*sections, ("all", total)]:
        lines += [title, "  {:8} {:>8} {:>8} {:>8} {:>12} {:>6} {:>7} {:>9} {:>9}".format(*head)]
        lines += [
            f"  {name:8} {part.packets:8} {part.header_bytes_mean:8.2f} {part.raw_header_bytes_mean:8.2f} "
            f"{part.undecodable:12} {part.wrong:6} {part.whole:7} {part.compress_ns:6.0f} ns "
            f"{part.restore_ns:6.0f} ns"
            for name, part in profiles.items()
        ]
    return "\n".join(lines)
