"""voice-trunk: what a packet of voice costs on the wire, and how much later it comes, with so many calls.

Each call is RTP over UDP with a packet every 20 ms each way. The bytes are the link emulator's: IP packets
offered to the link while the calls last, with all that the tunnel sends besides (acknowledgements and
keepalives); nothing is taken off. `wire_bytes_per_packet` is their sum over the RTP packets sent, of both
directions; `wire_up_bytes_per_packet` and `wire_down_bytes_per_packet` are those of each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab.calls import CALLS_MAX, CODECS, Calls, Plan
from lab.errors import UsageError
from lab.report import BARE_SYSTEM
from lab.scenarios.base import Outcome, Parameter, Run, Scenario

CALLS = (1, 2, 4, 8, 16)
DIRECTIONS = ("ab", "ba")
COUNTS = ("sent", "received", "wrong", "duplicate", "late", "refused")
PATTERNS, IP_VERSIONS = ("aligned", "spread"), ("4", "6")


@dataclass(frozen=True, slots=True)
class Cell:
    """So many calls of one codec."""

    kind: str  # of CODECS
    calls: int

    @property
    def name(self) -> str:
        return f"{self.kind}/{self.calls}"


EVERY_CELL = tuple(Cell(kind, calls) for kind in CODECS for calls in CALLS)


def wanted_cells(text: str) -> list[Cell]:
    """The cells of `--set cell=`: all, or a comma-separated list of a number from 0, CODEC/CALLS, CODEC."""
    if text == "all":
        return list(EVERY_CELL)
    cells: list[Cell] = []
    for word in text.split(","):
        kind, _, calls = word.partition("/")
        if word.isdigit() and int(word) < len(EVERY_CELL):
            cells.append(EVERY_CELL[int(word)])
        elif word in CODECS:
            cells += [cell for cell in EVERY_CELL if cell.kind == word]
        elif kind in CODECS and calls.isdigit() and 1 <= int(calls) <= CALLS_MAX:
            cells.append(Cell(kind, int(calls)))
        else:
            raise UsageError(
                f"--set cell={word}: 0 to {len(EVERY_CELL) - 1}, CODEC/CALLS or CODEC is expected, CODEC of"
                f" {', '.join(CODECS)}, CALLS up to {CALLS_MAX}"
            )
    return list(dict.fromkeys(cells))


def cell_results(cell: Cell, found: Mapping[str, Any], before: Mapping[str, Any],
                 after: Mapping[str, Any]) -> dict[str, Any]:  # fmt: skip
    """One cell from what rtp-trunk printed and the link's counters before and after.

    `wire_packets_per_packet` is below 1 where several calls share a datagram, above 1 with what the tunnel
    sends besides.
    """
    total = {key: sum(found[way][f"{key}_packets"] for way in DIRECTIONS) for key in COUNTS}
    wire_bytes = {way: after[way]["in_bytes"] - before[way]["in_bytes"] for way in DIRECTIONS}
    wire_packets = sum(after[way]["in_packets"] - before[way]["in_packets"] for way in DIRECTIONS)
    sent = {way: found[way]["sent_packets"] for way in DIRECTIONS}
    codec = CODECS[cell.kind]
    lost = total["sent"] - total["received"]
    return {
        "cell": cell.name, "codec": codec.name, "payload_bytes": codec.payload_bytes, "calls": cell.calls,
        "wire_bytes_per_packet": sum(wire_bytes.values()) / total["sent"],
        "wire_up_bytes_per_packet": wire_bytes["ab"] / sent["ab"],
        "wire_down_bytes_per_packet": wire_bytes["ba"] / sent["ba"],
        "wire_packets_per_packet": wire_packets / total["sent"],
        **{key: found[key] for key in ("delay_p50_seconds", "delay_p99_seconds", "delay_max_seconds",
                                       "send_late_p99_seconds")},
        "lost_ratio": lost / total["sent"], "lost_packets": lost,
        **{f"{key}_packets": count for key, count in total.items()},
        "wire_bytes": sum(wire_bytes.values()), "wire_packets": wire_packets,
    }  # fmt: skip


def add_delays(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Writes the delay added to the bare link into the cells of each tunnel, round by round.

    `delay_added_p50_seconds`, `delay_added_p99_seconds`: the tunnel's quantile less that of `direct` in the
    same round. `found`: rounds by system, as main.measure has them; without `direct` nothing is written.
    """
    for system, rounds in found.items():
        for mine, bare in zip(rounds, found.get(BARE_SYSTEM, ()), strict=False):
            delays = {cell["cell"]: cell for cell in bare["results"].get("cells", ())}
            for cell in mine["results"].get("cells", ()):
                if system == BARE_SYSTEM or cell["cell"] not in delays:
                    continue
                for share in ("p50", "p99"):
                    key = f"delay_{share}_seconds"
                    cell[f"delay_added_{share}_seconds"] = cell[key] - delays[cell["cell"]][key]


