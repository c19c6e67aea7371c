"""Is a planted gap between groups found, and a clean control left alone? On SYNTHETIC notes of the sample clinic.

    python benchmarks/subgroups.py

TF-IDF + logistic regression learns from one part of the clinic's patients and answers the others' notes. Each trial
draws half of these patients for a group, so that there is no gap but chance, and audits; then takes a diagnosis, spoils
right answers to its cases in that group until the sensitivity is 15 points lower, and audits again.
"""

from __future__ import annotations

import argparse

import numpy as np

from bedside.evaluation.subgroups import FOUND, Called, audit
from bedside.models import TfidfLogistic
from bedside.synthetic import Plan, generate

SEED = 42
LOSS = 0.15


def main() -> None:
    """Print how many trials were flagged."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--notes", type=int, default=24000)
    parser.add_argument("--trials", type=int, default=100)
    options = parser.parse_args()
    rows = generate(Plan(notes=options.notes, seed=SEED)).notes
    labels = tuple(sorted({row["diagnosis"] for row in rows}))
    targets = np.asarray([labels.index(row["diagnosis"]) for row in rows])
    names = {one: number for number, one in enumerate(dict.fromkeys(row["patient_id"] for row in rows))}
    patients = np.asarray([names[row["patient_id"]] for row in rows])
    drawn = np.random.default_rng(SEED).random(len(names))[patients]
    learn, choose, rest = drawn < 0.2, (drawn >= 0.2) & (drawn < 0.25), drawn >= 0.25
    texts = np.asarray([row["note"] for row in rows], dtype=object)
    model = TfidfLogistic.fit(
        texts[learn].tolist(), targets[learn], (texts[choose].tolist(), targets[choose]), labels,
        groups=patients[learn].tolist(),
    )  # fmt: skip
    probabilities = model.predict_proba(texts[rest].tolist())
    targets, patients = targets[rest], patients[rest]
    sexes = [row["sex"] for row, keep in zip(rows, rest, strict=True) if keep]
    print(f"{rest.sum():,} SYNTHETIC test notes, accuracy {(probabilities.argmax(axis=1) == targets).mean():.3f}")
    counts = {"planted": 0, "named": 0, "control": 0}
    events = []
    for trial in range(options.trials):
        random = np.random.default_rng([SEED, trial])
        label = int(random.integers(len(labels)))
        group = random.random(int(patients.max()) + 1) < 0.5
        of = np.flatnonzero((targets == label) & group[patients])
        called = probabilities.argmax(axis=1)
        control = _audit(called, targets, probabilities, patients, group, labels)
        counts["control"] += control["verdict"] == FOUND
        right = of[called[of] == label]
        spoil = random.choice(right, size=round(LOSS * len(of)), replace=False)
        called = called.copy()
        called[spoil] = (label + 1) % len(labels)
        planted = _audit(called, targets, probabilities, patients, group, labels)
        counts["planted"] += planted["verdict"] == FOUND
        counts["named"] += any(
            gap["label"] == labels[label] and gap["measure"] == "sensitivity" and gap["group"] == "drawn"
            for gap in planted["gaps"]
        )
        events.append(len(of))
    called = probabilities.argmax(axis=1)
    truth = audit(_called(called, targets, probabilities, patients, labels), {"sex": sexes}, 0.95)["columns"]["sex"]
    print(f"\nSeed {SEED}; events of the diagnosis in the group: {min(events)} to {max(events)}\n")
    print("| | flagged |\n|---|---|")
    print(f"| {100 * LOSS:.0f} points of sensitivity planted | {counts['planted']}/{options.trials} |")
    print(f"| of these, with the right group and diagnosis named | {counts['named']}/{options.trials} |")
    print(f"| clean control | {counts['control']}/{options.trials} |")
    print(f"\nThe clinic's own column of sexes, without a planted gap: {truth['verdict']}.")
    for gap in truth["gaps"]:
        print(f"- {gap['group']}: {gap['measure']} of {gap['label']} {gap['group_value']:.2f} vs {gap['others']:.2f}")


def _audit(
    called: np.ndarray, targets: np.ndarray, stated: np.ndarray, patients: np.ndarray, group: np.ndarray, labels: tuple
) -> dict:
    names = np.where(group[patients], "drawn", "others").tolist()
    return audit(_called(called, targets, stated, patients, labels), {"group": names}, 0.95)["columns"]["group"]


def _called(called: np.ndarray, targets: np.ndarray, stated: np.ndarray, patients: np.ndarray, labels: tuple) -> Called:
    numbers = np.arange(len(labels))
    return Called(
        targets[:, None] == numbers, called[:, None] == numbers, stated.max(axis=1), called == targets, labels, None,
        patients,
    )  # fmt: skip


if __name__ == "__main__":
    main()
