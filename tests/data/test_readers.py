"""The same table in any form and any encoding is the same cases; what a workbook harmed is said."""

from __future__ import annotations

import codecs
import gzip
import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_notes import as_csv, cohort_of, notes

from bedside.core.errors import DataError
from bedside.data.columns import look
from bedside.data.readers import read
from bedside.protocol import DataSection

ROWS = notes(60)
FEW = settings(max_examples=60, deadline=None, derandomize=True)
WESTERN = "fièvre à 38,5 °C, douleur à l'épaule – œdème, ça va"
CENTRAL = "gorączka, żółtaczka, ból głowy, horečka, příznaky, bolest břicha"
TURKISH = "ateş, öksürük, başağrısı, iğne, sağ kolda şişlik, ışığa duyarlı"  # noqa: RUF001


def table(path: Path, **values) -> pl.DataFrame:
    return read(DataSection(source=str(path), text="note", label="diagnosis", **values), Path()).frame


def with_text(text: str) -> list[dict[str, str]]:
    return [{**row, "note": f"{row['note']} {text}"} for row in ROWS]


# name: (foreign text, bytes of the table, encoding that is said)
ENCODINGS = {
    "utf-8": (TURKISH + CENTRAL + WESTERN, lambda text: text.encode(), "utf-8"),
    "utf-8 with a mark": (TURKISH, lambda text: codecs.BOM_UTF8 + text.encode(), "utf-8-sig"),
    "utf-16": (CENTRAL, lambda text: text.encode("utf-16"), "utf-16"),
    "utf-16, big end first": (
        CENTRAL,
        lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
        "utf-16",
    ),
    "utf-16-le without a mark": (WESTERN, lambda text: text.encode("utf-16-le"), "utf-16-le"),
    "utf-16-be without a mark": (WESTERN, lambda text: text.encode("utf-16-be"), "utf-16-be"),
    "utf-32": (WESTERN, lambda text: text.encode("utf-32"), "utf-32"),
    "cp1252": (WESTERN, lambda text: text.encode("cp1252"), "cp1252"),
    "latin-1": (WESTERN.replace("œ", "oe").replace("–", "-"), lambda text: text.encode("latin-1"), "cp1252"),
    "cp1254": (TURKISH, lambda text: text.encode("cp1254"), "cp1254"),
    "cp1250": (CENTRAL, lambda text: text.encode("cp1250"), "cp1250"),
}


@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("case", ENCODINGS)
def test_letters_come_through_any_encoding(case, zipped, write) -> None:
    foreign, encoded, said = ENCODINGS[case]
    rows = with_text(foreign)
    content = encoded(as_csv(rows))
    path = write(gzip.compress(content) if zipped else content, "notes.csv.gz" if zipped else "notes.csv")
    found = read(DataSection(source=str(path), text="note", label="diagnosis"), Path())
    assert found.seen["encoding"] == said
    assert found.frame.rows(named=True) == rows
    assert found.seen["encoding_guessed"] == case.startswith(("cp", "latin"))
    assert any("a guess from its letters" in one for one in found.warnings) == found.seen["encoding_guessed"]


def test_a_named_encoding_is_taken_and_checked(write) -> None:
    path = write(as_csv(with_text(CENTRAL)).encode("cp1250"))
    assert table(path, encoding="cp1250").rows(named=True) == with_text(CENTRAL)
    with pytest.raises(DataError, match=r"notes\.csv is not UTF-8: line 2 holds bytes"):
        table(path, encoding="utf-8")
    with pytest.raises(DataError, match=r"data\.encoding = 'utf-9' is no encoding"):
        table(path, encoding="utf-9")


def as_workbook(rows: list[dict[str, object]], path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    for row in [list(rows[0]), *(list(row.values()) for row in rows)]:
        book.active.append(row)
    book.save(path)


FORMATS = ["tsv", "semicolon", "pipe", "tab in a csv", "csv.gz", "xlsx", "jsonl", "parquet"]


def written(form: str, folder: Path) -> Path:
    """The table in one form."""
    suffix = {"semicolon": "csv", "pipe": "csv", "tab in a csv": "csv"}.get(form, form)
    path = folder / f"notes_{form.replace(' ', '_')}.{suffix}"
    separator = {"tsv": "\t", "semicolon": ";", "pipe": "|", "tab in a csv": "\t"}.get(form, ",")
    if form == "xlsx":
        as_workbook(ROWS, path)
    elif form == "parquet":
        pl.DataFrame(ROWS).write_parquet(path)
    elif form == "jsonl":
        path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS), encoding="utf-8")
    else:
        content = as_csv(ROWS, separator).encode()
        path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    return path


