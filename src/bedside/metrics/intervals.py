"""Intervals: bootstrap by cluster, exact for proportions, and an exact paired test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_AT_ONCE = 200  # resamples held in memory together


@dataclass(frozen=True)
class Resamples:
    """Bootstrap resamples of clusters: the notes of one patient are drawn together or not at all.

    Source: Field and Welsh 2007 (randomised cluster bootstrap); percentile intervals.

    Attributes:
        clusters: [cases] the number of each case's cluster.
        count: how many resamples.
        seed: of the draws.
    """

    clusters: NDArray[np.int64]
    count: int
    seed: int

    @classmethod
    def of(cls, names: Sequence[object], count: int, seed: int) -> Resamples:
        """Resamples of the clusters with these names, one a case."""
        return cls(numbered(names), count, seed)

    def weights(self) -> Iterator[Floats]:
        """Blocks of [resamples, cases]: how often each case was drawn. The same blocks on every call."""
        random = np.random.default_rng(self.seed)
        size = int(self.clusters.max(initial=-1)) + 1
        for start in range(0, self.count, _AT_ONCE):
            block = min(_AT_ONCE, self.count - start)
            drawn = random.multinomial(size, np.full(size, 1 / size), size=block)
            yield drawn[:, self.clusters].astype(np.float64)

    def apply(self, figures: Callable[[Floats], Floats]) -> Floats:
        """Any figures, as a function of weights that gives [resamples, figures], over all resamples."""
        return np.concatenate([figures(block) for block in self.weights()])


def numbered(names: Sequence[object]) -> NDArray[np.int64]:
    """[cases] a number for each different name, in the order in which they appear."""
    numbers: dict[object, int] = {}
    return np.asarray([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)


def exact_interval(hits: float, of: float, confidence: float) -> tuple[float, float]:
    """The Clopper–Pearson interval of a proportion; the counts may be effective ones, that are not whole."""
    from scipy.stats import beta

    tail = (1 - confidence) / 2
    low = 0.0 if hits <= 0 else float(beta.ppf(tail, hits, of - hits + 1))
    high = 1.0 if hits >= of else float(beta.ppf(1 - tail, hits + 1, of - hits))
    return low, high


def effective_cases(hit: NDArray[np.bool_], clusters: NDArray[np.int64], confidence: float) -> float:
    """How many independent cases would leave as much doubt about a share as these clustered ones do.

    Where all cases are hits, or none, nothing can be seen of how alike the cases of a cluster are: each cluster then
    counts as one case. Never more than there are cases, never fewer than one.

    Source: Korn and Graubard 1998.
    """
    from scipy.stats import t

    size, share = len(hit), float(hit.mean())
    sums = np.bincount(clusters, weights=hit - share)[np.bincount(clusters) > 0]
    groups = len(sums)
    if share in (0.0, 1.0) or groups < 2:
        return float(groups)
    variance = groups / (groups - 1) * float((sums**2).sum()) / size**2
    quantile = (1 + confidence) / 2
    narrower = (float(t.ppf(quantile, size - 1)) / float(t.ppf(quantile, groups - 1))) ** 2
    return min(max(share * (1 - share) / variance * narrower, 1.0), float(size)) if variance else float(size)


def clustered_exact_interval(
    hit: NDArray[np.bool_], clusters: NDArray[np.int64], confidence: float
) -> tuple[float, float]:
    """The Clopper–Pearson interval of a share of clustered cases, at their effective number."""
    effective = effective_cases(hit, clusters, confidence)
    return exact_interval(float(hit.mean()) * effective, effective, confidence)


def mcnemar(first_only: int, second_only: int) -> float:
    """The exact two-sided p-value that two classifiers err equally often, from the cases where only one is right."""
    from scipy.stats import binomtest

    discordant = first_only + second_only
    return float(binomtest(first_only, discordant, 0.5).pvalue) if discordant else 1.0
