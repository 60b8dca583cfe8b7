"""Longest prefix in both directions against brute force over `ipaddress`."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oxidized.ffi._oxi import ffi, lib

from oxidized.core.plane import Network, SessionKeys, Suite
from oxidized.errors import NativeError
from oxidized.ffi.dataplane import DataPlane
from tests.differential.reference import seal
from tests.native.rig import EDGE, KEY_A, KEY_B, PAYLOAD_MAX, START_NS, drops, ipv4, ipv6

PEERS = 5
# Few distinct bits, so that prefixes nest and share long beginnings.
V4 = st.one_of(
    st.sampled_from([0, 0x0A000000, 0x0A0000FF, 0xFFFFFFFF, 0x0A000100]), st.integers(0, 2**32 - 1)
)
V6 = st.one_of(st.sampled_from([0, 0xFD << 120, (0xFD << 120) | 1, 2**128 - 1]), st.integers(0, 2**128 - 1))
NETWORKS4 = st.tuples(V4, st.integers(0, 32)).map(lambda t: IPv4Network((t[0], t[1]), strict=False))
NETWORKS6 = st.tuples(V6, st.integers(0, 128)).map(lambda t: IPv6Network((t[0], t[1]), strict=False))
TABLES = st.dictionaries(st.one_of(NETWORKS4, NETWORKS6), st.integers(0, PEERS - 1), max_size=40)


def planes_peers() -> DataPlane:
    """A plane with peers that all have a session and an address of their own: port 1000 + peer."""
    plane = DataPlane(peers_max=PEERS, pool_pkts=256)
    for n in range(PEERS):
        peer = plane.peer_add(keepalive_ns=0, dead_after_ns=10**9, is_initiator=False)
        assert peer == n
        keys = SessionKeys(plane.index_pick(1 + n), n, Suite.CHACHA20_POLY1305, KEY_A, KEY_B, True)
        plane.session_install(START_NS, peer, keys)
        plane.path_set(peer, 0, type(EDGE)("192.0.2.1", 1000 + n), PAYLOAD_MAX)
    return plane


def longest(table: dict[Network, int], address: IPv4Address | IPv6Address) -> int | None:
    fits = [n for n in table if n.version == address.version and address in n]
    return table[max(fits, key=lambda n: n.prefixlen)] if fits else None


def near(
    table: dict[Network, int], others: list[IPv4Address | IPv6Address]
) -> list[IPv4Address | IPv6Address]:
    """First and last address of each prefix, and their neighbours outside."""
    found = list(others)
    for network in table:
        first, last = int(network.network_address), int(network.broadcast_address)
        kind = IPv4Address if network.version == 4 else IPv6Address
        top = 2**network.max_prefixlen - 1
        found += [kind(n) for n in {first, last, max(first - 1, 0), min(last + 1, top)}]
    return found[:64]


def packet_to(address: IPv4Address | IPv6Address) -> bytes:
    return ipv4(target=str(address)) if address.version == 4 else ipv6(target=str(address))


def packet_from(address: IPv4Address | IPv6Address) -> bytes:
    return ipv4(str(address)) if address.version == 4 else ipv6(str(address))


@settings(max_examples=120)
@given(TABLES, st.lists(st.one_of(V4.map(IPv4Address), V6.map(IPv6Address)), max_size=12))
def test_destination_picks_the_peer(
    table: dict[Network, int], others: list[IPv4Address | IPv6Address]
) -> None:
    plane = planes_peers()
    plane.routes_set(list(table.items()))
    targets = near(table, others)
    expected = [longest(table, address) for address in targets]
    plane.inner_push(START_NS, [packet_to(address) for address in targets])
    assert [to.port - 1000 for _, to in plane.outer_pop()] == [peer for peer in expected if peer is not None]
    assert drops(plane).get(("transmit", "no-route"), 0) == expected.count(None)
    plane.close()


@settings(max_examples=60)
@given(TABLES, st.lists(st.one_of(V4.map(IPv4Address), V6.map(IPv6Address)), max_size=12), st.data())
def test_source_must_be_the_peers(
    table: dict[Network, int], others: list[IPv4Address | IPv6Address], data: st.DataObject
) -> None:
    plane = planes_peers()
    plane.routes_set(list(table.items()))
    sender = data.draw(st.integers(0, PEERS - 1))
    index = plane.index_pick(99)
    keys = SessionKeys(index, 0, Suite.AES_256_GCM, KEY_A, KEY_B, True)
    plane.session_install(START_NS, sender, keys)
    sources = near(table, others)
    datagrams = [seal(1, KEY_A, 0, 0, index, pn, packet_from(a)) for pn, a in enumerate(sources)]
    plane.outer_push(START_NS, [(datagram, EDGE) for datagram in datagrams])
    good = [packet_from(a) for a in sources if longest(table, a) == sender]
    assert plane.inner_pop() == [(sender, packet) for packet in good]
    assert drops(plane).get(("receive", "wrong-source"), 0) == len(sources) - len(good)
    plane.close()


@settings(max_examples=60)
@given(TABLES, TABLES.filter(bool), st.data())
def test_a_duplicate_is_refused_and_nothing_changes(
    before: dict[Network, int], after: dict[Network, int], data: st.DataObject
) -> None:
    plane = planes_peers()
    plane.routes_set(list(before.items()))
    twice = data.draw(st.sampled_from(list(after)))
    rows = [*after.items(), (twice, data.draw(st.integers(0, PEERS - 1)))]
    with pytest.raises(NativeError) as refused:
        plane.routes_set(data.draw(st.permutations(rows)))
    assert refused.value.code == lib.OXI_E_ARG
    targets = near(before | after, [])
    plane.inner_push(START_NS, [packet_to(address) for address in targets])
    expected = [peer for address in targets if (peer := longest(before, address)) is not None]
    assert [to.port - 1000 for _, to in plane.outer_pop()] == expected
    plane.close()


def test_bits_behind_the_prefix_do_not_count() -> None:
    plane = planes_peers()
    rows = ffi.new("oxi_prefix[2]")
    for row, text, peer in ((rows[0], "10.1.2.3", 1), (rows[1], "10.200.2.3", 2)):
        ffi.memmove(row.ip, ip_address(text).packed, 4)
        row.family, row.bits, row.peer = lib.OXI_AF_INET, 8, peer
    assert lib.oxi_routes_set(plane._dp, rows, 1) == lib.OXI_OK
    plane.inner_push(START_NS, [packet_to(ip_address("10.77.0.1"))])
    assert [to.port for _, to in plane.outer_pop()] == [1001]
    assert lib.oxi_routes_set(plane._dp, rows, 2) == lib.OXI_E_ARG


def test_as_many_routes_as_were_asked_for_always_fit() -> None:
    """Alternating bits make every insertion cost its two nodes."""
    plane = DataPlane(routes_max=64)
    peer = plane.peer_add(keepalive_ns=0, dead_after_ns=1, is_initiator=False)
    rows = [(IPv4Network((int(f"{n:06b}"[::-1], 2) << 26, 32)), peer) for n in range(64)]
    plane.routes_set(rows)
    many = [(IPv4Network((n << 8, 24)), peer) for n in range(200)]
    with pytest.raises(NativeError) as refused:
        plane.routes_set(many)
    assert refused.value.code == lib.OXI_E_FULL
    plane.inner_push(START_NS, [packet_to(network.network_address) for network, _ in rows])
    assert drops(plane) == {("transmit", "no-session"): 64}, "the table of before is still in use"
    plane.routes_set([])
    plane.inner_push(START_NS, [packet_to(rows[0][0].network_address)])
    assert drops(plane)["transmit", "no-route"] == 1
