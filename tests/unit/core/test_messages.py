"""Control messages: round trips, bounds, and bytes that are none."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxidized.core.messages import (
    BODY_BYTES_MAX,
    EPOCH_MAX,
    INDEX_MAX,
    MTU_BYTES_MIN,
    Accept,
    Hello,
    Message,
    MessageError,
    MessageReader,
    Proof,
    Rekey,
    RekeyDone,
    RekeyReply,
    RekeyWanted,
    VersionError,
    Welcome,
    decode,
    encode,
)
from oxidized.core.plane import Address

indices = st.integers(1, INDEX_MAX)
mtus = st.integers(MTU_BYTES_MIN, 65535)
octets = st.integers(0, 255)
flows = st.integers(0, 65535)
key = st.binary(min_size=32, max_size=32)
knock = st.binary(min_size=16, max_size=16)
signature = st.binary(min_size=64, max_size=64)
epochs = st.integers(0, EPOCH_MAX)
addresses = st.builds(
    Address, st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str), st.integers(0, 65535)
)
messages = st.one_of(
    st.builds(Hello, st.just(1), octets, octets, indices, mtus, flows, epochs, key, knock),
    st.builds(Welcome, st.just(1), octets, indices, mtus, flows, epochs, key, key, signature),
    st.builds(Proof, key, signature),
    st.builds(Accept, addresses),
    st.builds(Rekey, epochs, key),
    st.builds(RekeyReply, epochs, key),
    st.builds(RekeyDone, epochs),
    st.builds(RekeyWanted, epochs),
)


@given(st.lists(messages, max_size=6), st.data())
def test_any_cutting_of_the_stream_gives_the_same(wanted: list[Message], data: st.DataObject) -> None:
    stream = b"".join(encode(message) for message in wanted)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    reader, got = MessageReader(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += reader.feed(stream[start:end])
    assert got == wanted


@given(st.binary(max_size=4096))
def test_garbage_is_messages_or_a_message_error(data: bytes) -> None:
    whole, pieces = MessageReader(), MessageReader()
    outcomes = []
    for reader, parts in ((whole, [data]), (pieces, [data[i : i + 1] for i in range(len(data))])):
        got: list[Message] = []
        failed = False
        try:
            for part in parts:
                got += list(_each(reader, part, got))
        except MessageError:
            failed = True
        outcomes.append((got, failed))
    assert outcomes[0] == outcomes[1]


def _each(reader: MessageReader, part: bytes, got: list[Message]):
    for message in reader.feed(part):
        got.append(message)
    return ()


@given(st.integers(0, 255), st.binary(max_size=BODY_BYTES_MAX))
def test_a_body_that_decodes_encodes_to_itself(kind: int, body: bytes) -> None:
    try:
        message = decode(kind, body)
    except MessageError:
        return
    assert encode(message) == struct.pack(">BH", kind, len(body)) + body


def test_an_announced_length_over_the_bound_is_refused_before_its_bytes_come() -> None:
    reader = MessageReader()
    with pytest.raises(MessageError):
        list(reader.feed(struct.pack(">BH", 1, BODY_BYTES_MAX + 1)))


def test_a_reader_holds_at_most_one_unfinished_message() -> None:
    reader = MessageReader()
    assert list(reader.feed(struct.pack(">BH", 9, BODY_BYTES_MAX) + bytes(BODY_BYTES_MAX - 1))) == []
    with pytest.raises(MessageError):
        list(reader.feed(b"\0"))


def test_another_version_is_told_apart_from_garbage() -> None:
    with pytest.raises(VersionError):
        decode(1, b"\x02" + bytes(200))
    with pytest.raises(VersionError):
        decode(2, b"\x00")
    with pytest.raises(MessageError) as caught:
        decode(1, b"\x01")
    assert not isinstance(caught.value, VersionError)


@pytest.mark.parametrize("index", [0, INDEX_MAX + 1])
def test_a_receiver_index_has_24_bits_and_is_not_zero(index: int) -> None:
    hello = Hello(1, 3, 1, index, 1420, 128, 0, bytes(32), bytes(16))
    with pytest.raises(MessageError):
        decode(1, hello.body())


def test_an_inner_mtu_below_ipv6s_least_is_refused() -> None:
    hello = Hello(1, 3, 1, 7, MTU_BYTES_MIN - 1, 0, 0, bytes(32), bytes(16))
    with pytest.raises(MessageError):
        decode(1, hello.body())


@pytest.mark.parametrize("body", [b"\x05" + bytes(18), b"\x04" + bytes(15) + b"\x01" + bytes(2)])
def test_an_address_of_no_family_is_refused(body: bytes) -> None:
    with pytest.raises(MessageError):
        decode(4, body)
