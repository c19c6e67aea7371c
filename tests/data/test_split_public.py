"""Symptom2Disease, whose notes come from templates: what is near at two thresholds, and what the split makes of it.

The shares depend on what a word is: here lower-cased runs of letters, digits and underscores (``\\w+``).
"""

from __future__ import annotations

import re
from collections import Counter

import pytest
from small_notes import cohort_of

from bedside.core.errors import DataError
from bedside.data.cohort import SPLITS
from bedside.data.duplicates import find_duplicates
from bedside.protocol import SplitSection


@pytest.fixture
def table(shared_data):
    return shared_data / "symptom2disease" / "symptom2disease.csv"


@pytest.mark.parametrize(("threshold", "wanted"), [(0.7, 0.25), (0.5, 0.60)])
def test_rows_with_a_near_duplicate(table, threshold, wanted) -> None:
    import polars as pl

    texts = pl.read_csv(table)["text"].to_list()
    sizes = Counter(find_duplicates(texts, threshold).cluster.tolist())
    assert abs(sum(size for size in sizes.values() if size > 1) / len(texts) - wanted) < 0.03


def test_at_the_default_every_label_has_its_share_and_nothing_crosses(table) -> None:
    report = cohort_of(table).report
    assert all(report["crossings"][kind] == 0 for kind in ("patients", "exact", "near"))
    assert report["crossings"]["compared_by_brute_force"] == report["crossings"]["held_out_texts"]
    assert report["division"]["largest_deviation"]["cases"] <= 1.5
    assert report["division"]["sentence"].startswith("At random, by groups")
    for name, wished in zip(SPLITS, (0.60, 0.10, 0.15, 0.15), strict=True):
        assert abs(report["splits"][name]["share"] - wished) < 0.005


def test_a_label_that_is_one_cluster_is_refused_by_name_with_the_way_out(table) -> None:
    with pytest.raises(
        DataError, match=r"3 labels have .* fewer than 4 groups.*Malaria \(50 cases in 1 group\)"
    ) as said:
        cohort_of(table, split=SplitSection(near_duplicate=0.5))
    assert re.search(r"Acne \(50 cases in 3 groups\), Jaundice \(50 cases in 2 groups\)", str(said.value))
    assert "set split.near_duplicate higher" in str(said.value)