@pytest.mark.parametrize("form", FORMATS)
def test_one_table_in_any_form_is_the_same_cases(form, write, tmp_path) -> None:
    plain = cohort_of(write(as_csv(ROWS)))
    same = cohort_of(written(form, tmp_path))
    assert same.frame.equals(plain.frame)
    assert same.labels == plain.labels
    for part in ("flow", "splits", "labels", "duplicates", "crossings"):
        assert same.report[part] == plain.report[part]


CELLS = st.text(
    st.characters(exclude_characters="\x00", exclude_categories=["Cs", "Cc"]) | st.sampled_from("\n,;|\t\"' #"),
    max_size=20,
)


@FEW
@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=8), st.sampled_from(",;|\t"))
def test_any_cell_comes_back_as_it_was_written(tmp_path_factory, cells, separator) -> None:
    rows = [{"note": f"a{a}", "diagnosis": f"b{b}", "third": c} for a, b, c in cells]
    path = tmp_path_factory.mktemp("cells") / "notes.csv"
    path.write_bytes(as_csv(rows, separator).encode())
    assert table(path, separator=separator).rows(named=True) == rows
    lines = path.with_suffix(".jsonl")
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert table(lines).rows(named=True) == rows


def test_numbers_stay_as_they_are_written(write, tmp_path) -> None:
    path = write(
        '{"note": "a", "dose": 0.50, "id": 12345678901234567890, "more": {"b": [1, 2.0]}, "none": null}\n', "n.jsonl"
    )
    row = table(path).row(0, named=True)
    assert (row["dose"], row["id"], row["none"]) == ("0.50", "12345678901234567890", "")
    frame = pl.DataFrame({"note": ["a", "b"], "whole": [1.0, None], "part": [0.5, 2.0], "big": [2**60, 7]})
    frame.write_parquet(tmp_path / "n.parquet")
    assert table(tmp_path / "n.parquet").rows() == [("a", "1", "0.5", str(2**60)), ("b", "", "2.0", "7")]


def workbook_of(tmp_path: Path, **columns) -> list[str]:
    """What is said of a workbook in which some columns are replaced."""
    rows = [
        {name: columns[name](number, cell) if name in columns else cell for name, cell in row.items()}
        for number, row in enumerate(ROWS)
    ]
    as_workbook(rows, tmp_path / "notes.xlsx")
    return look(tmp_path / "notes.xlsx").warnings


def test_cells_that_a_workbook_cut_are_flagged(tmp_path) -> None:
    long = "fever and cough " * 3000
    said = workbook_of(tmp_path, note=lambda n, cell: (cell + long)[:32_767] if n in {4, 8} else cell)
    assert any("'note' has 2 cells of exactly 32,767 characters" in one and "are cut" in one for one in said)
    said = workbook_of(tmp_path, note=lambda n, cell: (cell + long)[:32_766] if n == 4 else cell)
    assert not any("32,767" in one for one in said)


def test_a_cut_cell_is_counted_as_a_workbook_counts(tmp_path) -> None:
    pill = "\U0001f48a"  # one character, two of a workbook's
    said = workbook_of(tmp_path, note=lambda n, cell: pill * 100 + "x" * 32_567 if n == 4 else cell)
    assert any("'note' has 1 cell of exactly 32,767 characters" in one for one in said)


def test_ids_that_lost_their_zeros_are_flagged(tmp_path) -> None:
    ids = [f"{number * 7919 % 100_000:05d}" for number in range(1, 61)]
    assert any(one.startswith("0") for one in ids)
    lost = workbook_of(tmp_path, patient_id=lambda n, cell: int(ids[n]))
    assert any("'patient_id' looks as if it had lost leading zeros" in one for one in lost)
    kept = workbook_of(tmp_path, patient_id=lambda n, cell: ids[n])
    assert not any("leading zeros" in one for one in kept)
    rows = table(tmp_path / "notes.xlsx")
    assert rows["patient_id"].to_list() == ids


def test_whole_numbers_and_dates_of_a_workbook_are_text_without_tails(tmp_path) -> None:
    import datetime

    rows = [
        {**row, "age": 30 + n, "dose": n + 0.5, "seen": datetime.date(2024, 1, 1 + n % 28)}
        for n, row in enumerate(ROWS)
    ]
    as_workbook(rows, tmp_path / "n.xlsx")
    first = table(tmp_path / "n.xlsx").row(0, named=True)
    assert (first["age"], first["dose"]) == ("30", "0.5")
    assert first["seen"].startswith("2024-01-01")
