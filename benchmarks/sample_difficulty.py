"""How hard the sample clinic is: Bayes' rule on the facts written, against words alone.

Prints a table for several sizes: the accuracy of the generator's own Bayes rule, and the macro-F1 of TF-IDF (word
1-2, character 3-5 within words) with logistic regression, scored out of fold on folds grouped by patient.

    python benchmarks/sample_difficulty.py --notes 1000 3000 --seed 42
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline, make_union

from bedside.synthetic import Plan, generate


def words_alone(seed: int, strength: float) -> Pipeline:
    """TF-IDF on words 1-2 and characters 3-5 within words, then logistic regression."""
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True, min_df=3)
    return make_pipeline(make_union(words, characters), LogisticRegression(C=strength, max_iter=300, random_state=seed))


def out_of_fold(notes: list[dict[str, Any]], seed: int, folds: int, strength: float) -> tuple[float, float]:
    """Macro-F1 and accuracy over folds that keep a patient's notes together."""
    texts = np.array([note["note"] for note in notes], dtype=object)
    labels = np.array([note["diagnosis"] for note in notes])
    patients = np.array([note["patient_id"] for note in notes])
    found = np.empty_like(labels)
    for train, test in GroupKFold(folds, shuffle=True, random_state=seed).split(texts, labels, patients):
        found[test] = words_alone(seed, strength).fit(texts[train], labels[train]).predict(texts[test])
    return f1_score(labels, found, average="macro"), accuracy_score(labels, found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--notes", type=int, nargs="+", default=[1000, 3000])
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--strength", type=float, nargs="+", default=[1.0, 10.0, 100.0], help="C; every one is shown")
    options = parser.parse_args()
    print("| notes | C | Bayes accuracy (n) | words alone: macro-F1 | accuracy | mean words |")
    print("|---|---|---|---|---|---|")
    for size in options.notes:
        clinic = generate(Plan(notes=size, seed=options.seed))
        length = np.mean([len(note["note"].split()) for note in clinic.notes])
        bayes = f"{clinic.bayes_accuracy:.3f} ({clinic.bayes_n})"
        for strength in options.strength:
            f1, accuracy = out_of_fold(clinic.notes, options.seed, options.folds, strength)
            print(f"| {size} | {strength:g} | {bayes} | {f1:.3f} | {accuracy:.3f} | {length:.0f} |", flush=True)


if __name__ == "__main__":
    main()
