"""burst-loss-voip: how much of a call is lost or late on a link that loses in bursts, and what repair costs.

The call is sent one way, from the edge to the hub: RTP with 160 bytes of voice every 20 ms. That direction
loses by Gilbert and Elliott's model in time (a bad state of 40 ms on average in which 80 % are lost, 5 % in
all); the other direction, in which a tunnel hears what arrived, loses 1 % independently. Everything is on one
machine, so the delay of a packet is by one clock.

A packet counts when it was offered after the warm-up: the call goes on for some seconds, pauses until nothing
is on its way, and then begins what is measured. Offered and wire packets are of the same span, and the burst
loss begins anew with it, so that all systems of a round meet the same bursts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from lab.calls import CALLS_MAX, CODECS, DSCP_NAMES, Calls, Plan
from lab.errors import UsageError
from lab.scenarios.base import Outcome, Parameter, Run, Scenario
from lab.topology import Direction, dropped_packets

RTTS_MS = (20.0, 40.0, 80.0, 160.0)
CODEC = CODECS["g711"]
PACKET_BYTES = CODEC.payload_bytes + 12 + 8 + 20  # RTP, UDP, IPv4
FEEDBACK_LOSS = "1%"
GE_DEFAULT = "ge:0.05,40,0.8"
LOSS_FORM = "[ge:MEAN,BAD-MS,LOSS-IN-BAD | iid:RATIO | none][/both]"
# What adds up over rounds; every ratio of a cell is made of these.
COUNTS = (
    "offered_packets", "offered_bytes", "received_packets", "lost_packets", "over_budget_packets",
    "wire_packets", "wire_bytes", "dropped_packets", "feedback_packets", "feedback_bytes",
    "wrong_packets", "duplicate_packets", "overtaken_packets",
)  # fmt: skip


def wanted_cells(text: str) -> list[float]:
    """Round trips in ms of `--set cell=`: all, or a comma-separated list of numbers from 0 and 100ms."""
    if text == "all":
        return list(RTTS_MS)
    found = []
    for word in text.split(","):
        if word.isdigit() and int(word) < len(RTTS_MS):
            found.append(RTTS_MS[int(word)])
        elif re.fullmatch(r"\d+(\.\d+)?ms", word):
            found.append(float(word.removesuffix("ms")))
        else:
            raise UsageError(
                f"--set cell={word}: a round trip as in 100ms, or 0 to {len(RTTS_MS) - 1} is expected"
            )
    return list(dict.fromkeys(found))


def model_words(model: str) -> dict[str, str]:
    """The emulator's words for `ge:MEAN,BAD-MS,LOSS-IN-BAD`, `iid:RATIO` or `none`; ValueError for others.

    The bad state lasts BAD-MS on average and the good one so long that MEAN of all packets are lost:
    BAD-MS * (LOSS-IN-BAD / MEAN - 1).
    """
    kind, _, rest = model.partition(":")
    if model == "none":
        return {}
    numbers = [float(word) for word in rest.split(",")]
    if kind == "iid" and len(numbers) == 1 and 0 < numbers[0] < 1:
        return {"loss": f"{numbers[0]:g}"}
    if kind != "ge" or len(numbers) != 3:
        raise ValueError(model)
    mean, bad_ms, loss_in_bad = numbers
    if not (0 < mean < loss_in_bad <= 1 and 0 < bad_ms <= 60_000):
        raise ValueError(model)
    good_ms = bad_ms * (loss_in_bad / mean - 1)
    return {"ge-time": f"{bad_ms:g}ms/{good_ms:g}ms/{loss_in_bad:g}"}


def loss_words(text: str) -> tuple[dict[str, str], dict[str, str]]:
    """Loss of the data's direction and of the other one, for `--set loss=`; UsageError."""
    model, slash, both = text.partition("/")
    if model == "both" and not slash:
        model, both = "ge", "both"
    try:
        data = model_words(GE_DEFAULT if model == "ge" else model)
        if both not in ("", "both") or (slash and not both):
            raise ValueError(text)
    except ValueError:
        raise UsageError(f"--set loss={text}: {LOSS_FORM} is expected, or ge, or both") from None
    return data, dict(data) if both else {"loss": FEEDBACK_LOSS}


def dscp_of(text: str) -> int:
    """A number from 0 to 63 or a name of DSCP_NAMES; UsageError."""
    value = DSCP_NAMES.get(text, int(text) if text.isdigit() else 64)
    if value > 63:
        raise UsageError(f"--set dscp={text}: 0 to 63 or {', '.join(DSCP_NAMES)} is expected")
    return value


def with_ratios(cell: Mapping[str, Any]) -> dict[str, Any]:
    """The cell with the ratios that its counts make."""
    offered = cell["offered_packets"]
    return {
        **cell,
        "residual_loss_ratio": (cell["lost_packets"] + cell["over_budget_packets"]) / offered,
        "lost_ratio": cell["lost_packets"] / offered,
        "extra_packets_ratio": cell["wire_packets"] / offered - 1,
        "extra_bytes_ratio": cell["wire_bytes"] / cell["offered_bytes"] - 1,
        "raw_loss_ratio": cell["dropped_packets"] / max(cell["wire_packets"], 1),
        "feedback_packets_ratio": cell["feedback_packets"] / offered,
    }


