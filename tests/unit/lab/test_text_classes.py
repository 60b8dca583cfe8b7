"""text-classes without a network: messages are what they say, a receiver notices, the arithmetic."""

from __future__ import annotations

import http.client
import io
import json
import sys
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import pytest

LAB_FOLDER = Path(__file__).resolve().parents[3] / "netns-lab"
sys.path.insert(0, str(LAB_FOLDER))

from lab.errors import LabError, UsageError  # noqa: E402
from lab.scenarios.text_classes import TextClasses, add_costs, wanted_classes  # noqa: E402
from lab.text_corpus import CLASSES, exchanges, mqtt_length  # noqa: E402
from lab.text_load import Heard  # noqa: E402

COUNT = 400


def body_of(message: bytes) -> tuple[str, Any, bytes]:
    """First line, headers (RFC 5322, by the standard library) and body."""
    first, _, rest = message.partition(b"\r\n")
    head, _, body = rest.partition(b"\r\n\r\n")
    return first.decode(), BytesParser().parsebytes(head + b"\r\n\r\n", headersonly=True), body


@pytest.mark.parametrize("name", CLASSES)
def test_the_same_seed_gives_the_same_messages_and_none_is_like_another(name: str) -> None:
    made = exchanges(name, 1, COUNT)
    assert exchanges(name, 1, COUNT) == made
    assert not {one.request for one in made} & {one.request for one in exchanges(name, 2, COUNT)}
    assert len({one.request for one in made}) == COUNT
    assert len({bool(one.answer) for one in made}) == 1
    assert max(len(one.request) for one in made) <= 1200, "in one packet"
    assert max(len(one.answer) for one in made) <= 1200


def test_sip_says_how_long_its_bodies_are() -> None:
    for one in exchanges("sip", 3, COUNT):
        for message in (one.request, one.answer):
            first, headers, body = body_of(message)
            assert "SIP/2.0" in first
            assert int(headers["Content-Length"]) == len(body)
            assert headers["CSeq"].split()[1] in one.request.decode()
        assert body_of(one.request)[1]["Call-ID"] == body_of(one.answer)[1]["Call-ID"]


class FakeSocket:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self.data)


def test_http_answers_are_read_by_the_standard_library() -> None:
    for one in exchanges("http", 4, COUNT):
        answer = http.client.HTTPResponse(FakeSocket(one.answer))  # type: ignore[arg-type]
        answer.begin()
        body = answer.read()
        assert len(body) == int(answer.headers["Content-Length"])
        if "json" in answer.headers["Content-Type"]:
            assert json.loads(body)["entries"]
        first, headers, content = body_of(one.request)
        assert first.endswith(" HTTP/1.1")
        assert headers["Host"]
        assert not content or json.loads(content)["name"]


def test_mqtt_publishes_hold_a_topic_and_json() -> None:
    for one in exchanges("mqtt", 5, COUNT):
        data = one.request
        assert data[0] == 0x30
        count = at = 0
        for at in range(1, 5):
            count |= (data[at] & 0x7F) << 7 * (at - 1)
            if data[at] < 0x80:
                break
        rest = data[at + 1 :]
        assert len(rest) == count
        topic_bytes = int.from_bytes(rest[:2])
        assert rest[2 : 2 + topic_bytes].decode().count("/") == 3
        assert "seq" in json.loads(rest[2 + topic_bytes :])


def test_lengths_of_mqtt_are_those_of_its_specification() -> None:
    for count, coded in ((0, "00"), (127, "7f"), (128, "8001"), (16383, "ff7f"), (16384, "808001")):
        assert mqtt_length(count).hex() == coded


def test_syslog_begins_with_its_priority() -> None:
    made = [exchanges("syslog", seed, 50) for seed in range(8)]
    assert all(one.request.startswith(b"<") for some in made for one in some)
    kinds = {some[0].request.partition(b">")[2][:2] for some in made}
    assert kinds == {b"1 ", b"Ma"}, "both forms"


def test_a_datagram_changed_doubled_or_foreign_is_wrong() -> None:
    heard = Heard([b"one", b"two"], is_stream=False)
    assert heard.take(b"two") == [1]
    assert heard.take(b"two") == []
    assert heard.take(b"onE") == []
    assert (heard.whole, heard.wrong, heard.is_complete) == (1, 2, True)
    with pytest.raises(LabError):
        Heard([b"same", b"same"], is_stream=False)


def test_a_stream_is_compared_wherever_it_is_cut() -> None:
    wanted = [b"first", b"second one", b"3"]
    for cut in range(1, 16):
        heard = Heard(wanted, is_stream=True)
        data = b"".join(wanted)
        numbers = heard.take(data[:cut]) + heard.take(data[cut:])
        assert (numbers, heard.whole, heard.wrong, heard.is_complete) == ([0, 1, 2], 3, 0, True)
    heard = Heard(wanted, is_stream=True)
    heard.take(b"firstsecond onE3")
    assert (heard.whole, heard.wrong) == (2, 1)
    heard.take(b"more")
    assert heard.wrong == 2


def cell_of(name: str, wire: int, offered: int = 1000) -> dict[str, Any]:
    return {"cell": name, "wire_bytes": wire, "offered_bytes": offered}


def test_the_cost_of_a_payload_byte_is_against_the_baseline() -> None:
    def rounds(*wires: int) -> list[dict[str, Any]]:
        return [{"seed": 1, "results": {"cells": [cell_of("sip", wire)]}} for wire in wires]

    found = {"oxidized": rounds(900, 1000), "plain": rounds(1400, 1300), "direct": rounds(1100, 1100)}
    add_costs(found, "plain")
    costs = {name: [one["results"]["cells"][0].get("payload_cost_ratio") for one in some]
             for name, some in found.items()}  # fmt: skip
    assert costs["oxidized"] == pytest.approx([0.5, 0.7])
    assert costs["plain"] == [None, None]
    assert costs["direct"] == pytest.approx([0.7, 0.8])
    alone = {"oxidized": rounds(900)}
    add_costs(alone, "plain")
    add_costs({**alone, "plain": [{"seed": 1, "results": {}}]}, "plain")
    assert "payload_cost_ratio" not in alone["oxidized"][0]["results"]["cells"][0]


def test_classes_by_name_and_number() -> None:
    assert wanted_classes("all") == ["sip", "syslog", "mqtt", "http"]
    assert wanted_classes("3,sip,0") == ["http", "sip"]
    for text in ("4", "dns", "", "sip,"):
        with pytest.raises(UsageError, match="cell="):
            wanted_classes(text)
    with pytest.raises(UsageError, match="ip="):
        TextClasses().settings({"ip": "5"})
