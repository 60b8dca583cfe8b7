"""The search for a path's MTU: what it costs on a good path, and where it ends on any other."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxidized.core.plane import PathCounters, PeerCounters
from oxidized.core.pmtu import (
    ANSWERS_MIN,
    BASE_PAYLOAD_BYTES,
    CONFIRM_NS,
    CONFIRM_NS_MAX,
    GRANULE_BYTES,
    LINK_MTU_BYTES,
    LOOK_NS,
    PAD_NONE_BYTES,
    RAISE_NS_MAX,
    RAISE_NS_MIN,
    REPEAT_ROOM_BYTES,
    ROUND_NS_MIN,
    SLOW_NS_MAX,
    PathMtu,
    Phase,
)

S = 10**9
MS = 10**6
UPPER = 1444
RTT_NS = 40 * MS


def passing(search: PathMtu) -> int:
    """The size that is taken to pass; packets leave room for a repetition below it, if they can."""
    passes = search._upper if search.phase is Phase.FIRST else search._low
    assert search.payload_max == max(passes - REPEAT_ROOM_BYTES, BASE_PAYLOAD_BYTES)
    return passes


@dataclass
class Path:
    """A path that carries `limit` bytes of UDP payload; `loss` of each round trip. Packets always flow."""

    limit: int = 9216
    loss: float = 0.0
    seed: int = 0
    rtt_ns: int = RTT_NS
    is_busy: bool = True
    packet_bytes: int = 1000
    now_ns: int = 1000 * S
    search: PathMtu = field(default_factory=PathMtu)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self.rounds: list[tuple[int, int]] = []  # when, and which size
        self.sizes: list[tuple[int, int]] = []  # when, and what the path was used with from then on
        self.answers: list[tuple[int, int]] = []

    def start(self, upper: int = UPPER, *, place: str = "192.0.2.1", is_ipv6: bool = False) -> None:
        payload_max = max(upper - REPEAT_ROOM_BYTES, BASE_PAYLOAD_BYTES)
        self.search.start(payload_max, place=place, is_ipv6=is_ipv6, now_ns=self.now_ns)
        self.note()

    def note(self) -> None:
        if not self.sizes or self.sizes[-1][1] != passing(self.search):
            self.sizes.append((self.now_ns, passing(self.search)))

    def counters(self) -> PeerCounters:
        sent = self.now_ns // MS * 2 if self.is_busy else 0
        passed = sent if passing(self.search) <= self.limit else sent // 3
        bytes_sent = sent * self.packet_bytes
        path = PathCounters(
            None, sent, bytes_sent, 0, 0, passed, 0, 0, 0, self.rtt_ns, 0, self.rtt_ns, self.rtt_ns, 0, 0
        )
        return PeerCounters(sent, 0, 0, 0, 0, 0, False, 0, 0, (path,) * 4)

    def run(self, seconds: float) -> None:
        """Time passes; a step that is due again at once would never end."""
        end_ns = self.now_ns + round(seconds * S)
        while True:
            due = [at_ns for at_ns, _ in self.answers]
            due += [] if self.search.next_ns is None else [self.search.next_ns]
            if not due or min(due) > end_ns:
                break
            self.now_ns = max(self.now_ns, min(due))
            arrived = [token for at_ns, token in self.answers if at_ns <= self.now_ns]
            self.answers = [each for each in self.answers if each[0] > self.now_ns]
            for token in arrived:
                self.search.answered(token, self.now_ns)
            self.step()
            self.note()
        self.now_ns = end_ns

    def step(self) -> None:
        before = self.search.next_ns
        out = self.search.step(self.now_ns, self.counters())
        if before is not None and before <= self.now_ns:
            assert self.search.next_ns is None or self.search.next_ns > self.now_ns
        if out is None:
            return
        assert out.pad_bytes > 0 and out.small != out.large
        size = PAD_NONE_BYTES + out.pad_bytes
        self.rounds.append((self.now_ns, size))
        for token, needed in ((out.small, PAD_NONE_BYTES), (out.large, size)):
            if needed <= self.limit and self.dice.random() >= self.loss:
                self.answers.append((self.now_ns + self.rtt_ns, token))

    def fits(self) -> bool:
        """Within what passes, and as close as a search ends."""
        payload = passing(self.search)
        best = max(min(self.limit, self.search._upper), BASE_PAYLOAD_BYTES)
        return payload <= max(self.limit, BASE_PAYLOAD_BYTES) and best - payload < GRANULE_BYTES


def test_a_normal_path_costs_one_round() -> None:
    path = Path()
    path.start()
    assert passing(path.search) == UPPER, "packets of full size go out at once"
    path.run(5)
    assert [size for _, size in path.rounds] == [UPPER]
    assert path.search.phase is Phase.DONE and passing(path.search) == UPPER


def test_what_can_not_be_smaller_is_never_asked_for() -> None:
    path = Path(limit=1200)
    path.start(BASE_PAYLOAD_BYTES)
    path.run(3600)
    assert path.rounds == [] and passing(path.search) == BASE_PAYLOAD_BYTES


def test_a_narrow_path_is_found_out() -> None:
    path = Path(limit=1372)
    path.start()
    path.run(10)
    assert passing(path.search) == 1372
    sizes = [size for _, size in path.sizes]
    assert sizes[0] == UPPER and sizes[1] == BASE_PAYLOAD_BYTES and sizes[1:] == sorted(sizes[1:])
    down_ns = path.sizes[1][0] - path.sizes[0][0]
    assert down_ns == ANSWERS_MIN * ROUND_NS_MIN, "large packets are lost only so long"


@pytest.mark.parametrize("mtu", [m for m in LINK_MTU_BYTES if 1340 <= m <= 1472])
@pytest.mark.parametrize("is_ipv6", [False, True])
def test_well_known_sizes_are_found_exactly(mtu: int, is_ipv6: bool) -> None:
    headers = 48 if is_ipv6 else 28
    path = Path(limit=mtu - headers)
    path.start(is_ipv6=is_ipv6)
    path.run(20)
    assert passing(path.search) == min(max(mtu - headers, BASE_PAYLOAD_BYTES), UPPER)


@pytest.mark.parametrize("limit", range(1200, 1460, 7))
def test_any_size_is_found_within_a_granule(limit: int) -> None:
    path = Path(limit=limit)
    path.start()
    path.run(20)
    assert path.search.phase is Phase.DONE and path.fits()
    assert len(path.rounds) <= 40


def test_jumbo_frames() -> None:
    path = Path(limit=4068)
    path.start(9024)
    path.run(30)
    assert path.fits()


def test_nothing_is_learnt_where_nothing_is_answered() -> None:
    path = Path(loss=1.0)
    path.start()
    path.run(600)
    assert passing(path.search) == UPPER and path.search.phase is Phase.FIRST
    gaps = [b - a for (a, _), (b, _) in pairwise(path.rounds)]
    assert gaps == sorted(gaps) and gaps[0] == ROUND_NS_MIN and gaps[-1] <= SLOW_NS_MAX
    assert len(path.rounds) < 60
    path.loss = 0.0
    path.run(SLOW_NS_MAX / S)
    assert path.search.phase is Phase.DONE and passing(path.search) == UPPER


def test_a_path_that_becomes_narrow_is_noticed() -> None:
    path = Path()
    path.start()
    path.run(100)
    path.limit, since_ns = 1400, path.now_ns
    path.run(60)
    assert path.fits()
    down_ns = next(at_ns for at_ns, size in path.sizes if at_ns >= since_ns and size < UPPER) - since_ns
    assert down_ns <= LOOK_NS + (ANSWERS_MIN + 1) * ROUND_NS_MIN, "at once, as acknowledgements stay away"


def test_confirmation_is_cheap_and_only_while_packets_flow() -> None:
    path = Path()
    path.start()
    path.run(3600)
    assert 0.9 * 3600 * S / (CONFIRM_NS + LOOK_NS) < len(path.rounds) < 1.1 * 3600 * S / CONFIRM_NS
    path.is_busy, before = False, len(path.rounds)
    path.run(3600)
    assert len(path.rounds) <= before + 1


def test_confirmation_costs_a_hundredth_of_what_is_sent() -> None:
    """Of a call, 46 bytes 50 times a second, the probe has to wait a minute."""
    path = Path(packet_bytes=1)
    path.start()
    path.run(3600)
    assert sum(size for _, size in path.rounds) < 0.011 * 3600 * 2000 * path.packet_bytes
    assert len(path.rounds) > 3600 * S / (CONFIRM_NS_MAX + LOOK_NS)


def test_confirmation_comes_however_little_is_sent() -> None:
    path = Path(packet_bytes=0)
    path.start()
    path.run(3600)
    assert 3600 * S / (CONFIRM_NS_MAX + 2 * LOOK_NS) < len(path.rounds) < 3600 * S / CONFIRM_NS_MAX + 2


def test_searches_upwards_ever_more_rarely() -> None:
    path = Path(limit=1372)
    path.start()
    path.run(7200)
    tries = [at_ns for at_ns, size in path.rounds if size == UPPER]
    starts = [b for a, b in pairwise(tries) if b - a > 10 * S]
    gaps = [b - a for a, b in pairwise(starts)]
    assert gaps[0] < 3 * RAISE_NS_MIN and RAISE_NS_MAX <= gaps[-1] < RAISE_NS_MAX + 30 * S
    assert passing(path.search) == 1372 and all(size <= 1372 for _, size in path.sizes[1:])


def test_a_path_that_becomes_wide_is_noticed() -> None:
    path = Path(limit=1372)
    path.start()
    path.run(3600)
    path.limit = 1500
    path.run((RAISE_NS_MAX + 30 * S) / S)
    assert passing(path.search) == UPPER


def test_silence_stops_the_search_and_a_word_resumes_it() -> None:
    path = Path(loss=1.0)
    path.start()
    path.run(1)
    path.search.silent()
    before = len(path.rounds)
    path.run(3600)
    assert len(path.rounds) == before
    path.loss = 0.0
    path.search.heard(path.now_ns)
    path.run(1)
    assert path.search.phase is Phase.DONE and passing(path.search) == UPPER


def test_heard_again_the_size_is_put_to_the_test_at_once() -> None:
    path = Path()
    path.start()
    path.run(10)
    path.search.silent()
    path.run(60)
    path.limit = 1372
    path.search.heard(path.now_ns)
    path.run(5)
    assert path.fits()


def test_a_new_path_starts_anew_and_old_answers_mean_nothing() -> None:
    path = Path()
    path.start()
    path.step()
    (_, token), (_, large) = path.answers
    path.limit = 1372
    path.start()
    for late in (token, large):
        path.search.answered(late, path.now_ns)
    assert path.search.phase is Phase.FIRST
    path.answers.clear()
    path.run(10)
    assert path.fits()


def test_a_new_session_to_the_same_place_begins_with_what_was_found() -> None:
    path = Path(limit=1372)
    path.start()
    path.run(10)
    found = passing(path.search)
    path.search.stop()
    path.sizes.clear()
    path.start()
    path.run(5)
    assert [size for _, size in path.sizes] == [found], "nothing larger goes out, and nothing is lost"
    assert path.search.phase is Phase.DONE


def test_what_was_found_there_is_still_put_to_the_test() -> None:
    path = Path(limit=1400)
    path.start()
    path.run(10)
    path.limit = 1350
    path.start()
    path.run(5)
    assert path.fits()
    path.limit = 9216
    path.start()
    path.run(60)
    assert passing(path.search) == UPPER


def test_another_place_may_take_more() -> None:
    path = Path(limit=1372)
    path.start()
    path.run(10)
    path.start(place="192.0.2.2")
    assert passing(path.search) == UPPER
    path.start()
    assert passing(path.search) == UPPER, "of the first one nothing is remembered"


def test_off_means_off() -> None:
    path = Path()
    path.start()
    path.search.stop()
    path.search.heard(path.now_ns)
    path.run(100)
    assert path.rounds == [] and path.search.next_ns is None and path.search.is_off


@given(token=st.integers(0, 2**62 - 1), phase=st.sampled_from(["off", "first", "done"]))
def test_tokens_that_we_never_sent_mean_nothing(token: int, phase: str) -> None:
    path = Path(limit=1372)
    if phase != "off":
        path.start()
        path.run(0 if phase == "first" else 20)
    before = (path.search.phase, passing(path.search), path.search.next_ns)
    serial = token >> 16
    path.search.answered(token, path.now_ns)
    if serial > path.search._serial or phase == "off":
        assert (path.search.phase, passing(path.search), path.search.next_ns) == before
    assert BASE_PAYLOAD_BYTES <= passing(path.search) <= UPPER


@given(
    limit=st.integers(1200, 1500), loss=st.sampled_from([0.0, 0.05, 0.3, 0.6]), seed=st.integers(0, 1000),
    rtt_ms=st.sampled_from([1, 40, 600, 2500]), is_ipv6=st.booleans(),
)  # fmt: skip
def test_any_loss_ends_with_a_size_that_passes(
    limit: int, loss: float, seed: int, rtt_ms: int, is_ipv6: bool
) -> None:
    """While it lasts, never long above what passes; and once it ends, the best size is found."""
    path = Path(limit=limit, loss=loss, seed=seed, rtt_ns=rtt_ms * MS)
    path.start(is_ipv6=is_ipv6)
    path.run(300)
    assert passing(path.search) <= max(limit, BASE_PAYLOAD_BYTES)
    path.loss = 0.0
    path.run(2 * RAISE_NS_MAX / S + 300)
    assert path.fits()


@given(
    limits=st.lists(st.tuples(st.integers(1280, 1500), st.integers(1, 120)), min_size=1, max_size=6),
    loss=st.sampled_from([0.0, 0.2]), seed=st.integers(0, 1000),
)  # fmt: skip
def test_any_change_of_the_path_is_followed(
    limits: list[tuple[int, int]], loss: float, seed: int
) -> None:
    path = Path(loss=loss, seed=seed)
    path.start()
    for limit, seconds in limits:
        path.limit = limit
        path.run(seconds)
    path.run(60)
    assert passing(path.search) <= max(path.limit, BASE_PAYLOAD_BYTES), "black holes do not stay"
    path.loss = 0.0
    path.run(2 * RAISE_NS_MAX / S + 60)
    assert path.fits()


@given(data=st.data())
def test_a_peer_that_lies_is_bounded(data: st.DataObject) -> None:
    """Answers at will to what was never sent, twice, or late: no loop, no size out of bounds."""
    path = Path(loss=1.0)
    path.start()
    for _ in range(data.draw(st.integers(1, 30))):
        path.run(data.draw(st.sampled_from([0.0, 0.2, 1.0, 20.0])))
        serial = data.draw(st.integers(max(0, path.search._serial - 3), path.search._serial + 1))
        size = data.draw(st.sampled_from([0, PAD_NONE_BYTES, 1303, 1304, 1372, UPPER, UPPER + 1, 65535]))
        path.search.answered(serial << 16 | size, path.now_ns)
        assert BASE_PAYLOAD_BYTES <= passing(path.search) <= UPPER
        assert BASE_PAYLOAD_BYTES <= path.search._target <= UPPER
    assert len(path.rounds) < 3000
