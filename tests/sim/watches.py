"""What a plane may do at most, told by what passes its door.

How long it may keep a packet to itself, and when it may say that it has no session to send by, or no context
to restore a header with.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from tests.sim.compression import UDP

VOIP, GAMING, OTHER = range(3)
DSCP_CS4 = 32
DSCPS_OF_CALLS = (44, 46)  # VA, EF
DSCPS_OF_OTHERS = (1, 8, 10, 12, 14, 16, 24, 26, 28, 30, 34, 36, 38, 40, 48, 56)
TCP = 6
ITEM_BYTES_MAX = 512  # larger ones never share a datagram
HEADER_BYTES = 8  # of a data packet
REPLACED = 1 << 32
ORDER_NS_MAX = 500_000_000  # 400 ms, and 100 in which hundreds of gaps are shown one by one
SLACK_NS = 1_000  # a clock that runs slow shows the moment a little late

T = TypeVar("T")


def classes_of(packet: bytes) -> Iterable[int]:
    """Those that a packet may be in; without marks it takes some packets to know."""
    if len(packet) < 20:
        return (OTHER,)
    is_v6 = packet[0] >> 4 == 6
    traffic_class = int.from_bytes(packet[:2], "big") >> 4 & 0xFF if is_v6 else packet[1]
    if traffic_class >> 2 == DSCP_CS4:
        return (GAMING,)
    protocol = packet[6 if is_v6 else 9]
    if traffic_class >> 2 in DSCPS_OF_CALLS:
        return (OTHER,) if protocol == TCP else (VOIP,)
    if protocol != UDP or traffic_class >> 2 in DSCPS_OF_OTHERS:
        return (OTHER,)
    return (VOIP, GAMING, OTHER)


class HoldWatch:
    """No packet is held beyond the bound of its class: never are more held than came within it."""

    def __init__(self, hold_ns: Sequence[int]) -> None:
        self._hold_ns = tuple(hold_ns)
        self._due_ns: deque[int] = deque()  # of what may be held, in no order

    def pushed(self, local_ns: int, packets: Sequence[bytes]) -> None:
        for packet in packets if any(self._hold_ns) else ():
            wait_ns = max(self._hold_ns[c] for c in classes_of(packet))
            if wait_ns > 0 and len(packet) <= ITEM_BYTES_MAX:
                self._due_ns.append(local_ns + wait_ns)

    def may_hold(self, local_ns: int) -> int:
        """Packets at most, at that time."""
        self._due_ns = deque(due_ns for due_ns in self._due_ns if due_ns > local_ns)
        return len(self._due_ns)


class OrderWatch:
    """No packet waits for a lost one for longer than it may: never do more wait than came within it."""

    def __init__(self) -> None:
        self._came: deque[tuple[int, int]] = deque()  # when, and how many packets had come by then
        self._found = 0

    def came(self, local_ns: int, found: int) -> None:
        if found > self._found:
            self._came.append((local_ns, found - self._found))
            self._found = found

    def may_wait(self, local_ns: int) -> int:
        """Packets at most, at that time."""
        while self._came and self._came[0][0] + ORDER_NS_MAX <= local_ns:
            self._came.popleft()
        return sum(count for _, count in self._came)


class RepairWatch:
    """No copy and no repair symbol of a call or a game leaves when none of its packets is young enough.

    The link may delay it further, as it may delay the packet itself: of that no sender knows.
    """

    BUDGETS_NS = {VOIP: 150_000_000, GAMING: 100_000_000}

    def __init__(self) -> None:
        self._pushed: dict[int, deque[int]] = {which: deque() for which in self.BUDGETS_NS}
        self._sent = dict.fromkeys(self._pushed, 0)

    def pushed(self, local_ns: int, packets: Sequence[bytes]) -> None:
        for packet in packets:
            classes = classes_of(packet)
            for which in self.BUDGETS_NS:
                if which in classes:
                    self._pushed[which].append(local_ns)

    def too_many(self, local_ns: int, which: int, sent: int) -> int:
        """Of `sent` so far, how many are new and repair what is too old."""
        pushed, new = self._pushed[which], sent - self._sent[which]
        self._sent[which] = sent
        while pushed and pushed[0] + self.BUDGETS_NS[which] < local_ns:
            pushed.popleft()
        return 0 if pushed else new


class SessionWatch:
    """Which sessions are replaced, and whether every peer can be sent to."""

    def __init__(self) -> None:
        self._serial = 0
        self._installed: dict[int, tuple[int, int]] = {}  # receiver index: peer, serial
        self._largest: dict[int, int] = {}  # packet number, by serial
        self._heard: dict[int, int] = {}  # peer: the newest session of which something came
        self._may_send: dict[int, bool] = {}
        self._had_gap = True

    def peer(self, peer: int) -> None:
        self._may_send[peer] = False
        self._had_gap = True

    def peers(self) -> Iterable[int]:
        return self._may_send

    def peer_gone(self, peer: int) -> None:
        self.peer(peer)
        del self._may_send[peer]
        self._heard.pop(peer, None)

    def installed(self, peer: int, rx_index: int, *, may_send: bool) -> None:
        self._serial += 1
        self._installed[rx_index] = (peer, self._serial)
        if may_send:
            self._may_send[peer] = True

    def sends(self, peer: int) -> None:
        self._may_send[peer] = True

    def dropped(self, peer: int) -> None:
        self.peer(peer)

    def all_could_send(self) -> bool:
        """Since the last call."""
        could = not self._had_gap
        self._had_gap = not all(self._may_send.values())
        return could

    def _overtaken(self, datagram: bytes) -> int:
        """By how many of its session, as the numbers tell; REPLACED: its peer had left the session before."""
        if len(datagram) < HEADER_BYTES or datagram[0] & 0xC0:
            return 0
        index, pn = int.from_bytes(datagram[1:4], "big"), int.from_bytes(datagram[4:8], "big")
        peer, serial = self._installed.get(index, (-1, 0))
        if peer < 0:
            return 0
        self._heard[peer] = max(serial, self._heard.get(peer, 0))
        if serial < self._heard[peer]:
            return REPLACED
        largest = self._largest.get(serial, 0)
        self._largest[serial] = max(largest, pn)
        return max(0, largest - pn)

    def runs(self, items: Sequence[T], datagrams: Sequence[bytes]) -> Iterator[tuple[list[T], int]]:
        """`items` in order, in runs whose datagrams were overtaken by so many: 0, or one datagram alone."""
        run: list[T] = []
        for item, datagram in zip(items, datagrams, strict=True):
            overtaken = self._overtaken(datagram)
            if overtaken and run:
                yield run, 0
                run = []
            if overtaken:
                yield [item], overtaken
            else:
                run.append(item)
        if run:
            yield run, 0
