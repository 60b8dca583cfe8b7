"""`oxidized`: run the daemon, check a configuration, make keys, try header compression.

Each verb imports only what it needs.
"""

from __future__ import annotations

import argparse
import os
import stat
import sys
from collections.abc import Sequence

import oxidized
from oxidized.errors import ConfigError, Exit


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status; see `oxidized.errors.Exit`."""
    options = _parser().parse_args(arguments)
    try:
        status = int(options.run(options))
        sys.stdout.flush()
        return status
    except ConfigError as error:
        print(error, file=sys.stderr)
        return Exit.CONFIG
    except BrokenPipeError:
        # Whoever read our output has had enough; Python must not complain about it when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="oxidized", description="A tunnel that makes bad links behave.")
    parser.add_argument("--version", action="version", version=f"oxidized {oxidized.__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    run = verbs.add_parser("run", help="run the daemon in the foreground")
    run.set_defaults(run=_run)
    check = verbs.add_parser("check", help="check a configuration file and its key; no effect on the system")
    check.add_argument("--show-effective", action="store_true", help="print it with all defaults filled in")
    check.set_defaults(run=_check)
    for verb in (run, check):
        verb.add_argument("-c", "--config", metavar="FILE", required=True, help="/etc/oxidized/NAME.toml")

    keygen = verbs.add_parser("keygen", help="make a private key")
    keygen.add_argument("--out", metavar="FILE", help="into a new file of mode 0600, instead of printing it")
    keygen.set_defaults(run=_keygen)
    pubkey = verbs.add_parser("pubkey", help="read a private key on standard input, print its public key")
    pubkey.set_defaults(run=_pubkey)
    _headers_parser(verbs.add_parser("headers", help="what header compression does to captured packets"))
    return parser


def _headers_parser(headers: argparse.ArgumentParser) -> None:
    headers.add_argument("captures", metavar="PCAP", nargs="+", help="pcap or pcapng, or either as .gz")
    headers.add_argument("--loss", metavar="P", default="0", help="part of the packets lost: 10%% or 0.1")
    headers.add_argument("--burst", metavar="N", type=int, default=1, help="packets lost at a time (1)")
    headers.add_argument("--late", metavar="P:N", default="0:1", help="part that arrives after N later ones")
    headers.add_argument("--rtt", metavar="TIME", default="40ms", help="until an acknowledgement (40ms)")
    headers.add_argument("--spacing", metavar="TIME", default="20ms", help="from packet to packet (20ms)")
    headers.add_argument("--seed", metavar="N", type=int, default=1, help="of what is lost and late (1)")
    headers.add_argument("--json", metavar="FILE", help="write JSON; - is standard output")
    headers.set_defaults(run=_headers, parser=headers)


def _run(options: argparse.Namespace) -> int:
    try:
        from oxidized.io import daemon
    except ModuleNotFoundError as error:
        if error.name != "oxidized.ffi._oxi":
            raise
        print("oxidized: the C extension is not built here: ./dev build", file=sys.stderr)
        return Exit.FAILURE
    return daemon.main(os.path.abspath(options.config))


def _check(options: argparse.Namespace) -> int:
    from oxidized import config, keys

    found = config.load(options.config)
    if keys.is_credential(found.identity.key) and "CREDENTIALS_DIRECTORY" not in os.environ:
        # By hand there is none; in the unit, ExecStartPre has it and checks it.
        print(f"note: {found.identity.key} is only there inside the unit; not checked", file=sys.stderr)
    else:
        found.to_settings()
    if options.show_effective:
        sys.stdout.write(config.effective(found))
    else:
        role = "edge" if found.listen is None else "hub"
        print(f"{options.config}: good ({role} {found.interface.name}, {_count(len(found.peers), 'peer')})")
    return Exit.OK


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _keygen(options: argparse.Namespace) -> int:
    from oxidized import keys

    private = keys.generate()
    if options.out is None:
        if stat.S_ISREG(mode := os.fstat(sys.stdout.fileno()).st_mode) and mode & 0o077:
            print("warning: others can read the file this goes to; `--out FILE` does better", file=sys.stderr)
        print(keys.private_text(private))
        return Exit.OK
    try:
        keys.write_new(options.out, private)
    except OSError as error:
        print(f"oxidized: {options.out}: {error.strerror}", file=sys.stderr)
        return Exit.PERMISSION if isinstance(error, PermissionError) else Exit.FAILURE
    print(keys.public_text(keys.public_of(private)))
    return Exit.OK


def _pubkey(options: argparse.Namespace) -> int:
    from oxidized import keys
    from oxidized.limits import KEY_FILE_BYTES_MAX

    content = sys.stdin.buffer.read(KEY_FILE_BYTES_MAX + 1)
    try:
        if len(content) > KEY_FILE_BYTES_MAX:
            raise ValueError("is too long")
        private = keys.private_parse(content.decode("ascii", "replace"))
    except ValueError as error:
        print(f"oxidized: what standard input holds {error}", file=sys.stderr)
        return Exit.CONFIG
    print(keys.public_text(keys.public_of(private)))
    return Exit.OK


def _headers(options: argparse.Namespace) -> int:
    from oxidized import headers

    try:
        late_ratio, late_by = headers.lateness(options.late)
        link = headers.Link(
            loss_ratio=headers.ratio(options.loss),
            burst=options.burst,
            late_ratio=late_ratio,
            late_by=late_by,
            rtt_us=headers.duration_us(options.rtt),
            spacing_us=headers.duration_us(options.spacing),
            seed=options.seed,
        )
        if not 0 < link.burst <= 10_000:
            raise ValueError(f"--burst {link.burst}: a number of packets from 1 to 10000")
    except ValueError as error:
        options.parser.error(str(error))
    return headers.main(options.captures, link, options.json)
