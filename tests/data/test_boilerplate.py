"""Repeated passages: found and counted without text, dropped only where they are listed."""

from __future__ import annotations

import json
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from bedside.data import boilerplate
from bedside.data.boilerplate import drop_boilerplate, fingerprint, passages, repetition, wording
from bedside.data.edits import apply, restore
from bedside.synthetic import Plan, generate

TEMPLATE = "Patient was counselled on risks and benefits and all questions were answered."
OWN = "He tripped over the neighbour's cat on Tuesday evening and landed on one hip."


def notes() -> tuple[list[str], list[str]]:
    """40 notes of 30 patients: the template in all, a passage of one patient in three of his."""
    texts = [f"Seen for complaint number {number} today. {TEMPLATE}" for number in range(37)]
    people = [f"P{number % 29}" for number in range(37)]
    texts += [f"{OWN} First visit.", f"Better now.\n{OWN.upper()}", OWN]
    return texts, [*people, "Q", "Q", "Q"]


def test_a_template_is_found_by_its_patients_and_an_own_passage_as_copied_forward() -> None:
    texts, people = notes()
    found, account = repetition(texts, people)
    assert [(one.sha256, one.words, one.notes, one.patients) for one in found] == [(fingerprint(TEMPLATE), 12, 37, 29)]
    assert account["notes_with_any"] == 37 and account["passages"] == 1
    copied = account["copied_forward"]
    assert (copied["notes_that_copy"], copied["passages"], copied["words"]) == (2, 2, 28)
    assert copied["later_notes"] == 40 - 30 and copied["words_of_all_passages"] == 42
    assert "counselled" not in json.dumps(account) and "cat" not in json.dumps(account)
    assert wording(texts, [one.sha256 for one in found]) == {fingerprint(TEMPLATE): TEMPLATE}


def test_the_same_patient_many_times_is_no_template() -> None:
    found, account = repetition([TEMPLATE] * 50, ["P"] * 50)
    assert found == [] and account["copied_forward"]["notes_that_copy"] == 49
    found, _ = repetition([TEMPLATE] * 50, [""] * 50)  # patients not known: each its own
    assert [one.patients for one in found] == [50]


def test_of_a_very_large_table_whole_patients_are_looked_at(monkeypatch) -> None:
    monkeypatch.setattr(boilerplate, "MOST_LOOKED_AT", 30)
    texts = [OWN] * 90
    _, account = repetition(texts, [f"P{number // 3}" for number in range(90)])
    assert (account["notes"], account["looked_at"]) == (90, 30)
    assert account["copied_forward"]["notes_that_copy"] == 20  # two of three notes of ten patients
    assert repetition([], [])[1]["copied_forward"]["passages"] == 0


def test_only_listed_passages_are_dropped() -> None:
    text = f"Cough for days. {TEMPLATE}\nDenies fever."
    listed = {fingerprint(TEMPLATE.lower())}
    edits = drop_boilerplate(text, listed)
    assert apply(text, edits) == "Cough for days. \nDenies fever."
    assert restore(apply(text, edits), edits) == text
    assert drop_boilerplate(text, ()) == [] and drop_boilerplate(text, {"0" * 64}) == []


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.lists(st.sampled_from([TEMPLATE, OWN, "Short.", "38.5 °C", "\n", " ", "a b c d e f g h", "?!", "."])).map(
        "".join
    )
)
def test_passages_lie_apart_in_the_text(text) -> None:
    places = list(passages(text))
    assert all(start < end for start, end in places)
    assert all(one[1] <= two[0] for one, two in pairwise(places))
    assert all("\n" not in text[start:end] for start, end in places)


def test_the_order_of_rows_changes_nothing_and_the_clinic_copies_forward() -> None:
    """SYNTHETIC: of the notes that the clinic copied forward, most hold a passage long enough to be seen."""
    rows = list(generate(Plan(notes=300, seed=5, typos=0.0)).rows())
    texts, people = [row["note"] for row, _ in rows], [row["patient_id"] for row, _ in rows]
    found, account = repetition(texts, people, fewest=5)
    backwards = repetition(texts[::-1], people[::-1], fewest=5)
    assert backwards == (found, account)
    assert 0 < account["copied_forward"]["notes_that_copy"] <= account["copied_forward"]["later_notes"]
