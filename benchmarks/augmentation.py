"""What varied copies of the training cases do on a real table: how they look to a model, and whether they help.

    python benchmarks/augmentation.py symptom2disease.csv --text text --label label
    python benchmarks/augmentation.py symptom2disease.csv --text text --label label --base builtin:minilm

For each method alone and for all of them together: how many copies were made, and how many discarded because a fact
or a label changed; the share of varied test texts to which the model without copies gives its origin's label; and the
paired difference of a model trained with them and one without, over several splits. The cases compared are the
calibration and test cases of each split: neither model learned from them, and nothing is chosen by them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bedside.core.progress import SILENT
from bedside.data import Cohort, prepare
from bedside.data.augmentation import augment
from bedside.models import load_diagnoser
from bedside.protocol import (
    AugmentSection,
    CleanSection,
    DataSection,
    EvaluateSection,
    ModelSection,
    SplitSection,
    TrainSection,
)
from bedside.study.augmentation import compare, label_preserved
from bedside.training import train

ON = ("calibration", "test")
MEASURED = EvaluateSection(resamples=1000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--text", required=True)
    parser.add_argument("--label", required=True)
    parser.add_argument("--base", default="builtin:tfidf")
    parser.add_argument("--methods", nargs="*", default=["synonyms", "abbreviations", "typos", "ocr", "case", "order"])
    parser.add_argument("--copies", type=int, default=1)
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--near", type=float, default=0.7, help="near-duplicates from this overlap on stay together")
    parser.add_argument("--train", type=float, default=0.6, help="share of cases to learn from")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--wordnet")
    parser.add_argument("--seeds", type=int, default=3, help="splits")
    parser.add_argument("--json", type=Path, help="where to write every figure")
    options = parser.parse_args()
    runs = [[one] for one in options.methods] + ([options.methods] if len(options.methods) > 1 else [])
    found: dict[str, list[dict[str, Any]]] = {", ".join(one): [] for one in runs}
    with tempfile.TemporaryDirectory() as place:
        for seed in range(options.seeds):
            split_of(options, seed, runs, found, Path(place))
    show(options, found)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


def split_of(options: Any, seed: int, runs: list[list[str]], found: dict[str, Any], place: Path) -> None:
    """One split: the model without copies once, and one for each run."""
    data = DataSection(source=str(options.table), text=options.text, label=options.label, rare="drop")
    rest = (1 - options.train - 0.1) / 2
    split = SplitSection(train=options.train, validation=0.1, calibration=rest, test=rest, near_duplicate=options.near)
    cohort = prepare(data, CleanSection(), split, base=Path(), seed=seed, key=b"k" * 32)
    plain = fitted(cohort, options, seed, place / "plain")
    for methods in runs:
        section = AugmentSection(
            methods=methods,
            copies=options.copies,
            share=options.share,
            wordnet=options.wordnet,
        )
        more = augment(cohort, section, seed=seed)
        with_copies = fitted(more.cohort, options, seed, place / "with")
        found[", ".join(methods)].append(
            {
                "seed": seed,
                "account": more.account,
                "preserved": label_preserved(cohort, section, plain, seed=seed, on="test")["all"],
                "comparison": compare(cohort, with_copies, plain, MEASURED, seed=seed, on=ON),
            }
        )
        print(f"seed {seed}, {', '.join(methods)}: {found[', '.join(methods)][-1]['comparison']['with']}", flush=True)


def fitted(cohort: Cohort, options: Any, seed: int, folder: Path) -> Any:
    model, section = ModelSection(base=options.base), TrainSection(epochs=options.epochs)
    train(cohort, model, section, folder, seed=seed, progress=SILENT)
    return load_diagnoser(folder / "model")


def show(options: Any, found: dict[str, list[dict[str, Any]]]) -> None:
    print(
        f"\n{options.table.name}, {options.base}, {options.copies} copies, share {options.share:g}, "
        f"{options.train:.0%} of the cases to learn from"
    )
    print(
        "| method | copies made of | discarded | label preserved | macro-F1 without | with | difference, each split |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, runs in found.items():
        counts = [one for run in runs for one in run["account"]["methods"].values()]
        cases = sum(run["account"]["cases"] for run in runs)
        made = sum(run["account"]["copies"] for run in runs)
        lost = sum(sum(one["discarded"].values()) for one in counts)
        varied = sum(run["preserved"]["n"] for run in runs)
        kept = sum(run["preserved"]["value"] * run["preserved"]["n"] for run in runs) / varied
        without, having = (np.mean([run["comparison"][one]["macro_f1"] for run in runs]) for one in ("without", "with"))
        each = "; ".join(shown(run["comparison"]["difference"]) for run in runs)
        counted = f"{made:,} of {cases:,} | {lost:,} | {kept:.1%} of {varied:,}"
        print(f"| {name} | {counted} | {without:.3f} | {having:.3f} | {each} |")


def shown(difference: dict[str, Any]) -> str:
    one = difference["macro_f1"]
    interval = "no interval" if one["low"] is None else f"{one['low']:+.3f} to {one['high']:+.3f}"
    return f"{one['value']:+.3f} ({interval})"


if __name__ == "__main__":
    main()
