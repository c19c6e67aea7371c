"""Cleaning as a whole: what the protocol switches on, what is counted, shown, and never touched."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from typer.testing import CliRunner

from bedside.cli.app import app
from bedside.data import clean_text
from bedside.data.boilerplate import fingerprint
from bedside.data.clean import Seen, Tally, account
from bedside.data.cleaning_shown import changed_notes
from bedside.data.edits import apply, as_lines, differences, untouchable
from bedside.protocol import CleanSection, DataSection

few = settings(max_examples=200, deadline=None, derandomize=True)
TEMPLATE = "Patient was counselled on risks and benefits and all questions were answered."


def test_short_forms_are_kept_unless_asked_for() -> None:
    text = "The patient has HTN and was seen for a cough; no SOB."
    wanted = "The patient has hypertension and was seen for a cough; no shortness of breath."
    assert clean_text(text, CleanSection()) == text
    assert clean_text(text, CleanSection(abbreviations="expand")) == wanted
    assert clean_text("HTN", CleanSection(abbreviations="expand")) == "HTN"  # too short to tell its language
    assert clean_text("HTN", CleanSection(abbreviations="expand:en")) == "hypertension"
    assert clean_text("HTA", CleanSection(abbreviations="expand:es")) == "hipertensión arterial"
    german = "Der Patient hat seit drei Tagen kein Fieber und keine Schmerzen, COPD bekannt."
    assert clean_text(german, CleanSection(abbreviations="expand")) == german


def test_listed_passages_are_left_out_and_the_gap_closed() -> None:
    section = CleanSection(boilerplate=[fingerprint(TEMPLATE)])
    assert clean_text(f"Cough.\n\n{TEMPLATE}\n\nPlan: rest.", section) == "Cough.\n\nPlan: rest."
    with pytest.raises(ValidationError):
        CleanSection(boilerplate=[TEMPLATE])


def test_a_phrase_that_an_expansion_brings_is_still_masked() -> None:
    section = CleanSection(abbreviations="expand:en", mask=["hypertension"])
    assert "hypertension" not in clean_text("Known HTN.", section)


def test_rules_count_the_notes_that_they_change() -> None:
    tally = Tally()
    for text in ("38Â°C  today", "HTN and MS", "fine"):
        seen = Seen()
        clean_text(text, CleanSection(abbreviations="expand:en"), seen)
        tally.add(seen)
    found = account(tally, ["HTN and MS"], [""], "en")
    assert found["notes"] == 3
    assert found["changed"] == {"abbreviations": 1, "mojibake": 1, "whitespace": 1}
    assert found["short_forms_expanded"] == {"HTN": 1} and found["short_forms_left_as_ambiguous"] == {"MS": 1}


MEASURES = ["5 mg", "5  mg", "120/80", "<5", "2-3 days", "±2", "½", "µg", "38 °C", "38,5", "b.i.d."]
WORDS = ["no", "denies", "w/o", "left", "RLQ", "HTN", "SOB", "MS", "copd", "fever", "é", "e\u0301", ". ", ", "]
PIECES = st.sampled_from([*MEASURES, *WORDS, "\u200b", "\u00ad", "\r\n", "\t", "\u00a0"])


@few
@given(st.lists(PIECES, max_size=20).map(" ".join), st.sampled_from(["keep", "expand:en"]))
def test_cleaning_never_changes_numbers_units_negations_sides_or_doses(text, abbreviations) -> None:
    assert untouchable(clean_text(text, CleanSection(abbreviations=abbreviations))) == untouchable(text)


@few
@given(st.text(max_size=40), st.text(max_size=40))
def test_differences_lead_from_one_text_to_the_other(before, after) -> None:
    assert apply(before, differences(before, after)) == after
    assert differences(before, before) == []


def test_what_cleaning_changes_is_shown_and_written_nowhere(tmp_path: Path) -> None:
    assert as_lines("a 38Â°C b", "a 38°C b") == ["…a 38[-Â-]°C b…"]
    assert as_lines("a\u200bb", "ab") == ["…[-a\\u200bb-]{+ab+}…"]
    with (tmp_path / "notes.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["note", "diagnosis"])
        rows.writerows(
            [["38Â°C since Monday", "A"], ["nothing to do", "B"], ["two  spaces", "A"], ["more  spaces", "B"]]
        )
    data = DataSection(source="notes.csv", text="note", label="diagnosis")
    assert [row for row, _ in changed_notes(data, CleanSection(), tmp_path, 2)] == ["row 2", "row 4"]
    (tmp_path / "protocol.toml").write_text(
        f"[data]\nsource = 'notes.csv'\ntext = {json.dumps('note')}\nlabel = 'diagnosis'\n", encoding="utf-8"
    )
    before = sorted(tmp_path.rglob("*"))
    shown = CliRunner().invoke(app, ["prepare", str(tmp_path), "--show-cleaning", "5", "--quiet"])
    assert shown.exit_code == 0, shown.output
    assert "row 2:\n  …38[-Â-]°C since Monday…" in shown.output and shown.output.count("row ") == 3
    assert sorted(tmp_path.rglob("*")) == before
