"""The loop that steers repair: when it turns, when a predictor is loaded, what its failures spoil."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from oxidized.core.plane import PathRow, Regime, RepairMode
from oxidized.core.settings import RepairSettings
from oxidized.core.steering import PlainDescription, PlainPredictor
from oxidized.io.steering import SteeringLoop, predictor_load

PATIENCE_S = 20.0


class LossyPlane:
    """Each time it is asked a hundred packets more were sent, and five (or `lost`) of them lost."""

    def __init__(self) -> None:
        self.row = PathRow(3, 0, 0, 0, 0, 0, 0, 0, 0, 20_000_000, 0, 0, 0, 0)
        self.reads = 0
        self.wishes: list[dict[str, Any]] = []
        self.is_broken = False
        self.lost = 5

    def path_rows(self, since_ns: int) -> list[PathRow]:
        self.reads += 1
        if self.is_broken:
            raise ZeroDivisionError
        row = self.row
        self.row = replace(
            row,
            repairable_packets=row.repairable_packets + 100,
            repairable_acked_packets=row.repairable_acked_packets + 100 - self.lost,
            repairable_lost_packets=row.repairable_lost_packets + self.lost,
        )
        return [self.row]

    def repair_wish(
        self, now_ns: int, peer: int, path: int, *, regime: Regime, redundancy: float, copies: int
    ) -> None:
        self.wishes.append({"peer": peer, "path": path, "regime": regime, "copies": copies})


class Named(PlainPredictor):
    def describe(self) -> PlainDescription:
        return replace(super().describe(), mode="lstm", active="ewma", trouble="refused: x")


def driven(
    work: Callable[[SteeringLoop, LossyPlane], Awaitable[None]],
    load: Any = lambda mode: Named(),
    **settings: Any,
) -> None:
    async def life() -> None:
        plane = LossyPlane()
        loop = SteeringLoop(plane, RepairSettings(**settings), load)
        loop.start()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await work(loop, plane)
        finally:
            loop.stop()

    asyncio.run(life())


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await asyncio.sleep(0.005)


def test_loss_is_seen_and_the_predictor_is_loaded_then() -> None:
    modes: list[str] = []

    def load(mode: str) -> Named:
        modes.append(mode)
        return Named()

    async def work(loop: SteeringLoop, plane: LossyPlane) -> None:
        assert modes == []
        assert loop.describe()["active"] == "ge", "the filter does until then"
        await until(lambda: bool(plane.wishes))
        assert plane.wishes[0] | {"copies": 0} == {"peer": 3, "path": 0, "regime": Regime.BURSTY, "copies": 0}
        await until(lambda: loop.describe()["active"] == "ewma")
        assert loop.describe()["mode"] == "lstm" and loop.describe()["reason"] == "refused: x"
        assert modes == ["lstm"]
        steered = loop.path(3, 0)
        assert steered is not None and steered.wish is not None
        assert loop.path(4, 0) is None

    driven(work, load, predictor="lstm")


def test_what_loses_nothing_is_read_once_a_second_and_nothing_is_loaded() -> None:
    modes: list[str] = []

    async def work(loop: SteeringLoop, plane: LossyPlane) -> None:
        plane.lost = 0
        dues = []
        for reads in (1, 2, 3):
            await until(lambda reads=reads: plane.reads >= reads)
            dues.append(loop._due_s)
        assert dues[1] - dues[0] > 0.99 and dues[2] - dues[1] > 0.99
        assert modes == [] and plane.wishes == []

    driven(work, modes.append)


def test_switched_off_it_reads_nothing() -> None:
    async def work(loop: SteeringLoop, plane: LossyPlane) -> None:
        await asyncio.sleep(0.05)
        assert plane.reads == 0 and loop.describe()["active"] == "off"
        loop.settings_set(RepairSettings())
        assert loop.describe()["active"] == "ge"
        await until(lambda: plane.reads > 2)
        loop.settings_set(RepairSettings(mode=RepairMode.OFF))
        reads = plane.reads
        await asyncio.sleep(0.05)
        assert plane.reads == reads

    driven(work, predictor="off")


def test_a_failure_ends_the_steering_and_nothing_else() -> None:
    async def work(loop: SteeringLoop, plane: LossyPlane) -> None:
        plane.is_broken = True
        await until(lambda: loop.faults == 1)
        await asyncio.sleep(0.05)
        assert plane.reads == 1 and loop.describe()["active"] == "off"
        assert loop.describe()["reason"].startswith("given up")

    driven(work)


def test_a_predictor_that_can_not_be_loaded_leaves_the_filter() -> None:
    def load(mode: str) -> Named:
        raise ZeroDivisionError

    async def work(loop: SteeringLoop, plane: LossyPlane) -> None:
        await until(lambda: len(plane.wishes) > 1)
        assert loop.describe()["active"] == "ge" and loop.faults == 0

    driven(work, load, predictor="lstm")


def test_a_reload_changes_the_predictor() -> None:
    async def work(loop: SteeringLoop, plane: LossyPlane) -> None:
        await until(lambda: loop.describe()["active"] == "ewma")
        loop.settings_set(RepairSettings(overhead=0.5, predictor="lstm"))
        assert loop.describe()["active"] == "ewma", "the same one goes on"
        for mode in ("ge", "auto"):
            loop.settings_set(RepairSettings(predictor=mode))
            assert loop.describe()["active"] == "ge"

    driven(work, predictor="lstm")


@pytest.mark.parametrize(("mode", "active"), [("auto", "ge"), ("ge", "ge"), ("ewma", "ewma")])
def test_what_needs_nothing_is_there_at_once(mode: str, active: str) -> None:
    async def work(loop: SteeringLoop, plane: LossyPlane) -> None:
        await until(lambda: len(plane.wishes) > 1)
        said = loop.describe()
        assert (said["mode"], said["active"], said["reason"]) == (mode, active, "") and said["steps"] > 0
        assert loop.health() == []

    driven(work, pytest.fail, predictor=mode)


def test_the_model_by_name() -> None:
    said = predictor_load("lstm").describe()
    assert said.mode == "lstm" and said.active in ("lstm", "ge", "ewma")
