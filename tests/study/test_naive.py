"""The score of a split of rows beside the honest one, where the leak is planted."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from bedside.data import Cohort
from bedside.study.naive import naive_score

LABELS = ("Gout", "Migraine")


def cohort(copies: int) -> Cohort:
    """Notes of words drawn at random, so that nothing but a copy tells the label; each stands ``copies`` times."""
    random = np.random.default_rng(4)
    rows = []
    for group in range(480 // copies):
        text = " ".join(f"word{number}" for number in random.integers(0, 400, 12))
        label = LABELS[int(random.integers(2))]
        split = random.choice(["train", "validation", "calibration", "test"], p=[0.6, 0.1, 0.15, 0.15])
        rows += [{"text": text, "label": label, "group": f"g{group}", "split": str(split)}] * copies
    return Cohort(pl.DataFrame(rows), LABELS, {})


@pytest.fixture(scope="module", params=[1, 4])
def found(request):
    return request.param, naive_score(cohort(request.param), resamples=200, confidence=0.95, seed=1)


def test_copies_make_a_split_of_rows_look_good(found) -> None:
    copies, score = found
    figure = score["macro_f1"]
    assert figure["low"] <= figure["value"] <= figure["high"]
    if copies == 1:
        assert score["shared"] == 0
        assert figure["low"] < 0.5 < figure["high"] + 0.1
    else:
        assert score["shared"] > 0.8
        assert figure["value"] > 0.85


def test_the_same_seed_gives_the_same_score() -> None:
    first, second = (naive_score(cohort(2), resamples=100, confidence=0.9, seed=3) for _ in range(2))
    assert first == second
    assert naive_score(cohort(2), resamples=100, confidence=0.9, seed=4) != first
