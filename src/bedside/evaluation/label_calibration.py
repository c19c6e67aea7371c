"""Calibration where a case may have several labels: a logistic curve for each (Platt 1999), on the calibration split.

A label with few events there would get a curve of chance, so all such labels share one, fitted on all their decisions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
FEW_EVENTS = 10
METHOD = "platt for each label"
_TINIEST, _CLOSEST = 1e-300, 1e-16  # of a probability, and of its distance from 1, whose logarithms are taken
_SLOPES, _SHIFTS = (0.05, 20.0), (-20.0, 20.0)


@dataclass(frozen=True)
class LabelCalibration:
    """For each label the slope and the intercept that its logit gets.

    Attributes:
        slope, intercept: [labels].
        shared: numbers of the labels that share one curve.
    """

    slope: tuple[float, ...]
    intercept: tuple[float, ...]
    shared: tuple[int, ...]

    @classmethod
    def fit(cls, raw: Floats, truth: Bools) -> LabelCalibration:
        """The curves with the least log-loss on these cases ([cases, labels] both)."""
        logits = _logit(raw)
        few = labels_with_few_events(truth)
        slope, intercept = np.ones(truth.shape[1]), np.zeros(truth.shape[1])
        for label in np.flatnonzero(~few):
            slope[label], intercept[label] = _curve(logits[:, label], truth[:, label])
        if few.any():
            pool = few if enough(truth[:, few]) else np.ones_like(few)
            if enough(truth[:, pool]):
                slope[few], intercept[few] = _curve(logits[:, pool].ravel(), truth[:, pool].ravel())
        return cls(_rounded(slope), _rounded(intercept), tuple(np.flatnonzero(few).tolist()))

    def apply(self, raw: Floats) -> Floats:
        """[cases, labels] calibrated probabilities; the order of the cases by a label never changes."""
        from scipy.special import expit

        scaled = _logit(raw) * np.asarray(self.slope) + np.asarray(self.intercept)
        return np.asarray(expit(scaled), dtype=np.float64)

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "method": METHOD,
            "slope": list(self.slope),
            "intercept": list(self.intercept),
            "shared": list(self.shared),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> LabelCalibration:
        """From :meth:`to_json`."""
        return cls(
            tuple(float(one) for one in value["slope"]),
            tuple(float(one) for one in value["intercept"]),
            tuple(int(one) for one in value["shared"]),
        )


def labels_with_few_events(truth: Bools) -> Bools:
    """[labels] whether under 10 of the cases [cases, labels] have the label, or under 10 have it not."""
    having = truth.sum(axis=0)
    return np.asarray(np.minimum(having, len(truth) - having) < FEW_EVENTS)


def enough(truth: Bools) -> bool:
    """Whether these decisions hold enough of both kinds to fit anything on."""
    return min(int(truth.sum()), int((~truth).sum())) >= FEW_EVENTS


def _logit(raw: Floats) -> Floats:
    return np.asarray(np.log(np.maximum(raw, _TINIEST)) - np.log(np.maximum(1 - raw, _CLOSEST)))


def _rounded(values: Floats) -> tuple[float, ...]:
    return tuple(round(float(one), 6) for one in values)


def _curve(logits: Floats, happened: Bools) -> tuple[float, float]:
    """Slope and intercept, with Platt's targets: a little short of 1 and 0, by how many events there were."""
    from scipy.optimize import minimize
    from scipy.special import expit

    events = int(happened.sum())
    goal = np.where(happened, (events + 1) / (events + 2), 1 / (len(happened) - events + 2))

    def loss(curve: Floats) -> tuple[float, Floats]:
        scaled = curve[0] * logits + curve[1]
        off = expit(scaled) - goal
        value = float((np.logaddexp(0, scaled) - goal * scaled).mean())
        return value, np.asarray([float((off * logits).mean()), float(off.mean())])

    found = minimize(loss, np.asarray([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[_SLOPES, _SHIFTS])
    return float(found.x[0]), float(found.x[1])
