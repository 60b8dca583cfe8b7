"""A seeded corpus of packets that invite a tunnel with offloads to merge, split or repair what it should not.

Runs of segments that look alike are what is merged on the way; so the runs here have one field changed in
the middle, or from the middle on, and everything around it as a merger likes it. Pure; randomness is given.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from random import Random

from lab.packets import (
    ACK,
    CWR,
    ECE,
    FIN,
    FRAGMENT6,
    ICMP,
    ICMP6,
    IP4_HEADER,
    IP6_HEADER,
    MORE_FRAGMENTS,
    NO_NEXT,
    PSH,
    RST,
    SYN,
    TCP,
    TCP_HEADER,
    UDP,
    UDP_HEADER,
    URG,
    Ip,
    Segment,
    Sent,
    checksum,
)  # fmt: skip

RUN_LENGTH = 9
RUN_PAYLOAD = 480
TIMESTAMPS = b"\1\1\x08\x0a"
OTHER_PROTOCOLS = (4, 41, 47, 50, 51, 89, 103, 112, 132, 253, 255)
# Options that routers leave alone: no route or time to be recorded in them. The last is of no known kind.
IP_OPTIONS = (b"\1\1\1\0", b"\x94\4\0\0", b"\x88\4\0\7", b"\x82\x0b" + bytes(9) + b"\0", b"\x9e\6abcd\1\0")
TCP_OPTIONS = {
    "mss": b"\2\4\x05\xb4", "scale": b"\3\3\7\1", "sack-permitted": b"\4\2\1\1",
    "sack": b"\1\1\5\x12" + bytes(range(16)), "unknown": b"\xfd\6abcd\1\1", "end": b"\0\0\0\0",
    "bad-length": b"\x08\0\1\1", "beyond": b"\x08\x28\1\1", "fastopen": b"\x22\6wxyz\1\1", "most": b"\1" * 40,
}  # fmt: skip

Change = Callable[[Segment], Segment]


def stamped(value: int, echo: int) -> bytes:
    """The timestamp option as every system lays it out (RFC 7323, appendix A)."""
    return TIMESTAMPS + struct.pack("!II", value, echo)


def ip_change(**fields: int) -> Change:
    """Adds to fields of the IP header."""

    def change(s: Segment) -> Segment:
        sums = {name: getattr(s.ip, name) + value for name, value in fields.items()}
        return replace(s, ip=replace(s.ip, **sums))

    return change


def added(**fields: int) -> Change:
    """Adds to fields of the segment."""
    return lambda s: replace(s, **{name: getattr(s, name) + value for name, value in fields.items()})


def flagged(flags: int) -> Change:
    return lambda s: replace(s, flags=s.flags | flags)


ANY_CHANGES: dict[str, Change] = {
    "ttl": ip_change(ttl=-1), "dscp": ip_change(tos=0x20), "ect0": ip_change(tos=2), "ce": ip_change(tos=3),
    "port": lambda s: replace(s, ports=(s.ports[0], s.ports[1] ^ 1)),
    "shorter": lambda s: replace(s, payload=s.payload[:-7]),
    "longer": lambda s: replace(s, payload=s.payload + b"1234567"),
    "one-byte": lambda s: replace(s, payload=s.payload[:1]),
    "empty": lambda s: replace(s, payload=b""),
    "checksum-wrong": lambda s: replace(s, checksum_xor=0x5A5A),
    "checksum-bit": lambda s: replace(s, checksum_xor=1),
    "checksum-zero": lambda s: replace(s, checksum=0),
    "checksum-ones": lambda s: replace(s, checksum=0xFFFF),
}  # fmt: skip
IP4_CHANGES: dict[str, Change] = {
    "id": ip_change(ident=777), "id-again": ip_change(ident=-1),
    "may-fragment": lambda s: replace(s, ip=replace(s.ip, dont_fragment=not s.ip.dont_fragment)),
    "ip-option": lambda s: replace(s, ip=replace(s.ip, options=IP_OPTIONS[0])),
}  # fmt: skip
IP6_CHANGES: dict[str, Change] = {
    "flow-label": ip_change(flow_label=5),
    "padding": lambda s: replace(s, ip=replace(s.ip, extensions=((60, b"\0\1\4\0\0\0\0"),))),
}  # fmt: skip
TCP_CHANGES: dict[str, Change] = {
    "window": added(window=1), "ack": added(ack=1), "ack-back": added(ack=-1000), "gap": added(seq=1),
    "overlap": added(seq=-1), "again": added(seq=-RUN_PAYLOAD), "urgent": added(urgent=3),
    "reserved": added(reserved=2), "push": flagged(PSH), "fin": flagged(FIN), "syn": flagged(SYN),
    "rst": flagged(RST), "urg": flagged(URG), "ece": flagged(ECE), "cwr": flagged(CWR),
    "no-ack": lambda s: replace(s, flags=s.flags & ~ACK),
    "time": lambda s: replace(s, options=stamped(1001, 2000)),
    "echo": lambda s: replace(s, options=stamped(1000, 2001)),
    "no-options": lambda s: replace(s, options=b""),
    "more-options": lambda s: replace(s, options=s.options + b"\1\1\1\1"),
    "option-order": lambda s: replace(s, options=s.options[2:] + b"\1\1"),
}  # fmt: skip
UDP_CHANGES: dict[str, Change] = {"length-less": added(udp_len_add=-3), "length-more": added(udp_len_add=3)}


@dataclass(slots=True)
class Corpus:
    """Makes the packets: from one address to another of each version, up to an MTU."""

    random: Random
    ends4: tuple[bytes, bytes]
    ends6: tuple[bytes, bytes]
    mtu_bytes: int

    def ip(self, version: int, **fields: object) -> Ip:
        source, target = self.ends4 if version == 4 else self.ends6
        made = Ip(source=source, target=target, ident=self.random.randrange(1, 60000))
        return replace(made, **fields)  # type: ignore[arg-type]

    def segment(self, version: int, protocol: int, size: int = RUN_PAYLOAD, **fields: object) -> Segment:
        made = Segment(
            ip=self.ip(version), protocol=protocol, payload=self.random.randbytes(size),
            ports=(self.random.randrange(1024, 65536), self.random.randrange(1024, 65536)),
            seq=self.random.randrange(1 << 32), options=stamped(1000, 2000) if protocol == TCP else b"",
        )  # fmt: skip
        return replace(made, **fields)  # type: ignore[arg-type]

    def run(self, first: Segment, count: int = RUN_LENGTH) -> list[Segment]:
        """Segments that follow each other in sequence and identification, with random content."""
        size = len(first.payload)
        return [
            replace(
                first, seq=first.seq + i * size, payload=self.random.randbytes(size),
                ip=replace(first.ip, ident=(first.ip.ident + i) & 0xFFFF or 1),
            )
            for i in range(count)
        ]  # fmt: skip

    def changed_runs(self, version: int, protocol: int) -> Iterator[Sent]:
        """Each change once in the middle of a run, and once from the middle on."""
        changes = {**ANY_CHANGES, **(IP4_CHANGES if version == 4 else IP6_CHANGES)}
        changes |= TCP_CHANGES if protocol == TCP else UDP_CHANGES
        for name, change in changes.items():
            for is_lasting in (False, True):
                for may_fragment in (False, True) if version == 4 else (False,):
                    first = self.segment(version, protocol)
                    first = replace(first, ip=replace(first.ip, dont_fragment=not may_fragment))
                    middle = RUN_LENGTH // 2
                    for i, made in enumerate(self.run(first)):
                        chosen = i == middle or (is_lasting and i > middle)
                        data = (change(made) if chosen else made).build()
                        flow = f"ipv{version}/{protocol}/{name}/{is_lasting:d}{may_fragment:d}"
                        yield Sent(f"{flow}/other" if chosen and name == "port" else flow, data)

    def flags(self, version: int) -> Iterator[Sent]:
        """All 256 combinations of flags, in sequence."""
        for number, made in enumerate(self.run(self.segment(version, TCP, 100), 256)):
            order = number * 37 % 256  # neighbours differ in several flags
            yield Sent(f"ipv{version}/flags", replace(made, flags=order).build())

    def tcp_options(self, version: int) -> Iterator[Sent]:
        for name, options in TCP_OPTIONS.items():
            for made in self.run(self.segment(version, TCP, options=options), 4):
                yield Sent(f"ipv{version}/tcp-option/{name}", made.build())

    def sizes(self, version: int, protocol: int) -> Iterator[Sent]:
        """From nothing to the MTU: runs of one size and one run of mixed sizes."""
        headers = (IP4_HEADER if version == 4 else IP6_HEADER) + (
            TCP_HEADER + 12 if protocol == TCP else UDP_HEADER
        )
        largest = self.mtu_bytes - headers
        name = f"ipv{version}/{protocol}/size"
        for size in (0, 1, 2, 3, 7, largest - 1, largest):
            made_run = self.run(self.segment(version, protocol, size), 6)
            yield from (Sent(f"{name}/{size}", made.build()) for made in made_run)
        base, offset = self.segment(version, protocol, 0), 0
        for _ in range(40):
            any_size = self.random.randrange(largest)
            size = self.random.choice((0, 1, 100, 100, 100, 101, 700, largest, any_size))
            made = replace(base, seq=base.seq + offset, payload=self.random.randbytes(size))
            offset += size
            yield Sent(f"{name}/mixed", made.build())

    def long_runs(self, version: int, protocol: int) -> Iterator[Sent]:
        """More than fits one merged packet: by count, by 64 KB; over the end of the sequence numbers."""
        for count, size in ((200, 100), (70, min(1300, self.mtu_bytes - 100))):
            wraps = self.segment(version, protocol, size, seq=(1 << 32) - size * count // 2)
            wraps = replace(wraps, ip=replace(wraps.ip, ident=0xFFFF - count // 2))
            flow = f"ipv{version}/{protocol}/long/{size}"
            yield from (Sent(flow, made.build()) for made in self.run(wraps, count))

    def interleaved(self, version: int) -> Iterator[Sent]:
        """Three flows in turn, two of them TCP, as a router sees them."""
        flows = [self.run(self.segment(version, protocol), 20) for protocol in (TCP, UDP, TCP)]
        for turn in zip(*flows, strict=True):
            yield from (Sent(f"ipv{version}/turn/{i}", made.build()) for i, made in enumerate(turn))

    def broken_headers(self, version: int) -> Iterator[Sent]:
        """Transport headers that are cut or say nonsense; to the tunnel they are bytes."""
        whole = self.segment(version, TCP)
        for offset in (0, 4, 15):
            bytes_ = bytearray(whole.transport()[:60])
            bytes_[12] = offset << 4
            yield Sent(f"ipv{version}/tcp-offset/{offset}", whole.ip.wrap(TCP, bytes(bytes_)))
        for protocol in (TCP, UDP, ICMP, ICMP6):
            for size in (0, 1, 4, 7, 10, 19):
                data = self.ip(version).wrap(protocol, self.random.randbytes(size))
                yield Sent(f"ipv{version}/{protocol}/cut/{size}", data)
        for add in (-8, -9, 600, -RUN_PAYLOAD - 8):
            made = self.segment(version, UDP, udp_len_add=add)
            yield Sent(f"ipv{version}/udp-length/{add}", made.build())

    def other_protocols(self, version: int) -> Iterator[Sent]:
        for protocol in (*OTHER_PROTOCOLS, *((NO_NEXT,) if version == 6 else ())):
            for size in (0, 1, 300, 300, 300):
                data = self.ip(version).wrap(protocol, self.random.randbytes(size))
                yield Sent(f"ipv{version}/protocol/{protocol}", data)
        for number in range(6):
            echo = struct.pack("!BBHHH", 8 if version == 4 else 128, 0, 0, 77, number) + bytes(range(200))
            ip = self.ip(version)
            right = checksum(echo) if version == 4 else ip.transport_sum(ICMP6, echo)
            value = right ^ (0x0F0F if number == 3 else 0)
            whole = echo[:2] + struct.pack("!H", value) + echo[4:]
            yield Sent(f"ipv{version}/echo", ip.wrap(ICMP if version == 4 else ICMP6, whole))

    def ip_options(self) -> Iterator[Sent]:
        for options in IP_OPTIONS:
            for protocol in (TCP, UDP):
                first = self.segment(4, protocol)
                first = replace(first, ip=replace(first.ip, options=options))
                for made in self.run(first, 4):
                    yield Sent(f"ipv4/{protocol}/ip-option/{options[0]:x}", made.build())

    def fragments4(self) -> Iterator[Sent]:
        """Pieces of a datagram in order; first pieces that look like a run; last pieces without the rest."""
        for protocol in (TCP, UDP):
            made = self.segment(4, protocol, 1600)
            for at, piece in pieces(made.transport(), 480):
                more = MORE_FRAGMENTS if at + len(piece) < len(made.transport()) else 0
                yield Sent(f"ipv4/{protocol}/fragment", made.ip.wrap4(protocol, piece, more | at // 8))
            for made in self.run(self.segment(4, protocol), 5):
                data = made.ip.wrap4(protocol, made.transport()[:488], MORE_FRAGMENTS)
                yield Sent(f"ipv4/{protocol}/first-fragments", data)
            for made in self.run(self.segment(4, protocol), 5):
                yield Sent(f"ipv4/{protocol}/last-fragments", made.ip.wrap4(protocol, made.transport(), 61))

    def extensions6(self) -> Iterator[Sent]:
        """Extension headers before runs; a fragment header also where it is the only fragment."""
        pad, routing = b"\0\1\4\0\0\0\0", b"\2\4\0" + bytes(20)
        whole = b"\0" + struct.pack("!HI", 0, 0x1234)
        chains = {
            "hop-by-hop": ((0, pad),), "destination": ((60, pad),), "routing": ((43, routing),),
            "all": ((0, pad), (60, pad), (43, routing)), "atomic-fragment": ((FRAGMENT6, whole),),
        }  # fmt: skip
        for name, chain in chains.items():
            for protocol in (TCP, UDP):
                first = self.segment(6, protocol)
                first = replace(first, ip=replace(first.ip, extensions=chain))
                yield from (Sent(f"ipv6/{protocol}/{name}", made.build()) for made in self.run(first, 5))
        for protocol in (TCP, UDP):
            made = self.segment(6, protocol, 1600)
            for at, piece in pieces(made.transport(), 480):
                more = at + len(piece) < len(made.transport())
                header = b"\0" + struct.pack("!HI", at | more, 0xABCDEF)
                ip = replace(made.ip, extensions=((FRAGMENT6, header),))
                yield Sent(f"ipv6/{protocol}/fragment", ip.wrap(protocol, piece))

    def mutated(self, version: int, count: int = 400) -> Iterator[Sent]:
        """Runs of a few flows in which any change may meet any other."""
        tcp = [*ANY_CHANGES.values(), *TCP_CHANGES.values()]
        udp = [*ANY_CHANGES.values(), *UDP_CHANGES.values()]
        flows = [self.run(self.segment(version, p, self.random.choice((64, 480))), count // 4)
                 for p in (TCP, TCP, UDP, UDP)]  # fmt: skip
        at = [0] * len(flows)
        for _ in range(count):
            chosen = self.random.randrange(len(flows))
            made = flows[chosen][at[chosen] % len(flows[chosen])]
            at[chosen] += 1
            if self.random.randrange(4) == 0:
                made = self.random.choice(tcp if made.protocol == TCP else udp)(made)
            yield Sent(f"ipv{version}/mutated/{chosen}/{made.ports[1]}", made.build())

    def all(self) -> Iterator[Sent]:
        for version in (4, 6):
            for protocol in (TCP, UDP):
                yield from self.changed_runs(version, protocol)
                yield from self.sizes(version, protocol)
                yield from self.long_runs(version, protocol)
            yield from self.flags(version)
            yield from self.tcp_options(version)
            yield from self.interleaved(version)
            yield from self.broken_headers(version)
            yield from self.other_protocols(version)
            yield from self.mutated(version)
        yield from self.ip_options()
        yield from self.fragments4()
        yield from self.extensions6()


def pieces(data: bytes, size: int) -> Iterable[tuple[int, bytes]]:
    """(offset, piece) of the data; `size` is a multiple of 8, as fragments are."""
    return [(at, data[at : at + size]) for at in range(0, len(data), size)]


def odd_packets(seed: int, edge: tuple[str, str], target: tuple[str, str], mtu_bytes: int) -> list[Sent]:
    """The corpus from the edge's addresses (IPv4, IPv6) to the target's."""
    ends4, ends6 = (
        (ipaddress.ip_address(mine).packed, ipaddress.ip_address(theirs).packed)
        for mine, theirs in zip(edge, target, strict=True)
    )
    return list(Corpus(Random(seed), ends4, ends6, mtu_bytes).all())
