"""Sections of notes: every heading's form, and that nothing of a text is lost."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedside.data.rules import LANGUAGES
from bedside.data.sections import find_sections, section_names, without_sections

HPI, PMH, FH = "history of present illness", "past medical history", "family history"
PIECES = [
    "HPI:",
    "PMH: ",
    "Plan - ",
    "\n",
    "HISTORY OF PRESENT ILLNESS",
    "1. ",
    "**FH:**",
    ". ",
    ",",
    " ",
    "cough",
    "é",
    "Á:",
]


def named(text: str, language: str = "en") -> list[tuple[str, str]]:
    return [(one.name, text[one.body : one.end].strip()) for one in find_sections(text, language)]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("HPI: cough", [(HPI, "cough")]),
        ("HISTORY OF PRESENT ILLNESS\ncough", [(HPI, "cough")]),
        ("History of present illness - cough", [(HPI, "cough")]),
        ("**HPI:** cough\n3. Plan: rest", [(HPI, "cough"), ("plan", "rest")]),
        ("PMH: HTN FH: none", [(PMH, "HTN"), (FH, "none")]),
        ("Seen. Plan: rest", [("preamble", "Seen."), ("plan", "rest")]),
        ("SUBJECTIVE:, Well.,PLAN:, Rest.", [(HPI, "Well.,"), ("plan", "Rest.")]),
        (
            "S: well\nO: fine\nA: cold\nP: rest",
            [(HPI, "well"), ("exam", "fine"), ("assessment", "cold"), ("plan", "rest")],
        ),
        (
            "Discharge diagnosis: PE\nDischarge meds: none",
            [("discharge diagnosis", "PE"), ("discharge medications", "none")],
        ),
        ("He had a plan: rest", [("preamble", "He had a plan: rest")]),
        ("FROZEN SECTION DIAGNOSIS: benign", [("preamble", "FROZEN SECTION DIAGNOSIS: benign")]),
        ("Medications help. Family is well.", [("preamble", "Medications help. Family is well.")]),
    ],
)
def test_english(text, wanted) -> None:
    assert named(text) == wanted


def test_spanish_and_french() -> None:
    assert named("Antecedentes familiares: no\nExploracion fisica: normal", "es") == [(FH, "no"), ("exam", "normal")]
    assert named("Antécédents : HTA\nConduite à tenir : repos", "fr") == [(PMH, "HTA"), ("plan", "repos")]


@pytest.mark.parametrize("language", LANGUAGES)
@given(text=st.one_of(st.text(), st.lists(st.sampled_from(PIECES)).map("".join)))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_sections_lie_side_by_side_and_cover_the_text(language, text) -> None:
    found = find_sections(text, language)
    assert "".join(text[one.start : one.end] for one in found) == text
    assert [one.end for one in found[:-1]] == [one.start for one in found[1:]]
    assert all(one.start <= one.body <= one.end and one.start < one.end for one in found)


def test_a_section_is_left_out_with_its_heading() -> None:
    note = "HPI: cough\nDischarge diagnosis: pneumonia\nPlan: rest"
    assert without_sections(note, {"discharge diagnosis"}) == "HPI: cough\nPlan: rest"
    assert without_sections(note, ()) == note


def test_the_names_are_the_same_in_every_language() -> None:
    assert set(section_names("es")) | set(section_names("fr")) <= set(section_names("en"))
