"""What is left out because it is written after the model is asked."""

from __future__ import annotations

import pytest

from bedside.core.errors import DataError
from bedside.data.moment import MOMENTS, Cut, cut_cases, is_later, language_of, written_at
from bedside.data.rules import LANGUAGES
from bedside.data.sections import section_names

SUMMARY = """Admitted 3 May, discharged 9 May

HISTORY OF PRESENT ILLNESS: 61 y/o with chest pain for 2 hours, denies dyspnoea.
PHYSICAL EXAM: BP 120/80, JVP not raised.
HOSPITAL COURSE: went to the catheter laboratory.
DISCHARGE DIAGNOSIS: STEMI.
DISCHARGE MEDICATIONS: aspirin 81 mg."""


@pytest.mark.parametrize(
    ("moment", "there", "gone"),
    [
        ("triage", ["chest pain"], ["JVP", "catheter", "STEMI", "aspirin"]),
        ("admission", ["chest pain", "BP 120/80"], ["catheter", "STEMI", "aspirin"]),
        ("discharge", ["chest pain", "BP 120/80", "catheter"], ["STEMI", "aspirin"]),
    ],
)
def test_what_is_written_later_is_cut_and_the_rest_stays_as_written(moment, there, gone) -> None:
    kept = Cut.at(moment, "en").apply(SUMMARY)
    assert all(words in kept for words in there)
    assert not any(words in kept for words in gone)
    assert all(line in SUMMARY for line in kept.splitlines())


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_section_has_its_moment(language) -> None:
    """A heading that the rules of moments forget would be cut at every moment, the last included."""
    excluded = {moment: set(Cut.at(moment, language).excluded) for moment in MOMENTS}
    assert excluded["discharge"] < excluded["admission"] < excluded["triage"] < set(section_names(language))
    after = {"postoperative diagnosis", "discharge diagnosis", "discharge medications", "discharge instructions"}
    assert excluded["discharge"] <= after


def test_a_spanish_summary_is_cut_by_spanish_headings() -> None:
    text = "MOTIVO DE CONSULTA: dolor torácico.\nDIAGNÓSTICO AL ALTA: infarto agudo."
    assert Cut.at("admission", "es").apply(text) == "MOTIVO DE CONSULTA: dolor torácico."


def test_a_note_of_a_later_type_keeps_only_sections_that_are_at_hand() -> None:
    bare = "Came with chest pain, left with a stent."
    done = cut_cases(
        [SUMMARY, bare, bare, bare],
        ["Discharge summary", "Discharge summary", "Triage note", "Letter"],
        Cut.at("admission", "en"),
    )
    assert done.texts[0].startswith("HISTORY OF PRESENT ILLNESS")  # what stands before the first heading is later too
    assert done.texts[1:] == ["", bare, bare]
    assert done.account() == {
        "notes_cut": 1,
        "later_notes": 2,
        "unknown_types": 1,
        "sections": {"discharge diagnosis": 1, "discharge medications": 1, "hospital course": 1},
    }


@pytest.mark.parametrize(
    ("kind", "moment"),
    [
        ("Discharge summary", "after"),
        ("18842-5", "after"),
        ("ED Triage Note", "triage"),
        ("Admission note", "admission"),
        ("History and physical", "admission"),
        ("Nursing/other", "discharge"),
        ("Radiology", "discharge"),
        ("Patient letter", None),
    ],
)
def test_when_a_type_of_note_is_written(kind, moment) -> None:
    assert written_at(kind) == moment


def test_later_means_later() -> None:
    assert is_later("after", "discharge")
    assert is_later("admission", "triage")
    assert not is_later("triage", "triage")


def test_a_cut_outlives_its_rules() -> None:
    cut = Cut.at("admission", "en")
    assert Cut.from_json(cut.to_json()) == cut


def test_the_language_is_found_or_asked_for() -> None:
    english = ["The patient was admitted with chest pain and had no history of it before."] * 9
    spanish = ["El paciente ingresó con dolor en el pecho y sin antecedentes de la enfermedad."] * 9
    german = ["Der Patient wurde mit Schmerzen in der Brust aufgenommen und war nicht krank."] * 9
    assert language_of(english) == "en"
    assert language_of(spanish) == "es"
    assert language_of(german, "fr") == "fr"
    with pytest.raises(DataError, match=r"other 9.*data\.language"):
        language_of(german)
    with pytest.raises(DataError, match=r"en 9, es 9"):
        language_of(english + spanish)
    with pytest.raises(DataError, match="could not be told"):
        language_of(["x"])
