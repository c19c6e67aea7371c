"""What does the choice of a calibration gain, what does it cost, and does the contract still hold under it?

    python benchmarks/calibration.py --data ../shared/data

The cases, the model (TF-IDF + logistic regression, balanced weights) and the divisions of ``benchmarks/abstention.py``:
one half fits the calibration and certifies the contract, the other is counted on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from abstention import BOUND, CLINIC, CONFIDENCE, PLANS, SEED, SETS, Fixed, divide, fixed
from sklearn.metrics import f1_score

from bedside.evaluation import Abstention
from bedside.evaluation.calibration import losses_of
from bedside.evaluation.calibration_choice import choose
from bedside.metrics import calibration_error

WAYS = ("temperature", "vector", "auto")


def once(found: Fixed, seed: int, way: str) -> dict[str, float | str]:
    """One calibration and one contract on one half, counted on the other."""
    fit, test = divide(found, seed)
    groups, y = found.groups[fit].tolist(), found.targets[test]
    chosen = choose(found.raw[fit], found.targets[fit], groups, way, seed)
    q = chosen.calibration.apply(found.raw[test])
    rule = Abstention.certify(
        chosen.held, found.targets[fit], groups, max_error=BOUND, confidence=CONFIDENCE, fewest_words=1, seed=seed
    )
    wrong, top = q.argmax(axis=1) != y, q.max(axis=1)
    spoken = np.zeros(len(y), dtype=bool) if rule.threshold is None else top >= rule.threshold
    return {
        "method": chosen.calibration.method,
        "loss": float(losses_of(q, y).mean()),
        "ece": calibration_error(top, ~wrong, np.unique(found.groups[test], return_inverse=True)[1], draws=20).debiased,
        "wrong": float(wrong.mean()),
        "macro_f1": float(f1_score(y, q.argmax(axis=1), average="macro")),
        "certified": float(rule.threshold is not None),
        "answered": float(spoken.mean()),
        "kept": float(not (spoken.any() and wrong[spoken].mean() > BOUND)),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--sets", nargs="+", default=[*PLANS, CLINIC], choices=list(SETS))
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--notes", type=int, default=8000, help="of the sample clinic")
    options = parser.parse_args()
    print(f"Seed {SEED}, {options.splits} divisions, means\n")
    print("| data | calibration | taken | log-loss | ECE | wrong | macro-F1 | certified | answered | contract kept |")
    print("|---|---|---|---|---|---|---|---|---|---|", flush=True)
    for name in options.sets:
        held = fixed(SETS[name](name, options.data, options.notes))
        for way in WAYS:
            rows = [once(held, seed, way) for seed in range(options.splits)]
            taken = [str(row["method"]) for row in rows]
            counts = ", ".join(f"{one} {taken.count(one)}" for one in dict.fromkeys(sorted(taken)))
            mean = {key: np.mean([float(row[key]) for row in rows]) for key in rows[0] if key != "method"}
            print(
                f"| {name} | {way} | {counts} | {mean['loss']:.3f} | {mean['ece']:.3f} | {mean['wrong']:.3f} | "
                f"{mean['macro_f1']:.3f} | {options.splits * mean['certified']:.0f} | {mean['answered']:.3f} | "
                f"{options.splits * mean['kept']:.0f}/{options.splits} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
