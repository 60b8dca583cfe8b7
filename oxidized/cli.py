"""`oxidized`: run the daemon, check a configuration, make keys. Each verb imports only what it needs."""

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
    return parser


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
