"""The command line of netns-lab/run: which scenario, which systems, how often, and what comes out."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from lab import report
from lab.errors import LabError, MissingError, UsageError
from lab.load import machine_facts
from lab.scenarios import SCENARIOS
from lab.scenarios.base import Check, Outcome, Run, Scenario
from lab.systems import (
    SHORT_SETTINGS,
    SYSTEMS,
    Kcptun,
    Oxidized,
    System,
    from_binary,
    long_setting,
    need,
    variant,
)
from lab.topology import Lab, remove_stale

DAEMON_PREFIX = "daemon."  # of a --set that is for our daemon's configuration


def on_signal(number: int, frame: object) -> NoReturn:
    raise SystemExit(128 + number)


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="netns-lab/run", description="Measures tunnels between network namespaces."
    )
    p.add_argument("scenario", nargs="?", help="see --list")
    p.add_argument("--list", action="store_true", help="scenarios, systems, and which of them are installed")
    p.add_argument(
        "--system", default="oxidized", metavar="A[,B]", help="one, or several in alternating rounds"
    )
    p.add_argument("--peer-binary", action="append", default=[], metavar="NAME=PATH",
                   help="another binary of a system, measured beside it as NAME-new")  # fmt: skip
    p.add_argument("--variant", action="append", default=[], metavar="NAME:TABLE.KEY=TOML",
                   help="oxidized with this setting, measured beside it as NAME")  # fmt: skip
    p.add_argument("--seconds", type=float, metavar="N", help="length of a load; default by scenario")
    p.add_argument(
        "--seed", type=int, default=1, metavar="N", help="same seed, same packets lost (default 1)"
    )
    p.add_argument(
        "--rounds", type=int, metavar="N", help="rounds per system; default 1, of several systems often 3"
    )
    p.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", nargs="+",
                   help="of the scenario, of its link, or of oxidized: daemon.TABLE.KEY=TOML")  # fmt: skip
    p.add_argument("--json", metavar="FILE", help="write the result as one JSON object; - is standard output")
    p.add_argument("--pcap", type=Path, metavar="DIR", help="record what passes the link and the tunnel")
    p.add_argument("--keep-logs", type=Path, metavar="DIR", help="copy logs and configuration files there")
    return p


def pairs(groups: Sequence[Sequence[str]]) -> dict[str, str]:
    """KEY=VALUE words of all --set options; UsageError for a word without "="."""
    chosen = {}
    for word in (word for group in groups for word in group):
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {word}: KEY=VALUE is expected")
        chosen[key] = value
    return chosen


def print_list() -> None:
    print("scenarios:")
    for scenario in SCENARIOS.values():
        print(f"  {scenario.name:14}{scenario.summary}")
        for key, parameter in scenario.parameters.items():
            print(f"  {'':14}  --set {key}={parameter.default}  {parameter.help}")
        if scenario.link:
            words = " ".join(f"{key}={value}" for key, value in scenario.link.items())
            print(f"  {'':14}  link, each to be --set (also ab.KEY, ba.KEY): {words}")
    print("systems:")
    for system in SYSTEMS.values():
        try:
            system.check()
            print(f"  {system.name:18}{system.version()}")
        except MissingError as error:
            print(f"  {system.name:18}missing: {error}")


def measure_once(scenario: Scenario, system: System, seed: int, seconds: float, chosen: dict[str, str],
                 options: argparse.Namespace, say: Callable[[str], None], label: str) -> Outcome:  # fmt: skip
    """Builds the lab, starts one system, measures, and removes everything. A LabError is a failed check."""
    logs = options.keep_logs / label if options.keep_logs else None
    settings = scenario.settings(chosen)
    try:
        with Lab(logs, scenario.link_mtu_bytes(settings)) as lab:
            link = None
            if scenario.link:
                link = lab.join_emulated(*scenario.directions(chosen), seed)
            else:
                lab.join_veth()
            if scenario.has_far:
                lab.join_far()
            tunnel = system.start(lab, scenario.daemon_settings(settings))
            if options.pcap:
                lab.capture(options.pcap, f"{scenario.name}-{label}")
            run = Run(lab, tunnel, seed, seconds, {**settings}, link, say)
            outcome = scenario.measure(run)
            if link is not None:
                overflowed = lab.overflowed_packets()
                outcome.check(
                    "link-overflow", overflowed == 0, f"{overflowed} packets never reached the emulator"
                )
            return outcome
    except UsageError:
        raise
    except LabError as error:
        return Outcome(checks=[Check("measured", False, str(error))])


def measure(scenario: Scenario, systems: Sequence[System], chosen: dict[str, str],
            options: argparse.Namespace, say: Callable[[str], None]) -> list[dict[str, Any]]:  # fmt: skip
    """All rounds of all systems, alternating; a round has one seed for all and begins with another system."""
    rounds = options.rounds or (scenario.rounds if len(systems) > 1 else 1)
    seconds = options.seconds or scenario.seconds
    found: dict[str, list[dict[str, Any]]] = {system.name: [] for system in systems}
    checks: dict[str, list[dict[str, Any]]] = {system.name: [] for system in systems}
    for number in range(rounds):
        shift = number % len(systems)
        for system in (*systems[shift:], *systems[:shift]):
            name = system.name
            say(f"{scenario.name}: {name}, round {number + 1} of {rounds}")
            seed, label = options.seed + number, f"{name}-{number + 1}"
            outcome = measure_once(
                scenario, system, seed, seconds, chosen, options, lambda text: say(f"  {text}"), label
            )
            found[name].append({"seed": seed, "results": outcome.results})
            checks[name] += [asdict(check) for check in outcome.checks]
    scenario.relate(found, scenario.settings(chosen))
    return [
        {"system": system.name, "version": system.version(),
         "results": scenario.merge([r["results"] for r in found[system.name]]), "rounds": found[system.name],
         "checks": checks[system.name]}
        for system in systems
    ]  # fmt: skip


def check_privileges() -> None:
    """MissingError without root or without TUN devices."""
    if os.geteuid() != 0:
        raise MissingError("network namespaces need root: run it with sudo")
    if not Path("/dev/net/tun").exists():
        raise MissingError("no /dev/net/tun: modprobe tun, or let the container have the device")


def split_daemon(chosen: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Settings of the scenario and its link, and those of our daemons (without their `daemon.`).

    `repair=arq` is short for `daemon.repair.mode="arq"`, `predictor=ge` for `daemon.repair.predictor="ge"`.
    """
    rest, daemon = {}, {}
    for key, value in chosen.items():
        if key in SHORT_SETTINGS:
            daemon.update([long_setting(key, value)])
        elif key.startswith(DAEMON_PREFIX):
            long = key.removeprefix(DAEMON_PREFIX)
            if "." not in long:
                raise UsageError(f"--set {key}: {DAEMON_PREFIX}TABLE.KEY=TOML-VALUE is expected")
            daemon[long] = value
        else:
            rest[key] = value
    return rest, daemon


