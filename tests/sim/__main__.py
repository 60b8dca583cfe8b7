"""Command line of the simulator.

    python -m tests.sim --seeds 1000          many seeds, two processes
    python -m tests.sim --seed 17             replay one, telling everything
    python -m tests.sim --seed 17 --pcap f    and write what was on the wire
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter

from tests.sim.pcap import PcapWriter
from tests.sim.plan import FAULTS
from tests.sim.regressions import REGRESSIONS
from tests.sim.run import Options, Verdict, run_many, run_seed, stopwatch, tell_failure

FAILURES_TOLD_MAX = 10


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=200, help="how many seeds (default 200)")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first one (default 0)")
    parser.add_argument("--seed", type=int, help="replay this one alone and tell everything")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--pcap", help="with --seed: write the datagrams to this file")
    parser.add_argument("--faults", help=f"at most these, by commas, or none: {', '.join(FAULTS)}")
    parser.add_argument("--always", default="", help="these faults at least, by commas")
    parser.add_argument("--seen", action="store_true", help="tell which drops and events there were")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--handshakes", action="store_true", default=None, help="real tunnels in every run")
    mode.add_argument("--no-handshakes", action="store_false", dest="handshakes", help="planes alone")
    return parser.parse_args()


def options_of(args: argparse.Namespace) -> Options:
    only = None
    if args.faults is not None:
        only = frozenset() if args.faults == "none" else frozenset(args.faults.split(","))
    always = frozenset(args.always.split(",")) - {""}
    if unknown := ((only or frozenset()) | always) - set(FAULTS):
        sys.exit(f"no such fault: {', '.join(sorted(unknown))}; known: {', '.join(FAULTS)}")
    return Options(has_handshakes=args.handshakes, only=only, always=always)


def replay(args: argparse.Namespace, options: Options) -> int:
    if args.pcap:
        with open(args.pcap, "wb") as out:
            verdict = run_seed(args.seed, options, log=sys.stdout, pcap=PcapWriter(out))
    else:
        verdict = run_seed(args.seed, options, log=sys.stdout)
    if verdict.failure:
        print(tell_failure(verdict, options))
        return 1
    print(f"seed {verdict.seed} is good: {verdict.told}\ndigest {verdict.digest}")
    return 0


def main() -> int:
    args = arguments()
    options = options_of(args)
    if args.seed is not None:
        return replay(args, options)
    totals: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    failed: list[Verdict] = []

    def take(verdict: Verdict) -> None:
        totals.update(steps=verdict.steps, virtual_ns=verdict.virtual_ns, delivered=verdict.delivered, runs=1)
        seen.update(verdict.seen)
        if verdict.failure:
            failed.append(verdict)
            if len(failed) <= FAILURES_TOLD_MAX:
                print(tell_failure(verdict, options), flush=True)

    elapsed_s = stopwatch()
    seeds = [*range(args.first, args.first + args.seeds)]
    if args.first == 0:
        seeds += [seed for seed in REGRESSIONS if seed not in seeds]
    run_many(seeds, args.jobs, options, take)
    hours = totals["virtual_ns"] / 3.6e12
    print(
        f"sim: {totals['runs']} runs, {len(failed)} failed; {hours:.1f} virtual hours, "
        f"{totals['delivered']} packets delivered, {totals['steps']} steps in {elapsed_s():.0f} s"
    )
    if args.seen:
        print("\n".join(f"{count:10} {what}" for what, count in sorted(seen.items())))
    if failed:
        print("failed seeds:", *(verdict.seed for verdict in sorted(failed, key=lambda v: v.seed)))
    return 1 if failed or totals["runs"] < len(seeds) else 0


if __name__ == "__main__":
    sys.exit(main())
