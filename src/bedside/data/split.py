"""Four splits that no group crosses, each as near to its share of every label as the groups allow.

Assigning groups so that all shares fit is a bin-packing problem; this is a greedy start (largest groups first) and a
local search on the squared, share-weighted deviations of every label and of the whole. All sums are whole numbers,
so every machine takes the same decisions; chance enters only through a keyed order of the groups, which does not
depend on the order of the rows.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bedside.core.progress import SILENT, Progress

_SCALE = 1_000
_PASSES = 12
_SWAPS = 4_000_000  # pairs of groups looked at, at most
_ABSENT = 10**30  # a label absent from a split outweighs any deviation


@dataclass
class _Packing:
    """Counts by label and split while groups move. The last 'label' stands for all cases together."""

    groups: list[list[tuple[int, int]]]  # of each group: (label, cases), with the total last
    wanted: list[list[int]]  # [label][split] wished count, times _SCALE
    weight: list[list[int]]  # [label][split] of a squared deviation
    count: list[list[int]]
    must: list[bool]  # labels that have to reach every split
    place: list[int] = field(default_factory=list)

    def change(self, group: int, split: int, sign: int) -> int:
        """By how much the cost changes when a group enters (1) or leaves (-1) a split."""
        cost = 0
        for label, cases in self.groups[group]:
            before = self.count[label][split]
            step = sign * cases * _SCALE
            off = before * _SCALE - self.wanted[label][split]
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
    labels: NDArray[np.int64],
    keys: Sequence[str],
    shares: Sequence[float],
    seed: int,
    progress: Progress = SILENT,
) -> NDArray[np.int64]:
    """Give each group a split.

    Args:
        groups: [rows] number of the row's group, 0 to len(keys) - 1.
        labels: [rows] number of the row's label.
        keys: a name of each group that does not depend on the order of the rows; with the seed it decides chance.
        shares: of each split; the first is the largest.
        seed: same seed, same groups: same splits.
        progress: shown while searching.

    Returns:
        [rows] the number of the row's split.
    """
    order = [hashlib.sha256(f"{seed}\x1f{key}".encode()).digest() for key in keys]
    packing = _packing(groups, labels, len(keys), whole_shares(shares))
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


def groups_per_label(groups: NDArray[np.int64], labels: Sequence[str]) -> dict[str, int]:
    """In how many groups each label occurs."""
    found: dict[str, set[int]] = defaultdict(set)
    for group, label in zip(groups.tolist(), labels, strict=True):
        found[label].add(group)
    return {label: len(held) for label, held in found.items()}


def missing_labels(labels: Sequence[str], splits: NDArray[np.int64], names: Sequence[str]) -> Mapping[str, list[str]]:
    """Labels that are absent from a split, with the splits' names."""
    held: dict[str, set[int]] = defaultdict(set)
    for label, split in zip(labels, splits.tolist(), strict=True):
        held[label].add(split)
    return {
        label: [name for number, name in enumerate(names) if number not in found]
        for label, found in sorted(held.items())
        if len(found) < len(names)
    }


def _packing(groups: NDArray[np.int64], labels: NDArray[np.int64], size: int, shares: Sequence[int]) -> _Packing:
    """The start: nothing is placed."""
    total = int(labels.max(initial=0)) + 1  # the number that stands for all cases
    held: list[Counter[int]] = [Counter() for _ in range(size)]
    for group, label in zip(groups.tolist(), labels.tolist(), strict=True):
        held[group][label] += 1
    cases = [*np.bincount(labels, minlength=total).tolist(), len(labels)]
    spread = Counter(label for one in held for label in one)
    weight_all = max(total // 2, 1)  # small deviations of many labels in one direction must not add up
    weights = [max(len(labels) // max(number, 1), 1) for number in cases[:-1]] + [weight_all]
    return _Packing(
        groups=[[*sorted(one.items()), (total, sum(one.values()))] for one in held],
        wanted=[[share * number for share in shares] for number in cases],
        weight=[[weight * (_SCALE * _SCALE // max(share, 1)) for share in shares] for weight in weights],
        count=[[0] * len(shares) for _ in cases],
        must=[spread[label] >= len(shares) for label in range(total)] + [False],
        place=[0] * size,
    )


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