def chosen_systems(options: argparse.Namespace, daemon: dict[str, str]) -> list[System]:
    """Those of --system, then those that only the command line has; UsageError for an unknown one.

    `daemon`: settings that every configuration of ours gets, below those that make it what it is.
    """
    own = {system.name: system for system in map(from_binary, options.peer_binary)}
    if len(own) < len(options.peer_binary):
        raise UsageError("--peer-binary: one binary for each system")
    own |= variant(options.variant)
    known = {**SYSTEMS, **own}
    names = dict.fromkeys([*options.system.split(","), *own])
    for name in names:
        if name not in known:
            raise UsageError(f"--system {name}: there is {', '.join(known)}")
    systems = [known[name] for name in names]
    return [s.with_settings(daemon) if daemon and isinstance(s, Oxidized) else s for s in systems]


def check_installed(systems: Sequence[System], options: argparse.Namespace) -> None:
    """MissingError for a system, a right or a program that is not there."""
    check_privileges()
    need("ip", "ping", "sysctl", "iperf3", *(("tcpdump",) if options.pcap else ()))
    for system in systems:
        system.check()


def document(scenario: Scenario, options: argparse.Namespace, chosen: dict[str, str],
             runs: list[dict[str, Any]]) -> dict[str, Any]:  # fmt: skip
    ab, ba = scenario.directions(chosen)
    link: dict[str, Any] = {"kind": "veth"}
    if scenario.link:
        link = {"kind": "emulator", "edge_to_hub": dict(ab.words), "hub_to_edge": dict(ba.words)}
    return {
        "schema": report.SCHEMA, "scenario": scenario.name, "seed": options.seed,
        "seconds": options.seconds or scenario.seconds, "settings": scenario.settings(chosen), "link": link,
        "machine": machine_facts(),
        "passed": all(check["ok"] for run in runs for check in run["checks"]), "runs": runs,
        "ratios": report.ratios(runs), "bare_ratios": report.bare_ratios(runs),
    }  # fmt: skip


def execute(options: argparse.Namespace) -> int:
    """Runs what was asked for and returns the exit code."""
    out = sys.stderr if options.json == "-" else sys.stdout

    def say(text: str) -> None:
        print(text, file=out, flush=True)

    if options.scenario not in SCENARIOS:
        raise UsageError(f"no scenario {options.scenario}: there is {', '.join(SCENARIOS)}")
    scenario = SCENARIOS[options.scenario]
    chosen, daemon = split_daemon(pairs(options.set))
    systems = chosen_systems(options, daemon)
    if not scenario.is_tcp_only and any(isinstance(system, Kcptun) for system in systems):
        raise UsageError(f"--system kcptun: it carries TCP alone, and {scenario.name} is more than that")
    scenario.link_mtu_bytes(scenario.settings(chosen))
    if (options.seconds is not None and options.seconds <= 0) or (
        options.rounds is not None and options.rounds < 1
    ):
        raise UsageError("--seconds and --rounds must be positive")
    check_installed(systems, options)
    for name in remove_stale():
        say(f"removed {name}, left by a run that was killed")
    runs = measure(scenario, systems, chosen, options, say)
    result = document(scenario, options, chosen, runs)
    result["daemon_settings"] = daemon
    say("")
    say(report.table(runs, scenario.shown))
    if len(runs) > 1:
        ratios = [*result["ratios"], *result["bare_ratios"]]
        say("\n" + report.ratio_lines([r for r in ratios if report.is_shown(r["result"], scenario.shown)]))
    if options.json:
        text = json.dumps(result, indent=2) + "\n"
        if options.json == "-":
            sys.stdout.write(text)
        else:
            Path(options.json).write_text(text)
    say("passed" if result["passed"] else "FAILED")
    return 0 if result["passed"] else 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. 0: measured; 1: a check failed; 2: usage; 5: something is missing."""
    options = parser().parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    try:
        if options.list:
            print_list()
            return 0
        if options.scenario is None:
            raise UsageError("which scenario? See --list")
        return execute(options)
    except LabError as error:
        print(f"netns-lab/run: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("netns-lab/run: interrupted; everything is removed", file=sys.stderr)
        return 130
