"""Cases with several labels, read from the ways in which tables hold them."""

from __future__ import annotations

import numpy as np
import pytest

from bedside.core.errors import DataError
from bedside.data.multilabel import apply_rare_labels, joined, label_sets, parted


def sets_of(columns: dict[str, list[str]], delimiter: str | None = None) -> list[tuple[str, ...]]:
    rows = len(next(iter(columns.values())))
    return label_sets(columns, delimiter, "notes.csv", range(2, rows + 2))


def test_a_delimiter_between_labels() -> None:
    cells = ["Gout; Asthma", "Asthma;", " ", "Gout;Gout", "n/a"]
    assert sets_of({"dx": cells}, ";") == [("Asthma", "Gout"), ("Asthma",), (), ("Gout",), ()]


def test_lists_of_json_and_of_python() -> None:
    cells = ['["Gout", "Asthma"]', "['Gout', \"Crohn's disease\"]", "Gout", "[]", "(401, 250.0)"]
    assert sets_of({"dx": cells}, "list") == [
        ("Asthma", "Gout"),
        ("Crohn's disease", "Gout"),
        ("Gout",),
        (),
        ("250.0", "401"),
    ]
    with pytest.raises(DataError, match=r"notes.csv, row 2, column 'dx' begins like a list"):
        sets_of({"dx": ["['Gout', __import__('os')]"]}, "list")


def test_several_columns_of_labels() -> None:
    assert sets_of({"first": ["Gout", "Asthma"], "second": ["", "Gout"]}) == [("Gout",), ("Asthma", "Gout")]


def test_columns_that_say_yes_or_no() -> None:
    columns = {"Gout": ["1", "0", "", "yes"], "Asthma": ["1", "No", "x", "0.0"]}
    assert sets_of(columns) == [("Asthma", "Gout"), (), ("Asthma",), ("Gout",)]


def test_an_indicator_that_is_neither() -> None:
    with pytest.raises(DataError, match=r"row 21: column 'Gout' says neither yes nor no"):
        sets_of({"Gout": ["1"] * 19 + ["maybe"], "Asthma": ["0"] * 20})


def test_columns_of_two_kinds() -> None:
    with pytest.raises(DataError, match="Gout say yes or no and dx hold something else"):
        sets_of({"Gout": ["1", "0"], "dx": ["Asthma", "Migraine"]})


def test_joined_and_parted() -> None:
    assert parted(joined(["b", "a", "b"])) == ("a", "b")
    assert parted(joined([])) == ()


SETS = [("Common", "Rare"), ("Common",), ("Other one",), ("Common", "Other one"), ("Other one",)]
GROUPS = np.asarray([0, 1, 2, 2, 3])


def test_rare_labels_leave_their_cases_alone() -> None:
    fresh, said = apply_rare_labels(SETS, GROUPS, "drop", 2)
    assert fresh == [("Common",), ("Common",), ("Other one",), ("Common", "Other one"), ("Other one",)]
    assert said == ["1 rare label was left out of the cases that have them (data.rare)"]
    fresh, _ = apply_rare_labels(SETS, GROUPS, "merge:Else", 2)
    assert fresh[0] == ("Common", "Else")


def test_rare_labels_are_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"1 label has fewer than 2 groups: Rare \(1\)"):
        apply_rare_labels(SETS, GROUPS, "refuse", 2)
    with pytest.raises(DataError, match="fewer than two labels are left"):
        apply_rare_labels(SETS, GROUPS, 4, 2)


def test_the_specialties_of_mtsamples(shared_data) -> None:
    import polars as pl

    path = shared_data / "mtsamples" / "mtsamples_unique_multilabel.csv.gz"
    cells = pl.read_csv(path, infer_schema=False)["specialties"].fill_null("").to_list()
    sets = label_sets({"specialties": cells}, "|", path.name, range(len(cells)))
    assert sum(len(one) > 1 for one in sets) == 2165
    assert len(sets) == 2376
