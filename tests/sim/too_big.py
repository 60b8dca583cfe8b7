"""ICMP that says "too big", as a plane writes it into its own TUN: taken apart and judged."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import ip_address

from tests.sim.ledger import IPV4_BYTES, IPV6_BYTES, Ledger, SimFailure, uid_of

MTU_MIN = 1280


@dataclass(frozen=True, slots=True)
class Answer:
    """`target`: whom it is for; `quoted`: the packet it is about, or its first bytes."""

    target: str
    mtu_bytes: int
    quoted: bytes


def answer_of(packet: bytes) -> Answer | None:
    """None: something else. A broken one is no answer, and so nothing anybody sent."""
    if len(packet) >= IPV4_BYTES + 8 and packet[0] == 0x45 and packet[9] == 1:
        icmp, is_right = packet[IPV4_BYTES:], _sum(packet[:IPV4_BYTES]) == 0 == _sum(packet[IPV4_BYTES:])
        if icmp[:2] == b"\x03\x04" and is_right and len(packet) == struct.unpack_from(">H", packet, 2)[0]:
            return Answer(str(ip_address(packet[16:20])), struct.unpack_from(">H", icmp, 6)[0], icmp[8:])
    if len(packet) >= IPV6_BYTES + 8 and packet[0] == 0x60 and packet[6] == 58:
        icmp = packet[IPV6_BYTES:]
        pseudo = packet[8:40] + struct.pack(">II", len(icmp), 58)
        if icmp[:2] == b"\x02\x00" and _sum(pseudo + icmp) == 0:
            return Answer(str(ip_address(packet[24:40])), struct.unpack_from(">I", icmp, 4)[0], icmp[8:])
    return None


def check(node: str, answer: Answer, ledger: Ledger) -> None:
    """It is about a packet of this node that is larger than what it says passes; raises SimFailure."""
    uid = uid_of(answer.quoted)
    entry = ledger.sent.get(uid) if uid is not None else None
    if entry is None or not entry.packet.startswith(answer.quoted) or node not in entry.carried_by:
        raise SimFailure(f"{node} is told of a packet that it never sent: {answer.quoted[:64].hex()}")
    if not MTU_MIN <= answer.mtu_bytes < len(entry.packet):
        raise SimFailure(f"{node} is told that {len(entry.packet)} bytes are over {answer.mtu_bytes}")
    if entry.packet[0] >> 4 == 4 and not entry.packet[6] & 0x40:
        raise SimFailure(f"{node} is told of packet {uid}, which may be fragmented")


def _sum(data: bytes) -> int:
    """0: the checksum in it is right."""
    data += bytes(len(data) % 2)
    return sum(struct.unpack(f">{len(data) // 2}H", data)) % 0xFFFF
