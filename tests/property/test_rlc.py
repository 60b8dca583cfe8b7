"""Whatever is lost, late or out of order: what the equations determine is found, and nothing wrong."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from tests.differential import rlc_reference as reference
from tests.native.rlc_door import RLC_RESULTS, RepairCode

UNKNOWNS_MAX = 32


@dataclass
class Stream:
    """A sender, and a receiver beside the numpy solver; every content that comes out is compared."""

    seed: int
    base: int
    size_max: int
    contents: list[bytes] = field(default_factory=list)
    lost: set[int] = field(default_factory=set)
    has: dict[int, bytes] = field(default_factory=dict)
    equations: list[reference.Equation] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self.sender, self.receiver = RepairCode(), RepairCode()

    @property
    def newest(self) -> int:
        return self.base + len(self.contents) - 1

    def source(self, is_lost: bool) -> None:
        content = self.dice.randbytes(self.dice.randint(1, self.size_max))
        self.contents.append(content)
        self.sender.known(self.newest, content, self.newest & 0xFFFF)
        if is_lost:
            self.lost.add(self.newest)
        else:
            self.arrives(self.newest)

    def arrives(self, number: int) -> None:
        content = self.contents[number - self.base]
        self.has[number] = reference.symbol(number, content)
        assert self.receiver.known(number, content, number & 0xFFFF) in RLC_RESULTS[:4]
        self.take()

    def take(self) -> None:
        for one in self.receiver.found():
            assert one.content == self.contents[one.sequence - self.base]
            assert one.pn == one.sequence & 0xFFFF
            assert one.sequence not in self.has
            self.has[one.sequence] = reference.symbol(one.pn, one.content)
        unknowns, equations = self.receiver.state()
        assert equations <= unknowns <= UNKNOWNS_MAX

    def repair(self, count: int) -> tuple[int, bytes, int, int]:
        count = min(count, len(self.contents))
        seed = self.dice.getrandbits(32)
        return seed, self.sender.repair(seed, self.newest, count), self.newest, count

    def takes(self, repair: tuple[int, bytes, int, int], now_ns: int = 0) -> None:
        seed, body, newest, count = repair
        result = self.receiver.add(seed, body, self.newest, now_ns)
        assert result in (*RLC_RESULTS[:4], "rlc-too-many")
        self.equations.append(reference.Equation(seed, newest, count, body[3:]))
        self.take()


SEEDS = st.integers(0, 2**32)
BASES = st.sampled_from([0, 65520, 2**40 - 3])
# What happens: s: a content arrives; l: some are lost; r: a repair arrives; q: one is delayed; d: the delayed
# arrive, the last first; t: a lost content arrives after all.
MIXES = st.sampled_from(["ssllrrrqtd", "sllrrt", "slrrqqdt", "lllrtt", "ssssslrr"])


def run(stream: Stream, mix: str, lost_max: int, expires: bool = False) -> None:
    delayed = []
    for now_ns in range(60):
        step = stream.dice.choice(mix)
        room = lost_max - len(stream.lost)
        if step == "s" or (step == "l" and room == 0):
            stream.source(is_lost=False)
        elif step == "l":
            for _ in range(min(stream.dice.randint(1, 4), room)):
                stream.source(is_lost=True)
        elif step == "r" and stream.contents:
            stream.takes(stream.repair(stream.dice.randint(1, 20)), now_ns)
        elif step == "q" and stream.contents:
            delayed.append(stream.repair(stream.dice.randint(1, 20)))
        elif step == "d":
            while delayed:
                stream.takes(delayed.pop(), now_ns)
        elif step == "t" and (late := sorted(stream.lost - stream.has.keys())):
            stream.arrives(stream.dice.choice(late))
        if expires:
            stream.receiver.expire(now_ns, 10)


@given(MIXES, SEEDS, BASES, st.sampled_from([12, 90, 300]))
def test_all_is_found_that_can_be(mix: str, seed: int, base: int, size_max: int) -> None:
    """At most as much is lost as the decoder holds: then it must be as good as the solver."""
    stream = Stream(seed, base, size_max)
    run(stream, mix, lost_max=UNKNOWNS_MAX)
    assert not reference.solve(stream.equations, stream.has)


@given(MIXES, SEEDS, BASES, st.booleans())
def test_nothing_wrong_is_found(mix: str, seed: int, base: int, expires: bool) -> None:
    """More is lost than the decoder holds, and the oldest are given up; what comes later is found."""
    stream = Stream(seed, base, 40)
    for _ in range(UNKNOWNS_MAX // 2):
        stream.source(is_lost=True)
        stream.source(is_lost=True)
        stream.takes(stream.repair(stream.dice.randint(2, 4)))
    run(stream, mix, lost_max=1000, expires=expires)
    for _ in range(6):
        stream.source(is_lost=True)
        stream.source(is_lost=True)
        for _ in range(8):  # two, and more where they say the same
            if stream.newest not in stream.has:
                stream.takes(stream.repair(2))
        assert stream.newest in stream.has


@given(st.binary(max_size=200), st.integers(0, 2**32 - 1), st.integers(0, 70))
def test_whatever_comes_is_bounded(body: bytes, seed: int, known: int) -> None:
    code = RepairCode()
    for number in range(known):
        code.known(number, b"content %d" % number)
    for newest in (known, 2**63):
        assert code.add(seed, body, newest) in RLC_RESULTS
        assert all(0 < len(one.content) <= len(body) - 7 for one in code.found())
        unknowns, equations = code.state()
        assert equations <= unknowns <= UNKNOWNS_MAX
