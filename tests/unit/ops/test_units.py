"""Durations, sizes and ages: what is written is read back, and people get what they expect."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxidized.units import (
    UNITS_NS,
    Duration,
    age_text,
    bytes_text,
    duration_ns,
    duration_text,
    ratio_text,
    rtt_text,
    span_text,
)


@given(st.integers(0, 10**17))
def test_duration_round_trip(ns: int) -> None:
    assert duration_ns(duration_text(ns)) == ns


@given(st.integers(0, 10**6), st.sampled_from(sorted(UNITS_NS)))
def test_whole_durations_keep_their_value(count: int, unit: str) -> None:
    assert duration_ns(f"{count}{unit}") == count * UNITS_NS[unit]


@given(st.text(max_size=12))
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    try:
        assert duration_ns(text) >= 0
    except ValueError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("20s", 20 * 10**9),
        ("1.5min", 90 * 10**9),
        ("250ms", 250 * 10**6),
        ("0.000001ms", 1),
        ("2d", 172800 * 10**9),
    ],
)
def test_durations(text: str, ns: int) -> None:
    assert duration_ns(text) == ns


@pytest.mark.parametrize(
    "text",
    ["", "20", "s", "20 s", "-1s", "+1s", "1e3s", "20sec", "1h30m", "1.s", ".5s", "٣s", "0.0000001ms", "1m"],
)
def test_not_durations(text: str) -> None:
    with pytest.raises(ValueError):
        duration_ns(text)


def test_duration_prints_as_written() -> None:
    assert [str(Duration(ns)) for ns in (0, 10**9, 120 * 10**9, 1_500_000_000)] == [
        "off",
        "1s",
        "2min",
        "1500ms",
    ]


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (1048575, "1.00 MiB"),
        (327_617_085, "312.44 MiB"),
        (1_288_490_189, "1.20 GiB"),
        (2**70, "1024.00 EiB"),
    ],
)
def test_bytes(count: int, text: str) -> None:
    assert bytes_text(count) == text


@given(st.integers(0, 2**64))
def test_bytes_never_need_a_larger_unit(count: int) -> None:
    number, unit = bytes_text(count).split()
    assert float(number) < 1024 or unit == "EiB"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (41.9, "41s"),
        (60, "1m"),
        (312, "5m 12s"),
        (3601, "1h"),
        (273_960, "3d 4h"),
        (86400 * 2, "2d"),
        (-5, "0s"),
    ],
)
def test_span(seconds: float, text: str) -> None:
    assert span_text(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (41, "41 seconds ago"),
        (82, "1 minute, 22 seconds ago"),
        (90_061, "1 day, 1 hour, 1 minute, 1 second ago"),
        (0.4, "now"),
        (-3600, "now"),
    ],
)
def test_age(seconds: float, text: str) -> None:
    assert age_text(seconds) == text


def test_rtt_and_ratio() -> None:
    assert [rtt_text(s) for s in (None, 0.00031, 0.0042, 0.0142, 1.5)] == [
        "-",
        "0.31 ms",
        "4.2 ms",
        "14 ms",
        "1500 ms",
    ]
    assert ratio_text(0.008) == "0.80%"
