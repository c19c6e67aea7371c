"""Short forms: the sure ones are written out, the rest is left and counted, and all of it can be undone."""

from __future__ import annotations

import csv

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedside.core.errors import DataError
from bedside.data.abbreviations import expand_abbreviations
from bedside.data.edits import apply, restore, untouchable
from bedside.data.rules import LANGUAGES, read_part

few = settings(max_examples=200, deadline=None, derandomize=True)


def expanded(text: str, language: str = "en") -> str:
    return apply(text, expand_abbreviations(text, language).edits)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("PMH: HTN, T2DM.", "past medical history: hypertension, type 2 diabetes mellitus."),
        ("hx of copd and dvt", "history of chronic obstructive pulmonary disease and deep vein thrombosis"),
        ("BP 120/80, HR 88", "blood pressure 120/80, heart rate 88"),
        ("No SOB.", "No shortness of breath."),
        ("CP radiating to the arm, troponin sent", "chest pain radiating to the arm, troponin sent"),
        ("CP with spastic diplegia", "cerebral palsy with spastic diplegia"),
        ("RA on methotrexate", "rheumatoid arthritis on methotrexate"),
        ("SpO2 96 % on RA", "SpO2 96 % on room air"),
        (
            "PT and INR normal on warfarin",
            "prothrombin time and INR normal on warfarin".replace("INR", "international normalized ratio"),
        ),
        ("PT for gait and strengthening", "physical therapy for gait and strengthening"),
        ("CVA tenderness", "costovertebral angle tenderness"),
        ("denies sob, has a cough", "denies shortness of breath, has a cough"),
    ],
)
def test_what_is_sure_is_written_out(text, wanted) -> None:
    assert expanded(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "MS since 2010",  # several meanings, and nothing near it decides
        "MS with relapsing course and mitral murmur",  # words of two meanings
        "mitral " + "and then some " * 8 + "MS",  # too far
        "sob",
        "12 MS, 40 PT",  # after a number it may be a unit
        "MRN HTN-4471, x/HTN, HTN_2, a@HTN, HTN.pdf, CKD3, 5CKD",
        "RUQ pain, NKDA, 5 mg PO bid, w/o rash",  # sides, negations, doses have no rule
        "Copd",  # neither in capitals nor in small letters
        "HTNX",
        "he said hi",
    ],
)
def test_what_is_not_sure_stands(text) -> None:
    assert expanded(text) == text


def test_what_was_done_and_left_is_counted() -> None:
    found = expand_abbreviations("HTN, HTN, copd, UTIs. MS. PET negative. Copd.")
    assert found.expanded == {"HTN": 2, "copd": 1, "UTIs": 1}
    assert found.ambiguous == {"MS": 1, "PET": 1}


def test_spanish_and_french() -> None:
    assert expanded("HTA y EPOC", "es") == "hipertensión arterial y enfermedad pulmonar obstructiva crónica"
    assert expanded("ATCD : HTA, AVC", "fr") == "antécédents : hypertension artérielle, accident vasculaire cérébral"
    with pytest.raises(DataError, match=r"no rules of abbreviations for the language 'de'"):
        expand_abbreviations("HTN", "de")


SHORT = [
    *read_part("abbreviations", "en")["any"],
    *read_part("abbreviations", "en")["exact"],
    "MS",
    "CP",
    "RA",
    "PT",
    "CVA",
]
PIECES = st.sampled_from(
    [*SHORT, "no", "denies", "left", "RLQ", "5 mg", "bid", "120/80", "<5", "2-3", ",", ".", "/", "-", "\n", "valve"]
)


@few
@given(st.lists(st.one_of(PIECES, st.sampled_from(SHORT)), max_size=20), st.sampled_from([" ", "  ", ", "]))
def test_numbers_units_negations_sides_and_doses_stay_and_all_can_be_undone(pieces, between) -> None:
    text = between.join(pieces)
    found = expand_abbreviations(text)
    after = apply(text, found.edits)
    assert untouchable(after) == untouchable(text)
    assert restore(after, found.edits) == text
    assert found.expanded.total() == len(found.edits)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_rule_changes_what_must_not_be_touched(language) -> None:
    rules = read_part("abbreviations", language)
    assert rules["date"] and rules["sources"] and rules["language"] == language
    ambiguous = rules.get("ambiguous", [])
    pairs = [*rules["any"].items(), *rules["exact"].items()]
    pairs += [(one["short"], long) for one in ambiguous for long in one["meanings"]]
    assert [(short, long) for short, long in pairs if untouchable(short) != untouchable(long)] == []
    assert all(short == short.lower() for short in rules["any"])
    several = {one["short"] for one in ambiguous} | set(rules["alone"])
    assert several.isdisjoint(rules["exact"]) and {one.lower() for one in several}.isdisjoint(rules["any"])


def test_english_is_complete_enough() -> None:
    rules = read_part("abbreviations", "en")
    assert len(rules["any"]) + len(rules["exact"]) + len(rules["ambiguous"]) >= 250


def test_a_form_taken_as_sure_has_one_usual_sense_in_a_public_inventory(shared_data) -> None:
    """Vanderbilt's clinic notes: for the forms that are in it, our sense is a form's commonest, nearly always."""
    senses: dict[str, list[tuple[float, str]]] = {}
    with (shared_data / "medical_abbreviations" / "abbreviations.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["source"].startswith("vanderbilt") and row["freq"]:
                senses.setdefault(row["abbr"], []).append((float(row["freq"]), row["sense"]))
    rules = read_part("abbreviations", "en")
    ours = {**{short.lower(): long for short, long in rules["exact"].items()}, **rules["any"]}
    shared = sorted(set(ours) & set(senses))
    agree = [
        short for short in shared if set(ours[short].lower()[:40].split()) & set(max(senses[short])[1].lower().split())
    ]
    assert len(shared) >= 50
    assert len(agree) >= 0.95 * len(shared), sorted(set(shared) - set(agree))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("5  mg b.i.d.", {"5mg": 1, "b.i.d.": 1}),
        ("BP 120/80, <5 mg/dL, 2-3 days, ±2, ½", {"120/80": 1, "<5mg": 1, "2-3days": 1, "±2": 1, "½": 1}),
        ("No rash, doesn’t cough, w/o fever", {"no": 1, "doesn't": 1, "w/o": 1}),
        ("Left knee, RLQ, b/l", {"left": 1, "rlq": 1, "b/l": 1}),
        ("5 no 6", {"5": 1, "no": 1, "6": 1}),
    ],
)
def test_untouchable(text, wanted) -> None:
    assert untouchable(text) == wanted
