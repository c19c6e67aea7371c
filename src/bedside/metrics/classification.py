"""Metrics of a classification, each for many weightings of the cases at once.

Weights are [resamples, cases]: how often each case was drawn. A single row of ones gives the plain figure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Counts:
    """Weighted counts, each [resamples, labels]: true positives, cases of the label, cases called so, all cases."""

    hits: Floats
    actual: Floats
    called: Floats
    total: Floats

    def sensitivity(self) -> Floats:
        """True positives of the cases that have the label; NaN where there is none."""
        return _ratio(self.hits, self.actual)

    def ppv(self) -> Floats:
        """True positives of the cases that were called so; NaN where there is none."""
        return _ratio(self.hits, self.called)

    def specificity(self) -> Floats:
        """True negatives of the cases that do not have the label."""
        return _ratio(self.total - self.actual - self.called + self.hits, self.total - self.actual)

    def npv(self) -> Floats:
        """True negatives of the cases that were not called so."""
        return _ratio(self.total - self.actual - self.called + self.hits, self.total - self.called)

    def f1(self) -> Floats:
        """Harmonic mean of sensitivity and PPV; NaN where the label neither occurs nor is called."""
        return _ratio(2 * self.hits, self.actual + self.called)

    def accuracy(self) -> Floats:
        """[resamples] share of cases called rightly."""
        return _ratio(self.hits.sum(axis=1), self.total[:, 0])


def _ratio(part: Floats, whole: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole > 0, part / whole, np.nan)


def counts(weights: Floats, actual: Ints, called: Ints, labels: int) -> Counts:
    """Count hits, cases and calls of each label.

    Args:
        weights: [resamples, cases].
        actual: [cases] the number of the true label.
        called: [cases] the number of the predicted label.
        labels: how many labels there are.
    """
    numbers = np.arange(labels)
    truth = (actual[:, None] == numbers).astype(np.float64)
    calls = (called[:, None] == numbers).astype(np.float64)
    total = np.repeat(weights.sum(axis=1, keepdims=True), labels, axis=1)
    return Counts(weights @ (truth * calls), weights @ truth, weights @ calls, total)


def macro_f1(found: Counts) -> Floats:
    """[resamples] the mean F1 over the labels that have a case in the resample."""
    f1 = np.where(found.actual > 0, found.f1(), np.nan)
    return np.asarray(np.nanmean(f1, axis=1), dtype=np.float64)


def share_top(weights: Floats, actual: Ints, probabilities: Floats, k: int) -> Floats:
    """[resamples] the share of cases whose label is among the ``k`` likeliest (ties in the order of the labels)."""
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    found = (order == actual[:, None]).any(axis=1).astype(np.float64)
    return _ratio(weights @ found, weights.sum(axis=1))


def auroc(weights: Floats, positive: NDArray[np.bool_], scores: Floats) -> Floats:
    """[resamples] the probability that a positive case scores above a negative one, ties counted half.

    Source: Hanley and McNeil 1982, with case weights. NaN where one side is empty.
    """
    order = np.argsort(scores, kind="stable")
    ranked = scores[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    weight = weights[:, order]
    up = np.add.reduceat(weight * positive[order], starts, axis=1)
    down = np.add.reduceat(weight * ~positive[order], starts, axis=1)
    below = np.cumsum(down, axis=1) - down
    won = (up * (below + down / 2)).sum(axis=1)
    return _ratio(won, up.sum(axis=1) * down.sum(axis=1))
