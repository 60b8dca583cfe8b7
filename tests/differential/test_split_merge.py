"""Super-packets at the TUN: what is cut out of them and joined into them, against a second opinion."""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt
from scapy.packet import Raw

from oxidized.core.plane import Offload, SessionKeys, Suite, Super
from tests.differential import segments
from tests.differential.reference import End
from tests.differential.segments import ACK, PSH, cut, finish, header, partial, run, same, super_of
from tests.native.rig import INNER_A, INNER_B, S, Solo, drops, ipv4, key, sums_must_hold

ALL = Offload.TSO | Offload.USO | Offload.GSO | Offload.GRO


def sent_inner(rig: Solo) -> list[bytes]:
    """What the plane has sent, opened by the reference."""
    return [rig.far.open(datagram).plaintext for datagram, _ in rig.sent()]


# ---- split ----


@settings(deadline=None)
@given(
    kind=st.sampled_from([segments.TCP, segments.UDP]),
    v6=st.booleans(),
    payload=st.integers(1, 20000),
    segment_bytes=st.integers(1, 1352),
    flags=st.integers(0, 255),
    seq=st.integers(0, 2**32 - 1),
    ident=st.integers(0, 65535),
    options=st.sampled_from([b"", b"\1\1\x08\x0a" + bytes(8), b"\1" * 40]),
    fill=st.integers(0, 255),
    tos=st.integers(0, 255),
)
def test_a_super_packet_is_cut_as_linux_cuts_it(
    kind: int, v6: bool, payload: int, segment_bytes: int, flags: int, seq: int, ident: int,
    options: bytes, fill: int, tos: int,
) -> None:  # fmt: skip
    segment_bytes = max(segment_bytes, payload // 200 + 1)  # no more packets than the pool has
    head = header(
        kind, v6=v6, flags=flags, seq=seq, ident=ident, options=options, tos=tos, to_peer=True
    )  # fmt: skip
    segment_bytes = min(segment_bytes, 1420 - len(head))
    whole = finish(head + bytes((i * 7 + fill) % 256 for i in range(payload)), kind)
    how = super_of(whole, kind, segment_bytes)
    rig = Solo()
    rig.plane.super_push(rig.now_ns, partial(whole, kind), how)
    assert sent_inner(rig) == cut(whole, how)
    assert drops(rig.plane) == {}
    sums_must_hold(rig.plane)


@pytest.mark.parametrize("length", [1, 2, 3, 700, 1201])
def test_scapy_agrees_about_segments(length: int) -> None:
    """A third opinion on every field: the packets that scapy builds one by one."""
    payload = bytes(i % 255 for i in range(3 * 1200 + length))
    tcp = {
        "sport": 1,
        "dport": 2,
        "window": 9,
        "options": [("Timestamp", (5, 6)), ("NOP", None), ("NOP", None)],
    }
    whole = bytes(IP(src=INNER_B, dst=INNER_A, id=9) / TCP(seq=50, flags="PAF", **tcp) / Raw(payload))
    rig = Solo()
    rig.plane.super_push(rig.now_ns, partial(whole, segments.TCP), super_of(whole, segments.TCP, 1200))
    parts = [payload[i : i + 1200] for i in range(0, len(payload), 1200)]
    assert sent_inner(rig) == [
        bytes(
            IP(src=INNER_B, dst=INNER_A, id=9 + i)
            / TCP(seq=50 + 1200 * i, flags="PAF" if i == len(parts) - 1 else "A", **tcp)
            / Raw(part)
        )
        for i, part in enumerate(parts)
    ]


def test_segments_behind_extension_headers() -> None:
    head = IPv6(src="fd00::2", dst="fd00::1") / IPv6ExtHdrDestOpt()
    whole = bytes(head / TCP(sport=1, dport=2, seq=5) / Raw(bytes(range(250)) * 10))
    how = Super(kind=2, needs_csum=True, segment_bytes=1000, csum_start=48, csum_offset=16)
    rig = Solo()
    rig.plane.super_push(rig.now_ns, partial(whole, segments.TCP, 48), how)
    found = sent_inner(rig)
    assert found == cut(whole, how) and len(found) == 3
    assert found[1] == bytes(
        head / TCP(sport=1, dport=2, seq=1005) / Raw((bytes(range(250)) * 10)[1000:2000])
    )


@pytest.mark.parametrize("kind", [segments.TCP, segments.UDP])
@pytest.mark.parametrize("size", [0, 1, 37, 1300])
def test_a_checksum_left_to_us_is_finished(kind: int, size: int) -> None:
    whole = finish(header(kind, to_peer=True) + b"\xa5" * size, kind)
    how = replace(super_of(whole, kind, 0), kind=0)
    rig = Solo()
    rig.plane.super_push(rig.now_ns, partial(whole, kind), how)
    assert sent_inner(rig) == [whole]


def test_a_sum_of_zero_is_written_as_its_twin() -> None:
    """RFC 768: zero means that there is none."""
    for filler in range(65536):
        whole = finish(header(segments.UDP, to_peer=True) + struct.pack(">H", filler), segments.UDP)
        if whole[26:28] == b"\xff\xff":
            break
    rig = Solo()
    rig.plane.super_push(
        rig.now_ns, partial(whole, segments.UDP), replace(super_of(whole, segments.UDP, 0), kind=0)
    )
    assert sent_inner(rig) == [whole]


def test_a_sum_of_zero_in_a_segment_is_written_as_its_twin() -> None:
    """Of UDP; TCP has zero, as Linux cuts it."""
    for kind, expected in ((segments.UDP, b"\xff\xff"), (segments.TCP, b"\0\0")):
        at = 26 if kind == segments.UDP else 36
        head = header(kind, to_peer=True)
        for filler in range(65536):
            whole = finish(head + bytes(100) + struct.pack(">H", filler) + bytes(98), kind)
            how = super_of(whole, kind, 100)
            if cut(whole, how)[1][at : at + 2] == expected:
                break
        rig = Solo()
        rig.plane.super_push(rig.now_ns, partial(whole, kind), how)
        assert sent_inner(rig) == cut(whole, how)


def fragment(packet: bytes) -> bytes:
    return packet[:6] + b"\x20\0" + packet[8:]


@pytest.mark.parametrize(
    "spoil",
    [
        fragment,
        lambda p: p[:6] + b"\0\1" + p[8:],
        lambda p: p[:40],
        lambda p: p[:9] + b"\x11" + p[10:],
        lambda p: b"\x65" + p[1:],
        lambda p: b"\x46" + p[1:],
        lambda p: p[:32] + b"\x40" + p[33:],
    ],
    ids=["fragment", "later-fragment", "headers-alone", "protocol", "version", "header-length", "tcp-length"],
)
def test_a_super_packet_that_contradicts_itself_is_dropped(spoil: Callable[[bytes], bytes]) -> None:
    whole = finish(header(segments.TCP, to_peer=True) + bytes(4000), segments.TCP)
    rig = Solo()
    rig.plane.super_push(
        rig.now_ns, spoil(partial(whole, segments.TCP)), super_of(whole, segments.TCP, 1000)
    )
    assert drops(rig.plane) == {("transmit", "bad-super"): 1}
    assert rig.sent() == []
    sums_must_hold(rig.plane)


@settings(deadline=None)
@given(
    data=st.binary(max_size=200),
    kind=st.integers(0, 255),
    needs=st.booleans(),
    numbers=st.tuples(*[st.integers(0, 65535)] * 4),
)
def test_an_absurd_offload_header_is_one_counted_drop(
    data: bytes, kind: int, needs: bool, numbers: tuple[int, int, int, int]
) -> None:
    rig = Solo()
    rig.plane.super_push(rig.now_ns, data, Super(kind, needs, *numbers))
    rig.sent()
    sums_must_hold(rig.plane)


def test_more_packets_than_buffers() -> None:
    """A hostile program inside asks for segments of one byte: what has no buffer is counted."""
    whole = finish(header(segments.TCP, to_peer=True) + bytes(60000), segments.TCP)
    rig = Solo(pool_pkts=256)
    rig.plane.super_push(rig.now_ns, partial(whole, segments.TCP), super_of(whole, segments.TCP, 1))
    assert drops(rig.plane) == {("transmit", "pool-empty"): 60000 - 256}
    assert len(rig.sent()) == 256
    sums_must_hold(rig.plane)


# ---- merge ----


def merged(rig: Solo, packets: list[bytes]) -> list[tuple[bytes, int, Super]]:
    """The peer sends these; what is then written to the TUN."""
    for packet in packets:
        rig.hear(packet)
    found = []
    while (item := rig.plane.super_pop()) is not None:
        found.append(item)
    return found


def check(packets: list[bytes], found: list[tuple[bytes, int, Super]]) -> None:
    """Cutting what was written gives back what was sent, each flow in order."""
    came: list[bytes] = []
    for data, count, how in found:
        parts = cut(data, how)
        assert len(parts) == count and len(data) <= 65575 and count <= 64
        if how.kind:
            kind = segments.UDP if how.kind == 3 else segments.TCP
            assert data == partial(data, kind), "the kernel must find the sum of the pseudo header"
        came += parts
    flows: dict[bytes, list[bytes]] = defaultdict(list)
    for packet in packets:
        flows[packet[12:24] if packet[0] >> 4 == 4 else packet[8:44]].append(packet)
    for packet in came:
        sent = flows[packet[12:24] if packet[0] >> 4 == 4 else packet[8:44]].pop(0)
        assert same(sent, packet)
    assert not any(flows.values())


@pytest.mark.parametrize("v6", [False, True])
@pytest.mark.parametrize("kind", [segments.TCP, segments.UDP])
@pytest.mark.parametrize("last", [1000, 999, 1])
def test_a_run_of_segments_becomes_one(kind: int, v6: bool, last: int) -> None:
    rig = Solo()
    rig.plane.offload_set(ALL)
    packets = run(kind, 40, last=last, v6=v6)
    found = merged(rig, packets)
    assert [count for _, count, _ in found] == [40]
    check(packets, found)
    sums_must_hold(rig.plane)


def test_nothing_is_joined_where_the_kernel_takes_nothing() -> None:
    for offload, kind in (
        (Offload.USO, segments.TCP),
        (Offload.TSO, segments.UDP),
        (Offload(0), segments.TCP),
    ):
        rig = Solo()
        rig.plane.offload_set(offload)
        assert [count for _, count, _ in merged(rig, run(kind, 5))] == [1] * 5


def test_limits_of_a_super_packet() -> None:
    rig = Solo()
    rig.plane.offload_set(ALL)
    small = run(segments.UDP, 130, size=10, last=10)
    found = merged(rig, small)
    assert [count for _, count, _ in found] == [64, 64, 2]
    check(small, found)
    large = run(segments.TCP, 60, size=1360, last=1360)
    found = merged(rig, large)
    assert [count for _, count, _ in found] == [48, 12], "what fits 65,535 bytes"
    check(large, found)
    exact = run(segments.TCP, 60, size=1092, last=1092)
    found = merged(rig, exact)
    assert [count for _, count, _ in found] == [59, 1], "with its headers"
    check(exact, found)


CHANGES: dict[str, tuple[int, dict[str, int | bool | bytes]]] = {
    "ack": (segments.TCP, {"ack": 78}),
    "window": (segments.TCP, {"window": 501}),
    "urgent pointer": (segments.TCP, {"urgent": 1}),
    "ttl": (segments.TCP, {"ttl": 63}),
    "hop limit": (segments.TCP, {"v6": True, "ttl": 63}),
    "class": (segments.UDP, {"v6": True, "tos": 4}),
    "tos": (segments.TCP, {"tos": 4}),
    "ecn": (segments.TCP, {"tos": 1}),
    "df": (segments.TCP, {"df": False}),
    "options": (segments.TCP, {"options": b"\1\1\x08\x0a" + bytes(8)}),
    "port": (segments.TCP, {"sport": 5001}),
    "ece": (segments.TCP, {"flags": ACK | 0x40}),
    "udp ttl": (segments.UDP, {"ttl": 63}),
    "udp ecn": (segments.UDP, {"tos": 3}),
    "flow label": (segments.UDP, {"v6": True, "flow": 5}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_field_ends_the_run(name: str) -> None:
    kind, change = CHANGES[name]
    same_family: dict[str, bool] = {"v6": True} if change.get("v6") else {}
    packets = run(kind, 6, **same_family)
    packets[3] = run(kind, 6, **change)[3]
    rig = Solo()
    rig.plane.offload_set(ALL)
    found = merged(rig, packets)
    check(packets, found)
    assert len(found) >= 2
    assert all(count < 6 for _, count, _ in found)


@pytest.mark.parametrize("at", [20, 27, 31])
def test_a_changed_option_ends_the_run(at: int) -> None:
    """Of the same length; a timestamp moves on every now and then."""
    options = b"\1\1\x08\x0a" + bytes(8)
    packets = run(segments.TCP, 5, options=options)
    options = options[: at - 20] + b"\2" + options[at - 19 :]
    packets[2:] = run(segments.TCP, 5, options=options)[2:]
    rig = Solo()
    rig.plane.offload_set(ALL)
    found = merged(rig, packets)
    check(packets, found)
    assert [count for _, count, _ in found] == [2, 3]


@pytest.mark.parametrize(
    ("sizes", "counts"),
    [
        ([100, 100, 50, 100, 100], [3, 2]),
        ([100, 50, 50, 50], [2, 2]),
        ([50, 100, 100], [1, 2]),
        ([100, 100, 101, 101], [2, 2]),
        ([1, 1, 1], [3]),
        ([100, 0, 100], [1, 1, 1]),
    ],
)
@pytest.mark.parametrize("kind", [segments.TCP, segments.UDP])
def test_equal_sizes_and_a_shorter_one_at_the_end(kind: int, sizes: list[int], counts: list[int]) -> None:
    packets = [
        finish(header(kind, seq=sum(sizes[:i]), ident=i) + bytes([65 + i]) * size, kind)
        for i, size in enumerate(sizes)
    ]
    rig = Solo()
    rig.plane.offload_set(ALL)
    found = merged(rig, packets)
    check(packets, found)
    assert [count for _, count, _ in found] == counts


@pytest.mark.parametrize(
    "flags", [f for f in range(256) if f not in (ACK, ACK | PSH, ACK | 0x40, ACK | 0x48)]
)
def test_segments_with_other_flags_go_alone(flags: int) -> None:
    packets = run(segments.TCP, 5)
    packets[2] = run(segments.TCP, 5, flags=flags)[2]
    rig = Solo()
    rig.plane.offload_set(ALL)
    found = merged(rig, packets)
    assert [count for _, count, _ in found] == [2, 1, 2]
    assert [data for data, count, _ in found if count == 1] == [packets[2]], "untouched"
    check(packets, found)


def test_a_push_ends_a_super_packet_and_is_kept() -> None:
    packets = run(segments.TCP, 5)
    packets[2] = run(segments.TCP, 5, flags=ACK | PSH)[2]
    rig = Solo()
    rig.plane.offload_set(ALL)
    found = merged(rig, packets)
    assert [count for _, count, _ in found] == [3, 2]
    check(packets, found)


def test_identification_of_what_may_be_fragmented_is_kept() -> None:
    packets = run(segments.UDP, 3, df=False) + run(segments.UDP, 3, df=False, ident=4)
    rig = Solo()
    rig.plane.offload_set(ALL)
    assert [count for _, count, _ in merged(rig, packets)] == [6]
    packets = run(segments.UDP, 3, df=False) + run(segments.UDP, 3, df=False, ident=9)
    found = merged(rig, packets)
    assert [count for _, count, _ in found] == [3, 3]
    check(packets, found)


@pytest.mark.parametrize("kind", [segments.TCP, segments.UDP])
@pytest.mark.parametrize("at", [3, 10, 30, -1])
def test_nothing_broken_is_repaired(kind: int, at: int) -> None:
    """A packet whose checksum is wrong arrives as it was sent: joined, the kernel would write a right one."""
    packets = run(kind, 4)
    broken = bytearray(packets[1])
    broken[11 if at == 10 else at] ^= 1
    if at == 3:
        broken = bytearray(packets[1])
        broken[10] ^= 0x40
    packets[1] = bytes(broken)
    rig = Solo()
    rig.plane.offload_set(ALL)
    found = merged(rig, packets)
    assert (packets[1], 1, Super()) in found
    assert drops(rig.plane) == {}


ALONE, JOINED = [1, 1, 2], [4]


@pytest.mark.parametrize(
    ("kind", "at", "free", "zero", "ones"),
    [
        (segments.TCP, 36, 40, JOINED, ALONE),
        (segments.TCP, 10, 4, JOINED, ALONE),
        (segments.UDP, 26, 28, ALONE, JOINED),
    ],
    ids=["tcp", "header", "udp"],
)
def test_a_sum_of_zero_keeps_its_form(
    kind: int, at: int, free: int, zero: list[int], ones: list[int]
) -> None:
    """RFC 1624: zero and all ones are both right, but cutting writes one of them. In UDP zero means none."""
    packets = run(kind, 4)
    one = bytearray(packets[1])
    (total,) = struct.unpack_from(">H", one, at)
    total += struct.unpack_from(">H", one, free)[0]
    struct.pack_into(">H", one, free, (total & 0xFFFF) + (total >> 16))  # the sum at `at` is now zero
    right = finish(bytes(one), kind)
    assert right[at : at + 2] == (b"\xff\xff" if kind == segments.UDP else b"\0\0")
    for form, counts in ((b"\0\0", zero), (b"\xff\xff", ones)):
        packets[1] = right[:at] + form + right[at + 2 :]
        rig = Solo()
        rig.plane.offload_set(ALL)
        found = merged(rig, packets)
        check(packets, found)
        assert [count for _, count, _ in found] == counts


def test_two_peers_share_no_super_packet() -> None:
    """The address moves from one peer to another in the middle of a run."""
    packets = run(segments.TCP, 4)
    rig = Solo()
    rig.plane.offload_set(ALL)
    other = rig.plane.peer_add(keepalive_ns=0, dead_after_ns=5 * S, is_initiator=False)
    index = rig.plane.index_pick(0x777)
    keys = SessionKeys(index, 0xABC, Suite.AES_256_GCM, key(7), key(8), True)
    rig.plane.session_install(rig.now_ns, other, keys)
    end = End(Suite.AES_256_GCM, index, 0xABC, {0: key(7)}, {0: key(8)})
    for packet in packets[:2]:
        rig.hear(packet)
    rig.plane.routes_set([(ip_network(INNER_A), other)])
    rig.receive(*[end.seal(packet) for packet in packets[2:]])
    found = merged(rig, [])
    check(packets, found)
    assert [count for _, count, _ in found] == [2, 2]
    assert [rig.plane.peer_counters(peer).rx_packets for peer in (rig.peer, other)] == [2, 2]


def test_udp_without_checksum_stays_without() -> None:
    packets = [p[:26] + b"\0\0" + p[28:] for p in run(segments.UDP, 3)]
    rig = Solo()
    rig.plane.offload_set(ALL)
    assert merged(rig, packets) == [(p, 1, Super()) for p in packets]


def test_what_is_neither_tcp_nor_udp_passes_in_order() -> None:
    packets = [
        *run(segments.TCP, 2),
        ipv4(payload=b"other" * 9)[:9] + b"\x01" + ipv4(payload=b"other" * 9)[10:],
    ]
    rig = Solo()
    rig.plane.offload_set(ALL)
    assert [count for _, count, _ in merged(rig, packets)] == [2, 1]


def test_options_of_ip_and_fragments_go_alone() -> None:
    scapy = [
        bytes(
            IP(src=INNER_A, dst=INNER_B, options=[IPOption_NOP()] * 4)
            / UDP(sport=1, dport=2)
            / Raw(b"a" * 50)
        ),
        bytes(IP(src=INNER_A, dst=INNER_B, flags="MF") / UDP(sport=1, dport=2) / Raw(b"b" * 48)),
        bytes(IP(src=INNER_A, dst=INNER_B, frag=7) / Raw(b"c" * 48)),
    ]
    rig = Solo()
    rig.plane.offload_set(ALL)
    assert merged(rig, [p for p in scapy for _ in range(2)]) == [
        (p, 1, Super()) for p in scapy for _ in range(2)
    ]


@st.composite
def traffic(draw: st.DrawFn) -> list[bytes]:
    """Runs of several flows, one after the other and mixed, with surprises."""
    packets: list[bytes] = []
    for flow in range(draw(st.integers(1, 4))):
        fields: dict[str, int | bool | bytes] = {
            "sport": 5000 + flow, "v6": draw(st.booleans()), "df": draw(st.booleans()),
            "ident": draw(st.integers(0, 65535)), "seq": draw(st.sampled_from([0, 2**32 - 3000, 12345])),
            "options": draw(st.sampled_from([b"", b"\1\1\x08\x0a" + bytes(8)])),
        }  # fmt: skip
        kind = draw(st.sampled_from([segments.TCP, segments.UDP]))
        size = draw(st.integers(1, 1300))
        fields["seq"] = int(fields["seq"]) % 2**31
        made = run(kind, draw(st.integers(1, 9)), size=size, last=draw(st.integers(1, size)), **fields)
        packets += made
    if draw(st.booleans()):
        packets = draw(st.permutations(packets))
    for _ in range(draw(st.integers(0, 3))):
        i = draw(st.integers(0, len(packets) - 1))
        damaged = bytearray(packets[i])
        at = draw(st.sampled_from([1, 8, 21, 28, 33, 34, 40, len(damaged) - 1]))
        if at < len(damaged) and not (damaged[0] >> 4 == 6 and at in (8, 21, 28, 33, 34)):
            damaged[at] ^= draw(st.sampled_from([1, 2, 4, 16, 64]))
        packets[i] = bytes(damaged)
    return packets


@settings(deadline=None, max_examples=300)
@given(packets=traffic())
def test_whatever_comes_is_given_back(packets: list[bytes]) -> None:
    """Damaged or mixed, joined or not: what the kernel will make of it is what the peer sent."""
    rig = Solo()
    rig.plane.offload_set(ALL)
    check(packets, merged(rig, packets))
    sums_must_hold(rig.plane)


def test_packet_by_packet_is_the_same_as_in_one_piece() -> None:
    """A shell that takes single packets gets those of the chain."""
    packets = run(segments.TCP, 20)
    rig = Solo()
    rig.plane.offload_set(ALL)
    for packet in packets:
        rig.hear(packet)
    assert [data for _, data in rig.plane.inner_pop()] == packets
    sums_must_hold(rig.plane)
