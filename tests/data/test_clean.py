"""Cleaning makes text uniform and takes nothing away that carries a diagnosis."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedside.data import clean_text, join_sections
from bedside.protocol import CleanSection

SECTION = CleanSection()
few = settings(max_examples=200, deadline=None, derandomize=True)

# What the module's words name: controls, zero-width marks, soft hyphen, direction marks, annotation marks, joiners.
NAMED = {chr(code) for code in [*range(0x00, 0x09), *range(0x0E, 0x1C), 0x7F, *range(0x80, 0x85), *range(0x86, 0xA0)]}
NAMED |= {chr(code) for code in [0xAD, 0x61C, 0x180E, 0x200B, 0x200C, 0x200D, 0x200E, 0x200F, 0xFEFF]}
NAMED |= {chr(code) for code in [*range(0x202A, 0x202F), *range(0x2060, 0x2065), *range(0x2066, 0x2070)]}
NAMED |= {chr(code) for code in range(0xFFF9, 0xFFFC)}

ODD = st.sampled_from(
    [*sorted(NAMED), *"\t\n\r\x0b\x0c\x1c\x1f\x85\xa0\u2028\u2029\u3000 ", *"eéA5½²°–", "\u0301", "\u0327"]
)
TEXTS = st.one_of(
    st.text(max_size=60), st.lists(ODD, max_size=40).map("".join), st.text("aé \n\u0301\u200d\u200b1", max_size=30)
)


@few
@given(TEXTS, st.booleans(), st.booleans(), st.sampled_from(["NFC", "off"]))
def test_twice_is_once(text, controls, whitespace, form) -> None:
    section = CleanSection(controls=controls, whitespace=whitespace, unicode=form)
    once = clean_text(text, section)
    assert clean_text(once, section) == once


@few
@given(TEXTS)
def test_only_what_is_named_goes(text) -> None:
    def rest(one: str) -> str:
        kept = "".join(sign for sign in one if sign not in NAMED and not sign.isspace())
        return unicodedata.normalize("NFC", kept)

    assert rest(clean_text(text, CleanSection(mojibake=False))) == rest(text)  # it has tests of its own


@few
@given(TEXTS)
def test_words_are_neither_joined_nor_cut_by_white_space(text) -> None:
    plain = "".join(sign for sign in text if sign not in NAMED)
    cleaned = "".join(sign for sign in clean_text(text, CleanSection(mojibake=False)) if sign not in NAMED)
    assert cleaned.split() == [unicodedata.normalize("NFC", word) for word in plain.split()]


@pytest.mark.parametrize(
    "text",
    [
        "Temp 38.5 °C, BP 120/80 mmHg, SpO₂ 91 %",
        "½ tablet b.i.d., BMI 27 kg/m², 10² CFU, 5 × 10⁹/L, 37,5",
        "denies chest pain; NO fever, no SOB, w/o rash",
        "CRP <5 mg/dL, eGFR >60, INR 2–3, age 3–5 y, ±2 SD, ≥ 3 days",
        "Parkinson's, Alzheimer’s, O'Brien, T-cell, μg vs µg",
        "Ｈｂ ﬁbrosis ① ℃ \u212b",  # noqa: RUF001
        "?? ... !!! (L) > (R) -> 'quoted' \"double\" [x] {y} #3 @ 5 & 6 ~7 *8* _9_ \\n",
        "a\nb\n\nc",
        "می\u200cخواهم क्\u200dष",  # a joiner that belongs to the word  # noqa: RUF001
    ],
)
def test_what_carries_meaning_stands_as_written(text) -> None:
    wanted = unicodedata.normalize("NFC", text)
    assert clean_text(text, SECTION) == wanted
    if "\u212b" not in text:  # the one sign above that Unicode itself says is another's twin
        assert wanted == text


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("fe\u200bver\u00ad", "fever"),
        ("\ufeffno\u00a0fever\u2009today", "no fever today"),
        ("a\r\nb\rc\u2028d\x0be", "a\nb\nc\nd\ne"),
        ("a  \t b\x1fc", "a b c"),
        ("a \n\n\n\n b", "a\n\nb"),
        ("  a\n", "a"),
        ("cafe\u0301", "café"),
        ("cafe\u200b\u0301", "café"),  # a mark between a letter and its accent
        ("chest\u200d pain\x00", "chest pain"),
        ("for 2\u00ad3 days, 1\u200b000 mg", "for 2\u00ad3 days, 1\u200b000 mg"),  # a dash, a space that was lost
        ("2\u00ad\x02\u200b3, 2\x023", "2\u00ad\u200b3, 23"),
        ("38Â°C", "38°C"),
    ],
)
def test_what_can_be_written_in_several_ways_is_one(text, wanted) -> None:
    assert clean_text(text, SECTION) == wanted


def test_each_part_can_be_switched_off() -> None:
    text = "e\u0301\u200b  x\r\n"
    off = {"unicode": "off", "whitespace": False, "controls": False, "mojibake": False}
    assert clean_text(text, CleanSection(**off)) == text
    assert clean_text(text, CleanSection(**{**off, "unicode": "NFC"})) == "é\u200b  x\r\n"
    assert clean_text(text, CleanSection(**{**off, "whitespace": True})) == "e\u0301\u200b x"
    assert clean_text(text, CleanSection(**{**off, "controls": True})) == "e\u0301  x\r\n"


def test_several_columns_are_joined_under_their_names() -> None:
    cells = {"history": "cough", "exam": "  ", "plan": "rest"}
    assert join_sections(["history", "exam", "plan"], cells) == "history:\ncough\n\nplan:\nrest"
    assert join_sections(["plan", "history"], cells) == "plan:\nrest\n\nhistory:\ncough"
    assert join_sections(["history"], cells) == "cough"
    assert join_sections(["absent"], cells) == ""