def cell_results(rtt_ms: float, calls: int, found: Mapping[str, Any], before: Mapping[str, Any],
                 after: Mapping[str, Any]) -> dict[str, Any]:  # fmt: skip
    """One cell from what rtp-trunk printed and the link's counters before and after."""
    calls_found = found["ab"]
    sent, received = calls_found["sent_packets"], calls_found["received_packets"]

    def more(way: str, key: str) -> int:
        count: int = after[way][key] - before[way][key]
        return count

    return with_ratios({
        "cell": f"{rtt_ms:g}ms", "rtt_seconds": rtt_ms / 1e3, "calls": calls,
        **{key: found[key] for key in ("delay_p50_seconds", "delay_p95_seconds", "delay_p99_seconds",
                                       "delay_max_seconds", "send_late_p99_seconds")},
        "offered_packets": sent, "offered_bytes": sent * PACKET_BYTES, "received_packets": received,
        "lost_packets": sent - received, "over_budget_packets": calls_found["over_budget_packets"],
        "wire_packets": more("ab", "in_packets"), "wire_bytes": more("ab", "in_bytes"),
        "dropped_packets": dropped_packets(after["ab"]) - dropped_packets(before["ab"]),
        "feedback_packets": more("ba", "in_packets"), "feedback_bytes": more("ba", "in_bytes"),
        "wrong_packets": calls_found["wrong_packets"],
        "duplicate_packets": calls_found["duplicate_packets"],
        "overtaken_packets": calls_found["late_packets"],
    })  # fmt: skip


class BurstLossVoip(Scenario):
    name = "burst-loss-voip"
    summary = "a call one way, burst loss of 5 %, round trips of 20 to 160 ms: lost or late, and the cost"
    seconds = 60.0
    rounds = 3
    link = {"rate": "100M", "delay": f"{RTTS_MS[0] / 2:g}ms", "queue": "100ms"}
    parameters = {
        "cell": Parameter("all", "some round trips: number from 0, or as in 100ms; or A,B,C"),
        "loss": Parameter("ge", f"{LOSS_FORM}; ge is {GE_DEFAULT}; the way back loses {FEEDBACK_LOSS}"),
        "calls": Parameter("1", "at once, each with a phase of its own; small packets may share datagrams"),
        "dscp": Parameter("0", "of the RTP packets: a number or ef"),
        "budget": Parameter("150", "ms one way after which a packet is too late"),
        "warm-up": Parameter("22", "seconds of the call before what counts: each cell is a new path"),
        "settle": Parameter("5", "seconds for the tunnel to find the path's MTU before the first cell"),
    }
    shown = frozenset(
        {"residual_loss_ratio", "extra_packets_ratio", "extra_bytes_ratio", "delay_p99_seconds",
         "raw_loss_ratio", "feedback_packets_ratio"}
    )  # fmt: skip

    def settings(self, chosen: Mapping[str, str]) -> dict[str, str]:
        found = super().settings(chosen)
        wanted_cells(found["cell"])
        loss_words(found["loss"])
        dscp_of(found["dscp"])
        if any(key.rpartition(".")[2] == "delay" for key in chosen):
            raise UsageError("--set delay: it follows from the cell, as in --set cell=100ms")
        if not (found["calls"].isdigit() and 1 <= int(found["calls"]) <= CALLS_MAX):
            raise UsageError(f"--set calls={found['calls']}: 1 to {CALLS_MAX} is expected")
        return found

    def directions(self, chosen: Mapping[str, str]) -> tuple[Direction, Direction]:
        words = loss_words(chosen.get("loss", self.parameters["loss"].default))
        made = super().directions({key: value for key, value in chosen.items() if key != "loss"})
        ab, ba = (Direction({**loss, **way.words}) for loss, way in zip(words, made, strict=True))
        return ab, ba

    def merge(self, rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Counts of all rounds together and the ratios of the sums: one round has few losses to divide by."""
        merged = super().merge(rounds)
        for place, cell in enumerate(merged.get("cells", ())):
            counts = {key: sum(one["cells"][place][key] for one in rounds) for key in COUNTS}
            merged["cells"][place] = with_ratios({**cell, **counts})
        return merged

    def measure(self, run: Run) -> Outcome:
        outcome = Outcome()
        assert run.link is not None, "this scenario has an emulated link"
        run.settle(run.number("settle"))
        cells = outcome.results["cells"] = []
        for rtt_ms in wanted_cells(run.settings["cell"]):
            run.say(f"round trip {rtt_ms:g} ms, loss {run.settings['loss']}, {run.seconds:g} s")
            found = self._cell(run, rtt_ms)
            cells.append(found)
            wrong = found["wrong_packets"]
            if "duplicate" not in run.settings:
                wrong += found["duplicate_packets"]
            outcome.check(f"{found['cell']}-content", wrong == 0, f"{wrong} packets wrong or doubled")
        run.tunnel.expect_alive()
        outcome.check_link(run.link)
        return outcome

    def _cell(self, run: Run, rtt_ms: float) -> dict[str, Any]:
        assert run.link is not None, "this scenario has an emulated link"
        calls = int(run.number("calls"))
        plan = Plan(
            CODEC, calls, run.seconds, dscp=dscp_of(run.settings["dscp"]), pattern="spread", ways="ab",
            budget_seconds=run.number("budget") / 1e3, warm_up_seconds=run.number("warm-up"),
        )  # fmt: skip
        run.link.command(f"both delay={rtt_ms / 2:g}ms")
        run.link.command("origin")
        trunk = Calls(run.lab, run.tunnel, plan, run.seed, f"rtp-trunk-{rtt_ms:g}ms")
        if plan.warm_up_seconds > 0:
            trunk.wait_warm()
        before = run.link.counters()
        run.link.command("origin")
        trunk.go()
        found = trunk.finish()
        return cell_results(rtt_ms, calls, found, before, run.link.counters())
