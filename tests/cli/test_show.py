"""What a terminal shows: no figure is broken at its edge, and a pipe always gets the same."""

from __future__ import annotations

import shutil
import sys

import pytest

from bedside.cli import show

HEADERS = ["90 test cases", "model", "baseline"]
ROWS = [["Macro-F1", "0.605 (0.485–0.694)", "0.604 (0.484–0.693)"], ["Accuracy", "0.633 (0.532–0.735)", "–"]]


@pytest.fixture
def terminal(monkeypatch, capsys):
    """Show something as a terminal of so many columns would."""

    def shown(columns, call):
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
        monkeypatch.setattr(shutil, "get_terminal_size", lambda: type("Size", (), {"columns": columns}))
        call()
        return capsys.readouterr().out

    return shown


@pytest.mark.parametrize("columns", [40, 60, 100])
def test_a_table_fits_and_breaks_no_figure(terminal, columns) -> None:
    said = terminal(columns, lambda: show._table(HEADERS, ROWS))
    assert max(map(len, said.splitlines())) <= columns
    for cell in (cell for row in ROWS for cell in row):
        assert cell in said


@pytest.mark.parametrize("columns", [40, 60])
def test_prose_is_broken_between_words(terminal, columns) -> None:
    text = "one sentence that is rather longer than a narrow terminal is wide, with a word-with-hyphens in it"
    said = terminal(columns, lambda: show.prose(text, "       ", "  Why: "))
    assert max(map(len, said.splitlines())) <= columns
    assert said.split() == ["Why:", *text.split()]


def test_a_pipe_gets_a_sentence_in_one_line(capsys) -> None:
    show.prose("word " * 60)
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_path_with_a_space_is_quoted_where_it_is_to_be_typed() -> None:
    from pathlib import Path

    assert show.typed(Path("my study")) == '"my study"'
    assert show.typed(Path("study")) == "study"
