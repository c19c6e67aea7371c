"""The certificate holds, a temperature is found again, and "better" is said only where it was shown."""

from __future__ import annotations

import numpy as np
import pytest

from bedside.evaluation import Abstention, Calibration
from bedside.evaluation.abstention import least_cases
from bedside.evaluation.figures import Measured, compare, measure
from bedside.metrics import Resamples

CONTRACT = {"max_error": 0.1, "confidence": 0.9, "fewest_words": 3, "seed": 0}


def _two_labels(confidence, wrong) -> tuple[np.ndarray, np.ndarray]:
    top = np.asarray(confidence, dtype=float)
    return np.stack([top, 1 - top], axis=1), np.asarray(wrong, dtype=np.int64)


def test_149_cases_without_an_error_certify_two_percent() -> None:
    assert least_cases(0.02, 0.95) == 149


def test_the_certified_bound_holds_over_resplits() -> None:
    broken = certified = 0
    for seed in range(300):
        random = np.random.default_rng(seed)
        top = random.uniform(0.5, 1.0, 1000)
        # The chance of being right falls short of what is stated, so a threshold taken at its word would be broken.
        probabilities, targets = _two_labels(top, random.random(1000) > top - 0.03)
        found = Abstention.certify(probabilities, targets, list(range(1000)), **CONTRACT)
        if found.threshold is not None:
            certified += 1
            broken += 1 - ((found.threshold + 1) / 2 - 0.03) > CONTRACT["max_error"]
    assert certified >= 100  # else nothing was tested
    assert broken / 300 <= 0.14


def test_cases_of_equal_probability_are_answered_together() -> None:
    top = [0.99] * 40 + [0.9] * 10
    found = Abstention.certify(*_two_labels(top, [0] * 45 + [1] * 5), list(range(50)), **CONTRACT)
    assert found.threshold == 0.99
    assert found.answered == 40
    alike = Abstention.certify(*_two_labels([0.9] * 50, [0] * 25 + [1] * 25), list(range(50)), **CONTRACT)
    assert alike.threshold is None


def test_a_patient_counts_once() -> None:
    found = Abstention.certify(*_two_labels([0.9] * 60, [0] * 60), ["one"] * 60, **CONTRACT)
    assert found.cases == 1
    assert found.threshold is None


def test_each_status() -> None:
    found = Abstention.certify(*_two_labels([0.99] * 40, [0] * 40), list(range(40)), **CONTRACT)
    probabilities = np.asarray([[0.995, 0.005], [0.6, 0.4], [0.995, 0.005]])
    decisions = found.decide(probabilities, [5, 5, 2])
    assert [one.status for one in decisions] == ["ok", "low_confidence", "insufficient_information"]
    assert [[why.code for why in one.reasons] for one in decisions] == [[], ["below_threshold"], ["too_short"]]
    bare = Abstention.certify(*_two_labels([0.99] * 5, [0] * 5), list(range(5)), **CONTRACT)
    (held,) = bare.decide(probabilities[:1], [5])
    assert held.reasons[0].code == "not_certified"
    assert f"{least_cases(0.1, 0.9) - 5} more" in held.reasons[0].message
    assert Abstention.from_json(bare.to_json()) == bare
    assert Abstention.from_json(found.to_json()) == found


@pytest.mark.parametrize("planted", [0.5, 1.0, 2.5])
def test_a_planted_temperature_is_found_and_the_order_stays(planted: float) -> None:
    random = np.random.default_rng(4)
    true = random.dirichlet(np.full(5, 0.5), 6000)
    targets = (true.cumsum(axis=1) > random.random((6000, 1))).argmax(axis=1)
    # Too sure by the planted factor: the logits are multiplied by it.
    raw = np.maximum(true, 1e-6) ** planted
    raw /= raw.sum(axis=1, keepdims=True)
    found = Calibration.fit(raw, targets)
    assert found.temperature == pytest.approx(planted, rel=0.06)
    fitted = found.apply(raw)
    assert (fitted.argsort(axis=1, kind="stable") == raw.argsort(axis=1, kind="stable")).all()
    assert fitted.sum(axis=1) == pytest.approx(1)
    assert Calibration.from_json(found.to_json()) == found


def _model(right: np.ndarray, targets: np.ndarray) -> Measured:
    called = np.where(right, targets, (targets + 1) % 3)
    probabilities = np.where(np.eye(3)[called] > 0, 0.8, 0.1)
    return Measured(probabilities, probabilities, targets, ("a", "b", "c"), 2)


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [(0.9, 0.6, "better"), (0.6, 0.9, "worse"), (0.8, 0.79, "no difference shown")],
)
def test_better_is_said_only_where_the_interval_leaves_zero_out(first: float, second: float, said: str) -> None:
    random = np.random.default_rng(5)
    targets = random.integers(0, 3, 240)
    models = [_model(random.random(240) < share, targets) for share in (first, second)]
    resamples = Resamples.of(list(range(240)), 200, 1)
    (_, one), (_, two) = (measure(model, resamples, 0.95) for model in models)
    found = compare(*models, one, two, 0.95)
    assert found["verdict"] == said
    low, high = found["macro_f1"]["low"], found["macro_f1"]["high"]
    assert {"better": low > 0, "worse": high < 0, "no difference shown": low <= 0 <= high}[said]


def test_a_model_that_is_always_right_has_doubt_and_no_figure_without_width() -> None:
    targets = np.arange(60) % 3
    model = _model(np.ones(60, dtype=bool), targets)
    found, drawn = measure(model, Resamples.of((np.arange(60) // 2).tolist(), 100, 0), 0.95)
    assert found["accuracy"]["low"] == pytest.approx(0.025 ** (1 / 30))
    assert "30 clusters" in found["accuracy"]["method"]
    assert found["macro_f1"]["low"] is None
    assert "no interval" in found["auroc"]["method"]
    same = compare(model, model, drawn, drawn, 0.95)
    assert same["macro_f1"]["low"] is None
    assert same["verdict"] == "no difference shown"


def test_few_cases_are_too_few_to_say() -> None:
    targets = np.arange(24) % 3
    found, _ = measure(_model(targets > 0, targets), Resamples.of(list(range(24)), 100, 0), 0.95)
    assert found["accuracy"]["too_few"]
    assert found["per_label"]["a"]["too_few"]
