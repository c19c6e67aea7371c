"""Metrics of cases with several labels, each for many weightings of the cases at once.

Weights are [resamples, cases]: how often each case was drawn. Truth and calls are [cases, labels], true where a case
has the label or is called so. Sensitivity, specificity, PPV, NPV, F1, micro-F1 and macro-F1 come from the same
:class:`~bedside.metrics.classification.Counts` as those of one label a case.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bedside.metrics.classification import Counts

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def counts_of_sets(weights: Floats, actual: Bools, called: Bools) -> Counts:
    """Count hits, cases and calls of each label, where a case may have several, or none."""
    truth, calls = actual.astype(np.float64), called.astype(np.float64)
    total = np.repeat(weights.sum(axis=1, keepdims=True), actual.shape[1], axis=1)
    return Counts(weights @ (truth * calls), weights @ truth, weights @ calls, total)


def subset_accuracy(weights: Floats, actual: Bools, called: Bools) -> Floats:
    """[resamples] the share of cases whose every label is called, and no other."""
    return _mean(weights, exact_sets(actual, called).astype(np.float64))


def exact_sets(actual: Bools, called: Bools) -> Bools:
    """[cases] whether every label of the case is called, and no other."""
    return np.asarray((actual == called).all(axis=1))


def hamming_loss(weights: Floats, actual: Bools, called: Bools) -> Floats:
    """[resamples] the share of decisions (a case and a label) that are wrong."""
    return _mean(weights, (actual != called).mean(axis=1))


def jaccard(weights: Floats, actual: Bools, called: Bools) -> Floats:
    """[resamples] labels both true and called over labels true or called, mean over the cases.

    A case that has no label and is called none counts 1: nothing of it is wrong.
    """
    both, either = (actual & called).sum(axis=1), (actual | called).sum(axis=1)
    return _mean(weights, np.where(either > 0, both / np.maximum(either, 1), 1.0))


def precision_at(weights: Floats, actual: Bools, probabilities: Floats, k: int) -> Floats:
    """[resamples] the share of the ``k`` likeliest labels that the case has, mean over the cases.

    Ties go to the first label; of fewer than ``k`` labels all are taken.
    """
    return _mean(weights, hits_at(actual, probabilities, k) / min(k, actual.shape[1]))


def recall_at(weights: Floats, actual: Bools, probabilities: Floats, k: int) -> Floats:
    """[resamples] the share of a case's labels among its ``k`` likeliest, mean over the cases that have a label.

    NaN where no case has one.
    """
    own = actual.sum(axis=1)
    having = own > 0
    return _mean(weights[:, having], hits_at(actual, probabilities, k)[having] / own[having])


def hits_at(actual: Bools, probabilities: Floats, k: int) -> NDArray[np.int64]:
    """[cases] how many of the ``k`` likeliest labels (ties in the order of the labels) the case has."""
    first = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    return np.asarray(np.take_along_axis(actual, first, axis=1).sum(axis=1), dtype=np.int64)


def brier_of_labels(weights: Floats, actual: Bools, probabilities: Floats) -> Floats:
    """[resamples, labels] the mean squared error of each label's probability (Brier 1950), within 0 and 1."""
    return _ratio(weights @ (probabilities - actual) ** 2, weights.sum(axis=1, keepdims=True))


def areas(weights: Floats, positive: Bools, scores: Floats) -> tuple[Floats, Floats]:
    """[resamples] AUROC, and [resamples] average precision, of one label.

    The same figures as :func:`~bedside.metrics.classification.auroc` and ``auprc``, which sum over every different
    score; here only the scores of cases that have the label are visited, which of 120 labels are few in 100 cases.

    Args:
        weights: [resamples, cases].
        positive: [cases] whether the case has the label.
        scores: [cases].
    """
    order = np.argsort(scores, kind="stable")
    ranked, has = scores[order], positive[order]
    mine = np.flatnonzero(has)
    start = np.searchsorted(ranked, ranked[mine], side="left")
    stop = np.searchsorted(ranked, ranked[mine], side="right")
    weight = weights[:, order]
    own = weight[:, mine]
    before = _running(weight)  # [resamples, cases + 1] the weight of all cases under a place
    hits = _running(own)
    at, after = (np.searchsorted(mine, place, side="left") for place in (start, stop))
    below = before[:, start] - hits[:, at]
    tied = (before[:, stop] - before[:, start]) - (hits[:, after] - hits[:, at])
    every, having = before[:, -1], hits[:, -1]
    won = (own * (below + tied / 2)).sum(axis=1)
    found = having[:, None] - hits[:, at]
    precision = np.nan_to_num(_ratio(found, every[:, None] - before[:, start]))
    return _ratio(won, having * (every - having)), _ratio((own * precision).sum(axis=1), having)


def _running(weight: Floats) -> Floats:
    """[resamples, n + 1] the sums of the first 0, 1, …, n columns."""
    sums = np.zeros((weight.shape[0], weight.shape[1] + 1))
    np.cumsum(weight, axis=1, out=sums[:, 1:])
    return sums


def _mean(weights: Floats, values: NDArray[np.floating]) -> Floats:
    """[resamples] the weighted mean of a value a case."""
    return _ratio(weights @ values, weights.sum(axis=1))


def _ratio(part: Floats, whole: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole > 0, part / whole, np.nan)
