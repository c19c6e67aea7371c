"""Calibration of one label among many, fitted on the calibration split alone.

Temperature scaling (Guo et al. 2017) always; after it, where asked for or chosen, either a scale and a shift for each
label (vector scaling, same source) or an isotonic curve for each (Zadrozny and Elkan 2002), one label against the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
METHODS = ("temperature", "vector", "isotonic")
_LEAST = 1e-12
_TINIEST = 1e-300  # of a probability whose logarithm is taken: a floor that many reach would undo their order
_RANGE = (0.05, 20.0)
_SHIFTS = (-20.0, 20.0)
_RIDGE = 1.0  # draws scales and shifts to those of the temperature alone, as one case's log-loss would
_MIXED = 0.01  # of the temperature's probability in an isotonic one: steps keep an order, and none is 0


@dataclass(frozen=True)
class Calibration:
    """What is done to the logits of a model.

    Attributes:
        temperature: they are divided by it.
        method: one of :data:`METHODS`.
        scale, shift: [labels] of the logits after that; empty but for ``vector``.
        curves: [labels] probabilities and what each becomes; empty but for ``isotonic``.
        losses: the cross-fitted log-loss of each method that was compared.
    """

    temperature: float
    method: str = "temperature"
    scale: tuple[float, ...] = ()
    shift: tuple[float, ...] = ()
    curves: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...] = ()
    losses: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def fit(cls, raw: Floats, targets: Ints, method: str = "temperature") -> Calibration:
        """The calibration with the least log-loss on these cases ([cases, labels] and [cases])."""
        temperature = _temperature(raw, targets)
        if method == "vector":
            scale, shift = _vector(_logits(raw, temperature), targets)
            return cls(temperature, method, scale, shift)
        if method == "isotonic":
            return cls(temperature, method, curves=_isotonic(_scaled(raw, temperature), targets))
        return cls(temperature)

    def apply(self, raw: Floats) -> Floats:
        """[cases, labels] calibrated probabilities; by temperature the order of a case's labels never changes."""
        from scipy.special import softmax

        if self.method == "vector":
            logits = _logits(raw, self.temperature) * np.asarray(self.scale) + np.asarray(self.shift)
            return np.asarray(softmax(logits, axis=1), dtype=np.float64)
        found = _scaled(raw, self.temperature)
        if self.method == "isotonic":
            curved = np.stack([np.interp(found[:, k], *curve) for k, curve in enumerate(self.curves)], axis=1)
            found = (1 - _MIXED) * curved + _MIXED * found
            found = found / found.sum(axis=1, keepdims=True)
        return found

    def to_json(self) -> dict[str, Any]:
        """As JSON; what the method does not use is absent."""
        found: dict[str, Any] = {"method": self.method, "temperature": self.temperature}
        if self.method == "vector":
            found |= {"scale": list(self.scale), "shift": list(self.shift)}
        if self.method == "isotonic":
            found["curves"] = [{"from": list(start), "to": list(end)} for start, end in self.curves]
        if self.losses:
            found["cross_fitted_log_loss"] = dict(self.losses)
        return found

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Calibration:
        """From :meth:`to_json`, also of a version that knew the temperature alone.

        Raises:
            ValueError: the method is none that is known here.
        """
        method = str(value["method"])
        if method not in METHODS:
            raise ValueError(f"calibration method {method!r} is none of {', '.join(METHODS)}")
        return cls(
            float(value["temperature"]),
            method,
            _numbers(value.get("scale", ())),
            _numbers(value.get("shift", ())),
            tuple((_numbers(one["from"]), _numbers(one["to"])) for one in value.get("curves", ())),
            {str(name): float(loss) for name, loss in value.get("cross_fitted_log_loss", {}).items()},
        )


def losses_of(probabilities: Floats, targets: Ints) -> Floats:
    """[cases] the log-loss of each case."""
    return np.asarray(-np.log(np.maximum(probabilities[np.arange(len(targets)), targets], _LEAST)))


def _numbers(values: Any) -> tuple[float, ...]:
    return tuple(float(one) for one in values)


def _logits(raw: Floats, temperature: float) -> Floats:
    return np.asarray(np.log(np.maximum(raw, _TINIEST)) / temperature)


def _scaled(raw: Floats, temperature: float) -> Floats:
    from scipy.special import softmax

    return np.asarray(softmax(_logits(raw, temperature), axis=1), dtype=np.float64)


def _temperature(raw: Floats, targets: Ints) -> float:
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        return float(losses_of(_scaled(raw, float(np.exp(log_temperature))), targets).mean())

    bounds = (float(np.log(_RANGE[0])), float(np.log(_RANGE[1])))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return round(float(np.exp(found.x)), 6)


def _vector(logits: Floats, targets: Ints) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Scale and shift of each label, held to 1 and 0 by a ridge that weighs as little as one case."""
    from scipy.optimize import minimize
    from scipy.special import log_softmax

    cases, labels = logits.shape
    truth = np.zeros((cases, labels))
    truth[np.arange(cases), targets] = 1

    def loss(both: Floats) -> tuple[float, Floats]:
        scale, shift = both[:labels], both[labels:]
        logs = log_softmax(logits * scale + shift, axis=1)
        value = -float((truth * logs).sum()) + _RIDGE * float(((scale - 1) ** 2).sum() + (shift**2).sum())
        off = np.exp(logs) - truth
        slopes = np.concatenate(
            [(off * logits).sum(axis=0) + 2 * _RIDGE * (scale - 1), off.sum(axis=0) + 2 * _RIDGE * shift]
        )
        return value / cases, slopes / cases

    start = np.concatenate([np.ones(labels), np.zeros(labels)])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[_RANGE] * labels + [_SHIFTS] * labels)
    values = [round(float(one), 6) for one in found.x]
    return tuple(values[:labels]), tuple(values[labels:])


def _isotonic(probabilities: Floats, targets: Ints) -> tuple[tuple[tuple[float, ...], tuple[float, ...]], ...]:
    """For each label the rising curve from its probability to how often it was the true one."""
    from sklearn.isotonic import IsotonicRegression

    curves = []
    for label in range(probabilities.shape[1]):
        fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
        fitted.fit(probabilities[:, label], targets == label)
        curves.append((_numbers(fitted.X_thresholds_), _numbers(fitted.y_thresholds_)))
    return tuple(curves)
