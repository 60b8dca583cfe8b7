"""From a seed to a verdict; and many seeds on several processes."""

from __future__ import annotations

import multiprocessing
import random
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import TextIO

from oxidized.core.tunnel import Tunnel
from tests.sim.accounts import CountedPlane
from tests.sim.pcap import PcapWriter
from tests.sim.plan import Plan, draw
from tests.sim.world import World


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one seed. `failure` is "" when all is well."""

    seed: int
    told: str
    digest: str
    failure: str
    steps: int
    virtual_ns: int
    delivered: int
    seen: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Options:
    """What is the same for all seeds of a call. See plan.draw()."""

    has_handshakes: bool | None = None
    only: frozenset[str] | None = None
    always: frozenset[str] = frozenset()
    plane_class: type[CountedPlane] = CountedPlane
    tunnel_class: type[Tunnel] = Tunnel


DEFAULT = Options()


def make_plan(seed: int, options: Options = DEFAULT) -> tuple[Plan, random.Random]:
    rng = random.Random(seed)
    return draw(seed, rng, options.has_handshakes, options.only, options.always), rng


def run_seed(
    seed: int, options: Options = DEFAULT, log: TextIO | None = None, pcap: PcapWriter | None = None
) -> Verdict:
    """One run. Every exception is a failure of the seed: nothing of the system may raise."""
    plan, rng = make_plan(seed, options)
    world = World(
        plan, rng, plane_class=options.plane_class, tunnel_class=options.tunnel_class, log=log, pcap=pcap
    )
    failure = ""
    try:
        world.run()
    except Exception as error:
        failure = f"at {world.now_ns / 1e9:.6f} s: {type(error).__name__}: {error}"
        if not isinstance(error, AssertionError) or not str(error):
            failure += "\n" + traceback.format_exc()
    return Verdict(
        seed=seed,
        told=plan.tell(),
        digest=world.digest,
        failure=failure,
        steps=world.steps,
        virtual_ns=world.now_ns,
        delivered=world.ledger.delivered,
        seen=world.seen,
    )


def replay_command(seed: int, options: Options) -> str:
    parts = [f"python -m tests.sim --seed {seed}"]
    if options.has_handshakes is not None:
        parts.append("--handshakes" if options.has_handshakes else "--no-handshakes")
    if options.only is not None:
        parts.append("--faults " + (",".join(sorted(options.only)) or "none"))
    if options.always:
        parts.append("--always " + ",".join(sorted(options.always)))
    return " ".join(parts)


def tell_failure(verdict: Verdict, options: Options) -> str:
    return (
        f"seed {verdict.seed} FAILED: {verdict.failure}\n"
        f"  {verdict.told}\n  replay: {replay_command(verdict.seed, options)}"
    )


def _worker(seeds: Sequence[int], options: Options, out: Connection) -> None:
    for seed in seeds:
        out.send(seed)  # so that the parent knows which one it was if we die
        out.send(run_seed(seed, options))
    out.close()


def run_many(
    seeds: Sequence[int], jobs: int, options: Options, on_verdict: Callable[[Verdict], None]
) -> None:
    """Deals the seeds out to `jobs` processes. A process that dies fails the seed it was at."""
    context = multiprocessing.get_context("fork")
    under_way: dict[Connection, int | None] = {}
    shares = {}
    for j in range(min(jobs, len(seeds))):
        ours, theirs = context.Pipe(duplex=False)
        share = seeds[j::jobs]
        process = context.Process(target=_worker, args=(share, options, theirs), daemon=True)
        process.start()
        theirs.close()
        under_way[ours] = None
        shares[ours] = (process, share)
    while under_way:
        for ready in wait(list(under_way)):
            assert isinstance(ready, Connection)
            try:
                item = ready.recv()
            except EOFError:
                _ended(shares[ready][0], under_way.pop(ready), on_verdict)
                continue
            if isinstance(item, Verdict):
                under_way[ready] = None
                on_verdict(item)
            else:
                under_way[ready] = item


def _ended(
    process: multiprocessing.process.BaseProcess, seed: int | None, on_verdict: Callable[[Verdict], None]
) -> None:
    process.join()
    if seed is not None or process.exitcode:
        told = f"the process died with exit code {process.exitcode}; the rest of its share was not run"
        on_verdict(Verdict(-1 if seed is None else seed, "", "", told, 0, 0, 0))


def stopwatch() -> Callable[[], float]:
    begin = time.monotonic()
    return lambda: time.monotonic() - begin
