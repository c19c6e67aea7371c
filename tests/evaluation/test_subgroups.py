"""A planted gap is found, a clean control is left alone, and no group is too small to be named."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from bedside.core.errors import ProtocolError
from bedside.data.table_one import OTHER
from bedside.evaluation.groups import LENGTH, groups_of
from bedside.evaluation.subgroups import FEW, FOUND, NONE, Called, audit

LABELS = ("a", "b", "c")


def _cases(seed: int, loss: float, n: int = 2400) -> tuple[Called, dict[str, list[str]]]:
    """Three labels called rightly in 85 of 100 cases; in group x the first label less often."""
    random = np.random.default_rng(seed)
    targets, group = random.integers(0, 3, n), random.integers(0, 4, n)
    right = random.random(n) < np.where((targets == 0) & (group == 0), 0.85 - loss, 0.85)
    called = np.where(right, targets, (targets + 1) % 3)
    numbers = np.arange(3)
    cases = Called(
        targets[:, None] == numbers, called[:, None] == numbers, np.full(n, 0.85), right, LABELS, None, np.arange(n)
    )
    return cases, {"ward": ["x" if one == 0 else f"w{one}" for one in group]}


def test_a_loss_of_fifteen_points_with_two_hundred_events_is_found_and_a_clean_control_is_not() -> None:
    found = sum(_verdict(seed, 0.15) == FOUND for seed in range(40))
    false = sum(_verdict(seed, 0.0) == FOUND for seed in range(40))
    assert found >= 36
    assert false <= 4


def _verdict(seed: int, loss: float) -> str:
    return audit(*_cases(seed, loss), 0.95)["columns"]["ward"]["verdict"]


def test_the_gap_is_named_with_its_label_and_its_sides() -> None:
    (gap, *_) = [
        one for one in audit(*_cases(3, 0.3), 0.95)["columns"]["ward"]["gaps"] if one["measure"] == "sensitivity"
    ]
    assert (gap["group"], gap["label"]) == ("x", "a")
    assert gap["group_value"] == pytest.approx(0.55, abs=0.08)
    assert gap["others"] == pytest.approx(0.85, abs=0.05)


def test_groups_alike_are_compared_and_nothing_is_found() -> None:
    assert _verdict(1, 0.0) == NONE


def test_too_few_cases_are_not_compared() -> None:
    cases, columns = _cases(0, 0.5, n=40)
    assert audit(cases, columns, 0.95)["columns"]["ward"]["verdict"] == FEW


def test_one_patient_with_many_notes_is_no_gap() -> None:
    """All wrong cases of the group are one patient's: to a test of single cases this would be a gap."""
    n = 600
    group = np.repeat(["x", "y"], n // 2)
    wrong = np.zeros(n, dtype=bool)
    wrong[:60] = True
    clusters = np.arange(n)
    clusters[:60] = 0
    has = np.tile([True, False], (n, 1))
    called = np.where(wrong[:, None], ~has, has)
    columns = {"ward": group.tolist()}
    for held, expected in ((clusters, FEW), (np.arange(n), FOUND)):
        cases = Called(has, called, np.full(n, 0.9), ~wrong, ("a", "b"), "a", held)
        assert audit(cases, columns, 0.95)["columns"]["ward"]["verdict"] == expected


def test_rare_values_are_named_together_and_lengths_in_thirds() -> None:
    frame = pl.DataFrame(
        {
            "case_id": [str(k) for k in range(60)],
            "text": ["word"] * 60,
            "label": ["a"] * 60,
            "site": ["north"] * 30 + ["south"] * 20 + ["east"] * 6 + ["one", "two", "three", None],
            "age": [30] * 50 + [92] * 10,
        }
    )
    found = groups_of(frame, [], list(range(60)))
    assert set(found) == {"site", "age", LENGTH}
    counts = pl.Series(found["site"]).value_counts()
    # Four others could be worked out from the total; the smallest named group joins them.
    assert dict(counts.iter_rows()) == {"north": 30, "south": 20, OTHER: 10}
    assert set(found["age"]) == {"18–39", "90+"}
    assert len(set(found[LENGTH])) == 3
    joined = groups_of(frame, ["site + age"], [5] * 60)
    assert "north · 18–39" in joined["site + age"]
    with pytest.raises(ProtocolError, match=r"evaluate\.by names 'ward', which the cohort does not keep"):
        groups_of(frame, ["ward"], [5] * 60)
