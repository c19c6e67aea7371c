"""Splits and folds that no group crosses, each as near to its share of every label as the groups allow.

Assigning groups so that all shares fit is a bin-packing problem; this is a greedy start (largest groups first) and a
local search on the squared, share-weighted deviations of every label and of the whole. A case may have several labels:
it then counts for each of them, and rare labels weigh most, which is what iterative stratification (Sechidis et al.
2011) is after; the search replaces its one pass. All sums are whole numbers, so every machine takes the same
decisions; chance enters only through a keyed order of the groups, which does not depend on the order of the rows.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bedside.core.progress import SILENT, Progress
from bedside.data.wording import counted

RowLabels = NDArray[np.int64] | Sequence[Sequence[int]]  # the label of each row, or the labels of each row

_SCALE = 1_000  # shares are in thousandths
_PASSES = 12
_SWAPS = 4_000_000  # pairs of groups looked at, at most
_ABSENT = 10**30  # a label absent from a split outweighs any deviation


@dataclass
class _Packing:
    """Counts by label and split while groups move. The last 'label' stands for all cases together."""

    groups: list[list[tuple[int, int]]]  # of each group: (label, cases), with the total last
    wanted: list[list[int]]  # [label][split] wished count, times the scale
    weight: list[list[int]]  # [label][split] of a squared deviation
    count: list[list[int]]
    must: list[bool]  # labels that have to reach every split
    scale: int  # what the shares add up to
    place: list[int] = field(default_factory=list)

    def change(self, group: int, split: int, sign: int) -> int:
        """By how much the cost changes when a group enters (1) or leaves (-1) a split."""
        cost = 0
        for label, cases in self.groups[group]:
            before = self.count[label][split]
            step = sign * cases * self.scale
            off = before * self.scale - self.wanted[label][split]
            cost += self.weight[label][split] * step * (2 * off + step)
            if self.must[label]:
                if sign < 0 and before == cases:
                    cost += _ABSENT
                elif sign > 0 and before == 0:
                    cost -= _ABSENT
        return cost

    def put(self, group: int, split: int, sign: int) -> None:
        """Let a group enter or leave a split."""
        for label, cases in self.groups[group]:
            self.count[label][split] += sign * cases


def assign(
    groups: NDArray[np.int64],
    labels: RowLabels,
    keys: Sequence[str],
    shares: Sequence[float],
    seed: int,
    progress: Progress = SILENT,
) -> NDArray[np.int64]:
    """Give each group a split.

    Args:
        groups: [rows] number of the row's group, 0 to len(keys) - 1.
        labels: [rows] number of the row's label, or a list of the row's labels (none, one or several).
        keys: a name of each group that does not depend on the order of the rows; with the seed it decides chance.
        shares: of each split; the first is the largest.
        seed: same seed, same groups: same splits.
        progress: shown while searching.

    Returns:
        [rows] the number of the row's split.
    """
    return _divide(groups, labels, keys, whole_shares(shares), seed, progress)


def assign_folds(
    groups: NDArray[np.int64],
    labels: RowLabels,
    keys: Sequence[str],
    folds: int,
    seed: int,
    progress: Progress = SILENT,
) -> NDArray[np.int64]:
    """Give each group one of ``folds`` folds of equal size, each label spread evenly over them.

    A label in fewer groups than folds is absent from some; no label is refused here.

    Args:
        groups: [rows] number of the row's group, 0 to len(keys) - 1.
        labels: [rows] number of the row's label, or a list of the row's labels.
        keys: a name of each group that does not depend on the order of the rows.
        folds: how many, two at least.
        seed: same seed, same groups: same folds.
        progress: shown while searching.

    Returns:
        [rows] the number of the row's fold, 0 to folds - 1.

    Raises:
        ValueError: fewer than two folds, or fewer groups than folds.
    """
    if folds < 2:
        raise ValueError(f"folds = {folds} is too few: cross-validation needs two at least")
    if len(keys) < folds:
        raise ValueError(
            f"folds = {folds} cannot be filled by {counted(len(keys), 'group')} of patients and duplicates"
        )
    return _divide(groups, labels, keys, [1] * folds, seed, progress)


def _divide(
    groups: NDArray[np.int64],
    labels: RowLabels,
    keys: Sequence[str],
    shares: Sequence[int],
    seed: int,
    progress: Progress,
) -> NDArray[np.int64]:
    """[rows] the part of each row, where the parts have these shares of the sum of all shares."""
    order = [hashlib.sha256(f"{seed}\x1f{key}".encode()).digest() for key in keys]
    packing = _packing(groups, labels, len(keys), shares)
    by_size = sorted(range(len(keys)), key=lambda group: (-packing.groups[group][-1][1], order[group]))
    splits = range(len(shares))
    with progress.task("splitting", total=(_PASSES + 1) * len(keys), unit="groups") as task:
        must, packing.must = packing.must, [False] * len(packing.must)
        for group in by_size:
            best = min(splits, key=lambda split: packing.change(group, split, 1))
            packing.put(group, best, 1)
            packing.place[group] = best
        packing.must = must
        task.advance(len(keys))
        for _ in range(_PASSES):
            moved = sum(_move(packing, group, splits) for group in by_size)
            task.advance(len(keys))
            if not moved and not _swap(packing, by_size):
                break
    return np.asarray(packing.place, dtype=np.int64)[groups]


def whole_shares(shares: Sequence[float]) -> list[int]:
    """Shares in thousandths that add up to exactly 1,000 (largest remainder)."""
    exact = [round(share * _SCALE, 6) for share in shares]
    whole = [int(value) for value in exact]
    by_rest = sorted(range(len(shares)), key=lambda place: (whole[place] - exact[place], place))
    for place in by_rest[: _SCALE - sum(whole)]:
        whole[place] += 1
    return whole


def groups_per_label(groups: NDArray[np.int64], labels: Sequence[str] | Sequence[Sequence[str]]) -> dict[str, int]:
    """In how many groups each label occurs; a row has one label, or a list of them."""
    found: dict[str, set[int]] = defaultdict(set)
    for group, held in zip(groups.tolist(), labels, strict=True):
        for label in (held,) if isinstance(held, str) else held:
            found[label].add(group)
    return {label: len(held) for label, held in found.items()}


def missing_labels(
    labels: Sequence[str] | Sequence[Sequence[str]], splits: NDArray[np.int64], names: Sequence[str]
) -> Mapping[str, list[str]]:
    """Labels that are absent from a split, with the splits' names."""
    held: dict[str, set[int]] = defaultdict(set)
    for row, split in zip(labels, splits.tolist(), strict=True):
        for label in (row,) if isinstance(row, str) else row:
            held[label].add(split)
    return {
        label: [name for number, name in enumerate(names) if number not in found]
        for label, found in sorted(held.items())
        if len(found) < len(names)
    }


