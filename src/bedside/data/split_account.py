"""What is said of a division: how it was made, how far each label is off its share, and what it could not reach."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bedside.core.errors import DataError
from bedside.data.cohort import SPLITS
from bedside.data.labels import tidy
from bedside.data.multilabel import parted, without_labels
from bedside.data.split import missing_labels
from bedside.data.split_parts import Parts
from bedside.data.split_plan import TEST, TRAIN, Plan
from bedside.data.wording import counted

_MUCH = 0.1  # share of the cases beyond which leaving them out is worth a warning
_CHECK = "How the cases were divided"


def describe(
    plan: Plan,
    parts: Parts,
    places: Sequence[int],
    labels: Sequence[str] | Sequence[Sequence[str]],
    folds: NDArray[np.int64] | None,
    moved: int,
) -> dict[str, Any]:
    """How the cases were divided, for the report: JSON-able counts, a sentence and a verdict.

    Args:
        plan: what the division went by.
        parts: of every row, those that were left out too.
        places: [rows kept] each row's place in the table.
        labels: [rows kept] the label of each, or its labels.
        folds: [rows kept] the fold, where there are folds.
        moved: cases that were moved to another fold than the given one.
    """
    splits = parts.splits[parts.splits >= 0]
    left_out = len(parts.splits) - len(splits)
    account: dict[str, Any] = {"method": plan.split.method, "wished": parts.wished, "left_out": left_out}
    later = None
    if plan.split.method == "temporal" and plan.values is not None:
        later = later_than_test(plan.values[np.asarray(places, dtype=np.int64)], splits)
        account["training_cases_later_than_the_first_test_case"] = later
    if plan.split.method == "site":
        account["test_sites"] = list(plan.split.test_sites)
    off, worst = largest_deviation(labels, splits, [parts.wished[name] for name in SPLITS])
    account["largest_deviation"] = {"label": worst, "cases": off}
    account["sentence"] = (
        f"{sentence(plan, left_out, later)} No label is further than {_off(off)} from its share of a split."
    )
    account["verdicts"] = [_verdict(account, left_out / max(len(parts.splits), 1))]
    if folds is not None:
        account["folds"] = _folds(folds, labels, moved)
        account["verdicts"].append(_fold_verdict(account["folds"]))
    return account


def later_than_test(times: NDArray[np.int64], splits: NDArray[np.int64]) -> int:
    """How many training cases are later than the earliest test case; of a split by time it has to be 0."""
    tested = times[splits == TEST]
    return int((times[splits == TRAIN] > tested.min()).sum()) if len(tested) else 0


def largest_deviation(
    labels: Sequence[str] | Sequence[Sequence[str]], parts: NDArray[np.int64], shares: Sequence[float]
) -> tuple[float, str]:
    """By how many cases a label is off its share of a part at most, and which label that is."""
    counts: dict[str, Counter[int]] = {}
    for row, part in zip(labels, parts.tolist(), strict=True):
        for label in (row,) if isinstance(row, str) else row:
            counts.setdefault(label, Counter())[part] += 1
    off = {
        label: max(abs(held[part] - share * held.total()) for part, share in enumerate(shares))
        for label, held in counts.items()
    }
    worst = max(sorted(off), key=lambda label: round(off[label], 2), default="")
    return round(off.get(worst, 0.0), 2), worst


def sentence(plan: Plan, left_out: int, later: int | None = None) -> str:
    """How the cases were divided."""
    tied = (
        f" {counted(left_out, 'case')} of patients or near-duplicates that come again in a later part were left out "
        "of the earlier one, so that nothing crosses."
        if left_out
        else ""
    )
    if plan.split.method == "temporal":
        are = "is" if later == 1 else "are"
        return (
            "By time: the test holds every case after a moment, calibration and validation what came before it, and "
            f"train the earliest.{tied} {counted(later or 0, 'training case')} {are} later than the earliest "
            "test case."
        )
    if plan.split.method == "site":
        sites = ", ".join(plan.split.test_sites)
        return f"By site: {sites} held out whole as the test, the others divided at random by groups.{tied}"
    if plan.split.method == "given":
        return (
            f"As column '{plan.split.column}' says; parts that it does not name were taken out of train at random, by "
            f"groups.{tied}"
        )
    return "At random, by groups of patients and near-duplicates."


def _verdict(account: Mapping[str, Any], share: float) -> dict[str, str]:
    """A warning where much was left out, or where time does not hold."""
    if account.get("training_cases_later_than_the_first_test_case"):
        return _row(_CHECK, "FAIL", account["sentence"], "This is a fault of bedside: report it, and divide at random.")
    if share > _MUCH:
        advice = "Hold out less, or accept it: what was left out hangs together with what is tested."
        return _row(_CHECK, "WARN", f"{account['sentence']} That is {share:.0%} of the cases.", advice)
    return _row(_CHECK, "PASS", account["sentence"], "Nothing.")


def _folds(folds: NDArray[np.int64], labels: Sequence[str] | Sequence[Sequence[str]], moved: int) -> dict[str, Any]:
    """Sizes of the folds, how far a label is off, and labels that are absent from some."""
    count = int(folds.max(initial=0)) + 1
    off, worst = largest_deviation(labels, folds, [1 / count] * count)
    absent = missing_labels(labels, folds, [str(number) for number in range(count)])
    return {
        "cases": np.bincount(folds, minlength=count).tolist(),
        "moved": moved,
        "largest_deviation": {"label": worst, "cases": off},
        "absent": {label: len(names) for label, names in absent.items()},
    }


def _fold_verdict(folds: Mapping[str, Any]) -> dict[str, str]:
    """A warning where a label does not reach every fold."""
    sizes = folds["cases"]
    said = f"{len(sizes)} folds of {min(sizes):,} to {max(sizes):,} cases; no group is cut."
    said += f" {counted(folds['moved'], 'case')} moved so that none is." if folds["moved"] else ""
    absent = folds["absent"]
    if not absent:
        said += f" No label is further than {_off(folds['largest_deviation']['cases'])} from its share of a fold."
        return _row("Folds", "PASS", said, "Nothing.")
    named = ", ".join(list(absent)[:6]) + (f" and {len(absent) - 6} more" if len(absent) > 6 else "")
    noun = "label is" if len(absent) == 1 else "labels are"
    return _row(
        "Folds",
        "WARN",
        f"{said} {len(absent)} {noun} absent from a fold: {named}.",
        "Ask for fewer folds (split.folds), or merge or drop these labels.",
    )


def _off(cases: float) -> str:
    """A deviation in cases, which need not be whole."""
    return f"{cases:g} case{'' if cases == 1 else 's'}"


def _row(check: str, verdict: str, said: str, advice: str) -> dict[str, str]:
    """A row of the verdict table."""
    return {"check": check, "verdict": verdict, "sentence": said, "what_to_do": advice}


def unreached(
    labels: Sequence[str], absent: Mapping[str, Sequence[str]], plan: Plan, rare: str | int
) -> tuple[list[str], NDArray[np.bool_], str]:
    """Deal with labels that do not reach every split although they have the groups for it, as ``data.rare`` says.

    Args:
        labels: [rows].
        absent: of such labels, the splits that hold none.
        plan: how the cases are divided.
        rare: ``drop`` and ``merge:NAME`` are followed; a number says nothing of such labels.

    Returns:
        The labels, [rows] which rows stay, and a sentence.

    Raises:
        DataError: they are to be refused, by name; or fewer than two labels would remain.
    """
    name = tidy(rare[6:]) if isinstance(rare, str) and rare.startswith("merge:") else None
    remain = (set(labels) - set(absent)) | ({name} if name else set())
    if isinstance(rare, int) or rare == "refuse" or set(absent) == {name} or len(remain) < 2:
        raise DataError(_refused(absent, plan))
    shown = ", ".join(f"{label}: none in {' and '.join(parts)}" for label, parts in list(absent.items())[:10])
    more = f" and {len(absent) - 10} more" if len(absent) > 10 else ""
    done = f"read as '{name}'" if name else "dropped"
    note = (
        f"{counted(len(absent), 'label')} that cannot reach every split ({shown}{more}) "
        f"{'was' if len(absent) == 1 else 'were'} {done} (data.rare)"
    )
    if name:
        return [name if one in absent else one for one in labels], np.ones(len(labels), dtype=np.bool_), note
    return list(labels), np.asarray([one not in absent for one in labels], dtype=np.bool_), note


def unreached_of_several(
    labels: Sequence[str], absent: Mapping[str, Sequence[str]], plan: Plan, rare: str | int
) -> tuple[list[str], NDArray[np.bool_], str]:
    """As :func:`unreached`, for joined labels: a case loses the label, and is lost itself only if it had no other."""
    parts = [part for label in labels for part in parted(label)]
    _, _, note = unreached(parts, absent, plan, rare)
    name = tidy(rare[6:]) if isinstance(rare, str) and rare.startswith("merge:") else None
    fresh = without_labels(labels, absent, name)
    return fresh, np.asarray([bool(one) or not before for one, before in zip(fresh, labels, strict=True)]), note


def _refused(absent: Mapping[str, Sequence[str]], plan: Plan) -> str:
    """The sentence for labels that do not reach every split."""
    shown = "; ".join(f"{label} has none in {' and '.join(names)}" for label, names in list(absent.items())[:5])
    more = f"; and {len(absent) - 5} more" if len(absent) > 5 else ""
    if plan.values is None:
        return (
            f"No split could be found in which every label reaches every part, because patients or duplicates tie "
            f"labels together: {shown}{more}; set data.rare = 'drop' or a higher number, or merge labels (data.merge)."
        )
    return (
        f"With split.method = '{plan.split.method}' {counted(len(absent), 'label')} cannot reach every part: "
        f"{shown}{more}; set data.rare = 'drop' or 'merge:Other', merge labels (data.merge), or divide at random."
    )
