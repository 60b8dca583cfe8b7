"""What the daemon does about the crypto library that the file wants, and about one that can not be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from oxidized import config as configuration
from oxidized import keys
from oxidized.config import Config
from oxidized.ctl.layout import interface_block
from oxidized.errors import ConfigError
from oxidized.ffi.dataplane import AeadLibrary
from oxidized.io import daemon
from oxidized.io.failure import StartError
from tests.unit.ops.samples import status_document

FILE = """\
version = 1

[interface]
address = ["10.70.0.1/24"]

[identity]
key = "file:{key}"

[listen]
udp = ["0.0.0.0:443"]

[crypto]
suite = "auto"
library = "{library}"
"""
WHY = "libIPSec_MB.so.1: cannot open shared object file"


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Library -> its trouble, for a test to fill."""
    troubles: dict[str, str] = {}
    real = daemon.aead_library

    def told(name: str) -> AeadLibrary:
        return AeadLibrary(name, "", troubles[name]) if name in troubles else real(name)

    monkeypatch.setattr(daemon, "aead_library", told)
    return troubles


def load(folder: Path, library: str) -> Config:
    key = folder / "key"
    key.write_text(keys.private_text(bytes(range(32))))
    key.chmod(0o600)
    path = folder / "hub.toml"
    path.write_text(FILE.format(key=key, library=library))
    return configuration.load(str(path))


def test_a_library_that_is_not_there_is_the_operators_mistake(tmp_path: Path, broken: dict[str, str]) -> None:
    broken["ipsec-mb"] = WHY
    with pytest.raises(ConfigError) as caught:
        daemon.library_check(load(tmp_path, "ipsec-mb"))
    said = f'"ipsec-mb" can not be used here: {WHY}; "auto" takes what can'
    assert str(caught.value) == f"{tmp_path}/hub.toml:14: crypto.library: {said}"


@pytest.mark.parametrize("library", ["auto", "openssl"])
def test_others_do_not_need_it(tmp_path: Path, broken: dict[str, str], library: str) -> None:
    broken["ipsec-mb"] = WHY
    daemon.library_check(load(tmp_path, library))


@pytest.mark.parametrize("library", ["auto", "openssl", "ipsec-mb"])
def test_without_openssl_nothing_starts(tmp_path: Path, broken: dict[str, str], library: str) -> None:
    broken["openssl"] = "self-check failed: RFC 8439 section 2.8.2"
    config = load(tmp_path, library)
    made = daemon.Daemon(config, config.to_settings(), config.file)
    with pytest.raises(StartError, match=r"openssl: self-check failed: RFC 8439"):
        made._plane_make()


def test_the_reason_is_shown() -> None:
    status = status_document()
    facts = {"library": "openssl", "library_version": "3.0", "library_reason": f"ipsec-mb: {WHY}"}
    status["interface"] |= facts
    assert f"\n  library: openssl 3.0 (ipsec-mb: {WHY})\n" in interface_block(status)
