"""Builds aead_door.c with the crypto parts of native/ and opens it: `door()`, `Key`."""

from __future__ import annotations

import ctypes
import functools
import os
import subprocess
import tempfile
from pathlib import Path

from tests.native.test_core_unit import ENVIRONMENT, FLAGS

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = {"openssl": 1, "ipsec-mb": 2}
IPSEC_MB_FILE = "libIPSec_MB.so.1"
TAG_BYTES = 16
NO_VECTOR = 2**32 - 1  # none is changed

_ARGUMENTS = {
    "trouble": "I", "new": "IBs?", "free": "p", "forget": "p", "run": "p?ssPpP", "holds": "psP",
    "sealed_bytes": "I", "check": "III", "load": "sIIpP", "check_faulty": "I", "start": "sIIi?",
    "start_as": "ss", "managers_freed": "", "header_version": "",
}  # fmt: skip
_RESULTS = {
    "trouble": "s", "new": "p", "free": "", "forget": "", "run": "?", "holds": "?", "sealed_bytes": "I",
    "check": "s", "load": "?", "check_faulty": "s", "start": "s", "start_as": "s",
    "managers_freed": "I",
    "header_version": "I",
}  # fmt: skip
_TYPES = {
    "I": ctypes.c_uint32, "B": ctypes.c_uint8, "s": ctypes.c_char_p, "?": ctypes.c_bool, "p": ctypes.c_void_p,
    "P": ctypes.c_size_t, "i": ctypes.c_int,
}  # fmt: skip


@functools.cache
def door(*options: str) -> ctypes.CDLL:
    """The built library; under the sanitizers when the interpreter is. `options`: more for the compiler."""
    is_sanitized = "libasan" in os.environ.get("LD_PRELOAD", "")
    flags = FLAGS if is_sanitized else [flag for flag in FLAGS if "sanitize" not in flag]
    core = sorted(str(path) for path in (ROOT / "native/core").glob("aead*.c"))
    sources = [str(Path(__file__).with_suffix(".c")), *core, str(ROOT / "native/io/crypto.c")]
    with tempfile.TemporaryDirectory(prefix="oxi-aead-") as folder:
        target = f"{folder}/aead_door.so"
        command = ["gcc", *flags, *options, "-fPIC", "-shared", "-o", target, *sources, "-lcrypto", "-llz4"]
        subprocess.run(command, check=True, env=ENVIRONMENT)
        made = ctypes.CDLL(target)
    for name, kinds in _ARGUMENTS.items():
        function = getattr(made, f"door_{name}")
        function.argtypes = [_TYPES[kind] for kind in kinds]
        function.restype = _TYPES[_RESULTS[name]] if _RESULTS[name] else None
    return made


def trouble(library: str) -> str:
    """Why a library can not be used here; "" when it can."""
    return (door().door_trouble(LIBRARIES[library]) or b"").decode()


def load(file: str, vector: int = NO_VECTOR, byte: int = 0) -> tuple[bool, str]:
    """(Whether intel-ipsec-mb from this file is good, why not), with one bit of one vector changed."""
    text = ctypes.create_string_buffer(200)
    return bool(door().door_load(file.encode(), vector, byte, text, 200)), text.value.decode()


class Key:
    """One key for one direction in one library."""

    def __init__(self, library: str, suite: int, key: bytes, *, is_seal: bool) -> None:
        assert len(key) == 32
        self._is_seal = is_seal
        self._at = door().door_new(LIBRARIES[library], suite, key, is_seal)

    def __del__(self) -> None:
        door().door_free(self._at)

    def _run(self, nonce: bytes, aad: bytes, data: bytes, length: int) -> tuple[bool, bytes]:
        assert len(nonce) == 12 and len(data) == length + TAG_BYTES
        buffer = (ctypes.c_uint8 * len(data)).from_buffer_copy(data)
        is_good = door().door_run(self._at, not self._is_seal, nonce, aad, len(aad), buffer, length)
        return bool(is_good), bytes(buffer)

    def seal(self, nonce: bytes, aad: bytes, text: bytes) -> bytes | None:
        """Ciphertext and tag; None: refused."""
        is_good, data = self._run(nonce, aad, text + bytes(TAG_BYTES), len(text))
        return data if is_good else None

    def open(self, nonce: bytes, aad: bytes, sealed: bytes) -> tuple[bool, bytes]:
        """(Whether it is authentic, what stands where the text was)."""
        is_good, data = self._run(nonce, aad, sealed, len(sealed) - TAG_BYTES)
        return is_good, data[:-TAG_BYTES]

    def forget(self) -> None:
        door().door_forget(self._at)

    def holds(self, secret: bytes) -> bool:
        """Whether the library's memory for this key has these bytes in it."""
        return bool(door().door_holds(self._at, secret, len(secret)))
