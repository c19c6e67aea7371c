"""Each row's part by the plan, and the number of its fold. No group of patients or duplicates is ever cut.

Where the time, the site or the given part decides, a group may lie on both sides. One rule settles all three: *the
later part keeps its cases, and what hangs together with them in an earlier part is left out and counted* (test after
calibration after validation after train). So the test is what it is said to be (every case after a date, a whole
site, a published test set), nothing in it was seen before, and no training case is later than the earliest test case.
Putting a group whole on one side would be kinder to the count of cases and would break one of the three: old cases of
a returning patient would be tested as new ones, or a later case would be learned from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bedside.core.errors import DataError
from bedside.core.progress import SILENT, Progress
from bedside.core.seeds import derive
from bedside.data.cohort import SPLITS
from bedside.data.split import RowLabels, assign, assign_folds, whole_shares
from bedside.data.split_plan import TEST, TRAIN, Plan
from bedside.data.wording import counted

_THOUSAND = 1_000
_ROUNDS = 12  # of fitting the cuts in time to what they leave over


@dataclass(frozen=True)
class Parts:
    """Where each row goes.

    Attributes:
        splits: [rows] the number of the split, -1 for a row that is left out.
        wished: the share of each split that was aimed at; of a given part or held-out site, the share that it has.
    """

    splits: NDArray[np.int64]
    wished: dict[str, float]


def divide(
    plan: Plan,
    places: Sequence[int],
    groups: NDArray[np.int64],
    labels: RowLabels,
    keys: Sequence[str],
    seed: int,
    progress: Progress = SILENT,
) -> Parts:
    """Divide as planned.

    Args:
        plan: what the division goes by.
        places: [rows] each row's place in the table.
        groups: [rows] number of the row's group, 0 to len(keys) - 1.
        labels: [rows] number of the row's label, or a list of the row's labels.
        keys: a name of each group that does not depend on the order of the rows.
        seed: the study's; same seed, same groups: same splits.
        progress: shown while searching.

    Raises:
        DataError: a given division cuts groups, or a split by time leaves nothing on one side.
    """
    shares = plan.split.shares()
    if plan.values is None:
        return Parts(assign(groups, labels, keys, list(shares.values()), derive(seed, "split"), progress), shares)
    wanted = plan.values[np.asarray(places, dtype=np.int64)]
    if plan.split.method == "temporal":
        return Parts(settle(groups, by_time(wanted, groups, list(shares.values()))), shares)
    if plan.split.method == "given" and not plan.split.repair:
        _require_whole(plan, places, groups, wanted)
    splits = settle(groups, wanted)
    held = splits >= 0
    if not (splits == TRAIN).any():
        raise DataError(
            "no case is left to learn from: patients or duplicates tie every training case to one that is held out; "
            "hold out less, or set split.near_duplicate higher."
        )
    given = {part for part in range(len(SPLITS)) if part != TRAIN and (splits == part).any()}
    wished = _wished(splits[held], given, list(shares.values()))
    carved = [part for part in range(len(SPLITS)) if part not in given]
    rows = np.flatnonzero(splits == TRAIN)
    if len(carved) == 1:
        return Parts(splits, wished)
    part_of = assign(
        *_only(rows, groups, labels, keys),
        _normal([wished[SPLITS[part]] for part in carved]),
        derive(seed, "split"),
        progress,
    )
    splits[rows] = np.asarray(carved, dtype=np.int64)[part_of]
    return Parts(splits, wished)


def settle(groups: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """[rows] the part, where a group keeps only its rows of the latest part; -1 for the others."""
    latest = np.full(int(groups.max(initial=-1)) + 1, -1, dtype=np.int64)
    np.maximum.at(latest, groups, wanted)
    return np.where(wanted == latest[groups], wanted, -1)


def by_time(times: NDArray[np.int64], groups: NDArray[np.int64], shares: Sequence[float]) -> NDArray[np.int64]:
    """[rows] the part by three cuts in time, before groups are settled.

    Cases of one time are never cut apart. The cuts are put so that the parts have their shares of what settling
    leaves over: a first guess takes them of all cases, and the next ones of what the guess before left over.

    Args:
        times: [rows] rank of the time.
        groups: [rows] number of the row's group.
        shares: of train, validation, calibration and test.

    Raises:
        DataError: no cuts leave a case in every part.
    """
    _, ranks = np.unique(times, return_inverse=True)
    last = np.zeros(int(groups.max(initial=-1)) + 1, dtype=np.int64)
    np.maximum.at(last, groups, ranks)
    whole, kept, best = whole_shares(shares), len(ranks), None
    for _ in range(_ROUNDS):
        cuts = _cuts(ranks, last[groups], whole, kept)
        if cuts is None:
            break
        parts = np.searchsorted(np.asarray(cuts), ranks, side="left").astype(np.int64)
        splits = settle(groups, parts)
        sizes = np.bincount(splits[splits >= 0], minlength=len(shares)).tolist()
        if min(sizes) == 0:
            break
        kept = sum(sizes)
        off = sum(abs(size * _THOUSAND - share * kept) for size, share in zip(sizes, whole, strict=True)) / kept
        if best is None or off < best[0]:
            best = (off, parts)
    if best is None:
        raise DataError(
            "no split by time leaves a case in every part: too many cases have the same time, or patients and "
            "duplicates tie the earliest cases to the latest; set split.method = 'random'."
        )
    return best[1]


def _cuts(
    ranks: NDArray[np.int64], last: NDArray[np.int64], shares: Sequence[int], kept: int
) -> tuple[int, ...] | None:
    """The latest rank of train, validation and calibration; None where there are too few times.

    The test is every case after the last cut; each part before it is counted without the groups that come again later.
    """
    cuts: list[int] = []
    top = int(ranks.max(initial=0))
    for part in range(len(shares) - 1, 0, -1):
        rows = last <= top
        if top < part:  # an earlier part would have no time left
            return None
        counts = np.bincount(ranks[rows], minlength=top + 1)
        after = counts[::-1].cumsum()[::-1]  # [ranks] cases of this rank or later
        off = np.abs(after[part:] * _THOUSAND - shares[part] * kept)
        top = part + int(off.argmin()) - 1  # the part begins with the rank after it
        cuts.append(top)
    return tuple(reversed(cuts))


def _only(
    rows: NDArray[np.int64], groups: NDArray[np.int64], labels: RowLabels, keys: Sequence[str]
) -> tuple[NDArray[np.int64], RowLabels, list[str]]:
    """Groups, labels and keys of some rows, with the groups numbered afresh."""
    held, fresh = np.unique(groups[rows], return_inverse=True)
    own: RowLabels = labels[rows] if isinstance(labels, np.ndarray) else [labels[row] for row in rows.tolist()]
    return fresh.astype(np.int64), own, [keys[group] for group in held.tolist()]


def _wished(splits: NDArray[np.int64], given: set[int], shares: Sequence[float]) -> dict[str, float]:
    """The share of each split: what a given part has, and of the rest what the protocol's shares make of it."""
    has = np.bincount(splits, minlength=len(SPLITS)) / max(len(splits), 1)
    rest = 1 - sum(float(has[part]) for part in given)
    asked = sum(share for part, share in enumerate(shares) if part not in given)
    return {
        name: round(float(has[part]) if part in given else rest * shares[part] / asked, 6)
        for part, name in enumerate(SPLITS)
    }


