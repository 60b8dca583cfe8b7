"""Payload compression of one packet: what it saves, what is dropped, and that no packet counts in another."""

from __future__ import annotations

from random import Random

import pytest

from oxidized.core.plane import DICTIONARIES, PayloadRule
from oxidized.errors import NativeError
from oxidized.ffi import dictionaries
from oxidized.ffi.lz import LZ_DICTIONARIES, LZ_DIGEST, LZ_RESULTS, Compressor, lz_text
from oxidized.ffi.names import MTU_MAX
from tests import payloads
from tests.native.rig import ipv4, ipv6

SIP, SYSLOG, MQTT, HTTP, GENERIC = range(1, 6)
NUMBERS = {"sip": SIP, "syslog": SYSLOG, "mqtt": MQTT, "http": HTTP, "sql": GENERIC}
TCP, UDP = 6, 17
TEXT = b"OPTIONS sip:someone@example.net SIP/2.0\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
def lz() -> Compressor:
    return Compressor()


# ---- dictionaries ----


def test_dictionaries_are_what_the_texts_say() -> None:
    assert dictionaries.stale() == []
    assert LZ_DIGEST == dictionaries.digest()
    assert LZ_DICTIONARIES == DICTIONARIES == ("none", *(s.name for s in dictionaries.SOURCES))
    for source in dictionaries.SOURCES:
        assert lz_text(source.number) == source.text


def test_texts_are_public_words_and_no_secrets() -> None:
    """Nothing but ASCII and the degree sign, and each of its generated parts once."""
    for source in dictionaries.SOURCES:
        assert set(source.text.replace("°".encode(), b"")) <= {*range(32, 127), 13, 10}, source.name


def test_every_number_of_four_digits_is_there_once() -> None:
    text = dictionaries.digits()
    assert len(text) == 10_003
    assert {text[i : i + 4] for i in range(10_000)} == {f"{n:04}" for n in range(10_000)}


# ---- items ----


def test_layout(lz: Compressor) -> None:
    """Frame byte and dictionary, a varint of what is clear, that, and the block."""
    packet = bytes(range(100)) + TEXT * 2
    item = lz.compress(packet, SIP, clear_bytes=100)
    assert item is not None
    assert item[:3] == bytes([0x08 + SIP, 0x40, 100])
    assert item[3:103] == packet[:100]
    assert lz.restore(item) == packet


@pytest.mark.parametrize("is_light", [True, False], ids=["light", "aggressive"])
@pytest.mark.parametrize("count", [8, 64, 1000, MTU_MAX])
def test_without_a_dictionary(lz: Compressor, is_light: bool, count: int) -> None:
    packet = (b"a row of a table; " * 600)[:count]
    item = lz.compress(packet, is_light=is_light)
    if count == 8:
        assert item is None
        return
    assert item is not None and item[0] == 0x08
    assert len(item) < 100
    assert lz.restore(item) == packet


