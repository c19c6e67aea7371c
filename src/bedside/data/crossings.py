"""Does anything cross the splits? Counted from the finished cohort, by another way than the one that made it.

The clusters come from hashing; here held-out texts are compared with *every* text by brute force. Where that would
take minutes, a sample of held-out texts is compared, and the report says how many.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bedside.core.progress import SILENT, Progress
from bedside.data.duplicates import EPSILON, word_matrix, words

_WORK = 1_500_000_000  # word matches that may be counted, about ten seconds' worth
_CELLS = 1 << 24  # of a block of held-out texts against all: what is in memory at once


@dataclass(frozen=True)
class Crossings:
    """What was found on more than one side.

    Attributes:
        patients: patients with cases in more than one split.
        exact: texts (normalised) in more than one split.
        near: pairs of texts at or above the threshold in different splits, as positions in the rows.
        checked: held-out texts that were compared with every text.
        held_out: held-out texts there are.
    """

    patients: int
    exact: int
    near: tuple[tuple[int, int], ...]
    checked: int
    held_out: int


def count_crossings(
    texts: Sequence[str],
    patients: Sequence[str],
    splits: NDArray[np.int64],
    threshold: float,
    progress: Progress = SILENT,
) -> Crossings:
    """Count what crosses.

    Args:
        texts: [rows] cleaned texts.
        patients: [rows] patient of each row.
        splits: [rows] number of each row's split; 0 is train.
        threshold: Jaccard overlap at which texts are near-duplicates; 1 skips that comparison.
        progress: shown while comparing.
    """
    keys = [" ".join(words(text)) for text in texts]
    first: dict[str, int] = {}
    for row, key in enumerate(keys):
        first.setdefault(key, row)
    exact = _on_both_sides(keys, splits)
    rows = np.fromiter(first.values(), dtype=np.int64, count=len(first))
    held_out = int((splits[rows] != 0).sum())
    near: list[tuple[int, int]] = []
    checked = 0
    if threshold < 1 and held_out:
        near, checked = _near_pairs((key.split(" ") for key in first), splits[rows], threshold, progress)
    pairs = tuple((int(rows[a]), int(rows[b])) for a, b in near)
    return Crossings(_on_both_sides(patients, splits), exact, pairs, checked, held_out)


def _on_both_sides(names: Sequence[str], splits: NDArray[np.int64]) -> int:
    """How many names occur in more than one split."""
    seen: dict[str, set[int]] = {}
    for name, split in zip(names, splits.tolist(), strict=True):
        seen.setdefault(name, set()).add(split)
    return sum(len(found) > 1 for found in seen.values())


def _near_pairs(
    sets: Iterable[list[str]], splits: NDArray[np.int64], threshold: float, progress: Progress
) -> tuple[list[tuple[int, int]], int]:
    """Near-duplicate pairs in different splits, and how many held-out texts were compared with all."""
    matrix = word_matrix(sets)
    lengths = np.diff(matrix.indptr).astype(np.int64)
    frequency = np.bincount(matrix.indices, minlength=matrix.shape[1])
    held = np.random.default_rng(0).permutation(np.flatnonzero(splits != 0))
    work = np.add.reduceat(frequency[matrix.indices], matrix.indptr[:-1])[held].cumsum()
    held = held[: max(int(np.searchsorted(work, _WORK)), 1)]
    others = matrix.T.tocsr()
    width = min(max(_CELLS // len(lengths), 1), 64)
    found: list[tuple[int, int]] = []
    with progress.task("checking that nothing crosses", total=len(held), unit="texts") as task:
        for start in range(0, len(held), width):
            block = held[start : start + width]
            shared = (matrix[block] @ others).toarray()
            union = lengths[block][:, None] + lengths[None, :] - shared
            close = (shared >= threshold * union - EPSILON) & (splits[block][:, None] != splits[None, :])
            found += [(int(block[a]), int(b)) for a, b in zip(*np.nonzero(close), strict=True)]
            task.advance(len(block))
    return found, len(held)
