"""`python -m oxidized.ml.training MODEL`: trains a model (`./dev train`); `evaluate MODEL` judges the one
that ships (`./dev evaluate`). Each model has its own options.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import sys
from pathlib import Path

import numpy as np

from oxidized.ffi.oracle import ORACLE_TRAIN_BYTES_MIN
from oxidized.ml import oracle as shipped
from oxidized.ml.training import costs, field, oracle
from oxidized.ml.training.kinds_learned import LEARNED
from oxidized.ml.training.packets import varied

ROOT = Path(__file__).resolve().parents[3]


def main() -> int:
    match sys.argv[1:]:
        case ["evaluate", "loss", *arguments]:
            from oxidized.ml.training import loss_evaluate

            return loss_evaluate.main(arguments, ROOT)
        case ["evaluate", *arguments]:
            print(f"./dev evaluate: {' '.join(arguments)[:60] or 'no model'}: only `loss`", file=sys.stderr)
            return 2
        case ["loss", *arguments]:
            from oxidized.ml.training import loss

            return loss.main(arguments, ROOT)
    return train_oracle()


def train_oracle() -> int:
    parser = argparse.ArgumentParser(prog="./dev train", description=__doc__)
    parser.add_argument("model", choices=("oracle", "loss"))
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--evaluate", action="store_true", help="judge the model that is there; writes nothing")
    how.add_argument("--costs", action="store_true", help="measure liblz4 and print the lines of costs.py")
    how.add_argument("--heuristic", action="store_true", help="print the best thresholds of the heuristic")
    parser.add_argument("--out", type=Path, default=ROOT / "models", metavar="FOLDER")
    parser.add_argument("--dictionaries", type=Path, default=ROOT / "native/dictionaries", metavar="FOLDER")
    parser.add_argument("--pcaps", type=Path, default=ROOT / "../shared/pcaps", metavar="FOLDER")
    arguments = parser.parse_args()
    known = costs.dictionaries(arguments.dictionaries)
    if arguments.costs:
        for name, line in costs.measure(known).items():
            print(f"{name:20} {line}")
        return 0
    if arguments.heuristic:
        return heuristic(known)
    if not arguments.evaluate:
        sheet = oracle.write(arguments.out, known)
        show(sheet["figures"])
        print(f"net gain against the heuristic: {sheet['gain']}; wins: {sheet['wins']}")
        return 0
    return evaluate(arguments.out, arguments.pcaps, known)


def show(figures: dict[str, dict[str, float]]) -> None:
    for name, row in figures.items():
        print(f"{name:20} " + "  ".join(f"{what} {value:10.3f}" for what, value in row.items()))


def evaluate(folder: Path, pcaps: Path, known: costs.Dictionaries) -> int:
    """Repeats the judgement; exit status 1 when it is not the one of the sheet, or the model loses."""
    model = (folder / f"{shipped.NAME}.onnx").read_bytes()
    sheet = json.loads((folder / f"{shipped.NAME}.json").read_text("utf-8"))
    weights = shipped.check(model, json.dumps(sheet).encode(), shipped.run_reference)
    figures = oracle.judge(oracle.judged(known), weights)
    print(
        f"held-out kinds, {sheet['judged_packets']} packets; model {hashlib.sha256(model).hexdigest()[:16]}"
    )
    show(figures)
    if is_other := oracle.dictionary_digest(known) != sheet["dictionaries"]:
        print("the dictionaries are not those that the model was trained with")
    for name, packets in field.field(ROOT, pcaps).items():
        data = oracle.sample(packets, known)
        if len(data.packets):
            found = oracle.judge(data, weights)
            means = [f"{way} {found[way]['value_ns']:.0f}" for way in ("model", "heuristic", "best")]
            print(f"{name:24} {len(data.packets):5} packets, worth in ns: {', '.join(means)}")
    is_same = is_other or figures == sheet["figures"]
    if not is_same:
        print("not the figures of the sheet")
    return 0 if is_same and figures["model"]["value_ns"] > figures["heuristic"]["value_ns"] else 1


def heuristic(known: costs.Dictionaries) -> int:
    """A grid over the two thresholds of native/core/oracle.c, on the packets that the net learns from."""
    data = oracle.sample(varied(LEARNED, oracle.PACKETS_LEARNED, oracle.LEARN_SEED), known)
    sizes = np.array([len(packet.data) for packet in data.packets])
    bare = np.where(sizes >= ORACLE_TRAIN_BYTES_MIN, 0, 3)
    found = []
    for entropy, large in itertools.product(
        (0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9), (0, 300, 600, 1000, 9999)
    ):
        is_skipped = (data.features[:, 6] > 0) | (data.features[:, 1] > entropy)
        chosen = np.where(is_skipped, bare, np.where(sizes >= large, 1, 2))
        found.append((oracle.verdicts_of(data, chosen).value_ns, entropy, large))
    for value_ns, entropy, large in sorted(found, reverse=True)[:5]:
        print(
            f"entropy above {entropy}: left alone; light from {large} bytes on: {value_ns:.1f} ns per packet"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
