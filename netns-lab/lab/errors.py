"""What can go wrong in the lab, each with the exit code of `netns-lab/run`."""

from __future__ import annotations


class LabError(Exception):
    """A run could not be measured: a daemon died, a load generator failed."""

    exit_code = 1


class UsageError(LabError):
    """The command line asks for something that does not exist."""

    exit_code = 2


class MissingError(LabError):
    """A program, a module or a right that the run needs is not there."""

    exit_code = 5
