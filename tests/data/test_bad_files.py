"""Bad files through the command line: each is handled, or refused in one sentence with exit code 2 and no traceback."""

from __future__ import annotations

import gzip
import io

import pytest
from small_notes import as_csv, notes

from bedside.cli import main

ROWS = notes(60)
GOOD = as_csv(ROWS)
HEAD, *LINES = GOOD.splitlines()
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20


def changed(**columns) -> str:
    """The good table with some columns replaced, each by a function of the row's number and cell."""
    rows = [
        {name: columns[name](number, cell) if name in columns else cell for name, cell in row.items()}
        for number, row in enumerate(ROWS)
    ]
    return as_csv(rows)


def workbook(rows: list[list[object]]) -> bytes:
    import openpyxl

    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


# name: (file's name, content, further words of init, what the sentence holds)
REFUSED = {
    "empty": ("notes.csv", b"", [], "notes.csv is empty"),
    "only blank lines": ("notes.csv", b"\n\r\n \n", [], "notes.csv is empty"),
    "header only": ("notes.csv", HEAD + "\n", [], "no rows"),
    "one column": ("notes.csv", "note\n" + "fever and cough\n" * 20, [], "one column, 'note'"),
    "no text column": ("n.csv", "age,sex,dx\n" + "61,f,flu\n55,m,copd\n" * 20, [], "no column of texts"),
    "no label column": (
        "n.csv",
        "id,note\n" + "".join(f"{i},fever {i * 7919} and cough {i * 104729} today\n" for i in range(30)),
        [],
        "no column that could be a diagnosis",
    ),
    "one label": ("n.csv", changed(diagnosis=lambda n, c: "flu"), ["--label", "diagnosis"], "1 label"),
    "no label at all": ("n.csv", changed(diagnosis=lambda n, c: "??"), ["--label", "diagnosis"], "0 labels"),
    "unknown column": ("n.csv", GOOD, ["--text", "nota"], "did you mean 'note'"),
    "one column for two parts": ("n.csv", GOOD, ["--text", "note", "--label", "note"], "named twice"),
    "an identifier kept": (
        "n.csv",
        GOOD,
        ["--patient", "patient_id", "--keep", "patient_id"],
        "'patient_id' of n.csv is named twice",
    ),
    "one text twice": ("n.csv", GOOD, ["--text", "note", "--text", "note"], "named twice"),
    "a picture": ("notes.csv", PNG, [], "a picture"),
    "a picture called workbook": ("notes.xlsx", PNG, [], "no readable workbook"),
    "a workbook called csv": ("notes.csv", workbook([["note", "dx"], ["a", "b"]]), [], "a workbook"),
    "unsupported suffix": ("notes.docx", b"PK\x03\x04", [], "of a format that is not read"),
    "an old workbook": ("notes.xls", b"\xd0\xcf\x11\xe0" + bytes(600), [], "of a format that is not read"),
    "an old workbook renamed": ("notes.csv", b"\xd0\xcf\x11\xe0\xa1\xb1" + bytes(600), [], "an old workbook"),
    "an old workbook called new": ("notes.xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1" + bytes(600), [], "no readable workbook"),
    "binary": ("notes.csv", bytes(range(1, 32)) * 200, [], "a binary file"),
    "a row with too many cells": ("n.csv", "\n".join([HEAD, *LINES[:5], LINES[5] + ",more,cells"]), [], "row 7 has 6"),
    "mostly short rows": (
        "n.csv",
        HEAD + "\n" + "\n".join(f"N{i},fever and cough {i}" for i in range(30)),
        [],
        "fewer cells than the 4 columns",
    ),
    "unclosed quote": ("n.csv", GOOD + 'N99,MRN1,"fever and cough,Influenza\n', [], "row 62 (line 62) opens a quote"),
    "cut off gzip": ("notes.csv.gz", gzip.compress(GOOD.encode())[:-200], [], "cut off or damaged"),
    "no gzip at all": ("notes.csv.gz", GOOD, [], "cut off or damaged"),
    "broken JSON line": ("notes.jsonl", '{"note": "a", "dx": "b"}\n{"note": \n', [], "line 2 is not valid JSON"),
    "a JSON list": ("notes.jsonl", '["a", "b"]\n', [], "line 1 is JSON but not an object"),
    "no Parquet": ("notes.parquet", b"PAR1 but not really", [], "no readable Parquet"),
    "empty workbook": ("notes.xlsx", workbook([]), [], "empty"),
    "unknown sheet": ("notes.xlsx", workbook([["note", "dx"], ["a", "b"]]), ["--sheet", "Notes"], "no sheet 'Notes'"),
    "odd word for rare": ("n.csv", GOOD, ["--rare", "dorp"], "rare = 'dorp'"),
    "a header like a note": ("n.csv", "fever " * 80 + ",x\n" + "a,b\n" * 9, [], "no row of column names"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_init_refuses_in_one_sentence(case, write, tmp_path, capsys) -> None:
    name, content, words, said = REFUSED[case]
    refused(["init", str(write(content, name)), "--into", str(tmp_path / "study"), *words, "--quiet"], said, capsys)
    assert not (tmp_path / "study").exists()


def refused(words: list[str], said: str, capsys) -> str:
    """Run, expect exit code 2 and one sentence with these words, and return the sentence."""
    assert main(words) == 2
    sentence = capsys.readouterr().err.strip()
    assert said in sentence
    assert "Traceback" not in sentence
    assert len(sentence.splitlines()) == 1
    assert len(sentence) < 600
    return sentence


def test_a_missing_file_names_what_lies_beside_it(write, tmp_path, capsys) -> None:
    write(GOOD, "notes.csv")
    words = ["init", str(tmp_path / "note.csv"), "--into", str(tmp_path / "study")]
    assert "notes.csv" in refused(words, "does not exist", capsys)


def test_a_folder_is_no_table(tmp_path, capsys) -> None:
    refused(["init", str(tmp_path), "--into", str(tmp_path / "study")], "is a folder", capsys)


def test_a_class_with_one_row_is_named_with_the_way_on(write, tmp_path, capsys) -> None:
    path = write(GOOD + "N99,MRN9999,odd rash and joint pain after a tick bite,Borreliosis\n")
    folder = tmp_path / "study"
    assert main(["init", str(path), "--into", str(folder), "--quiet"]) == 0
    said = capsys.readouterr().out
    assert "Borreliosis (1 case" in said
    assert 'uncomment rare = "drop"' in said
    sentence = refused(["prepare", str(folder), "--quiet"], "Borreliosis", capsys)
    assert 'rare = "drop"' in sentence
    protocol = folder / "protocol.toml"
    text = protocol.read_text(encoding="utf-8")
    assert '\n# rare = "drop"\n' in text
    protocol.write_text(text.replace('\n# rare = "drop"\n', '\nrare = "drop"\n'), encoding="utf-8")  # as it was told
    assert main(["prepare", str(folder), "--quiet"]) == 0


# name: (file's name, content, further words of init, what init prints)
HANDLED = {
    "mark at the start": ("n.csv", b"\xef\xbb\xbf" + GOOD.encode(), [], "UTF-8 with a byte-order mark"),
    "UTF-16": ("n.csv", GOOD.encode("utf-16"), [], "UTF-16"),
    "UTF-16 without a mark": ("n.csv", GOOD.encode("utf-16-le"), [], "UTF-16"),
    "latin-1": ("n.csv", GOOD.replace("fever", "fièvre").encode("latin-1"), [], "cp1252"),
    "NUL characters": ("n.csv", GOOD.replace("fever", "fe\x00ver"), [], "read 60 rows"),
    "mixed line ends": (
        "n.csv",
        "".join(line + end for line, end in zip([HEAD, *LINES], ["\n", "\r\n", "\r"] * 21, strict=False)),
        [],
        "read 60 rows",
    ),
    "some short rows": ("n.csv", GOOD + "N98,MRN1\nN99,MRN2,fever\n", [], "2 rows have fewer cells"),
    "duplicate headers": ("n.csv", GOOD.replace("note_id", "diagnosis", 1), ["--label", "diagnosis_2"], "occurs again"),
    "a nameless column": ("n.csv", GOOD.replace("note_id", "", 1), [], "has no name"),
    "a large cell": ("n.csv", changed(note=lambda n, c: "x" * 10_000_000 if n == 5 else c), [], "read 60 rows"),
    "formulas": ("n.csv", changed(note=lambda n, c: f'=HYPERLINK("http://a.example","{c}")'), [], "read 60 rows"),
    "a title above": ("n.csv", "Export of the ward\n\n" + GOOD, [], "above the column names"),
    "blank rows": ("n.csv", GOOD.replace("\n", "\n\n"), [], "blank rows were left out"),
    "empty cells at the end": ("n.csv", "\n".join(line + ",," for line in GOOD.splitlines()), [], "read 60 rows"),
    "semicolons": ("n.csv", as_csv(ROWS, ";"), [], "semicolon"),
    "pipes": ("n.csv", as_csv(ROWS, "|"), [], "pipe"),
    "tabs in a csv": ("n.csv", as_csv(ROWS, "\t"), [], "tab"),
    "line breaks in cells": ("n.csv", changed(note=lambda n, c: c.replace(", ", ",\n")), [], "read 60 rows"),
    "text after a quote": (
        "n.csv",
        GOOD + 'N99,MRN99,"fever" and dry cough,Influenza\n',
        [],
        "text after a closing quote",
    ),
    "letters lost": ("n.csv", GOOD.replace("fever", "f\ufffdver"), [], "replacement character"),
    "upper-case suffix": ("NOTES.CSV", GOOD, [], "read 60 rows"),
    "labels that differ by case": (
        "n.csv",
        changed(diagnosis=lambda n, c: c.upper() if n % 2 == 0 else c),
        [],
        "differ from another only",
    ),
}


@pytest.mark.parametrize("case", HANDLED)
def test_init_and_prepare_handle_it_and_say_so(case, write, tmp_path, capsys) -> None:
    name, content, words, said = HANDLED[case]
    folder = tmp_path / "study"
    done = main(["init", str(write(content, name)), "--into", str(folder), *words, "--quiet"])
    out = capsys.readouterr()
    assert done == 0, out.err
    assert said in out.out
    assert main(["prepare", str(folder), "--quiet"]) == 0, capsys.readouterr().err
    from bedside.data import Cohort

    cohort = Cohort.load(folder / "cohort")
    # The last two short rows have no label; the row with text after a quote is one more than the 60.
    assert cohort.frame.height == (61 if case == "text after a quote" else 60)
    assert {"Influenza", "Appendicitis", "Migraine"} <= set(cohort.labels)
    assert "\x00" not in "".join(cohort.frame["text"])
