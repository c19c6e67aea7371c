"""Exact and near-duplicates, against every pair compared by hand."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_notes import as_csv, cohort_of, notes

from bedside.data.crossings import count_crossings
from bedside.data.duplicates import banding, exact_texts, find_duplicates, join_groups, words
from bedside.protocol import SplitSection
from bedside.synthetic import Plan, generate

FEW = settings(max_examples=80, deadline=None, derandomize=True)


def jaccard(one: str, other: str) -> float:
    left, right = set(words(one)), set(words(other))
    return len(left & right) / max(len(left | right), 1)


def true_pairs(texts: list[str], threshold: float) -> set[tuple[int, int]]:
    """Every pair at or above the threshold, each compared."""
    return {
        (a, b)
        for a, b in itertools.combinations(range(len(texts)), 2)
        if jaccard(texts[a], texts[b]) >= threshold - 1e-9
    }


def components(size: int, pairs: set[tuple[int, int]]) -> set[frozenset[int]]:
    """The rows that hang together, by plain union."""
    parent = list(range(size))

    def root(row: int) -> int:
        while parent[row] != row:
            row = parent[row]
        return row

    for a, b in pairs:
        parent[root(a)] = root(b)
    held: dict[int, set[int]] = {}
    for row in range(size):
        held.setdefault(root(row), set()).add(row)
    return {frozenset(one) for one in held.values()}


def parts(numbers: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(numbers == one).tolist()) for one in set(numbers.tolist())}


def families(dice: random.Random, count: int, vocabulary: int) -> list[str]:
    """Texts of which many are others with some words changed, so that overlaps lie all around any threshold."""
    texts: list[str] = []
    for _ in range(count):
        if texts and dice.random() < 0.6:
            held = dice.choice(texts).split()
            for place in dice.sample(range(len(held)), dice.randrange(len(held) // 2 + 1)):
                held[place] = f"w{dice.randrange(vocabulary)}"
        else:
            held = [f"w{dice.randrange(vocabulary)}" for _ in range(dice.randrange(1, 25))]
        texts.append(" ".join(held))
    return texts


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.8, 0.9])
@pytest.mark.parametrize("seed", range(4))
def test_clusters_are_those_of_every_true_pair(threshold, seed) -> None:
    texts = families(random.Random(seed), 150, [30, 300, 3000, 30000][seed])
    pairs = true_pairs(texts, threshold)
    assert pairs
    found = find_duplicates(texts, threshold)
    assert parts(found.cluster) == components(len(texts), pairs)


@FEW
@given(st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=6).map(" ".join), max_size=12))
def test_nothing_is_joined_that_no_pair_joins(texts) -> None:
    found = find_duplicates(texts, 0.6)
    truth = components(len(texts), true_pairs(texts, 0.6))
    assert all(any(one <= whole for whole in truth) for one in parts(found.cluster))
    exact = {frozenset(row for row, text in enumerate(texts) if words(text) == words(one)) for one in texts}
    assert parts(found.exact) == exact
    assert all(any(one <= whole for whole in parts(found.cluster)) for one in exact)


def test_exact_means_equal_words_in_order() -> None:
    texts = ["Fever, cough.", "fever COUGH", "cough fever", "fever", "fever cough", "", "..."]
    exact, keys = exact_texts(texts)
    assert exact.tolist() == [0, 0, 1, 2, 0, 3, 3]
    assert keys == ("fever cough", "cough fever", "fever", "")


def test_a_threshold_of_one_means_exact_only() -> None:
    texts = ["fever and cough", "cough and fever", "fever and cough"]
    assert find_duplicates(texts, 1.0).cluster.tolist() == [0, 1, 0]
    assert find_duplicates(texts, 0.99).cluster.tolist() == [0, 0, 0]


def test_a_pair_at_the_very_threshold_counts() -> None:
    ten = [f"w{number}" for number in range(10)]
    assert len(set(find_duplicates([" ".join(ten), " ".join(ten[:7])], 0.7).cluster.tolist())) == 1
    assert len(set(find_duplicates([" ".join(ten), " ".join(ten[:7])], 0.71).cluster.tolist())) == 2


def test_thousands_of_texts_of_one_template_are_one_cluster() -> None:
    template = " ".join(f"w{number}" for number in range(30))
    texts = [f"{template} name{number}" for number in range(3000)]
    assert len(set(find_duplicates(texts, 0.9).cluster.tolist())) == 1


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.9])
def test_bands_miss_less_than_one_pair_in_a_thousand(threshold) -> None:
    bands, size = banding(threshold)
    assert bands * size <= 512
    assert (1 - threshold**size) ** bands <= 0.001


@FEW
@given(st.lists(st.tuples(st.integers(-1, 6), st.integers(-1, 6)), min_size=1, max_size=15))
def test_groups_are_what_hangs_together(rows) -> None:
    one, other = (np.asarray(column, dtype=np.int64) for column in zip(*rows, strict=True))
    pairs = {
        (a, b)
        for part in (one, other)
        for a, b in itertools.combinations(range(len(rows)), 2)
        if part[a] == part[b] >= 0
    }
    assert parts(join_groups(len(rows), one, other)) == components(len(rows), pairs)


@pytest.mark.parametrize("seed", range(3))
def test_the_check_counts_exactly_what_crosses(seed) -> None:
    dice = random.Random(seed)
    texts = families(dice, 120, 60)
    splits = np.asarray([dice.randrange(4) for _ in texts], dtype=np.int64)
    patients = [f"p{dice.randrange(80)}" for _ in texts]
    found = count_crossings(texts, patients, splits, 0.6)

    first: dict[tuple[str, ...], int] = {}
    for row, text in enumerate(texts):
        first.setdefault(tuple(words(text)), row)
    wanted = {(a, b) for a, b in true_pairs(texts, 0.6) if splits[a] != splits[b] and {a, b} <= set(first.values())}
    assert {tuple(sorted(pair)) for pair in found.near} == wanted
    assert found.patients == sum(
        len({splits[r] for r, p in enumerate(patients) if p == one}) > 1 for one in set(patients)
    )
    alike = [[splits[row] for row, text in enumerate(texts) if tuple(words(text)) == key] for key in first]
    assert found.exact == sum(len(set(sides)) > 1 for sides in alike)
    assert found.checked == found.held_out


def test_the_copies_planted_in_the_sample_clinic_are_found() -> None:
    clinic = generate(Plan(notes=2000, seed=7, duplicates=0.1))
    places = {note["note_id"]: place for place, note in enumerate(clinic.notes)}
    cluster = find_duplicates([note["note"] for note in clinic.notes], 0.7).cluster
    planted = clinic.planted["duplicates"]
    found = sum(cluster[places[one["note_id"]]] == cluster[places[one["of"]]] for one in planted)
    assert len(planted) >= 150
    assert found >= 0.99 * len(planted)


def test_texts_of_more_words_than_a_byte_counts_are_compared_whole() -> None:
    long = [f"w{number}" for number in range(400)]
    near, far = [*long[:340], *(f"x{n}" for n in range(60))], [*long[:250], *(f"y{n}" for n in range(150))]
    assert find_duplicates([" ".join(long), " ".join(near), " ".join(far)], 0.7).cluster.tolist() == [0, 0, 1]


def test_copies_and_near_copies_stay_on_one_side(write) -> None:
    rows = notes(90)
    copies = [
        {**row, "note_id": f"C{n}", "patient_id": f"X{n}", "note": row["note"].upper()}
        for n, row in enumerate(rows[:20])
    ]
    near = [
        {**row, "note_id": f"D{n}", "patient_id": f"Y{n}", "note": f"{row['note']} Seen again."}
        for n, row in enumerate(rows[20:40])
    ]
    cohort = cohort_of(write(as_csv(rows + copies + near)), patient="patient_id")
    report = cohort.report
    assert (
        report["duplicates"]["exact"] | {"distinct": 110, "clusters": 20, "rows": 40, "beyond_first": 20}
        == (report["duplicates"]["exact"])
    )
    assert report["duplicates"]["near"]["clusters"] == 40
    assert (report["crossings"]["patients"], report["crossings"]["exact"], report["crossings"]["near"]) == (0, 0, 0)
    frame = cohort.frame
    sides = dict(zip(frame["text"], frame["split"], strict=True))
    assert all(sides[one["note"]] == sides[other["note"]] for one, other in zip(rows[:20], copies, strict=True))
    assert all(sides[one["note"]] == sides[other["note"]] for one, other in zip(rows[20:40], near, strict=True))
    apart = cohort_of(write(as_csv(rows + near)), patient="patient_id", split=SplitSection(near_duplicate=1))
    assert apart.report["duplicates"]["near"]["clusters"] == 0
