"""Bugs planted on purpose: the simulator goes red for each, for the right reason, within a few seeds."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest

from oxidized.core.plane import Address, SessionKeys
from oxidized.core.tunnel import Tunnel
from tests.sim.accounts import CountedPlane
from tests.sim.run import Options, run_seed
from tests.sim.watches import HoldWatch

SEEDS_MAX = 25


class DeliversTwice(CountedPlane):
    """No replay window: a datagram that comes twice is delivered twice."""

    def inner_pop(self) -> list[tuple[int, bytes]]:
        found = super().inner_pop()
        return found + found[-1:]


class FlipsByte(CountedPlane):
    """Damages a packet after it was checked."""

    def inner_pop(self) -> list[tuple[int, bytes]]:
        return [(peer, packet[:-1] + bytes([packet[-1] ^ 1])) for peer, packet in super().inner_pop()]


class CutsShort(CountedPlane):
    """Loses the last byte."""

    def inner_pop(self) -> list[tuple[int, bytes]]:
        return [(peer, packet[:-1]) for peer, packet in super().inner_pop()]


class MixesPeersUp(CountedPlane):
    """Says that packets come from the next peer."""

    def inner_pop(self) -> list[tuple[int, bytes]]:
        return [(peer ^ 1, packet) for peer, packet in super().inner_pop()]


class TakesAnySource(CountedPlane):
    """Allowed-ips are not checked on the way in: everything may come from everybody."""

    def routes_set(self, routes: Sequence[Any]) -> None:
        peers = {peer for _, peer in routes}
        everywhere = [ip_network("0.0.0.0/0"), ip_network("::/0")] if len(peers) == 1 else []
        super().routes_set([*routes, *((network, min(peers)) for network in everywhere)])


class MiscountsDrop(CountedPlane):
    """One drop is counted twice."""

    def stats(self) -> dict[str, Any]:
        stats = super().stats()
        drops = stats["drops"]["receive_datagram"]
        drops["replayed"] *= 2
        return stats


class LosesSilently(CountedPlane):
    """Every 50th datagram to send is forgotten."""

    _popped = 0

    def outer_pop(self) -> list[tuple[bytes, Address]]:
        found = super().outer_pop()
        self._popped += len(found)
        return found[1:] if found and self._popped % 50 < len(found) else found


class NeverAnswers(CountedPlane):
    """Its own datagrams (ACK, PING, PONG), short as they are, do not leave."""

    def outer_pop(self) -> list[tuple[bytes, Address]]:
        found = super().outer_pop()
        while found:
            kept = [(data, to) for data, to in found if not (30 < len(data) < 74 and data[0] & 0xC0 == 0)]
            if kept:
                return kept
            found = super().outer_pop()
        return []


class NeverReconnects(Tunnel):
    """Timers of the control plane do not run: nothing is retried."""

    def tick(self, now_ns: int) -> None:
        """Nothing is due, ever."""

    def next_timeout_ns(self) -> int | None:
        return None


class ForgetsEvents(Tunnel):
    """Does not look at what the packet path reports."""

    def poll_plane(self, now_ns: int) -> None:
        self._plane.poll_events()


class Stumbles(Tunnel):
    """Raises on a datagram it does not like."""

    def receive(self, datagram: bytes, source: Address, now_ns: int) -> None:
        if len(datagram) < 30:
            raise KeyError("no such connection")
        super().receive(datagram, source, now_ns)


class AnswersStrangers(Tunnel):
    """Sends a data packet to whoever sends it something that looks like QUIC."""

    _answers: list[tuple[bytes, Address]]

    def receive(self, datagram: bytes, source: Address, now_ns: int) -> None:
        self._answers = [(bytes(40), source)]
        super().receive(datagram, source, now_ns)

    def poll_transmit(self) -> tuple[bytes, Address] | None:
        answers, self._answers = getattr(self, "_answers", []), []
        return answers[0] if answers else super().poll_transmit()


class NeverNarrows(CountedPlane):
    """What the search for the path's MTU finds does not reach the path."""

    def path_payload(self, peer: int, path: int, payload_max: int) -> None:
        """The path keeps the size it was set up with."""


