"""Temperature scaling (Guo et al. 2017), fitted on the calibration split alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_LEAST = 1e-12
_TINIEST = 1e-300  # of a probability whose logarithm is taken: a floor that many reach would undo their order
_RANGE = (0.05, 20.0)


@dataclass(frozen=True)
class Calibration:
    """One number by which logits are divided."""

    temperature: float

    @classmethod
    def fit(cls, raw: Floats, targets: NDArray[np.int64]) -> Calibration:
        """The temperature with the least log-loss on these cases ([cases, labels] and [cases])."""
        from scipy.optimize import minimize_scalar

        def loss(log_temperature: float) -> float:
            found = _scaled(raw, float(np.exp(log_temperature)))
            return float(-np.log(np.maximum(found[np.arange(len(targets)), targets], _LEAST)).mean())

        bounds = (float(np.log(_RANGE[0])), float(np.log(_RANGE[1])))
        found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
        return cls(round(float(np.exp(found.x)), 6))

    def apply(self, raw: Floats) -> Floats:
        """[cases, labels] calibrated probabilities; the order of the labels of a case never changes."""
        return _scaled(raw, self.temperature)

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return {"method": "temperature", "temperature": self.temperature}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Calibration:
        """From :meth:`to_json`."""
        return cls(float(value["temperature"]))


def _scaled(raw: Floats, temperature: float) -> Floats:
    from scipy.special import softmax

    logits = np.log(np.maximum(raw, _TINIEST)) / temperature
    return np.asarray(softmax(logits, axis=1), dtype=np.float64)
