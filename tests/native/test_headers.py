"""Header compression over links that lose, delay and double: never a wrong packet, none refused in vain."""

from __future__ import annotations

import struct
from random import Random

import pytest

from oxidized.errors import NativeError
from oxidized.ffi.headers import HEADER_PROFILES, HEADER_VERDICTS, Headers
from tests.native.headers_rig import KINDS, Channel, Flow, internet_sum, ipv4, ipv6, summed

ENDS = (b"\x0a\x01\x00\x02", b"\x0a\x02\x00\x03")


def voice(count: int, *, body: bytes = bytes(20), port: int = 16384, tos: int = 0xB8, jump: int = 0) -> bytes:
    stamp = 160 * (count + jump) & 0xFFFFFFFF
    rtp = struct.pack(">BBHII", 0x80, 18, count & 0xFFFF, stamp, 0x1E2FEB89) + body
    udp = struct.pack(">HHHH", port, 16386, 8 + len(rtp), 0) + rtp
    return ipv4(17, summed(17, udp, 6, ENDS), ENDS, ident=count & 0xFFFF, tos=tos)


def through(headers: Headers, pn: int, packet: bytes, *, path: int = 0, is_acked: bool = True) -> str:
    """Sends and receives one packet; how it was coded."""
    item, row = headers.compress(pn, packet, path)
    if item is not None:
        back = headers.restore(pn, item, path)
        assert (back.verdict, back.restored) == ("ok", packet)
    if is_acked:
        headers.ack(pn, path)
    return row.kind


# ---- links ----


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "link",
    [
        {},
        {"loss": 0.1},
        {"loss": 0.02, "bursts": (9,)},
        {"late": 0.05},
        {"loss": 0.1, "late": 0.1, "flight": 20, "twice": 0.05},
        {"loss": 0.05, "flight": 100},
        {"loss": 0.05, "bundle": 4, "flight": 8},
    ],
    ids=lambda link: "-".join(link) or "good",
)
def test_nothing_is_refused_where_little_is_late(kind: str, link: dict[str, float]) -> None:
    run = Channel(seed=7, kinds=(kind,), **link).run(1500)  # type: ignore[arg-type]
    assert not run.refused
    assert run.restored > 500


@pytest.mark.parametrize("seed", range(24))
def test_what_is_restored_is_right_on_any_link(seed: int) -> None:
    """Few contexts, flows that come and go, paths that change, packets later than anything is kept."""
    dice = Random(seed)
    run = Channel(
        seed=seed,
        flows=dice.choice((1, 3, 20, 60)),
        contexts=dice.choice((1, 4, 16, 128)),
        paths=dice.choice((1, 2, 4)),
        is_spread=dice.random() < 0.5,
        flight=dice.choice((2, 5, 20, 40, 100, 300)),
        loss=dice.choice((0, 0.05, 0.3)),
        bursts=(0, 0, 10, 50),
        late=dice.choice((0, 0.05, 0.3)),
        late_by=(1, 3, 10, 100),
        twice=dice.choice((0, 0.05)),
        churn=dice.choice((0, 0.01, 0.1)),
        bundle=dice.choice((1, 3)),
    ).run(2000)
    assert set(run.refused) <= {"unknown-flow", "unknown-reference"}
    assert sum(run.refused.values()) < 0.1 * (run.restored + 100)


