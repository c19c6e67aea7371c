"""Intervals hold the truth about as often as they say, on clustered cases too."""

from __future__ import annotations

import numpy as np
import pytest

from bedside.metrics import Resamples, clustered_exact_interval, effective_cases, exact_interval


def _patients(random: np.random.Generator, patients: int = 60, notes: int = 8):
    """Notes that are right or wrong together: each patient has a chance of their own, 0.7 on average."""
    chance = random.beta(0.7, 0.3, patients)
    return np.repeat(np.arange(patients), notes), random.random(patients * notes) < np.repeat(chance, notes)


def _covers(clusters: np.ndarray, right: np.ndarray, seed: int) -> bool:
    drawn = Resamples.of(clusters.tolist(), 300, seed).apply(lambda w: ((w @ right) / w.sum(axis=1))[:, None])
    low, high = np.quantile(drawn, [0.025, 0.975])
    return bool(low <= 0.7 <= high)


def test_a_bootstrap_by_patient_covers_where_one_by_row_fails() -> None:
    by_patient, by_row = [], []
    for seed in range(200):
        clusters, right = _patients(np.random.default_rng(seed))
        by_patient.append(_covers(clusters, right, seed))
        by_row.append(_covers(np.arange(len(right)), right, seed))
    assert 0.90 <= np.mean(by_patient) <= 0.99
    assert np.mean(by_row) < 0.75


def test_the_same_seed_gives_the_same_resamples() -> None:
    one, other = (next(Resamples.of(["a", "b", "b"], 5, 7).weights()) for _ in range(2))
    assert (one == other).all()
    assert (one[:, 1] == one[:, 2]).all()


def test_clopper_pearson_against_scipy() -> None:
    from scipy.stats import binomtest

    for hits, of in ((0, 10), (3, 10), (10, 10), (149, 150)):
        theirs = binomtest(hits, of).proportion_ci(0.95, "exact")
        assert exact_interval(hits, of, 0.95) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_where_all_are_right_a_patient_counts_once() -> None:
    right, clusters = np.ones(40, dtype=bool), np.repeat(np.arange(10), 4)
    assert clustered_exact_interval(right, clusters, 0.95) == exact_interval(10, 10, 0.95)
    assert clustered_exact_interval(~right, clusters, 0.95) == exact_interval(0, 10, 0.95)


def test_the_exact_interval_covers_clustered_cases() -> None:
    held = []
    for seed in range(300):
        clusters, right = _patients(np.random.default_rng(seed), patients=30)
        low, high = clustered_exact_interval(right, clusters, 0.95)
        held.append(low <= 0.7 <= high)
        assert effective_cases(right, clusters, 0.95) < len(right) / 2
    assert np.mean(held) >= 0.93
