"""The calibration error is nearly free of chance, and its interval covers, by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from bedside.metrics import calibration_error, calibration_error_if_perfect, equal_mass_bins

RUNS, CASES = 200, 450


def _simulate(gap: float, notes: int = 1, together: float = 0.0):
    """[runs] plain, debiased, low, high of a model that is too sure by ``gap``, patients being partly alike."""
    found = []
    for seed in range(RUNS):
        random = np.random.default_rng(seed)
        confidence = random.uniform(0.4, 0.98, CASES)
        clusters = np.arange(CASES) // notes
        of_patient = random.random(CASES)[clusters]
        luck = np.where(random.random(CASES) < together**0.5, of_patient, random.random(CASES))
        one = calibration_error(confidence, luck < confidence - gap, clusters, seed=seed, draws=500)
        found.append((one.plain, one.debiased, one.low, one.high))
    return np.asarray(found).T


@pytest.mark.parametrize(("gap", "notes", "together"), [(0.0, 1, 0.0), (0.1, 1, 0.0), (0.1, 3, 0.6)])
def test_the_interval_covers_the_true_error(gap: float, notes: int, together: float) -> None:
    plain, debiased, low, high = _simulate(gap, notes, together)
    assert 0.90 <= ((low <= gap) & (gap <= high)).mean() <= 1.0
    assert abs(debiased.mean() - gap) < 0.6 * abs(plain.mean() - gap) + 0.012
    assert (low <= debiased).all()
    assert (debiased <= high).all()
    assert (low < high).all()


def test_a_perfect_model_is_rarely_called_wrong_and_a_bad_one_mostly() -> None:
    assert (_simulate(0.0)[2] == 0).mean() >= 0.94
    assert (_simulate(0.1)[2] > 0).mean() >= 0.8


def test_a_perfect_model_passes_its_own_bound() -> None:
    random = np.random.default_rng(1)
    confidence, clusters = random.uniform(0.4, 0.98, 240), np.arange(240)
    median, high = calibration_error_if_perfect(confidence, clusters, seed=2)
    found = [calibration_error(confidence, random.random(240) < confidence, clusters, draws=50) for _ in range(200)]
    assert 0 <= median < high < np.quantile([one.plain for one in found], 0.95)
    assert 0.89 <= np.mean([one.debiased <= high for one in found]) <= 0.99


def test_equal_confidences_share_a_bin_whatever_their_order() -> None:
    confidence = np.repeat([0.5, 0.7, 0.9], 20)
    mixed = np.random.default_rng(0).permutation(60)
    assert len(set(zip(confidence[mixed].tolist(), equal_mass_bins(confidence[mixed]).tolist(), strict=True))) == 3
    assert np.bincount(equal_mass_bins(np.random.default_rng(0).random(150))).tolist() == [10] * 15


def test_luck_does_not_make_an_interval_of_no_width() -> None:
    confidence = np.repeat(np.linspace(0.3, 0.8, 15), 20)
    right = np.concatenate([np.arange(20) < round(20 * stated) for stated in np.linspace(0.3, 0.8, 15)])
    found = calibration_error(confidence, right, np.arange(300))
    assert found.debiased == 0.0
    assert found.low == 0.0
    assert found.high > 0.03
