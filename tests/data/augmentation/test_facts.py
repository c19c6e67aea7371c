"""The rule that a varied text keeps its numbers, units, negations and sides."""

from __future__ import annotations

import pytest

from bedside.data.augmentation import facts, unchanged_facts
from bedside.data.augmentation.facts import protected

NOTE = "58M, temp 38.5 C, BP 120/80 mmHg. Denies chest pain; no fever. Left knee swollen for 3 days, not tender."


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("38.5", "38,5"),
        ("38.5 C", "38.5 F"),
        ("120/80", "80/120"),
        ("58M", "58F"),
        ("no fever", "fever"),
        ("no fever", "some fever"),
        ("not tender", "tender"),
        ("Denies", "Reports"),
        ("Left", "Right"),
        ("3 days", "3 weeks"),
        ("3 days", "three days"),
        ("mmHg", "mmhg"),
        ("no fever. Left knee swollen", "fever. Left knee no swollen"),  # the same words, and another meaning
        ("knee swollen", "knee, no rash, swollen"),
    ],
)
def test_a_changed_fact_is_seen(old, new) -> None:
    changed = NOTE.replace(old, new)
    assert changed != NOTE
    assert not unchanged_facts(NOTE, changed)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("can't walk", "can walk"),
        ("cannot walk", "can walk"),
        ("nontender belly", "tender belly"),
        ("non-smoker", "smoker"),
        ("w/o fever", "w/ fever"),
        ("<5 mg", ">5 mg"),
        ("-2 D", "2 D"),
        ("± 3", "3"),
        ("50%", "50"),
        ("50 %", "50"),
        ("twice a day", "a day"),
        ("take 1-2 tabs", "take 1 2 tabs"),
        ("possible fracture", "fracture"),
        ("no cough, fever", "cough, no fever"),
        ("sin fiebre", "con fiebre"),
        ("pas de toux", "de toux"),
        ("RUQ pain", "LUQ pain"),
        ("10² cells", "10 cells"),
    ],
)
def test_small_facts_count(before, after) -> None:
    assert not unchanged_facts(before, after)


@pytest.mark.parametrize(
    "after",
    [
        NOTE.replace("swollen", "puffy").replace("temp", "temperature"),
        "Left knee swollen for 3 days, not tender. Denies chest pain; no fever. 58M, temp 38.5 C, BP 120/80 mmHg.",
        NOTE.replace("Denies", "DENIES").replace("Left", "left"),
    ],
)
def test_other_words_order_and_case_are_no_change(after) -> None:
    assert after != NOTE
    assert unchanged_facts(NOTE, after)


def test_a_fact_holds_the_word_it_belongs_to() -> None:
    found = facts("no fever, 5 mg")
    assert found == {("negation", "no", "fever"): 1, ("number", "5", "mg"): 1, ("unit", "mg", ""): 1}
    assert protected("no fever, 5 mg") == [(0, 8), (10, 14), (12, 14)]
