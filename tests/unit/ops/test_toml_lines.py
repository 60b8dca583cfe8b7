"""The locator finds every key that tomllib reads, on the line where it stands."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from oxidized.toml_lines import Path, lines_of

TRICKY = '''\
a = 1
"b.c" = "x # no comment" # [no.table]
d.e.'f' = """
[not.a.table]
g = 2 \\""" """
h = [ # list
  1, # one

  { i = "]", j = [
    "}" ] },
]
[k.l] # table
m = \'\'\'
"""
[[no]]\'\'\'
[[n]]
o = 1
[n.p]
q = 1979-05-27 07:32:00
[[n]]
[[n.r]]
s = ''
[[n.r]]
"\\u0074" = -1.5e3
u = """"quoted"""""
v = { w.x = 1, y = {}, z = [] }
'''

EXPECTED: dict[Path, int] = {
    ("a",): 1,
    ("b.c",): 2,
    ("d", "e", "f"): 3,
    ("h",): 6,
    ("h", 0): 7,
    ("h", 1): 9,
    ("h", 1, "i"): 9,
    ("h", 1, "j", 0): 10,
    ("k", "l"): 12,
    ("k", "l", "m"): 13,
    ("n", 0): 16,
    ("n", 0, "o"): 17,
    ("n", 0, "p", "q"): 19,
    ("n", 1): 20,
    ("n", 1, "r", 0): 21,
    ("n", 1, "r", 0, "s"): 22,
    ("n", 1, "r", 1): 23,
    ("n", 1, "r", 1, "t"): 24,
    ("n", 1, "r", 1, "u"): 25,
    ("n", 1, "r", 1, "v", "w", "x"): 26,
    ("n", 1, "r", 1, "v", "z"): 26,
}


def paths_of(data: Any, path: Path = ()) -> Iterator[Path]:
    """Of everything that tomllib found."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for name, value in items:
        yield (*path, name)
        yield from paths_of(value, (*path, name))


def test_tricky_document() -> None:
    lines = lines_of(TRICKY)
    assert {path: lines.get(path) for path in EXPECTED} == EXPECTED
    assert set(lines) == set(paths_of(tomllib.loads(TRICKY)))


def test_carriage_returns_and_no_last_newline() -> None:
    assert lines_of("a = 1\r\n\r\n[b]\r\nc = '''\r\n'''") == {("a",): 1, ("b",): 3, ("b", "c"): 4}


names = st.sampled_from(["a", "b-1", "3", '"q.r"', "'#'", '"[x]"', '"\\""'])
scalars = st.sampled_from(
    [
        "1",
        "true",
        '"x"',
        '"\\\\"',
        "'it''"[:4] + "'",
        '"""\n[a]\n# b"""',
        "'''\n'x' = 1'''",
        "1.5",
        "2026-11-20",
    ]
)
blank = st.sampled_from(["", " ", "\n", " # , ] }\n", "\n\n"])


def arrays(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    element = st.tuples(blank, inner, blank).map("".join)
    return st.lists(element, max_size=3).map(lambda found: "[" + ",".join(found) + "]")


def inline_tables(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    flat = inner.filter(lambda text: "\n" not in text)
    pairs = st.lists(st.tuples(names, flat), max_size=3, unique_by=lambda pair: pair[0])
    return pairs.map(lambda found: "{ " + ", ".join(f"{name} = {value}" for name, value in found) + " }")


values = st.recursive(scalars, lambda inner: arrays(inner) | inline_tables(inner), max_leaves=6)
dotted = st.lists(names, min_size=1, max_size=3).map(" . ".join)
statements = st.one_of(
    st.tuples(dotted, values).map(lambda pair: f"{pair[0]} = {pair[1]}"),
    dotted.map(lambda name: f"[{name}]"),
    dotted.map(lambda name: f"[[ {name} ]]"),
    st.just("# a comment = 1"),
    st.just(""),
)


@given(st.lists(statements, max_size=12))
def test_every_key_of_a_valid_document_is_found(parts: list[str]) -> None:
    """Statements that contradict those before are left out, so that most documents are valid."""
    text, starts = "", {}
    for part in parts:
        try:
            data = tomllib.loads(text + part + "\n")
        except tomllib.TOMLDecodeError:
            continue
        begin = text.count("\n") + 1
        text += part + "\n"
        for path in set(paths_of(data)) - set(starts):
            starts[path] = range(begin, text.count("\n") + 1)
    lines = lines_of(text)
    assert set(lines) == set(starts)
    assert [path for path, span in starts.items() if lines[path] not in span] == []
