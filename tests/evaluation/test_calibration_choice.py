"""Another calibration than the temperature is taken where it is shown to be better, and only there."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bedside.core.errors import ProtocolError
from bedside.evaluation import Calibration, read_calibration
from bedside.evaluation.calibration import losses_of
from bedside.evaluation.calibration_choice import FOLDS, choose, cross_fitted, standard_error


def _cases(cases: int, seed: int, shift: tuple[float, ...] = (0, 0, 0)) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities whose logits are shifted, and labels drawn from the unshifted ones."""
    random = np.random.default_rng(seed)
    true = random.dirichlet(np.full(3, 0.8), cases)
    targets = (true.cumsum(axis=1) > random.random((cases, 1))).argmax(axis=1)
    raw = np.maximum(true, 1e-6) * np.exp(np.asarray(shift))
    return raw / raw.sum(axis=1, keepdims=True), targets


def test_a_planted_shift_is_found_and_a_model_without_one_keeps_its_temperature() -> None:
    taken = []
    for seed in range(10):
        raw, targets = _cases(400, seed, (1.5, 0, -1.0))
        found = choose(raw, targets, list(range(400)), "auto", seed).calibration
        assert found.method == "vector"
        assert found.losses["vector"] < found.losses["temperature"]
        fresh, _ = _cases(3000, 100 + seed, (1.5, 0, -1.0))
        truth, _ = _cases(3000, 100 + seed)  # the same cases without the shift
        off = [np.abs(one.apply(fresh) - truth).mean() for one in (found, Calibration.fit(raw, targets))]
        assert off[0] < off[1] / 2
        plain, of = _cases(400, seed)
        taken.append(choose(plain, of, list(range(400)), "auto", seed).calibration.method)
    assert taken.count("temperature") >= 8  # a standard error is exceeded by chance alone now and then


def test_isotonic_needs_many_cases_and_mends_what_no_scale_can() -> None:
    random = np.random.default_rng(3)
    first = random.random(4000)
    targets = (random.random(4000) > np.where(first < 0.5, 0.2, 0.8)).astype(np.int64)  # a step, not a curve
    raw = np.stack([first, 1 - first], axis=1)
    found = choose(raw, targets, list(range(4000)), "auto", 0).calibration
    assert found.method == "isotonic"
    fitted = found.apply(raw)
    assert fitted.sum(axis=1) == pytest.approx(1)
    assert fitted[first < 0.45, 0].mean() == pytest.approx(0.2, abs=0.03)
    assert fitted[first > 0.55, 0].mean() == pytest.approx(0.8, abs=0.03)
    assert (np.diff(fitted[np.argsort(first), 0]) >= 0).all()
    assert "isotonic" not in choose(raw[:999], targets[:999], list(range(999)), "auto", 0).calibration.losses
    with pytest.raises(ProtocolError, match=r"needs 1,000 patients .* there are 999"):
        choose(raw[:999], targets[:999], list(range(999)), "isotonic", 0)


def test_no_cluster_is_on_both_sides_and_certificates_see_held_out_probabilities() -> None:
    raw, targets = _cases(300, 5, (1.0, 0, 0))
    clusters = np.arange(300) // 3
    held = cross_fitted(raw, targets, clusters, "vector", 7)
    turned = targets.copy()
    turned[clusters == 11] = (targets[clusters == 11] + 1) % 3
    again = cross_fitted(raw, turned, clusters, "vector", 7)
    assert (again[clusters == 11] == held[clusters == 11]).all()  # its own labels never reach it
    assert (again != held).any()
    chosen = choose(raw, targets, clusters.tolist(), "vector", 7)
    assert (chosen.held == held).all()
    assert losses_of(chosen.held, targets).mean() > losses_of(chosen.calibration.apply(raw), targets).mean()
    few = choose(raw[: FOLDS - 1], targets[: FOLDS - 1], list(range(FOLDS - 1)), "auto", 7)
    assert few.calibration.method == "temperature"


def test_the_standard_error_counts_clusters_not_rows() -> None:
    random = np.random.default_rng(6)
    values = random.normal(size=500)
    alone = standard_error(values, np.arange(500))
    assert alone == pytest.approx(values.std(ddof=1) / np.sqrt(500))
    assert standard_error(np.repeat(values, 4), np.repeat(np.arange(500), 4)) == pytest.approx(alone)


@pytest.mark.parametrize("method", ["temperature", "vector", "isotonic"])
def test_what_was_written_is_read_again(method: str) -> None:
    raw, targets = _cases(200, 8)
    found = Calibration.fit(raw, targets, method)
    again = read_calibration(json.loads(json.dumps(found.to_json())))
    assert again == found
    assert (again.apply(raw) == found.apply(raw)).all()
    assert read_calibration({"method": "temperature", "temperature": 1.5}) == Calibration(1.5)