def test_an_item_saves_eight_bytes_and_a_twentieth(lz: Compressor) -> None:
    """Of the same compressible tail behind ever more random bytes, until it is not worth it."""
    dice = Random(1)
    for is_light in (True, False):
        worth = []
        for count in range(1200):
            packet = dice.randbytes(count) + b"=" * 40
            item = lz.compress(packet, is_light=is_light)
            worth.append(item is not None)
            if item is not None:
                assert len(packet) - len(item) >= max(8, len(packet) // 20)
        assert worth[0] and not worth[-1]
        assert 300 < sum(worth) < 700


@pytest.mark.parametrize("is_light", [True, False], ids=["light", "aggressive"])
def test_what_is_random_stays_as_it_is(lz: Compressor, is_light: bool) -> None:
    """Not a byte worse than before."""
    number = 0 if is_light else GENERIC
    assert not any(lz.compress(p, number, is_light=is_light) for p in payloads.make("random", 300, 3))


def test_a_longer_match_one_place_on_is_taken(lz: Compressor) -> None:
    """One sequence of a literal and 19 bytes, not two of 4 and 16."""
    long = b"bcdefghijklmnopqrst"
    packet = b"abcd#" + long + b"+a" + long + b"0123456789zyx"
    item = lz.compress(packet)
    assert item is not None
    literals = b"abcd#" + long + b"+a"
    assert item == b"\x08\x00" + (
        bytes([0xFF, len(literals) - 15]) + literals + (len(long) + 2).to_bytes(2, "little") + b"\x00"
    ) + b"\xd0" + b"0123456789zyx"


# Of the payload alone; and of whole packets, whose header takes five bytes more than nothing when compressed.
RATIO_MAX = {"sip": (0.41, 0.40), "http": (0.43, 0.40), "mqtt": (0.54, 0.46), "syslog": (0.56, 0.50)}
HEADER_BYTES = {"sip": 28, "syslog": 28, "mqtt": 52, "http": 52}  # UDP, and TCP with time stamps, over IPv4
CODED_HEADER_BYTES = 5


@pytest.mark.parametrize("kind", RATIO_MAX)
@pytest.mark.parametrize("seed", [11, 12])
def test_what_dictionaries_save(lz: Compressor, kind: str, seed: int) -> None:
    """Of payloads that are in no dictionary: their names, numbers and times are drawn here."""
    packets = payloads.make(kind, 400, seed)
    before = sum(map(len, packets))
    items = [lz.compress(packet, NUMBERS[kind]) for packet in packets]
    after = sum(len(item or packet) for item, packet in zip(items, packets, strict=True))
    assert sum(item is not None for item in items) > 0.9 * len(packets)
    alone, whole = RATIO_MAX[kind]
    assert after / before <= alone
    more = HEADER_BYTES[kind] * len(packets), CODED_HEADER_BYTES * len(packets)
    assert (after + more[1]) / (before + more[0]) <= whole
    without = sum(len(lz.compress(packet, is_light=True) or packet) for packet in packets)
    assert without / before > 0.8, "without a dictionary there is hardly anything to gain"
    for item, packet in zip(items, packets, strict=True):
        assert item is None or lz.restore(item) == packet


# ---- no packet counts in another ----


def test_nothing_is_remembered() -> None:
    """After whatever else, a packet becomes what it becomes first of all."""
    dice = Random(2)
    packets = [p for kind in NUMBERS for p in payloads.make(kind, 40, 4)] + [TEXT * 3] * 3
    used = Compressor()
    for _ in range(1500):
        packet, number = dice.choice(packets), dice.randrange(6)
        assert used.compress(packet, number) == Compressor().compress(packet, number)


def test_nothing_is_remembered_by_the_library() -> None:
    """Also when the numbers of its table run out, after 2^14 packets of up to 2^16 each."""
    used, packets = Compressor(), payloads.make("http", 50, 6) + payloads.make("random", 10, 6)
    fresh = [Compressor().compress(packet, is_light=True) for packet in packets]
    for turn in range(40_000):
        i = turn * 7 % len(packets)
        assert used.compress(packets[i], is_light=True) == fresh[i]


# ---- what comes from outside ----


def test_results_have_names() -> None:
    assert LZ_RESULTS == ("ok", "lz-truncated", "lz-dictionary", "lz-corrupt", "lz-too-long")


def sequence(literals: bytes, offset: int, count: int) -> bytes:
    """Of an LZ4 block; count: bytes of the match."""
    assert len(literals) < 15 and 4 <= count
    more = count - 19
    tail = b"" if more < 0 else b"\xff" * (more // 255) + bytes([more % 255])
    token = len(literals) << 4 | min(count - 4, 15)
    return bytes([token]) + literals + offset.to_bytes(2, "little") + tail


END = b"\x50final"
WRONG = [
    ("nothing at all", b"", "lz-truncated"),
    ("no length", b"\x08", "lz-truncated"),
    ("half a length", b"\x08\x40", "lz-truncated"),
    ("more clear bytes than there are", b"\x08\x05abcd", "lz-truncated"),
    ("no block", b"\x08\x04abcd", "lz-truncated"),
    ("clear bytes without an end", b"\x08" + b"\xff" * 8 + b"abcd", "lz-truncated"),
    ("a dictionary that there is not", b"\x0e\x00" + END, "lz-dictionary"),
    ("the last number of a dictionary", b"\x0f\x00" + END, "lz-dictionary"),
    ("no item", b"\x07\x00" + END, "lz-dictionary"),
    ("a whole packet", ipv4(), "lz-dictionary"),
    ("nothing in it", b"\x08\x00\x00", "lz-corrupt"),
    ("literals cut", b"\x08\x00\x50fina", "lz-corrupt"),
    ("a length without an end", b"\x08\x00\xf0" + b"\xff" * 5, "lz-corrupt"),
    ("no offset", b"\x08\x00\x10A\x01", "lz-corrupt"),
    ("offset 0", b"\x08\x00" + sequence(b"A", 0, 8) + END, "lz-corrupt"),
    ("before the packet", b"\x08\x00" + sequence(b"A", 2, 8) + END, "lz-corrupt"),
    ("before the dictionary", b"\x09\x00" + sequence(b"A", len(lz_text(1)) + 2, 8) + END, "lz-corrupt"),
    ("ends with a match", b"\x08\x00" + sequence(b"A", 1, 8), "lz-corrupt"),
    ("too few literals at the end", b"\x08\x00" + sequence(b"A", 1, 8) + b"\x40fina", "lz-corrupt"),
    ("a match promised at the end", b"\x08\x00\x51final", "lz-corrupt"),
    ("a bomb", b"\x08\x00" + sequence(b"A", 1, 1 << 20) + END, "lz-too-long"),
    ("a byte too many", b"\x08\x00" + sequence(b"A", 1, 1295) + END, "lz-too-long"),
    ("clear bytes alone fill it", b"\x08\x45\x14" + b"c" * 1300 + END, "lz-too-long"),
]  # fmt: skip


@pytest.mark.parametrize(("item", "why"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_dropped(lz: Compressor, item: bytes, why: str) -> None:
    assert lz.restore(item, 1300) == why


def test_the_last_that_is_good(lz: Compressor) -> None:
    assert lz.restore(b"\x08\x00" + sequence(b"A", 1, 1294) + END, 1300) == b"A" * 1295 + b"final"
    start = b"\x09\x00" + sequence(b"A", len(lz_text(1)) + 1, 8) + END
    assert lz.restore(start, 1300) == b"A" + lz_text(1)[:8] + b"final"


def test_every_item_cut_short_is_dropped_or_a_shorter_packet(lz: Compressor) -> None:
    """A block has no end of its own: what is authentic is never cut, and what is cut is never longer."""
    for packet in payloads.make("sip", 5, 7):
        item = lz.compress(packet, SIP)
        assert item is not None
        for count in range(len(item)):
            found = lz.restore(item[:count])
            assert found in LZ_RESULTS or (len(found) < len(packet) and packet.startswith(found))


# ---- policy ----

RULES = (
    PayloadRule(514, UDP, SYSLOG), PayloadRule(1883, TCP, MQTT), PayloadRule(5432, TCP, GENERIC),
    PayloadRule(5432, UDP, 0), PayloadRule(80, TCP, HTTP),
)  # fmt: skip


def with_ports(source: int, target: int, protocol: int, *, v6: bool = False, offset: int = 0) -> bytes:
    segment = source.to_bytes(2, "big") + target.to_bytes(2, "big") + bytes(8) + b"\x50" + bytes(20)
    if v6:
        packet = bytearray(ipv6(payload=segment))
        packet[6] = protocol
        return bytes(packet)
    packet = bytearray(ipv4(payload=segment))
    packet[9] = protocol
    packet[6:8] = offset.to_bytes(2, "big")
    return bytes(packet)


@pytest.mark.parametrize("v6", [False, True], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize(
    ("ports", "protocol", "dictionary"),
    [
        ((40000, 514), UDP, SYSLOG), ((40000, 514), TCP, None), ((40000, 1883), TCP, MQTT),
        ((40000, 5432), TCP, GENERIC), ((40000, 5432), UDP, 0), ((40000, 443), TCP, None),
        ((1883, 80), TCP, HTTP), ((5432, 1883), TCP, MQTT), ((0, 0), UDP, None), ((514, 514), 1, None),
    ],
)  # fmt: skip
def test_class_by_either_port(
    ports: tuple[int, int], protocol: int, dictionary: int | None, v6: bool
) -> None:
    lz = Compressor(RULES)
    for source, target in (ports, ports[::-1]):
        assert lz.dictionary(with_ports(source, target, protocol, v6=v6)) == dictionary


def test_class_needs_ports() -> None:
    lz = Compressor(RULES)
    assert lz.dictionary(with_ports(514, 514, UDP)) == SYSLOG
    assert lz.dictionary(with_ports(514, 514, UDP, offset=0x4000)) == SYSLOG, "may not be fragmented"
    for offset in (0x2000, 1):
        assert lz.dictionary(with_ports(514, 514, UDP, offset=offset)) is None
    whole = with_ports(514, 514, UDP)
    assert [lz.dictionary(whole[:count]) for count in range(28)] == [None] * 28


def test_without_rules_nothing_may_be_compressed() -> None:
    lz = Compressor()
    for port in (25, 80, 514, 1883, 5060, 5432):
        assert lz.dictionary(with_ports(port, port, UDP)) is None
        assert lz.dictionary(with_ports(port, port, TCP)) is None


def test_every_port_finds_its_own_rule() -> None:
    dice = Random(3)
    ports = dice.sample(range(1, 65536), 64)
    lz = Compressor([PayloadRule(port, TCP if port % 2 else UDP, port % 6) for port in ports])
    for port in range(0, 65536, 7):
        expected = port % 6 if port in ports and port % 2 else None
        assert lz.dictionary(with_ports(port, port, TCP)) == expected
    for port in ports:
        assert lz.dictionary(with_ports(port, 65535, TCP if port % 2 else UDP)) == port % 6


@pytest.mark.parametrize(
    "rules",
    [
        [PayloadRule(0, UDP, 1)],
        [PayloadRule(514, 1, 1)],
        [PayloadRule(514, UDP, len(DICTIONARIES))],
        [PayloadRule(514, UDP, 1), PayloadRule(514, UDP, 2)],
        [PayloadRule(port, UDP, 1) for port in range(1, 66)],
    ],
    ids=["port-0", "protocol", "dictionary", "twice", "too-many"],
)
def test_bad_rules_are_refused(rules: list[PayloadRule]) -> None:
    with pytest.raises(NativeError):
        Compressor(rules)


def test_arguments_are_checked(lz: Compressor) -> None:
    for call in (
        lambda: lz.compress(TEXT, len(DICTIONARIES)),
        lambda: lz.compress(TEXT, SIP, is_light=True),
        lambda: lz.compress(TEXT, SIP, clear_bytes=len(TEXT) + 1),
        lambda: lz.restore(TEXT, MTU_MAX + 1),
    ):
        with pytest.raises(NativeError):
            call()
    assert lz.compress(b"") is None
    assert lz.compress(bytes(MTU_MAX + 1), GENERIC) is None
