"""models/loss_predictor.md: what the model is, what it learned from, and how it does beside the baselines."""

from __future__ import annotations

from typing import Any

NAMES = {
    "last": "last value", "ewma": "EWMA", "ge": "Gilbert-Elliott", "gbdt": "boosted tree", "lstm": "**LSTM**",
}  # fmt: skip
FAMILIES = {
    "ge": "bursts of a radio: Gilbert-Elliott, mean bad period 15..350 ms, generated",
    "iid": "independent loss, generated",
    "queue": "TCP into a drop-tail queue at constant rate, generated",
    "mixed": "radio and queue at once, generated",
    "clock": "loss that keeps to a slot of the 15 s of a satellite link, generated",
    "cellular": "delivery opportunities of measured networks behind a drop-tail queue",
    "pkt": "measured probes",
    "ival": "measured loss per interval, as the probability of independent loss in it",
}


def _show(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _table(rows: dict[str, Any], what: str) -> str:
    names = [name for name in NAMES if any(name in row["predictors"] for row in rows.values())]
    base = "base_100ms" if what == "auc_pr_100ms" else "base"
    lines = [
        "| | base | " + " | ".join(NAMES[name] for name in names) + " |",
        "|---" * (len(names) + 2) + "|",
    ]
    for family, row in rows.items():
        cells = [_show(row["predictors"].get(name, {}).get(what)) for name in names]
        lines.append(f"| {family} | {_show(row[base])} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def judged(sheet: dict[str, Any]) -> str:
    """The part of the page with the figures."""
    families = sheet["families"]
    worse = [
        name
        for name, row in families.items()
        if (row["predictors"]["lstm"]["auc_pr"] or 0) < (row["predictors"]["ewma"]["auc_pr"] or 0)
    ]
    told = "\n".join(f"- `{name}`: {FAMILIES.get(name, name)}." for name in families)
    gate = ", ".join(
        f"{name} {_show(row['congestive_right'])} ({_show(row['congestive_share'])})"
        for name, row in families.items()
        if row["congestive_right"] is not None
    )
    return f"""## Held-out judgement

Families are judged by other parameters, and by other networks, than were learned from:

{told}

**AUC-PR** for any loss 50..100 ms ahead (base: how often there is one):

{_table(families, "auc_pr")}

{"Worse than EWMA in: " + ", ".join(worse) + "." if worse else "In no family worse than EWMA."}

AUC-PR of the same predictions for any loss within the next 100 ms:

{_table(families, "auc_pr_100ms")}

Log loss, all through the same calibration:

{_table(families, "log_loss")}

Area under residual over raw loss against overhead 0..60 %, ideal repair (1: repairs nothing):

{_table(families, "area")}

By file that was not learned from, or the part of it, AUC-PR:

{_table(sheet["held_out_files"], "auc_pr") if sheet["held_out_files"] else "None."}

Lossy moments of which it says rightly whether most was lost to a queue (in brackets: share that was):
{gate}.

Fallback when the model can not answer: `{sheet["fallback"]}`, the better of the two simple ones here.

"""


def card(sheet: dict[str, Any], size: int) -> str:
    """The page, from the sheet alone."""
    learned = ", ".join(
        f"`{n}`" if s == 1 else f"`{n}` (first {s:.0%})" for n, s in sheet["learned_from"].items()
    )
    plan = sheet["plan"]
    seeds = f"{len(plan['seeds'])} seeds of {plan['steps']} steps of 512 samples"
    runs = f"Generators ran {plan['times']} times; {seeds}"
    return f"""# loss_predictor.onnx

Says for each path, every 10 ms: how likely anything is lost of what is sent 50..100 ms from now, and whether
such a loss would be congestion. `./dev train loss` makes the model, its sheet (`.json`) and this page;
`./dev evaluate loss --traces DIR` judges it on any folder of traces. More: `docs/loss-predictor.md`.

SHA-256: `{sheet["digest"]}`, {size} bytes

## The net

LSTM of {sheet["hidden"]} units over {sheet["steps"]} steps of 10 ms of 8 features; a context vector of
{len(sheet["context"])} sets the state it begins with and joins its last state in a layer of 32; two outputs.
float32. The first layer is a logarithm (`oxidized/ml/training/loss_onnx.py`); features and context are those
of `oxidized/ml/loss_features.py`, for the daemon and for training alike.

Features: {", ".join(f"`{name}`" for name in sheet["features"])}.

Context: {", ".join(f"`{name}`" for name in sheet["context"])}.

## What it learned from

Generated links, and measured traces that stay where they are: nothing of them is in the project. The
sender knows everything one round trip late, in training and in judging.
{runs}; the best on links that it does not learn from ships.

Traces: {learned or "none"}.

{judged(sheet)}## Limits

- No trace of a radio link at 10 ms is freely to be had: bursts are generated, and loss of cellular links
  is replayed through a queue, which makes it congestion by construction.
- Repair that is added is not sent into the queue in these figures.
- It predicts the regime and congestion; it does not time bursts that are shorter than a round trip.
- The same command gives the same bytes on the same machine; another CPU may add up in another order.
"""
