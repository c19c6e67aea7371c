"""A study of several sources, and one of a database: made by the command line, redone when a source changes."""

from __future__ import annotations

import json
import random
import sqlite3
from pathlib import Path

import pytest

from bedside.cli import main
from bedside.core.errors import DataError
from bedside.study import Study, create

LABELS = ("Influenza", "Migraine", "Gout")
PROTOCOL = """
[data]
text = "note"
label = "diagnosis"

[[data.sources]]
name = "north"
source = "../north.csv"
licence = "CC-BY-4.0"

[[data.sources]]
name = "south"
source = "../south.csv"
text = "befund"
label = "diagnose"
separator = ";"
consent = "waived by the board"

[data.sources.merge]
Grippe = "Influenza"
"""


def rows(count: int, seed: int) -> list[tuple[str, str]]:
    """Made-up notes, no two of them near each other, and their labels in turn."""
    dice = random.Random(seed)
    made = []
    for n in range(count):
        words = [f"{dice.choice('bdfgk')}{dice.choice('aeiou')}{dice.randrange(10**6)}" for _ in range(30)]
        made.append((f"the patient was seen and has had {' '.join(words)} since the morning", LABELS[n % 3]))
    return made


def lines(head: str, pairs, separator: str) -> str:
    return "\n".join([head, *(separator.join(pair) for pair in pairs)]) + "\n"


@pytest.fixture
def study(tmp_path) -> Study:
    """Two files and a protocol that names both."""
    (tmp_path / "north.csv").write_text(lines("note,diagnosis", rows(60, 1), ","))
    south = [(text, label.replace("Influenza", "Grippe")) for text, label in rows(45, 2)]
    (tmp_path / "south.csv").write_text(lines("befund;diagnose", south, ";"))
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "protocol.toml").write_text(PROTOCOL)
    return Study.open(tmp_path / "study")


def test_prepare_is_redone_when_the_second_file_changes(study, tmp_path) -> None:
    assert [one.ran for one in study.run("prepare")] == [True]
    assert [one.ran for one in study.run("prepare")] == [False]
    report = json.loads((study.path("prepare") / "report.json").read_text())
    assert [one["kept"] for one in report["sources"]["each"]] == [60, 45]
    manifest = json.loads((study.path("prepare") / "manifest.json").read_text())
    assert set(manifest["sources"]) == {"source 1/table", "source 2/table"}
    with (tmp_path / "south.csv").open("a") as file:
        file.write("another note of three words;Grippe\n")
    assert not study.done("prepare")
    assert [one.ran for one in study.run("prepare")] == [True]
    report = json.loads((study.path("prepare") / "report.json").read_text())
    assert [one["kept"] for one in report["sources"]["each"]] == [60, 46]
    page = (study.path("prepare") / "report.html").read_text()
    assert "CC-BY-4.0" in page and "waived by the board" in page


@pytest.fixture
def database(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "notes.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE notes (note TEXT, diagnosis TEXT)")
    connection.executemany("INSERT INTO notes VALUES (?, ?)", rows(60, 1))
    connection.commit()
    connection.close()
    return path


QUERY = "SELECT note, diagnosis FROM notes ORDER BY rowid"


def test_init_of_a_database_writes_a_study_that_prepares_and_notices_changes(database, tmp_path, capsys) -> None:
    words = ["init", "sqlite:///notes.db", "--query", QUERY, "--text", "note", "--into", "deep/study", "--quiet"]
    assert main(words) == 0
    study = Study.open(tmp_path / "deep" / "study")
    assert study.protocol.data.source == "sqlite:///../../notes.db"
    assert study.protocol.data.query == QUERY
    assert main(["prepare", "deep/study", "--quiet"]) == 0
    report = json.loads((study.path("prepare") / "report.json").read_text())
    assert (report["source"]["file"], report["source"]["rows"]) == ("notes.db", 60)
    assert len(report["source"]["rows_sha256"]) == 64
    assert study.done("prepare")
    connection = sqlite3.connect(database)
    connection.execute("DELETE FROM notes WHERE rowid = 1")
    connection.commit()
    connection.close()
    assert not study.done("prepare")
    capsys.readouterr()


def test_init_of_an_address_in_an_environment_variable_writes_only_its_name(database, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("NOTES_DB", f"sqlite:///{database}")
    created = create("env:NOTES_DB", tmp_path / "study", query=QUERY, text="note")
    content = (created.study.folder / "protocol.toml").read_text()
    assert 'source = "env:NOTES_DB"' in content
    assert str(database) not in content
    created.study.run("prepare")
    with (database.parent / "notes.db").open("ab") as file:
        file.write(b"\0")
    assert not created.study.done("prepare")


def test_init_of_a_database_without_a_query_says_what_is_missing(database, tmp_path, capsys) -> None:
    assert main(["init", "sqlite:///notes.db", "--quiet"]) == 2
    assert "data.query must say what to read" in capsys.readouterr().err
    with pytest.raises(DataError, match="begins with 'DROP'"):
        create("sqlite:///notes.db", tmp_path / "study", query="DROP TABLE notes")
    assert not (tmp_path / "study").exists()