class VoiceTrunk(Scenario):
    name = "voice-trunk"
    summary = "calls of G.711, G.729 and Opus, 1 to 16 at once, RTP both ways: bytes per packet and delay"
    seconds = 10.0
    rounds = 3  # a percentile of one round is a matter of what else the machine does
    link = {"rate": "100M", "delay": "20ms", "queue": "100ms"}
    parameters = {
        "cell": Parameter("all", "some cells: number from 0, CODEC/CALLS as in g729/8, CODEC; or A,B,C"),
        "pattern": Parameter("aligned", "all calls of a side on one tick, as a server has it; or spread"),
        "ip": Parameter("4", "of the calls: 4 or 6"),
        "dscp": Parameter("46", "of the RTP packets: 46 is EF, what telephones send"),
        "settle": Parameter("5", "seconds for the tunnel to find the path's MTU before the first cell"),
    }
    shown = frozenset(
        {"wire_bytes_per_packet", "wire_packets_per_packet", "delay_p50_seconds", "delay_p99_seconds",
         "delay_added_p99_seconds", "lost_ratio"}
    )  # fmt: skip

    def settings(self, chosen: Mapping[str, str]) -> dict[str, str]:
        found = super().settings(chosen)
        wanted_cells(found["cell"])
        for key, allowed in (("pattern", PATTERNS), ("ip", IP_VERSIONS)):
            if found[key] not in allowed:
                raise UsageError(f"--set {key}={found[key]}: {' or '.join(allowed)} is expected")
        return found

    def relate(self, found: Mapping[str, Sequence[Mapping[str, Any]]], settings: Mapping[str, str]) -> None:
        add_delays(found)

    def measure(self, run: Run) -> Outcome:
        outcome = Outcome()
        assert run.link is not None, "this scenario has an emulated link"
        run.settle(run.number("settle"))
        cells = outcome.results["cells"] = []
        for cell in wanted_cells(run.settings["cell"]):
            run.say(f"{cell.name}, {run.settings['pattern']}, {run.seconds:g} s")
            found = self._cell(run, cell)
            cells.append(found)
            wrong = found["wrong_packets"]
            if "duplicate" not in run.settings:
                wrong += found["duplicate_packets"]
            outcome.check(f"{cell.name}-content", wrong == 0, f"{wrong} packets wrong or doubled")
            if not run.has_faults():
                lost = found["lost_packets"]
                outcome.check(f"{cell.name}-lost", lost == 0, f"{lost} of {found['sent_packets']} lost")
        run.tunnel.expect_alive()
        outcome.check_link(run.link)
        return outcome

    def _cell(self, run: Run, cell: Cell) -> dict[str, Any]:
        assert run.link is not None, "this scenario has an emulated link"
        plan = Plan(
            CODECS[cell.kind], cell.calls, run.seconds, dscp=int(run.number("dscp")),
            pattern=run.settings["pattern"], is_v6=run.settings["ip"] == "6",
        )  # fmt: skip
        before = run.link.counters()
        found = Calls(run.lab, run.tunnel, plan, run.seed, f"rtp-trunk-{cell.kind}-{cell.calls}").finish()
        after = run.link.counters()
        return cell_results(cell, found, before, after)
