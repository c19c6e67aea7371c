"""By time, by site, as given, and folds: nothing crosses, and each way holds to what it says of itself."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from small_notes import as_csv, cohort_of, notes

from bedside.core.errors import DataError, ProtocolError
from bedside.data.cohort import SPLITS
from bedside.data.split_account import later_than_test
from bedside.data.split_parts import divide, folds_of
from bedside.data.split_plan import Plan
from bedside.protocol import SplitSection, parse

FEW = settings(max_examples=50, deadline=None, derandomize=True)
TRAIN, _, _, TEST = range(4)
SITES = ["Hillside", "Lakeside", "Riverside"]
SECTIONS = {
    "random": SplitSection(),
    "temporal": SplitSection(method="temporal"),
    "site": SplitSection(method="site", test_sites=["B"]),
    "given": SplitSection(method="given", column="part", repair=True),
}
VALUES = {
    "random": st.none(),
    "temporal": st.integers(0, 9),
    "site": st.sampled_from([0, 3]),
    "given": st.integers(0, 3),
}
LABELS = st.one_of(st.integers(0, 3), st.lists(st.integers(0, 3), max_size=3))


@st.composite
def tables(draw):
    """A way of dividing, and rows of (group, label or labels, time or part)."""
    method = draw(st.sampled_from(sorted(SECTIONS)))
    label = draw(st.sampled_from([st.integers(0, 3), st.lists(st.integers(0, 3), max_size=3)]))
    row = st.tuples(st.integers(0, 30), label, VALUES[method])
    return method, draw(st.lists(row, min_size=8, max_size=80))


def divided(method: str, rows, seed: int):
    """Groups, splits and folds of the rows."""
    numbers = {group: number for number, group in enumerate(dict.fromkeys(row[0] for row in rows))}
    groups = np.asarray([numbers[row[0]] for row in rows], dtype=np.int64)
    labels = [row[1] for row in rows]
    if isinstance(labels[0], int):
        labels = np.asarray(labels, dtype=np.int64)
    values = None if method == "random" else np.asarray([row[2] for row in rows], dtype=np.int64)
    plan = Plan(SECTIONS[method].model_copy(update={"folds": 2}), values, "", None, str, "notes.csv")
    keys = [f"g{group}" for group in numbers]
    try:
        parts = divide(plan, range(len(rows)), groups, labels, keys, seed)
    except DataError as error:
        assert "is left to learn from" in str(error) or "a case in every part" in str(error)
        return None
    targets = np.zeros(len(rows), dtype=np.int64)
    folds, _ = folds_of(plan, range(len(rows)), groups, targets, parts.splits, keys, seed)
    return groups, parts, folds


@FEW
@given(tables(), st.integers(0, 2**32))
def test_no_group_is_cut_by_any_way_of_dividing(table, seed) -> None:
    method, rows = table
    assume(len({row[0] for row in rows}) >= 2)
    found = divided(method, rows, seed)
    assume(found is not None)
    groups, parts, folds = found
    splits = parts.splits
    assert splits.shape == folds.shape == groups.shape
    assert set(splits.tolist()) <= {-1, 0, 1, 2, 3}
    for group in set(groups.tolist()):
        assert len(set(splits[groups == group].tolist()) - {-1}) == 1, "a group is cut, or lost as a whole"
        assert len(set(folds[groups == group].tolist())) == 1, "a group is cut by the folds"
    if method == "random":
        assert (splits >= 0).all()
    elif method == "temporal":
        assert later_than_test(np.asarray([row[2] for row in rows]), splits) == 0
        assert set(splits.tolist()) >= {0, 1, 2, 3}
    else:  # what is to be tested is tested, all of it
        assert [split == TEST for split in splits.tolist()] == [row[2] == TEST for row in rows] or not any(
            row[2] == TEST for row in rows
        )
    assert abs(sum(parts.wished.values()) - 1) < 1e-4
    order = random.Random(seed).sample(range(len(rows)), len(rows))
    again = divided(method, [rows[place] for place in order], seed)
    assert again[1].splits.tolist() == splits[order].tolist()
    assert again[2].tolist() == folds[order].tolist()


def table(count: int = 240, **columns) -> list[dict[str, str]]:
    """Notes of patients with two each, with further columns by row number."""
    return [{**row, **{name: make(n) for name, make in columns.items()}} for n, row in enumerate(notes(count))]


def prepared(path, **given):
    """A cohort whose columns are what the tests name, and no patient unless one is."""
    return cohort_of(path, **{"text": "note", "label": "diagnosis", "patient": None, **given})


def flow(report) -> dict[str, int]:
    return {one["reason"]: one["rows"] for one in report["flow"] if one["step"] == "dropped"}


def counts(frame) -> dict[str, int]:
    return {name: int((frame["split"] == name).sum()) for name in SPLITS}


def test_by_time_the_latest_are_the_test(write) -> None:
    rows = table(when=lambda n: f"2024-{1 + n // 20:02d}-{1 + n % 20:02d}")
    cohort = prepared(write(as_csv(rows)), time="when", split=SplitSection(method="temporal"))
    spans = [cohort.part(name)["time_rank"] for name in SPLITS]
    assert all(one.max() < other.min() for one, other in itertools.pairwise(spans))
    assert counts(cohort.frame) == {"train": 144, "validation": 24, "calibration": 36, "test": 36}
    division = cohort.report["division"]
    assert division["training_cases_later_than_the_first_test_case"] == 0
    assert division["left_out"] == 0
    assert division["sentence"].startswith("By time: ")
    assert "0 training cases are later than the earliest test case" in division["sentence"]


def test_a_patient_who_comes_again_later_is_learned_from_no_earlier(write) -> None:
    # patients have rows n and n + 1; every tenth patient comes again at the very end
    rows = table(when=lambda n: f"2024-01-{1 + n // 24:02d}")
    late = [
        {**row, "when": "2024-01-11", "note_id": f"L{n}", "note": other["note"], "diagnosis": other["diagnosis"]}
        for n, (row, other) in enumerate(zip(rows[:200:20], notes(10, seed=9), strict=True))
    ]
    cohort = prepared(
        write(as_csv(rows + late)), time="when", patient="patient_id", split=SplitSection(method="temporal")
    )
    frame = cohort.frame
    assert frame.group_by("patient").agg(pl.col("split").n_unique())["split"].max() == 1
    assert flow(cohort.report) == {"tied to a case of a later part (a patient or a near-duplicate)": 20}
    assert frame.height == 230 and cohort.report["division"]["left_out"] == 20
    train, test = cohort.part("train")["time_rank"], cohort.part("test")["time_rank"]
    assert train.max() < test.min()
    assert all(cohort.report["crossings"][kind] == 0 for kind in ("patients", "exact", "near"))


def test_rows_without_a_time_are_counted(write) -> None:
    rows = table(when=lambda n: "" if n % 40 == 0 else "soon" if n == 1 else f"2024-{1 + n // 20:02d}-{1 + n % 20:02d}")
    cohort = prepared(write(as_csv(rows)), time="when", split=SplitSection(method="temporal"))
    assert flow(cohort.report) == {"no time for a split by time": 7}


def test_a_split_by_time_that_cannot_be_is_refused(write) -> None:
    temporal = SplitSection(method="temporal")
    with pytest.raises(DataError, match=r"needs data\.time"):
        prepared(write(as_csv(table())), split=temporal)
    rows = table(when=lambda n: f"2024-01-0{1 + n % 3}")
    with pytest.raises(DataError, match=r"needs 4 different times .* 'when' of notes\.csv holds 3"):
        prepared(write(as_csv(rows)), time="when", split=temporal)
    rows = [{**row, "patient_id": "P1"} for row in table(60, when=lambda n: f"2024-02-{1 + n % 20:02d}")]
    with pytest.raises(DataError):
        prepared(write(as_csv(rows)), time="when", patient="patient_id", split=temporal)


def test_a_label_that_time_keeps_from_a_part_is_refused_or_dropped_by_name(write) -> None:
    rows = table(when=lambda n: f"2024-{1 + n // 20:02d}-{1 + n % 20:02d}")
    for row in rows[:12]:
        row["diagnosis"] = "Cowpox"
    path = write(as_csv(rows))
    section = {"time": "when", "split": SplitSection(method="temporal")}
    with pytest.raises(DataError, match=r"'temporal' 1 label cannot reach every part: Cowpox has none in validation"):
        prepared(path, **section)
    cohort = prepared(path, rare="drop", **section)
    assert "Cowpox" not in cohort.labels and cohort.frame.height == 228
    assert flow(cohort.report) == {"label that does not reach every split": 12}
    merged = prepared(path, rare="merge:Influenza", **section)
    assert "Cowpox" not in merged.labels and merged.frame.height == 240


def test_whole_sites_are_held_out(write) -> None:
    rows = table(hospital=lambda n: SITES[(n // 6) % 3])
    one = SplitSection(method="site", test_sites=["Lakeside"])
    cohort = prepared(write(as_csv(rows)), site="hospital", patient="patient_id", split=one)
    assert set(cohort.part("test")["site"]) == {"Lakeside"}
    assert cohort.part("test").height == 78
    assert "Lakeside" not in set(cohort.frame.filter(pl.col("split") != "test")["site"])
    report = cohort.report
    assert "Lakeside held out whole" in report["division"]["sentence"]
    assert report["division"]["test_sites"] == ["Lakeside"]
    wished = {name: part["wished"] for name, part in report["splits"].items()}
    assert abs(wished["test"] - 78 / 240) < 1e-5 and abs(wished["train"] - 162 / 240 * 0.60 / 0.85) < 1e-5
    assert abs(cohort.part("train").height - 162 * 0.60 / 0.85) <= 2
    assert max(one["largest_deviation"] for one in report["labels"].values()) <= 2.5


def test_a_patient_of_two_sites_is_tested_where_held_out_and_not_learned_from(write) -> None:
    rows = table(hospital=lambda n: SITES[(n // 6) % 3])
    rows[0]["hospital"], rows[1]["hospital"] = "Lakeside", "Hillside"  # one patient, two sites
    rows[2]["hospital"] = ""
    one = SplitSection(method="site", test_sites=["Lakeside"])
    cohort = prepared(write(as_csv(rows)), site="hospital", patient="patient_id", split=one)
    assert cohort.report["division"]["left_out"] == 1
    assert set(flow(cohort.report).values()) == {1} and len(flow(cohort.report)) == 2
    assert "1 case of patients or near-duplicates" in cohort.report["division"]["sentence"]
    assert cohort.frame.group_by("patient").agg(pl.col("split").n_unique())["split"].max() == 1


def test_sites_that_are_not_there_are_refused_with_the_nearest(write) -> None:
    path = write(as_csv(table(hospital=lambda n: SITES[(n // 6) % 3])))
    with pytest.raises(DataError, match=r"names 'Lakesid', which is no site .* did you mean 'Lakeside'"):
        prepared(path, site="hospital", split=SplitSection(method="site", test_sites=["Lakesid"]))
    with pytest.raises(DataError, match=r"needs split\.test_sites.*Hillside, Lakeside, Riverside"):
        prepared(path, site="hospital", split=SplitSection(method="site"))
    with pytest.raises(DataError, match="every site"):
        prepared(path, site="hospital", split=SplitSection(method="site", test_sites=SITES))
    with pytest.raises(DataError, match=r"needs data\.site"):
        prepared(path, site=None, split=SplitSection(method="site", test_sites=["Lakeside"]))


GIVEN = SplitSection(method="given", column="part")
SPOKEN = {"train": "Train", "validation": "dev", "calibration": "calib", "test": " test "}


def test_a_given_split_is_followed(write) -> None:
    names = [*["train"] * 6, *["validation"] * 1, *["calibration"] * 1, *["test"] * 2]
    rows = table(part=lambda n: SPOKEN[names[(n // 6) % 10]])
    frame = prepared(write(as_csv(rows)), split=GIVEN, patient="patient_id").frame
    by_text = dict(zip(frame["text"], frame["split"], strict=True))
    assert [by_text[row["note"]] for row in rows] == [names[(n // 6) % 10] for n in range(240)]


def test_parts_that_are_not_given_are_carved_out_of_train(write) -> None:
    rows = table(part=lambda n: "test" if n % 12 < 3 else "train" if n != 3 else "")
    cohort = prepared(write(as_csv(rows)), split=GIVEN)
    found = counts(cohort.frame)
    assert found["test"] == 60
    assert abs(found["validation"] - 179 * 0.1 / 0.85) <= 2 and abs(found["calibration"] - 179 * 0.15 / 0.85) <= 2
    assert flow(cohort.report) == {"no part in column 'part'": 1}
    tested = {row["note"] for row in rows if row["part"] == "test"}
    assert set(cohort.texts("test")) == tested


def test_a_given_split_that_cuts_a_patient_is_refused_or_mended(write) -> None:
    rows = table(part=lambda n: "test" if n % 12 < 3 else "train")  # every twelfth patient is cut in two
    path = write(as_csv(rows))
    with pytest.raises(DataError, match=r"cuts 20 groups .* row 5\).* split\.repair = true to leave the 20 cases"):
        prepared(path, split=GIVEN, patient="patient_id")
    cohort = prepared(path, split=GIVEN.model_copy(update={"repair": True}), patient="patient_id")
    assert cohort.frame.height == 220 and cohort.report["division"]["left_out"] == 20
    assert cohort.part("test").height == 60
    assert all(cohort.report["crossings"][kind] == 0 for kind in ("patients", "exact", "near"))
    assert "20 cases of patients or near-duplicates" in cohort.report["division"]["sentence"]


def test_what_a_given_column_does_not_say_is_refused(write) -> None:
    path = write(as_csv(table(part=lambda n: "tset" if n == 4 else "train")))
    with pytest.raises(DataError, match=r"says 'tset' in 1 row .* row 6\); did you mean 'test'"):
        prepared(path, split=GIVEN)
    with pytest.raises(DataError, match=r"'prat' is no column of notes\.csv; did you mean 'part'\?"):
        prepared(path, split=GIVEN.model_copy(update={"column": "prat"}))
    with pytest.raises(DataError, match="holds 240 different values") as caught:
        prepared(write(as_csv(table(part=lambda n: f"secret{n}"))), split=GIVEN)
    assert "secret" not in str(caught.value)
    with pytest.raises(DataError, match="says train in no row"):
        prepared(write(as_csv(table(part=lambda n: "test"))), split=GIVEN)
    with pytest.raises(DataError, match="names for something else"):
        prepared(path, split=GIVEN.model_copy(update={"column": "diagnosis"}))


@pytest.mark.parametrize("folds", [2, 5])
def test_folds_stand_beside_the_split(write, folds) -> None:
    cohort = prepared(write(as_csv(table())), patient="patient_id", split=SplitSection(folds=folds))
    frame = cohort.frame
    assert set(frame["fold"]) == set(range(folds))
    assert frame.group_by("patient").agg(pl.col("fold").n_unique())["fold"].max() == 1
    for part in (frame, frame.filter(pl.col("split") != "test")):
        for label in cohort.labels:
            sizes = Counter(part.filter(pl.col("label") == label)["fold"])
            assert max(sizes.values()) - min(sizes.values()) <= 4
    assert cohort.report["division"]["folds"]["cases"] == [int((frame["fold"] == n).sum()) for n in range(folds)]
    assert "fold" not in prepared(write(as_csv(table()))).frame.columns


def test_given_folds_are_followed_refused_or_mended(write) -> None:
    path = write(
        as_csv(table(f=lambda n: str((n // 2) % 12 + 1), g=lambda n: str(n % 3), h=lambda n: "" if n else "1"))
    )
    frame = prepared(path, patient="patient_id", split=SplitSection(folds="f")).frame
    rows = {row["note"]: int(row["f"]) - 1 for row in table(f=lambda n: str((n // 2) % 12 + 1))}
    assert [rows[text] for text in frame["text"]] == frame["fold"].to_list()
    with pytest.raises(DataError, match=r"split\.folds = 'g' .* cuts 120 groups"):
        prepared(path, patient="patient_id", split=SplitSection(folds="g"))
    cohort = prepared(path, patient="patient_id", split=SplitSection(folds="g", repair=True))
    assert cohort.report["division"]["folds"]["moved"] == 120
    assert cohort.frame.group_by("patient").agg(pl.col("fold").n_unique())["fold"].max() == 1
    with pytest.raises(DataError, match="holds 1 different value"):
        prepared(path, split=SplitSection(folds="h"))
    with pytest.raises(DataError, match=r"'i' is no column"):
        prepared(path, split=SplitSection(folds="i"))
    with pytest.raises(DataError, match=r"split\.folds = 100 is more than the 60 groups"):
        prepared(write(as_csv(notes(60))), split=SplitSection(folds=100))


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('method = "Time"', "'random', 'temporal', 'site' or 'given'"),
        ('method = "given"', "needs column"),
        ('column = "part"', "column is for method = 'given'"),
        ('test_sites = ["A"]', "test_sites is for method = 'site'"),
        ("repair = true", "repair is for what is given"),
        ("folds = 1", "1 is neither 0"),
        ("folds = 101", "101 is neither 0"),
    ],
)
def test_keys_that_do_not_go_together_are_faults(lines, said) -> None:
    with pytest.raises(ProtocolError, match="split") as caught:
        parse(f'[data]\nsource = "a.csv"\ntext = "t"\nlabel = "l"\n[split]\n{lines}\n', "plan.toml")
    assert said in str(caught.value)


def test_labels_of_too_few_groups_are_refused_with_their_groups(write) -> None:
    rows = table(60)
    for n, row in enumerate(rows[:9]):
        row["diagnosis"] = "Cowpox" if n < 2 else "Anthrax" if n < 4 else "Yaws"
    with pytest.raises(DataError) as caught:
        prepared(write(as_csv(rows)), patient="patient_id")
    assert str(caught.value) == (
        "3 labels have fewer than 4 groups of patients or duplicates, and each split needs one: Anthrax (1), Cowpox "
        "(1), Yaws (3); in protocol.toml, under [data], merge them by name ([data.merge]), drop them, or say "
        'rare = "drop" or rare = "merge:Other".'
    )


def test_any_machine_divides_like_this() -> None:
    """Committed digests of splits and folds by every way of dividing."""
    dice = random.Random(5)
    made = {"random": lambda: None, "temporal": lambda: dice.randrange(60), "site": lambda: 3 * (dice.random() < 0.2)}
    made["given"] = lambda: dice.choice([0, 0, 0, 1, 3])
    got = {}
    for method, value in made.items():
        groups = [group for group in range(200) for _ in range(dice.choice([1, 1, 2, 4]))]
        _, parts, folds = divided(method, [(group, dice.randrange(5), value()) for group in groups], seed=1)
        got[method] = hashlib.sha256(repr((parts.splits.tolist(), folds.tolist())).encode()).hexdigest()[:16]
    assert got == {
        "random": "7cd33b8d9692b511",
        "temporal": "2b436d5b9b58ac34",
        "site": "526838ab8590cf7f",
        "given": "71980697e3ec3368",
    }
