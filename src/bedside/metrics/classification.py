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
        """True negatives of the cases that do not have the label; NaN where there is none."""
        return _ratio(self.total - self.actual - self.called + self.hits, self.total - self.actual)

    def npv(self) -> Floats:
        """True negatives of the cases that were not called so; NaN where there is none."""
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
    """[resamples] the mean F1 over the labels that have a case in the resample, each label counting the same."""
    f1 = np.where(found.actual > 0, found.f1(), np.nan)
    return np.asarray(np.nanmean(f1, axis=1), dtype=np.float64)


def weighted_f1(found: Counts) -> Floats:
    """[resamples] the mean F1 over the labels, each counting by its cases."""
    f1 = np.where(found.actual > 0, found.f1(), 0.0)
    return _ratio((f1 * found.actual).sum(axis=1), found.total[:, 0])


def micro_f1(found: Counts) -> Floats:
    """[resamples] F1 of the counts of all labels taken together; with one label a case it equals the accuracy."""
    return _ratio(2 * found.hits.sum(axis=1), (found.actual + found.called).sum(axis=1))


def share_top(weights: Floats, actual: Ints, probabilities: Floats, k: int) -> Floats:
    """[resamples] the share of cases whose label is among the ``k`` likeliest."""
    return _ratio(weights @ among_first(actual, probabilities, k).astype(np.float64), weights.sum(axis=1))


def among_first(actual: Ints, probabilities: Floats, k: int) -> NDArray[np.bool_]:
    """[cases] whether the label is among the ``k`` likeliest (ties in the order of the labels)."""
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    return np.asarray((order == actual[:, None]).any(axis=1))


def brier(weights: Floats, actual: Ints, probabilities: Floats) -> Floats:
    """[resamples] the mean squared error of the probabilities (Brier 1950), summed over the labels.

    For two labels half of that sum, which is the usual figure of the positive label alone; so it lies within 0 and 2
    for several labels, and within 0 and 1 for two.
    """
    labels = probabilities.shape[1]
    truth = (actual[:, None] == np.arange(labels)).astype(np.float64)
    score = ((probabilities - truth) ** 2).sum(axis=1) / (2 if labels == 2 else 1)
    return _ratio(weights @ score, weights.sum(axis=1))


def auroc(weights: Floats, positive: NDArray[np.bool_], scores: Floats) -> Floats:
    """[resamples] the probability that a positive case scores above a negative one, ties counted half.

    Source: Hanley and McNeil 1982, with case weights. NaN where one side is empty.
    """
    up, down = _by_score(weights, positive, scores)
    below = np.cumsum(down, axis=1) - down
    won = (up * (below + down / 2)).sum(axis=1)
    return _ratio(won, up.sum(axis=1) * down.sum(axis=1))


def auprc(weights: Floats, positive: NDArray[np.bool_], scores: Floats) -> Floats:
    """[resamples] average precision: the PPV at each threshold, weighted by the sensitivity that it adds.

    The step-wise area under the precision-recall curve, without interpolation (Davis and Goadrich 2006 show why).
    NaN where there is no positive case.
    """
    up, down = _by_score(weights, positive, scores)
    up, down = up[:, ::-1], down[:, ::-1]
    hits = np.cumsum(up, axis=1)
    precision = np.nan_to_num(_ratio(hits, hits + np.cumsum(down, axis=1)))
    return _ratio((up * precision).sum(axis=1), up.sum(axis=1))


def _by_score(weights: Floats, positive: NDArray[np.bool_], scores: Floats) -> tuple[Floats, Floats]:
    """[resamples, scores] the weight of positives and of negatives at each different score, ascending."""
    order = np.argsort(scores, kind="stable")
    ranked = scores[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    weight = weights[:, order]
    up = np.add.reduceat(weight * positive[order], starts, axis=1)
    down = np.add.reduceat(weight * ~positive[order], starts, axis=1)
    return np.asarray(up, dtype=np.float64), np.asarray(down, dtype=np.float64)
