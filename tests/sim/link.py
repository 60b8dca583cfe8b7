"""One direction of one link: what is sent into it comes out late, damaged, twice, or not at all."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

MS = 1_000_000
S = 1_000_000_000
SHORT_BYTES = 52
GRID_NS = MS // 10  # arrivals are rounded up to this, so that they come in batches as from a real socket


@dataclass(frozen=True, slots=True)
class LinkFaults:
    """The weather on one direction. Ratios are per datagram; 0 is off everywhere."""

    delay_ns: int = 10 * MS
    loss: float = 0.0
    burst_enter: float = 0.0  # Gilbert-Elliott: good to bad, per datagram
    burst_leave: float = 1.0  # bad to good
    burst_loss: float = 0.0  # in the bad state
    jitter_ns: int = 0
    reorder: float = 0.0
    reorder_ns: int = 0  # how much later such a datagram comes
    duplicate: float = 0.0
    truncate: float = 0.0
    flip: float = 0.0
    rate_bps: int = 0
    queue_bytes: int = 0
    payload_max: int = 0
    short_loss: float = 0.0  # of datagrams with nothing but an acknowledgement or a ping, by their size
    bad_ns: int = 0  # Gilbert-Elliott in time: how long a bad state lasts on average
    good_ns: int = 0
    bad_loss: float = 0.0  # in the bad state
    late: float = 0.0
    late_ns: int = 0  # at most so much later such a datagram comes


class Link:
    """State of one direction. `counts`: what became of the datagrams, for the verbose report."""

    def __init__(self, rng: random.Random, faults: LinkFaults) -> None:
        self._rng = rng
        self._is_bad = False
        self._is_bad_time = False
        self._turn_ns = 0  # when that changes
        self._free_ns = 0  # when the last queued byte is on the wire
        self.faults = faults
        self.payload_max = 0  # of the link itself, no fault: it stays when all heals; 0: no bound
        self.is_cut = False
        self.is_quic_only = False
        self.counts: Counter[str] = Counter()

    def heal(self) -> None:
        self.faults = LinkFaults()
        self.is_cut = False
        self.is_quic_only = False

    def send(self, now_ns: int, data: bytes) -> list[tuple[int, bytes]]:
        """(arrival, bytes) of each copy that comes out."""
        why = self._lost(data) or self._lost_in_time(now_ns)
        if why is None:
            leaves_ns = self._queue(now_ns, len(data))
            if leaves_ns is not None:
                self.counts["sent"] += 1
                return self._copies(leaves_ns, data)
            why = "queue"
        self.counts[why] += 1
        return []

    def _lost(self, data: bytes) -> str | None:
        f, rng = self.faults, self._rng
        if self.is_cut:
            return "cut"
        if self.is_quic_only and (not data or data[0] & 0xC0 == 0):
            return "quic-only"
        if len(data) > min(f.payload_max or len(data), self.payload_max or len(data)):
            return "mtu"
        if f.loss and rng.random() < f.loss:
            return "loss"
        if f.short_loss and len(data) < SHORT_BYTES and rng.random() < f.short_loss:
            return "short-loss"
        if f.burst_enter:
            turn = f.burst_leave if self._is_bad else f.burst_enter
            if rng.random() < turn:
                self._is_bad = not self._is_bad
            if self._is_bad and rng.random() < f.burst_loss:
                return "burst"
        return None

    def _lost_in_time(self, now_ns: int) -> str | None:
        """Bursts that take what comes in some milliseconds, as radio has them."""
        f, rng = self.faults, self._rng
        if not f.bad_ns:
            return None
        while now_ns >= self._turn_ns:
            self._is_bad_time = not self._is_bad_time
            self._turn_ns = max(self._turn_ns, now_ns - S)
            self._turn_ns += 1 + int(rng.expovariate(1 / (f.bad_ns if self._is_bad_time else f.good_ns)))
        return "time-burst" if self._is_bad_time and rng.random() < f.bad_loss else None

    def _queue(self, now_ns: int, size: int) -> int | None:
        """When the datagram has left the queue; None: no room."""
        f = self.faults
        if not f.rate_bps:
            return now_ns
        start_ns = max(now_ns, self._free_ns)
        if (start_ns - now_ns) * f.rate_bps > f.queue_bytes * 8 * S:
            return None
        self._free_ns = start_ns + size * 8 * S // f.rate_bps
        return self._free_ns

    def _copies(self, leaves_ns: int, data: bytes) -> list[tuple[int, bytes]]:
        f, rng = self.faults, self._rng
        copies = 1
        while f.duplicate and copies < 4 and rng.random() < f.duplicate:
            copies += 1
        found = []
        for _ in range(copies):
            at_ns = leaves_ns + f.delay_ns
            if f.jitter_ns:
                at_ns += rng.randrange(f.jitter_ns)
            if f.reorder and rng.random() < f.reorder:
                at_ns += rng.randrange(f.reorder_ns)
            if f.late and rng.random() < f.late:
                at_ns += rng.randrange(f.late_ns)
            found.append((-(-at_ns // GRID_NS) * GRID_NS, self._damage(data)))
        return found

    def _damage(self, data: bytes) -> bytes:
        f, rng = self.faults, self._rng
        if f.truncate and data and rng.random() < f.truncate:
            self.counts["truncate"] += 1
            data = data[: rng.randrange(len(data))]
        if f.flip and data and rng.random() < f.flip:
            self.counts["flip"] += 1
            bit = rng.randrange(len(data) * 8)
            damaged = bytearray(data)
            damaged[bit >> 3] ^= 1 << (bit & 7)
            data = bytes(damaged)
        return data
