"""Where the sections of a note begin and end, and what each is.

Headings are rule data, a file a language; only a listed heading begins a section, so what follows a heading that nobody
listed ("TOURNIQUET TIME:") stays in the section before it. The sections of a text lie side by side and cover it whole:
whatever the headings, no character is lost and none is in two sections. Nothing is moved or rewritten.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from bedside.data.language import detect_language
from bedside.data.rules import LANGUAGES, compared, pattern, read_rules

PREAMBLE = "preamble"
MOST_LOOKED_AT = 2_000  # notes whose sections are counted
_NUMBERED = r"(?:[ \t]*(?:\d{1,2}[.)]|[-*•#>]+)[ \t]*)?"
_LONGEST_ABBREVIATION = 6
_LONGEST_WORD = 40  # and what may follow it: "diagnosis (es)"
_FIRST_LETTERS = re.compile(r"[^\W\d_]+")
_LAST_LETTERS = re.compile(r"[^\W\d_]+(?=\W*\Z)")
_LINE = re.compile(r"^[ \t\d.)*•#>-]*(?P<letters>[^\W\d_]+)", re.MULTILINE)
_COLON = re.compile(r":,?[ \t]*")
_HEADING_STARTS = re.compile(r"(?<![\w/&-])\w")  # also after an opening bracket


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
    lines: dict[
        str, tuple[re.Pattern[str], re.Pattern[str]]
    ]  # headings at the beginning of a line, by their first letters
    last: frozenset[str]  # the last letters of headings
    longest: int  # words of the longest heading


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
    found = {one.at: one for one in (*_inline(text, rules), *_at_lines(text, rules))}
    starts = [one for one in sorted(found.values(), key=lambda one: one.at) if _counts(text, one, rules)]
    sections = []
    if text and (not starts or starts[0].start > 0):
        sections.append(Section(0, starts[0].start if starts else len(text), PREAMBLE, "", 0))
    for at, one in enumerate(starts):
        end = starts[at + 1].start if at + 1 < len(starts) else len(text)
        sections.append(Section(one.start, end, rules.names[compared(one.heading)], one.heading, min(one.body, end)))
    return tuple(sections)


def without_sections(text: str, excluded: Collection[str], language: str = "en") -> str:
    """The text without the sections of these canonical names, headings included; the rest is as written."""
    return "".join(text[one.start : one.end] for one in find_sections(text, language) if one.name not in excluded)


def section_names(language: str = "en") -> tuple[str, ...]:
    """The canonical names for which a language has headings."""
    return tuple(one["name"] for one in read_rules(language)["sections"])


def section_counts(texts: Sequence[str], language: str | None = None) -> dict[str, Any]:
    """How many notes have which section, on at most 2,000 notes evenly spaced over all.

    Args:
        texts: the notes.
        language: whose headings to look for; where it is not given, each note's own, and a note in a language without
            rules is counted as such and has none.

    Returns:
        ``looked_at`` of ``notes``, ``with_sections``: how many of these have any, ``languages`` with their counts, and
        ``sections``: notes that have each, the most frequent first.
    """
    step = -(-len(texts) // MOST_LOOKED_AT) or 1
    counts: Counter[str] = Counter()
    languages: Counter[str] = Counter()
    some = 0
    sample = texts[::step]
    for text in sample:
        code = language or detect_language(text).code
        languages[code] += 1
        if code in LANGUAGES:
            names = {one.name for one in find_sections(text, code)} - {PREAMBLE}
            counts.update(names)
            some += bool(names)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return {
        "notes": len(texts),
        "looked_at": len(sample),
        "with_sections": some,
        "languages": dict(sorted(languages.items(), key=lambda item: (-item[1], item[0]))),
        "sections": dict(ranked),
    }


@dataclass(frozen=True)
class _Heading:
    start: int  # of the section: a number or bullet before the heading belongs to it
    at: int  # of the heading
    heading: str
    body: int


def _at_lines(text: str, rules: _Rules) -> Iterator[_Heading]:
    """Headings at the beginning of a line, alone on it or before a colon or a dash.

    Only where the line's first letters begin a heading are patterns tried, and only those of such headings.
    """
    ends = [0, 0]
    for begins in _LINE.finditer(text):
        patterns = rules.lines.get(compared(begins["letters"]))
        for kind, one in enumerate(patterns or ()):  # the second, before a colon, prevails over the first, alone
            found = one.match(text, begins.start()) if begins.start() >= ends[kind] else None
            if found:
                ends[kind] = found.end()
                yield _Heading(found.start(), found.start("heading"), found["heading"], found.end())


def _inline(text: str, rules: _Rules) -> Iterator[_Heading]:
    """Headings before a colon, wherever they stand: found from the colon backwards."""
    past = 0
    for colon in _COLON.finditer(text):
        before = text[past : colon.start()].rstrip(" \t")
        end = past + len(before)
        letters = _FIRST_LETTERS.findall(before[-_LONGEST_WORD:])
        if letters and not before[-1].isspace() and compared(letters[-1]) in rules.last:
            start = _start_of_heading(text, past, end, rules)
            if start is not None:
                yield _Heading(start, start, text[start:end], colon.end())
        past = colon.end()


def _start_of_heading(text: str, past: int, end: int, rules: _Rules) -> int | None:
    """Where the longest heading that ends at ``end`` begins, not before ``past``."""
    pieces = text[past:end].rsplit(None, rules.longest)
    begin = past + len(pieces[0]) if len(pieces) > rules.longest else past
    for place in _HEADING_STARTS.finditer(text, begin, end):
        if compared(text[place.start() : end]) in rules.names:
            return place.start()
    return None


def _counts(text: str, found: _Heading, rules: _Rules) -> bool:
    """Whether what stands before a heading lets it begin a section."""
    before = text[max(0, found.start - 2) : found.start]
    if not before or before.endswith("\n"):
        return True
    if compared(found.heading) in rules.line or not text[found.at : found.body].rstrip(" \t,").endswith(":"):
        return False
    last = before.rstrip(" \t")[-1:]
    capitals = found.heading.isupper()
    if last in set(".;!?|)") and before[-1:] in " \t":
        return found.heading[0].isupper()
    if last == "," and capitals:
        return True
    return capitals and len(found.heading) <= _LONGEST_ABBREVIATION and " " not in found.heading and before[-1:] == " "


@cache
def _rules(language: str) -> _Rules:
    names: dict[str, str] = {}
    line: set[str] = set()
    first: dict[str, set[str]] = {}
    for one in read_rules(language)["sections"]:
        for heading in (*one["headings"], *one.get("line", ())):
            names[compared(heading)] = one["name"]
            first.setdefault(_letters(_FIRST_LETTERS, compared(heading)), set()).add(heading)
        line |= {compared(heading) for heading in one.get("line", ())}
    return _Rules(
        names,
        frozenset(line),
        {letters: _patterns(headings) for letters, headings in first.items()},
        frozenset(_letters(_LAST_LETTERS, heading) for heading in names),
        max(len(heading.split()) for heading in names),
    )


def _letters(which: re.Pattern[str], heading: str) -> str:
    found = which.search(heading)
    return found[0] if found else ""


def _patterns(headings: Collection[str]) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """These headings alone on a line, and before a colon or a dash; the longest first."""
    listed = "|".join(pattern(one) for one in sorted(headings, key=lambda one: (-len(one), one)))
    heading = rf"(?P<heading>(?<![\w/&-])(?:{listed}))"
    flags = re.IGNORECASE | re.MULTILINE
    return (
        re.compile(rf"^{_NUMBERED}[ \t]*\**{heading}\**\.?[ \t]*$", flags),
        re.compile(rf"^{_NUMBERED}[ \t]*\**{heading}\**(?:[ \t]*:\**,?|[ \t]+[-–—](?=\s))[ \t]*", flags),
    )