@pytest.mark.parametrize("kind", ["rtp", "esp", "udp", "tcp"])
@pytest.mark.parametrize(
    ("delays", "weights"), [((20, 100), (1, 1)), ((100, 2), (9, 1)), ((5, 100, 300), (5, 2, 1))]
)
def test_paths_with_different_delays_lose_nothing(
    kind: str, delays: tuple[int, ...], weights: tuple[int, ...]
) -> None:
    """Every datagram takes one of some paths: what overtakes it must not push its reference out."""
    for seed in range(2):
        dice = Random(seed)
        headers, flow = Headers(8), Flow(dice, kind)
        next_pn = [0] * len(delays)
        arrivals: dict[int, list[tuple[int, int, bytes, bytes]]] = {}
        acks: dict[int, list[tuple[int, int]]] = {}
        for now in range(4000):
            for path, pn in acks.pop(now, []):
                headers.ack(pn, path)
            (path,) = dice.choices(range(len(delays)), weights)
            packet, pn, delay = flow.packet(), next_pn[path], delays[path]
            item, _ = headers.compress(pn, packet, path)
            next_pn[path] += 1
            if item is None:
                acks.setdefault(now + 2 * delay, []).append((path, pn))
            else:
                arrivals.setdefault(now + delay, []).append((path, pn, packet, item))
            for path, pn, packet, item in arrivals.pop(now, []):
                back = headers.restore(pn, item, path)
                assert (back.verdict, back.restored) == ("ok", packet)
                acks.setdefault(now + delays[path], []).append((path, pn))


# ---- bytes ----


def coded_bytes(headers: Headers, packets: list[bytes], in_flight: int) -> list[int]:
    """Bytes of each header without the flow id; each packet is acknowledged `in_flight` packets later."""
    sizes = []
    for pn, packet in enumerate(packets):
        if pn >= in_flight:
            headers.ack(pn - in_flight)
        item, row = headers.compress(pn, packet)
        sizes.append(row.header_bytes if item is None else row.coded_bytes - row.flow_bytes)
        if item is not None:
            assert headers.restore(pn, item).restored == packet
    return sizes


@pytest.mark.parametrize(("in_flight", "most"), [(2, 1.0), (10, 1.0), (25, 1.3), (100, 1.3), (400, 2.5)])
def test_voice_is_one_byte_however_many_are_in_flight(in_flight: int, most: float) -> None:
    sizes = coded_bytes(Headers(), [voice(i) for i in range(8 * in_flight + 400)], in_flight)
    steady = sizes[4 * in_flight + 50 :]
    assert sum(steady) / len(steady) <= most


def test_a_talk_spurt_costs_few_bytes() -> None:
    jumps = [sum(1 for at in (100, 200, 300) if i >= at) * 61 for i in range(400)]
    packets = [voice(i, jump=jump) for i, jump in enumerate(jumps)]
    sizes = coded_bytes(Headers(), packets, 2)
    assert sum(sizes[50:]) <= 350 + 3 * 8


def test_a_long_pause_needs_no_new_set_up() -> None:
    """The acknowledgement was seen in time, so it is remembered when the window has moved on."""
    headers = Headers()
    for pn in range(20):
        through(headers, pn, voice(pn))
    for pn in range(20, 20020):
        headers.ack(pn)
    assert through(headers, 20020, voice(20)) == "base"


def test_an_acknowledgement_that_nobody_looked_at_in_time_is_none() -> None:
    headers = Headers()
    assert through(headers, 0, voice(0)) == "setup"
    for pn in range(1, 9000):
        headers.ack(pn)
    assert through(headers, 9000, voice(1)) == "setup"


# ---- contexts ----


def test_one_flow_too_many_goes_whole_and_pushes_nobody_out() -> None:
    headers = Headers(16)
    kinds = [
        [through(headers, 17 * turn + i, voice(turn, port=2 * (4000 + i))) for i in range(17)]
        for turn in range(60)
    ]
    for turn in kinds[3:]:
        assert turn.count("whole") == 1
        assert turn[16] == "whole"


def test_a_port_scan_does_not_touch_live_flows() -> None:
    headers = Headers(16)
    dice = Random(1)
    pn = 0
    for turn in range(800):
        for i in range(8):
            kind = through(headers, pn, voice(turn, port=2 * (4000 + i)))
            assert turn < 1 or kind in ("base", "extended") or (turn < 3 and kind == "setup")
            pn += 1
        for _ in range(8):
            syn = struct.pack(">HHIIBBHHH", dice.randrange(1 << 16), 80, 5, 0, 0x50, 2, 500, 0, 0)
            assert through(headers, pn, ipv4(6, summed(6, syn, 16, ENDS), ENDS)) == "whole"
            probe = struct.pack(">HHHH", dice.randrange(1 << 16) | 1, 53, 8, 0)
            through(headers, pn + 1, ipv4(17, summed(17, probe, 6, ENDS), ENDS))
            pn += 2


