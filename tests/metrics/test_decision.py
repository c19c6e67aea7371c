"""Net benefit and predictive values, against their definitions counted case by case."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedside.metrics.decision import net_benefit, net_benefit_of_all, predictive_values

CASES = st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=40)


@given(CASES, st.floats(0.01, 0.99), st.integers(0, 3))
def test_net_benefit_is_counted_case_by_case(cases, threshold: float, seed: int) -> None:
    has, stated = np.asarray([one for one, _ in cases]), np.asarray([one for _, one in cases])
    weights = np.random.default_rng(seed).integers(0, 3, (2, len(cases))).astype(float)
    weights[:, 0] += 1
    found = net_benefit(weights, has, stated, np.asarray([threshold]))
    every = net_benefit_of_all(weights, has, np.asarray([threshold]))
    odds = threshold / (1 - threshold)
    for row in range(2):
        times = weights[row]
        hits = sum(w for w, (ill, p) in zip(times, cases, strict=True) if ill and p >= threshold)
        false = sum(w for w, (ill, p) in zip(times, cases, strict=True) if not ill and p >= threshold)
        assert found[row, 0] == pytest.approx((hits - odds * false) / times.sum(), abs=1e-9)
        ill = times[has].sum() / times.sum()
        assert every[row, 0] == pytest.approx(ill - odds * (1 - ill), abs=1e-9)


@given(st.integers(1, 50), st.integers(0, 50), st.integers(0, 50), st.integers(1, 50))
def test_at_the_samples_own_prevalence_they_are_the_samples_own(tp: int, fn: int, fp: int, tn: int) -> None:
    total = tp + fn + fp + tn
    sensitivity, specificity = np.asarray([tp / (tp + fn)]), np.asarray([tn / (tn + fp)])
    ppv, npv = predictive_values(sensitivity, specificity, (tp + fn) / total)
    assert ppv[0] == pytest.approx(tp / (tp + fp), abs=1e-9)
    assert npv[0] == pytest.approx(tn / (tn + fn), abs=1e-9)


def test_a_rare_disease_makes_a_good_test_mostly_wrong() -> None:
    ppv, npv = predictive_values(np.asarray([0.9]), np.asarray([0.9]), 0.01)
    assert ppv[0] == pytest.approx(0.009 / (0.009 + 0.099))
    assert npv[0] == pytest.approx(0.891 / 0.892)
