"""Keys as text and in files: what is refused, and that no message shows what a file holds."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxidized import keys
from oxidized.errors import KeyFileError
from tests.unit.ops.samples import PRIVATE

# RFC 8032 section 7.1, test 1
RFC_SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
RFC_PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")


def test_public_key_of_rfc_8032() -> None:
    assert keys.public_of(RFC_SEED) == RFC_PUBLIC


@given(st.binary(min_size=32, max_size=32))
def test_text_round_trip(key: bytes) -> None:
    assert keys.private_parse(f" \t{keys.private_text(key)}\n") == key
    assert keys.public_parse(keys.public_text(key)) == key


@given(st.text(max_size=60) | st.from_regex(r"ox1key:[A-Za-z0-9+/]{40,46}=?", fullmatch=True))
def test_any_text_is_a_key_or_refused_without_showing_it(text: str) -> None:
    try:
        key = keys.private_parse(text)
    except ValueError as error:
        assert len(text) < 12 or text not in str(error)
    else:
        assert keys.private_text(key) == text.strip()


@pytest.mark.parametrize(
    "text",
    [
        keys.private_text(PRIVATE)[:-1],  # padding gone
        keys.private_text(PRIVATE)[:-2] + "9=",  # spare bits set: a second text of one key
        keys.private_text(PRIVATE) + "A",
        keys.private_text(PRIVATE).replace("ox1key", "OX1KEY"),
        keys.private_text(PRIVATE)[:20] + "\n" + keys.private_text(PRIVATE)[20:],
        "ox1key:",
    ],
)
def test_only_the_one_text_of_a_key(text: str) -> None:
    with pytest.raises(ValueError, match="is no private key"):
        keys.private_parse(text)


def test_mixed_up_keys_are_told_apart() -> None:
    with pytest.raises(ValueError, match="is a public key"):
        keys.private_parse(keys.public_text(RFC_PUBLIC))
    with pytest.raises(ValueError, match="is a private key"):
        keys.public_parse(keys.private_text(PRIVATE))


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "edge.key"
    keys.write_new(str(path), PRIVATE)
    return path


def test_written_file_is_read_and_closed_to_others(key_file: Path) -> None:
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert keys.read(f"file:{key_file}") == PRIVATE


def test_file_is_never_overwritten(key_file: Path) -> None:
    before = key_file.read_text()
    with pytest.raises(FileExistsError):
        keys.write_new(str(key_file), bytes(32))
    assert key_file.read_text() == before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620, 0o601, 0o644])
def test_file_open_to_others_is_refused(key_file: Path, mode: int) -> None:
    key_file.chmod(mode)
    with pytest.raises(KeyFileError, match=f"open to others \\(mode {mode:04o}\\)"):
        keys.read(f"file:{key_file}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_file_of_somebody_else_is_refused(key_file: Path) -> None:
    os.chown(key_file, 12345, -1)
    with pytest.raises(KeyFileError, match="belongs to uid 12345"):
        keys.read(f"file:{key_file}")


def _pipe(path: Path) -> None:
    os.mkfifo(path, 0o600)


WRONG_FILES: list[tuple[Callable[[Path], object], str]] = [
    (_pipe, "not a regular file"),
    (lambda path: path.mkdir(0o700), "not a regular file"),
    (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
    (lambda path: None, "No such file"),
    (lambda path: path.write_bytes(b""), "is no private key"),
    (lambda path: path.write_bytes(b"hunter2-secret\n"), "is no private key"),
    (lambda path: path.write_bytes(b"\xff\xfe secret"), "is not text"),
    (lambda path: path.write_bytes(b"A" * 5000), "is larger than 4096 bytes"),
    (lambda path: path.write_text(keys.public_text(RFC_PUBLIC)), "is a public key"),
]


@pytest.mark.parametrize(("make", "said"), WRONG_FILES)
def test_wrong_files(tmp_path: Path, make: Callable[[Path], object], said: str) -> None:
    path = tmp_path / "key"
    make(path)
    if path.is_file() and not path.is_symlink():
        path.chmod(0o600)
    with pytest.raises(KeyFileError, match=said) as caught:
        keys.read(f"file:{path}")
    assert "secret" not in str(caught.value) and "AAAA" not in str(caught.value)


def test_credential(tmp_path: Path) -> None:
    keys.write_new(str(tmp_path / "key"), PRIVATE)
    (tmp_path / "key").chmod(0o440)  # systemd's access control list shows as group bits
    assert keys.read("credential:key", {"CREDENTIALS_DIRECTORY": str(tmp_path)}) == PRIVATE
    (tmp_path / "key").chmod(0o444)
    with pytest.raises(KeyFileError, match="open to others"):
        keys.read("credential:key", {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    with pytest.raises(KeyFileError, match="CREDENTIALS_DIRECTORY is not set"):
        keys.read("credential:key", {})


@pytest.mark.parametrize(
    "source",
    ["", "key", "file:relative", "file:", "credential:", "credential:../x", "credential:a/b", "env:KEY",
     "file:/a\0b", "credential:..", keys.private_text(PRIVATE)],
)  # fmt: skip
def test_wrong_sources(source: str) -> None:
    with pytest.raises(ValueError) as caught:
        keys.source_check(source)
    assert keys.private_text(PRIVATE) not in str(caught.value)


def test_generated_keys_come_from_the_entropy() -> None:
    assert keys.generate(lambda count: b"\x07" * count) == b"\x07" * 32
    assert keys.generate() != keys.generate()
