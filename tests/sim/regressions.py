"""Seeds that once failed, each with its story. They run with every call that starts at seed 0."""

from __future__ import annotations

REGRESSIONS: dict[int, str] = {}
