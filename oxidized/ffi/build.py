"""Builds `oxidized.ffi._oxi`: the packet path in native/ behind the declarations of native/include/oxi.h.

The part of the header between the two cffi marks is given to cffi verbatim, in API mode: the compiler checks
each declaration against the same header, so the two readers can not drift apart. setup.py calls this for the
wheel and for the build in place; nothing of it runs in the daemon.

OXI_SANITIZE=1 builds the variant for the sanitizer run of the tests (address and undefined behaviour, and the
checks of OXI_DEBUG); `./dev` puts it into build/sanitize, never beside the product.
"""

import os
import re
from pathlib import Path

from cffi import FFI

ROOT = Path(__file__).resolve().parents[2]
HEADERS = [ROOT / "native" / "include" / name for name in ("oxi.h", "oxi_parts.h")]

WARNINGS = ["-Wall", "-Wextra", "-Wno-unused-parameter"]  # ./dev lint is stricter on what is ours
HARDENED = ["-O3", "-fstack-protector-strong", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"]
SANITIZED = [
    "-O1",
    "-g",
    "-U_FORTIFY_SOURCE",
    "-DOXI_DEBUG",
    "-fno-omit-frame-pointer",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=undefined",
]


def declarations(header: str) -> str:
    """The text between the cffi marks of a header. ValueError unless each mark stands there exactly once."""
    parts = re.split(r"^/\* cffi: (?:begin|end) \*/$", header, flags=re.MULTILINE)
    if len(parts) != 3:
        raise ValueError(f"{len(parts) - 1} cffi marks, expected one 'begin' and one 'end'")
    return parts[1]


def sources() -> list[str]:
    """All C files of the packet path, relative to the root (as setuptools wants them), in a fixed order."""
    found = [path for folder in ("", "core", "io") for path in (ROOT / "native" / folder).glob("*.c")]
    return sorted(str(path.relative_to(ROOT)) for path in found)


def dependencies() -> list[str]:
    """Headers whose change means compiling anew."""
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / "native").rglob("*.h"))


def make_builder(is_sanitized: bool) -> FFI:
    """The cffi builder that setuptools runs; it compiles with the working directory at the root."""
    ffi = FFI()
    for header in HEADERS:
        ffi.cdef(declarations(header.read_text(encoding="utf-8")))
    ffi.set_source(
        "oxidized.ffi._oxi",
        '#include "oxi.h"',
        sources=sources(),
        depends=dependencies(),
        include_dirs=["native/include"],
        libraries=["crypto", "lz4", "pthread", "dl"],
        extra_compile_args=[
            "-std=c11",
            "-D_GNU_SOURCE",
            "-fvisibility=hidden",
            *WARNINGS,
            *(SANITIZED if is_sanitized else HARDENED),
        ],
        extra_link_args=["-fsanitize=address,undefined"] if is_sanitized else ["-Wl,-z,relro,-z,now"],
    )
    return ffi


builder = make_builder(os.environ.get("OXI_SANITIZE") == "1")
