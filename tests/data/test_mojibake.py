"""Wrongly read letters are put right; what was read well, and what carries a number, stands."""

from __future__ import annotations

import csv
import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bedside.core.errors import DataError
from bedside.data import clean_text
from bedside.data.edits import Edit, apply, restore
from bedside.data.mojibake import mojibake
from bedside.protocol import CleanSection

few = settings(max_examples=300, deadline=None, derandomize=True)

RIGHT = [
    "Temp 38.5 °C, SpO₂ 91 %, 5 µg/kg, ½ tablet, 27 kg/m², 10³/µL, ±2 SD, ≥ 3 days, ≤5, 2–3 x 10⁹/L",
    "No fever — café-au-lait spots, naïve, Ménière’s, Sjögren, “quoted”, 5 × 10⁹/L, α-fetoprotein",
    "El niño presentó fiebre de 38 °C; niega disnea. ¿Dolor? Sí, según su médico. Año 2020, mañana, pingüino",
    "À l’examen, œdème des membres inférieurs, fièvre à 39 °C, ça va, où, naïf, Noël, élève, hôpital, façon",
    "Übelkeit, Fieber über 39 °C, größere Ödeme, Straße, Ärztin, ÄÖÜß, „Zitat“, 5 µg, § 5",
    "Şikayeti: göğüs ağrısı, ateş, İstanbul, ığüşöç IĞÜŞÖÇ, öğürtü, 3 gündür, ÇOCUK, ŞİŞLİK",  # noqa: RUF001
]
SIGNS = st.sampled_from([*"µ°½¼¾²³±≥≤×–—’“”₂⁹", "±2", "≥ 3", "38 °C", "5 µg", "½", "2–3", "kg/m²"])
LETTERS = st.sampled_from([*"abc ABC 0123456789 .,;:()/-%<>+", *"éèêëàâçñóíúüöäßşğıİœ"])
PIECES = st.lists(st.one_of(SIGNS, LETTERS), max_size=20).map("".join)


def garbled(text: str, encoding: str) -> str:
    """UTF-8 read as something else; letters that encoding lacks are read as Latin-1 does, as browsers read them."""
    return "".join(
        bytes([byte]).decode("latin-1")
        if encoding == "latin-1" or byte in {0x81, 0x8D, 0x8F, 0x90, 0x9D}
        else bytes([byte]).decode(encoding)
        for byte in text.encode()
    )


def repaired(text: str) -> str:
    return apply(text, mojibake(text))


@pytest.mark.parametrize("text", RIGHT)
def test_what_was_read_well_stands(text) -> None:
    assert mojibake(text) == []


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
@pytest.mark.parametrize("text", RIGHT)
def test_what_was_read_wrongly_is_put_right(text, encoding) -> None:
    wrong = garbled(text, encoding)
    assert wrong != text
    assert repaired(wrong) == text
    assert clean_text(wrong, CleanSection()) == clean_text(text, CleanSection())


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("38Â°C", "38°C"),
        ("ni\u00c3\u00b1o sano\nni\u00f1o sano", "niño sano\nniño sano"),  # one line of two
        ("5 µg, 2â€“3 days", "5 µg, 2–3 days"),  # both in one line
        ("Ã\xa0 l’hôpital", "à l’hôpital"),
        ("Ã l'hÃ´pital", "à l'hôpital"),  # the second half of à became a space  # noqa: RUF001
        ("lost \ufffd stays", "lost \ufffd stays"),
        ("À\x80", "À\x80"),  # a NUL in one of UTF-8's variants
    ],
)
def test_by_hand(text, wanted) -> None:
    assert repaired(text) == wanted


@few
@given(PIECES)
@example("5±²³")
def test_well_read_signs_next_to_anything_keep_every_number_and_word(text) -> None:
    """Random runs of accents can look like a wrong reading; ASCII is never touched even then."""
    after = repaired(text)
    assert [sign for sign in after if "!" <= sign <= "~"] == [sign for sign in text if "!" <= sign <= "~"]


WORDS = [
    "fiebre",
    "niño",
    "à",
    "größe",
    "ağrı",  # noqa: RUF001
    "œdème",
    "38 °C",
    "5 µg",
    "½",
    "2–3",
    "≥ 3",
    "±2",
    "27 kg/m²",
    "no",
    ",",
]


@few
@given(st.lists(st.sampled_from(WORDS), max_size=15).map(" ".join), st.sampled_from(["cp1252", "latin-1"]))
def test_words_and_measures_survive_right_or_wrong(text, encoding) -> None:
    assert mojibake(text) == []
    assert repaired(garbled(text, encoding)) in (text, garbled(text, encoding))


@few
@given(st.one_of(PIECES, PIECES.map(lambda text: garbled(text, "cp1252")), st.text(max_size=40)))
def test_twice_is_once_and_every_edit_can_be_undone(text) -> None:
    edits = mojibake(text)
    after = apply(text, edits)
    assert mojibake(after) == []
    assert restore(after, edits) == text
    section = CleanSection()
    assert clean_text(clean_text(text, section), section) == clean_text(text, section)


@few
@given(st.text(max_size=30), st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5), st.text(max_size=4))))
def test_any_edits_can_be_undone(text, drawn) -> None:
    edits, at = [], 0
    for skip, length, new in drawn:
        start = at + skip % 4
        end = min(start + length, len(text))
        if start > len(text):
            break
        edits.append(Edit(start, end, text[start:end], new, "test"))
        at = end
    assert restore(apply(text, edits), edits) == text


def test_an_edit_of_another_text_is_refused() -> None:
    with pytest.raises(DataError, match="at 0–5"):
        apply("chest pain", [Edit(0, 5, "fever", "x", "test")])
    with pytest.raises(DataError, match="at 2–4"):
        apply("chest pain", [Edit(0, 5, "chest", "x", "test"), Edit(2, 4, "es", "y", "test")])


def test_public_notes_read_well_stand(shared_data) -> None:
    with (shared_data / "deid_meddocan_es" / "meddocan.jsonl").open(encoding="utf-8") as file:
        spanish = [json.loads(line)["text"] for line in file]
    with (shared_data / "symptom2disease" / "symptom2disease.csv").open(encoding="utf-8", newline="") as file:
        english = [row["text"] for row in csv.DictReader(file)]
    for text in (*spanish, *english):
        assert mojibake(text) == []


@pytest.mark.parametrize("wrong", ["38 °F", "3 °C", "38°c"])
def test_whatever_the_heuristic_says_ascii_stands(monkeypatch, wrong) -> None:
    """No ftfy of today changes ASCII; a later one that did would be refused line by line."""
    import ftfy

    monkeypatch.setattr(ftfy, "fix_encoding", lambda line, config: wrong)
    assert mojibake("38 Â°C now") == []
