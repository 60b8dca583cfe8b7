"""`oxidized headers`: captures of all kinds, malformed ones, the link, the report, exit statuses."""

from __future__ import annotations

import gzip
import json
import struct
from pathlib import Path

import pytest

from oxidized import cli, headers
from oxidized.errors import Exit
from oxidized.headers import Link, events_of
from oxidized.io.capture import CaptureError, parse, read
from tests.native.headers_rig import Flow, ipv4, ipv6, summed
from tests.native.test_headers import voice

ENDS = (b"\x0a\x01\x00\x02", b"\x0a\x02\x00\x03")
UDP = summed(17, struct.pack(">HHHH", 5001, 53, 12, 0) + b"abcd", 6, ENDS)
V4 = ipv4(17, UDP, ENDS, 9)
V6 = ipv6(59, b"body", (bytes(15) + b"\x01", bytes(15) + b"\x02"))
SHARED = Path("/work/shared/pcaps")


def pcap(frames: list[bytes], link: int = 101, order: str = "<", magic: int = 0xA1B2C3D4) -> bytes:
    out = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link)
    for frame in frames:
        out += struct.pack(order + "IIII", 1, 2, len(frame), len(frame)) + frame
    return out


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    size = 12 + len(body)
    return struct.pack(order + "II", kind, size) + body + struct.pack(order + "I", size)


def pcapng(frames: list[bytes], link: int = 101, order: str = "<", kind: int = 6) -> bytes:
    out = block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)
    out += block(1, struct.pack(order + "HHI", link, 0, 0), order)
    out += block(5, bytes(12), order)  # statistics, of no interest
    for frame in frames:
        head = {
            2: struct.pack(order + "HHIIII", 0, 0, 1, 2, len(frame), len(frame)),
            3: struct.pack(order + "I", len(frame)),
            6: struct.pack(order + "IIIII", 0, 1, 2, len(frame), len(frame)),
        }[kind]
        out += block(kind, head + frame, order)
    return out


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("magic", [0xA1B2C3D4, 0xA1B23C4D])
def test_pcap(order: str, magic: int) -> None:
    found = parse(pcap([V4, V6], order=order, magic=magic), "a.pcap")
    assert (found.packets, found.not_ip) == ([V4, V6], 0)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [2, 3, 6])
def test_pcapng(order: str, kind: int) -> None:
    assert parse(pcapng([V4, V6], order=order, kind=kind), "a.pcapng").packets == [V4, V6]


MAC = bytes(12)
COOKED2 = bytes(18)
FRAMES = {
    "raw": [(link, V4, V4) for link in (12, 101, 228)],
    "raw IPv6": [(229, V6, V6)],
    "Ethernet": [(1, MAC + b"\x08\x00" + V4, V4), (1, MAC + b"\x86\xdd" + V6, V6)],
    "padded": [(1, MAC + b"\x08\x00" + V4 + bytes(14), V4), (1, MAC + b"\x86\xdd" + V6 + bytes(2), V6)],
    "VLAN": [(1, MAC + b"\x81\x00\x00\x07\x08\x00" + V4, V4)],
    "VLANs": [(1, MAC + b"\x88\xa8\x00\x07\x81\x00\x00\x07\x86\xdd" + V6, V6)],
    "ARP": [(1, MAC + b"\x08\x06" + bytes(28), None), (1, MAC, None)],
    "cooked": [(113, bytes(14) + b"\x08\x00" + V4, V4), (113, bytes(14) + b"\x08\x06" + V4, None)],
    "cooked 2": [(276, b"\x08\x00" + COOKED2 + V4, V4), (276, bytes(19), None)],
    "loopback": [(0, b"\x02\0\0\0" + V4, V4), (0, b"\0\0\0\x02" + V4, V4), (108, b"\0\0\0\x1e" + V6, V6)],
    "loopback of others": [(0, b"\x07\0\0\0" + V4, None), (0, b"\x02", None)],
}


@pytest.mark.parametrize("name", FRAMES)
def test_link_types(name: str) -> None:
    for link, frame, packet in FRAMES[name]:
        for data in (pcap([frame], link), pcapng([frame], link)):
            found = parse(data, "x")
            assert (found.packets, found.not_ip) == ([packet] if packet else [], 0 if packet else 1)


def test_gzip_and_files(tmp_path: Path) -> None:
    plain, packed = tmp_path / "a.pcap", tmp_path / "a.pcap.gz"
    plain.write_bytes(pcap([V4]))
    packed.write_bytes(gzip.compress(pcap([V4])))
    assert read(str(plain)) == read(str(packed))


