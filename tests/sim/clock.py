"""A node's own clock, made from the virtual time of the world: an offset, a drift, jumps and freezes."""

from __future__ import annotations

PPM = 1_000_000


class NodeClock:
    """Like CLOCK_MONOTONIC: it may run fast or slow, jump forwards and stand still, never go back."""

    __slots__ = ("_base_local_ns", "_base_ns", "_drift_ppm", "_is_frozen")

    def __init__(self, now_ns: int, local_ns: int, drift_ppm: int) -> None:
        assert local_ns >= 0 and abs(drift_ppm) < PPM
        self._base_ns = now_ns
        self._base_local_ns = local_ns
        self._drift_ppm = drift_ppm
        self._is_frozen = False

    def local_ns(self, now_ns: int) -> int:
        if self._is_frozen:
            return self._base_local_ns
        return self._base_local_ns + (now_ns - self._base_ns) * (PPM + self._drift_ppm) // PPM

    def world_ns(self, local_ns: int) -> int:
        """The first moment of the world at which this clock shows `local_ns` or more. Not while frozen."""
        assert not self._is_frozen
        ahead_ns = local_ns - self._base_local_ns
        return self._base_ns + -(-ahead_ns * PPM // (PPM + self._drift_ppm))

    def _rebase(self, now_ns: int) -> None:
        self._base_local_ns = self.local_ns(now_ns)
        self._base_ns = now_ns

    def jump(self, now_ns: int, by_ns: int) -> None:
        assert by_ns >= 0
        self._rebase(now_ns)
        self._base_local_ns += by_ns

    def freeze(self, now_ns: int) -> None:
        self._rebase(now_ns)
        self._is_frozen = True

    def thaw(self, now_ns: int) -> None:
        self._base_ns = now_ns
        self._is_frozen = False
