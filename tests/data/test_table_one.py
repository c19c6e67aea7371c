"""Table one: columns as what they are, differences as they are defined, no small count shown or to be worked out."""

from __future__ import annotations

import math
import re

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_notes import as_csv, cohort_of, notes

from bedside.data.cohort import SPLITS
from bedside.data.table_one import (
    HIDDEN,
    OTHER,
    difference_of_means,
    difference_of_shares,
    hidden_cells,
    is_age,
    is_sex,
    shown_levels,
    small,
    table_one,
)


def _frame(**columns) -> pl.DataFrame:
    size = len(next(iter(columns.values())))
    parts = [SPLITS[0] if n % 10 < 6 else SPLITS[1 + n % 3] for n in range(size)]
    own = {"text": ["a note"] * size, "label": ["A" if n % 3 else "B" for n in range(size)], "split": parts}
    return pl.DataFrame({"patient": [f"p{n // 2}" for n in range(size)], **own, **columns})


def _cells(found, variable: str) -> dict[str, list[str]]:
    return {row["level"]: row["cells"] for row in found["rows"] if row["variable"] == variable}


def test_ages_and_sexes_are_found_by_name_and_values() -> None:
    ages = pl.Series([30.0, 41.0, None, 89.0])
    assert [is_age(name, ages) for name in ("age", "patient_age", "Edad", "stage", "dosage", "page")] == [
        *[True] * 3,
        *[False] * 3,
    ]
    assert not is_age("age", pl.Series([19_800.0, 20_100.0, 21_000.0]))
    assert not is_age("age", pl.Series(["30", "41"]))
    assert is_sex("sex", pl.Series(["M", "F", None])) and is_sex("Gender", pl.Series(["male", "female"]))
    assert not is_sex("essex_ward", pl.Series(["M", "F"])) and not is_sex("sex", pl.Series(list("abcdefgh")))


def test_medians_bands_and_shares_are_those_of_the_cases() -> None:
    ages = [20.0 + n % 79 for n in range(400)]
    found = table_one(_frame(age=ages, sex=["F" if n % 4 else "M" for n in range(400)]), patients=True)
    assert found["columns"] == ["overall", *SPLITS]
    assert _cells(found, "Cases")["n"][0] == "400"
    assert _cells(found, "Patients")["n"][0] == "200"
    low, middle, high = np.percentile(np.minimum(ages, 90), [25, 50, 75])
    assert _cells(found, "Age, years")["median (quartiles)"][0] == f"{middle:g} ({low:g}–{high:g})"
    bands = _cells(found, "Age, years, bands")
    assert list(bands) == ["18–39", "40–64", "65–79", "80–89", "90+"]
    assert bands["40–64"][0].startswith(f"{sum(40 <= age < 65 for age in ages)} (")
    assert _cells(found, "Sex")["F"][0] == "300 (75.0%)"
    assert _cells(found, "Label")["A"][0] == f"{sum(n % 3 > 0 for n in range(400))} (66.5%)"


def test_standardised_differences_are_as_defined() -> None:
    draw = np.random.default_rng(0)
    one, other = draw.normal(0, 2, 500), draw.normal(1, 1, 300)
    expected = (other.mean() - one.mean()) / math.sqrt((one.var(ddof=1) + other.var(ddof=1)) / 2)
    assert difference_of_means(one, other) == pytest.approx(expected)
    p, q = 0.2, 0.35  # of two values: the difference of shares over the root of the mean variance
    expected = abs(p - q) / math.sqrt((p * (1 - p) + q * (1 - q)) / 2)
    assert difference_of_shares(np.array([800, 200]), np.array([650, 350])) == pytest.approx(expected)
    assert difference_of_shares(np.array([80, 15, 5]), np.array([160, 30, 10])) == pytest.approx(0)
    assert difference_of_shares(np.array([5, 5]), np.array([0, 0])) is None


def test_a_rare_or_long_value_is_not_named() -> None:
    cells = ["ward A"] * 9 + ["Dr Rare"] * 4 + ["x" * 60] * 20 + [None]
    assert shown_levels(cells) == ["ward A"]
    found = table_one(_frame(ward=(["ward A"] * 200 + ["Dr Rare"] * 4 + ["ward B"] * 96)), patients=False)
    assert set(_cells(found, "Ward")) == {"ward A", "ward B", OTHER}
    assert "Dr Rare" not in str(found)


@given(st.lists(st.lists(st.integers(0, 12), min_size=4, max_size=4), min_size=2, max_size=6))
def test_no_hidden_count_can_be_worked_out_from_a_total(rows) -> None:
    counts = np.asarray([[sum(row), *row] for row in rows], dtype=np.int64)
    hidden = hidden_cells(counts)
    assert hidden[(counts > 0) & (counts < 5)].all()
    for line, covered in [*zip(counts, hidden, strict=True), *zip(counts.T, hidden.T, strict=True)]:
        assert covered.sum() != 1 or not (line[~covered] > 0).any()


def test_small_counts_are_not_written() -> None:
    assert [small(n) for n in (0, 1, 4, 5)] == [0, "<5", "<5", 5]
    found = table_one(_frame(sex=["F"] * 190 + ["M"] * 7 + ["X"] * 3), patients=False)
    cells = [cell for row in found["rows"] for cell in row["cells"]]
    assert "<5" in cells and HIDDEN in cells
    assert not [cell for cell in cells if re.match(r"[1-4](?: |$)", cell)]


def test_cases_of_several_labels_are_counted_under_each() -> None:
    frame = _frame(ward=["w"] * 100).with_columns(label=pl.Series([["A", "B"] if n % 2 else ["A"] for n in range(100)]))
    labels = _cells(table_one(frame, patients=False), "Label")
    assert (labels["A"][0], labels["B"][0]) == ("100 (100.0%)", "50 (50.0%)")


def test_prepare_puts_it_into_the_report(write) -> None:
    rows = [{**row, "age": str(20 + n % 60), "sex": "FM"[n % 2]} for n, row in enumerate(notes(120))]
    cohort = cohort_of(write(as_csv(rows)), patient="patient_id", keep=["age", "sex"])
    variables = [row["variable"] for row in cohort.report["table_one"]["rows"]]
    assert list(dict.fromkeys(variables)) == [
        "Cases",
        "Patients",
        "Notes per patient",
        "Age, years",
        "Age, years, bands",
        "Sex",
        "Label",
    ]
