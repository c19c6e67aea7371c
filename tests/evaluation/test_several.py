"""Calibration, thresholds and answers of each label, where a case may have several."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import binom

from bedside.evaluation import LabelAnswers, LabelCalibration
from bedside.evaluation.abstention import certified
from bedside.evaluation.label_answers import best_thresholds


def _drawn(
    size: int, labels: int, seed: int = 0, spread: tuple[float, float] = (0.5, 1.5)
) -> tuple[np.ndarray, np.ndarray]:
    """True chances and what came of them."""
    random = np.random.default_rng(seed)
    chances = random.beta(*spread, (size, labels))
    return np.clip(chances, 1e-6, 1 - 1e-6), random.random((size, labels)) < chances


def test_a_distorted_label_gets_its_own_curve_back() -> None:
    chances, truth = _drawn(20_000, 2)
    raw = np.column_stack([expit(2 * logit(chances[:, 0]) + 1), chances[:, 1]])
    fitted = LabelCalibration.fit(raw, truth)
    assert fitted.slope == pytest.approx([0.5, 1], abs=0.05)
    assert fitted.intercept == pytest.approx([-0.5, 0], abs=0.05)
    assert fitted.shared == ()
    np.testing.assert_allclose(fitted.apply(raw), chances, atol=0.03)
    again = LabelCalibration.from_json(fitted.to_json())
    np.testing.assert_array_equal(again.apply(raw), fitted.apply(raw))


def test_labels_with_few_events_share_one_curve() -> None:
    chances, truth = _drawn(400, 6, spread=(2, 4))
    raw = expit(2 * logit(chances))
    truth[:, 1:] &= np.arange(400)[:, None] < 12  # a handful of events each
    fitted = LabelCalibration.fit(raw, truth)
    assert fitted.shared == (1, 2, 3, 4, 5)
    assert len({*fitted.slope[1:]}) == len({*fitted.intercept[1:]}) == 1
    assert fitted.slope[0] not in fitted.slope[1:]


def test_where_nothing_happened_probabilities_stay_and_extremes_are_finite() -> None:
    raw = np.asarray([[0.0, 1.0], [1e-320, 1 - 1e-17], [0.5, 0.5]])
    fitted = LabelCalibration.fit(raw, np.zeros((3, 2), dtype=bool))
    found = fitted.apply(raw)
    assert np.isfinite(found).all()
    assert found[2] == pytest.approx([0.5, 0.5])


def test_a_threshold_has_the_best_f1_of_all() -> None:
    from sklearn.metrics import f1_score

    chances, truth = _drawn(300, 3)
    stated = np.round(chances, 2)  # ties
    found = best_thresholds(stated, truth)
    for label in range(3):
        ours = f1_score(truth[:, label], stated[:, label] >= found[label])
        every = [f1_score(truth[:, label], stated[:, label] >= one) for one in np.unique(stated[:, label])]
        assert ours == pytest.approx(max(every))


def _answers(chances: np.ndarray, truth: np.ndarray, **more) -> LabelAnswers:
    settings = {"max_error": 0.05, "confidence": 0.95, "fewest_words": 5, "seed": 1, **more}
    return LabelAnswers.certify(chances, truth, range(len(truth)), **settings)


def test_of_a_hundred_studies_at_most_few_break_a_promise() -> None:
    """For each label and answer, the true share wrong of what would be answered; 400 promises of at most 10 %."""
    fresh, _ = _drawn(100_000, 2, seed=999)
    kept = broken = 0
    for seed in range(100):
        found = _answers(*_drawn(500, 2, seed=seed), max_error=0.1)
        states = found.states(fresh)
        for label in range(2):
            for said, wrong in (
                (states[:, label] == 1, 1 - fresh[:, label]),
                (states[:, label] == -1, fresh[:, label]),
            ):
                if said.any():
                    kept += 1
                    broken += wrong[said].mean() > 0.1
    assert kept > 150
    assert broken <= binom.ppf(0.999, kept, 0.05)


def test_yes_lies_above_the_threshold_and_no_below_and_open_between() -> None:
    chances, truth = _drawn(5000, 2, spread=(0.15, 0.45))
    found = _answers(chances, truth)
    for label in range(2):
        assert found.no[label] < found.threshold[label] <= found.yes[label]
    row = np.asarray([[found.yes[0], found.no[1]]])
    assert found.states(row).tolist() == [[1, -1]]
    assert found.states(row + np.asarray([[-1e-9, 1e-9]])).tolist() == [[0, 0]]
    assert [one.status for one in found.decide(row, [5])] == ["ok"]
    open_ = found.decide(row - np.asarray([[1e-9, 0]]), [5])[0]
    assert open_.status == "low_confidence"
    assert open_.reasons[0].message.startswith("1 of 2 diagnoses are left open")
    assert found.decide(row, [4])[0].status == "insufficient_information"
    assert LabelAnswers.from_json(found.to_json()) == found


def test_too_few_cases_certify_nothing_and_it_says_how_many_more_would() -> None:
    found = _answers(*_drawn(40, 2))
    assert (found.yes, found.no) == ((None, None), (None, None))
    decision = found.decide(np.asarray([[0.999, 0.001]]), [50])[0]
    assert [one.code for one in decision.reasons] == ["unsure", "not_certified"]
    assert "46 more calibration cases" in decision.reasons[1].message


def test_with_several_starts_one_early_error_is_not_the_end() -> None:
    scores = np.linspace(1, 0, 1000)
    wrong = np.arange(1000) == 0
    assert certified(scores, wrong, 0.05, 0.95)[0] is None
    score, answered, errors = certified(scores, wrong, 0.05, 0.95, starts=4, cases=1000)
    assert (score, answered, errors) == (0, 1000, 1)
