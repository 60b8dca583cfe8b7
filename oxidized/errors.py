"""The kinds of wrong that are not our own bugs, and the exit status each ends in.

A bug of ours is an assertion. An operator's mistake is a ConfigError with file, line and key. What a
peer or the network sends is a counted drop and never an exception that leaves its module.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Exit(IntEnum):
    """Exit statuses of `oxidized` and `oxidized-ctl`; scripts rely on them, so they never change."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    NOT_RUNNING = 3
    PERMISSION = 4
    ABSENT = 5
    PARTLY = 6
    DOWN = 7
    TIMED_OUT = 8
    CONFIG = 78  # EX_CONFIG of sysexits.h


class OxidizedError(Exception):
    """What we raise on purpose; `str()` is one line for the operator."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in the configuration. `line` counts from 1; 0: the file as a whole. `key` may be empty."""

    file: str
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.key}: {self.message}" if self.key else f"{where}: {self.message}"


class ConfigError(OxidizedError):
    """The configuration can not be used. `str()` has one line per problem, in the order of the file."""

    def __init__(self, *problems: Problem) -> None:
        assert problems
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class KeyFileError(OxidizedError):
    """A private key can not be used; says why and never what is in the file."""


class NativeError(OxidizedError):
    """The C core refused; `code` is one of oxi_err in oxi.h."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class Absent(OxidizedError):
    """The thing asked for (peer, path, field, tunnel) does not exist."""
