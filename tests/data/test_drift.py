"""Drift: quiet where training and test are alike, loud where a column or the words moved, and groups count once."""

from __future__ import annotations

import random

import numpy as np
import polars as pl
import pytest

from bedside.data.drift import FEWEST, PERMUTATIONS, drift, holm
from bedside.data.verdicts import drifted

WORDS = [f"{a}{b}ing" for a in ("cough", "ach", "burn", "throb", "wheez", "swell") for b in "abcdefgh"]


def _frame(size: int = 400, *, moved: bool = False, seed: int = 0, per_group: int = 1) -> pl.DataFrame:
    dice = random.Random(seed)
    rows = []
    for n in range(size):
        group = n // per_group
        test = random.Random(group * 7 + seed).random() < 0.4
        shift = moved and test
        rows.append(
            {
                "text": " ".join(dice.choices(WORDS[:40] if shift else WORDS[8:], k=14)),
                "label": "AB"[n % 2],
                "split": "test" if test else "train",
                "group": f"g{group:04d}",
                "age": dice.gauss(60 if shift else 50, 10),
                "site": "north" if dice.random() < (0.8 if shift else 0.5) else "south",
            }
        )
    return pl.DataFrame(rows)


def test_what_is_alike_is_not_told_apart() -> None:
    found = drift(_frame(), 1)
    assert [one["column"] for one in found["columns"]] == ["words in the note", "label", "age", "site"]
    assert not any(map(drifted, found["columns"]))
    assert found["words"]["low"] < 0.5 < found["words"]["high"]


def test_what_moved_is_named() -> None:
    found = drift(_frame(moved=True), 1)
    moved = {one["column"]: one for one in found["columns"] if drifted(one)}
    assert set(moved) == {"age", "site"}
    assert moved["age"]["difference"] == pytest.approx(10 / np.hypot(10, 5), abs=0.15)
    assert moved["site"]["measure"] == "total variation"
    assert moved["site"]["difference"] == pytest.approx(0.3, abs=0.1)
    assert found["words"]["low"] > 0.5


def test_copies_of_one_group_do_not_make_chance_significant() -> None:
    """Forty groups of fifty rows with a value of their own: taken by rows, nearly every draw would be significant."""
    flagged = 0
    for seed in range(10):
        values = np.random.default_rng(seed).normal(size=50)
        frame = _frame(2500, seed=seed, per_group=50).with_columns(age=pl.Series(np.repeat(values, 50)))
        found = drift(frame, seed)
        if "columns" in found:
            flagged += any(drifted(one) for one in found["columns"] if one["column"] == "age")
    assert flagged <= 2


def test_p_values_are_those_of_permuted_groups() -> None:
    found = drift(_frame(moved=True), 1)["columns"]
    least = 1 / (1 + PERMUTATIONS)
    assert min(one["p"] for one in found) == pytest.approx(least, abs=1e-4)
    frame = _frame(300)
    by_hand = frame.group_by("split").agg(pl.col("age").mean()).sort("split")["age"].to_list()
    spread = frame["age"].std(ddof=0)
    age = next(one for one in drift(frame, 1)["columns"] if one["column"] == "age")
    assert age["difference"] == pytest.approx((by_hand[0] - by_hand[1]) / spread, abs=1e-3)


def test_holm_multiplies_the_least_by_their_number() -> None:
    assert holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_too_few_groups_are_not_tested() -> None:
    assert drift(_frame(30), 1)["too_few"] < FEWEST


def test_the_same_cohort_gives_the_same_figures() -> None:
    assert drift(_frame(), 3) == drift(_frame(), 3)
