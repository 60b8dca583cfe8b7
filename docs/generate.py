"""Writes docs/configuration.md, docs/metrics.md and docs/states.md from the tables in the code.

`python -m docs.generate --write`. Without --write it says which page is stale, and fails.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from oxidized import config_schema as schema
from oxidized.config_kinds import Key
from oxidized.core.counters import COUNTERS
from oxidized.core.session import Role, mermaid
from oxidized.ctl.layout import PATH_DUMP, PEER_DUMP
from oxidized.io.metrics_table import METRICS, Metric
from oxidized.limits import METRICS_PEERS_MAX

ROOT = Path(__file__).resolve().parents[1]
_DROP = re.compile(r'^\s*X\(\w+,\s*"([a-z0-9-]+)",\s*"([^"]+)"\)', re.MULTILINE)

CONFIGURATION_HEAD = """\
# Configuration

One file per tunnel, `/etc/oxidized/NAME.toml` (root:oxidized, 0640), in TOML 1.0. It is read strictly: an
unknown key, a missing unit or a prefix that two peers claim is an error that names file, line and key, and
nothing starts (exit status 78). Private keys never stand in it.

- `oxidized check --config FILE` says all that is wrong with a file and changes nothing; `--show-effective`
  prints it with all defaults filled in.
- `oxidized-ctl reload` applies a changed file to a running tunnel without dropping a packet, and says per key
  what it did. Keys that are not reloadable need a restart; so does an `interface.mtu`, `crypto.rekey_after`
  or `crypto.rekey_packets` above what the tunnel was started with, and more peers or prefixes than it made
  room for.
- Durations are strings with a unit: `ms`, `s`, `min`, `h`, `d` (`"20s"`, `"1.5min"`). No bare numbers.
- In TOML the keys of the top level stand before all tables.

A whole edge is [examples/edge.toml](../examples/edge.toml),
a hub [examples/hub.toml](../examples/hub.toml).

## Top level

| key | type | range | default | reloadable | meaning |
|---|---|---|---|---|---|
| `version` | integer | 1 | required | . | Version of this format. |
| `include` | list of strings | path, pattern | none | yes | Files with further `[[peer]]` tables \
and nothing else, relative to this file. A name without a pattern must exist. |

"""

CONFIGURATION_TAIL = """\
## Beyond single keys

- Names and public keys of peers are unique, over included files too.
- The very same prefix in the `allowed_ips` of two peers is an error. Of other lengths the longest wins.
- A default route with `interface.table = "auto"` needs an `interface.fwmark`.
- Bounds: {peers} peers, {prefixes} prefixes, {bytes} bytes per file.

This page is made from `oxidized/config_schema.py` by `python -m docs.generate --write`.
"""

METRICS_HEAD = f"""\
# Metrics

`control.metrics = "127.0.0.1:19586"` or `"unix:/path"` turns on `GET /metrics`; `oxidized-ctl metrics` prints
the same without it. Base units, counters end in `_total`, moments in `_timestamp_seconds`. All but
`process_*` have the label `interface`. A scrape reads counters that the packet path keeps anyway and never
touches it. A sample that is not known (a round-trip time before the first answer) is left out.

With more than {METRICS_PEERS_MAX} peers a hub sends of each only `oxidized_peer_up` and
`oxidized_peer_expected`, and the aggregates. Endpoints and keys stand in `_info` series alone, so that a peer
that roams makes no new series elsewhere.

Alert rules: [systemd/oxidized-alerts.yml](../systemd/oxidized-alerts.yml).

