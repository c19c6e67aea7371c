"""How good is the default on real tables: pooled out-of-fold macro-F1 over grouped folds, beside TF-IDF.

    python benchmarks/quality.py --into /tmp/quality --data symptom2disease medical_abstracts mtsamples

Each table is prepared once (near-duplicates at 0.7 stay together), divided into folds that no group crosses, and every
fold is predicted by a model that saw the others: with pre-trained weights, and with random ones, so that the worth of
pre-training is a figure. TF-IDF + logistic regression learns from the same cases. Predictions are kept a file a cell,
so a run that was stopped goes on; delete the folder to begin anew.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from bedside import protocol as protocols
from bedside.core.files import atomic_path, read_json, write_json
from bedside.core.seeds import derive
from bedside.data import Cohort, prepare
from bedside.data.split import assign_folds
from bedside.models import TfidfLogistic, load_diagnoser
from bedside.protocol import ModelSection, TrainSection
from bedside.training import train

TABLES = {
    "symptom2disease": '[data]\nsource = "{0}/symptom2disease/symptom2disease.csv"\ntext = "text"\nlabel = "label"\n',
    "medical_abstracts": '[data]\nsource = "{0}/medical_abstracts/medical_abstracts.csv"\ntext = "medical_abstract"\n'
    'label = "condition_name"\n',
    "mtsamples": '[data]\nsource = "{0}/mtsamples/mtsamples_unique_multilabel.csv.gz"\ntext = "transcription"\n'
    'label = "primary_specialty"\nrare = "drop"\n',
}
FOLDS = 5
SEED = 42
RESAMPLES = 2000


def cohort_of(table: str, data: Path, into: Path) -> Cohort:
    """The prepared cases, with a fold for each."""
    folder = into / table / "cohort"
    if (folder / "cases.parquet").is_file():
        return Cohort.load(folder)
    plan = protocols.parse(TABLES[table].format(data.resolve()))
    cohort = prepare(plan.data, plan.clean, plan.split, base=into, seed=SEED, key=b"quality", audit=plan.audit)
    frame = cohort.frame
    cohort = Cohort(
        frame.with_columns(pl.Series("fold", divided(cohort, frame, FOLDS, SEED))), cohort.labels, cohort.report
    )
    cohort.save(folder)
    return cohort


def divided(cohort: Cohort, frame: pl.DataFrame, folds: int, seed: int) -> np.ndarray:
    """[cases] folds that no group crosses, with each label spread evenly."""
    labels = {label: number for number, label in enumerate(cohort.labels)}
    keys = frame["group"].unique().sort().to_list()
    place = {key: number for number, key in enumerate(keys)}
    groups = np.asarray([place[group] for group in frame["group"]])
    return assign_folds(groups, [[labels[label]] for label in frame["label"]], keys=keys, folds=folds, seed=seed)


def without(cohort: Cohort, fold: int) -> Cohort:
    """The cohort with one fold as the test split, and an eighth of the other groups as the validation split."""
    frame = cohort.frame
    rest = frame.filter(pl.col("fold") != fold)
    parts = divided(cohort, rest, 8, derive(SEED, "validation", str(fold)))
    held = set(rest["case_id"].filter(pl.Series(parts == 0)).to_list())
    split = [
        "test" if own == fold else "validation" if case in held else "train"
        for case, own in zip(frame["case_id"], frame["fold"], strict=True)
    ]
    return Cohort(frame.with_columns(pl.Series("split", split)), cohort.labels, cohort.report)


def cell(into: Path, name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
    """[test cases, labels] predictions, made once."""
    file = into / f"{name}.npy"
    if not file.is_file():
        found = make()
        with atomic_path(file) as temporary, temporary.open("wb") as target:
            np.save(target, found)
    return np.load(file)


def learned(
    part: Cohort, folder: Path, seed: int, base: str, settings: dict[str, Any], *, pretrained: bool
) -> Callable[[], np.ndarray]:
    """Predictions of a fine-tuned model."""

    def make() -> np.ndarray:
        start = time.monotonic()
        train(
            part,
            ModelSection(base=base, pretrained=pretrained, **settings.get("model", {})),
            TrainSection(**settings.get("train", {})),
            folder,
            seed=seed,
        )
        found = load_diagnoser(folder / "model").predict_proba(part.texts("test"))
        print(f"    {folder.name}: {time.monotonic() - start:.0f} s", flush=True)
        return found

    return make


def classical(part: Cohort) -> Callable[[], np.ndarray]:
    """Predictions of TF-IDF + logistic regression."""

    def make() -> np.ndarray:
        validation = (part.texts("validation"), part.targets("validation"))
        groups = part.part("train")["group"].to_list()
        model = TfidfLogistic.fit(part.texts("train"), part.targets("train"), validation, part.labels, groups=groups)
        return model.predict_proba(part.texts("test"))

    return make


def figures(truth: np.ndarray, groups: list[object], found: dict[str, np.ndarray], labels: int) -> dict[str, Any]:
    """Macro-F1 of each row over all folds, with an interval by cluster, and the paired difference to TF-IDF."""
    from bedside.metrics import Resamples, counts, macro_f1

    drawn = Resamples.of(groups, RESAMPLES, derive(SEED, "bootstrap"))
    even = np.ones((1, len(truth)))
    table: dict[str, Any] = {}
    resampled = {}
    for name, predictions in found.items():
        called = predictions.argmax(axis=1)

        def figure(weights: np.ndarray, called: np.ndarray = called) -> np.ndarray:
            return macro_f1(counts(weights, truth, called, labels))[:, None]

        resampled[name] = drawn.apply(figure)[:, 0]
        low, high = np.quantile(resampled[name], [0.025, 0.975])
        table[name] = {"macro_f1": float(figure(even)[0, 0]), "low": float(low), "high": float(high)}
    for name in found:
        if name != "tfidf":
            low, high = np.quantile(resampled[name] - resampled["tfidf"], [0.025, 0.975])
            table[name]["difference"] = [table[name]["macro_f1"] - table["tfidf"]["macro_f1"], float(low), float(high)]
    return table


def measure(table: str, arguments: argparse.Namespace, settings: dict[str, Any]) -> dict[str, Any]:
    """All cells of one table, and its figures."""
    into = arguments.into
    cohort = cohort_of(table, arguments.shared, into)
    print(f"{table}: {cohort.frame.height:,} cases, {len(cohort.labels)} labels", flush=True)
    parts = [without(cohort, fold) for fold in range(FOLDS)]
    truth = np.concatenate([part.targets("test") for part in parts])
    groups = [group for part in parts for group in part.part("test")["group"].to_list()]
    folder = into / table / arguments.name
    folder.mkdir(parents=True, exist_ok=True)
    found = {
        "tfidf": np.concatenate(
            [cell(into / table, f"tfidf-{fold}", classical(part)) for fold, part in enumerate(parts)]
        )
    }
    for start in arguments.starts:
        for seed in range(1, arguments.seeds + 1):
            rows = []
            for fold, part in enumerate(parts):
                name = f"{start}-{seed}-{fold}"
                make = learned(
                    part, folder / f"run-{name}", seed, arguments.base, settings, pretrained=start == "pretrained"
                )
                rows.append(cell(folder, name, make))
            found[f"{start} seed {seed}"] = np.concatenate(rows)
            result = figures(truth, groups, found, len(cohort.labels))
            write_json(folder / "figures.json", {"n": len(truth), "labels": len(cohort.labels), **result})
            show(table, result, len(truth))
    return read_json(folder / "figures.json")


def show(table: str, result: dict[str, Any], cases: int) -> None:
    """A table for the terminal and for the record."""
    print(f"\n| {table} (n = {cases:,}) | macro-F1 | 95 % interval | difference to TF-IDF |\n|---|---|---|---|")
    for name, one in result.items():
        apart = one.get("difference")
        words = f"{apart[0]:+.3f} ({apart[1]:+.3f} to {apart[2]:+.3f})" if apart else ""
        print(f"| {name} | {one['macro_f1']:.3f} | {one['low']:.3f}-{one['high']:.3f} | {words} |")
    for start in ("pretrained", "random"):
        values = [one["macro_f1"] for name, one in result.items() if name.startswith(start)]
        if len(values) > 1:
            print(
                f"| {start}, mean of {len(values)} seeds | {np.mean(values):.3f} | SD {np.std(values, ddof=1):.3f} | |"
            )
    print(flush=True)


def main() -> None:
    """Run what was asked for."""
    import json

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, required=True, help="where cells are kept")
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"), help="the public data")
    parser.add_argument("--data", nargs="+", default=list(TABLES), choices=list(TABLES))
    parser.add_argument("--starts", nargs="+", default=["pretrained", "random"], choices=["pretrained", "random"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--base", default="builtin:minilm")
    parser.add_argument("--name", default="default", help="of the settings, for cells of their own")
    parser.add_argument("--settings", type=json.loads, default={}, help='{"model": {...}, "train": {...}}')
    arguments = parser.parse_args()
    for table in arguments.data:
        measure(table, arguments, arguments.settings)


if __name__ == "__main__":
    main()
