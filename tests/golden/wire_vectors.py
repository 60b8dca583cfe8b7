"""The test vectors of the data packet, by the reference: `python -m tests.golden.wire_vectors` writes them.

Each entry is one datagram with all that goes into it, in hexadecimal; tests/golden/test_wire.py holds the C
core against them in both directions.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.differential.reference import Abandon, Ack, Ping, Pong, Prompt, Repeat, Source, seal
from tests.native.rig import INNER_A, INNER_B, KEY_B, ipv4, ipv6

FILE = Path(__file__).with_name("wire_vectors.json")
INDEX = 0xABCDEF
TOKEN, TIME = 0x0102030405060708, 1_000_000_000_000

TO_PEER = ipv4(INNER_B, INNER_A, bytes(range(40)))
TO_PEER_V6 = ipv6("fd00::2", "fd00::1", bytes(range(24)))
ACK_ONE = Ack(path=0, largest=0, delay_us=5000, received=1, ce=0, first_range=0)
# 0..99 received, then 100..199 lost, then 200: a time for each 4,096 bytes, back over those in order.
VOICE = ipv4(INNER_B, INNER_A, bytes(range(40)), ecn=46 << 2)
# 0 came, 1 came again in 2, and is told apart.
ACK_REPAIRED = Ack(0, 2, 1000, 2, 0, 2, repaired=1)
ACK_GAP = Ack(0, 200, 5000, 101, 0, 0, ((99, 99),), ((0, 0), (101, 1000)))

# name -> (path, epoch, packet number, plaintext)
CASES: dict[str, tuple[int, int, int, bytes]] = {
    "keepalive": (0, 0, 0, b""),
    "ipv4": (0, 0, 0, TO_PEER),
    "ipv6": (0, 0, 1, TO_PEER_V6),
    "ping": (0, 0, 0, Ping(0, TOKEN, TIME).pack()),
    "ping-probe-padded": (2, 0, 0, Ping(1, TOKEN, TIME).pack() + bytes(11)),
    "pong": (1, 0, 0, Pong(0, TOKEN, 77).pack()),
    "ack": (0, 0, 0, ACK_ONE.pack()),
    "ack-gap-before-ipv4": (0, 0, 0, ACK_GAP.pack() + TO_PEER),
    "epoch-5": (0, 5, 3, TO_PEER),
    "ack-repaired": (0, 0, 0, ACK_REPAIRED.pack()),
    "prompt-ipv4": (0, 0, 1, Prompt().pack() + VOICE),
    "repeat": (0, 0, 2, Prompt().pack() + Repeat(0, 1).pack() + VOICE),
    "source": (0, 0, 1, Source(0, 0).pack() + VOICE),
    "abandon": (0, 0, 4, Abandon(0, (2,)).pack()),
    "abandon-some": (1, 0, 3, Abandon(1, (2, 0)).pack()),
}


def vectors() -> list[dict[str, Any]]:
    """All cases under both suites."""
    found = []
    for suite, suite_name in ((1, "aes-256-gcm"), (2, "chacha20-poly1305")):
        for name, (path, epoch, pn, frames) in CASES.items():
            found.append(
                {
                    "name": f"{name}/{suite_name}",
                    "suite": suite,
                    "key": KEY_B.hex(),
                    "path": path,
                    "epoch": epoch,
                    "index": INDEX,
                    "packet_number": pn,
                    "frames": frames.hex(),
                    "datagram": seal(suite, KEY_B, path, epoch, INDEX, pn, frames).hex(),
                }
            )
    return found


if __name__ == "__main__":
    FILE.write_text(json.dumps(vectors(), indent=1) + "\n", encoding="utf-8")
