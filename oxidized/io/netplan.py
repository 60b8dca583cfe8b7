"""What the kernel shall hold for one tunnel: addresses, routes and rules, worked out from the settings.

Pure. `netlink.py` makes it so, and later turns one plan into the next.

A default route (/0) in the main table would catch our own datagrams too, and the host's other
routes. So with table "auto" it goes, as wg-quick does it, to a table of its own (its number is the
fwmark), behind two rules per family:

    P-1:  from all lookup main suppress_prefixlength 0     what main knows better than "default"
    P:    not from all fwmark M lookup M                   all else, but for our own marked datagrams
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface

from oxidized.core.plane import Network
from oxidized.io.failure import StartError

PROTOCOL = 111  # marks routes and rules as ours; free in /etc/iproute2/rt_protos
TABLE_MAIN = 254

Interface = IPv4Interface | IPv6Interface


@dataclass(frozen=True, slots=True)
class Plan:
    """`routes`: (prefix, table) -> MTU of that route in bytes, 0 for the link's own.

    `rule_families`: families whose default route lies in `own_table` behind the two rules.
    """

    mtu_bytes: int
    addresses: tuple[Interface, ...]
    routes: dict[tuple[Network, int], int]
    own_table: int
    rule_families: frozenset[socket.AddressFamily]


def plan_make(
    *,
    mtu_bytes: int,
    addresses: Iterable[Interface],
    table: str | int,
    fwmark: int,
    peers: Iterable[tuple[Iterable[Network], int]],
) -> Plan:
    """`table`: "auto", "main", "off" or a number. `peers`: (allowed_ips, MTU or 0) of each that is on.

    Raises StartError: a default route behind no mark.
    """
    routes: dict[tuple[Network, int], int] = {}
    rule_families: set[socket.AddressFamily] = set()
    for allowed_ips, peer_mtu_bytes in peers:
        for prefix in () if table == "off" else allowed_ips:
            if table == "auto" and prefix.prefixlen == 0:
                rule_families.add(family_of(prefix))
                routes[prefix, fwmark] = peer_mtu_bytes
            else:
                routes[prefix, table if isinstance(table, int) else TABLE_MAIN] = peer_mtu_bytes
    if rule_families and not fwmark:
        raise StartError(
            'allowed_ips hold a default route: with interface.table = "auto" that needs an interface.fwmark'
        )
    return Plan(
        mtu_bytes=mtu_bytes,
        addresses=tuple(dict.fromkeys(addresses)),
        routes=routes,
        own_table=fwmark,
        rule_families=frozenset(rule_families),
    )


def family_of(prefix: Network | Interface) -> socket.AddressFamily:
    return socket.AF_INET if prefix.version == 4 else socket.AF_INET6
