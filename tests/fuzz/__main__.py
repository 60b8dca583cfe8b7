"""Builds and runs the fuzz targets: `python -m tests.fuzz --short` (tests) or `--seconds N` (./dev fuzz).

--short: gcc, the corpus and a fixed number of seeded mutations of it; the same inputs on each run.
--seconds N: clang's libFuzzer, guided by coverage, N seconds for each target, as many at once as there are
cores. Either way address and undefined-behaviour sanitizers watch. What is new goes to build/fuzz/corpus, the
input of a crash to build/fuzz/crashes; put it into tests/fuzz/corpus/TARGET with the fix.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "tests" / "fuzz"
BUILD = ROOT / "build" / "fuzz"
CORPUS = HERE / "corpus"

SHORT_MUTATIONS = 4000
SHORT_SEED = 1
INPUT_BYTES_MAX = 4096
SHARED = (HERE / "support.c", HERE / "frames_text.c")
C_TARGETS = tuple(sorted(path.stem for path in HERE.glob("fuzz_*.c")))
FLAGS = (
    "-std=c11 -D_GNU_SOURCE -O1 -g -fno-omit-frame-pointer -DOXI_DEBUG "
    "-fsanitize=address,undefined -fno-sanitize-recover=undefined"
).split()
# A large quarantine makes each new plane cost fresh pages; what is freed and used again is still found.
SANITIZER_OPTIONS = {"ASAN_OPTIONS": "quarantine_size_mb=16", "UBSAN_OPTIONS": "print_stacktrace=1"}


@dataclass(frozen=True, slots=True)
class Job:
    name: str
    command: list[str]
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Outcome:
    job: Job
    is_clean: bool
    last_line: str
    log: Path


def compile_all(compiler: str, flags: Sequence[str], sources: Sequence[Path], folder: Path) -> list[Path]:
    """Objects of `sources` in `folder`; those older than any source or header are made anew."""
    folder.mkdir(parents=True, exist_ok=True)
    headers = [*(ROOT / "native").rglob("*.h"), *HERE.glob("*.h"), Path(__file__)]
    newest = max(path.stat().st_mtime for path in headers)

    def compile_one(source: Path) -> Path:
        target = folder / (str(source.relative_to(ROOT)).replace("/", "_") + ".o")
        if not target.exists() or target.stat().st_mtime < max(newest, source.stat().st_mtime):
            include = f"-I{ROOT / 'native/include'}"
            subprocess.run([compiler, *flags, include, "-c", source, "-o", target], check=True)
        return target

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(compile_one, sources))


def build_targets(compiler: str, extra: Sequence[str], main: Sequence[Path]) -> dict[str, Path]:
    """The executable of each C target. `main` is what libFuzzer would bring along."""
    folder = BUILD / compiler
    flags = [*FLAGS, *extra]
    common = [*sorted((ROOT / "native").rglob("*.c")), *SHARED, *main]
    objects = compile_all(compiler, flags, [*common, *(HERE / f"{name}.c" for name in C_TARGETS)], folder)
    shared, own = objects[: len(common)], objects[len(common) :]
    executables = {}
    for name, target_object in zip(C_TARGETS, own, strict=True):
        executable = folder / name
        link = [compiler, *flags, *shared, target_object, "-o", executable, "-lcrypto", "-llz4", "-lpthread"]
        subprocess.run(link, check=True)
        executables[name] = executable
    return executables


def short_jobs(names: Sequence[str]) -> list[Job]:
    """The corpus and a fixed number of mutations, by gcc."""
    executables = build_targets("gcc", [], [HERE / "standalone_main.c"])
    counts = [str(SHORT_MUTATIONS), str(SHORT_SEED)]
    jobs = [
        Job(name, [str(executables[name]), str(CORPUS / name), *counts], timeout_s=300)
        for name in names
        if name in executables
    ]
    python = [sys.executable, "-m", "tests.fuzz.python_targets", "--inputs", str(SHORT_MUTATIONS)]
    return jobs + [Job(name, [*python, name], timeout_s=300) for name in names if name not in executables]


def long_jobs(names: Sequence[str], seconds: int) -> list[Job]:
    """So many seconds of libFuzzer, by clang; the Python targets mutate for as long."""
    executables = build_targets("clang", ["-fsanitize=fuzzer"], [])
    jobs = []
    for name in names:
        if name not in executables:
            command = [sys.executable, "-m", "tests.fuzz.python_targets", "--seconds", str(seconds), name]
            jobs.append(Job(name, command, timeout_s=seconds + 120))
            continue
        found = BUILD / "corpus" / name
        found.mkdir(parents=True, exist_ok=True)
        options = [f"-max_total_time={seconds}", f"-max_len={INPUT_BYTES_MAX}", "-timeout=20"]
        options += ["-rss_limit_mb=2048", f"-artifact_prefix={BUILD / 'crashes' / name}-"]
        known = [str(CORPUS / name)] if (CORPUS / name).is_dir() else []
        command = [str(executables[name]), *options, str(found), *known]
        jobs.append(Job(name, command, timeout_s=seconds + 300))
    return jobs


def run_job(job: Job) -> Outcome:
    log = BUILD / "log" / f"{job.name}.log"
    (BUILD / "crashes").mkdir(parents=True, exist_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, **SANITIZER_OPTIONS, "PYTHONPATH": str(ROOT)}
    with log.open("wb") as out:
        try:
            done = subprocess.run(
                job.command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=environment,
                cwd=BUILD / "crashes",
                timeout=job.timeout_s,
            )
            is_clean = done.returncode == 0
        except subprocess.TimeoutExpired:
            out.write(b"\nstopped: took too long\n")
            is_clean = False
    lines = log.read_text(errors="replace").strip().splitlines()
    return Outcome(job, is_clean, lines[-1] if lines else "", log)


def main() -> int:
    from tests.fuzz.python_targets import TARGETS

    every = [*C_TARGETS, *TARGETS]
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--short", action="store_true")
    how.add_argument("--seconds", type=int)
    parser.add_argument("--target", action="append", choices=every, help="only this one; may be repeated")
    arguments = parser.parse_args()
    names = arguments.target or every
    began = time.monotonic()
    jobs = short_jobs(names) if arguments.short else long_jobs(names, arguments.seconds)
    failed = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for outcome in pool.map(run_job, jobs):
            verdict = "clean" if outcome.is_clean else "FAILED"
            print(f"{outcome.job.name}: {verdict}: {outcome.last_line}", flush=True)
            if not outcome.is_clean:
                failed += 1
                print(*outcome.log.read_text(errors="replace").splitlines()[-40:], sep="\n")
                print(f"all of it: {outcome.log}; inputs: {BUILD / 'crashes'}", flush=True)
    print(f"{len(jobs)} fuzz targets, {failed} failed, {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
