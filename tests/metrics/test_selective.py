"""Risk and coverage, against slow definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedside.metrics import aurc, error_at, risk_coverage

CASES = st.lists(st.tuples(st.sampled_from([0.2, 0.5, 0.6, 0.9, 0.99]), st.booleans()), min_size=1, max_size=40)


@given(CASES)
def test_the_curve_and_the_area_are_what_they_say(cases) -> None:
    scores = np.asarray([one for one, _ in cases])
    wrong = np.asarray([one for _, one in cases])
    at, coverage, risk = risk_coverage(scores, wrong)
    for score, share, error in zip(at, coverage, risk, strict=True):
        kept = scores >= score
        assert share == pytest.approx(kept.mean())
        assert error == pytest.approx(wrong[kept].mean())
    area = np.mean([wrong[scores >= one].mean() for one in scores])
    assert aurc(np.ones((1, len(scores))), scores, wrong)[0] == pytest.approx(area, abs=1e-12)


@given(CASES, st.integers(0, 5))
def test_weights_are_repetitions(cases, seed: int) -> None:
    scores = np.asarray([one for one, _ in cases])
    wrong = np.asarray([one for _, one in cases])
    weights = np.random.default_rng(seed).integers(0, 4, (1, len(scores))).astype(float)
    weights[0, 0] += 1
    times = weights[0].astype(int)
    once = np.ones((1, times.sum()))
    repeated = (np.repeat(scores, times), np.repeat(wrong, times))
    assert aurc(weights, scores, wrong)[0] == pytest.approx(aurc(once, *repeated)[0], abs=1e-12)
    for coverage in (0.3, 0.8, 1.0):
        assert error_at(weights, scores, wrong, coverage)[0] == pytest.approx(
            error_at(once, *repeated, coverage)[0], abs=1e-12
        )


def test_the_surest_four_of_five() -> None:
    scores, wrong = np.asarray([0.9, 0.8, 0.7, 0.6, 0.5]), np.asarray([0, 0, 0, 1, 1], dtype=bool)
    once = np.ones((1, 5))
    assert error_at(once, scores, wrong, 0.8)[0] == 0.25
    assert error_at(once, scores, wrong, 1.0)[0] == 0.4
