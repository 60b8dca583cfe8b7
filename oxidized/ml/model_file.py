"""A model and its sheet as files: read within bounds, refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from oxidized.errors import OxidizedError


class ModelRefused(OxidizedError):
    """The model is not used; the text is one line that says why."""


def model_read(path: Path, bytes_max: int) -> bytes:
    """All of the file; ModelRefused when it can not be read or has more bytes than that."""
    try:
        with path.open("rb") as file:
            found = file.read(bytes_max + 1)
    except OSError as error:
        raise ModelRefused(f"{path.name}: {error.strerror}") from None
    if len(found) > bytes_max:
        raise ModelRefused(f"{path.name}: more than {bytes_max} bytes")
    return found


def sheet_parsed(text: bytes, schema: str) -> dict[str, Any]:
    """The object in NAME.json; ModelRefused unless it is one of this schema."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise ModelRefused("sheet: not JSON") from None
    if not isinstance(found, dict) or found.get("schema") != schema:
        raise ModelRefused(f"sheet: not of schema {schema!r}")
    return found
