"""The cohort folder: the same bytes twice, foreign files refused, and no identifier of the source in it."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from small_notes import KEY, as_csv, cohort_of, notes

from bedside.core.errors import DataError
from bedside.data import Cohort, look, prepare
from bedside.protocol import CleanSection, SplitSection

ROWS = [
    {**row, "age": str(20 + n), "when": f"2024-{n % 12 + 1:02d}-03", "site": "AB"[n % 2]}
    for n, row in enumerate(notes(60))
]


def test_saved_is_loaded(write, tmp_path) -> None:
    cohort = cohort_of(write(as_csv(ROWS)), patient="patient_id")
    cohort.save(tmp_path)
    again = Cohort.load(tmp_path)
    assert again.frame.equals(cohort.frame)
    assert (again.labels, again.positive, again.report) == (cohort.labels, None, cohort.report)
    assert again.targets("test").tolist() == [again.labels.index(one) for one in again.part("test")["label"]]
    assert again.texts("train") == again.part("train")["text"].to_list()
    with pytest.raises(ValueError, match="'dev' is no split"):
        again.part("dev")


def test_the_same_table_gives_the_same_bytes(write, tmp_path) -> None:
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        cohort_of(write(as_csv(ROWS)), patient="patient_id").save(tmp_path / place)
    for name in ("cases.parquet", "report.json", "report.html"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_what_is_no_cohort_is_refused(write, tmp_path) -> None:
    with pytest.raises(DataError, match="holds no cohort"):
        Cohort.load(tmp_path)
    cohort_of(write(as_csv(ROWS))).save(tmp_path)
    whole = (tmp_path / "cases.parquet").read_bytes()
    pl.DataFrame({"text": ["a"], "label": ["b"]}).write_parquet(tmp_path / "cases.parquet")
    with pytest.raises(DataError, match="was not written by a version of bedside"):
        Cohort.load(tmp_path)
    for content in (whole[:-100], b"", b"case_id,text\n"):
        (tmp_path / "cases.parquet").write_bytes(content)
        with pytest.raises(DataError, match="is damaged"):
            Cohort.load(tmp_path)
    (tmp_path / "cases.parquet").write_bytes(whole)
    for content in (b"{", b"\xff\xfe{}"):
        (tmp_path / "report.json").write_bytes(content)
        with pytest.raises(DataError, match="is damaged"):
            Cohort.load(tmp_path)


def test_no_identifier_of_the_source_is_written(write, tmp_path) -> None:
    cohort = cohort_of(write(as_csv(ROWS)), patient="patient_id", time="when", site="site", keep=["age"])
    cohort.save(tmp_path / "cohort")
    names = [row[key] for row in ROWS for key in ("note_id", "patient_id")]
    frame = pl.read_parquet(tmp_path / "cohort" / "cases.parquet")
    cells = {str(cell) for column in frame.columns for cell in frame[column]}
    assert not cells & {*names, *(row["when"] for row in ROWS)}
    for file in (tmp_path / "cohort").iterdir():
        content = file.read_bytes() + "\n".join(cells).encode()
        assert not [name for name in names if name.encode() in content]
        assert KEY not in content and KEY.hex().encode() not in content
    assert sorted(frame["time_rank"].unique()) == list(range(12))  # the order, and no date


def test_pseudonyms_change_with_the_key_and_nothing_else_does(write) -> None:
    section = look(write(as_csv(ROWS)), patient="patient_id").section
    one, other = (
        prepare(section, CleanSection(), SplitSection(), base=Path(), seed=1, key=key).frame for key in (KEY, b"q" * 32)
    )
    for name in ("case_id", "patient", "group"):
        assert not set(one[name]) & set(other[name])
        assert one[name].n_unique() == other[name].n_unique()
    assert one.drop("case_id", "patient", "group").equals(other.drop("case_id", "patient", "group"))


def test_a_case_id_that_comes_twice_is_told_apart(write) -> None:
    rows = [{**row, "note_id": "N1" if n < 3 else row["note_id"]} for n, row in enumerate(ROWS)]
    cohort = cohort_of(write(as_csv(rows)), case_id="note_id")
    assert cohort.frame["case_id"].n_unique() == 60
    assert any("2 rows repeat a case id" in one for one in cohort.report["warnings"])
