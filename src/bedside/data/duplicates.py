"""Which texts are the same, or nearly: what must stay on one side of a split.

Two texts are near-duplicates when the Jaccard overlap of their sets of lower-cased words reaches the threshold,
whatever their labels. MinHash (Broder 1997) with banding only *proposes* pairs; a pair counts when its true overlap,
on whole word sets, reaches the threshold. Banding may miss a pair at the very threshold with probability below 0.001.
"""

from __future__ import annotations

import itertools
import re
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bedside.core.progress import SILENT, Progress

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_WORD = re.compile(r"\w+")
_MISS = 0.001  # highest probability that banding misses a pair that lies exactly at the threshold
_MOST_HASHES = 512
_HASH_SEED = 20_261  # part of the method, not of a study: the same texts give the same pairs in every study
_CHUNK = 4_000
_WINDOW = 64  # within a bucket, a text is compared with this many neighbours and with the bucket's first
_BITS = 256  # of the hashes: what is compared before the words themselves
_PAIRS = 200_000
EPSILON = 1e-9  # 7 of 10 words is an overlap of 0.7, whatever floating point makes of it


@dataclass(frozen=True)
class Duplicates:
    """For each row, which text it has and which cluster of near-duplicates that belongs to.

    Attributes:
        exact: [rows] number of the row's text; equal where texts are equal after normalising.
        cluster: [rows] number of the row's cluster; equal for exact duplicates too.
        keys: the normalised texts, by number.
    """

    exact: NDArray[np.int64]
    cluster: NDArray[np.int64]
    keys: tuple[str, ...]


def words(text: str) -> list[str]:
    """The lower-cased words of a text, in order."""
    return _WORD.findall(text.lower())


def find_duplicates(texts: Sequence[str], threshold: float, progress: Progress = SILENT) -> Duplicates:
    """Find exact and near-duplicates.

    Args:
        texts: cleaned texts.
        threshold: Jaccard overlap of word sets, in (0, 1]; 1 means exact duplicates only.
        progress: shown while hashing and comparing.
    """
    exact, keys = exact_texts(texts)
    if threshold >= 1 or len(keys) < 2:
        return Duplicates(exact, exact.copy(), keys)
    clusters = _near(keys, threshold, progress)
    return Duplicates(exact, clusters[exact], keys)


