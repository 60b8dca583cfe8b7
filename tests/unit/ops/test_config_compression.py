"""`[compression]`: defaults, what may be named, what takes a second word, and where a mistake stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from oxidized import config, keys
from oxidized.config_payload import CLASSES, ENCRYPTED_PORTS, UNSAFE_PORTS
from oxidized.core.plane import DICTIONARIES, PayloadRule
from oxidized.core.settings import CompressionSettings
from oxidized.errors import ConfigError
from oxidized.ffi.lz import Compressor
from oxidized.limits import PAYLOAD_FLOWS_MAX
from oxidized.units import Duration
from tests.unit.ops.samples import EDGE, PRIVATE, write

TCP, UDP = 6, 17
LINE = EDGE.count("\n") + 2  # of the first key of the table


def settings_of(folder: Path, table: str = "") -> CompressionSettings:
    if not (folder / "key").exists():
        keys.write_new(str(folder / "key"), PRIVATE)
    path = write(folder, EDGE + (f"[compression]\n{table}\n" if table else ""))
    return config.load(path).to_settings({"CREDENTIALS_DIRECTORY": str(folder)}).compression


def problems_of(folder: Path, table: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config.load(write(folder, f"{EDGE}[compression]\n{table}\n"))
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


def test_defaults(tmp_path: Path) -> None:
    """Headers where the peer can, and no payload at all."""
    assert config.load(write(tmp_path, EDGE)).compression == config.CompressionConfig(
        headers="auto", flows=128, payload=(), payload_unsafe=False, accept_payload=True,
        bundle=True, bundle_wait_voip=Duration(10**6), bundle_wait_gaming=Duration(0),
        bundle_wait_other=Duration(0),
    )  # fmt: skip
    assert settings_of(tmp_path) == CompressionSettings()
    assert settings_of(tmp_path).rules == ()


def test_all_keys(tmp_path: Path) -> None:
    found = settings_of(
        tmp_path,
        'headers = "off"\nflows = 383\npayload = ["syslog", "tcp:5432", "udp:5514=syslog", "udp:9000=none"]\n'
        'accept_payload = false\nbundle_wait_voip = "off"\nbundle_wait_gaming = "0.5ms"\n'
        'bundle_wait_other = "5ms"',
    )
    assert found == CompressionSettings(
        headers="off",
        flows=383,
        rules=(
            PayloadRule(514, UDP, 2), PayloadRule(514, TCP, 2), PayloadRule(601, TCP, 2),
            PayloadRule(5432, TCP, 5), PayloadRule(5514, UDP, 2), PayloadRule(9000, UDP, 0),
        ),
        accept_payload=False,
        bundle_wait_voip_ns=0,
        bundle_wait_gaming_ns=500_000,
        bundle_wait_other_ns=5_000_000,
    )  # fmt: skip


def test_effective_configuration_loads_to_the_same(tmp_path: Path) -> None:
    table = '[compression]\npayload = ["mqtt", "http"]\npayload_unsafe = true\nbundle_wait_voip = "1ms"\n'
    for source in (EDGE + table, EDGE):
        first = config.load(write(tmp_path, source))
        again = config.load(write(tmp_path, config.effective(first)))
        assert again.compression == first.compression


def test_an_empty_list_is_none(tmp_path: Path) -> None:
    assert settings_of(tmp_path, "payload = []").rules == ()


@pytest.mark.parametrize("name", CLASSES)
def test_each_name_has_the_dictionary_of_its_name(tmp_path: Path, name: str) -> None:
    rules = settings_of(tmp_path, f'payload = ["{name}"]\npayload_unsafe = true').rules
    assert {(rule.protocol, rule.port) for rule in rules} == set(CLASSES[name])
    assert {DICTIONARIES[rule.dictionary] for rule in rules} == {name}


def test_the_most_that_a_file_may_name_fits_the_plane(tmp_path: Path) -> None:
    own = ", ".join(f'"udp:{port}"' for port in range(20000, 20000 + PAYLOAD_FLOWS_MAX - len(CLASSES)))
    names = ", ".join(f'"{name}"' for name in CLASSES)
    Compressor(settings_of(tmp_path, f"payload = [{names}, {own}]\npayload_unsafe = true").rules)


SECOND_WORD = (
    "is not safe: sizes of packets would tell of secrets in them (docs/compression.md); it takes "
    "payload_unsafe = true as well"
)


BY_PORT = [f"tcp:{port}" for port in sorted(UNSAFE_PORTS)]


@pytest.mark.parametrize("named", ["sip", "http", *BY_PORT, "udp:9000=http", "tcp:9001=sip"])
def test_it_takes_a_second_word(tmp_path: Path, named: str) -> None:
    """Also for the port of such a class, and for its dictionary on another port."""
    line = f'payload = [\n"syslog",\n"{named}"]'
    expected = f'edge.toml:{LINE + 2}: compression.payload: "{named}" {SECOND_WORD}'
    assert problems_of(tmp_path, line) == [expected]
    assert problems_of(tmp_path, f"{line}\npayload_unsafe = false") == [expected]
    assert settings_of(tmp_path, f"{line}\npayload_unsafe = true").rules


def test_ports_of_browsers_and_mail_are_unsafe_and_those_of_encryption_useless() -> None:
    assert {80, 8080, 25, 110, 143, 5060} <= UNSAFE_PORTS
    assert {22, 443, 993, 8883} <= ENCRYPTED_PORTS
    assert not UNSAFE_PORTS & ENCRYPTED_PORTS


WRONG = [
    ('payload = "syslog"', 0, "payload", "is a string, not a list of strings"),
    ("payload = [\n514]", 1, "payload", "holds an integer, not a string"),
    ('payload = [\n"syslog",\n"syslog"]', 2, "payload", 'names "syslog" twice'),
    ('payload = [\n"syslog",\n"udp:514"]', 2, "payload", '"udp:514" names udp:514, as "syslog" does'),
    ('payload = ["tcp:9=none",\n"tcp:9=mqtt"]', 1, "payload",
     '"tcp:9=mqtt" names tcp:9, as "tcp:9=none" does'),
    ('payload = ["ftp"]', 0, "payload",
     '"ftp" is neither one of "syslog", "sip", "mqtt", "http" nor such as "tcp:5432" or "udp:1234=syslog"'),
    ('payload = ["icmp:8"]', 0, "payload", '"icmp:8" is neither one of'),
    ('payload = ["udp:0"]', 0, "payload", '"udp:0" has a port outside 1..65535'),
    ('payload = ["udp:65536"]', 0, "payload", '"udp:65536" has a port outside 1..65535'),
    ('payload = ["udp:1234=dns"]', 0, "payload",
     '"udp:1234=dns" has no dictionary behind its =; there are none, sip, syslog, mqtt, http, generic'),
    ('payload = ["tcp:443"]', 0, "payload",
     '"tcp:443" is a port of encrypted packets, which do not get smaller'),
    (f"payload = {[f'udp:{n}' for n in range(9001, 9022)]}".replace("'", '"'), 0, "payload",
     "has 21 elements; at most 20"),
    ('payload_unsafe = "yes"', 0, "payload_unsafe", "is a string, not true or false"),
    ("accept_payload = 1", 0, "accept_payload", "is an integer, not true or false"),
    ("headers = true", 0, "headers", "is a boolean, not a string"),
    ('headers = "yes"', 0, "headers", '"yes" is not "auto", "all" or "off"'),
    ("flows = 15", 0, "flows", "15 is outside 16..383"),
    ("flows = 384", 0, "flows", "384 is outside 16..383"),
    ("bundle_wait_voip = 2000", 0, "bundle_wait_voip", 'is an integer; a duration is a string with a unit'),
    ('bundle_wait_gaming = "6ms"', 0, "bundle_wait_gaming", '"6ms" is outside 0.1ms..5ms'),
    ('bundle_wait_other = "0ms"', 0, "bundle_wait_other", '"0ms" is outside 0.1ms..5ms'),
    ("payloads = []", 0, "payloads", "unknown key; did you mean payload?"),
]  # fmt: skip


@pytest.mark.parametrize(("table", "line", "key", "message"), WRONG, ids=[row[0][:28] for row in WRONG])
def test_wrong(tmp_path: Path, table: str, line: int, key: str, message: str) -> None:
    found = problems_of(tmp_path, table)
    assert len(found) == 1
    assert found[0].startswith(f"edge.toml:{LINE + line}: compression.{key}: {message}"), found
