"""Where each key of a TOML document stands. `tomllib` reads values but keeps no places.

Only for text that `tomllib` has already read without complaint, so the scanner may trust the syntax
(TOML 1.0) and needs no errors of its own.
"""

from __future__ import annotations

import re
import tomllib

Path = tuple[str | int, ...]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR_END = re.compile(r"[,\]}#\n]")
# Longest opening first. A basic string may escape its own quote, a literal one may not.
_STRINGS = (
    re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}(?!")', re.DOTALL),
    re.compile(r"'''.*?'{3,5}(?!')", re.DOTALL),
    re.compile(r'"(?:[^"\\\n]|\\.)*"'),
    re.compile(r"'[^'\n]*'"),
)


def lines_of(text: str) -> dict[Path, int]:
    """Line (from 1) of every table, key and array element, by its path: `("peer", 0, "endpoint", 1)`.

    A table that is only implied by a dotted name stands where that name first stands.
    """
    scanner = _Scanner(text.replace("\r\n", "\n"))
    scanner.document()
    return scanner.lines


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._counted = 0
        self._elements: dict[Path, int] = {}  # arrays of tables: how many so far
        self.lines: dict[Path, int] = {}

    def document(self) -> None:
        table: Path = ()
        while self._skip_blank(newlines=True):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _note(self, path: Path) -> None:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        for length in range(1, len(path) + 1):
            self.lines.setdefault(path[:length], self._line)

    def _skip_blank(self, *, newlines: bool) -> bool:
        """Over white space and comments. False at the end of the text."""
        blank = " \t\n" if newlines else " \t"
        while self._at < len(self._text):
            sign = self._text[self._at]
            if sign in blank:
                self._at += 1
            elif sign == "#" and newlines:
                end = self._text.find("\n", self._at)
                self._at = len(self._text) if end < 0 else end
            else:
                return True
        return False

    def _header(self) -> Path:
        """`[a.b]` or `[[a.b]]`: the path its keys belong to."""
        is_array = self._text.startswith("[[", self._at)
        start = self._at
        self._at += 2 if is_array else 1
        names = self._key()
        self._at += 2 if is_array else 1
        path: Path = ()
        for name in names[:-1]:
            path = self._latest((*path, name))
        path = (*path, names[-1])
        if is_array:
            self._elements[path] = self._elements.get(path, 0) + 1
        path = self._latest(path)
        end, self._at = self._at, start
        self._note(path)
        self._at = end
        return path

    def _latest(self, path: Path) -> Path:
        """With the index of its last element when it is an array of tables."""
        count = self._elements.get(path)
        return path if count is None else (*path, count - 1)

    def _key(self) -> list[str]:
        names = []
        while True:
            self._skip_blank(newlines=False)
            if self._text[self._at] in "\"'":
                raw = self._string()
                names.append(str(tomllib.loads(f"name = {raw}")["name"]))
            else:
                found = _BARE_KEY.match(self._text, self._at)
                assert found is not None, "tomllib has read this text"
                self._at = found.end()
                names.append(found.group())
            self._skip_blank(newlines=False)
            if self._text[self._at] != ".":
                return names
            self._at += 1

    def _pair(self, table: Path) -> None:
        start = self._at
        path = (*table, *self._key())
        self._at += 1  # the equals sign
        end, self._at = self._at, start
        self._note(path)
        self._at = end
        self._skip_blank(newlines=False)
        self._value(path)

    def _value(self, path: Path) -> None:
        sign = self._text[self._at]
        if sign in "\"'":
            self._string()
        elif sign == "[":
            self._array(path)
        elif sign == "{":
            self._inline_table(path)
        else:
            end = _SCALAR_END.search(self._text, self._at)
            self._at = end.start() if end else len(self._text)

    def _string(self) -> str:
        for pattern in _STRINGS:
            found = pattern.match(self._text, self._at)
            if found is not None:
                self._at = found.end()
                return found.group()
        raise AssertionError("tomllib has read this text")

    def _array(self, path: Path) -> None:
        self._at += 1
        index = 0
        while self._skip_blank(newlines=True) and self._text[self._at] != "]":
            if self._text[self._at] == ",":
                self._at += 1
                continue
            self._note((*path, index))
            self._value((*path, index))
            index += 1
        self._at += 1

    def _inline_table(self, path: Path) -> None:
        self._at += 1
        while self._skip_blank(newlines=True) and self._text[self._at] != "}":
            if self._text[self._at] == ",":
                self._at += 1
                continue
            self._pair(path)
        self._at += 1
