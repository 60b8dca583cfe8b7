"""Trains lost without a word are noticed, and nothing else is taken for that (native/core/train_watch.h).

An edge with GSO sends to a hub over a virtual link that knows which datagrams left together.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oxidized.core.plane import CARRIER, Offload, SessionKeys, Suite
from tests.differential.reference import Ack, End
from tests.native.rig import (
    ELSEWHERE,
    HUB,
    INNER_A,
    INNER_B,
    KEY_A,
    KEY_B,
    MS,
    PAYLOAD_MAX,
    Pair,
    S,
    Solo,
    numbered,
)

# limits.h: datagrams of the short trains that prove it, and a window that shows enough to begin with them
PROOF_MAX = 8 * 4
WINDOW_MAX = 256
DELAY_NS = 10 * MS
AES = Suite.AES_256_GCM

Loses = Callable[[int, bool], bool]  # (number of the datagram, whether it left in a train)


class Line(Pair):
    """`loses` says what the way up loses; the way down is whole unless it `is_dead`."""

    def __init__(self, loses: Loses, *, delay_ns: int = DELAY_NS) -> None:
        super().__init__(delay_ns=delay_ns, fate=self._fate)
        self.edge.offload_set(Offload.GSO)
        self.loses = loses
        self.link_delay_ns = delay_ns
        self.is_dead = False
        self.is_train = False
        self.trained = 0
        self.singles = 0
        self.trained_lost = 0
        self._next = 0

    def _fate(self, way: str, n: int) -> int | None:
        is_lost = self.is_dead or (way == "up" and self.loses(n, self.is_train))
        self.trained_lost += is_lost and way == "up" and self.is_train
        return None if is_lost else self.link_delay_ns

    def _collect(self) -> None:
        while train := self.edge.train_pop():
            self.is_train = len(train) > 1
            self.trained += len(train) if self.is_train else 0
            self.singles += not self.is_train
            for datagram, _ in train:
                self._launch("up", datagram, self.edge_source)
        self.is_train = False
        super()._collect()

    def burst(self, count: int, for_ns: int = 10 * MS) -> None:
        self.up([numbered(self._next + i) for i in range(count)])
        self._next += count
        self.run(for_ns)

    def load(self, bursts: int, count: int = 32) -> None:
        for _ in range(bursts):
            self.burst(count)

    @property
    def counts(self) -> tuple[int, int]:
        """Trials, and paths found to lose trains."""
        stats = self.edge.stats()
        return stats["udp_train_trials"], stats["udp_trains_lost_paths"]

    @property
    def has_gso(self) -> bool:
        return Offload.GSO in self.edge.offload


def given_up(line: Line, bursts: int, count: int = 32) -> bool:
    for _ in range(bursts):
        line.burst(count)
        if not line.has_gso:
            return True
    return False


@pytest.mark.parametrize("loss", [0.0, 0.1, 0.2])
def test_an_ordinary_link_is_never_tried(loss: float) -> None:
    dice = Random(1)
    line = Line(lambda n, is_train: dice.random() < loss)
    line.load(200)
    assert line.trained > 6000 and line.counts == (0, 0) and line.has_gso


@given(count=st.integers(2, 64), singles=st.integers(1, 4), every=st.integers(1, 8), loss=st.floats(0, 0.02),
       seed=st.integers(0, 1000))  # fmt: skip
@settings(max_examples=25)
def test_trains_that_are_all_lost_are_given_up(
    count: int, singles: int, every: int, loss: float, seed: int
) -> None:
    """Within a bounded number of lost datagrams, whatever the size of the trains and the singles between."""
    dice = Random(seed)
    line = Line(lambda n, is_train: is_train or dice.random() < loss)
    for turn in range(4000):
        line.burst(count)
        for _ in range(singles if turn % every == 0 else 0):
            line.burst(1)
        if not line.has_gso:
            break
    assert not line.has_gso
    assert line.trained_lost <= WINDOW_MAX + PROOF_MAX + 16 * count
    trials, paths = line.counts
    assert trials >= 1 and paths == 1
    trained = line.trained
    line.load(20)
    assert line.trained == trained, "none leaves any more"
    line.session(seed=9)
    line.load(20)
    assert line.trained == trained and line.counts == (trials, paths), "for good"


@pytest.mark.parametrize("loss", [0.6, 0.8, 0.95])
def test_trains_that_are_mostly_lost_are_given_up(loss: float) -> None:
    dice = Random(2)
    line = Line(lambda n, is_train: is_train and dice.random() < loss)
    assert given_up(line, 400)


def test_nothing_but_trains_and_all_are_lost() -> None:
    """Nothing is acknowledged then; PINGs are answered, so the peer does not count as dead."""
    line = Line(lambda n, is_train: is_train)
    assert given_up(line, 4000)
    assert line.counts == (1, 1)


def test_a_connection_that_lives_on_its_retransmissions() -> None:
    """Of TCP gets one segment through per timeout, and then sends two."""
    line = Line(lambda n, is_train: is_train)
    line.burst(10, 200 * MS)
    for _ in range(400):
        if not line.has_gso:
            break
        line.burst(1, 200 * MS)
        line.burst(2, 200 * MS)
    assert not line.has_gso
    assert line.trained_lost < 2 * WINDOW_MAX


@given(
    loss=st.floats(0.05, 1.0),
    count=st.integers(2, 64),
    delay_ms=st.integers(0, 300),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=25)
def test_a_link_that_loses_singles_as_well_is_not_blamed(
    loss: float, count: int, delay_ms: int, seed: int
) -> None:
    dice = Random(seed)
    line = Line(lambda n, is_train: dice.random() < loss, delay_ns=delay_ms * MS)
    line.load(300, count)
    trials, paths = line.counts
    assert paths == 0 and line.has_gso
    assert trials <= 12, "each rest is twice as long as the one before"


@given(seed=st.integers(0, 10**6), good=st.integers(1, 400), bad=st.integers(1, 400))
@settings(max_examples=25)
def test_losses_that_come_and_go_are_not_blamed(seed: int, good: int, bad: int) -> None:
    """Gilbert's model: whole bursts and rounds are lost, and others are not."""
    dice = Random(seed)
    state = [True]

    def loses(n: int, is_train: bool) -> bool:
        if dice.random() < 1 / (good if state[0] else bad):
            state[0] = not state[0]
        return not state[0] and dice.random() < 0.9

    line = Line(loses)
    line.load(300)
    assert line.counts[1] == 0 and line.has_gso


