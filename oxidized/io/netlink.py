"""Makes the kernel hold a `Plan`: link, addresses, routes and rules; takes all of it back at the end.

pyroute2 runs an event loop of its own, which can not be uvloop's: so one thread of ours has the one
netlink socket, and everything is carried over to it. What is there already is right, and what is
gone already is gone: each operation may be done twice.

A daemon that was killed leaves no routes (they go with the interface), but leaves rules. Ours are
known by their protocol number and shape; they are stale when their table has no route left.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from oxidized.core.plane import Network
from oxidized.errors import Exit
from oxidized.io.failure import StartError
from oxidized.io.netplan import PROTOCOL, TABLE_MAIN, Interface, Plan, family_of

# linux/if_addr.h, linux/fib_rules.h, linux/rtnetlink.h, linux/if_link.h, linux/ip.h
IFA_F_NODAD = 0x02
IFA_F_NOPREFIXROUTE = 0x200
FIB_RULE_INVERT = 0x02
RT_SCOPE_LINK = 253
RT_SCOPE_UNIVERSE = 0
IN6_ADDR_GEN_MODE_NONE = 1
NETLINK_ROUTE = 0
RTM_SETLINK = 19
NLM_F_REQUEST = 0x01
NLM_F_ACK = 0x04
IFLA_AF_SPEC = 26
IFLA_INET_CONF = 1
IPV4_DEVCONF_PROMOTE_SECONDARIES = 20

FAMILIES = (socket.AF_INET, socket.AF_INET6)

_T = TypeVar("_T")
_Rule = tuple[socket.AddressFamily, int, int]  # family, table, priority


class Netlink:
    """The kernel's side of interface `name`. One call at a time; each runs in our own thread."""

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="oxidized-netlink")
        self._kernel = _Kernel(name)

    async def _run(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    async def open(self) -> None:
        """Find the interface and remove stale rules of killed daemons. Raises StartError."""
        await self._run(self._kernel.open)

    async def apply(self, plan: Plan) -> list[str]:
        """Make it so. Returns one line for each thing that could not be done; the rest is done."""
        return await self._run(lambda: self._kernel.apply(plan))

    async def close(self) -> None:
        """Take everything back and end the thread. May be called whatever happened before."""
        try:
            await self._run(self._kernel.close)
        finally:
            self._executor.shutdown(wait=False)


class _Kernel:
    """Synchronous; all calls from one thread. Holds what it has set, so that it can be undone."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._route: Any = None
        self._error: type[Exception] = Exception
        self._index = 0
        self._mtu_bytes = 0
        self._addresses: set[Interface] = set()
        self._routes: dict[tuple[Network, int], int] = {}
        self._rules: dict[socket.AddressFamily, tuple[_Rule, _Rule]] = {}

    def open(self) -> None:
        # Imported only here: it takes 0.3 s and 11 MB.
        from pyroute2.iproute import IPRoute
        from pyroute2.netlink.exceptions import NetlinkError

        logging.getLogger("pyroute2").setLevel(logging.WARNING)  # it tells every message at debug
        self._error = NetlinkError
        self._route = IPRoute()
        found = self._route.link_lookup(ifname=self._name)
        if not found:
            raise StartError(f"interface {self._name} vanished while it was being set up")
        self._index = found[0]
        self._stale_remove()
        self._quietly(self._no_link_local)
        self._quietly(_promote_secondaries, self._index)

    def apply(self, plan: Plan) -> list[str]:
        """New things first, then what is no longer wanted, so that nothing is without a route."""
        failures: list[str] = []

        def attempt(what: str, work: Callable[..., None], *args: Any) -> None:
            try:
                work(*args)
            except self._error as error:
                failures.append(f"{what}: {self._why(error)}")
            except OSError as error:
                failures.append(f"{what}: {error.strerror or error}")

        if plan.mtu_bytes != self._mtu_bytes:
            attempt(f"mtu {plan.mtu_bytes}", self._link_up, plan.mtu_bytes)
        for address in plan.addresses:
            if address not in self._addresses:
                attempt(f"address {address}", self._address_add, address)
        for address in self._addresses.difference(plan.addresses):
            attempt(f"address {address}", self._address_remove, address)
        for (prefix, table), mtu_bytes in plan.routes.items():
            if self._routes.get((prefix, table)) != mtu_bytes:
                attempt(f"route {prefix}", self._route_set, prefix, table, mtu_bytes)
        for family in FAMILIES:
            if family in plan.rule_families and family not in self._rules:
                attempt("routing rules", self._rules_add, family, plan.own_table)
        for family in [f for f in self._rules if f not in plan.rule_families]:
            attempt("routing rules", self._rules_remove, family)
        for prefix, table in [key for key in self._routes if key not in plan.routes]:
            attempt(f"route {prefix}", self._route_remove, prefix, table)
        return failures

    def close(self) -> None:
        """Rules, then the link: with it down the kernel drops all routes at once."""
        if self._route is None:
            return
        try:
            for family in list(self._rules):
                self._quietly(self._rules_remove, family)
            if self._index:
                self._quietly(self._link_down)
        finally:
            self._route.close()
            self._route = None

    def _quietly(self, work: Callable[..., None], *args: Any) -> None:
        try:
            work(*args)
        except (self._error, OSError, StartError):
            pass  # gone already, or not ours to change any more

    def _why(self, error: Exception) -> str:
        code = getattr(error, "code", 0)
        if code == errno.EEXIST:
            return "there is one already, by somebody else (see: ip route, ip -6 route, ip address)"
        if code in (errno.EACCES, errno.EOPNOTSUPP):
            return f"{os.strerror(code)} (is IPv6 off here? see: sysctl net.ipv6.conf.all.disable_ipv6)"
        return os.strerror(code) if code else str(error)

    # Link

    def _no_link_local(self) -> None:
        """No link-local address: the kernel would send router solicitations into the tunnel."""
        mode = ["IFLA_INET6_ADDR_GEN_MODE", IN6_ADDR_GEN_MODE_NONE]
        spec = {"attrs": [["AF_INET6", {"attrs": [mode]}]]}
        self._route.link("set", index=self._index, IFLA_AF_SPEC=spec)

    def _link_up(self, mtu_bytes: int) -> None:
        self._route.link("set", index=self._index, mtu=mtu_bytes, state="up")
        self._mtu_bytes = mtu_bytes

    def _link_down(self) -> None:
        self._route.link("set", index=self._index, state="down")
        self._mtu_bytes = 0
        self._addresses.clear()
        self._routes.clear()

    # Addresses: without a route of their prefix; allowed_ips say what goes into the tunnel.

    def _address_add(self, address: Interface) -> None:
        flags = IFA_F_NOPREFIXROUTE | (IFA_F_NODAD if address.version == 6 else 0)
        self._exists_ok("addr", "add", **self._address_spec(address), IFA_FLAGS=flags)
        self._addresses.add(address)

    def _address_remove(self, address: Interface) -> None:
        self._absent_ok("addr", "del", **self._address_spec(address))
        self._addresses.discard(address)
        if address.version == 4 and all(other.version == 6 for other in self._addresses):
            # With the last IPv4 address the kernel takes the IPv4 routes: they are to be set again.
            self._routes = {key: mtu for key, mtu in self._routes.items() if key[0].version == 6}

    def _address_spec(self, address: Interface) -> dict[str, Any]:
        return {"index": self._index, "address": str(address.ip), "prefixlen": address.network.prefixlen}

    # Routes

    def _route_set(self, prefix: Network, table: int, mtu_bytes: int) -> None:
        """Add; or, where ours is there already, change its MTU. Never replaces somebody else's."""
        command = "replace" if (prefix, table) in self._routes else "add"
        extra: dict[str, Any] = {"metrics": {"mtu": mtu_bytes}} if mtu_bytes else {}
        self._route.route(command, **self._route_spec(prefix, table), **extra)
        self._routes[prefix, table] = mtu_bytes

    def _route_remove(self, prefix: Network, table: int) -> None:
        self._absent_ok("route", "del", **self._route_spec(prefix, table))
        self._routes.pop((prefix, table), None)

    def _route_spec(self, prefix: Network, table: int) -> dict[str, Any]:
        return {
            "family": family_of(prefix),
            "dst": str(prefix),
            "oif": self._index,
            "proto": PROTOCOL,
            "table": table,
            "scope": RT_SCOPE_LINK if prefix.version == 4 else RT_SCOPE_UNIVERSE,
        }

    # Rules

    def _rules_add(self, family: socket.AddressFamily, table: int) -> None:
        """The two rules of a default route, just above all rules but "local"."""
        others = [priority for priority in map(_priority, self._route.get_rules(family=family)) if priority]
        priority = min(others, default=32766) - 1
        if priority < 2:
            raise OSError(errno.ENOSPC, "no free priority above the rules that are there (see: ip rule)")
        main: _Rule = (family, TABLE_MAIN, priority - 1)
        own: _Rule = (family, table, priority)
        self._rules[family] = (main, own)
        try:
            for rule in (main, own):
                self._exists_ok("rule", "add", **_rule_spec(rule))
        except (self._error, OSError):
            self._quietly(self._rules_remove, family)
            raise

    def _rules_remove(self, family: socket.AddressFamily) -> None:
        main, own = self._rules[family]
        for rule in (own, main):
            self._absent_ok("rule", "del", **_rule_spec(rule))
        del self._rules[family]

    def _stale_remove(self) -> None:
        """Rules of ours whose table holds no route, and what is left of such a pair."""
        for family in FAMILIES:
            try:
                rules = [rule for rule in self._route.get_rules(family=family) if _is_ours(rule)]
            except self._error:
                continue  # the kernel has no rules of this family
            living: set[int] = set()
            for rule in rules:
                table = rule.get_attr("FRA_FWMARK")
                if table is None:
                    continue
                if self._table_holds_ours(family, table):
                    living.add(_priority(rule) - 1)
                else:
                    self._absent_ok("rule", "del", **_rule_spec((family, table, _priority(rule))))
            for rule in rules:
                if rule.get_attr("FRA_FWMARK") is None and _priority(rule) not in living:
                    self._absent_ok("rule", "del", **_rule_spec((family, TABLE_MAIN, _priority(rule))))

    def _table_holds_ours(self, family: socket.AddressFamily, table: int) -> bool:
        try:
            return any(
                route.get_attr("RTA_TABLE") == table and route["proto"] == PROTOCOL
                for route in self._route.get_routes(family=family, table=table)
            )
        except self._error:
            return False  # no such table

    # Each may be done twice

    def _exists_ok(self, method: str, *args: Any, **kwargs: Any) -> None:
        self._call((errno.EEXIST,), method, args, kwargs)

    def _absent_ok(self, method: str, *args: Any, **kwargs: Any) -> None:
        gone = (errno.ENOENT, errno.ESRCH, errno.ENODEV, errno.EADDRNOTAVAIL)
        self._call(gone, method, args, kwargs)

    def _call(self, allowed: tuple[int, ...], method: str, args: Any, kwargs: Any) -> None:
        try:
            getattr(self._route, method)(*args, **kwargs)
        except self._error as error:
            if getattr(error, "code", None) == errno.EPERM:
                why = "no permission to set addresses and routes: CAP_NET_ADMIN is needed"
                raise StartError(why, Exit.PERMISSION) from error
            if getattr(error, "code", None) not in allowed:
                raise


def reverse_path_is_strict() -> bool:
    """Whether the kernel would drop what comes back to our marked datagrams, behind a default route in
    the tunnel: it looks for the way back without the mark (rp_filter 1, src_valid_mark 0)."""
    try:
        with open("/proc/sys/net/ipv4/conf/all/src_valid_mark") as mark:
            if mark.read().strip() != "0":
                return False
        modes = {}
        for name in os.listdir("/proc/sys/net/ipv4/conf"):
            with open(f"/proc/sys/net/ipv4/conf/{name}/rp_filter") as mode:
                modes[name] = int(mode.read())
    except (OSError, ValueError):
        return False
    common = modes.pop("all", 0)
    modes.pop("default", None)
    return any(max(common, mode) == 1 for mode in modes.values())


def _promote_secondaries(index: int) -> None:
    """Let an address go without the others of its subnet (the sysctl, but /proc/sys may be read-only).

    pyroute2 can not write this attribute; so the message is made here: RTM_SETLINK with
    IFLA_AF_SPEC / AF_INET / IFLA_INET_CONF / IPV4_DEVCONF_PROMOTE_SECONDARIES (rtnetlink(7)).
    """
    body = struct.pack("=I", 1)
    for kind in (IPV4_DEVCONF_PROMOTE_SECONDARIES, IFLA_INET_CONF, socket.AF_INET, IFLA_AF_SPEC):
        body = struct.pack("=HH", 4 + len(body), kind) + body
    body = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, 0, 0) + body
    header = struct.pack("=IHHII", 16 + len(body), RTM_SETLINK, NLM_F_REQUEST | NLM_F_ACK, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_ROUTE) as raw:
        raw.settimeout(1.0)
        raw.sendto(header + body, (0, 0))
        (code,) = struct.unpack_from("=i", raw.recv(4096), 16)  # struct nlmsgerr
    if code:
        raise OSError(-code, os.strerror(-code))


def _priority(rule: Any) -> int:
    return rule.get_attr("FRA_PRIORITY") or 0


def _is_ours(rule: Any) -> bool:
    """Our protocol number and one of our two shapes (`netplan.py`)."""
    if rule.get_attr("FRA_PROTOCOL") != PROTOCOL:
        return False
    mark, table = rule.get_attr("FRA_FWMARK"), rule.get_attr("FRA_TABLE")
    if mark is None:
        return bool(table == TABLE_MAIN and rule.get_attr("FRA_SUPPRESS_PREFIXLEN") == 0)
    return bool(mark == table and rule["flags"] & FIB_RULE_INVERT)


def _rule_spec(rule: _Rule) -> dict[str, Any]:
    family, table, priority = rule
    spec: dict[str, Any] = {"family": family, "table": table, "priority": priority, "FRA_PROTOCOL": PROTOCOL}
    if table == TABLE_MAIN:
        spec["FRA_SUPPRESS_PREFIXLEN"] = 0
    else:
        spec |= {"fwmark": table, "flags": FIB_RULE_INVERT}
    return spec