class NeverProbes(CountedPlane):
    """Large PINGs do not leave: no size is ever proved."""

    def ping(self, now_ns: int, peer: int, path: int, *, pad_bytes: int = 0, **other: Any) -> bool:
        return pad_bytes > 0 or super().ping(now_ns, peer, path, **other)


class HoldsTooLong(CountedPlane):
    """Small packets wait longer for others than they may."""

    def __init__(self, **conf: Any) -> None:
        super().__init__(
            **{**conf, "hold_ns": tuple(min(ns + 1_000_000, 5_000_000) for ns in conf["hold_ns"])}
        )
        self.holds = HoldWatch(conf["hold_ns"])


class HasNoContexts(CountedPlane):
    """A hub that says that it keeps contexts for headers, and has none."""

    def __init__(self, **conf: Any) -> None:
        is_hub = conf["hash_key"] == zlib.crc32(b"hub")
        super().__init__(**{**conf, "flows": 0 if is_hub else conf["flows"]})


class SendsWhole(CountedPlane):
    """Compresses no header, whatever the other end takes."""

    def session_install(self, now_ns: int, peer: int, keys: SessionKeys) -> None:
        may = replace(keys.compression, tx_flows=0)
        super().session_install(now_ns, peer, replace(keys, compression=may))


class RefusesPayload(CountedPlane):
    """Says that it takes compressed payloads, and does not."""

    def session_install(self, now_ns: int, peer: int, keys: SessionKeys) -> None:
        may = replace(keys.compression, rx_dictionaries=0)
        super().session_install(now_ns, peer, replace(keys, compression=may))


class CountsRestoredTwice(CountedPlane):
    """More headers are restored than were coded."""

    def compression_stats(self) -> dict[str, Any]:
        stats = super().compression_stats()
        stats["restored_packets"] = {name: 2 * n for name, n in stats["restored_packets"].items()}
        return stats


PLANES: list[tuple[type[CountedPlane], str]] = [
    (DeliversTwice, "twice"),
    (FlipsByte, "altered"),
    (CutsShort, "altered"),
    (MixesPeersUp, "never had it"),
    (TakesAnySource, "which its source forbids"),
    (MiscountsDrop, "books do not balance"),
    (LosesSilently, "never arrived"),
    (NeverAnswers, "(silent) on a perfect network"),
    (HoldsTooLong, "are held"),
    (HasNoContexts, "of a session that lives have no context"),
    (SendsWhole, "have a coded header"),
    (RefusesPayload, "dropped as lz-refused"),
    (CountsRestoredTwice, "did not come"),
]
TUNNELS: list[tuple[type[Tunnel], str]] = [
    (NeverReconnects, "after everything healed"),
    (ForgetsEvents, "after everything healed"),
    (Stumbles, "KeyError"),
    (AnswersStrangers, "answered the attacker"),
]


def first_failure(options: Options, wanted: str) -> str:
    """The first failure that says what was wanted; "" when none does."""
    for seed in range(SEEDS_MAX):
        failure = run_seed(seed, options).failure
        if wanted in failure:
            return failure
    return ""


@pytest.mark.parametrize(("plane_class", "wanted"), PLANES)
def test_bug_in_the_packet_path_is_seen(plane_class: type[CountedPlane], wanted: str) -> None:
    assert first_failure(Options(has_handshakes=False, plane_class=plane_class), wanted)


@pytest.mark.parametrize(
    ("plane_class", "wanted"), [(NeverNarrows, "packets that are too big"), (NeverProbes, "told 1280")]
)
def test_bug_in_the_path_mtu_is_seen(plane_class: type[CountedPlane], wanted: str) -> None:
    only = frozenset({"path-mtu"})
    assert first_failure(Options(has_handshakes=True, only=only, plane_class=plane_class), wanted)


@pytest.mark.parametrize(("tunnel_class", "wanted"), TUNNELS)
def test_bug_in_the_control_plane_is_seen(tunnel_class: type[Tunnel], wanted: str) -> None:
    assert first_failure(Options(has_handshakes=True, tunnel_class=tunnel_class), wanted)
