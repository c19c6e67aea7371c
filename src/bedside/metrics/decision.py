"""Whether acting on a probability does more good than harm, and what a call is worth where the label is rarer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def net_benefit(weights: Floats, has: Bools, stated: Floats, thresholds: Floats) -> Floats:
    """[resamples, thresholds] true positives less false ones, a case, where all from a threshold on are acted upon.

    A false positive counts ``t / (1 - t)`` of a true one: whoever acts from a probability ``t`` on takes one needless
    act to be worth that much of a needed one (Vickers and Elkin 2006).

    Args:
        weights: [resamples, cases].
        has: [cases] whether the case has the label.
        stated: [cases] its probability.
        thresholds: [thresholds] above 0 and below 1.
    """
    acted = stated[:, None] >= thresholds
    total = weights.sum(axis=1, keepdims=True)
    hits = weights @ (acted & has[:, None]).astype(np.float64)
    false = weights @ (acted & ~has[:, None]).astype(np.float64)
    return np.asarray((hits - false * thresholds / (1 - thresholds)) / total)


def net_benefit_of_all(weights: Floats, has: Bools, thresholds: Floats) -> Floats:
    """[resamples, thresholds] the net benefit of acting on every case."""
    share = (weights @ has.astype(np.float64) / weights.sum(axis=1))[:, None]
    return np.asarray(share - (1 - share) * thresholds / (1 - thresholds))


def predictive_values(sensitivity: Floats, specificity: Floats, prevalence: float) -> tuple[Floats, Floats]:
    """PPV and NPV where the label has another prevalence than among these cases (Bayes' rule).

    Sensitivity and specificity are taken to be the same there. NaN where nothing would be called so, or nothing not.
    """
    hit, false = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    missed, spared = (1 - sensitivity) * prevalence, specificity * (1 - prevalence)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(hit / (hit + false)), np.asarray(spared / (spared + missed))
