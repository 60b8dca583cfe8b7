"""The verbs of `oxidized-ctl` and their options. Each verb returns an exit status or raises Failure."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import oxidized
from oxidized.ctl import layout
from oxidized.ctl.client import ANSWER_S, Client, Failure, socket_path
from oxidized.errors import Exit
from oxidized.units import duration_ns, duration_text, ratio_text

RELOAD_S = 60.0
CLEAR = "\033[H\033[J"
SHELLS = ("bash", "zsh", "fish")

EPILOG = f"""\
exit status: 0 good, 1 failure, 2 usage, 3 daemon not running, 4 permission, 5 no such thing, 6 in part,
  7 down, 8 timed out, 78 bad configuration
columns of status --dump and show peer --dump: {" ".join(layout.PEER_DUMP)}
columns of show path --dump: {" ".join(layout.PATH_DUMP)}
"""

Options = argparse.Namespace
Document = dict[str, Any]


def parser_make() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="oxidized-ctl",
        description="Look at a running tunnel and steer it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"oxidized-ctl {oxidized.__version__}")
    parser.set_defaults(
        run=_status, check=False, ends_with_interrupt=False,
        interface=None, socket=None, json=False, dump=False, no_color=False,
    )  # fmt: skip
    _common(parser)
    verbs = parser.add_subparsers(metavar="VERB", title="verbs")

    def verb(name: str, run: Callable[[Options], int], help: str, **defaults: Any) -> argparse.ArgumentParser:
        found = verbs.add_parser(name, help=help, description=help, allow_abbrev=False)
        found.set_defaults(run=run, **defaults)
        _common(found)
        return found

    status = verb("status", _status, "one line per peer (also when no verb is given)")
    status.add_argument(
        "--check", action="store_true", help="exit 7 when a peer is down, 6 when all is not well"
    )
    show = verb(
        "show",
        _show,
        "all of peers, paths, the packet path, drops, stages, compression, flows, repair; a FIELD",
    )
    what = "[peer|path|plane|drops|stages|compression|flows|repair]"
    show.add_argument("words", nargs="*", metavar=f"{what} [NAME|COUNT] [FIELD]")
    _verbs_that_wait(verb)
    reload = verb("reload", _reload, "read the configuration again and apply what needs no restart")
    reload.add_argument("--dry-run", action="store_true", help="only say what it would do")
    log = verb("log", _log, "show or set the log's level (back after 15 minutes); -f: follow the log",
               ends_with_interrupt=True)  # fmt: skip
    log.add_argument("-f", "--follow", action="store_true")
    log.add_argument("level", nargs="?", metavar="LEVEL", help='"debug", "info,driver=debug"')
    verb("metrics", _metrics, "what a Prometheus scrape gets")
    verb("version", _version, "of this program and of the daemon")
    completion = verb("completion", _completion, "print a completion script for a shell")
    completion.add_argument("shell", choices=SHELLS)
    parser.set_defaults(verbs=tuple(verbs.choices))
    return parser


def _verbs_that_wait(verb: Callable[..., argparse.ArgumentParser]) -> None:
    watch = verb("watch", _watch, "repeat status or show", ends_with_interrupt=True)
    watch.add_argument("-n", dest="interval_s", type=_seconds, default=1.0, metavar="SECONDS")
    watch.add_argument("--count", type=_count, default=0, metavar="N", help="so often, then end")
    watch.add_argument("words", nargs=argparse.REMAINDER, metavar="[status|show ...]")
    ping = verb("ping", _ping, "round trips through the tunnel, without ICMP")
    ping.add_argument("peer", metavar="PEER")
    ping.add_argument("-c", dest="count", type=_count, default=4, metavar="N")
    ping.add_argument("--interval", dest="interval_s", type=_seconds, default=1.0, metavar="SECONDS")
    ping.add_argument("-W", dest="timeout_s", type=_seconds, default=2.0, metavar="SECONDS")
    wait = verb("wait", _wait, "until a peer (left out: every peer) is up")
    wait.add_argument("peer", nargs="?", metavar="PEER")
    wait.add_argument("--up", dest="peer_up", metavar="PEER", help="the same")
    wait.add_argument("--timeout", dest="timeout_s", type=_seconds, default=30.0, metavar="DURATION")


def _common(parser: argparse.ArgumentParser) -> None:
    """Options that may stand before and after the verb: no defaults here, lest the second undo the first."""
    left_out = argparse.SUPPRESS
    parser.add_argument("-i", dest="interface", metavar="NAME", default=left_out, help="which tunnel")
    parser.add_argument("--socket", metavar="PATH", default=left_out, help="its control socket")
    parser.add_argument("--json", action="store_true", default=left_out, help="JSON with a schema id")
    parser.add_argument("--dump", action="store_true", default=left_out, help="tab-separated, for scripts")
    parser.add_argument("--no-color", action="store_true", default=left_out)


def _seconds(text: str) -> float:
    """ "1", "0.5" (as watch and ping have it) or a duration, "30s"."""
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = duration_ns(text) / 1e9
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} {error}") from None
    if not 0 < seconds <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is not within a day")
    return seconds


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not in 1..10000")
    return int(text)


@contextmanager
def _daemon(options: Options) -> Iterator[Client]:
    client = Client(socket_path(options.socket, options.interface))
    try:
        yield client
    finally:
        client.close()


def _ask(options: Options, request: Document, answer_s: float = ANSWER_S) -> Document:
    with _daemon(options) as client:
        return client.ask(request, answer_s)


def _print_json(document: Document) -> None:
    print(json.dumps(document), flush=True)


def _is_colored(options: Options) -> bool:
    return not options.no_color and "NO_COLOR" not in os.environ and sys.stdout.isatty()


# ---- verbs ----


def _status(options: Options) -> int:
    status = _ask(options, {"verb": "status"})
    if options.json:
        _print_json(status)
    elif options.dump:
        sys.stdout.write("".join(map(layout.peer_dump, status["peers"])))
    else:
        sys.stdout.write(layout.status_text(status, _is_colored(options)))
    return _health(status) if options.check else Exit.OK


def _health(status: Document) -> Exit:
    if any(peer["expected"] and peer["state"] != "up" for peer in status["peers"]):
        return Exit.DOWN
    paths = [path for peer in status["peers"] if peer["expected"] for path in peer["paths"]]
    return Exit.PARTLY if status["health"] or any(path["state"] != "up" for path in paths) else Exit.OK


def _show(options: Options) -> int:
    from oxidized.ctl.show import Selection

    if options.words[:1] == ["flows"]:
        return _show_flows(options)
    selection = Selection(_ask(options, {"verb": "show"}), options.words)
    if options.json:
        _print_json(selection.document())
    else:
        sys.stdout.write(selection.dump() if options.dump else selection.text(_is_colored(options)))
    return Exit.OK


def _show_flows(options: Options) -> int:
    from oxidized.ctl import flows

    found = _ask(options, flows.request_of(options.words[1:]))
    if options.json:
        _print_json(found)
    else:
        sys.stdout.write(flows.dump(found) if options.dump else flows.text(found))
    return Exit.OK


def _watch(options: Options) -> int:
    """Repaint on a terminal; JSON: one object a line. A daemon that restarts is waited for."""
    inner = parser_make().parse_args(options.words)
    if inner.run not in (_status, _show):
        raise Failure("usage", "watch repeats status or show")
    for name in ("interface", "socket"):
        if getattr(inner, name) is None:
            setattr(inner, name, getattr(options, name))
    for name in ("json", "dump", "no_color"):
        setattr(inner, name, getattr(inner, name) or getattr(options, name))
    options.json = inner.json
    is_painting = sys.stdout.isatty() and not inner.json and not inner.dump
    rounds = 0
    while True:
        if is_painting:
            sys.stdout.write(CLEAR)
        try:
            inner.run(inner)
        except Failure as failure:
            if failure.exit not in (Exit.NOT_RUNNING, Exit.TIMED_OUT, Exit.FAILURE):
                raise
            if inner.json:
                _print_json({"error": {"code": failure.code, "message": str(failure)}})
            else:
                print(failure)
        sys.stdout.flush()
        rounds += 1
        if rounds == options.count:
            return Exit.OK
        time.sleep(options.interval_s)


def _ping(options: Options) -> int:
    request = {
        "verb": "ping",
        "peer": options.peer,
        "count": options.count,
        "interval_seconds": options.interval_s,
        "timeout_seconds": options.timeout_s,
    }
    patience_s = options.interval_s + options.timeout_s + ANSWER_S
    with _daemon(options) as client:
        for answer in client.stream(request, patience_s):
            if options.json:
                _print_json(answer)
            elif answer.get("summary"):
                sys.stdout.write(_ping_summary(answer))
            else:
                print(_ping_line(answer), flush=True)
            if answer.get("summary"):
                return Exit.OK if answer["received"] else Exit.DOWN
    raise Failure("failure", "the daemon hung up before the end")


def _ping_line(answer: Document) -> str:
    peer, sequence = layout.safe(answer["peer"]), answer["sequence"]
    if answer["rtt_seconds"] is None:
        return f"no answer from {peer}: seq={sequence}"
    return f"pong from {peer}: seq={sequence} time={answer['rtt_seconds'] * 1000:.3f} ms"


def _ping_summary(answer: Document) -> str:
    loss = ratio_text(answer["loss_ratio"])
    text = f"{answer['sent']} sent, {answer['received']} answered, {loss} loss\n"
    if not answer["received"]:
        return text
    rtts = [answer[f"rtt_{name}_seconds"] * 1000 for name in ("min", "mean", "max")]
    return text + "rtt min/mean/max = " + "/".join(f"{rtt:.3f}" for rtt in rtts) + " ms\n"


def _wait(options: Options) -> int:
    if options.peer and options.peer_up and options.peer != options.peer_up:
        raise Failure("usage", "one peer, please")
    peer = options.peer or options.peer_up
    request = {"verb": "wait", "peer": peer, "timeout_seconds": options.timeout_s}
    answer = _ask(options, request, options.timeout_s + ANSWER_S)
    if options.json:
        _print_json(answer)
    else:
        print(f"{layout.safe(peer) if peer else 'every peer'} is up")
    return Exit.OK


def _reload(options: Options) -> int:
    answer = _ask(options, {"verb": "reload", "dry_run": options.dry_run}, RELOAD_S)
    if options.json:
        _print_json(answer)
    else:
        _reload_print(answer, "would apply" if options.dry_run else "applied")
    if any(failed["key"] == "" for failed in answer["failed"]):
        return Exit.CONFIG
    return Exit.PARTLY if answer["needs_restart"] or answer["failed"] else Exit.OK


def _reload_print(answer: Document, applied: str) -> None:
    for title, changes in ((applied, answer["applied"]), ("needs a restart", answer["needs_restart"])):
        for change in changes:
            old, new = _value(change["old"]), _value(change["new"])
            print(f"{title}: {layout.safe(change['key'])}: {old} -> {new}")
    for failed in answer["failed"]:
        message = "\n".join(map(layout.safe, str(failed["message"]).split("\n")))
        print(
            f"failed: {layout.safe(failed['key'])}: {message}" if failed["key"] else message, file=sys.stderr
        )
    if not any(answer[name] for name in ("applied", "needs_restart", "failed")):
        print("nothing has changed")


def _value(value: Any) -> str:
    return "(none)" if value is None else layout.safe(json.dumps(value, ensure_ascii=False))


def _log(options: Options) -> int:
    if options.level is not None or not options.follow:
        answer = _ask(options, {"verb": "log", "level": options.level})
        if options.json:
            _print_json(answer)
        else:
            print(_level_text(answer))
    if not options.follow:
        return Exit.OK
    with _daemon(options) as client:
        for record in client.stream({"verb": "log-follow"}, None):
            if options.json:
                _print_json(record)
            else:
                print(_record_text(record), flush=True)
    raise Failure("not-running", "the daemon has stopped")


def _level_text(answer: Document) -> str:
    text = f"level {layout.safe(answer['level'])}"
    if answer["returns_to"] is None:
        return text
    left = duration_text(max(1, round(answer["returns_in_seconds"])) * 10**9)
    return f"{text}, back to {layout.safe(answer['returns_to'])} in {left}"


def _record_text(record: Document) -> str:
    missed = f"({record['missed']} lines missed)\n" if record.get("missed") else ""
    line = f"{record['time']} {record['level']:<7} {record['module']}: {record['message']}"
    trace = "".join("\n" + layout.safe(part) for part in str(record.get("trace", "")).splitlines())
    return missed + layout.safe(line) + trace


def _metrics(options: Options) -> int:
    answer = _ask(options, {"verb": "metrics"})
    if options.json:
        _print_json(answer)
    else:
        sys.stdout.write(answer["text"])
    return Exit.OK


def _version(options: Options) -> int:
    own = oxidized.__version__
    if not options.json:
        print(f"oxidized-ctl {own}", flush=True)
    answer = _ask(options, {"verb": "version"})
    if options.json:
        _print_json({**answer, "ctl_version": own})
        return Exit.OK
    print(f"daemon {layout.safe(answer['name'])} {layout.safe(answer['version'])} (pid {answer['pid']})")
    if answer["version"] != own:
        print("the daemon runs another version: restart it to have this one")
    return Exit.OK


def _completion(options: Options) -> int:
    from oxidized.ctl.completion import script

    sys.stdout.write(script(options.shell, options.verbs))
    return Exit.OK
