"""text-classes: what messages of SIP, syslog, MQTT and HTTP cost on the wire, class by class.

The bytes are the link emulator's, both directions, with headers, TCP's acknowledgements and all that a tunnel
sends besides; nothing is taken off. `payload_cost_ratio` sets them against another system of the same run:
what a payload byte costs if everything else costs what it costs there. A class that is compressed to half has
0.5 against `--variant plain:compression.payload=[] --set baseline=plain`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lab.errors import UsageError
from lab.report import BARE_SYSTEM
from lab.scenarios.base import Outcome, Parameter, Run, Scenario
from lab.text_corpus import CLASSES, exchanges
from lab.text_load import TextFlow

IP_VERSIONS = ("4", "6")


def wanted_classes(text: str) -> list[str]:
    """The classes of `--set cell=`: all, or a comma-separated list of names and numbers from 0."""
    names = list(CLASSES)
    if text == "all":
        return names
    found = []
    for word in text.split(","):
        if word.isdigit() and int(word) < len(names):
            found.append(names[int(word)])
        elif word in CLASSES:
            found.append(word)
        else:
            raise UsageError(f"--set cell={word}: there is 0 to {len(names) - 1} or {', '.join(names)}")
    return list(dict.fromkeys(found))


def add_costs(found: Mapping[str, Sequence[Mapping[str, Any]]], baseline: str) -> None:
    """Writes `payload_cost_ratio` into the cells: (wire - baseline's wire + offered) / offered, by round.

    `found`: rounds by system, as main.measure has them. Nothing is written for the baseline itself, or
    where it was not measured.
    """
    for system, rounds in found.items():
        for mine, base in zip(rounds, found.get(baseline, ()), strict=False):
            wire = {cell["cell"]: cell["wire_bytes"] for cell in base["results"].get("cells", ())}
            for cell in mine["results"].get("cells", ()):
                if system != baseline and cell["cell"] in wire:
                    more = cell["wire_bytes"] - wire[cell["cell"]]
                    cell["payload_cost_ratio"] = 1 + more / cell["offered_bytes"]


class TextClasses(Scenario):
    name = "text-classes"
    summary = "messages of SIP, syslog (UDP), MQTT, HTTP (TCP) on their ports: wire bytes for bytes offered"
    seconds = 4.0
    link = {"rate": "100M", "delay": "10ms", "queue": "100ms"}
    parameters = {
        "cell": Parameter("all", f"some classes: {', '.join(CLASSES)}; or A,B,C"),
        "rate": Parameter("50", "requests per second"),
        "ip": Parameter("4", "of the messages: 4 or 6"),
        "baseline": Parameter(BARE_SYSTEM, "the system that payload_cost_ratio is set against"),
        "settle": Parameter("5", "seconds for the tunnel to find the path's MTU before the first class"),
    }
    shown = frozenset(
        {"offered_bytes", "wire_bytes", "wire_packets", "wire_bytes_per_offered_byte", "payload_cost_ratio"}
    )

    def settings(self, chosen: Mapping[str, str]) -> dict[str, str]:
        found = super().settings(chosen)
        wanted_classes(found["cell"])
        if found["ip"] not in IP_VERSIONS:
            raise UsageError(f"--set ip={found['ip']}: {' or '.join(IP_VERSIONS)} is expected")
        return found

    def relate(self, found: Mapping[str, Sequence[Mapping[str, Any]]], settings: Mapping[str, str]) -> None:
        add_costs(found, settings["baseline"])

    def measure(self, run: Run) -> Outcome:
        outcome = Outcome()
        assert run.link is not None, "this scenario has an emulated link"
        run.settle(run.number("settle"))
        cells = outcome.results["cells"] = []
        for name in wanted_classes(run.settings["cell"]):
            run.say(f"{name}, {run.settings['rate']} requests per second, {run.seconds:g} s")
            cell = self._cell(run, name)
            cells.append(cell)
            wrong, lost = cell["wrong_messages"], cell["lost_messages"]
            outcome.check(f"{name}-content", wrong == 0, f"{wrong} messages wrong or doubled")
            if not run.has_faults():
                outcome.check(f"{name}-lost", lost == 0, f"{lost} messages lost")
        run.tunnel.expect_alive()
        outcome.check_link(run.link)
        return outcome

    def _cell(self, run: Run, name: str) -> dict[str, Any]:
        assert run.link is not None, "this scenario has an emulated link"
        kind, rate = CLASSES[name], run.number("rate")
        made = exchanges(name, run.seed, max(1, int(rate * run.seconds)))
        address = run.tunnel.hub6 if run.settings["ip"] == "6" else run.tunnel.hub4
        before = run.link.counters()
        flow = TextFlow(run.lab.edge, run.lab.hub, address, kind.port, kind.transport, made)
        found = flow.run(rate)
        after = run.link.counters()
        wire = {way: after[way]["in_bytes"] - before[way]["in_bytes"] for way in ("ab", "ba")}
        packets = sum(after[way]["in_packets"] - before[way]["in_packets"] for way in ("ab", "ba"))
        return {
            "cell": name, "transport": kind.transport, "port": kind.port, "messages": found.messages,
            "offered_bytes": found.offered_bytes, "wire_bytes": sum(wire.values()),
            "wire_up_bytes": wire["ab"], "wire_down_bytes": wire["ba"], "wire_packets": packets,
            "wire_bytes_per_offered_byte": sum(wire.values()) / found.offered_bytes,
            "lost_messages": found.lost, "wrong_messages": found.wrong,
        }  # fmt: skip
