"""How far apart groups are: equalised odds, and an adjustment for asking many questions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def equalised_odds_difference(has: Bools, called: Bools, groups: Ints) -> float:
    """The largest gap between two groups in sensitivity, or in the share of false alarms, whichever is larger.

    Source: Hardt, Price and Srebro 2016; the same figure as Fairlearn's ``equalized_odds_difference``. A group without
    a case of one kind counts as 0 in that rate, as there.

    Args:
        has: [cases] whether the case has the label.
        called: [cases] whether it was called so.
        groups: [cases] the number of each case's group.
    """
    gaps = []
    for kind in (has, ~has):
        rates = [
            float(called[kind & (groups == group)].mean()) if (kind & (groups == group)).any() else 0.0
            for group in np.unique(groups)
        ]
        gaps.append(max(rates) - min(rates))
    return max(gaps)


def holm(p_values: Sequence[float]) -> Floats:
    """[tests] p-values adjusted so that the chance of any false finding among them keeps its bound (Holm 1979)."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted
