"""The log: formats, fields, the limit on repeats, levels that come back, and what followers get."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from oxidized.io import logs
from oxidized.limits import LOG_FOLLOWER_RECORDS, LOG_MESSAGE_CHARS_MAX, LOG_RING_RECORDS

log = logging.getLogger("oxidized.driver")


class Clock:
    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    """The log is one per process: leave it as it was."""
    root = logging.getLogger(logs.ROOT)
    before = (list(root.handlers), root.propagate, root.level)
    yield
    logs.set_level("info")
    root.handlers, root.propagate = before[0], before[1]
    root.setLevel(before[2])
    logs._state.ring.clear()


def lines(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


def test_json_lines_with_fields() -> None:
    stream = io.StringIO()
    logs.setup("info", "json", stream=stream)
    log.warning("%s: silent", "hub", extra={"peer": "hub", "errno": 111, "other": "x"})
    log.debug("not this")
    documents = [json.loads(line) for line in lines(stream)]
    assert len(documents) == 1 and documents[0].pop("time").endswith("Z")
    assert documents == [
        {"level": "warning", "module": "driver", "message": "hub: silent", "peer": "hub", "errno": 111}
    ]


def test_console_lines() -> None:
    stream = io.StringIO()
    logs.setup("info", "console", stream=stream)
    log.info("up")
    logging.getLogger("oxidized").error("bad")
    assert [line.split(" ", 1)[1] for line in lines(stream)] == [
        "info    driver: up",
        "error   oxidized: bad",
    ]


def test_text_from_outside_stays_on_its_line() -> None:
    stream = io.StringIO()
    logs.setup("info", "console", stream=stream)
    log.info("%s", "x\n2026 error forged\033[2J" + "y" * LOG_MESSAGE_CHARS_MAX)
    assert len(lines(stream)) == 1
    assert "x?2026 error forged?[2Jyyy" in lines(stream)[0]
    assert len(lines(stream)[0]) < LOG_MESSAGE_CHARS_MAX + 100


def test_traces_are_kept() -> None:
    stream = io.StringIO()
    logs.setup("info", "json", stream=stream)
    try:
        raise RuntimeError("why")
    except RuntimeError:
        log.exception("failed")
    assert "RuntimeError: why" in json.loads(lines(stream)[0])["trace"]


def test_bad_log_call_is_told_and_does_not_raise() -> None:
    stream = io.StringIO()
    logs.setup("info", "console", stream=stream)
    log.info("%d", "no number")
    assert "bad log call" in lines(stream)[0]


def test_levels_per_module() -> None:
    stream = io.StringIO()
    logs.setup("warning,driver=debug", "console", stream=stream)
    log.debug("one")
    logging.getLogger("oxidized.daemon").info("not this")
    logs.set_level("info")
    log.debug("nor this")
    logging.getLogger("oxidized.daemon").info("two")
    assert [line.rsplit(" ", 1)[1] for line in lines(stream)] == ["one", "two"]
    with pytest.raises(ValueError):
        logs.set_level("loud")


def test_live_level_returns_by_itself() -> None:
    stream, clock = io.StringIO(), Clock()
    logs.setup("info", "console", stream=stream, now_ns=clock)
    logs.set_level("debug")
    logs.return_later("info", clock.now_ns, after_s=900)
    log.debug("one")
    assert logs.level_document(0) == {
        "schema": "oxidized.log/1",
        "level": "debug",
        "returns_to": "info",
        "returns_in_seconds": 900.0,
    }
    clock.now_ns = 900 * 10**9
    log.debug("not this")
    log.debug("nor this")
    log.info("two")
    assert [line.rsplit(" ", 1)[1] for line in lines(stream)] == ["one", "two"]
    assert logs.level_document(clock.now_ns)["level"] == "info"
    assert logs.level_document(clock.now_ns)["returns_to"] is None


def test_level_of_a_reload_stays() -> None:
    logs.setup("info", "console", stream=io.StringIO())
    logs.set_level("debug")
    logs.return_later("info", 0, after_s=1)
    logs.set_level("warning")
    assert logs.level_document(10**12)["level"] == "warning"


def test_repeats_are_counted() -> None:
    stream, clock = io.StringIO(), Clock()
    logs.setup("info", "console", stream=stream, now_ns=clock)
    for _ in range(1000):
        log.info("same")
    log.info("other")
    assert len(lines(stream)) == logs.SAME_LINE_MAX + 1
    clock.now_ns = logs.REPEAT_WINDOW_NS
    log.info("same")
    assert lines(stream)[-1].endswith(f"same ({1000 - logs.SAME_LINE_MAX} more like this were not logged)")


def test_repeats_that_differ_only_in_their_words_are_counted_too() -> None:
    stream, clock = io.StringIO(), Clock()
    logs.setup("info", "console", stream=stream, now_ns=clock)
    for number in range(5000):
        log.info("stranger %d", number)
    assert len(lines(stream)) == logs.SAME_PLACE_MAX
    handler = logging.getLogger(logs.ROOT).handlers[0]
    assert isinstance(handler, logs._Handler)
    assert len(handler._limit._lines) <= logs.REPEAT_KEYS_MAX


def test_dead_output_costs_lines_only() -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    logs.setup("info", "json", stream=Full())
    log.info("lost")
    assert logs.recent()[-1]["message"] == "lost"


def test_ring_has_a_bound() -> None:
    clock = Clock()
    logs.setup("info", "json", stream=io.StringIO(), now_ns=clock)
    for number in range(LOG_RING_RECORDS + 10):
        clock.now_ns += logs.REPEAT_WINDOW_NS
        log.info("line %d", number)
    assert len(logs.recent()) == LOG_RING_RECORDS
    assert logs.recent()[-1]["message"] == f"line {LOG_RING_RECORDS + 9}"


def test_followers_get_records_of_all_threads_and_know_what_they_missed() -> None:
    clock = Clock()
    logs.setup("info", "json", stream=io.StringIO(), now_ns=clock)

    def flood() -> None:
        for number in range(LOG_FOLLOWER_RECORDS + 5):
            clock.now_ns += logs.REPEAT_WINDOW_NS
            log.info("line %d", number)

    async def life() -> None:
        records = logs.follow()
        first = asyncio.ensure_future(anext(records))
        await asyncio.sleep(0)
        flood()
        found = await first
        assert (found["message"], found["missed"]) == ("line 5", 5)
        for _ in range(LOG_FOLLOWER_RECORDS - 1):
            found = await anext(records)
            assert "missed" not in found
        following = asyncio.ensure_future(anext(records))
        await asyncio.to_thread(log.info, "of another thread")
        assert (await following)["message"] == "of another thread"
        await records.aclose()
        assert logs._state.followers == []

    asyncio.run(life())


def decode(datagram: bytes) -> dict[str, str]:
    """The native protocol of journald, read as journald does."""
    found, at = {}, 0
    while at < len(datagram):
        end = datagram.index(b"\n", at)
        name, equals, value = datagram[at:end].partition(b"=")
        if not equals:
            (size,) = struct.unpack_from("<Q", datagram, end + 1)
            value = datagram[end + 9 : end + 9 + size]
            end = end + 9 + size
            assert datagram[end : end + 1] == b"\n"
        found[name.decode()] = value.decode()
        at = end + 1
    return found


def test_journal_datagram(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journald:
        journald.bind(str(tmp_path / "journal"))
        journal = logs.Journal(str(tmp_path / "journal"))
        journal.write(
            {
                "time": "",
                "level": "warning",
                "module": "driver",
                "message": "hub: a=b",
                "peer": "hub",
                "trace": "x\ny=",
            }
        )
        assert decode(journald.recv(65536)) == {
            "MESSAGE": "hub: a=b",
            "PRIORITY": "4",
            "SYSLOG_IDENTIFIER": "oxidized",
            "OX_MODULE": "driver",
            "OX_PEER": "hub",
            "OX_TRACE": "x\ny=",
        }
        journald.close()
        with pytest.raises(OSError):
            journal.write({"time": "", "level": "info", "module": "driver", "message": ""})
        journal._socket.close()


def test_journal_is_recognized_by_its_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(tmp_path / "stderr", "w") as stream:
        found = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        assert logs.is_journal(stream)
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino + 1}")
        assert not logs.is_journal(stream)
    assert not logs.is_journal(io.StringIO())
