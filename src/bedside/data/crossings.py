"""Does anything cross the splits? Counted from the finished cohort, by another way than the one that made it.

The clusters come from hashing; here held-out texts are compared with *every* text by brute force. Where that would
take minutes, a sample of held-out texts is compared so, and all of them by hashes that are independent of those that
made the clusters: a pair at the very threshold is missed by both with a probability below 0.0001, one above it more
seldom. The report says how many were compared in which way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bedside.core.progress import SILENT, Progress
from bedside.data.duplicates import EPSILON, band_key, banding, overlap, word_matrix, words

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_WORK = 1_500_000_000  # word matches that may be counted, about ten seconds' worth
_CELLS = 1 << 24  # of a block of held-out texts against all: what is in memory at once
_MISS = 0.05  # highest probability that the second hashing misses a pair at the threshold; the first one's is 0.001
_SEED = 977_231  # of the second hashing, apart from the first one's
_CHUNK = 4_000
_WINDOW = 64  # neighbours in a bucket that a text is compared with


@dataclass(frozen=True)
class Crossings:
    """What was found on more than one side.

    Attributes:
        patients: patients with cases in more than one split.
        exact: texts (normalised) in more than one split.
        near: pairs of texts at or above the threshold in different splits, as positions in the rows.
        checked: held-out texts that were compared with every text.
        held_out: held-out texts there are.
        hashed: held-out texts that were compared with every text by independent hashes; 0 where brute force did all.
    """

    patients: int
    exact: int
    near: tuple[tuple[int, int], ...]
    checked: int
    held_out: int
    hashed: int = 0


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
    checked = hashed = 0
    if threshold < 1 and held_out:
        matrix = word_matrix(key.split(" ") for key in first)
        near, checked = _near_pairs(matrix, splits[rows], threshold, progress)
        if checked < held_out:
            hashed = held_out
            near = sorted({*near, *_hashed_pairs(list(first), matrix, splits[rows], threshold, progress)})
    pairs = tuple((int(rows[a]), int(rows[b])) for a, b in near)
    return Crossings(_on_both_sides(patients, splits), exact, pairs, checked, held_out, hashed)


def _on_both_sides(names: Sequence[str], splits: NDArray[np.int64]) -> int:
    """How many names occur in more than one split."""
    seen: dict[str, set[int]] = {}
    for name, split in zip(names, splits.tolist(), strict=True):
        seen.setdefault(name, set()).add(split)
    return sum(len(found) > 1 for found in seen.values())


def _near_pairs(
    matrix: csr_array, splits: NDArray[np.int64], threshold: float, progress: Progress
) -> tuple[list[tuple[int, int]], int]:
    """Near-duplicate pairs in different splits, and how many held-out texts were compared with all."""
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


def _hashed_pairs(
    keys: Sequence[str], matrix: csr_array, splits: NDArray[np.int64], threshold: float, progress: Progress
) -> set[tuple[int, int]]:
    """Near-duplicate pairs in different splits, held-out text first, that share a band of fresh MinHash digests."""
    size = banding(threshold)[1]
    bands = int(np.ceil(np.log(_MISS) / np.log1p(-(threshold**size))))
    numbers = _band_numbers(keys, bands, size, progress)
    lengths = np.diff(matrix.indptr).astype(np.int64)
    found: set[tuple[int, int]] = set()
    with progress.task("checking by other hashes", total=bands, unit="bands") as task:
        for band in range(bands):
            left, right = _mixed(numbers[band], numbers[(band + 1) % bands], splits)
            near = overlap(matrix, lengths, left, right) >= threshold - EPSILON
            for one, other in zip(left[near].tolist(), right[near].tolist(), strict=True):
                found.add((one, other) if splits[one] != 0 else (other, one))
            task.advance()
    return found


def _band_numbers(keys: Sequence[str], bands: int, size: int, progress: Progress) -> NDArray[np.uint64]:
    """[bands, texts] one number for the hashes of a band."""
    from rensa import RMinHash

    numbers = np.zeros((bands, len(keys)), dtype=np.uint64)
    with progress.task("hashing texts again", total=len(keys), unit="texts") as task:
        for start in range(0, len(keys), _CHUNK):
            part = [key.split(" ") for key in keys[start : start + _CHUNK]]
            digests = np.asarray(
                RMinHash.digests_from_token_sets(part, num_perm=bands * size, seed=_SEED), dtype=np.uint32
            )
            for band in range(bands):
                numbers[band, start : start + len(part)] = band_key(digests, band, size)
            task.advance(len(part))
    return numbers


def _mixed(
    own: NDArray[np.uint64], following: NDArray[np.uint64], splits: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of texts of one bucket in different splits; only buckets that hold several splits are looked into.

    In such a bucket texts are sorted by the next band too, so that the likeliest twins are neighbours.
    """
    order = np.argsort(own, kind="stable")
    starts = np.flatnonzero(np.concatenate([[True], own[order][1:] != own[order][:-1]]))
    sizes = np.diff(np.append(starts, len(order)))
    sides = splits[order]
    several = np.maximum.reduceat(sides, starts) != np.minimum.reduceat(sides, starts)
    rows = order[np.repeat(several, sizes)].astype(np.int64)
    rows = rows[np.lexsort((following[rows], own[rows]))]
    left, right = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for step in range(1, min(_WINDOW, len(rows) - 1) + 1):
        one, other = rows[:-step], rows[step:]
        same = own[one] == own[other]
        if not same.any():
            break
        apart = same & (splits[one] != splits[other])
        left.append(one[apart])
        right.append(other[apart])
    return np.concatenate(left), np.concatenate(right)
