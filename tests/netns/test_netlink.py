"""Addresses, routes and rules: set, changed, taken back, and put right after a crash."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from ipaddress import ip_interface, ip_network

import pytest

from oxidized.core.plane import Network
from oxidized.io.failure import StartError
from oxidized.io.netlink import Netlink
from oxidized.io.netplan import Plan, plan_make
from oxidized.io.tun import tun_open
from tests.netns.harness import Namespace

pytestmark = pytest.mark.netns

MARK = 0x6F78
OWN_RULES = [
    "from all lookup main suppress_prefixlength 0 proto 111",
    "not from all fwmark 0x6f78 lookup 28536 proto 111",
]


def nets(*prefixes: str) -> list[Network]:
    return [ip_network(prefix) for prefix in prefixes]


def plan(
    *prefixes: str,
    mtu_bytes: int = 1420,
    addresses: tuple[str, ...] = ("10.70.0.2/24", "fd70::2/64"),
    table: str | int = "auto",
    route_mtu_bytes: int = 0,
) -> Plan:
    return plan_make(
        mtu_bytes=mtu_bytes,
        addresses=[ip_interface(address) for address in addresses],
        table=table,
        fwmark=MARK,
        peers=[(nets(*prefixes), route_mtu_bytes)],
    )


def routes(namespace: Namespace, *selector: str) -> dict[str, dict[str, object]]:
    """Ours, of both families, by prefix."""
    found = []
    for family in ("-4", "-6"):
        # A table that never held a route does not exist: `ip` fails, and says so.
        text = namespace.run("ip", "-j", family, "route", "show", *selector, check=False).strip()
        found += json.loads(text) if text.endswith("]") else []
    return {str(route["dst"]): route for route in found if route.get("protocol") == "111"}


@contextmanager
def tun(namespace: Namespace, name: str = "oxt0") -> Iterator[None]:
    with namespace.entered():
        (fd,) = tun_open(name)
        try:
            yield
        finally:
            os.close(fd)


def applied(
    *plans: Plan, name: str = "oxt0", look: Callable[[int], None] = lambda _step: None
) -> list[list[str]]:
    """Open, apply each plan (`look(i)` after plan i), close. The failures of each."""

    async def work() -> list[list[str]]:
        netlink = Netlink(name)
        try:
            await netlink.open()
            failures = []
            for step, each in enumerate(plans):
                failures.append(await netlink.apply(each))
                look(step)
            return failures
        finally:
            await netlink.close()

    return asyncio.run(work())


def test_set_up_and_undo(namespace: Callable[[str], Namespace]) -> None:
    ns = namespace("nl")

    def look(_step: int) -> None:
        (link,) = ns.ip_json("address", "show", "dev", "oxt0")
        assert link["mtu"] == 1420 and "UP" in link["flags"]
        shown = {f"{a['local']}/{a['prefixlen']}": a for a in link["addr_info"]}
        assert set(shown) == {"10.70.0.2/24", "fd70::2/64"}, "no link-local address either"
        assert all(address.get("noprefixroute") for address in shown.values())
        assert set(routes(ns)) == {"10.70.0.0/24", "fd70::/64"}
        assert set(routes(ns, "table", str(MARK))) == {"default"}
        assert ns.rules("-4") == OWN_RULES
        assert ns.rules("-6") == []

    with tun(ns):
        assert applied(plan("10.70.0.0/24", "fd70::/64", "0.0.0.0/0"), look=look) == [[]]
        assert ns.rules("-4") == [] and routes(ns, "table", "all") == {}
    assert [link["ifname"] for link in ns.ip_json("link")] == ["lo"]


def test_one_plan_turns_into_the_next(namespace: Callable[[str], Namespace]) -> None:
    ns = namespace("nl")
    seen: list[dict[str, object]] = []

    def look(_step: int) -> None:
        (link,) = ns.ip_json("address", "show", "dev", "oxt0")
        seen.append(
            {
                "mtu": link["mtu"],
                "addresses": sorted(a["local"] for a in link["addr_info"]),
                "routes": {dst: r.get("metrics", [{}])[0].get("mtu", 0) for dst, r in routes(ns).items()},
                "rules": (len(ns.rules("-4")), len(ns.rules("-6"))),
            }
        )

    with tun(ns):
        failures = applied(
            plan("10.70.0.0/24", "fd70::/64"),
            plan("10.70.0.0/24", "fd70::/64", route_mtu_bytes=1280),
            plan("10.71.0.0/24", "::/0", mtu_bytes=1380, addresses=("10.70.0.9/24",)),
            plan("10.71.0.0/24", "::/0", mtu_bytes=1380, addresses=("10.70.0.9/24",)),
            plan("10.70.0.0/24", "fd70::/64", addresses=("fd70::2/64",)),
            plan(table="off"),
            look=look,
        )
    assert failures == [[]] * 6
    both = ["10.70.0.2", "fd70::2"]
    third = {"mtu": 1380, "addresses": ["10.70.0.9"], "routes": {"10.71.0.0/24": 0}, "rules": (0, 2)}
    assert seen == [
        {"mtu": 1420, "addresses": both, "routes": {"10.70.0.0/24": 0, "fd70::/64": 0}, "rules": (0, 0)},
        {
            "mtu": 1420,
            "addresses": both,
            "routes": {"10.70.0.0/24": 1280, "fd70::/64": 1280},
            "rules": (0, 0),
        },
        third,
        third,
        {
            "mtu": 1420,
            "addresses": ["fd70::2"],
            "routes": {"10.70.0.0/24": 0, "fd70::/64": 0},
            "rules": (0, 0),
        },
        {"mtu": 1420, "addresses": both, "routes": {}, "rules": (0, 0)},
    ]


def test_a_table_of_ones_own(namespace: Callable[[str], Namespace]) -> None:
    ns = namespace("nl")

    def look(_step: int) -> None:
        assert routes(ns) == {}
        assert set(routes(ns, "table", "777")) == {"10.70.0.0/24", "default"}
        assert ns.rules("-4") == []

    with tun(ns):
        assert applied(plan("10.70.0.0/24", "0.0.0.0/0", table=777), look=look) == [[]]


def test_someone_elses_route_is_left_alone(namespace: Callable[[str], Namespace]) -> None:
    ns = namespace("nl")
    ns.ip("route", "add", "10.70.0.0/24", "dev", "lo")
    with tun(ns):
        ((failure,),) = applied(plan("10.70.0.0/24"))
    assert failure.startswith("route 10.70.0.0/24: there is one already")
    assert [r["dev"] for r in ns.ip_json("route")] == ["lo"]


def test_stale_rules_of_a_killed_run_are_removed_and_no_others(namespace: Callable[[str], Namespace]) -> None:
    ns = namespace("nl")
    foreign = ["from all fwmark 0x1 lookup 100 proto 111", "from all fwmark 0x6f78 lookup 28536"]
    for family in ("-4", "-6"):
        ns.ip(
            family,
            "rule",
            "add",
            "pref",
            "90",
            "table",
            "main",
            "suppress_prefixlength",
            "0",
            "protocol",
            "111",
        )
        ns.ip(
            family,
            "rule",
            "add",
            "pref",
            "91",
            "not",
            "fwmark",
            "0x6f78",
            "table",
            "28536",
            "protocol",
            "111",
        )
        ns.ip(family, "rule", "add", "pref", "95", "fwmark", "0x1", "table", "100", "protocol", "111")
        ns.ip(family, "rule", "add", "pref", "96", "fwmark", "0x6f78", "table", "28536")
    counts: list[tuple[int, int]] = []
    with tun(ns):
        applied(
            plan("0.0.0.0/0"), look=lambda _step: counts.append((len(ns.rules("-4")), len(ns.rules("-6"))))
        )
    assert counts == [(2 + 1, 0 + 1)], "ours anew, and the one that only looks like ours"
    for family in ("-4", "-6"):
        assert ns.rules(family) == foreign[:1]
        assert foreign[1] in shell_rules(ns, family)


def shell_rules(ns: Namespace, family: str) -> str:
    return ns.ip("-d", family, "rule").replace(" proto boot", "").replace(" proto unspec", "")


def test_the_rules_of_a_living_tunnel_stay(namespace: Callable[[str], Namespace]) -> None:
    ns = namespace("nl")
    other: list[list[str]] = []

    def look(_step: int) -> None:
        before = ns.rules("-4")
        with tun(ns, "oxt1"):
            second = plan("0.0.0.0/0", addresses=("10.71.0.2/24",))
            with ThreadPoolExecutor() as pool:
                other.extend(pool.submit(lambda: applied(second, name="oxt1")).result())
        assert ns.rules("-4") == before == OWN_RULES

    with tun(ns):
        applied(plan("0.0.0.0/0"), look=look)
    assert len(other[0]) == 1 and other[0][0].startswith("route 0.0.0.0/0: there is one already")


def test_a_default_route_needs_a_mark() -> None:
    with pytest.raises(StartError, match=r"interface\.fwmark"):
        plan_make(mtu_bytes=1420, addresses=[], table="auto", fwmark=0, peers=[(nets("::/0"), 0)])


def test_tun_name_in_use(namespace: Callable[[str], Namespace]) -> None:
    ns = namespace("nl")
    with tun(ns), pytest.raises(StartError, match="interface oxt0 exists already"):
        tun_open("oxt0")
    with ns.entered(), pytest.raises(StartError, match="interface lo exists already"):
        tun_open("lo")
