"""Which crypto library is used, and that one which is missing, old, foreign or wrong is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from oxidized.core.plane import Suite
from oxidized.errors import NativeError
from oxidized.ffi.dataplane import DataPlane, aead_library
from tests.native.aead_door import IPSEC_MB_FILE, LIBRARIES, NO_VECTOR, Key, door, load, trouble

NONCE = bytes(12)
KEY = bytes(range(1, 33))
VECTORS = ("NIST GCM test case 13", "NIST GCM test case 16", "RFC 8439")
ARCH_NONE, ARCH_NO_AES, ARCH_AVX2 = 0, 1, 4  # IMB_ARCH of intel-ipsec-mb.h

is_built = "not built in" not in trouble("ipsec-mb")
needs_build = pytest.mark.skipif(not is_built, reason="no intel-ipsec-mb.h where this was built")
needs_library = pytest.mark.skipif(bool(trouble("ipsec-mb")), reason=trouble("ipsec-mb"))


def test_openssl_is_always_good() -> None:
    assert trouble("openssl") == aead_library("openssl").trouble == ""
    assert aead_library("openssl").version[0].isdigit()


def test_the_extension_says_the_same_as_this_build() -> None:
    assert aead_library("ipsec-mb").trouble == trouble("ipsec-mb")
    assert bool(aead_library("ipsec-mb").version) == (not trouble("ipsec-mb"))


def test_a_plane_says_what_it_uses() -> None:
    for wanted in ("auto", "openssl", "ipsec-mb"):
        if wanted == "ipsec-mb" and trouble(wanted):
            with pytest.raises(NativeError, match="no such crypto library"):
                DataPlane(library=wanted)
            continue
        plane = DataPlane(library=wanted)
        best = "openssl" if trouble("ipsec-mb") else "ipsec-mb"
        assert plane.aead() == aead_library(best if wanted == "auto" else wanted)
        plane.close()


# ---- the check at start ----


@pytest.mark.parametrize("library", [name for name in LIBRARIES if not trouble(name)])
def test_one_wrong_bit_in_a_vector_is_noticed(library: str) -> None:
    assert door().door_check(LIBRARIES[library], NO_VECTOR, 0) is None
    for vector, name in enumerate(VECTORS):
        for byte in range(door().door_sealed_bytes(vector)):
            assert name in door().door_check(LIBRARIES[library], vector, byte).decode()


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (0, "agreement of both libraries on AES-256-GCM"),  # a wrong byte from 768 on
        (1, "NIST GCM test case 13"),  # whatever the tag
        (2, "NIST GCM test case 16"),  # whatever the first byte of what is only authenticated
        (3, "NIST GCM test case 13"),  # no key
    ],
)
def test_a_library_with_a_fault_is_noticed(fault: int, found: str) -> None:
    assert found in door().door_check_faulty(fault).decode()


# ---- a shared library that can not be used ----


def test_a_build_without_the_header() -> None:
    without = door("-DOXI_HAVE_IPSEC_MB=0")
    assert without.door_trouble(LIBRARIES["ipsec-mb"]) == b"not built in"
    assert without.door_trouble(LIBRARIES["openssl"]) is None


def test_a_header_with_another_interface(tmp_path: Path) -> None:
    (tmp_path / "intel-ipsec-mb.h").write_text("#define IMB_VERSION_NUM 0x20000\n")
    assert door(f"-I{tmp_path}").door_trouble(LIBRARIES["ipsec-mb"]) == b"not built in"


@needs_build
def test_no_such_file() -> None:
    is_good, why = load("libIPSec_MB-is-not-here.so.9")
    assert not is_good
    assert why.startswith("libIPSec_MB-is-not-here.so.9: cannot open shared object file")


@needs_build
def test_another_library_under_its_name() -> None:
    assert load("libc.so.6") == (False, "libc.so.6: the library lacks a function that is looked for")


@needs_library
def test_a_library_that_fails_its_check() -> None:
    for vector, name in enumerate(VECTORS):
        is_good, why = load(IPSEC_MB_FILE, vector, 3)
        assert not is_good and why.startswith(f"{IPSEC_MB_FILE}: self-check failed: {name}")
    assert load(IPSEC_MB_FILE) == (True, "")


HEADER = door().door_header_version()
Start = Callable[[], "bytes | None"]
STARTS: dict[str, tuple[Start, str, int]] = {
    **{
        f"lacks {name}": (
            lambda name=name: door().door_start(name.encode(), HEADER, ARCH_AVX2, 0, True),
            "lacks a function", 0,
        )
        for name in ("imb_get_version", "imb_get_version_str", "alloc_mb_mgr", "init_mb_mgr_auto",
                     "free_mb_mgr", "imb_get_errno")
    },
    "older": (lambda: door().door_start(None, HEADER - 0x100, ARCH_AVX2, 0, True), "another version", 0),
    "newer": (lambda: door().door_start(None, HEADER + 0x100, ARCH_AVX2, 0, True), "another version", 0),
    "major": (lambda: door().door_start(None, HEADER + 0x10000, ARCH_AVX2, 0, True), "another version", 0),
    "no memory": (lambda: door().door_start(None, HEADER + 1, ARCH_AVX2, 0, False), "has no memory", 0),
    "no AES": (lambda: door().door_start(None, HEADER + 1, ARCH_NO_AES, 0, True), "no AES instructions", 1),
    "no arch": (lambda: door().door_start(None, HEADER + 1, ARCH_NONE, 0, True), "no AES instructions", 1),
    "own test": (lambda: door().door_start(None, HEADER + 1, ARCH_AVX2, 7, True), "own self-test failed", 1),
}  # fmt: skip


@needs_build
@pytest.mark.parametrize("name", STARTS)
def test_a_library_that_is_not_as_expected(name: str) -> None:
    start, found, freed = STARTS[name]
    assert found in (start() or b"").decode()
    assert door().door_managers_freed() == freed


# ---- keys ----


@pytest.mark.parametrize("suite", Suite)
@pytest.mark.parametrize("library", [name for name in LIBRARIES if not trouble(name)])
def test_a_forgotten_key_neither_seals_nor_opens(library: str, suite: Suite) -> None:
    sealer, opener = (Key(library, suite, KEY, is_seal=is_seal) for is_seal in (True, False))
    sealed = sealer.seal(NONCE, b"", b"text")
    assert sealed is not None and opener.open(NONCE, b"", sealed) == (True, b"text")
    sealer.forget()
    opener.forget()
    assert sealer.seal(NONCE, b"", b"text") is None
    assert opener.open(NONCE, b"", sealed) == (False, bytes(4))


@needs_library
@pytest.mark.parametrize("suite", Suite)
def test_a_forgotten_key_is_wiped(suite: Suite) -> None:
    key = Key("ipsec-mb", suite, KEY, is_seal=True)
    assert key.seal(NONCE, b"", b"text") is not None
    assert key.holds(KEY[:16])
    key.forget()
    assert not key.holds(KEY[:16]) and not key.holds(KEY[16:])
