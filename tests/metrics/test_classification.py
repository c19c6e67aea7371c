"""Every metric against scikit-learn, with integer weights as repeated cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk
from sklearn.linear_model import LogisticRegression

from bedside.metrics import (
    auprc,
    auroc,
    brier,
    counts,
    macro_f1,
    mcnemar,
    micro_f1,
    share_top,
    slope_and_intercept,
    weighted_f1,
)


def _cases(seed: int, labels: int, size: int = 60):
    random = np.random.default_rng(seed)
    # Rounded scores make ties, which is where areas under curves go wrong.
    scores = np.round(random.dirichlet(np.ones(labels), size), 2) + 1e-3
    probabilities = scores / scores.sum(axis=1, keepdims=True)
    targets = random.integers(0, labels, size)
    targets[:labels] = np.arange(labels)
    weights = random.integers(0, 4, size)
    weights[:labels] = 1
    return probabilities, targets, weights


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), labels=st.integers(2, 6))
def test_each_figure_is_scikit_learns(seed: int, labels: int) -> None:
    probabilities, targets, weights = _cases(seed, labels)
    called = probabilities.argmax(axis=1)
    one = weights[None, :].astype(float)
    found = counts(one, targets, called, labels)
    y, p, c = (np.repeat(part, weights, axis=0) for part in (targets, probabilities, called))

    def same(ours, theirs) -> None:
        assert ours == pytest.approx(theirs, abs=1e-9)

    same(found.accuracy()[0], sk.accuracy_score(y, c))
    names = list(range(labels))
    for ours, average in ((macro_f1, "macro"), (weighted_f1, "weighted"), (micro_f1, "micro")):
        same(ours(found)[0], sk.f1_score(y, c, average=average, labels=names, zero_division=0))
    same(found.sensitivity()[0], sk.recall_score(y, c, average=None, labels=names))
    same(np.nan_to_num(found.ppv()[0]), sk.precision_score(y, c, average=None, labels=names, zero_division=0))
    for k in names:
        same(found.specificity()[0, k], sk.recall_score(y != k, c != k))
        same(np.nan_to_num(found.npv()[0, k]), sk.precision_score(y != k, c != k, zero_division=0))
        same(auroc(one, targets == k, probabilities[:, k])[0], sk.roc_auc_score(y == k, p[:, k]))
        same(auprc(one, targets == k, probabilities[:, k])[0], sk.average_precision_score(y == k, p[:, k]))
    if labels > 2:
        same(brier(one, targets, probabilities)[0], sk.brier_score_loss(y, p, labels=names))
    else:
        same(brier(one, targets, probabilities)[0], sk.brier_score_loss(y, p[:, 1]))
    if labels > 3:
        # Ties are counted apart by the two; a little noise that respects the order takes them away.
        untied = probabilities + np.random.default_rng(seed).random(probabilities.shape) * 1e-9
        theirs = sk.top_k_accuracy_score(y, np.repeat(untied, weights, axis=0), k=3, labels=names)
        same(share_top(one, targets, untied, 3)[0], theirs)


def test_slope_is_that_of_an_unpenalised_regression_and_the_intercept_balances_the_sums() -> None:
    random = np.random.default_rng(3)
    probability = random.uniform(0.05, 0.95, 500)
    weights = random.integers(0, 3, 500)
    happened = random.random(500) < probability**1.5
    slope, intercept = slope_and_intercept(weights[None, :].astype(float), probability, happened)[0]
    logit = np.log(probability / (1 - probability))
    fit = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-12)
    assert slope == pytest.approx(fit.fit(logit[:, None], happened, sample_weight=weights).coef_[0, 0], abs=1e-6)
    moved = 1 / (1 + np.exp(-(logit + intercept)))
    assert weights @ moved == pytest.approx(weights @ happened, abs=1e-7)


def test_there_is_no_slope_where_all_happened() -> None:
    found = slope_and_intercept(np.ones((1, 20)), np.linspace(0.5, 0.9, 20), np.ones(20, dtype=bool))
    assert np.isnan(found).all()


def test_mcnemar_is_the_exact_binomial() -> None:
    assert mcnemar(0, 6) == pytest.approx(2 * 0.5**6)
    assert mcnemar(0, 0) == 1.0
