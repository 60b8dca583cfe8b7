"""What all of Python's side of the boundary shares: bounds, names, and errors as exceptions."""

from __future__ import annotations

from typing import Any, Final

from oxidized.errors import NativeError
from oxidized.ffi._oxi import ffi, lib

BATCH_MAX: Final = int(lib.OXI_BATCH_MAX)
OVERHEAD_BYTES: Final = int(lib.OXI_OVERHEAD_BYTES)
MTU_MAX: Final = int(lib.OXI_MTU_MAX)
DATAGRAM_MAX: Final = int(lib.OXI_DATAGRAM_MAX)
_ERRORS: Final = {
    lib.OXI_E_ARG: "bad argument",
    lib.OXI_E_NOMEM: "out of memory",
    lib.OXI_E_FULL: "no free slot",
    lib.OXI_E_ABSENT: "no such peer, path or session",
    lib.OXI_E_BUSY: "not in this state of the io thread",
    lib.OXI_E_SYS: "system call failed",
    lib.OXI_E_CRYPTO: "the crypto library refused the key, or the index is taken",
}


def check(result: int, what: str) -> int:
    """Returns `result`, or raises NativeError when C said no."""
    if result < 0:
        raise NativeError(f"{what}: {_ERRORS.get(result, result)}", code=result)
    return result


def names_of(lookup: Any) -> tuple[str, ...]:
    """All names that a function of oxi.h tells by number, up to its NULL."""
    found: list[str] = []
    while (name := lookup(len(found))) != ffi.NULL:
        found.append(ffi.string(name).decode())
    return tuple(found)


DROP_REASONS: Final = names_of(lib.oxi_drop_name)
DROP_HELP: Final = dict(zip(DROP_REASONS, names_of(lib.oxi_drop_help), strict=True))
STAGES: Final = {
    name: names_of(lambda i, which=which: lib.oxi_stage_name(which, i))
    for name, which in (
        ("out", lib.OXI_TIMES_OUT),
        ("in", lib.OXI_TIMES_IN),
        ("shell", lib.OXI_TIMES_SHELL),
    )
}