def exact_texts(texts: Sequence[str]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Number the texts that differ after normalising (lower case, words joined by a space)."""
    numbers: dict[str, int] = {}
    exact = np.fromiter(
        (numbers.setdefault(" ".join(words(text)), len(numbers)) for text in texts), dtype=np.int64, count=len(texts)
    )
    return exact, tuple(numbers)


def banding(threshold: float) -> tuple[int, int]:
    """Bands and hashes per band: the strictest bands that still find a pair at the threshold.

    A pair with overlap s shares a band of r hashes with probability s**r, and at least one of b bands with
    1 - (1 - s**r)**b. The larger r, the fewer pairs are proposed in vain.
    """
    best = (_MOST_HASHES, 1)
    for size in range(2, 12):
        hit = threshold**size
        bands = int(np.ceil(np.log(_MISS) / np.log1p(-hit)))
        if bands * size > _MOST_HASHES:
            break
        best = (bands, size)
    return best


def join_groups(size: int, *parts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows that share a number in any part, directly or through others, get one group number.

    Args:
        size: number of rows.
        parts: each [rows]; equal numbers belong together, a negative number belongs to nothing.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows, nodes, start = [], [], size
    for part in parts:
        named = np.flatnonzero(part >= 0)
        rows.append(named)
        nodes.append(part[named] + start)
        start += int(part.max(initial=-1)) + 1
    left, right = np.concatenate(rows), np.concatenate(nodes)
    graph = coo_array((np.ones(len(left), dtype=np.int8), (left, right)), shape=(start, start))
    _, component = connected_components(graph, directed=False)
    _, numbers = np.unique(component[:size], return_inverse=True)
    return numbers.astype(np.int64)


def word_matrix(sets: Iterable[Iterable[str]], dtype: type[np.integer[Any]] = np.int32) -> csr_array:
    """[texts, words] with a 1 where the text holds the word; words are numbered as they come.

    The texts' words are taken one text at a time, so a generator keeps memory small: the words of a million notes, all
    as strings at once, would fill 5 GB. A product of two matrices counts words, which a byte cannot hold.
    """
    from scipy.sparse import csr_array

    numbers: defaultdict[str, int] = defaultdict(itertools.count().__next__)
    columns, lengths = array("i"), array("q", [0])
    for tokens in sets:
        held = set(map(numbers.__getitem__, tokens))
        columns.extend(held)
        lengths.append(len(held))
    starts = np.cumsum(np.frombuffer(lengths, dtype=np.int64))
    places = np.frombuffer(columns, dtype=np.int32) if columns else np.zeros(0, dtype=np.int32)
    matrix = csr_array(
        (np.ones(len(places), dtype=dtype), places, starts), shape=(len(starts) - 1, max(len(numbers), 1))
    )
    matrix.sort_indices()
    return matrix


@dataclass(frozen=True)
class _Sketch:
    """What is kept of the texts' MinHash digests: enough to propose pairs and to rule out most of them.

    Attributes:
        bands: [bands, texts] one number for the hashes of a band.
        bits: [texts, words of 64 bits] the last bit of each of the first hashes, packed.
        size: how many bits are used.
    """

    bands: NDArray[np.uint64]
    bits: NDArray[np.uint64]
    size: int

    def alike(self, left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.float64]:
        """[pairs] the share of bits that agree: (1 + overlap) / 2 on average (Li and König 2010)."""
        differ = np.bitwise_count(self.bits[left] ^ self.bits[right]).sum(axis=1, dtype=np.int64)
        share: NDArray[np.float64] = 1 - differ / self.size
        return share


def _near(keys: Sequence[str], threshold: float, progress: Progress) -> NDArray[np.int64]:
    """Connected components of the graph of near-duplicate pairs."""
    matrix = word_matrix((key.split(" ") for key in keys), dtype=np.int8)
    lengths = np.diff(matrix.indptr).astype(np.int64)
    bands, size = banding(threshold)
    sketch = _sketch(keys, bands, size, progress)
    cluster = np.arange(len(keys), dtype=np.int64)
    with progress.task("comparing texts", total=bands, unit="bands") as task:
        for band in range(bands):
            for left, right in _candidates(sketch.bands, band):
                near = _verified(matrix, lengths, sketch, cluster, left, right, threshold)
                if near.any():
                    cluster = _merged(cluster, left[near], right[near])
            task.advance()
    return cluster


def _sketch(keys: Sequence[str], bands: int, size: int, progress: Progress) -> _Sketch:
    """Hash the texts, a few thousand at a time: the digests of a million would fill more than a gigabyte."""
    from rensa import RMinHash

    used = min(_BITS, bands * size)
    found = _Sketch(
        np.empty((bands, len(keys)), dtype=np.uint64), np.zeros((len(keys), -(-used // 64)), dtype=np.uint64), used
    )
    with progress.task("hashing texts", total=len(keys), unit="texts") as task:
        for start in range(0, len(keys), _CHUNK):
            part = [key.split(" ") for key in keys[start : start + _CHUNK]]
            rows = slice(start, start + len(part))
            digests = np.asarray(
                RMinHash.digests_from_token_sets(part, num_perm=bands * size, seed=_HASH_SEED), dtype=np.uint32
            )
            for band in range(bands):
                found.bands[band, rows] = band_key(digests, band, size)
            packed = np.packbits((digests[:, :used] & 1).astype(np.uint8), axis=1)
            found.bits[rows].view(np.uint8)[:, : packed.shape[1]] = packed
            task.advance(len(part))
    return found


def _candidates(keys: NDArray[np.uint64], band: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Pairs of texts that share all hashes of a band.

    Texts of a bucket are sorted by the next band too, so that the likeliest twins are neighbours even in a bucket
    of thousands, which is not compared pair by pair.
    """
    own, following = keys[band], keys[(band + 1) % len(keys)]
    shared = _shared(own)
    if not len(shared):
        return
    order = shared[np.lexsort((following[shared], own[shared]))]
    key = own[order]
    fresh = np.concatenate([[True], key[1:] != key[:-1]])
    first = order[np.flatnonzero(fresh)[np.cumsum(fresh) - 1]]
    yield first[~fresh], order[~fresh]
    for step in range(1, min(_WINDOW, len(order) - 1) + 1):
        same = np.flatnonzero(key[step:] == key[:-step])
        if not len(same):
            return
        yield order[same], order[same + step]


def _shared(keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The texts whose key another text has too, in order."""
    order = np.argsort(keys)
    ordered = keys[order]
    twin = np.zeros(len(keys) + 1, dtype=np.bool_)
    twin[1:-1] = ordered[1:] == ordered[:-1]
    shared: NDArray[np.int64] = np.sort(order[twin[1:] | twin[:-1]]).astype(np.int64)
    return shared


def band_key(digests: NDArray[np.uint32], band: int, size: int) -> NDArray[np.uint64]:
    """[texts] one 64-bit number for the hashes of a band."""
    key = np.full(len(digests), 0x9E3779B97F4A7C15, dtype=np.uint64)
    for column in range(band * size, (band + 1) * size):
        key ^= digests[:, column].astype(np.uint64)
        key *= np.uint64(0xFF51AFD7ED558CCD)
        key ^= key >> np.uint64(29)
    return key


def _verified(
    matrix: csr_array,
    lengths: NDArray[np.int64],
    sketch: _Sketch,
    cluster: NDArray[np.int64],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    threshold: float,
) -> NDArray[np.bool_]:
    """[pairs] whether the pair is near and not yet in one cluster.

    Cheap tests come first: known, lengths too different to reach the threshold, bits that agree far too seldom (five
    standard errors below it); the true overlap decides.
    """
    keep = np.flatnonzero(cluster[left] != cluster[right])
    shorter, longer = np.minimum(lengths[left], lengths[right]), np.maximum(lengths[left], lengths[right])
    keep = keep[shorter[keep] >= threshold * longer[keep] - EPSILON]
    wanted = (1 + threshold) / 2
    floor = wanted - 5 * np.sqrt(wanted * (1 - wanted) / sketch.size)
    keep = keep[sketch.alike(left[keep], right[keep]) >= floor]
    near = np.zeros(len(left), dtype=np.bool_)
    near[keep] = overlap(matrix, lengths, left[keep], right[keep]) >= threshold - EPSILON
    return near


def overlap(
    matrix: csr_array, lengths: NDArray[np.int64], left: NDArray[np.int64], right: NDArray[np.int64]
) -> NDArray[np.float64]:
    """[pairs] the true Jaccard overlap of two texts' word sets."""
    shared = np.zeros(len(left), dtype=np.float64)
    for start in range(0, len(left), _PAIRS):
        part = slice(start, start + _PAIRS)
        shared[part] = (matrix[left[part]] * matrix[right[part]]).sum(axis=1)
    return shared / np.maximum(lengths[left] + lengths[right] - shared, 1)


def _merged(cluster: NDArray[np.int64], left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    """The clusters after joining those of each pair."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    size = len(cluster)
    graph = coo_array((np.ones(len(left), dtype=np.int8), (cluster[left], cluster[right])), shape=(size, size))
    _, component = connected_components(graph, directed=False)
    joined: NDArray[np.int64] = component[cluster].astype(np.int64)
    return joined
