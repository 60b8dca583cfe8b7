"""Namespaces for the tests of this folder, removed whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.netns.harness import Namespace


@pytest.fixture
def namespace() -> Iterator[Callable[[str], Namespace]]:
    """namespace("edge") makes one."""
    made: list[Namespace] = []

    def make(role: str) -> Namespace:
        made.append(Namespace(role))
        return made[-1]

    yield make
    for each in made:
        each.remove()
