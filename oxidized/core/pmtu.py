"""How large a datagram may be on one path, found by asking the path itself (DPLPMTUD, RFC 8899).

ICMP is not believed: many networks drop it, and anybody can forge it. Instead PINGs are padded to the size
in question; the PONG proves that this size passes. Each end searches the way it sends. Pure: `step()` is
called when `next_ns` has come and says what to send; `answered()` takes the PONGs.

A size is asked for in *rounds* of two PINGs, one of the size and a small one beside it, at the same moment.
Where the small one is answered ANSWERS_MIN times and the large one never, the size does not pass: loss would
take both alike. Where neither is answered nothing is learnt, and rounds come ever more slowly. Phases:

- first: a new path, to a place of which nothing is known. Packets go out at the upper bound (what the session
  agreed on) while that size is put to the test: on a normal path one round is all there ever is.
- search: between the largest size proved and the least that failed, by halves, over the sizes that links are
  known to have, then over the rest. Packets follow each proof up.
- done: found. The size is put to the test every CONFIRM_NS if enough was sent (CONFIRM_SHARE), else every
  CONFIRM_NS_MAX while packets flow, and at once when the peer acknowledges less than half of what it is
  sent; when it fails, the path has become narrower (a black hole) and the search starts from the base. Below
  the upper bound a search upwards comes every RAISE_NS_MAX; the first ones sooner, as what was found on a
  very bad path may be too low.

The base is never given up: 1,280 bytes must pass (RFC 8200, section 5), and if not, nothing here helps.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from oxidized.core.plane import PeerCounters

OVERHEAD_BYTES = 24  # header and tag of a data packet (PROTOCOL.md section 2)
REPEAT_ROOM_BYTES = 8  # a repetition is so much larger than what it repeats, at the most (section 3.2)
PING_BYTES = 18
BASE_PAYLOAD_BYTES = 1280 + OVERHEAD_BYTES
PAD_NONE_BYTES = OVERHEAD_BYTES + PING_BYTES  # payload of a datagram that holds a PING alone
HEADERS_IPV4_BYTES = 28  # IP and UDP
HEADERS_IPV6_BYTES = 48

# MTUs that links have: Ethernet less what PPPoE, VLANs, tunnels and mobile networks take off; jumbo frames.
LINK_MTU_BYTES = (
    1340, 1358, 1380, 1400, 1410, 1420, 1430, 1440, 1450, 1460, 1472, 1480, 1492, 1500,
    1600, 2048, 4096, 4352, 7936, 8192, 8500, 8900, 9000,
)  # fmt: skip
GRANULE_BYTES = 8  # a search ends this close

ANSWERS_MIN = 4  # at 20 % loss each way a size that passes is taken for one that does not in 1 of 200
ROUND_NS_MIN = 200_000_000
ROUND_NS_MAX = 3_000_000_000
ROUND_RTTS = 3  # the answer to the round before has come, or will not
SLOW_NS_MAX = 15_000_000_000  # between rounds when nothing is answered
SLOW_DOUBLINGS_MAX = 6
LOOK_NS = 5_000_000_000
CONFIRM_NS = 15_000_000_000
CONFIRM_SHARE = 100  # and after so many times the bytes of the probe: of a call it would be a tenth otherwise
CONFIRM_NS_MAX = 120_000_000_000  # or after this, however little is sent
RAISE_NS_MIN = 30_000_000_000
RAISE_NS_MAX = 600_000_000_000  # RFC 8899, section 5.1.1
SENT_PACKETS_MIN = 3  # fewer unacknowledged ones say nothing

# A token tells the round and the size, so that nothing need be remembered of what is under way.
_SIZE_BITS = 16
TOKEN_BITS = 32 + _SIZE_BITS  # 27 years of rounds


class Phase(Enum):
    OFF = "off"  # no session, or the carrier: its size is fixed
    FIRST = "first"
    SEARCH = "search"
    CONFIRM = "confirm"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Round:
    """Two PINGs to send, (token, padding in bytes); the large one is a probe."""

    small: int
    large: int
    pad_bytes: int


@dataclass(slots=True)
class _Seen:
    """Counters at the last look."""

    inner_packets: int = 0
    datagrams: int = 0
    acked: int = 0


class PathMtu:
    """The search of one path, in bytes of UDP payload."""

    def __init__(self) -> None:
        self.phase = Phase.OFF
        self.next_ns: int | None = None
        self._upper = BASE_PAYLOAD_BYTES
        self._low = BASE_PAYLOAD_BYTES  # proved, or the base
        self._high = BASE_PAYLOAD_BYTES + 1  # the least that failed, or just above the upper bound
        self._target = BASE_PAYLOAD_BYTES  # being asked for
        self._headers_bytes = HEADERS_IPV4_BYTES
        self._place = ""  # where the path leads
        self._found = BASE_PAYLOAD_BYTES  # by the last search there that came to its end
        self._serial = 0  # of the last round
        self._since = 1  # answers to earlier rounds mean nothing any more
        self._last_small = 0  # round of the newest small PING answered
        self._answers = 0  # small PINGs answered since this size is asked for
        self._unheard = 0  # rounds in a row without any answer
        self._raise_after_ns = RAISE_NS_MIN
        self._raise_ns = 0
        self._confirmed_ns = 0
        self._confirmed_bytes: int | None = None  # sent until then; None: not looked yet
        self._seen = _Seen()

    @property
    def payload_max(self) -> int:
        """What the path is used with now: so much below what passes that a full packet can be repeated."""
        passes = self._upper if self.phase is Phase.FIRST else self._low
        return max(passes - REPEAT_ROOM_BYTES, BASE_PAYLOAD_BYTES)

    @property
    def mtu_bytes(self) -> int:
        """Largest inner packet now."""
        return self.payload_max - OVERHEAD_BYTES

    @property
    def is_off(self) -> bool:
        return self.phase is Phase.OFF

    @property
    def is_settled(self) -> bool:
        """No search is under way."""
        return self.phase in (Phase.OFF, Phase.DONE, Phase.CONFIRM)

    def start(self, payload_max: int, *, place: str, is_ipv6: bool, now_ns: int) -> None:
        """A new path: another address or another session. `place`: the address of the peer.

        What was found on the way to the same place is the first guess, so that a new session loses nothing.
        """
        assert payload_max >= BASE_PAYLOAD_BYTES
        is_least = payload_max == BASE_PAYLOAD_BYTES
        upper = payload_max if is_least else payload_max + REPEAT_ROOM_BYTES
        if (place, upper) != (self._place, self._upper):
            self._place, self._found = place, upper
        guess = self._found
        self._headers_bytes = HEADERS_IPV6_BYTES if is_ipv6 else HEADERS_IPV4_BYTES
        self._upper = upper
        self._low = BASE_PAYLOAD_BYTES
        self._raise_after_ns = RAISE_NS_MIN
        if is_least:
            self._done(now_ns)
        elif BASE_PAYLOAD_BYTES < guess < upper:
            self._low = guess
            self._raise_ns = now_ns + RAISE_NS_MIN
            self._ask(Phase.CONFIRM, guess, now_ns)
        else:
            self._ask(Phase.FIRST, upper, now_ns)

    def stop(self) -> None:
        """No session, or the carrier."""
        self.phase = Phase.OFF
        self.next_ns = None
        self._since = self._serial + 1

    def silent(self) -> None:
        """The peer is not heard: nothing can be learnt until it is."""
        self.next_ns = None

    def heard(self, now_ns: int) -> None:
        """It is heard again, perhaps in another network."""
        if self.phase is Phase.OFF or self.next_ns is not None:
            return
        self._raise_after_ns, self._raise_ns = RAISE_NS_MIN, now_ns
        if self.phase is Phase.DONE and self._low > BASE_PAYLOAD_BYTES:
            self._ask(Phase.CONFIRM, self._low, now_ns)
        else:
            self._unheard = 0
            self.next_ns = now_ns

    def answered(self, token: int, now_ns: int) -> None:
        """A PONG with a token of ours. What a peer makes up hurts only what goes to that peer."""
        serial, size = token >> _SIZE_BITS, token & (1 << _SIZE_BITS) - 1
        if self.phase is Phase.OFF or not self._since <= serial <= self._serial:
            return
        self._unheard = 0
        if size <= PAD_NONE_BYTES:
            if serial > self._last_small:
                self._last_small = serial
                self._answers += 1
            return
        if not self._low <= size <= self._upper:
            return
        self._low = size
        if size >= self._high:
            self._high = self._upper + 1  # it was only late
        if self.phase is Phase.CONFIRM:
            self._done(now_ns)
        elif self.phase is not Phase.DONE and size >= self._target:
            self._next(now_ns)

    def step(self, now_ns: int, counters: PeerCounters) -> Round | None:
        """What is due; `counters` are those of the peer, path 0 its path."""
        if self.next_ns is None or now_ns < self.next_ns:
            return None
        if self.phase is Phase.DONE:
            self._look(now_ns, counters)
        elif self._answers >= ANSWERS_MIN:
            self._failed(now_ns)
        if self.phase is Phase.DONE:
            return None
        return self._round(now_ns, counters.paths[0].rtt_ns)

    # -- within

    def _round(self, now_ns: int, rtt_ns: int) -> Round:
        self._serial += 1
        pause_ns = min(max(ROUND_RTTS * rtt_ns, ROUND_NS_MIN), ROUND_NS_MAX)
        pause_ns <<= max(0, min(self._unheard - 1, SLOW_DOUBLINGS_MAX))
        self._unheard += 1
        self.next_ns = now_ns + min(pause_ns, SLOW_NS_MAX)
        token = self._serial << _SIZE_BITS
        return Round(token | PAD_NONE_BYTES, token | self._target, self._target - PAD_NONE_BYTES)

    def _ask(self, phase: Phase, size: int, now_ns: int) -> None:
        """Put a size to the test; `phase` FIRST, CONFIRM or SEARCH from its upper end."""
        self.phase = phase
        self._high = self._upper + 1
        self._since = self._serial + 1
        self._aim(size, now_ns)

    def _aim(self, size: int, now_ns: int) -> None:
        self._target = size
        self._answers = 0
        self._unheard = 0
        self.next_ns = now_ns

    def _failed(self, now_ns: int) -> None:
        """The size asked for does not pass, though small packets do."""
        if self.phase is Phase.CONFIRM:
            self._since = self._serial + 1  # an answer from before the path became narrower proves nothing
            self._low = BASE_PAYLOAD_BYTES
            self._raise_after_ns = RAISE_NS_MIN
        self._high = self._target
        self._next(now_ns)

    def _next(self, now_ns: int) -> None:
        """The next size between what passes and what does not; the search is over when there is none."""
        low, high = self._low, self._high
        if high - low <= GRANULE_BYTES or low == self._upper:
            self._done(now_ns)
            return
        known = [size for mtu in LINK_MTU_BYTES if low < (size := mtu - self._headers_bytes) < high]
        self.phase = Phase.SEARCH
        self._aim(known[len(known) // 2] if known else (low + high) // 2, now_ns)

    def _done(self, now_ns: int) -> None:
        was_confirmed = self.phase is Phase.CONFIRM
        self._found = self._low
        self.phase = Phase.DONE
        self._confirmed_ns = now_ns
        self._confirmed_bytes = None
        self.next_ns = now_ns + LOOK_NS
        if not was_confirmed:
            self._raise_ns = now_ns + self._raise_after_ns
            self._raise_after_ns = min(2 * self._raise_after_ns, RAISE_NS_MAX)

    def _look(self, now_ns: int, counters: PeerCounters) -> None:
        """Is it time to ask again?"""
        path, before = counters.paths[0], self._seen
        sent = counters.tx_packets - before.inner_packets
        acked, datagrams = path.acked_packets - before.acked, path.tx_packets - before.datagrams
        self._seen = _Seen(counters.tx_packets, path.tx_packets, path.acked_packets)
        self.next_ns = now_ns + LOOK_NS
        if sent > 0 and self._low < self._upper and now_ns >= self._raise_ns:
            self._ask(Phase.SEARCH, self._upper, now_ns)
            return
        is_lossy = sent >= SENT_PACKETS_MIN and 2 * acked < datagrams
        if self._confirmed_bytes is None:
            self._confirmed_bytes = path.tx_bytes
        is_worth = path.tx_bytes - self._confirmed_bytes >= CONFIRM_SHARE * self._low
        is_due = sent > 0 and now_ns - self._confirmed_ns >= (CONFIRM_NS if is_worth else CONFIRM_NS_MAX)
        if (is_lossy or is_due) and self._low > BASE_PAYLOAD_BYTES:
            self._ask(Phase.CONFIRM, self._low, now_ns)
