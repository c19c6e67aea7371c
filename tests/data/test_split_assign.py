"""Splits and folds by any groups and labels, one a case or several: what must hold whatever is thrown at them."""

from __future__ import annotations

import hashlib
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedside.data.split import assign, assign_folds, groups_per_label, missing_labels

FEW = settings(max_examples=80, deadline=None, derandomize=True)
SHARES = [0.60, 0.10, 0.15, 0.15]
SINGLE = st.lists(st.tuples(st.integers(0, 14), st.integers(0, 4)), min_size=5, max_size=60)
SEVERAL = st.lists(
    st.tuples(st.integers(0, 14), st.lists(st.integers(0, 4), max_size=3, unique=True)), min_size=5, max_size=60
)


def parts_of(rows, method: str, seed: int) -> dict:
    """The part of each group, by one of the two ways; asserts that no group is cut."""
    numbers = {group: number for number, group in enumerate(dict.fromkeys(group for group, _ in rows))}
    groups = np.asarray([numbers[group] for group, _ in rows], dtype=np.int64)
    labels = [label for _, label in rows]
    if isinstance(labels[0], int):
        labels = np.asarray(labels, dtype=np.int64)
    keys = [f"g{group}" for group in numbers]
    if method == "splits":
        count, found = 4, assign(groups, labels, keys, SHARES, seed)
    else:
        count = min(3, len(keys))
        found = assign_folds(groups, labels, keys, count, seed)
    assert found.shape == groups.shape, "a row has no part"
    assert set(found.tolist()) <= set(range(count))
    held = {}
    for (group, _), part in zip(rows, found.tolist(), strict=True):
        assert held.setdefault(group, part) == part, "a group is cut"
    return held


@pytest.mark.parametrize("method", ["splits", "folds"])
@FEW
@given(rows=st.one_of(SINGLE, SEVERAL), seed=st.integers(0, 2**32))
def test_no_group_is_cut_and_the_order_of_rows_does_not_matter(method, rows, seed) -> None:
    if method == "folds" and len({group for group, _ in rows}) < 2:
        return
    held = parts_of(rows, method, seed)
    assert parts_of(rows, method, seed) == held
    assert parts_of(random.Random(seed).sample(rows, len(rows)), method, seed) == held


@FEW
@given(rows=SINGLE, seed=st.integers(0, 2**32))
def test_a_list_of_one_label_is_that_label(rows, seed) -> None:
    listed = [(group, [label]) for group, label in rows]
    assert parts_of(listed, "splits", seed) == parts_of(rows, "splits", seed)


@pytest.mark.parametrize("folds", [2, 3, 5, 7, 10])
def test_folds_are_of_equal_size_and_every_label_is_spread(folds) -> None:
    dice = random.Random(folds)
    labels = np.asarray([dice.choice([0, 0, 0, 0, 1, 1, 2]) for _ in range(303)], dtype=np.int64)
    found = assign_folds(np.arange(303), labels, [f"g{n}" for n in range(303)], folds, seed=1)
    sizes = np.bincount(found, minlength=folds)
    assert sizes.max() - sizes.min() <= 2
    for label in range(3):
        held = np.bincount(found[labels == label], minlength=folds)
        assert np.abs(held - held.sum() / folds).max() <= 1.5


def several_labels(rows: int = 400, seed: int = 0) -> list[list[int]]:
    """Labels as in multi-label data: a common one, some that come together, two rare ones, and rows with none."""
    dice = random.Random(seed)
    chances = [0.6, 0.3, 0.15, 0.05, 0.02]
    drawn = [[label for label, chance in enumerate(chances) if dice.random() < chance] for _ in range(rows)]
    return [[*row, 5] if 1 in row and dice.random() < 0.8 else row for row in drawn]


@pytest.mark.parametrize("seed", range(5))
def test_each_of_several_labels_has_its_share(seed) -> None:
    labels = several_labels(seed=seed)
    found = assign(np.arange(400), labels, [f"g{n}" for n in range(400)], SHARES, seed)
    for label in range(6):
        rows = [row for row, held in enumerate(labels) if label in held]
        counts = np.bincount(found[rows], minlength=4)
        assert np.abs(counts - len(rows) * np.asarray(SHARES)).max() <= 2, label
    assert np.abs(np.bincount(found) - 400 * np.asarray(SHARES)).max() <= 3


@pytest.mark.parametrize("seed", range(5))
def test_a_rare_one_of_several_labels_reaches_every_split(seed) -> None:
    labels = [[0] for _ in range(200)]
    for row in random.Random(seed).sample(range(200), 4):
        labels[row] = [0, 1]
    found = assign(np.arange(200), labels, [f"g{n}" for n in range(200)], SHARES, seed)
    assert sorted(found[row] for row, held in enumerate(labels) if 1 in held) == [0, 1, 2, 3]


def test_folds_that_cannot_be_are_refused() -> None:
    one = np.zeros(4, dtype=np.int64)
    with pytest.raises(ValueError, match="folds = 1"):
        assign_folds(one, one, ["g"], 1, seed=0)
    with pytest.raises(ValueError, match="folds = 5 cannot be filled by 1 group "):
        assign_folds(one, one, ["g"], 5, seed=0)


def test_groups_and_splits_of_several_labels_are_counted() -> None:
    rows = [["a", "b"], ["b"], [], ["a"]]
    assert groups_per_label(np.asarray([0, 0, 1, 2]), rows) == {"a": 2, "b": 1}
    assert missing_labels(rows, np.asarray([0, 1, 1, 0]), ("train", "test")) == {"a": ["test"]}


GOLDEN = {
    "splits 1": "34efecc38503a7f8",
    "splits 2": "d984cc470080f12c",
    "folds 5": "1ecf0b773984dfc9",
    "several": "277f6575f9219401",
    "several, folds 3": "dd33fdb05da6657c",
}


def digest(found) -> str:
    return hashlib.sha256(bytes(found.tolist())).hexdigest()[:16]


def test_any_machine_gives_these_splits() -> None:
    """Committed digests: a split that changes with the machine, the version or the code is no split to report on."""
    dice = random.Random(20)
    rows = [(group, dice.randrange(7)) for group in range(300) for _ in range(dice.choice([1, 1, 1, 2, 3, 9]))]
    groups = np.asarray([group for group, _ in rows], dtype=np.int64)
    labels = np.asarray([label for _, label in rows], dtype=np.int64)
    keys = [f"g{group}" for group in range(300)]
    several, own = several_labels(), [f"g{n}" for n in range(400)]
    got = {
        "splits 1": digest(assign(groups, labels, keys, SHARES, 1)),
        "splits 2": digest(assign(groups, labels, keys, SHARES, 2)),
        "folds 5": digest(assign_folds(groups, labels, keys, 5, 1)),
        "several": digest(assign(np.arange(400), several, own, SHARES, 1)),
        "several, folds 3": digest(assign_folds(np.arange(400), several, own, 3, 1)),
    }
    assert got == GOLDEN