def test_a_flow_that_has_ended_makes_room() -> None:
    headers = Headers(2)
    pn = 0
    for port in (16384, 16388):
        for turn in range(20):
            through(headers, pn, voice(turn, port=port))
            pn += 1
    kinds = []
    for turn in range(9000):
        kinds.append(through(headers, pn, voice(turn, port=16392)))
        pn += 1
    assert kinds[0] == "whole"
    assert kinds[-1] == "base"


def test_a_late_packet_of_the_flow_before_is_refused() -> None:
    """A flow id that has gone to another flow: by name, never as a packet of that one."""
    headers = Headers(1)
    for pn in range(30):
        through(headers, pn, voice(pn))
    old, row = headers.compress(30, voice(30))
    assert old is not None and row.kind == "base"
    for pn in range(31, 9000):
        kind = through(headers, pn, voice(pn, port=16390))
        if kind == "base":
            break
    assert headers.restore(30, old).verdict == "unknown-reference"


def test_what_only_looks_like_voice_becomes_udp() -> None:
    headers = Headers()
    dice = Random(3)
    profiles = []
    for pn in range(40):
        rtp = b"\x80\x00" + dice.randbytes(40)
        udp = struct.pack(">HHHH", 40000, 5000, 8 + len(rtp), 0) + rtp
        packet = ipv4(17, summed(17, udp, 6, ENDS), ENDS, pn)
        item, row = headers.compress(pn, packet)
        profiles.append(row.profile)
        if item is not None:
            assert headers.restore(pn, item).restored == packet
        headers.ack(pn)
    assert profiles == ["udp"] * 40


# ---- packets that are not as they should be ----

