"""The account of a cohort: what was read, dropped, found and split. Counts and names only, never text of a case."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bedside.core.progress import SILENT, Progress
from bedside.data import sources
from bedside.data.clean import account as clean_account
from bedside.data.cohort import SPLITS
from bedside.data.drift import drift
from bedside.data.leaks import label_in_text, tells
from bedside.data.lengths import TokenCounter, lengths, quantiles
from bedside.data.multilabel import parted
from bedside.data.split import groups_per_label
from bedside.data.table_one import table_one
from bedside.data.verdicts import verdicts
from bedside.protocol import CleanSection, DataSection, SplitSection

if TYPE_CHECKING:
    from bedside.data.preparation import Prepared

_LISTED = 200
NOT_DEIDENTIFIED = (
    "Not done. The texts stand as they were read, with every name and date in them; "
    "ids of cases and patients are keyed pseudonyms."
)


def account(
    done: Prepared,
    data: DataSection,
    clean: CleanSection,
    split: SplitSection,
    seed: int,
    *,
    count_tokens: TokenCounter | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """All figures of the report, JSON-able, the same for the same cohort; the verdicts are drawn from the others."""
    found = _counts(done, data, clean, split, seed)
    found["table_one"] = table_one(done.frame, patients=data.patient is not None)
    found["lengths"] = lengths(done.frame, seed, count_tokens)
    found["drift"] = drift(done.frame, seed, progress)
    found["cleaning"] = _cleaning(done, data, progress)
    found["language"] = {"named": data.language, "found": found["cleaning"]["languages"]}
    if done.gathered.named:
        found["sources"] = sources.account(done.gathered.origins, done.frame, seed)
    found["verdicts"] = verdicts(found)
    return found


def _cleaning(done: Prepared, data: DataSection, progress: Progress) -> dict[str, Any]:
    """What cleaning changed, and what notes repeat."""
    texts = done.cases.texts
    patients = done.frame["patient"].to_list() if data.patient is not None else [""] * len(texts)
    language = None if data.language == "auto" else data.language
    return clean_account(done.cases.cleaning, texts, patients, language, progress)


def _counts(done: Prepared, data: DataSection, clean: CleanSection, split: SplitSection, seed: int) -> dict[str, Any]:
    """What was read, dropped, found and split."""
    labels = [parted(label) for label in done.cases.labels]
    splits = done.frame["split"].to_list()
    return {
        "schema": 1,
        "source": done.gathered.account(),
        **({"codes": done.table.seen["codes"]} if "codes" in done.table.seen else {}),
        "columns": {
            "text": data.text_columns(),
            **{key: getattr(data, key) for key in ("label", "patient", "case_id", "time", "site", "keep")},
        },
        "clean": {"digest": clean.digest(), **clean.model_dump(mode="json")},
        "seed": seed,
        "flow": _flow(done),
        "division": done.division,
        "splits": _per_split(done, patients=data.patient is not None),
        "labels": _per_label(labels, splits, done.frame["group"].to_list(), done.division["wished"]),
        "positive": done.positive,
        **({"patients": int(done.frame["patient"].n_unique())} if data.patient else {}),
        "groups": _groups(done),
        "duplicates": _duplicates(done, split),
        "contradictions": _contradictions(done),
        **({"audit": done.audit} if done.audit is not None else {}),
        "crossings": _crossings(done, split),
        "label_in_text": label_in_text(done.cases.texts, labels),
        "giving_away": _leaks(done, data),
        "synthetic": any(one.synthetic for one in done.gathered.origins),
        "deidentification": NOT_DEIDENTIFIED,
        "warnings": list(done.cases.warnings),
    }


def _flow(done: Prepared) -> list[dict[str, Any]]:
    """Rows in, rows out by reason, rows kept: they add up."""
    start = {"step": "read", "reason": "", "rows": done.table.frame.height}
    return [start, *done.cases.flow, {"step": "kept", "reason": "", "rows": done.frame.height}]


def _leaks(done: Prepared, data: DataSection) -> dict[str, str]:
    """Columns that give the label away, and how."""
    rows = done.table.frame[done.cases.places]
    own = {*data.text_columns(), data.label}
    found = {name: tells(rows[name].to_list(), done.cases.labels) for name in rows.columns if name not in own}
    return {name: how for name, how in found.items() if how is not None}


def _per_label(
    labels: Sequence[Sequence[str]], splits: Sequence[str], groups: Sequence[str], wished: Mapping[str, float]
) -> dict[str, dict[str, Any]]:
    """Cases and groups of each label, its cases in each split, and the largest deviation from the wished share."""
    counts = Counter((label, split) for held, split in zip(labels, splits, strict=True) for label in held)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(groups))}
    spread = groups_per_label(np.asarray([numbers[one] for one in groups], dtype=np.int64), labels)
    table = {}
    for label, cases in sorted(Counter(label for held in labels for label in held).items()):
        held = {name: counts[label, name] for name in SPLITS}
        off = max(abs(held[name] - share * cases) for name, share in wished.items())
        table[label] = {"cases": cases, "groups": spread[label], **held, "largest_deviation": round(off, 2)}
    return table


def _per_split(done: Prepared, *, patients: bool) -> dict[str, dict[str, Any]]:
    """Cases, share, patients, groups and lengths of each split."""
    import polars as pl

    lengths = done.frame.select("split", "patient", "group", words=pl.col("text").str.count_matches(r"\S+"))
    table = {}
    for name, wished in done.division["wished"].items():
        part = lengths.filter(pl.col("split") == name)
        table[name] = {
            "cases": part.height,
            "share": round(part.height / max(lengths.height, 1), 6),
            "wished": wished,
            **({"patients": int(part["patient"].n_unique())} if patients else {}),
            "groups": int(part["group"].n_unique()),
            "words": quantiles(part["words"].to_numpy()) if part.height else {},
        }
    return table


def _groups(done: Prepared) -> dict[str, int]:
    """How many groups of patients and duplicates, and the largest."""
    sizes = Counter(done.frame["group"].to_list()).values()
    several = sum(size > 1 for size in sizes)
    return {"count": len(sizes), "largest": max(sizes, default=0), "of_several_cases": several}


def _duplicates(done: Prepared, split: SplitSection) -> dict[str, Any]:
    """Rows and clusters of exact and of near-duplicates."""
    labels = done.cases.labels
    return {
        "exact": _clusters(done.duplicates.exact, labels),
        "near": {"threshold": split.near_duplicate, **_clusters(done.duplicates.cluster, labels)},
    }


def _clusters(numbers: NDArray[np.int64], labels: Sequence[str]) -> dict[str, int]:
    """Clusters of more than one row: how many, their rows, how many hold more than one label; and all clusters."""
    held: dict[int, list[str]] = defaultdict(list)
    for number, label in zip(numbers.tolist(), labels, strict=True):
        held[number].append(label)
    several = [found for found in held.values() if len(found) > 1]
    return {
        "distinct": len(held),
        "clusters": len(several),
        "rows": sum(map(len, several)),
        "beyond_first": len(labels) - len(held),
        "cross_label": sum(len(set(found)) > 1 for found in several),
    }


def _contradictions(done: Prepared) -> dict[str, Any]:
    """Equal texts under different labels, and the accuracy that nothing which reads only the text can pass."""
    held: dict[int, Counter[str]] = defaultdict(Counter)
    cases: dict[int, list[str]] = defaultdict(list)
    ids = done.frame["case_id"].to_list()
    for number, label, name in zip(done.duplicates.exact.tolist(), done.cases.labels, ids, strict=True):
        held[number][label] += 1
        cases[number].append(name)
    bad = [number for number, counts in held.items() if len(counts) > 1]
    right = sum(max(counts.values()) for counts in held.values())
    return {
        "texts": len(bad),
        "rows": sum(len(cases[number]) for number in bad),
        "ceiling": round(right / max(len(ids), 1), 6),
        "cases": [cases[number] for number in bad[:_LISTED]],
        "listed": min(len(bad), _LISTED),
    }


def _crossings(done: Prepared, split: SplitSection) -> dict[str, Any]:
    """What an independent count found on more than one side."""
    found = done.crossings
    return {
        "patients": found.patients,
        "exact": found.exact,
        "near": len(found.near),
        "threshold": split.near_duplicate,
        "held_out_texts": found.held_out,
        "compared_by_brute_force": found.checked,
        "compared_by_other_hashes": found.hashed,
        "pairs_joined_after_the_check": done.repaired,
    }
