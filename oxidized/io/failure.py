"""Why the daemon can not start or go on: one line for the operator and an exit status."""

from __future__ import annotations

import errno

from oxidized.errors import Exit, OxidizedError


class StartError(OxidizedError):
    """The system refuses what the daemon needs. `str()` is the one line shown; no traceback."""

    def __init__(self, message: str, exit_code: Exit = Exit.FAILURE) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def is_permission(error: OSError) -> bool:
    """Whether the kernel said no for want of a right (and not of a thing)."""
    return error.errno in (errno.EPERM, errno.EACCES)