UDP = struct.pack(">HHHH", 5000, 53, 12, 0) + b"abcd"
GOOD = ipv4(17, summed(17, UDP, 6, ENDS), ENDS, 9)
GOOD_V6 = ipv6(17, UDP, (bytes(16), bytes(16)))
TCP = struct.pack(">HHIIBBHHH", 5000, 80, 1, 2, 0x50, 0x10, 500, 0, 0)
ODD = {
    "empty": b"",
    "one byte": b"\x45",
    "no IP": b"\x75" + GOOD[1:],
    "trailing bytes": GOOD + b"\0\0",
    "cut off": GOOD[:-1],
    "header checksum": GOOD[:10] + b"\0\0" + GOOD[12:],
    "header too long": b"\x4f" + GOOD[1:],
    "jumbogram": GOOD_V6[:4] + b"\0\0" + GOOD_V6[6:],
}
PLAIN = {
    "UDP length": ipv4(17, UDP[:4] + b"\0\x0d" + UDP[6:], ENDS),
    "UDP cut off": ipv4(17, UDP[:7], ENDS),
    "TCP offset": ipv4(6, TCP[:12] + b"\x40" + TCP[13:], ENDS),
    "TCP options beyond the end": ipv4(6, TCP[:12] + b"\x60" + TCP[13:], ENDS),
    "ESP cut off": ipv4(50, bytes(7), ENDS),
    "ICMP error": ipv4(1, b"\x03\x04" + bytes(20), ENDS),
    "inner IP of wrong length": ipv4(4, GOOD + b"\0", ENDS),
    "inner IP without its checksum": ipv4(4, GOOD[:10] + b"\0\0" + GOOD[12:], ENDS),
    "extension header beyond the end": ipv6(0, b"\x11\x09" + bytes(14), (bytes(16), bytes(16))),
    "unknown": ipv4(200, b"x", ENDS),
    "nothing inside": ipv4(17, b"", ENDS),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_not_whole_ip_goes_whole(name: str) -> None:
    headers = Headers()
    for pn in range(4):
        item, row = headers.compress(pn, ODD[name])
        assert (item, row.kind, row.header_bytes) == (None, "whole", 0)
        headers.ack(pn)


@pytest.mark.parametrize("name", PLAIN)
def test_what_is_wrong_inside_is_payload_of_plain_ip(name: str) -> None:
    headers = Headers()
    kinds = []
    for pn in range(6):
        kinds.append(through(headers, pn, PLAIN[name]))
        assert headers.compress(99, PLAIN[name])[1].profile == "ip"
    assert kinds[0] == "setup"
    assert kinds[-1] == "base"


@pytest.mark.parametrize("value", [0, 1, 0xFFFF, "right", "twin"])
@pytest.mark.parametrize("proto", [6, 17])
def test_any_checksum_comes_back(proto: int, value: int | str) -> None:
    at = 16 if proto == 6 else 6
    segment = TCP if proto == 6 else UDP
    # A segment whose right checksum is 0 or 0xffff: both verify in TCP, and the bytes must come back.
    body = segment + b"\0\0"
    if proto == 17:
        body = body[:4] + struct.pack(">H", len(body)) + body[6:]
    pseudo = ENDS[0] + ENDS[1] + struct.pack(">HH", proto, len(body))
    twin = body[:-2] + struct.pack(">H", internet_sum(pseudo + body))
    headers = Headers()
    for pn in range(12):
        if value == "right":
            packet = summed(proto, body, at, ENDS)
        elif value == "twin":
            packet = twin[:at] + (b"\0\0", b"\xff\xff")[pn % 2] + twin[at + 2 :]
        else:
            packet = body[:at] + struct.pack(">H", value) + body[at + 2 :]
        kind = through(headers, pn, ipv4(proto, packet, ENDS, pn))
    assert kind in ("base", "extended")


# ---- items ----


def test_items_of_no_compressor_are_refused_by_name() -> None:
    headers = Headers(4)
    for pn in range(8):
        through(headers, pn, voice(pn))
    item, _ = headers.compress(8, voice(8))
    assert item is not None
    assert headers.restore(8, b"").verdict == "truncated"
    assert headers.restore(8, b"\x80").verdict == "truncated"
    assert headers.restore(8, b"\xff").verdict == "truncated"
    assert headers.restore(8, b"\xff\x10\x01").verdict == "unknown-flow"
    assert headers.restore(8, b"\x81\x01").verdict == "unknown-flow"
    assert headers.restore(8, b"\x45\x01").verdict == "bad-form"
    assert headers.restore(8, b"\x80\x40").verdict == "bad-form"
    assert headers.restore(0, item).verdict == "unknown-reference"
    assert headers.restore(8, item, path=1).verdict == "unknown-reference"
    assert headers.restore(8, item, cap=59).verdict == "too-long"
    assert headers.restore(8, item + bytes(65535)).verdict == "too-long"
    assert headers.restore(8, item).restored == voice(8)


def test_arguments_are_checked() -> None:
    for flows in (0, 384):
        with pytest.raises(NativeError):
            Headers(flows)
    headers = Headers()
    with pytest.raises(NativeError):
        headers.ack(0, path=4)
    with pytest.raises(NativeError):
        headers.compress(0, GOOD, path=4)
    with pytest.raises(NativeError):
        headers.restore(0, b"\x80\x00", path=4)


def test_two_byte_flow_ids() -> None:
    headers = Headers(383)
    for turn in range(4):
        for i in range(383):
            kind = through(headers, 383 * turn + i, voice(turn + 1, port=2 * (4000 + i)))
            assert kind == ("setup" if turn == 0 else "base")


def test_names() -> None:
    assert HEADER_PROFILES == ("ip", "udp", "rtp", "tcp", "icmp", "esp")
    assert len(set(HEADER_VERDICTS)) == 6


def test_a_long_flow_is_set_up_again_now_and_then() -> None:
    """Should the two ever disagree for a reason that nobody thought of, it ends."""
    headers = Headers()
    kinds = [through(headers, pn, voice(pn)) for pn in range(12_000)]
    assert [pn for pn, kind in enumerate(kinds) if kind == "setup" and pn > 10] == [4096, 8192]


def test_sack_behind_bytes_that_look_like_padding() -> None:
    """The last bytes of the echoed time stamp are no NOPs."""
    headers = Headers()
    for pn in range(12):
        stamps = b"\x01\x01\x01\x01\x08\x0a" + struct.pack(">II", 7 + pn, 0x55550101)
        options = stamps + b"\x05\x0a" + struct.pack(">II", 100 + pn, 200 + pn)
        head = struct.pack(">HHIIBBHHH", 5000, 80, 1, 2 + pn, 11 << 4, 0x10, 500, 0, 0)
        through(headers, pn, ipv4(6, summed(6, head + options, 16, ENDS), ENDS, pn))


def test_an_item_without_room_still_counts() -> None:
    """A receiver that is out of packets loses this one and no other."""
    headers = Headers()
    for pn in range(300):
        item, _ = headers.compress(pn, voice(pn))
        headers.ack(pn)
        assert item is not None
        if pn % 3 == 2:
            assert headers.restore(pn, item, cap=0).verdict == "too-long"
        else:
            assert headers.restore(pn, item).restored == voice(pn)


def test_a_refused_candidate_hides_the_one_before() -> None:
    """What refers to it later must not find an older one of the same slot."""
    headers = Headers()
    setup, _ = headers.compress(0, voice(0))
    assert setup is not None and setup[1:4] == b"\x00\x00\x01"
    assert headers.restore(0, setup).restored == voice(0)
    to_slot_1 = bytes([0x80, 1 << 5 | 1]) + bytes(20)
    assert headers.restore(20, to_slot_1).verdict == "ok"
    # Refers to slot 0, which is empty, and would become the candidate of slot 1.
    assert headers.restore(10, bytes([0x80, 8]) + bytes(20)).verdict == "unknown-reference"
    assert headers.restore(20, to_slot_1).verdict == "unknown-reference"
    assert headers.restore(9, to_slot_1).verdict == "ok"
    # The same with a number given: slot 0 and 2 above, marked as a candidate of RTP, is slot 2.
    second = setup[:2] + b"\x00\x02" + setup[4:]
    assert headers.restore(30, second).verdict == "ok"
    to_slot_2 = bytes([0x80, 2 << 5 | 1]) + bytes(20)
    assert headers.restore(50, to_slot_2).verdict == "ok"
    assert headers.restore(40, bytes([0x80, 0x81, 0x88]) + bytes(20)).verdict == "unknown-reference"
    assert headers.restore(50, to_slot_2).verdict == "unknown-reference"


def test_a_candidate_that_was_overtaken_is_not_referred_to() -> None:
    """It may have come too late to be restored, and nobody says so."""
    headers = Headers()
    for path in (1, 0):
        assert headers.compress(0, voice(path), path)[1].kind == "setup"
    headers.ack(0, path=0)
    headers.ack(0, path=1)
    item, _ = headers.compress(1, voice(2), path=1)
    assert item is not None and item[1:4] == b"\x20\x00\x02"


def test_a_flow_recovers_when_all_its_candidates_were_lost() -> None:
    headers = Headers()
    sizes = []
    for pn in range(400):
        item, row = headers.compress(pn, voice(pn))
        is_lost = 50 <= pn < 150
        if pn >= 2 and not 50 <= pn - 2 < 150:
            headers.ack(pn - 2)
        if item is not None and not is_lost:
            assert headers.restore(pn, item).restored == voice(pn)
        sizes.append(row.header_bytes if item is None else row.coded_bytes - row.flow_bytes)
    assert sum(sizes[200:]) == 200
