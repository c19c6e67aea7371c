"""Counts of sections, and headings that only patterns over whole notes used to find."""

from __future__ import annotations

import csv
import gzip
import re
from itertools import pairwise

import pytest

from bedside.data.rules import compared, pattern, read_rules
from bedside.data.sections import MOST_LOOKED_AT, find_sections, section_counts


def test_notes_with_each_section_are_counted() -> None:
    notes = ["HPI: cough\nPlan: rest", "HPI: fever\nHPI: again", "nothing of note in this one"]
    counts = section_counts(notes, "en")
    assert counts["sections"] == {"history of present illness": 2, "plan": 1}
    assert (counts["notes"], counts["looked_at"], counts["with_sections"]) == (3, 3, 2)
    assert section_counts([], "en")["sections"] == {}


def test_a_large_table_is_sampled_evenly_and_says_so() -> None:
    notes = [f"Plan: rest {number}" if number < 100 else "none" for number in range(10 * MOST_LOOKED_AT)]
    counts = section_counts(notes, "en")
    assert counts["notes"] == 10 * MOST_LOOKED_AT and counts["looked_at"] == MOST_LOOKED_AT
    assert counts["sections"] == {"plan": 10}


def test_each_note_is_read_in_its_own_language() -> None:
    counts = section_counts(
        [
            "Plan: the patient was told to rest and to come back with any fever.",
            "Motivo de consulta: la paciente refiere dolor desde hace tres días y no tiene fiebre.",
            "Anamnese: Der Patient klagt seit drei Tagen über Schmerzen und hat kein Fieber.",
        ]
    )
    assert counts["languages"] == {"en": 1, "es": 1, "other": 1}
    assert counts["sections"] == {"chief complaint": 1, "plan": 1}


@pytest.mark.parametrize(
    ("text", "starts"),
    [
        ("PAST\nMEDICAL  HISTORY: none", [0]),  # a heading broken by a line end
        ("Seen. (ROS: negative) (FH: none)", []),  # after a bracket that is no end of a sentence
        ("x) ROS: none", [3]),
        ("preoperative diagnosis (es): cyst", [0]),
        ("HPI\u2028: cough", []),
        ("HPI:Plan: rest", [0]),
        ("3)  **Plan:** rest\n- HPI - cough", [0, 19]),
        ("FAM\u0130LY HISTORY: none", []),  # a capital that lower case makes two letters of
    ],
)
def test_odd_headings(text, starts) -> None:
    assert [one.start for one in find_sections(text) if one.heading] == starts


def test_every_listed_heading_begins_a_section_in_every_place(shared_data) -> None:
    """The headings before a colon anywhere in real notes, by one pattern of all headings: the slow way to find them."""
    rules = read_rules("en")["sections"]
    every = [heading for one in rules for heading in one["headings"]]
    listed = "|".join(pattern(one) for one in sorted(every, key=lambda one: (-len(one), one)))
    slow = re.compile(rf"(?<![\w/&-])(?:{listed})[ \t]*:", re.IGNORECASE)
    csv.field_size_limit(1 << 30)
    with gzip.open(shared_data / "mtsamples" / "mtsamples_unique_multilabel.csv.gz", "rt", encoding="utf-8") as file:
        notes = [row["transcription"] for row in csv.DictReader(file)][:60]
    seen = 0
    for note in notes:
        found = {one.start for one in find_sections(note)}
        wanted = {
            one.start()
            for one in slow.finditer(note)
            if not note[: one.start()].strip() or note[one.start() - 1] == "\n"
        }
        assert wanted <= found
        seen += len(wanted)
        assert all(one.end == two.start for one, two in pairwise(find_sections(note)))
    assert seen > 10
    assert all(compared(heading) == compared(heading.upper()) for heading in every)