@given(up=st.integers(20, 1000), down=st.integers(20, 1000), at=st.integers(0, 1000))
@settings(max_examples=25)
def test_a_link_that_dies_and_comes_back_is_not_blamed(up: int, down: int, at: int) -> None:
    line = Line(lambda n, is_train: False)
    for turn in range(200):
        line.is_dead = (at + 10 * turn) % (up + down) >= up
        line.burst(32)
    assert line.counts[1] == 0 and line.has_gso
    line.is_dead = False
    trained = line.trained
    line.load(200)
    assert line.trained > trained + 3200, "and trains leave again"


@pytest.mark.parametrize("loss", [0.01, 0.05])
def test_a_little_loss_of_all_is_told_from_that_of_trains(loss: float) -> None:
    """At a rate at which each acknowledgement covers many losses besides those of a short train."""
    dice = Random(3)
    line = Line(lambda n, is_train: dice.random() < loss)
    for turn in range(1500):
        line.is_dead = 200 <= turn < 400
        line.burst(64, MS // 2)
    assert line.counts[0] >= 1, "or this test shows nothing"
    assert line.counts[1] == 0 and line.has_gso
    line.loses = lambda n, is_train: is_train or dice.random() < loss
    for _ in range(3000):
        line.burst(64, MS // 2)
        line.burst(1, MS // 2)
        if not line.has_gso:
            break
    assert not line.has_gso


def test_trains_that_mostly_arrive_are_kept() -> None:
    dice = Random(4)
    line = Line(lambda n, is_train: is_train and dice.random() < 0.1)
    for turn in range(600):
        line.is_dead = 50 <= turn < 60
        line.burst(32)
    assert line.counts == (1, 0) and line.has_gso


@pytest.mark.parametrize("clean", range(64, 320, 32))
def test_a_proof_looks_at_the_singles_beside_the_trains(clean: int) -> None:
    """So many datagrams arrive once the trial has begun; what comes then hits all alike."""
    dice = Random(clean)
    singles = 0

    def loses(n: int, is_train: bool) -> bool:
        nonlocal singles
        singles += line.counts[0] > 0
        return singles > clean and dice.random() < 0.7

    line = Line(loses)
    line.load(50)
    line.is_dead = True
    line.load(10)
    line.is_dead = False
    line.load(200)
    assert line.counts[0] >= 1, "or this test shows nothing"
    assert line.counts[1] == 0 and line.has_gso


def test_a_trial_ends_also_when_nothing_is_acknowledged() -> None:
    line = Line(lambda n, is_train: False)
    line.load(10)
    line.is_dead = True
    line.load(500)
    assert line.counts[0] >= 1
    assert line.singles < line.trained, "a trial is short"


def test_a_loss_that_ends_with_the_trial_is_a_coincidence() -> None:
    line = Line(lambda n, is_train: is_train)
    while line.counts[0] == 0:
        line.burst(32)
        line.burst(1)
    line.loses = lambda n, is_train: False
    line.load(200)
    assert line.counts == (1, 0) and line.has_gso
    line.loses = lambda n, is_train: is_train
    trained_lost = line.trained_lost
    for _ in range(800):
        line.burst(32)
        line.burst(1)
    assert not line.has_gso
    assert line.trained_lost - trained_lost >= PROOF_MAX, "what was seen before counts no more"


def test_without_gso_there_is_nothing_to_try() -> None:
    line = Line(lambda n, is_train: n % 2 == 0)
    line.edge.offload_set(Offload(0))
    line.load(200)
    assert (line.trained, line.counts) == (0, (0, 0))


def test_a_path_over_quic_is_not_tried() -> None:
    line = Line(lambda n, is_train: True)
    line.edge.path_set(line.edge_peer, 0, CARRIER, 1304)
    line.load(200)
    assert line.counts == (0, 0)
    line.edge.poll_carrier()
    line.edge.path_set(line.edge_peer, 0, HUB, PAYLOAD_MAX)
    assert line.has_gso


def test_who_only_listens_is_not_silenced() -> None:
    """Our own acknowledgements are not acknowledged; the first trains after them are not long unheard."""
    line = Line(lambda n, is_train: False)
    for n in range(100):
        line.down([numbered(n, INNER_B, INNER_A)])
        line.run(50 * MS)
    for _ in range(10):
        line.burst(64, 0)
    line.run(DELAY_NS)
    assert line.trained >= 600
    line.load(100)
    assert line.counts == (0, 0)


def test_one_peer_alone_does_not_take_trains_from_all() -> None:
    """It could say of what arrived that it did not: its own path goes without, the others do not."""
    line = Line(lambda n, is_train: is_train)
    other = line.edge.peer_add(keepalive_ns=0, dead_after_ns=5 * S, is_initiator=True)
    line.edge.routes_set([(ip_network("10.0.0.2/32"), line.edge_peer), (ip_network("10.0.0.3/32"), other)])
    line.edge.path_set(other, 0, ELSEWHERE, PAYLOAD_MAX)
    index = line.edge.index_pick(77)
    line.edge.session_install(line.now_ns, other, SessionKeys(index, 0xABC, AES, KEY_A, KEY_B, True))
    honest = End(AES, index, 0xABC, {0: KEY_A}, {0: KEY_B})
    sent = 0
    for _ in range(400):
        line.edge.inner_push(line.now_ns, [numbered(0, INNER_A, "10.0.0.3")] * 32)
        sent += 32
        line.burst(32)
        line.burst(1)
        ack = Ack(0, sent - 1, 0, sent, 0, 0).pack()
        line.edge.outer_push(line.now_ns, [(honest.seal(ack), ELSEWHERE)])
        if line.counts[1]:
            break
    assert line.counts == (1, 1) and line.has_gso
    trained = line.trained
    line.session(seed=9)
    line.load(3)
    assert line.trained == trained, "also in the next session"
    line.edge.inner_push(line.now_ns, [numbered(0, INNER_A, "10.0.0.3")] * 32)
    line.run(MS)
    assert line.trained == trained + 32


def test_an_acknowledgement_that_does_not_reach_down_proves_nothing() -> None:
    """It names its newest number alone. What became of the short train is not said, so it is not blamed."""
    rig = Solo()
    rig.plane.offload_set(Offload.GSO)
    sent = missing = 0

    def send(count: int) -> list[int]:
        """Sizes of the trains."""
        nonlocal sent
        rig.now_ns += MS
        rig.send(*[numbered(n, INNER_B, INNER_A) for n in range(count)])
        sent += count
        sizes = []
        while train := rig.plane.train_pop():
            sizes.append(len(train))
        return sizes

    def ack() -> None:
        rig.hear(Ack(0, sent - 1, 0, sent - missing, 0, 0).pack())

    assert send(64) == [64]
    ack()
    assert send(64) == [64]
    missing = 63
    ack()
    assert send(64) == [1] * 64, "the trial has begun"
    ack()
    send(64)
    ack()
    proofs = 0
    for _ in range(64):
        sizes = send(32)
        proofs += 4 in sizes
        ack()
    assert proofs >= 8 and rig.plane.stats()["udp_train_trials"] == 1
    assert rig.plane.stats()["udp_trains_lost_paths"] == 0
    assert send(32) == [32], "it was given up to find out"
