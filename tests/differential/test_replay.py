"""The replay window against a plain set of numbers with the same bound."""

from __future__ import annotations

import random
from collections import Counter
from itertools import accumulate

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.differential.reference import REPLAY_NUMBERS, Window, header
from tests.native.rig import Solo, drops, number_of, numbered

STEPS = st.one_of(
    st.integers(-200, 200),
    st.integers(-9000, 9000),
    st.sampled_from(
        [-REPLAY_NUMBERS - 1, -REPLAY_NUMBERS, -REPLAY_NUMBERS + 1, -64, -63, 63, 64, 8191, 8192]
    ),
)


def compare(numbers: list[int], batch: int) -> None:
    rig = Solo()
    window = Window()
    verdicts = [window.verdict(pn) for pn in numbers]
    datagrams = [rig.far.seal(numbered(i), pn=pn) for i, pn in enumerate(numbers)]
    got = []
    for start in range(0, len(datagrams), batch):
        rig.receive(*datagrams[start : start + batch])
        got += [number_of(packet) for packet in rig.delivered()]
    assert got == [i for i, verdict in enumerate(verdicts) if verdict == "new"]
    found = Counter({why: n for (_, why), n in drops(rig.plane).items()})
    expected = Counter(verdict for verdict in verdicts if verdict != "new")
    assert found.total() == expected.total()
    # The first look comes before the batch has moved the window: then an old copy is called a copy.
    assert found == expected or (batch > 1 and found["replayed"] > expected["replayed"])
    late = rig.plane.peer_counters(rig.peer).paths[0].late_packets
    rows = zip(numbers, accumulate(numbers, max), verdicts, strict=True)
    assert late == sum(verdict == "new" and pn != top for pn, top, verdict in rows)


@settings(max_examples=150)
@given(st.integers(0, 20000), st.lists(STEPS, max_size=60), st.sampled_from([1, 5, 64]))
def test_walks(start: int, steps: list[int], batch: int) -> None:
    """One at a time, and several copies within one batch."""
    numbers = [start]
    for step in steps:
        numbers.append(max(0, numbers[-1] + step))
    compare(numbers, batch)


def test_a_jump_clears_what_it_passes() -> None:
    """Every number between two far ones is new, once: no bit of the round before is left in the ring."""
    numbers = list(range(0, 8300)) + list(range(8300 + 8128, 8299, -1)) + list(range(8300 + 8128, 8299, -7))
    compare(numbers, 64)


def test_everything_twice_in_disorder() -> None:
    dice = random.Random(1)
    numbers = [n for n in range(3000)] * 2
    dice.shuffle(numbers)
    compare(numbers, 64)


def test_the_edge_of_the_window() -> None:
    top = 30_000
    for distance, reasons in (
        (REPLAY_NUMBERS - 1, {}),
        (REPLAY_NUMBERS, {("receive_datagram", "too-old"): 1}),
    ):
        rig = Solo()
        rig.receive(rig.far.seal(pn=top))
        rig.receive(rig.far.seal(pn=top - distance))
        assert drops(rig.plane) == reasons


def test_each_path_and_session_has_its_own() -> None:
    rig = Solo()
    for path in range(4):
        rig.receive(rig.far.seal(pn=5, path=path))
    far = rig.session(near=77)
    rig.receive(far.seal(pn=5))
    assert drops(rig.plane) == {}
    rig.receive(far.seal(pn=5), rig.far.seal(pn=5, path=3))
    assert drops(rig.plane) == {("receive_datagram", "replayed"): 2}


def test_a_number_that_is_out_is_not_even_decrypted() -> None:
    """What anybody can send again costs a look at the window and no more: it is no forgery by its name."""
    rig = Solo()
    rig.receive(rig.far.seal(pn=9000), rig.far.seal(pn=8999))
    rubbish = bytes(40)
    rig.receive(*[header(0, 0, rig.far.send_index, pn) + rubbish for pn in (8999, 9000, 5)])
    found = {("receive_datagram", "replayed"): 2, ("receive_datagram", "too-old"): 1}
    assert drops(rig.plane) == found
    rig.receive(header(0, 0, rig.far.send_index, 9001) + rubbish)
    assert drops(rig.plane) == found | {("receive_datagram", "forged"): 1}
