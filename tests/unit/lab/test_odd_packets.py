"""The corpus of odd packets and its comparison: right where a foreign library agrees, and able to fail."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6

LAB_FOLDER = Path(__file__).resolve().parents[3] / "netns-lab"
sys.path.insert(0, str(LAB_FOLDER))

from lab import packets  # noqa: E402
from lab.odd_corpus import odd_packets  # noqa: E402
from lab.packets import Sent, Tally, canonical, compare, forwarded  # noqa: E402

EDGE, TARGET = ("10.70.0.2", "fd70::2"), ("10.72.0.99", "fd72::99")
MTU_BYTES = 1420


@pytest.fixture(scope="module")
def corpus() -> list[Sent]:
    return odd_packets(1, EDGE, TARGET, MTU_BYTES)


def arrived(sent: list[Sent]) -> list[bytes]:
    return [forwarded(packet.data) for packet in sent]


def with_ip_checksum(data: bytes) -> bytes:
    head = data[:10] + b"\0\0" + data[12:20]
    return head[:10] + packets.checksum(head).to_bytes(2) + data[12:]


def plain(protocol: int = packets.TCP, **ip: int) -> bytes:
    """One ordinary IPv4 packet of 60 bytes or more."""
    made = packets.Ip(source=bytes(4), target=b"\x0a\x48\0\x63", **ip)
    segment = packets.Segment(ip=made, protocol=protocol, ports=(1000, 2000), payload=bytes(range(60)))
    return segment.build()


def test_the_same_seed_gives_the_same_packets(corpus: list[Sent]) -> None:
    assert odd_packets(1, EDGE, TARGET, MTU_BYTES) == corpus
    assert odd_packets(2, EDGE, TARGET, MTU_BYTES) != corpus


@pytest.mark.parametrize("mtu_bytes", [1280, 1420, 9000])
def test_packets_are_whole_and_reach_the_mtu(mtu_bytes: int) -> None:
    made = [packet.data for packet in odd_packets(3, EDGE, TARGET, mtu_bytes)]
    assert max(map(len, made)) == mtu_bytes
    for data in made:
        told = int.from_bytes(data[2:4]) if data[0] >> 4 == 4 else 40 + int.from_bytes(data[4:6])
        assert told == len(data)
        assert data[0] >> 4 == 6 or packets.checksum(data[: (data[0] & 15) * 4]) == 0
        assert (data[8] if data[0] >> 4 == 4 else data[7]) > 2, "lives to the far side"


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("protocol", [packets.TCP, packets.UDP])
def test_checksums_are_those_of_scapy(corpus: list[Sent], version: int, protocol: int) -> None:
    layer, transport = (IP, IPv6)[version == 6], (TCP, UDP)[protocol == packets.UDP]
    flow = f"ipv{version}/{protocol}/size/100"
    chosen = [p for p in corpus if p.flow.startswith((flow[:-3], f"ipv{version}/{protocol}/long"))]
    assert len(chosen) > 100
    for packet in chosen:
        parsed = layer(packet.data)
        del parsed[transport].chksum
        assert bytes(parsed) == packet.data


def test_wrong_checksums_are_in_the_corpus(corpus: list[Sent]) -> None:
    wrong = [p for p in corpus if "checksum" in p.flow and repaired(p.data) != p.data]
    assert {packet.flow.rpartition("/")[0] for packet in wrong} == {
        f"ipv{version}/{protocol}/checksum-{kind}"
        for version in (4, 6) for protocol in (6, 17) for kind in ("wrong", "bit", "zero", "ones")
    }  # fmt: skip


def test_what_arrives_unchanged_is_right(corpus: list[Sent]) -> None:
    assert compare(corpus, arrived(corpus)) == Tally(len(corpus), len(corpus))


def test_every_changed_byte_of_every_kind_of_packet_is_found(corpus: list[Sent]) -> None:
    """One packet of each flow, each with one bit turned behind what a router may change."""
    generator = Random(4)
    chosen = list({packet.flow: packet for packet in corpus}.values())
    for packet in chosen:
        data = bytearray(forwarded(packet.data))
        is_atomic = data[0] >> 4 == 4 and canonical(packet.data)[4:6] == b"\0\0"
        at = generator.choice([i for i in range(len(data)) if not (is_atomic and i in (4, 5))])
        data[at] ^= 1 << generator.randrange(8)
        tally = compare([packet], [bytes(data)])
        assert (tally.wrong, tally.lost) == (1, 0), f"{packet.flow}: byte {at}"
        assert len(tally.examples) == 1


def test_the_identification_may_change_only_where_nothing_is_cut() -> None:
    for dont_fragment, wrong in ((True, 0), (False, 1)):
        data = plain(dont_fragment=dont_fragment)
        changed = forwarded(data)
        changed = with_ip_checksum(changed[:4] + b"\x77\x77" + changed[6:])
        assert compare([Sent("a", data)], [changed]).wrong == wrong


def test_hops_and_header_checksum_must_be_right() -> None:
    data = plain()
    once = forwarded(data)
    assert compare([Sent("a", data)], [once]).wrong == 0
    assert compare([Sent("a", data)], [data]).wrong == 1, "not forwarded"
    assert compare([Sent("a", data)], [forwarded(once)]).wrong == 1, "two hops"
    assert compare([Sent("a", data)], [once[:10] + b"\0\0" + once[12:]]).wrong == 1, "header checksum"


def test_lost_doubled_and_overtaken_packets_are_counted(corpus: list[Sent]) -> None:
    run = [packet for packet in corpus if packet.flow == "ipv4/flags"]
    assert compare(run, arrived(run)[1:]).lost == 1
    doubled = compare(run, [*arrived(run), arrived(run)[7]])
    assert (doubled.wrong, doubled.lost) == (1, 0)
    swapped = arrived(run)
    swapped[3], swapped[4] = swapped[4], swapped[3]
    assert (compare(run, swapped).wrong, compare(run, swapped).reordered) == (0, 1)


def test_flows_may_overtake_each_other(corpus: list[Sent]) -> None:
    turns = [packet for packet in corpus if packet.flow.startswith("ipv4/turn/")]
    by_flow = sorted(turns, key=lambda packet: packet.flow)
    assert by_flow != turns
    assert compare(turns, arrived(by_flow)) == Tally(len(turns), len(turns))


def repaired(data: bytes) -> bytes:
    """What a tunnel makes of a packet when it computes transport checksums anew."""
    layer = IP(data) if data[0] >> 4 == 4 else IPv6(data)
    for transport in (TCP, UDP):
        if transport in layer and not (layer.version == 4 and (layer.frag or layer.flags.MF)):
            del layer[transport].chksum
    return bytes(layer)


def without_tos(data: bytes) -> bytes:
    return with_ip_checksum(data[:1] + b"\0" + data[2:]) if data[0] == 0x45 else data


def without_push(data: bytes) -> bytes:
    if data[9] != packets.TCP or len(data) < 40:
        return data
    return data[:33] + bytes([data[33] & ~packets.PSH]) + data[34:]


@pytest.mark.parametrize("fault", [repaired, without_tos, without_push])
def test_a_tunnel_that_changes_what_it_should_not_is_found(
    corpus: list[Sent], fault: Callable[[bytes], bytes]
) -> None:
    some = [p for p in corpus if p.flow.startswith(("ipv4/6/", "ipv4/17/", "ipv4/flags", "ipv6/6/check"))]
    tally = compare(some, [fault(data) for data in arrived(some)])
    assert tally.wrong > 0
    assert tally.examples