| metric | type | labels | meaning |
|---|---|---|---|
"""


def configuration_page() -> str:
    from oxidized import limits

    parts = [CONFIGURATION_HEAD]
    for name, table in schema.TABLES.items():
        optional = ", optional" if name in schema.OPTIONAL_TABLES else ""
        parts.append(_table_section(f"`[{name}]`{optional}", table))
    parts.append(_table_section("`[[peer]]`", schema.PeerConfig))
    inherited = [f"`{name}`" for name, key in schema.keys_of(schema.PeerConfig).items() if key.inheritable]
    parts.append(f"`[defaults.peer]` may set {', '.join(inherited)}.\n\n")
    parts.append(
        CONFIGURATION_TAIL.format(
            peers=limits.PEERS_MAX, prefixes=limits.PREFIXES_MAX, bytes=limits.CONFIG_BYTES_MAX
        )
    )
    return "".join(parts)


def _table_section(title: str, table: type) -> str:
    rows = "".join(_key_row(name, key) for name, key in schema.keys_of(table).items())
    head = "| key | type | range | default | reloadable | meaning |\n|---|---|---|---|---|---|\n"
    return f"## {title}\n\n{_one_line(table.__doc__ or '')}\n\n{head}{rows}\n"


def _key_row(name: str, key: Key) -> str:
    default = "required" if key.default == schema.REQUIRED else key.default
    default = default if default in ("required", "none") else f"`{default}`"
    reloadable = "yes" if key.reloadable else "restart"
    cells = (f"`{name}`", key.kind.name, key.range_text, default, reloadable, key.help)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def drop_reasons() -> dict[str, str]:
    """Reason -> help, from the one list the C core has."""
    return dict(_DROP.findall((ROOT / "native/core/drop.h").read_text()))


def metrics_page() -> str:
    parts = [METRICS_HEAD, *map(_metric_row, METRICS)]
    parts += [
        "\n## Drop reasons\n\n",
        "`oxidized_dropped_packets_total{reason=...}`, `oxidized-ctl show drops`.\n\n",
    ]
    parts += ["| reason | what was dropped |\n|---|---|\n", *_rows(drop_reasons())]
    parts += [
        "\n## Control events\n\n",
        "`oxidized_control_events_total{reason=...}`. Besides these, ",
        _SHELL_EVENTS,
    ]
    parts += ["| reason | what it counts |\n|---|---|\n", *_rows(COUNTERS)]
    parts += ["\n## Columns of `oxidized-ctl --dump`\n\n"]
    parts += [f"- `status`, `show peer`: {_codes(PEER_DUMP)}\n- `show path`: {_codes(PATH_DUMP)}\n"]
    parts += ["- `show drops`: `direction`, `reason`, `packets`\n- `show plane`: `counter`, `value`\n\n"]
    parts += ["Tab-separated, no header, `-` for nothing; columns are only added at the end.\n\n"]
    parts += ["This page is made from `oxidized/io/metrics.py`, `native/core/drop.h` and\n"]
    parts += ["`oxidized/core/counters.py` by `python -m docs.generate --write`.\n"]
    return "".join(parts)


_SHELL_EVENTS = "`internal-errors` counts\nfaults of our own, and the daemon's sockets add theirs.\n\n"


def _metric_row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels) or "."
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |\n"


def _rows(table: dict[str, str]) -> list[str]:
    return [f"| `{name}` | {help} |\n" for name, help in table.items()]


def _codes(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


STATES_HEAD = """\
# States of a peer

What `oxidized-ctl status` shows under STATE, and what moves a peer from one state to the next. A peer is
`up` only when a data packet of its session was opened: keys alone do not show that packets pass. Triggers:
`start`, `stop`, `close` are the operator's; `resolved` an answer of the resolver; `established` a finished
handshake; `heard` the first packet opened; `silent` nothing opened for `dead_after` after something was sent;
`lost` the session is gone.
"""


def states_page() -> str:
    dialled = f"## A peer we dial (it has endpoints)\n\n```mermaid\n{mermaid(Role.DIALLED)}```\n"
    awaited = f"## A peer that calls us\n\n```mermaid\n{mermaid(Role.AWAITED)}```\n"
    made = "This page is made from `oxidized/core/session.py` by `python -m docs.generate --write`.\n"
    return "\n".join([STATES_HEAD, dialled, awaited, made])


PAGES = {
    "docs/configuration.md": configuration_page,
    "docs/metrics.md": metrics_page,
    "docs/states.md": states_page,
}


def stale(root: Path = ROOT) -> list[str]:
    """Pages that are not what the code says now."""
    return [
        name
        for name, page in PAGES.items()
        if not (root / name).exists() or (root / name).read_text(encoding="utf-8") != page()
    ]


def main(arguments: list[str]) -> int:
    if arguments == ["--write"]:
        for name in stale():
            (ROOT / name).write_text(PAGES[name](), encoding="utf-8")
            print(f"wrote {name}")
        return 0
    for name in stale():
        print(f"{name} is stale: python -m docs.generate --write", file=sys.stderr)
    return 1 if stale() else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
