"""One planted bug: a change of one place of native/."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    name: str
    file: str  # below native/
    old: str
    new: str
