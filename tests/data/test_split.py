"""Splits: no group is cut, every row has one, the same seed gives the same anywhere, and no label is lost."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_notes import as_csv, cohort_of, notes

from bedside.core.errors import DataError
from bedside.data.split import assign, missing_labels, whole_shares
from bedside.protocol import SplitSection

FEW = settings(max_examples=80, deadline=None, derandomize=True)
SHARES = [0.60, 0.10, 0.15, 0.15]
ROWS = st.lists(st.tuples(st.integers(0, 14), st.integers(0, 4)), min_size=1, max_size=60)
NAMES = ("train", "validation", "calibration", "test")


def divided(rows, seed: int = 1, shares=SHARES) -> dict:
    """The split of each group."""
    numbers = {group: number for number, group in enumerate(dict.fromkeys(group for group, _ in rows))}
    groups = np.asarray([numbers[group] for group, _ in rows], dtype=np.int64)
    labels = np.asarray([label for _, label in rows], dtype=np.int64)
    splits = assign(groups, labels, [f"g{group}" for group in numbers], shares, seed)
    assert splits.shape == groups.shape
    assert set(splits.tolist()) <= set(range(len(shares)))
    held = {}
    for (group, _), split in zip(rows, splits.tolist(), strict=True):
        assert held.setdefault(group, split) == split, "a group is cut"
    return held


@FEW
@given(ROWS, st.integers(0, 2**32))
def test_no_group_is_cut_and_the_order_of_rows_does_not_matter(rows, seed) -> None:
    held = divided(rows, seed)
    assert divided(rows, seed) == held
    assert divided(random.Random(seed).sample(rows, len(rows)), seed) == held


@FEW
@given(st.lists(st.integers(1, 1000), min_size=2, max_size=6))
def test_whole_shares_add_up(parts) -> None:
    shares = [one / sum(parts) for one in parts]
    whole = whole_shares(shares)
    assert sum(whole) == 1000
    assert all(abs(one - 1000 * share) < 1 for one, share in zip(whole, shares, strict=True))


def test_another_seed_is_usually_another_split() -> None:
    rows = [(number, number % 3) for number in range(60)]
    found = {tuple(divided(rows, seed).values()) for seed in range(20)}
    assert len(found) >= 18


@pytest.mark.parametrize("seed", range(5))
def test_shares_of_every_label_are_within_one_case_where_groups_are_single(seed) -> None:
    dice = random.Random(seed)
    rows = [(number, dice.choice([0, 0, 0, 1, 1, 2])) for number in range(300)]
    held = divided(rows, seed)
    for label in range(3):
        cases = [held[group] for group, one in rows if one == label]
        for split, share in enumerate(SHARES):
            assert abs(cases.count(split) - share * len(cases)) <= 1.5
    everywhere = list(held.values())
    assert all(abs(everywhere.count(split) - share * 300) <= 1.5 for split, share in enumerate(SHARES))


@pytest.mark.parametrize("seed", range(5))
def test_shares_are_within_the_largest_group_where_groups_are_uneven(seed) -> None:
    dice = random.Random(seed)
    rows = [(group, dice.randrange(4)) for group in range(100) for _ in range(dice.choice([1, 1, 2, 3, 9]))]
    held = divided(rows, seed)
    for split, share in enumerate(SHARES):
        assert abs(sum(held[group] == split for group, _ in rows) - share * len(rows)) <= 9


@pytest.mark.parametrize("seed", range(10))
def test_a_label_of_four_groups_reaches_every_split(seed) -> None:
    rows = [(number, 0) for number in range(200)] + [(1000 + number, 1) for number in range(4)]
    held = divided(rows, seed)
    assert {held[1000 + number] for number in range(4)} == {0, 1, 2, 3}


def test_missing_labels_are_named_with_the_splits() -> None:
    splits = np.asarray([0, 1, 2, 3, 0, 2], dtype=np.int64)
    assert missing_labels(["a", "a", "a", "a", "b", "b"], splits, NAMES) == {"b": ["validation", "test"]}


SCRIPT = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from small_notes import cohort_of
frame = cohort_of(Path(sys.argv[1]), seed=7).frame
print(json.dumps([frame["case_id"].to_list(), frame["split"].to_list()]))
"""


def test_a_second_process_gives_the_same_split(write) -> None:
    path = write(as_csv(notes(60)))
    frame = cohort_of(path, seed=7).frame
    words = [sys.executable, "-c", SCRIPT, str(path), os.path.dirname(__file__)]  # noqa: PTH120
    done = subprocess.run(
        words, env={**os.environ, "PYTHONHASHSEED": "123"}, capture_output=True, check=True, text=True
    )
    assert json.loads(done.stdout) == [frame["case_id"].to_list(), frame["split"].to_list()]
    assert cohort_of(path, seed=8).frame["split"].to_list() != frame["split"].to_list()


def test_patients_stay_whole_and_the_order_of_the_file_does_not_matter(write) -> None:
    rows = notes(120)
    frame = cohort_of(write(as_csv(rows)), patient="patient_id").frame
    assert frame.group_by("patient").n_unique()["split"].max() == 1
    assert frame["patient"].n_unique() == 60
    again = cohort_of(write(as_csv(rows[::-1])), patient="patient_id").frame
    assert again.sort("case_id").equals(frame.sort("case_id"))


def test_labels_that_patients_tie_together_are_refused_by_name(write) -> None:
    # A needs 1, 2, 3, 4 in four splits, so B (1, 2, 3, 5) sends 5 where 4 is, and C (1, 2, 4, 5) cannot be everywhere.
    ties = {"Asthma": [1, 2, 3, 4], "Bronchitis": [1, 2, 3, 5], "Croup": [1, 2, 4, 5]}
    texts = iter(notes(60))
    rows = [
        {**next(texts), "patient_id": f"MRN{patient}", "diagnosis": label}
        for label, patients in ties.items()
        for patient in patients
        for _ in range(2)
    ]
    with pytest.raises(DataError, match=r"No split could be found .*(Asthma|Bronchitis|Croup) has none in") as caught:
        cohort_of(write(as_csv(rows)), text="note", label="diagnosis", patient="patient_id")
    assert "data.rare" in str(caught.value) and "data.merge" in str(caught.value)
    assert "MRN" not in str(caught.value)


def test_other_shares_are_reached(write) -> None:
    shares = SplitSection(train=0.4, validation=0.2, calibration=0.2, test=0.2)
    counts = cohort_of(write(as_csv(notes(150))), split=shares).report["splits"]
    assert {name: counts[name]["cases"] for name in NAMES} == {
        "train": 60,
        "validation": 30,
        "calibration": 30,
        "test": 30,
    }
