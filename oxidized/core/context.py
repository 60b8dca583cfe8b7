"""What all parts of one tunnel share: the packet path, time keeping, randomness, counters."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from oxidized.core.counters import Counters
from oxidized.core.events import TunnelEvent
from oxidized.core.handshake import Entropy, Identity, Offer, Rejected
from oxidized.core.plane import Plane
from oxidized.core.quic_server import QuicServer
from oxidized.core.timers import Timers
from oxidized.errors import NativeError

INDEX_ENTROPY_BYTES = 3


@dataclass(slots=True, repr=False)
class Context:
    """Shared by tunnel, peers and channels. The mutable settings are changed by Tunnel alone."""

    plane: Plane
    entropy: Entropy
    timers: Timers
    counters: Counters
    quic: QuicServer
    identity: Identity
    offer: Offer
    rekey_after_ns: int
    may_bundle: bool = True
    events: deque[TunnelEvent] = field(default_factory=deque)

    def emit(self, event: TunnelEvent) -> None:
        self.events.append(event)

    def pick_index(self) -> int:
        """A receiver index for a session to come; it may still be taken by another one meanwhile.

        Raises Rejected when there is none at all.
        """
        index = self._index_near(int.from_bytes(self.entropy(INDEX_ENTROPY_BYTES), "big"))
        if index == 0:
            raise Rejected("index-taken")
        return index

    def check_index(self, index: int) -> None:
        """The index was free when we named it, a round trip ago. Raises Rejected if it is not any more."""
        if self._index_near(index) != index:
            raise Rejected("index-taken")

    def _index_near(self, wanted: int) -> int:
        try:
            return self.plane.index_pick(wanted)
        except NativeError:
            return 0  # every slot is taken: many handshakes at once, and the ones before still linger
