"""Every metric of several labels against scikit-learn, with integer weights as repeated cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from bedside.metrics import (
    Resamples,
    areas,
    auprc,
    auroc,
    brier_of_labels,
    calibration_error,
    clustered_slope_and_intercept,
    counts_of_sets,
    hamming_loss,
    jaccard,
    macro_f1,
    micro_f1,
    precision_at,
    recall_at,
    slope_and_intercept,
    subset_accuracy,
)


def _cases(seed: int, labels: int, size: int = 60):
    """Probabilities with ties, truth in which every label occurs and some case has none, calls, and weights."""
    random = np.random.default_rng(seed)
    probabilities = np.round(random.random((size, labels)), 1)
    truth = random.random((size, labels)) < 0.3
    truth[:labels] = np.eye(labels, dtype=bool)
    truth[labels : 2 * labels] = ~np.eye(labels, dtype=bool)
    truth[2 * labels] = False
    weights = random.integers(0, 4, size)
    weights[: 2 * labels + 1] = 1
    return probabilities, truth, probabilities >= 0.6, weights


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), labels=st.integers(2, 7), k=st.integers(1, 4))
def test_each_figure_is_scikit_learns(seed: int, labels: int, k: int) -> None:
    probabilities, truth, called, weights = _cases(seed, labels)
    one = weights[None, :].astype(float)
    y, p, c = (np.repeat(part, weights, axis=0) for part in (truth, probabilities, called))

    def same(ours, theirs) -> None:
        assert ours == pytest.approx(theirs, abs=1e-9)

    found = counts_of_sets(one, truth, called)
    same(macro_f1(found)[0], sk.f1_score(y, c, average="macro", zero_division=0))
    same(micro_f1(found)[0], sk.f1_score(y, c, average="micro", zero_division=0))
    same(found.sensitivity()[0], sk.recall_score(y, c, average=None))
    same(np.nan_to_num(found.ppv()[0]), sk.precision_score(y, c, average=None, zero_division=0))
    same(found.specificity()[0], sk.recall_score(~y, ~c, average=None))
    same(np.nan_to_num(found.npv()[0]), sk.precision_score(~y, ~c, average=None, zero_division=0))
    same(np.nan_to_num(found.f1()[0]), sk.f1_score(y, c, average=None, zero_division=0))
    same(subset_accuracy(one, truth, called)[0], sk.accuracy_score(y, c))
    same(hamming_loss(one, truth, called)[0], sk.hamming_loss(y, c))
    same(jaccard(one, truth, called)[0], sk.jaccard_score(y, c, average="samples", zero_division=1.0))
    same(brier_of_labels(one, truth, probabilities)[0], [sk.brier_score_loss(y[:, j], p[:, j]) for j in range(labels)])
    for j in range(labels):
        roc, precision = areas(one, truth[:, j], probabilities[:, j])
        same(roc[0], sk.roc_auc_score(y[:, j], p[:, j]))
        same(precision[0], sk.average_precision_score(y[:, j], p[:, j]))
    # scikit-learn has no figure at k: it is the PPV and sensitivity by case of calling the k likeliest.
    first = np.argsort(-p, axis=1, kind="stable")[:, :k]
    calls = np.zeros_like(y)
    np.put_along_axis(calls, first, True, axis=1)
    having = y.any(axis=1)
    same(precision_at(one, truth, probabilities, k)[0], sk.precision_score(y, calls, average="samples"))
    same(recall_at(one, truth, probabilities, k)[0], sk.recall_score(y[having], calls[having], average="samples"))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_quick_areas_are_the_plain_ones_in_every_resample(seed: int) -> None:
    probabilities, truth, _, _ = _cases(seed, 3)
    weights = np.random.default_rng(seed).integers(0, 3, (20, len(truth))).astype(float)
    for j in range(3):
        roc, precision = areas(weights, truth[:, j], probabilities[:, j])
        np.testing.assert_allclose(roc, auroc(weights, truth[:, j], probabilities[:, j]), atol=1e-9)
        np.testing.assert_allclose(precision, auprc(weights, truth[:, j], probabilities[:, j]), atol=1e-9)


def test_what_is_not_defined_is_nan() -> None:
    one, none = np.ones((1, 4)), np.zeros(4, dtype=bool)
    scores = np.asarray([0.1, 0.2, 0.3, 0.4])
    assert np.isnan(areas(one, none, scores)).all()
    assert np.isnan(areas(one, ~none, scores)[0]).all()
    assert areas(one, ~none, scores)[1][0] == 1
    truth = np.zeros((4, 2), dtype=bool)
    assert np.isnan(recall_at(one, truth, np.ones((4, 2)), 1)[0])
    assert jaccard(one, truth, truth)[0] == 1


def test_the_error_over_all_decisions_is_near_the_true_one() -> None:
    """A label whose probability is stated 0.1 too high, of two: half of the decisions are off by 0.1."""
    random = np.random.default_rng(0)
    true = random.uniform(0.1, 0.8, (4000, 2))
    truth = random.random(true.shape) < true
    stated = true + np.asarray([0.0, 0.1])
    clusters = np.repeat(np.arange(4000), 2)
    honest = calibration_error(true.ravel(), truth.ravel(), clusters)
    assert honest.low == 0 and honest.debiased < 0.02
    found = calibration_error(stated.ravel(), truth.ravel(), clusters)
    assert 0.03 < found.low < 0.05 < found.high < 0.07


def test_slope_and_intercept_have_the_intervals_of_a_cluster_bootstrap() -> None:
    """Eight decisions of a cluster share their luck: intervals that took them for independent would be too narrow."""
    random = np.random.default_rng(5)
    logit = random.normal(-1, 1.5, (400, 8))
    truth = random.random((400, 8)) < 1 / (1 + np.exp(-(0.8 * logit + 0.3 + random.normal(0, 1, (400, 1)))))
    stated = 1 / (1 + np.exp(-logit))
    clusters = np.repeat(np.arange(400), 8)
    found = clustered_slope_and_intercept(stated.ravel(), truth.ravel(), clusters, 0.95)
    plain = slope_and_intercept(np.ones((1, 3200)), stated.ravel(), truth.ravel())[0]
    drawn = Resamples.of(clusters.tolist(), 400, 1).apply(
        lambda weights: slope_and_intercept(weights, stated.ravel(), truth.ravel())
    )
    for place, (value, low, high) in enumerate(found):
        assert value == pytest.approx(plain[place], abs=1e-9)
        assert high - value == pytest.approx(value - low)
        assert (high - low) / 3.92 == pytest.approx(drawn[:, place].std(), rel=0.12)
    never = clustered_slope_and_intercept(stated.ravel(), np.zeros(3200, dtype=bool), clusters, 0.95)
    assert np.isnan(never).all()