def _normal(shares: Sequence[float]) -> list[float]:
    """Shares that add up to 1."""
    return [share / sum(shares) for share in shares]


def _require_whole(plan: Plan, places: Sequence[int], groups: NDArray[np.int64], wanted: NDArray[np.int64]) -> None:
    """Refuse a given division that cuts groups."""
    cut = np.flatnonzero(settle(groups, wanted) < 0)
    if len(cut):
        count, first = len(np.unique(groups[cut])), plan.row(places[int(cut[0])])
        raise DataError(
            f"split.column = '{plan.split.column}' of {plan.file} cuts {counted(count, 'group')} of patients or "
            f"near-duplicates apart (the first case with a twin in a later part is {first}); set split.repair = true "
            f"to leave the {counted(len(cut), 'case')} on the earlier side out, or mend the column."
        )


def folds_of(
    plan: Plan,
    places: Sequence[int],
    groups: NDArray[np.int64],
    labels: RowLabels,
    splits: NDArray[np.int64],
    keys: Sequence[str],
    seed: int,
    progress: Progress = SILENT,
) -> tuple[NDArray[np.int64] | None, int]:
    """The fold of each row, where the protocol asks for folds; and how many cases were moved to mend given ones.

    Every case has a fold, those of the test split too, so that predictions can be pooled over all; the folds are
    balanced over all cases and over those outside the test.

    Raises:
        DataError: there are fewer groups than folds, or given folds are incomplete or cut groups.
    """
    if plan.folds is not None:
        return _whole_folds(plan, plan.folds, places, groups)
    folds = plan.split.folds
    if not isinstance(folds, int) or not folds:
        return None, 0
    if len(keys) < folds:
        raise DataError(
            f"split.folds = {folds} is more than the {counted(len(keys), 'group')} of patients and duplicates that "
            "there are; ask for fewer folds."
        )
    rows = [[label] for label in labels.tolist()] if isinstance(labels, np.ndarray) else labels
    count = max((label for row in rows for label in row), default=0) + 1
    pairs = [
        list(row) if split == TEST else [*row, *(count + label for label in row)]
        for row, split in zip(rows, splits.tolist(), strict=True)
    ]
    return assign_folds(groups, pairs, keys, folds, derive(seed, "folds"), progress), 0


def _whole_folds(
    plan: Plan, given: NDArray[np.int64], places: Sequence[int], groups: NDArray[np.int64]
) -> tuple[NDArray[np.int64], int]:
    """Given folds; a group in several goes to the one that has most of its cases, if repair is asked for."""
    found = given[np.asarray(places, dtype=np.int64)]
    column = plan.split.folds
    absent = np.flatnonzero(found < 0)
    if len(absent):
        raise DataError(
            f"split.folds = '{column}' is empty in {counted(len(absent), 'case')} of {plan.file} (the first is "
            f"{plan.row(places[int(absent[0])])}); give every case a fold, or give a number of folds."
        )
    counts = np.zeros((int(groups.max(initial=-1)) + 1, int(given.max()) + 1), dtype=np.int64)
    np.add.at(counts, (groups, found), 1)
    whole = counts.argmax(axis=1)[groups]
    moved = np.flatnonzero(whole != found)
    if len(moved) and not plan.split.repair:
        raise DataError(
            f"split.folds = '{column}' of {plan.file} cuts {counted(len(np.unique(groups[moved])), 'group')} of "
            f"patients or near-duplicates apart (one case is {plan.row(places[int(moved[0])])}); set "
            f"split.repair = true to move {counted(len(moved), 'case')} to the fold of the others, or mend the column."
        )
    return whole, len(moved)
