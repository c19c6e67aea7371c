"""Prediction sets hold what they promise, and a label that must not be missed is certified or refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from bedside.core.errors import ProtocolError
from bedside.evaluation import Abstention
from bedside.evaluation.abstention import cases_that_would_do, certified, least_cases, tightest_bound
from bedside.evaluation.cant_miss import Alarms, numbers_of
from bedside.evaluation.conformal import OWN, Sets


def _drawn(random: np.random.Generator, cases: int, labels: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are too sure, and labels that were drawn from better ones."""
    true = random.dirichlet(np.full(labels, 0.6), cases)
    targets = (true.cumsum(axis=1) > random.random((cases, 1))).argmax(axis=1)
    stated = np.maximum(true, 1e-6) ** 2
    return stated / stated.sum(axis=1, keepdims=True), targets


def test_sets_hold_nine_in_ten_over_a_hundred_splits() -> None:
    random = np.random.default_rng(1)
    probabilities, targets = _drawn(random, 4000)
    held, of_label = [], []
    for seed in range(100):
        order = np.random.default_rng(seed).permutation(4000)
        fit, rest = order[:1500], order[1500:]
        sets = Sets.fit(probabilities[fit], targets[fit], list(range(1500)), coverage=0.9, seed=seed)
        inside = sets.conforming(probabilities[rest])[np.arange(len(rest)), targets[rest]]
        held.append(inside.mean())
        of_label.append([inside[targets[rest] == label].mean() for label in range(4)])
        assert sets.own == (0, 1, 2, 3)
    assert np.mean(held) == pytest.approx(0.9, abs=0.005)
    assert np.mean(of_label, axis=0) == pytest.approx(np.full(4, 0.9), abs=0.01)


def test_few_cases_share_a_limit_and_too_few_leave_no_label_out() -> None:
    random = np.random.default_rng(2)
    probabilities, targets = _drawn(random, OWN)
    shared = Sets.fit(probabilities, targets, list(range(OWN)), coverage=0.9, seed=0)
    assert shared.own == ()
    assert len(set(shared.least)) == 1
    few = Sets.fit(probabilities[:5], targets[:5], list(range(5)), coverage=0.9, seed=0)
    assert few.members(probabilities).all() or few.least[0] > 0  # by the draw of the rank
    assert sum(Sets.fit(probabilities[:5], targets[:5], list(range(5)), coverage=0.9, seed=s).least[0] > 0
               for s in range(200)) == pytest.approx(120, abs=30)  # fmt: skip
    assert Sets.from_json(shared.to_json()) == shared


def test_no_set_is_empty() -> None:
    sets = Sets(0.9, (0.9, 0.9), (), 10)
    assert sets.members(np.asarray([[0.6, 0.4]])).tolist() == [[True, False]]
    assert sets.conforming(np.asarray([[0.6, 0.4]])).tolist() == [[False, False]]


def test_an_early_error_is_not_the_end_of_the_search() -> None:
    scores = np.linspace(1, 0.5, 2000)
    wrong = np.zeros(2000, dtype=bool)
    wrong[3] = True
    assert certified(scores, wrong, 0.02, 0.95)[0] is None
    probabilities = np.stack([scores, 1 - scores], axis=1)
    found = Abstention.certify(
        probabilities,
        wrong.astype(np.int64),
        list(range(2000)),
        max_error=0.02,
        confidence=0.95,
        fewest_words=1,
        seed=0,
    )
    assert found.threshold is not None
    assert found.answered > 1500


def test_the_search_with_several_starts_breaks_its_promise_as_seldom_as_it_says() -> None:
    broken = certificates = 0
    for seed in range(300):
        random = np.random.default_rng(seed)
        top = random.uniform(0.5, 1.0, 800)
        probabilities = np.stack([top, 1 - top], axis=1)
        targets = (random.random(800) > top - 0.03).astype(np.int64)
        found = Abstention.certify(
            probabilities, targets, list(range(800)), max_error=0.1, confidence=0.9, fewest_words=1, seed=seed
        )
        certificates += found.threshold is not None
        broken += found.threshold is not None and 1 - ((found.threshold + 1) / 2 - 0.03) > 0.1
    assert certificates >= 50  # else nothing was tested
    assert broken / 300 <= 0.14


def test_how_many_cases_would_do() -> None:
    random = np.random.default_rng(0)
    scores = random.random(100)
    assert cases_that_would_do(scores, np.ones(100, dtype=bool), 0.02, 0.95) is None
    found = cases_that_would_do(scores, np.zeros(100, dtype=bool), 0.02, 0.95)
    assert found is not None
    assert 149 <= found < 1000
    rule = Abstention(None, 0.02, 0.95, 200, 0, 0, 1, would_do=640)
    (held,) = rule.decide(np.asarray([[0.9, 0.1]]), [5])
    assert "about 640 would do" in held.reasons[0].message


def test_a_certified_alarm_keeps_its_promise() -> None:
    """Over many samples the true sensitivity at the threshold is below the bound in at most 1 in 20."""
    below = 0
    for seed in range(400):
        random = np.random.default_rng(seed)
        stated = random.random((120, 2))
        has = np.zeros((120, 2), dtype=bool)
        has[:, 1] = True
        alarms = Alarms.certify(stated, has, list(range(120)), [1], min_sensitivity=0.9, confidence=0.95, seed=seed)
        (one,) = alarms.every
        assert one.threshold is not None
        assert binom.cdf(one.missed, one.cases, 0.1) <= 0.05 < binom.cdf(one.missed + 1, one.cases, 0.1)
        below += 1 - one.threshold < 0.9  # stated is uniform: its true sensitivity
    assert below / 400 <= 0.075


def test_too_few_cases_are_refused_with_the_number_that_would_do() -> None:
    has = np.zeros((40, 2), dtype=bool)
    has[:, 1] = True
    alarms = Alarms.certify(
        np.full((40, 2), 0.5), has, list(range(40)), [1], min_sensitivity=0.95, confidence=0.95, seed=0
    )
    assert alarms.every[0].threshold is None
    (said,) = alarms.refusals(["flu", "embolism"])
    assert "'embolism'" in said
    assert "of 59 calibration cases that have it, 40 are there" in said
    assert not alarms.raised(np.full((3, 2), 0.5)).any()
    assert Alarms.from_json(alarms.to_json()) == alarms


def test_a_name_that_is_no_label_is_refused() -> None:
    assert numbers_of(["b", "b"], ["a", "b"]) == [1]
    with pytest.raises(ProtocolError, match=r"answer\.cant_miss names 'c', which no case has; the labels are: a, b"):
        numbers_of(["c"], ["a", "b"])


def test_what_was_written_before_sets_is_read_on() -> None:
    old = Abstention(0.5, 0.05, 0.95, 100, 90, 0, 5)
    written = old.to_json()
    del written["would_do"]
    assert Abstention.from_json(written) == old
    new = replace(old, sets=Sets(0.9, (0.1, 0.2), (0,), 100), alarms=Alarms(0.9, 0.95, ()))
    assert Abstention.from_json(new.to_json()) == new


@pytest.mark.parametrize("cases", [1, 148, 149, 1000])
def test_the_tightest_bound_is_where_the_test_without_an_error_just_passes(cases: int) -> None:
    bound = tightest_bound(cases, 0.95)
    assert binom.cdf(0, cases, bound) == pytest.approx(0.05)
    assert (bound <= 0.02) == (cases >= least_cases(0.02, 0.95))
    assert tightest_bound(0, 0.95) == 1
