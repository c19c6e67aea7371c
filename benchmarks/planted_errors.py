"""What the label audit finds of what was planted: wrong labels, duplicates, labels stated in the text. SYNTHETIC.

Each sample clinic has wrong labels (5 %), copies (3 %) and notes that state their diagnosis (5 %); the audit is not
told which. It prints a table, a line for each kind and seed: how many were planted and found, and which share of what
was found was planted. The threshold of the suspects was chosen on seeds 1 to 3, so other seeds are the default here.

    python benchmarks/planted_errors.py --notes 3000 20000 --seeds 11 12 13
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

from bedside.data.duplicates import find_duplicates, join_groups
from bedside.data.leaks import Finder
from bedside.data.masking import phrases_of
from bedside.data.negation import PRESENT
from bedside.data.suspects import features, find_suspects, folds_of, out_of_fold, sample
from bedside.synthetic import Plan, generate
from bedside.synthetic.knowledge import knowledge

MOST = 20_000  # cases that the audit samples by default


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--notes", type=int, nargs="+", default=[3000])
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13])
    parser.add_argument(
        "--label-errors", type=float, default=0.05, help="share; 0 shows how many are suspected in vain"
    )
    options = parser.parse_args()
    print(
        f"SYNTHETIC notes of the sample clinic, {options.label_errors:.0%} wrong labels, 3 % copies, 5 % stated labels"
    )
    print("| notes | seed | planted | n | found | recall | listed | precision | seconds |")
    print("|---|---|---|---|---|---|---|---|---|")
    for size in options.notes:
        for seed in options.seeds:
            plan = Plan(notes=size, seed=seed, label_errors=options.label_errors, duplicates=0.03, leaks=0.05)
            for line in measure(plan):
                print(f"| {size} | {seed} | {line}", flush=True)


def measure(plan: Plan) -> list[str]:
    clinic = generate(plan)
    notes, truth = list(clinic.notes), list(clinic.truth)
    lines = []
    start = time.monotonic()
    clusters = find_duplicates([note["note"] for note in notes], 0.7)
    lines.append(row("duplicates", *copies(notes, truth, clusters.cluster), time.monotonic() - start))
    for title, synonyms in (("stated labels, synonyms given", True), ("stated labels, no synonyms", False)):
        start = time.monotonic()
        lines.append(row(title, *stated(notes, truth, synonyms), time.monotonic() - start))
    start = time.monotonic()
    lines.append(row("wrong labels", *wrong(notes, truth, clusters, plan.seed), time.monotonic() - start))
    return lines


def row(kind: str, planted: int, found: int, listed: int, right: int, seconds: float) -> str:
    recall = f"{found / planted:.3f}" if planted else "none"
    precision = f"{right / listed:.3f}" if listed else "none"
    return f"{kind} | {planted} | {found} | {recall} | {listed} | {precision} | {seconds:.0f} |"


def copies(notes: list[Any], truth: list[Any], cluster: np.ndarray[Any, Any]) -> tuple[int, int, int, int]:
    """A copy is found when it stands in one cluster with its source; a row is listed when its cluster has several."""
    place = {note["note_id"]: at for at, note in enumerate(notes)}
    pairs = [(at, place[one["is_duplicate_of"]]) for at, one in enumerate(truth) if one["is_duplicate_of"]]
    listed = np.flatnonzero(np.bincount(cluster)[cluster] > 1).tolist()
    planted = {at for pair in pairs for at in pair}
    found = sum(cluster[one] == cluster[other] for one, other in pairs)
    return len(pairs), int(found), len(listed), sum(at in planted for at in listed)


def stated(notes: list[Any], truth: list[Any], synonyms: bool) -> tuple[int, int, int, int]:
    """A note is listed when it states the diagnosis that it truly has, whatever label was recorded."""
    known = knowledge()
    more = dict(zip(known.diagnoses, known.names, strict=True)) if synonyms else {}
    codes = dict(zip(known.diagnoses, known.codes, strict=True))
    finder = Finder(phrases_of(known.diagnoses, more, codes))
    listed = [
        any(one.label == fact["diagnosis"] and one.status == PRESENT for one in finder.mentions(note["note"]))
        for note, fact in zip(notes, truth, strict=True)
    ]
    planted = [bool(one["leak"]) for one in truth]
    both = sum(one and other for one, other in zip(listed, planted, strict=True))
    return sum(planted), both, sum(listed), both


def wrong(notes: list[Any], truth: list[Any], clusters: Any, seed: int) -> tuple[int, int, int, int]:
    _, patients = np.unique([note["patient_id"] for note in notes], return_inverse=True)
    groups = join_groups(len(notes), clusters.cluster, patients)
    first = {group: at for at, group in reversed(list(enumerate(groups.tolist())))}
    keys = [notes[first[group]]["note_id"] for group in range(len(first))]
    rows = sample(groups, keys, MOST, seed)
    texts = [notes[at]["note"] for at in rows.tolist()]
    labels, targets = np.unique([notes[at]["diagnosis"] for at in rows.tolist()], return_inverse=True)
    folds = folds_of(groups[rows], targets, keys, seed)
    if folds is None:
        raise SystemExit("too few patients for folds")
    found = find_suspects(out_of_fold(features(texts), targets, folds, len(labels)), targets)
    planted = np.asarray([bool(truth[at]["label_error"]) for at in rows.tolist()])
    right = int(planted[found.rows].sum())
    return int(planted.sum()), right, len(found.rows), right


if __name__ == "__main__":
    main()
