"""Flows and their classes: each rule, changes over time, the table's bounds; marks against a slow version."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oxidized.core.flows import TRAFFIC_CLASSES, WHYS, ClassRule, Flow
from oxidized.ffi.dataplane import DataPlane
from oxidized.ffi.flows import CLASS_NAMES, CLASS_RULES_MAX, FLOWS_MAX, WHY_NAMES
from oxidized.limits import CLASS_RULES_MAX as CLASS_RULES_MAX_CONFIG

MS, S = 10**6, 10**9
TCP, UDP, ICMP, ESP = 6, 17, 1, 50
SYN, ACK = 2, 16
CLASS = {name: i for i, name in enumerate(TRAFFIC_CLASSES)}


class Sender:
    """A plane with two peers and no session: packets get as far as their class, and are dropped then."""

    def __init__(self, hash_key: int = 5) -> None:
        self.plane = DataPlane(peers_max=2, hash_key=hash_key)
        peers = [self.plane.peer_add(keepalive_ns=0, dead_after_ns=S, is_initiator=True) for _ in range(2)]
        networks = (("10.0.0.0/8", 0), ("fd00::/16", 0), ("172.16.0.0/12", 1))
        self.plane.routes_set([(ip_network(text), peers[which]) for text, which in networks])
        self.now_ns = S

    def send(self, *packets: bytes) -> None:
        for start in range(0, len(packets), 64):
            self.plane.inner_push(self.now_ns, packets[start : start + 64])

    def flows(self) -> list[Flow]:
        return self.plane.flows(self.now_ns)

    def one(self) -> Flow:
        (flow,) = self.flows()
        return flow

    def run(self, packet: bytes, count: int, gap_ns: int) -> Flow:
        """`count` of it, so long apart."""
        for _ in range(count):
            self.send(packet)
            self.now_ns += gap_ns
        return self.one()

    def counted(self) -> dict[str, int]:
        return {name: n for name, n in self.plane.stats()["class_packets"].items() if n}


@pytest.fixture
def sender() -> Iterator[Sender]:
    made = Sender()
    yield made
    made.plane.close()


def packet(
    protocol: int = UDP, size: int = 100, *, ports: tuple[int, int] = (40000, 40001), dscp: int = 0,
    target: str = "10.0.0.1", flags: int = ACK, body: bytes = b"", fragment: int = 0,
) -> bytes:  # fmt: skip
    """A whole IP packet of `size` bytes at least."""
    destination = ip_address(target)
    head = struct.pack(">HH", *ports) if protocol in (TCP, UDP) else bytes(4)
    if protocol == TCP:
        head += bytes(8) + bytes((0x50, flags)) + bytes(6)
    else:
        head += bytes(4)
    ip_bytes = 20 if destination.version == 4 else 40
    payload = head + body + bytes(max(0, size - ip_bytes - len(head) - len(body)))
    if destination.version == 6:
        source = ip_address("fd01::9").packed
        word = 6 << 28 | dscp << 22
        return (
            struct.pack(">IHBB", word, len(payload), protocol, 64) + source + destination.packed + payload
        )
    return (
        struct.pack(">BBHHHBBH", 0x45, dscp << 2, 20 + len(payload), 1, fragment, 64, protocol, 0)
        + ip_address("192.168.1.9").packed + destination.packed + payload
    )  # fmt: skip


def rtp(sequence: int, size: int = 200) -> bytes:
    return packet(size=size, body=struct.pack(">BBHII", 0x80, 96, sequence & 0xFFFF, 7, 9))


def told(flow: Flow) -> tuple[str, str]:
    return flow.traffic_class, flow.why


def test_names_are_those_of_the_packet_path() -> None:
    assert (CLASS_NAMES, WHY_NAMES) == (TRAFFIC_CLASSES, WHYS)
    assert CLASS_RULES_MAX_CONFIG == CLASS_RULES_MAX


# ---- what stands in the packet ----

NAMED = {"le": 1, "va": 44, "ef": 46} | {f"cs{n}": 8 * n for n in range(8)} | {
    f"af{n}{d}": 8 * n + 2 * d for n in range(1, 5) for d in range(1, 4)
}  # fmt: skip
MARKS = {
    "voip": ("ef", "va"),
    "gaming": ("cs4",),
    "streaming": ("cs3", "af31", "af32", "af33", "af41", "af42", "af43"),
    "bulk": ("le", "cs1", "af11", "af12", "af13"),
    "control": ("cs2", "cs5", "cs6", "cs7"),
}
PORTS_OF_CONTROL = {22, 23, 53, 67, 68, 123, 161, 162, 179, 546, 547, 853, 3784, 5060, 5061, 5353}
PROTOCOLS_OF_CONTROL = {1, 2, 58, 89, 103, 112}


def first_class(protocol: int, ports: tuple[int, int], dscp: int, size: int, flags: int) -> tuple[str, str]:
    """The slow version, for the first packet of a flow, not a fragment."""
    for name, words in MARKS.items():
        if dscp in [NAMED[word] for word in words]:
            return ("control" if name == "voip" and protocol == TCP else name), "dscp"
    has_ports = protocol in (TCP, UDP)
    is_control = protocol in PROTOCOLS_OF_CONTROL or (has_ports and PORTS_OF_CONTROL & set(ports))
    if is_control and size <= 512:
        return "control", "port"
    return "web", "default"


some_ports = st.one_of(st.integers(1, 65535), st.sampled_from(sorted(PORTS_OF_CONTROL)))
a_first_packet = st.tuples(
    st.one_of(st.sampled_from([TCP, UDP, ICMP, 2, 58, 89, ESP, 47]), st.integers(0, 255)),
    st.tuples(some_ports, some_ports),
    st.integers(0, 63),
    st.integers(60, 1300),
    st.integers(0, 255),
    st.sampled_from(["10.0.0.1", "fd00::1"]),
)


@settings(max_examples=150, deadline=None)
@given(a_first_packet)
def test_marks_and_ports_as_the_slow_version_has_them(
    how: tuple[int, tuple[int, int], int, int, int, str],
) -> None:
    protocol, ports, dscp, size, flags, target = how
    sender = Sender()
    one = packet(protocol, size, ports=ports, dscp=dscp, target=target, flags=flags)
    sender.send(one)
    flow = sender.one()
    wanted = first_class(protocol, ports, dscp, size, flags)
    assert told(flow) == wanted
    is_syn = protocol == TCP and flags & SYN and wanted[1] != "dscp"
    assert sender.counted() == {"control" if is_syn else wanted[0]: 1}
    has_ports = protocol in (TCP, UDP)
    assert (flow.source_port, flow.target_port) == (ports if has_ports else (0, 0))
    assert (flow.protocol, flow.dscp, flow.target) == (protocol, dscp, str(ip_address(target)))
    assert (flow.packets, flow.bytes, flow.size_mean, flow.peer) == (1, len(one), len(one), 0)
    sender.plane.close()


def test_a_fragment_is_a_flow_of_its_addresses(sender: Sender) -> None:
    sender.send(packet(ports=(53, 53), fragment=0x2000), packet(ports=(7, 9), fragment=100))
    flow = sender.one()
    assert (flow.packets, flow.is_fragment, flow.source_port, told(flow)) == (2, True, 0, ("web", "default"))


def test_peers_marks_ports_and_protocols_tell_flows_apart(sender: Sender) -> None:
    ways = [packet(), packet(ports=(40000, 2)), packet(TCP), packet(dscp=46), packet(target="10.0.0.2")]
    for way in ways:
        sender.send(way, way)
    assert [flow.packets for flow in sender.flows()] == [2] * len(ways)
    sender.plane.routes_set([(ip_network("10.0.0.0/8"), 1)])
    sender.send(packet())
    assert sorted((f.peer, f.packets) for f in sender.flows()) == [(0, 2)] * len(ways) + [(1, 1)]


# ---- the operator's rules ----


@pytest.mark.parametrize(
    ("rule", "applies"),
    [
        (ClassRule(4, protocol=UDP, port=3074), [True, True, False, False, False]),
        (ClassRule(4, protocol=TCP), [False, False, True, False, True]),
        (ClassRule(4, dscp=46), [False, False, False, True, False]),
        (ClassRule(4, dscp=0), [True, True, True, False, True]),
        (ClassRule(4, network=ip_network("10.0.0.0/23")), [True, True, True, True, False]),
        (ClassRule(4, network=ip_network("10.9.0.0/16")), [False, False, False, False, True]),
        (ClassRule(4, network=ip_network("192.168.1.9/32")), [True] * 5),
        (ClassRule(4, network=ip_network("fd00::/8")), [False] * 5),
        (ClassRule(4, network=ip_network("10.0.0.128/25")), [False] * 5),
        (ClassRule(4, protocol=UDP, port=3074, network=ip_network("10.9.0.0/16")), [False] * 5),
        (ClassRule(4, network=ip_network("0.0.0.0/0")), [True] * 5),
    ],
)
def test_a_rule_applies_to_what_it_names(sender: Sender, rule: ClassRule, applies: list[bool]) -> None:
    sender.plane.classes_set([rule])
    packets = [
        packet(ports=(3074, 9)), packet(ports=(9, 3074)), packet(TCP, ports=(9, 3074), target="10.0.1.1"),
        packet(dscp=46, target="10.0.1.1"), packet(TCP, target="10.9.0.1"),
    ]  # fmt: skip
    for one, is_ruled in zip(packets, applies, strict=True):
        before = sender.counted().get("bulk", 0)
        sender.send(one)
        assert (sender.counted().get("bulk", 0) > before) is is_ruled


def test_the_first_rule_decides_and_rules_beat_marks(sender: Sender) -> None:
    sender.plane.classes_set([ClassRule(1, dscp=46), ClassRule(4, protocol=UDP), ClassRule(0, protocol=TCP)])
    sender.send(packet(dscp=46), packet(dscp=32), packet(TCP, flags=SYN))
    assert sender.counted() == {"gaming": 1, "bulk": 1, "voip": 1}


def test_rules_that_change_apply_to_flows_that_are_known(sender: Sender) -> None:
    sender.send(packet(ports=(53, 1)))
    assert told(sender.one()) == ("control", "port")
    sender.plane.classes_set([ClassRule(CLASS["streaming"], protocol=UDP, port=53)])
    assert told(sender.one()) == ("streaming", "rule")
    sender.plane.classes_set([])
    sender.send(packet(ports=(53, 1)))
    assert told(sender.one()) == ("control", "port")
    assert (sender.one().packets, sender.counted()) == (2, {"control": 2})


def test_a_rule_stays_whatever_a_flow_does(sender: Sender) -> None:
    sender.plane.classes_set([ClassRule(CLASS["gaming"], protocol=UDP)])
    flow = sender.run(packet(size=1300), 2000, MS)
    assert (told(flow), flow.changes) == (("gaming", "rule"), 0)


# ---- what flows do ----


def test_a_download_turns_from_web_to_bulk_and_back_after_a_pause(sender: Sender) -> None:
    sender.send(packet(TCP, 60, flags=SYN))
    assert (sender.counted(), told(sender.one())) == ({"control": 1}, ("web", "default"))
    large = packet(TCP, 1400)
    assert told(sender.run(large, 740, 100_000)) == ("web", "default")
    flow = sender.run(large, 60, 100_000)
    assert (told(flow), flow.changes) == (("bulk", "shape"), 1)
    sender.now_ns += 6 * S
    assert told(sender.run(packet(TCP, 100), 40, MS)) == ("web", "default")
    assert sender.plane.stats()["class_changes"] == 2


def test_a_long_fast_flow_is_bulk_before_its_bytes_say_so(sender: Sender) -> None:
    flow = sender.run(packet(TCP, 1400), 600, 20 * MS)
    assert flow.bytes < 1 << 20
    assert told(flow) == ("bulk", "shape")
    other = Sender()
    assert told(other.run(packet(TCP, 1400), 600, 40 * MS)) == ("web", "default"), "slow"
    other.plane.close()


def test_rtp_is_voice_when_small_and_film_when_large(sender: Sender) -> None:
    for n in range(4):
        assert sender.plane.stats()["class_packets"]["voip"] == 0
        sender.send(rtp(n))
    assert told(sender.one()) == ("voip", "rtp")
    other = Sender()
    other.send(*[rtp(n, 1200) for n in range(4)])
    assert told(other.one()) == ("streaming", "rtp")
    other.plane.close()


def test_what_ceases_to_be_rtp_is_voice_for_two_more_reviews(sender: Sender) -> None:
    sender.send(*[rtp(n) for n in range(16)])
    sender.send(*[packet(size=200)] * 31)
    assert told(sender.one()) == ("voip", "rtp")
    sender.send(packet(size=200))
    assert told(sender.one()) == ("web", "default")


def test_small_steady_packets_are_a_game_or_a_codec(sender: Sender) -> None:
    for n in range(64):
        sender.send(packet(size=60 + 37 * n % 90))
        sender.now_ns += 16 * MS
    assert told(sender.one()) == ("gaming", "shape")
    other = Sender()
    assert told(other.run(packet(size=92), 64, 20 * MS)) == ("voip", "shape")
    other.plane.close()


@pytest.mark.parametrize(("size", "gap_ns"), [(92, 3 * MS), (92, 200 * MS), (600, 20 * MS)])
def test_too_fast_too_slow_or_too_large_is_no_game(sender: Sender, size: int, gap_ns: int) -> None:
    assert told(sender.run(packet(size=size), 64, gap_ns)) == ("web", "default")


def test_unsteady_small_packets_are_no_game(sender: Sender) -> None:
    for n in range(96):
        sender.send(packet(size=92))
        sender.now_ns += (1 if n % 4 else 100) * MS
    assert told(sender.one()) == ("web", "default")


@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_blocks_every_few_seconds_are_a_film(sender: Sender, protocol: int) -> None:
    large = packet(protocol, 1400, ports=(443, 50000))
    for _ in range(8):
        sender.send(*[large] * 300)
        sender.now_ns += 4 * S
    assert told(sender.one()) == ("streaming", "shape")


def test_an_even_stream_of_large_packets_is_a_film_but_not_over_quic(sender: Sender) -> None:
    assert told(sender.run(packet(size=1200), 1400, 10 * MS)) == ("streaming", "shape")
    other = Sender()
    assert told(other.run(packet(size=1200, ports=(9, 443)), 1400, 10 * MS)) == ("bulk", "shape")
    other.plane.close()


def test_a_copy_by_ssh_is_no_control(sender: Sender) -> None:
    assert told(sender.run(packet(TCP, 100, ports=(5000, 22)), 20, MS)) == ("control", "port")
    assert told(sender.run(packet(TCP, 1400, ports=(5000, 22)), 1000, MS)) == ("bulk", "shape")


def test_rate_is_of_the_last_second_and_falls_when_nothing_comes(sender: Sender) -> None:
    flow = sender.run(packet(size=1000), 300, 10 * MS)
    assert 95_000 <= flow.rate <= 105_000
    sender.now_ns += 50 * S
    assert sender.one().rate < 3_000


# ---- the table ----

steps = st.lists(
    st.tuples(st.integers(0, 400), st.integers(1, 3), st.integers(20, 1300), st.integers(0, S)),
    min_size=1,
    max_size=60,
)


@settings(max_examples=40, deadline=None)
@given(steps, st.integers(0, 2**64 - 1))
def test_the_same_packets_get_the_same_classes_and_all_are_counted(
    work: list[tuple[int, int, int, int]], hash_key: int
) -> None:
    found = []
    for _ in range(2):
        sender = Sender(hash_key)
        for flow, count, size, wait_ns in work:
            sender.send(*[packet(size=size, ports=(flow, 9), dscp=flow % 64)] * count)
            sender.now_ns += wait_ns
        found.append((sender.flows(), sender.counted()))
        sender.plane.close()
    assert found[0] == found[1]
    flows, counted = found[0]
    assert sum(counted.values()) == sum(count for _, count, _, _ in work)
    assert all(flow.traffic_class in TRAFFIC_CLASSES and flow.why in WHYS for flow in flows)
    assert len(flows) <= FLOWS_MAX


def test_the_table_is_bounded_and_the_longest_idle_gives_way(sender: Sender) -> None:
    keeper = packet(ports=(1, 1))
    for port in range(6000):
        sender.now_ns += MS
        sender.send(packet(ports=(port + 1, 9)), keeper)
    flows = sender.flows()
    assert 0.95 * FLOWS_MAX < len(flows) <= FLOWS_MAX
    assert max(flow.packets for flow in flows) == 6000, "one that goes on is kept"
    newest = {flow.source_port for flow in flows if flow.target_port == 9}
    assert sum(port > 5000 for port in newest) > 0.6 * len(newest)


def test_a_clock_that_stands_or_steps_back_breaks_nothing(sender: Sender) -> None:
    sender.send(*[packet()] * 40)
    sender.now_ns -= S // 2
    sender.send(*[packet()] * 40)
    assert (sender.one().packets, told(sender.one())) == (80, ("web", "default"))