GOOD = pcap([V4, V6])
BROKEN = {
    "nothing": (b"", 0, "neither pcap nor pcapng"),
    "text": (b"hello, world", 0, "neither pcap nor pcapng"),
    "head": (GOOD[:20], 20, "ends inside the file header"),
    "link": (pcap([], 147), 20, "link type 147"),
    "record": (GOOD[:30], 24, "ends inside the header of a packet"),
    "packet": (GOOD[:-1], 24 + 16 + len(V4), "a packet of 44 bytes, of which 43 are there"),
    "size": (GOOD[:24] + bytes(8) + b"\xff" * 8, 24, "a packet of 4294967295 bytes"),
    "huge": (pcap([b"\x45" * 65536]), 24, "more than IP has"),
    "ng block": (pcapng([V4])[:-2], 72, "a block of"),
    "ng size": (pcapng([V4])[:4] + b"\x01\0\0\0" + pcapng([V4])[8:], 0, "a block of 1 bytes"),
    "ng order": (pcapng([])[:8] + bytes(20), 8, "no byte order mark"),
    "ng interface": (pcapng([])[:28] + block(6, bytes(20)), 28, "no block"),
    "ng packet": (pcapng([]) + block(6, struct.pack("<IIIII", 0, 0, 0, 99, 99)), 72, "a packet of 99 bytes"),
    "ng cut": (pcapng([]) + block(6, bytes(8)), 72, "ends inside the header of a packet"),
    "ng no link": (pcapng([])[:28] + block(1, b""), 28, "an interface without link type"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_malformed_file_names_file_and_offset(name: str) -> None:
    data, offset, message = BROKEN[name]
    with pytest.raises(CaptureError) as raised:
        parse(data, "x.pcap")
    assert str(raised.value).startswith(f"x.pcap: at byte {offset}: ")
    assert message in str(raised.value)


def test_a_broken_gzip_is_a_capture_error(tmp_path: Path) -> None:
    file = tmp_path / "a.pcap.gz"
    for data in (gzip.compress(GOOD)[:-9], gzip.compress(GOOD)[:15] + b"\xff" * 20, b"\x1f\x8b"):
        file.write_bytes(data)
        with pytest.raises(CaptureError):
            read(str(file))


# ---- the link ----


def test_a_good_link() -> None:
    steps = [
        (event.kind, event.packet if event.kind != "ack" else event.pn) for event in events_of(3, Link())
    ]
    assert steps == [
        ("send", 0), ("arrive", 0), ("send", 1), ("arrive", 1), ("ack", 0), ("send", 2), ("arrive", 2),
        ("ack", 1), ("ack", 2),
    ]  # fmt: skip


@pytest.mark.parametrize("burst", [1, 10])
def test_losses(burst: int) -> None:
    events = events_of(40_000, Link(loss_ratio=0.1, burst=burst))
    there = {event.packet for event in events if event.kind == "arrive"}
    assert 35_200 < len(there) < 36_800
    gaps = [len(run) for run in "".join("x" if i in there else "." for i in range(40_000)).split("x") if run]
    assert sum(gap < burst for gap in gaps) <= 1  # the last one may be cut off
    acked = [event.pn for event in events if event.kind == "ack"]
    assert len(set(acked)) == len(acked) and set(acked) <= there
    known = set()
    for event in events:
        if event.kind == "arrive":
            known.add(event.packet)
        assert event.kind != "ack" or event.pn in known


def test_late_packets_come_behind_later_ones() -> None:
    order = [
        event.packet for event in events_of(2000, Link(late_ratio=0.05, late_by=3)) if event.kind == "arrive"
    ]
    place = {packet: at for at, packet in enumerate(order)}
    overtaken = [sum(place[packet + k] < place[packet] for k in range(1, 5)) for packet in range(1900)]
    assert sorted(set(overtaken)) in ([0, 2, 3], [0, 1, 2, 3])
    assert 60 < sum(count > 0 for count in overtaken) < 140


@pytest.mark.parametrize(("text", "value"), [("10%", 0.1), ("0.1", 0.1), ("0", 0.0), ("100%", 1.0)])
def test_ratios(text: str, value: float) -> None:
    assert headers.ratio(text) == pytest.approx(value)


@pytest.mark.parametrize(
    "bad",
    [
        ["--loss", "11"], ["--loss", "x"], ["--loss", "-1%"], ["--loss", "nan"], ["--late", "5%:0"],
        ["--late", "5%:x"], ["--rtt", "40"], ["--rtt", "ms"], ["--rtt", "2h"], ["--spacing", "61s"],
        ["--burst", "0"], ["--loss", "x%"],
    ],
)  # fmt: skip
def test_bad_options(bad: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["headers", "a.pcap", *bad])
    assert left.value.code == Exit.USAGE
    assert "oxidized headers: error:" in capsys.readouterr().err


# ---- the report ----


@pytest.fixture
def mixed(tmp_path: Path) -> str:
    """Voice, pings and a packet that is none."""
    from random import Random

    icmp = Flow(Random(1), "icmp")
    frames = [frame for i in range(300) for frame in (voice(i), icmp.packet())]
    file = tmp_path / "mixed.pcap"
    file.write_bytes(pcap([*frames, b"\x99nothing"]))
    return str(file)


def test_json(mixed: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "--loss",
        "5%",
        "--burst",
        "2",
        "--late",
        "5%:3",
        "--rtt",
        "60ms",
        "--spacing",
        "10ms",
        "--json",
        "-",
    ]
    assert cli.main(["headers", mixed, mixed, *arguments]) == Exit.OK
    report = json.loads(capsys.readouterr().out)
    assert [entry["file"] for entry in report["files"]] == [mixed, mixed]
    assert report["loss_ratio"] == 0.05 and report["rtt_us"] == 60_000
    assert report["files"][0]["profiles"].keys() == report["profiles"].keys() == {"icmp", "rtp", "other"}
    rtp = report["profiles"]["rtp"]
    assert (rtp["packets"], rtp["raw_header_bytes_mean"], rtp["undecodable"], rtp["wrong"]) == (
        600,
        40.0,
        0,
        0,
    )
    assert 1 < rtp["header_bytes_mean"] < 3
    assert {"compress_ns", "restore_ns"} <= rtp.keys()
    assert (report["profiles"]["other"]["packets"], report["profiles"]["other"]["whole"]) == (2, 2)


def test_table_and_file(mixed: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["headers", mixed]) == Exit.OK
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == mixed
    assert [line.split()[:2] for line in lines[1:]] == [
        ["profile", "packets"], ["icmp", "300"], ["other", "1"], ["rtp", "300"]
    ]  # fmt: skip
    assert cli.main(["headers", mixed, "--json", str(tmp_path / "out.json")]) == Exit.OK
    assert json.loads((tmp_path / "out.json").read_text())["seed"] == 1


def test_what_went_wrong_is_told(
    mixed: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restorer that fails, or lies: counted, and not OK."""
    from dataclasses import replace

    real = headers.measure

    def lying(packets: list[bytes], link: Link) -> list[headers.HeaderRow]:
        rows = real(packets, link)
        rows[0] = replace(rows[0], restored=b"x")
        rows[2] = replace(rows[2], restored=None, verdict="unknown-reference")
        return rows

    monkeypatch.setattr(headers, "measure", lying)
    assert cli.main(["headers", mixed, "--json", "-"]) == Exit.FAILURE
    rtp = json.loads(capsys.readouterr().out)["profiles"]["rtp"]
    assert (rtp["undecodable"], rtp["wrong"]) == (1, 1)


def test_operator_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad, missing = tmp_path / "bad.pcap", tmp_path / "missing.pcap"
    bad.write_bytes(GOOD[:-1])
    assert cli.main(["headers", str(bad)]) == Exit.CONFIG
    assert capsys.readouterr().err.startswith(f"oxidized: {bad}: at byte 72: ")
    assert cli.main(["headers", str(missing)]) == Exit.ABSENT
    assert "No such file" in capsys.readouterr().err


def test_an_empty_capture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "empty.pcap"
    file.write_bytes(pcap([]))
    assert cli.main(["headers", str(file), "--json", "-"]) == Exit.OK
    assert json.loads(capsys.readouterr().out)["profiles"] == {}


# ---- the acceptance streams ----

LIMITS = {
    "rtp4_g729_idseq": 1.10, "rtp4_g729_idzero": 1.10, "rtp4_vad": 1.10, "rtp6": 1.10, "udp": 1.10,
    "tcp4_bulk": 4.5, "tcp4_acks": 8.0, "tcp4_inter": 10.5, "rtp4_g729_idjump": 2.3, "rtp4_g729_idrnd": 3.1,
    "icmp": 1.10, "esp": 1.10,
}  # fmt: skip
LINKS = {
    "good": Link(),
    "5 %": Link(loss_ratio=0.05),
    "10 %": Link(loss_ratio=0.1),
    "bursts": Link(loss_ratio=0.1, burst=10),
    "late": Link(late_ratio=0.05, late_by=3),
}


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"the generated streams are not in {SHARED}")
@pytest.mark.parametrize("name", LINKS)
def test_generated_streams(name: str) -> None:
    files = sorted(SHARED.glob("*.pcap.gz"))
    assert len(files) == 17
    for file in files:
        packets = read(str(file)).packets
        (limit,) = [limit for prefix, limit in LIMITS.items() if file.name.startswith(prefix)]
        (part,) = headers.summary_of(packets, headers.measure(packets, LINKS[name])).values()
        assert (part.packets, part.undecodable, part.wrong) == (len(packets), 0, 0)
        assert part.header_bytes_mean <= limit + (0.15 if "10" in name or name == "bursts" else 0), file.name
