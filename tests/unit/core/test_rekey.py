"""The epochs of one session: both ends agree, order is kept, nothing is skipped."""

from __future__ import annotations

import random

import pytest

from oxidized.core.handshake import Rejected
from oxidized.core.messages import Rekey, RekeyDone, RekeyReply, RekeyWanted
from oxidized.core.rekey import Epochs, OutOfOrder

CHAIN = bytes(range(32))
entropy = random.Random(7).randbytes


def pair() -> tuple[Epochs, Epochs]:
    return Epochs(CHAIN, is_edge=True), Epochs(CHAIN, is_edge=False)


def test_both_ends_get_the_same_keys_and_other_ones_each_time() -> None:
    edge, hub = pair()
    seen = set()
    for epoch in range(1, 6):
        hub_keys, reply = hub.request(edge.begin(entropy), entropy)
        assert (hub.epoch, hub_keys.epoch) == (epoch - 1, epoch)
        edge_keys, done = edge.reply(reply)
        assert edge.epoch == epoch
        assert hub.done(done) == hub.epoch == epoch
        assert edge_keys == hub_keys
        assert edge_keys.tx(is_edge=True) == hub_keys.rx(is_edge=False)
        assert edge_keys.rx(is_edge=True) == hub_keys.tx(is_edge=False)
        seen |= {edge_keys.edge_to_hub, edge_keys.hub_to_edge}
    assert len(seen) == 10


def test_the_chain_matters_as_well_as_the_ephemerals() -> None:
    edge, hub = pair()
    other = Epochs(bytes(32), is_edge=False)
    rekey = edge.begin(random.Random(1).randbytes)
    keys, _ = hub.request(rekey, random.Random(2).randbytes)
    other_keys, _ = other.request(rekey, random.Random(2).randbytes)
    assert keys != other_keys


@pytest.mark.parametrize("epoch", [0, 2, 2**32 - 1])
def test_a_hub_takes_only_the_next_epoch(epoch: int) -> None:
    _, hub = pair()
    with pytest.raises(OutOfOrder):
        hub.request(Rekey(epoch, b"\x09" + bytes(31)), entropy)
    assert not hub.is_under_way


def test_a_second_rekey_before_done_is_out_of_order() -> None:
    edge, hub = pair()
    hub.request(edge.begin(entropy), entropy)
    with pytest.raises(OutOfOrder):
        hub.request(Rekey(2, b"\x09" + bytes(31)), entropy)


def test_answers_nobody_asked_for_are_out_of_order() -> None:
    edge, hub = pair()
    with pytest.raises(OutOfOrder):
        edge.reply(RekeyReply(1, b"\x09" + bytes(31)))
    with pytest.raises(OutOfOrder):
        hub.done(RekeyDone(0))
    _, reply = hub.request(edge.begin(entropy), entropy)
    with pytest.raises(OutOfOrder):
        edge.reply(RekeyReply(2, reply.ephemeral))
    with pytest.raises(OutOfOrder):
        hub.done(RekeyDone(2))


def test_a_point_of_small_order_is_rejected() -> None:
    edge, hub = pair()
    with pytest.raises(Rejected, match="ephemeral-bad"):
        hub.request(Rekey(1, bytes(32)), entropy)
    edge.begin(entropy)
    with pytest.raises(Rejected, match="ephemeral-bad"):
        edge.reply(RekeyReply(1, bytes(32)))


def test_a_late_wish_is_ignored() -> None:
    edge, hub = pair()
    assert edge.is_wanted_next(hub.wanted())
    edge.begin(entropy)
    assert not edge.is_wanted_next(RekeyWanted(1))
    assert not edge.is_wanted_next(RekeyWanted(7))
