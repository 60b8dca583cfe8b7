"""The list of planted bugs fits the code: planted.py itself takes minutes and is run by hand."""

from __future__ import annotations

import pytest

from tests.native.planted import MUTANTS, ROOT, TESTS, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_the_change_is_one_change_of_the_code(mutant: Mutant) -> None:
    text = (ROOT / "native" / mutant.file).read_text(encoding="utf-8")
    assert text.count(mutant.old) == 1
    assert mutant.new != mutant.old


def test_names_and_places() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    assert all((ROOT / place).exists() for place in TESTS)
