"""What is taken for a misspelling, what is never touched, and when words are put right."""

from __future__ import annotations

import csv
import io

import polars as pl
import pytest

from bedside.core.errors import MissingExtra
from bedside.data import Cohort
from bedside.data.spelling import THRESHOLDS, Figure, Speller, chosen_threshold, is_drug, measure, spell
from bedside.protocol import SpellingSection
from bedside.synthetic import Clinic, Plan

KNOWN = "The patient takes metoprolol and has swelling, nausea, wheezing, oedema and a tender epigastrium."
MANY = [KNOWN] * 40


@pytest.fixture(scope="module")
def speller() -> Speller:
    return Speller([*MANY, "One swlling."], range(41), 5)


def meant(speller: Speller, text: str) -> list[str]:
    return [one.meant for _, one in speller.find(text)]


@pytest.mark.parametrize(
    ("word", "right"),
    [("swlling", "swelling"), ("nausae", "nausea"), ("wheezzing", "wheezing"), ("epigastrum", "epigastrium")],
)
def test_a_slip_finds_the_word_of_this_cohort(speller, word, right) -> None:
    assert meant(speller, f"There is {word} today.") == [right]


@pytest.mark.parametrize(
    "text",
    [
        "The pt is on MTP.",  # no "it"
        "Seen by Dr. swlling and Mrs swlling.",
        "Mr Swlling of Swllington",
        "no swlling, denies swlling",  # what a negation belongs to stays, however it is written
        "5 swlling",
        "swlling2, x-swlling, swlling@home, swlling.doc/swlling/a",
        "SWLLING",
        "edema, swellings, epigastric",  # another spelling, another ending, another word
        "an exquisite metropolis",  # English, and nothing that this cohort knows is meant
    ],
)
def test_what_is_never_taken_for_a_misspelling(speller, text) -> None:
    assert meant(speller, text) == []
    assert speller.correct(text, 0.0) == (text, 0)


def test_a_drug_becomes_only_a_drug_that_is_known_and_never_by_itself(speller) -> None:
    found = speller.suggest("metropolol")
    assert found is not None
    assert (found.meant, found.automatic) == ("metoprolol", False)
    assert speller.correct("on metropolol since", 0.0) == ("on metropolol since", 0)
    assert speller.suggest("metropolas") is None  # English has a metropolis; these notes do not


def test_drugs_that_are_no_names_of_this_list_are_known_by_their_ending() -> None:
    assert is_drug("nebivolol")
    assert is_drug("hydralazine")
    assert not is_drug("headache")


def test_what_many_patients_notes_hold_is_known(speller) -> None:
    texts = ["The plavixx in the wardrobe helped."] * 6
    assert Speller(texts, range(6), 5).suggest("plavixx") is None
    assert Speller(texts, range(6), 5).suggest("wardrbe").meant == "wardrobe"
    assert Speller(texts, ["one"] * 6, 5).suggest("wardrbe") is None  # one patient's words are no vocabulary


def clinic(typos: float, notes: int = 1500) -> tuple[list[str], list[str]]:
    rows = [note for note, _ in Clinic(Plan(notes=notes, seed=5, typos=typos)).rows()]
    return [row["note"] for row in rows], [row["patient_id"] for row in rows]


def test_planted_slips_are_counted_right() -> None:
    texts, groups = clinic(0.0, 700)
    first, second = measure(texts, groups, SpellingSection(), seed=1, rate=0.05)
    for half in (first, second):
        assert [one.threshold for one in half] == list(THRESHOLDS)
        assert all(one.right <= one.corrected <= one.planted * 2 for one in half)
        assert all(one.low < one.precision for one in half if one.right)
        corrected = [one.corrected for one in half]
        assert corrected == sorted(corrected, reverse=True)
    planted = sum(half[0].planted for half in (first, second))
    assert planted > 200
    words = sum(len([word for word in text.split() if len(word) > 5]) for text in texts)
    assert 0.01 * words < planted < 0.06 * words
    hidden = measure(texts, groups, SpellingSection(), seed=1, rate=0.0)
    assert [one.corrected for one in hidden[0]] == [0] * len(THRESHOLDS)  # nothing planted, nothing hidden
    best = second[THRESHOLDS.index(0.9)]
    assert best.precision > 0.85
    assert best.recall > 0.5


def test_the_threshold_must_hold_in_both_halves() -> None:
    def half(*lows: float) -> list[Figure]:
        return [Figure(threshold, 100, 90, 89, low) for threshold, low in zip((0.5, 0.9), lows, strict=True)]

    assert chosen_threshold(half(0.97, 0.99), half(0.97, 0.985), 0.98) == 0.9
    assert chosen_threshold(half(0.97, 0.99), half(0.99, 0.979), 0.98) is None
    assert chosen_threshold(half(0.97, 0.97), half(0.99, 0.99), 0.98) is None


def cohort(texts: list[str], groups: list[str], held_out: int = 50) -> Cohort:
    splits = ["test"] * held_out + ["train"] * (len(texts) - held_out)
    ids = [f"c{number}" for number in range(len(texts))]
    frame = pl.DataFrame({"case_id": ids, "text": texts, "label": "a", "split": splits, "group": groups})
    return Cohort(frame, ("a",), {})


def wrong_words(cases: Cohort, clean: dict[str, str]) -> int:
    part = cases.part("train")
    pairs = [(text.split(), clean[name].split()) for name, text in zip(part["case_id"], part["text"], strict=True)]
    return sum(one != two for left, right in pairs for one, two in zip(left, right, strict=True))


def test_words_are_put_right_in_training_only_and_only_where_that_was_measured_to_be_safe() -> None:
    texts, groups = clinic(0.02)
    cases = cohort(texts, groups)
    section = SpellingSection(correct="measured", precision=0.93)  # these few notes cannot show more
    found = spell(cases, section, seed=1)
    assert found.account["threshold"] is not None
    assert found.account["corrected"] > 50
    clean = dict(zip(cases.frame["case_id"], clinic(0.0)[0], strict=True))
    before, after = (wrong_words(one, clean) for one in (cases, found.cohort))
    assert after < 0.5 * before  # of all misspelt words of these notes, not only of planted ones
    assert found.cohort.texts("test") == cases.texts("test")
    assert found.cohort.texts("train") != cases.texts("train")
    strict = spell(cases, SpellingSection(correct="measured", precision=0.99999), seed=1)
    assert strict.account["threshold"] is None
    assert strict.cohort.frame.equals(cases.frame)
    listed = spell(cases, SpellingSection(list=True), seed=1)
    assert listed.cohort.frame.equals(cases.frame)
    assert listed.account["corrected"] == 0


def test_a_word_of_one_patient_is_counted_and_not_listed() -> None:
    texts = [*MANY, "His swlling and nausae.", "More swlling."]
    groups = [f"p{number}" for number in range(42)]
    found = spell(cohort(texts, groups, held_out=0), SpellingSection(list=True), seed=1)
    rows = list(csv.DictReader(io.StringIO(found.table())))
    assert [(row["word"], row["suggestion"], row["groups"]) for row in rows] == [("swlling", "swelling", "2")]
    assert found.account["words"] == 2
    assert "nausae" not in str(found.account)


def test_without_the_extra_a_sentence_says_what_to_install(monkeypatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "symspellpy", None)
    with pytest.raises(MissingExtra, match=r"pip install 'bedside\[spelling\]'"):
        Speller(MANY, range(40), 5)
