"""Runs stages of `./dev test` side by side, each as `./dev stage NAME`: `python -m tests.lanes NAME...`.

Two at a time, in the order given; all of them, whatever fails. What a stage says goes to
build/log/stage-NAME.log and is shown when it fails. The first one has the processor when it wants it: it is
the one that moves real packets, and mostly waits. Exit code 1 when a stage fails.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LANES = 2
NICENESS = 10  # a ninth of the processor when both want it
TOLD_LINES_MAX = 200
TAIL_LINES = 40

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    name: str
    returncode: int
    elapsed_s: float
    log: Path

    @property
    def verdict(self) -> str:
        return "passed" if self.returncode == 0 else "FAILED"

    def lines(self) -> list[str]:
        return self.log.read_text(encoding="utf-8", errors="replace").rstrip().splitlines()


def why(lines: Sequence[str]) -> list[str]:
    """What tells of a failure: all from pytest's first account of one on, else the end."""
    begin = next((n for n, line in enumerate(lines) if line.startswith(("=== ", "====="))
                  and (" FAILURES " in line or " ERRORS " in line)), len(lines) - TAIL_LINES)  # fmt: skip
    found = list(lines[max(begin, 0) :])
    left_out = len(found) - TOLD_LINES_MAX
    half = TOLD_LINES_MAX // 2
    return found if left_out <= 0 else [*found[:half], f"[{left_out} lines]", *found[-half:]]


def run_all(commands: dict[str, Sequence[str]], logs: Path, tell: Tell) -> list[Outcome]:
    """Runs the commands, LANES at a time; tells as they begin and end; the outcomes in the order given."""
    logs.mkdir(parents=True, exist_ok=True)
    first = next(iter(commands))

    def run(name: str) -> Outcome:
        tell(f"{name}: begins")
        log = logs / f"stage-{name}.log"
        before = [] if name == first else ["nice", "-n", str(NICENESS)]
        begin = time.monotonic()
        with log.open("wb") as out:
            done = subprocess.run([*before, *commands[name]], cwd=ROOT, stdin=subprocess.DEVNULL,
                                  stdout=out, stderr=subprocess.STDOUT, check=False)  # fmt: skip
        return Outcome(name, done.returncode, time.monotonic() - begin, log)

    found: dict[str, Outcome] = {}
    with ThreadPoolExecutor(LANES) as pool:
        try:
            for future in as_completed([pool.submit(run, name) for name in commands]):
                outcome = future.result()
                found[outcome.name] = outcome
                tell(f"{outcome.name}: {outcome.verdict} after {outcome.elapsed_s:.0f} s")
                if outcome.returncode:
                    tell("\n".join([*why(outcome.lines()), f"all of it: {outcome.log}"]))
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)  # those under way were interrupted as well
            raise
    return [found[name] for name in commands]


def summary(outcomes: Sequence[Outcome]) -> str:
    """A line for each stage; under those that fail the tests that did."""
    rows = []
    for outcome in outcomes:
        lines = outcome.lines()
        last = lines[-1].strip("= ") if lines else ""
        rows.append(f"{outcome.name:<12} {outcome.verdict} {outcome.elapsed_s:5.0f} s  {last[:80]}")
        if outcome.returncode:
            red = [line for line in lines if line.startswith(("FAILED ", "ERROR "))]
            rows += [f"  {line[:105]}" for line in red[:TAIL_LINES]]
    return "\n".join(rows)


def main(names: Sequence[str]) -> int:
    begin = time.monotonic()

    def tell(text: str) -> None:
        print(f"[{time.monotonic() - begin:4.0f} s] {text}\n", end="", flush=True)  # whole, from two threads

    commands = {name: ["./dev", "stage", name] for name in names}
    try:
        outcomes = run_all(commands, ROOT / "build/log", tell)
    except KeyboardInterrupt:
        return 130
    print(f"\n{summary(outcomes)}")
    return 1 if any(outcome.returncode for outcome in outcomes) else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
