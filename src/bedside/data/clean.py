"""One form for what can be written in several ways, and nothing else.

Numbers, units, ranges, negations, punctuation and case carry the diagnosis and are never touched. Compatibility
forms (NFKC) are refused on purpose: they turn ½ into a 1, a slash and a 2, and 10² into 102.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bedside.core.progress import SILENT, Progress
from bedside.data.abbreviations import expand_abbreviations
from bedside.data.boilerplate import drop_boilerplate, repetition
from bedside.data.edits import apply
from bedside.data.language import detect_language
from bedside.data.masking import masked
from bedside.data.mojibake import mojibake
from bedside.data.rules import LANGUAGES
from bedside.data.sections import section_counts
from bedside.protocol import CleanSection

# Control characters except tab, line feed and carriage return; zero-width marks, soft hyphen, direction marks.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f"
    "\ufeff\ufff9-\ufffb]"
)
# Between two digits these may stand for a dash or a space that was lost: 2-3 is not 23.
_DASHES = "\u00ad\u200b"
_UNSEEN = re.compile(f"{_INVISIBLE.pattern}+")
# Joiners hold letters together in Persian, Indic scripts and emoji; between Latin letters and digits they are litter.
_JOINERS = re.compile("(?<=[\x20-\x7e])[\u200c\u200d]|[\u200c\u200d](?=[\x20-\x7e])")
_LINE_ENDS = re.compile("\r\n|[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_SPACES = re.compile("[\t\x1f\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000 ]+")
_LINE_EDGES = re.compile(r" *\n *")
_BLANK_LINES = re.compile(r"\n{3,}")

_LISTED = 50  # short forms


def without_marks(text: str) -> str:
    """Text without control characters and marks that nobody sees, which names and labels carry by accident."""
    return _INVISIBLE.sub("", text)


@dataclass
class Seen:
    """What cleaning did to one note: which rules changed it, and its short forms."""

    rules: set[str] = field(default_factory=set)
    expanded: Counter[str] = field(default_factory=Counter)
    ambiguous: Counter[str] = field(default_factory=Counter)

    def step(self, rule: str, before: str, after: str) -> str:
        """Remember a rule that changed something."""
        if after != before:
            self.rules.add(rule)
        return after


@dataclass
class Tally:
    """What cleaning did to many notes: counts, and short forms that the rules list; no text of a note."""

    notes: int = 0
    changed: Counter[str] = field(default_factory=Counter)
    expanded: Counter[str] = field(default_factory=Counter)
    ambiguous: Counter[str] = field(default_factory=Counter)

    def add(self, seen: Seen) -> None:
        """Add a note."""
        self.notes += 1
        self.changed.update(seen.rules)
        self.expanded.update(seen.expanded)
        self.ambiguous.update(seen.ambiguous)


def _commonest(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


def account(
    tally: Tally, texts: Sequence[str], patients: Sequence[str], language: str | None, progress: Progress = SILENT
) -> dict[str, Any]:
    """What a report says of cleaning: counts and hashes, no text of a note.

    Args:
        tally: of the rules, over all that was cleaned.
        texts: the cleaned notes that were kept.
        patients: whose each is, ``""`` where that is not known.
        language: of the notes, for their sections; ``None`` looks at each.
        progress: told what takes long.
    """
    _, repeated = repetition(texts, patients, progress=progress)
    listed, copied = repeated.pop("listed"), repeated.pop("copied_forward")
    counted = section_counts(texts, language)
    sections, languages = counted.pop("sections"), counted.pop("languages")
    return {
        "notes": tally.notes,
        "changed": dict(sorted(tally.changed.items())),
        "short_forms_expanded": dict(sorted(tally.expanded.items(), key=_commonest)[:_LISTED]),
        "short_forms_left_as_ambiguous": dict(sorted(tally.ambiguous.items(), key=_commonest)[:_LISTED]),
        "shared_passages": repeated,
        "passages_listed": listed,
        "copied_forward": copied,
        "sections_sample": counted,
        "sections": sections,
        "languages": languages,
    }


def clean_text(text: str, section: CleanSection, seen: Seen | None = None) -> str:
    """Make one text uniform; applying it twice changes nothing more, where short forms are kept.

    The same section is applied to the text of a request when the model is asked.

    Args:
        text: one note, or one of its columns.
        section: what is to be done.
        seen: is told which rules changed something.
    """
    seen = seen or Seen()
    fresh = _uniform(text, section, seen)
    dropped = apply(fresh, drop_boilerplate(fresh, section.boilerplate))
    expanded = _expanded(seen.step("boilerplate", fresh, dropped), section, seen)
    return fresh if expanded == fresh else _uniform(expanded, section, seen)


def _expanded(text: str, section: CleanSection, seen: Seen) -> str:
    """The text with its sure short forms written out, where its language has rules."""
    if section.abbreviations == "keep":
        return text
    language = section.abbreviations.partition(":")[2] or detect_language(text).code
    if language not in LANGUAGES:
        return text
    found = expand_abbreviations(text, language)
    seen.expanded.update(found.expanded)
    seen.ambiguous.update(found.ambiguous)
    return seen.step("abbreviations", text, apply(text, found.edits))


def _uniform(text: str, section: CleanSection, seen: Seen) -> str:
    while True:  # removing a mark can bring together a letter and its accent: repeat until nothing changes
        fresh = _once(text, section, seen)
        if fresh == text:
            return fresh
        text = fresh


def _litter(found: re.Match[str]) -> str:
    """Nothing; but between two digits the marks that may have been a dash."""
    text, start, end = found.string, found.start(), found.end()
    if text[start - 1 : start].isdigit() and text[end : end + 1].isdigit():
        return "".join(mark for mark in found[0] if mark in _DASHES)
    return ""


def _once(text: str, section: CleanSection, seen: Seen) -> str:
    if section.mojibake:
        text = seen.step("mojibake", text, apply(text, mojibake(text)))
    if section.controls:
        text = seen.step("controls", text, _JOINERS.sub("", _UNSEEN.sub(_litter, text)))
    if section.unicode == "NFC":
        text = seen.step("unicode", text, unicodedata.normalize("NFC", text))
    if section.whitespace:
        plain = _SPACES.sub(" ", _LINE_ENDS.sub("\n", text))
        plain = _BLANK_LINES.sub("\n\n", _LINE_EDGES.sub("\n", plain)).strip(" \n")
        text = seen.step("whitespace", text, plain)
    return seen.step("mask", text, masked(text, section.mask))


def join_sections(columns: Sequence[str], values: Mapping[str, str]) -> str:
    """One text from one or several text columns.

    Args:
        columns: ``data.text`` as a list. A single column is taken as it is.
        values: the cell of each column; an absent or blank one is left out, with its heading.

    Returns:
        The columns in order, each under its name as a heading, with an empty line between.
    """
    if len(columns) == 1:
        return values.get(columns[0], "")
    filled = [(name, values.get(name, "")) for name in columns]
    return "\n\n".join(f"{name}:\n{text}" for name, text in filled if text.strip())
