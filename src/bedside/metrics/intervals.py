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
    """

    clusters: NDArray[np.int64]
    count: int
    seed: int

    @classmethod
    def of(cls, names: Sequence[object], count: int, seed: int) -> Resamples:
        """Resamples of the clusters with these names, one a case."""
        numbers: dict[object, int] = {}
        return cls(np.asarray([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64), count, seed)

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


def exact_interval(hits: int, of: int, confidence: float) -> tuple[float, float]:
    """The Clopper–Pearson interval of a proportion."""
    from scipy.stats import beta

    tail = (1 - confidence) / 2
    low = 0.0 if hits == 0 else float(beta.ppf(tail, hits, of - hits + 1))
    high = 1.0 if hits == of else float(beta.ppf(1 - tail, hits + 1, of - hits))
    return low, high


def mcnemar(first_only: int, second_only: int) -> float:
    """The exact two-sided p-value that two classifiers err equally often, from the cases where only one is right."""
    from scipy.stats import binomtest

    discordant = first_only + second_only
    return float(binomtest(first_only, discordant, 0.5).pvalue) if discordant else 1.0
