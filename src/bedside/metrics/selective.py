"""How wrong a model is among the cases that it is surest of, each figure for many weightings of the cases at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def risk_coverage(scores: Floats, wrong: Bools) -> tuple[Floats, Floats, Floats]:
    """The risk–coverage curve (El-Yaniv and Wiener 2010): which share is wrong where only the surest are answered.

    Args:
        scores: [cases] the surest highest; cases of equal score are answered together.
        wrong: [cases] whether the answer would be wrong.

    Returns:
        For each different score, from the highest: the score, the share of cases at or above it, and the share of those
        that is wrong.
    """
    count, errors, ends = _steps(np.ones((1, len(scores))), scores, wrong)
    return -np.sort(-scores, kind="stable")[ends], count[0] / len(scores), errors[0] / count[0]


def aurc(weights: Floats, scores: Floats, wrong: Bools) -> Floats:
    """[resamples] the area under the risk–coverage curve (Geifman and El-Yaniv 2017): 0 is best.

    The mean, over the cases, of the share that is wrong among all cases at least as sure as it.
    """
    count, errors, _ = _steps(weights, scores, wrong)
    with np.errstate(invalid="ignore", divide="ignore"):
        risk = np.where(count > 0, errors / count, 0.0)
    own = np.diff(count, axis=1, prepend=0.0)
    return np.asarray((own * risk).sum(axis=1) / weights.sum(axis=1))


def error_at(weights: Floats, scores: Floats, wrong: Bools, coverage: float) -> Floats:
    """[resamples] the share wrong among the surest cases that are at least ``coverage`` of all."""
    count, errors, _ = _steps(weights, scores, wrong)
    enough = count >= coverage * weights.sum(axis=1, keepdims=True) - 1e-9
    place = enough.argmax(axis=1)
    rows = np.arange(len(weights))
    return np.asarray(errors[rows, place] / count[rows, place])


def _steps(weights: Floats, scores: Floats, wrong: Bools) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """[resamples, scores] weight answered and weight wrong down to each different score; the last place of each."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], True])
    weight = weights[:, order]
    answered = np.cumsum(weight, axis=1)[:, ends]
    errors = np.cumsum(weight * wrong[order], axis=1)[:, ends]
    return np.asarray(answered), np.asarray(errors), ends
