"""How far stated probabilities are from what happens."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
BINS = 15


def equal_mass_bins(confidence: Floats, bins: int = BINS) -> NDArray[np.int64]:
    """[cases] the bin of each case: as many cases in each bin as the number allows, by rank of the confidence."""
    ranks = np.empty(len(confidence), dtype=np.int64)
    ranks[np.argsort(confidence, kind="stable")] = np.arange(len(confidence))
    return ranks * min(bins, len(confidence)) // max(len(confidence), 1)


def ece(weights: Floats, confidence: Floats, right: NDArray[np.bool_]) -> Floats:
    """[resamples] expected calibration error of the first label over 15 equal-mass bins, fixed by the whole sample.

    Source: Naeini et al. 2015, with the equal-mass bins of Nixon et al. 2019.
    """
    bins = equal_mass_bins(confidence)
    member = (bins[:, None] == np.arange(bins.max(initial=0) + 1)).astype(np.float64)
    gap = weights @ (member * (confidence - right)[:, None])
    return np.asarray(np.abs(gap).sum(axis=1) / weights.sum(axis=1), dtype=np.float64)


def ece_if_perfect(confidence: Floats, seed: int, draws: int = 500) -> tuple[float, float]:
    """What a perfectly calibrated model with these confidences would show at this number of cases.

    Returns:
        The median and the 95th percentile of simulated errors; the error of few cases is never near 0.
    """
    random = np.random.default_rng(seed)
    one = np.ones((1, len(confidence)))
    found = [float(ece(one, confidence, random.random(len(confidence)) < confidence)[0]) for _ in range(draws)]
    return float(np.quantile(found, 0.5)), float(np.quantile(found, 0.95))