def _packing(groups: NDArray[np.int64], labels: RowLabels, size: int, shares: Sequence[int]) -> _Packing:
    """The start: nothing is placed."""
    flat, of_row = _pairs(labels)
    total = int(flat.max(initial=0)) + 1  # the number that stands for all cases
    held: list[Counter[int]] = [Counter() for _ in range(size)]
    for group, label in zip(groups[of_row].tolist(), flat.tolist(), strict=True):
        held[group][label] += 1
    sizes = np.bincount(groups, minlength=size).tolist()
    cases = [*np.bincount(flat, minlength=total).tolist(), len(groups)]
    spread = Counter(label for one in held for label in one)
    weight_all = max(total // 2, 1)  # small deviations of many labels in one direction must not add up
    weights = [max(len(groups) // max(number, 1), 1) for number in cases[:-1]] + [weight_all]
    scale = sum(shares)
    return _Packing(
        groups=[[*sorted(one.items()), (total, rows)] for one, rows in zip(held, sizes, strict=True)],
        wanted=[[share * number for share in shares] for number in cases],
        weight=[[weight * (scale * scale // max(share, 1)) for share in shares] for weight in weights],
        count=[[0] * len(shares) for _ in cases],
        must=[spread[label] >= len(shares) for label in range(total)] + [False],
        scale=scale,
        place=[0] * size,
    )


def _pairs(labels: RowLabels) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """[pairs] the label and [pairs] the row of each label that a row has; one that is named twice counts once."""
    if isinstance(labels, np.ndarray):
        return labels, np.arange(len(labels), dtype=np.int64)
    rows = [sorted(set(row)) for row in labels]
    flat = np.asarray([label for row in rows for label in row], dtype=np.int64)
    return flat, np.repeat(np.arange(len(rows), dtype=np.int64), [len(row) for row in rows])


def _move(packing: _Packing, group: int, splits: range) -> bool:
    """Move one group where it fits better; whether it moved."""
    here = packing.place[group]
    leave = packing.change(group, here, -1)
    packing.put(group, here, -1)
    costs = {split: packing.change(group, split, 1) for split in splits if split != here}
    best = min(costs, key=lambda split: costs[split])
    there = best if leave + costs[best] < 0 else here
    packing.put(group, there, 1)
    packing.place[group] = there
    return there != here


def _swap(packing: _Packing, by_size: Sequence[int]) -> bool:
    """Exchange two groups of different splits where that helps; whether any exchange did."""
    spread = [group for group in by_size if packing.groups[group][-1][1] > 1][:400] or list(by_size[:200])
    width = min(len(by_size), max(_SWAPS // max(len(spread), 1) // 100, 50))
    stride = max(len(by_size) // width, 1)
    helped = False
    for one in spread:
        for other in by_size[::stride]:
            helped |= packing.place[one] != packing.place[other] and _exchange(packing, one, other)
    return helped


def _exchange(packing: _Packing, one: int, other: int) -> bool:
    """Exchange two groups if the cost falls."""
    here, there = packing.place[one], packing.place[other]
    cost = 0
    done: list[tuple[int, int, int]] = []
    for group, split, sign in ((one, here, -1), (other, there, -1), (one, there, 1), (other, here, 1)):
        cost += packing.change(group, split, sign)
        packing.put(group, split, sign)
        done.append((group, split, -sign))
    if cost < 0:
        packing.place[one], packing.place[other] = there, here
        return True
    for group, split, sign in reversed(done):
        packing.put(group, split, sign)
    return False
