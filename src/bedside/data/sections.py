"""Where the sections of a note begin and end, and what each is.

Headings are rule data, a file a language; only a listed heading begins a section, so what follows a heading that nobody
listed ("TOURNIQUET TIME:") stays in the section before it. The sections of a text lie side by side and cover it whole:
whatever the headings, no character is lost and none is in two sections. Nothing is moved or rewritten.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache

from bedside.data.rules import pattern, read_rules

PREAMBLE = "preamble"
_NUMBERED = r"(?:[ \t]*(?:\d{1,2}[.)]|[-*•#>]+)[ \t]*)?"
_LONGEST_ABBREVIATION = 6


@dataclass(frozen=True)
class Section:
    """One section of a text; offsets are code points and the end is exclusive.

    Attributes:
        start: where the heading begins, and the section with it.
        end: where the next section begins, or the text ends.
        name: the canonical English name, the same in every language; ``preamble`` before the first heading.
        heading: the heading as written, ``""`` for the preamble.
        body: where the text after the heading and its colon begins.
    """

    start: int
    end: int
    name: str
    heading: str
    body: int


@dataclass(frozen=True)
class _Rules:
    names: dict[str, str]  # canonical name by heading as compared
    line: frozenset[str]  # headings that count only where a line begins
    marked: re.Pattern[str]  # heading with a colon or a dash after it, at the beginning of a line
    alone: re.Pattern[str]  # heading alone on its line
    inline: re.Pattern[str]  # heading with a colon after it, in the middle of a line


def find_sections(text: str, language: str = "en") -> tuple[Section, ...]:
    """The sections of a text, in order; together they are the whole text.

    A heading begins a section at the beginning of a line (``HPI:``, ``Plan - rest``, or alone on its line), after the
    end of a sentence (``... resolved. Plan: rest``), after a comma in capitals (``SUBJECTIVE:, well, PLAN:, rest``),
    and, for an abbreviation in capitals, after any space (``PMH: HTN FH: none``).

    Args:
        text: one note, in composed characters (NFC) as cleaning leaves it.
        language: which rules to use.
    """
    rules = _rules(language)
    found = {one.at: one for pattern in (rules.inline, rules.alone, rules.marked) for one in _headings(text, pattern)}
    starts = [one for one in sorted(found.values(), key=lambda one: one.at) if _counts(text, one, rules)]
    sections = []
    if text and (not starts or starts[0].start > 0):
        sections.append(Section(0, starts[0].start if starts else len(text), PREAMBLE, "", 0))
    for at, one in enumerate(starts):
        end = starts[at + 1].start if at + 1 < len(starts) else len(text)
        sections.append(Section(one.start, end, rules.names[_compared(one.heading)], one.heading, min(one.body, end)))
    return tuple(sections)


def without_sections(text: str, excluded: Collection[str], language: str = "en") -> str:
    """The text without the sections of these canonical names, headings included; the rest is as written."""
    return "".join(text[one.start : one.end] for one in find_sections(text, language) if one.name not in excluded)


def section_names(language: str = "en") -> tuple[str, ...]:
    """The canonical names for which a language has headings."""
    return tuple(one["name"] for one in read_rules(language)["sections"])


@dataclass(frozen=True)
class _Heading:
    start: int  # of the section: a number or bullet before the heading belongs to it
    at: int  # of the heading
    heading: str
    body: int


def _headings(text: str, pattern: re.Pattern[str]) -> list[_Heading]:
    return [_Heading(one.start(), one.start("heading"), one["heading"], one.end()) for one in pattern.finditer(text)]


def _counts(text: str, found: _Heading, rules: _Rules) -> bool:
    """Whether what stands before a heading lets it begin a section."""
    before = text[max(0, found.start - 2) : found.start]
    if not before or before.endswith("\n"):
        return True
    if _compared(found.heading) in rules.line or not text[found.at : found.body].rstrip(" \t,").endswith(":"):
        return False
    last = before.rstrip(" \t")[-1:]
    capitals = found.heading.isupper()
    if last in set(".;!?|)") and before[-1:] in " \t":
        return found.heading[0].isupper()
    if last == "," and capitals:
        return True
    return capitals and len(found.heading) <= _LONGEST_ABBREVIATION and " " not in found.heading and before[-1:] == " "


def _compared(heading: str) -> str:
    """A heading as headings are compared: case, accents and white space aside."""
    plain = heading.casefold().translate(str.maketrans("àâáçéèêëíîïñóôöúùûü’", "aaaceeeeiiinooouuuu'"))
    return " ".join(plain.split())


@cache
def _rules(language: str) -> _Rules:
    names: dict[str, str] = {}
    line: set[str] = set()
    every: list[str] = []
    for one in read_rules(language)["sections"]:
        for heading in (*one["headings"], *one.get("line", ())):
            names[_compared(heading)] = one["name"]
            every.append(heading)
        line |= {_compared(heading) for heading in one.get("line", ())}
    listed = "|".join(pattern(one) for one in sorted(set(every), key=lambda one: (-len(one), one)))
    heading = rf"(?P<heading>(?<![\w/&-])(?:{listed}))"
    flags = re.IGNORECASE | re.MULTILINE
    return _Rules(
        names,
        frozenset(line),
        re.compile(rf"^{_NUMBERED}[ \t]*\**{heading}\**(?:[ \t]*:\**,?|[ \t]+[-–—](?=\s))[ \t]*", flags),
        re.compile(rf"^{_NUMBERED}[ \t]*\**{heading}\**\.?[ \t]*$", flags),
        re.compile(rf"{heading}[ \t]*:,?[ \t]*", flags),
    )
