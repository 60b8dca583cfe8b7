"""The datagrams of the C core, byte for byte, against vectors of another implementation (PROTOCOL.md)."""

from __future__ import annotations

import json
from collections.abc import Callable
from ipaddress import ip_network
from typing import Any

import pytest

from oxidized.core.plane import Regime, RepairMode, SessionKeys, Suite
from oxidized.ffi.dataplane import aead_library
from tests.differential.reference import Ack, End, Inner, Ping, Pong, Prompt, Repeat, parse
from tests.golden import wire_vectors as golden
from tests.native.rig import EDGE, KEY_A, KEY_B, MS, PAYLOAD_MAX, Solo, drops, ipv4, key

VECTORS: dict[str, dict[str, Any]] = {v["name"]: v for v in json.loads(golden.FILE.read_text("utf-8"))}


def test_file_is_what_the_reference_makes() -> None:
    assert list(VECTORS.values()) == golden.vectors()


def emits_ipv4(rig: Solo) -> None:
    rig.send(golden.TO_PEER)


def emits_ipv6(rig: Solo) -> None:
    rig.send(golden.TO_PEER)
    rig.sent()
    rig.send(golden.TO_PEER_V6)


def emits_ping(rig: Solo) -> None:
    assert rig.plane.ping(golden.TIME, rig.peer, 0, token=golden.TOKEN)


def emits_probe(rig: Solo) -> None:
    rig.plane.path_set(rig.peer, 2, EDGE, PAYLOAD_MAX)
    rig.plane.ping(golden.TIME, rig.peer, 2, token=golden.TOKEN, is_probe=True, pad_bytes=11)


def emits_pong(rig: Solo) -> None:
    rig.hear(Ping(0, golden.TOKEN, 77).pack(), path=1)


def emits_ack(rig: Solo) -> None:
    rig.hear(ipv4())
    rig.tick(5 * MS)


def emits_ack_in_front(rig: Solo) -> None:
    rig.receive(*[rig.far.seal(ipv4()) for _ in range(100)])
    rig.now_ns += MS
    rig.receive(rig.far.seal(ipv4(), pn=200))
    rig.now_ns += 5 * MS
    rig.send(golden.TO_PEER)


def emits_epoch(rig: Solo) -> None:
    for epoch in range(1, 6):
        rig.plane.epoch_install(rig.now_ns, rig.peer, epoch, KEY_A, KEY_B if epoch == 5 else key(epoch))
        rig.plane.epoch_send(rig.now_ns, rig.peer, epoch)
        if epoch < 4:
            rig.send(golden.TO_PEER)
    rig.sent()
    rig.send(golden.TO_PEER)


def emits_ack_of_a_repetition(rig: Solo) -> None:
    again = Prompt().pack() + Repeat(0, 1).pack() + ipv4()
    rig.receive(rig.far.seal(ipv4()), rig.far.seal(again, pn=2))
    rig.tick(MS)


def knows_the_way(rig: Solo, mode: RepairMode, regime: Regime) -> None:
    """One packet acknowledged after 40 ms; then the way loses, says the control plane."""
    rig.plane.repair_set(mode)
    rig.send(golden.TO_PEER)
    rig.now_ns += 40 * MS
    rig.hear(Ack(0, 0, 0, 1, 0, 0).pack())
    rig.plane.repair_wish(rig.now_ns, rig.peer, 0, regime=regime, redundancy=1.0, copies=1)
    rig.sent()


def emits_prompt(rig: Solo) -> None:
    knows_the_way(rig, RepairMode.ARQ, Regime.RANDOM)
    rig.send(golden.VOICE)


def emits_repeat(rig: Solo) -> None:
    emits_prompt(rig)
    rig.sent()
    rig.tick()
    rig.tick(100 * MS)


def emits_source(rig: Solo) -> None:
    knows_the_way(rig, RepairMode.FEC, Regime.RANDOM)
    rig.send(golden.VOICE)


def emits_abandon(rig: Solo) -> None:
    """A queue stands there: it was 40 ms, then 200."""
    knows_the_way(rig, RepairMode.ARQ, Regime.CONGESTED)
    rig.send(golden.TO_PEER)
    rig.now_ns += 200 * MS
    rig.hear(Ack(0, 1, 0, 2, 0, 1).pack())
    rig.send(golden.TO_PEER, golden.TO_PEER_V6)
    rig.sent()
    rig.now_ns += 200 * MS
    rig.hear(Ack(0, 3, 0, 3, 0, 0, ((0, 1),)).pack())
    rig.tick(20 * MS)


EMITS: dict[str, Callable[[Solo], None]] = {
    "ipv4": emits_ipv4,
    "ipv6": emits_ipv6,
    "ping": emits_ping,
    "ping-probe-padded": emits_probe,
    "pong": emits_pong,
    "ack": emits_ack,
    "ack-gap-before-ipv4": emits_ack_in_front,
    "epoch-5": emits_epoch,
    "ack-repaired": emits_ack_of_a_repetition,
    "prompt-ipv4": emits_prompt,
    "repeat": emits_repeat,
    "source": emits_source,
    "abandon": emits_abandon,
}


@pytest.mark.parametrize(
    "library", [name for name in ("openssl", "ipsec-mb") if not aead_library(name).trouble]
)
@pytest.mark.parametrize("suite", Suite, ids=["aes-256-gcm", "chacha20-poly1305"])
@pytest.mark.parametrize("case", EMITS)
def test_plane_emits_the_vector(case: str, suite: Suite, library: str) -> None:
    rig = Solo(suite=suite, library=library, repair_bytes=65536)
    EMITS[case](rig)
    vector = next(v for n, v in VECTORS.items() if n.startswith(case + "/") and v["suite"] == suite)
    assert [datagram.hex() for datagram, _ in rig.sent()] == [vector["datagram"]]


@pytest.mark.parametrize("name", VECTORS)
def test_plane_opens_the_vector(name: str) -> None:
    """The same bytes, received: the plane's receiver index and key are those of the vector."""
    vector = VECTORS[name]
    rig = Solo()
    rig.plane.session_drop(rig.peer)
    secret = bytes.fromhex(vector["key"])
    keys = SessionKeys(vector["index"], 1, Suite(vector["suite"]), secret, KEY_A, True)
    rig.plane.session_install(rig.now_ns, rig.peer, keys)
    for epoch in range(1, vector["epoch"] + 1):
        rig.plane.epoch_install(rig.now_ns, rig.peer, epoch, secret, KEY_A)
        rig.plane.epoch_send(rig.now_ns, rig.peer, epoch)
    rig.plane.routes_set([(ip_network("0.0.0.0/0"), rig.peer), (ip_network("::/0"), rig.peer)])
    for _ in range(201):  # an acknowledgement is only good for what was sent
        rig.send()
    rig.sent()
    rig.receive(bytes.fromhex(vector["datagram"]))
    assert drops(rig.plane) == {}
    assert rig.plane.stats()["opened_datagrams"] == 1
    frames = parse(bytes.fromhex(vector["frames"]))
    assert rig.delivered() == [frame.packet for frame in frames if isinstance(frame, Inner)]
    far = End(vector["suite"], 0, 1, {}, {n: KEY_A for n in range(6)}, largest=[200] * 4)
    answers = [frame for datagram, _ in rig.sent() for frame in far.open(datagram).frames]
    assert answers == [Pong(f.flags, f.token, f.time) for f in frames if type(f) is Ping]
