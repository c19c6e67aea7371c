"""Do the rules of an answer keep their promises: the contract, prediction sets, the fall of errors, can't-miss labels.

    python benchmarks/abstention.py --data ../shared/data

One TF-IDF + logistic regression a data set learns from some of its clusters (patients, near-duplicates). The other
cases, with its predictions fixed, are divided at random 100 times into a calibration half and a test half, clusters on
one side. All rules are fitted on the former and counted on the latter.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from bedside import protocol as protocols
from bedside.data import prepare
from bedside.evaluation import Abstention, Calibration
from bedside.evaluation.cant_miss import Alarms
from bedside.evaluation.conformal import Sets
from bedside.metrics import error_at
from bedside.models import TfidfLogistic

PLANS = {
    "Symptom2Disease": '[data]\nsource = "{0}/symptom2disease/symptom2disease.csv"\ntext = "text"\nlabel = "label"\n',
    "Medical Abstracts": '[data]\nsource = "{0}/medical_abstracts/medical_abstracts.csv"\ntext = "medical_abstract"\n'
    'label = "condition_name"\n',
    "MTSamples": '[data]\nsource = "{0}/mtsamples/mtsamples_unique_multilabel.csv.gz"\ntext = "transcription"\n'
    'label = "primary_specialty"\nrare = "drop"\n',
}
CLINIC, DDXPLUS = "sample clinic (SYNTHETIC)", "DDXPlus, initial evidence"
MISSED = "Pulmonary embolism"
SEED, SPLITS = 42, 100
BOUND, CONFIDENCE = 0.02, 0.95


@dataclass(frozen=True)
class Cases:
    """The cases of a data set, each with its label and its cluster, and the share of clusters to learn from."""

    texts: list[str]
    names: list[str]
    groups: list[object]
    learn: float


@dataclass(frozen=True)
class Fixed:
    """The held-out cases of a data set with their fixed predictions."""

    raw: np.ndarray
    targets: np.ndarray
    groups: np.ndarray
    labels: tuple[str, ...]


# The data sets --------------------------------------------------------------------------------------------------------


def prepared(name: str, data: Path, notes: int) -> Cases:
    """A public table with its clusters of near-duplicates at 0.7."""
    plan = protocols.parse(PLANS[name].format(data.resolve()))
    with tempfile.TemporaryDirectory() as folder:
        cohort = prepare(
            plan.data, plan.clean, plan.split, base=Path(folder), seed=SEED, key=b"abstention", audit=plan.audit
        )
    frame = cohort.frame
    return Cases(frame["text"].to_list(), frame["label"].to_list(), frame["group"].to_list(), 0.5)


def clinic(name: str, data: Path, notes: int) -> Cases:
    """SYNTHETIC notes, clustered by patient; a quarter to learn from."""
    from bedside.synthetic import Plan, generate

    rows = generate(Plan(notes=notes, seed=SEED)).notes
    parts = zip(*((row["note"], row["diagnosis"], row["patient_id"]) for row in rows), strict=True)
    texts, names, groups = (list(one) for one in parts)
    return Cases(texts, names, groups, 0.25)


def initial(name: str, data: Path, notes: int) -> Cases:
    """Age, sex and the question that the patient came with; each patient is a cluster of its own."""
    frame = pl.read_csv(data / "ddxplus" / "ddxplus_test_subset.csv")
    asked = json.loads((data / "ddxplus" / "release_evidences.json").read_text(encoding="utf-8"))
    counts = frame["PATHOLOGY"].value_counts()
    kept = counts.filter(pl.col("count") >= 10)["PATHOLOGY"].to_list()
    frame = frame.filter(pl.col("PATHOLOGY").is_in(kept))
    texts = [
        f"{age}-year-old, {sex}. {asked[code]['question_en']}"
        for age, sex, code in frame.select("AGE", "SEX", "INITIAL_EVIDENCE").iter_rows()
    ]
    return Cases(texts, frame["PATHOLOGY"].to_list(), list(range(len(texts))), 0.25)


SETS: dict[str, Callable[[str, Path, int], Cases]] = {
    **dict.fromkeys(PLANS, prepared),
    DDXPLUS: initial,
    CLINIC: clinic,
}


def fixed(cases: Cases) -> Fixed:
    """Train once on a share of the clusters, choosing by a fifth of them, and predict the others."""
    labels = tuple(sorted(set(cases.names)))
    place = {label: number for number, label in enumerate(labels)}
    targets = np.asarray([place[name] for name in cases.names])
    names = {group: number for number, group in enumerate(dict.fromkeys(cases.groups))}
    groups = np.asarray([names[group] for group in cases.groups])
    drawn = np.random.default_rng(SEED).random(len(names))[groups]
    learn, choose = drawn < 0.8 * cases.learn, (drawn >= 0.8 * cases.learn) & (drawn < cases.learn)
    rest = drawn >= cases.learn

    def of(kept: np.ndarray) -> list[str]:
        return [text for text, keep in zip(cases.texts, kept, strict=True) if keep]

    model = TfidfLogistic.fit(
        of(learn), targets[learn], (of(choose), targets[choose]), labels, groups=groups[learn].tolist()
    )
    return Fixed(model.predict_proba(of(rest)), targets[rest], groups[rest], labels)


# What is counted ------------------------------------------------------------------------------------------------------


def divide(found: Fixed, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """[cases] of the calibration half, and of the test half; clusters on one side."""
    clusters = np.unique(found.groups, return_inverse=True)[1]
    first = np.random.default_rng([SEED, seed]).random(int(clusters.max()) + 1) < 0.5
    return np.flatnonzero(first[clusters]), np.flatnonzero(~first[clusters])


def once(found: Fixed, seed: int) -> dict[str, float]:
    """All rules fitted on one half and counted on the other."""
    fit, test = divide(found, seed)
    calibration = Calibration.fit(found.raw[fit], found.targets[fit])
    p, q = calibration.apply(found.raw[fit]), calibration.apply(found.raw[test])
    y, groups = found.targets[test], found.groups[fit].tolist()
    rule = Abstention.certify(
        p, found.targets[fit], groups, max_error=BOUND, confidence=CONFIDENCE, fewest_words=1, seed=seed
    )
    wrong, top, rows = q.argmax(axis=1) != y, q.max(axis=1), np.arange(len(y))
    spoken = np.zeros(len(y), dtype=bool) if rule.threshold is None else top >= rule.threshold
    sets = Sets.fit(p, found.targets[fit], groups, coverage=0.9, seed=seed)
    members = sets.members(q)
    even = np.ones((1, len(y)))
    every, at = error_at(even, top, wrong, 1.0)[0], error_at(even, top, wrong, 0.8)[0]
    figures = {
        "certified": float(rule.threshold is not None),
        "answered": spoken.mean(),
        "error": wrong[spoken].mean() if spoken.any() else np.nan,
        "would_do": np.nan if rule.would_do is None else rule.would_do,
        "cases": rule.cases,
        "conforming": sets.conforming(q)[rows, y].mean(),
        "covered": members[rows, y].mean(),
        "size": members.sum(axis=1).mean(),
        "own": len(sets.own),
        "every": every,
        "at": at,
        "fall": 1 - at / every if every else np.nan,
    }
    if MISSED in found.labels:
        number = found.labels.index(MISSED)
        has = found.targets[fit][:, None] == np.arange(len(found.labels))
        (alarm,) = Alarms.certify(
            p, has, groups, [number], min_sensitivity=0.95, confidence=CONFIDENCE, seed=seed
        ).every
        figures |= {"alarm": float(alarm.threshold is not None), "ill": alarm.cases}
        if alarm.threshold is not None:
            rung = q[:, number] >= alarm.threshold
            figures |= {"sensitivity": rung[y == number].mean(), "false": 100 * (rung & (y != number)).mean()}
    return figures


def of_all(rows: list[dict[str, float]], name: str) -> np.ndarray:
    """The values of a figure in the splits that have it."""
    values = np.asarray([row.get(name, np.nan) for row in rows], dtype=float)
    return values[~np.isnan(values)]


def median(rows: list[dict[str, float]], name: str, scale: float = 1.0, digits: int = 3) -> str:
    """A figure's median over the splits, or a dash."""
    values = of_all(rows, name)
    return f"{scale * np.median(values):.{digits}f}" if len(values) else "-"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--splits", type=int, default=SPLITS)
    parser.add_argument("--notes", type=int, default=28000, help="of the sample clinic")
    options = parser.parse_args()
    found, sizes = {}, {}
    for name in options.sets:
        held = fixed(SETS[name](name, options.data, options.notes))
        found[name] = [once(held, seed) for seed in range(options.splits)]
        sizes[name] = len(held.targets)
        print(f"{name}: {sizes[name]:,} held-out cases, {len(held.labels)} labels", flush=True)
    splits = options.splits
    print(f"\nSeed {SEED}, {splits} divisions; medians unless said otherwise.\n")
    print(f"### At most {BOUND:.0%} wrong among answered, {CONFIDENCE:.0%} confidence\n")
    print("| data | held out | calibration | certified | answered | wrong among them | contract kept | would do |")
    print("|---|---|---|---|---|---|---|---|")
    for name, rows in found.items():
        kept = sum(not row["error"] > BOUND for row in rows)  # one that answers nothing breaks nothing
        print(
            f"| {name} | {sizes[name]:,} | {median(rows, 'cases', digits=0)} | "
            f"{int(of_all(rows, 'certified').sum())}/{splits} | {median(rows, 'answered')} | "
            f"{median(rows, 'error', digits=4)} | "
            f"{kept}/{splits} | {median(rows, 'would_do', digits=0)} |"
        )
    print("\n### Prediction sets of 90 %: means over the divisions\n")
    print("| data | coverage, conforming | lowest, highest | with the likeliest added | labels in a set | own limits |")
    print("|---|---|---|---|---|---|")
    for name, rows in found.items():
        covered = of_all(rows, "conforming")
        print(
            f"| {name} | {covered.mean():.3f} | {covered.min():.3f}, {covered.max():.3f} | "
            f"{of_all(rows, 'covered').mean():.3f} | {of_all(rows, 'size').mean():.2f} | "
            f"{of_all(rows, 'own').mean():.1f} |"
        )
    print("\n### Errors among the surest 80 %\n")
    print("| data | wrong, all answered | wrong, surest 80 % | fall |")
    print("|---|---|---|---|")
    for name, rows in found.items():
        print(f"| {name} | {median(rows, 'every')} | {median(rows, 'at')} | {median(rows, 'fall', 100, 0)} % |")
    print(f"\n### {MISSED}, sensitivity at least 95 %\n")
    print(
        "| data | calibration cases with it | certified | sensitivity, test | at least 95 % | "
        "false alarms per 100 notes |"
    )
    print("|---|---|---|---|---|---|")
    for name, rows in found.items():
        if not len(of_all(rows, "ill")):
            continue
        reached = of_all(rows, "sensitivity")
        print(
            f"| {name} | {median(rows, 'ill', digits=0)} | {int(of_all(rows, 'alarm').sum())}/{splits} | "
            f"{median(rows, 'sensitivity')} | {int((reached >= 0.95).sum())}/{len(reached)} | "
            f"{median(rows, 'false', digits=1)} |"
        )


if __name__ == "__main__":
    main()
