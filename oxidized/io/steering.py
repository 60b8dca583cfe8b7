"""The loop that steers repair: reads counters every 10 ms while packets get lost, once a second otherwise.

Nothing in the packet path waits for it. It runs in the event loop's thread; what must be loaded for a
prediction (numpy, onnxruntime) is loaded in another one, and only once there is loss to foretell.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from typing import Any, Protocol

from oxidized.core.plane import PathRow, Regime, RepairMode
from oxidized.core.settings import RepairSettings
from oxidized.core.steering import SILENT_NS, PlainPredictor, Predictor, Steered, Steering
from oxidized.io import clock

log = logging.getLogger("oxidized.steering")


class SteeredPlane(Protocol):
    """What steering needs of `ffi.dataplane.DataPlane`."""

    def path_rows(self, since_ns: int) -> list[PathRow]: ...
    def repair_wish(
        self, now_ns: int, peer: int, path: int, *, regime: Regime, redundancy: float, copies: int
    ) -> None: ...


# Those that need nothing to be loaded. "auto" is the filter: in the lab the model leaves no less loss on
# links with bursts or behind a mobile network's queue, and costs memory and time (docs/loss-predictor.md).
PLAIN = {"auto": "ge", "ge": "ge", "ewma": "ewma"}


def plain_predictor(mode: str) -> PlainPredictor:
    """Of `repair.predictor`, or what does until that is loaded."""
    return PlainPredictor(PLAIN.get(mode, "ge"))


def predictor_load(mode: str) -> Predictor:
    """The model. Blocks, for a second or so."""
    from oxidized.ml.loss_predictor import LossPredictor
    from oxidized.ml.oracle import model_directory

    return LossPredictor.load(model_directory(os.environ), mode)


class SteeringLoop:
    """All methods are called in the event loop's thread. `load` makes the predictor of a mode, in another."""

    def __init__(
        self,
        plane: SteeredPlane,
        settings: RepairSettings,
        load: Callable[[str], Predictor] = predictor_load,
    ) -> None:
        self._plane = plane
        self._settings = settings
        self._load = load
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._loading: asyncio.Task[None] | None = None
        self._steering = Steering(settings, plain_predictor(settings.predictor))
        self._due_s = 0.0
        self._elapsed_s = 0.0
        self.faults = 0

    def start(self) -> None:
        """Nothing to do while it is switched off."""
        if self._settings.mode is not RepairMode.OFF and self._settings.predictor != "off":
            self._again(0)

    def stop(self) -> None:
        for handle in (self._timer, self._loading):
            if handle is not None:
                handle.cancel()
        self._timer = self._loading = None

    def settings_set(self, settings: RepairSettings) -> None:
        """After a reload. Another predictor is loaded when it is needed; until then the filter does."""
        before, self._settings = self._settings, settings
        self.stop()
        if settings.predictor == before.predictor:
            self._steering.settings_set(settings)
        else:
            self._steering = Steering(settings, plain_predictor(settings.predictor))
        self.start()

    def path(self, peer: int, path: int) -> Steered | None:
        """What is thought of a path now; None: it is not steered."""
        return self._steering.path(peer, path)

    def describe(self) -> dict[str, Any]:
        """For the status document: what was asked for, what answers, and why that is another."""
        said = self._steering.predictor.describe()
        found = {
            "mode": self._settings.predictor,
            "active": said.active if self._timer else "off",
            "reason": said.trouble,
            "digest": said.digest,
            "steps": said.steps,
            "fallbacks": dict(said.fallbacks),
        }
        if self.faults:
            found["reason"] = "given up after an internal error: see the log"
        return found

    def health(self) -> list[str]:
        """What an operator should know."""
        said = self.describe()
        if self.faults:
            return ["repair is not steered after an internal error: see the log, and please report it"]
        if not said["reason"] or said["mode"] == said["active"]:
            return []
        return [f"loss predictor: {said['active']} in place of {said['mode']}: {said['reason']}"]

    # ---- turns ----

    def _again(self, pause_ns: int) -> None:
        """At equal distances; a turn that comes too late takes the place of those it missed."""
        self._due_s = max(self._due_s + pause_ns / 1e9, self._loop.time())
        self._timer = self._loop.call_at(self._due_s, self._turn)

    def _turn(self) -> None:
        """A bug of ours ends the steering, never the tunnel: the packet path goes on by its own rule."""
        self._timer = None
        try:
            self._look()
        except Exception:
            self.faults += 1
            log.exception("internal error while repair was steered: please report this")
        else:
            self._again(self._steering.pause_ns)

    def _look(self) -> None:
        now_ns = clock.monotonic_ns()
        rows = self._plane.path_rows(max(now_ns - SILENT_NS, 0))
        orders = self._steering.look(rows, now_ns, clock.wall_seconds(), self._elapsed_s)
        self._elapsed_s = (clock.monotonic_ns() - now_ns) / 1e9
        for order in orders:
            wish = order.wish
            self._plane.repair_wish(
                now_ns,
                order.peer,
                order.path,
                regime=wish.regime,
                redundancy=wish.redundancy,
                copies=wish.copies,
            )
        if orders and self._loading is None and self._settings.predictor not in PLAIN:
            self._loading = self._loop.create_task(self._predictor_load(), name="loss predictor")

    async def _predictor_load(self) -> None:
        mode = self._settings.predictor
        try:
            found = await self._loop.run_in_executor(None, self._load, mode)
        except Exception:
            log.exception("internal error while the loss predictor was loaded: the filter is used")
            return
        self._steering.predictor_set(found)
        said = found.describe()
        if said.trouble:
            log.info("loss predictor: %s is used: %s", said.active, said.trouble)
        else:
            log.info("loss predictor: %s %s", said.active, said.digest[:16])
