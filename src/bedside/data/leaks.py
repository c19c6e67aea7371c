"""Columns and words that give the label away.

A column that says the diagnosis again (its code, its name in another language, the list it was chosen from) makes any
subgroup or model that uses it worthless; it is flagged by name and never kept on a proposal.

A text that states its own label is of another kind: often the diagnosis was known when it was written. Statements are
found by the ways to say a label (:mod:`bedside.data.masking`), and told from what is denied, feared, of a relative or
of the past, where there are rules for the language.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bedside.data.masking import CODE, Phrase, pattern_of
from bedside.data.negation import PRESENT, assertions, status_in
from bedside.data.rules import LANGUAGES
from bedside.data.sections import find_sections
from bedside.data.table import is_absent

ONE_TO_ONE = "is one-to-one with the label"
PURE = 0.9  # share of the way from the largest label's share to certainty
NAMED = 0.5  # share of cells that hold their own label's words
CONCLUSIONS = frozenset(
    {
        "discharge diagnosis",
        "admission diagnosis",
        "postoperative diagnosis",
        "preoperative diagnosis",
        "assessment",
        "assessment and plan",
    }
)  # sections in which a diagnosis is concluded


@dataclass(frozen=True)
class Mention:
    """A label that a text names.

    Attributes:
        label: which.
        kind: how: ``name``, ``synonym``, ``abbreviation`` or ``code``.
        status: ``present`` where it is stated; ``negated``, ``hypothetical``, ``family`` or ``historical`` where not.
        section: the canonical name of the section, ``preamble`` before the first heading.
    """

    label: str
    kind: str
    status: str
    section: str


def tells(values: Sequence[str], labels: Sequence[str]) -> str | None:
    """How a column gives the label away, or None.

    Args:
        values: [rows] the column; blank cells tell nothing.
        labels: [rows] tidied labels.

    Returns:
        The end of a sentence that starts with the column's name, for example ``"is one-to-one with the label"``.
    """
    told = zip(values, labels, strict=True)
    pairs = [(value, label) for cell, label in told if not is_absent(value := cell.strip())]
    if len(pairs) < 10 or len({label for _, label in pairs}) < 2:
        return None
    if one_to_one(pairs):
        return ONE_TO_ONE
    purity = conditional_purity(pairs)
    if purity >= PURE:
        return f"predicts the label almost alone ({purity:.0%} of the way from guessing to certainty)"
    named = sum(label.casefold() in value.casefold() for value, label in pairs) / len(pairs)
    if named >= NAMED and len({value for value, _ in pairs}) > 1:
        return f"names the label in {named:.0%} of its cells"
    return None


def one_to_one(pairs: Sequence[tuple[str, str]]) -> bool:
    """Whether each value goes with one label and each label with one value."""
    distinct = set(pairs)
    values, labels = {value for value, _ in distinct}, {label for _, label in distinct}
    return len(distinct) == len(values) == len(labels) < len(pairs)


def conditional_purity(pairs: Sequence[tuple[str, str]]) -> float:
    """How far a column alone brings a guess from the largest label's share (0) to certainty (1).

    A row counts as told only if another row has the same value and label, so that a column of ids tells nothing.
    """
    table: dict[str, Counter[str]] = defaultdict(Counter)
    for value, label in pairs:
        table[value][label] += 1
    told = sum(top for counts in table.values() if (top := max(counts.values())) > 1)
    base = max(Counter(label for _, label in pairs).values())
    return (told - base) / (len(pairs) - base) if len(pairs) > base else 0.0


def label_in_text(texts: Sequence[str], labels: Sequence[Sequence[str]]) -> int:
    """In how many rows the text holds its own label, or one of its labels, as whole words, whatever the case."""
    every = {label for held in labels for label in held}
    patterns = {label: re.compile(rf"(?<!\w){re.escape(label.casefold())}(?!\w)") for label in every}
    return sum(
        any(patterns[label].search(text.casefold()) for label in held) for text, held in zip(texts, labels, strict=True)
    )


class Finder:
    """Finds the labels that texts name.

    A text is scanned word by word, and only where a word begins a phrase is the phrase compared, so that the time does
    not grow with the number of labels.

    Args:
        phrases: the ways to say each label.
        language: whose rules tell what is denied and where sections begin; of others every mention counts as stated.
    """

    def __init__(self, phrases: Mapping[str, Sequence[Phrase]], language: str = "en") -> None:
        self._language = language if language in LANGUAGES else ""
        begin: dict[str, list[tuple[str, Phrase]]] = defaultdict(list)
        for label, held in phrases.items():
            for phrase in held:
                for word in _first_words(phrase):
                    begin[word].append((label, phrase))
        self._begin = {
            word: [(label, one.kind, pattern_of([one])) for label, one in held] for word, held in begin.items()
        }

    def mentions(self, text: str) -> list[Mention]:
        """Every mention of a label, in order; one phrase may name several labels."""
        places = list(self._places(text))
        if not places:
            return []
        if not self._language:
            return [Mention(label, kind, PRESENT, "") for _, _, label, kind in places]
        scopes, sections = assertions(text, self._language), find_sections(text, self._language)
        return [
            Mention(
                label,
                kind,
                status_in(scopes, start, end),
                next((one.name for one in sections if one.start <= start < one.end), ""),
            )
            for start, end, label, kind in places
        ]

    def _places(self, text: str) -> Iterator[tuple[int, int, str, str]]:
        for word in _WORD.finditer(text):
            for label, kind, pattern in self._begin.get(word[0].casefold(), ()):
                found = pattern.match(text, word.start())
                if found:
                    yield found.start(), found.end(), label, kind


_WORD = re.compile(r"\w+")


def _first_words(phrase: Phrase) -> set[str]:
    """The lower-cased words that a phrase may begin with, as a text is cut into words."""
    text = phrase.text.casefold()
    found = _WORD.search(text)
    if found is None or found.start():
        return set()
    word = found[0]
    forms = {word, text.replace(".", "")} if phrase.kind == "code" else {word}
    return forms | ({f"{word}s", f"{word}es"} if word == text else set())


def holds_code(text: str) -> bool:
    """Whether a text holds what looks like a code of ICD-10 below three characters: ``I26.99``."""
    return any("." in found[0] for found in CODE.finditer(text))
