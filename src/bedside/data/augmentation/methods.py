"""The ways in which a text is varied: each a plain function of a text, a share of its words, and a random stream.

None touches what :func:`~bedside.data.augmentation.facts.protected` names: numbers, units, negations, sides and what
they belong to. What a method cannot vary comes back as it was.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from random import Random

from bedside.data.abbreviations import expand_abbreviations
from bedside.data.augmentation.facts import Span, clear_of_facts, facts
from bedside.data.rules import read_part, read_table
from bedside.data.sections import find_sections

_PLAIN_WORD = re.compile(r"(?<![\w'’.@/-])[A-Za-z][a-z]{4,}(?![\w'’@/-])")
_WORD = re.compile(r"(?<![\w'’.@/-])[^\W\d_]+(?![\w'’@/-])")
_SENTENCE_END = re.compile(r"(?<=[.!?])[ \t]+(?=[\"'(]?[^\W\d_])")
# A full stop after one of these, after a single letter or after the number of a list ends no sentence.
_NO_END = re.compile(
    r"(?:\b(?:dr|mr|mrs|ms|prof|st|vs|approx|no|fig|e\.g|i\.e|etc|pt|[a-z])|^\s*\d+|\s\d{1,2})\.$", re.I
)
_ENDS = (".", "!", "?", ":")
_VOWEL = re.compile(r"[aeiou]", re.I)
_ARTICLE = re.compile(r"\b(an?)(\s+)$", re.I)


def typos(text: str, share: float, random: Random) -> str:
    """One slip of the finger in a share of the words of five letters or more; the first letter stays."""
    return _words_changed(text, share, random, slip)


def ocr(text: str, share: float, random: Random) -> str:
    """One misread letter in a share of the words, as scanners misread them; never a digit."""
    return _words_changed(text, share, random, _misread)


def case(text: str, share: float, random: Random) -> str:
    """Capitals lost or gained: all words in small letters, all in capitals, or a share of them in capitals.

    A word that holds a capital after its first letter is taken for an abbreviation and stays: MS is no ms.
    """
    found = [one.span() for one in _WORD.finditer(text) if one.group()[1:].islower()]
    found = clear_of_facts(text, found)
    how = random.choice(("lower", "upper", "some"))
    if how == "some":
        found = _drawn(found, text, share, random)
    change = str.lower if how == "lower" else str.upper
    return _replaced(text, [(span, change(text[slice(*span)])) for span in found])


def order(text: str, share: float, random: Random) -> str:
    """The sentences of each paragraph in another order; none leaves its section or its line."""
    edges = {0, len(text)}
    for section in find_sections(text):
        edges |= {section.start, section.body}
    edges |= {one.end() for one in re.finditer("\n", text)}
    cuts = sorted(edges)
    parts = [(text[start:end], text[:start].rstrip(" \t\n")) for start, end in pairwise(cuts)]
    # A line may go on with the sentence of the line before it, which then keeps its end.
    return "".join(_reordered(part, bool(before) and not before.endswith(_ENDS), random) for part, before in parts)


@dataclass(frozen=True)
class Phrases:
    """Phrases that can stand for each other.

    Attributes:
        others: for each phrase in small letters, what it may become.
    """

    others: Mapping[str, tuple[str, ...]]
    _pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        longest_first = sorted(self.others, key=lambda one: (-len(one), one))
        choices = "|".join(r"\s+".join(map(re.escape, one.split())) for one in longest_first) or r"(?!)"
        pattern = re.compile(rf"(?<![\w'’.@/-])(?:{choices})(?![\w'’@/-])", re.IGNORECASE)
        object.__setattr__(self, "_pattern", pattern)

    @classmethod
    def of(cls, groups: Iterable[Sequence[str]], unwanted: re.Pattern[str] | None = None) -> Phrases:
        """Phrases from groups of synonyms; what holds an ``unwanted`` one (a label's name) is never put in."""
        others: dict[str, list[str]] = {}
        for group in groups:
            for one in group:
                fresh = [
                    other
                    for other in group
                    if other != one and not (unwanted and unwanted.search(other)) and facts(other) == facts(one)
                ]
                others.setdefault(one.casefold(), []).extend(fresh)
        return cls({one: tuple(dict.fromkeys(fresh)) for one, fresh in others.items() if fresh})

    def found(self, text: str, random: Random) -> list[tuple[Span, str]]:
        """Every place where one of the phrases stands, with one that can stand for it."""
        places = clear_of_facts(text, [one.span() for one in self._pattern.finditer(text)])
        return [(span, random.choice(self.others[" ".join(text[slice(*span)].split()).casefold()])) for span in places]

    def vary(self, text: str, share: float, random: Random) -> str:
        """Replace a share of the words (one at least) by phrases that can stand for them."""
        fresh = dict(self.found(text, random))
        edits: list[tuple[Span, str]] = []
        for start, end in _drawn(list(fresh), text, share, random):
            edits += _fitted(text, start, end, _cased(fresh[start, end], text[start:end]))
        return _replaced(text, edits)


class Abbreviations:
    """Short forms written out, and long ones shortened, by the rules that cleaning expands by.

    Args:
        unwanted: what holds one of these (a label's name) is never put in.
    """

    def __init__(self, unwanted: re.Pattern[str] | None = None) -> None:
        self._unwanted = unwanted
        shorter: dict[str, list[str]] = {}
        for short, long in short_forms():
            if self._wanted(long, short):
                shorter.setdefault(long.casefold(), []).append(short)
        self._shorter = Phrases({long: tuple(short) for long, short in shorter.items()})

    def vary(self, text: str, share: float, random: Random) -> str:
        """Write out or shorten a share of the words, one at least."""
        fresh = {
            (one.start, one.end): one.replacement
            for one in expand_abbreviations(text).edits
            if self._wanted(one.original, one.replacement)
        }
        found = clear_of_facts(text, sorted(fresh))
        for span, short in self._shorter.found(text, random):
            if all(span[1] <= start or end <= span[0] for start, end in found):
                found.append(span)
                fresh[span] = short
        return _replaced(text, [(span, fresh[span]) for span in _drawn(sorted(found), text, share, random)])

    def _wanted(self, old: str, new: str) -> bool:
        return not (self._unwanted and self._unwanted.search(new)) and facts(old) == facts(new)


def short_forms() -> tuple[tuple[str, str], ...]:
    """Each short form with what it stands for, those of one meaning only."""
    rules = read_part("abbreviations", "en")
    plain = rules["any"]
    return (*((_capitals(short, short[:-1] in plain), long) for short, long in plain.items()), *rules["exact"].items())


def _capitals(short: str, plural: bool) -> str:
    """A short form as it is usually written: UTI, and of several UTIs."""
    return f"{short[:-1].upper()}s" if plural and short.endswith("s") else short.upper()


def medical_groups() -> tuple[tuple[str, ...], ...]:
    """The groups of the medical synonym table."""
    return tuple(tuple(group) for group in read_table("synonyms_en")["groups"])


def _fitted(text: str, start: int, end: int, new: str) -> list[tuple[Span, str]]:
    """The edit, and a change of "a" to "an" before it where the new phrase asks for it."""
    edits = [((start, end), new)]
    article = _ARTICLE.search(text, max(start - 8, 0), start)
    if article and bool(_VOWEL.match(new)) != bool(_VOWEL.match(text[start])):
        plain = "an" if _VOWEL.match(new) else "a"
        edits.append(((article.start(1), article.end(1)), _cased(plain, article.group(1))))
    return edits


def _cased(new: str, old: str) -> str:
    """The new word as the old one was written: in capitals, or with a first one."""
    if len(old) > 1 and old.isupper():
        return new.upper()
    return new[:1].upper() + new[1:] if old[:1].isupper() else new


def _words_changed(text: str, share: float, random: Random, change: Callable[[str, Random], str]) -> str:
    found = clear_of_facts(text, [one.span() for one in _PLAIN_WORD.finditer(text)])
    drawn = _drawn(found, text, share, random)
    return _replaced(text, [(span, change(text[slice(*span)], random)) for span in drawn])


def _drawn(spans: Sequence[Span], text: str, share: float, random: Random) -> list[Span]:
    """As many of the spans as the share of the text's words, one at least."""
    count = min(max(round(share * len(text.split())), 1), len(spans))
    return sorted(random.sample(spans, count))


def _replaced(text: str, edits: Iterable[tuple[Span, str]]) -> str:
    for (start, end), new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text


@cache
def _neighbours() -> dict[str, str]:
    found: dict[str, str] = read_table("typos_en")["neighbours"]
    return found


@cache
def _confusions() -> dict[str, list[str]]:
    found: dict[str, list[str]] = read_table("ocr")["confusions"]
    return found


def slip(word: str, random: Random) -> str:
    """A letter doubled, lost, swapped with the next, or its neighbour on the keyboard."""
    place = random.randrange(1, len(word) - 1)
    one, after = word[place], word[place + 1]
    near = random.choice(_neighbours().get(one, one))
    fresh = random.choice((after + one, one + one + after, after, near + after))
    return word[:place] + fresh + word[place + 2 :]


def _misread(word: str, random: Random) -> str:
    places = [(place, old) for old in _confusions() for place in range(1, len(word)) if word.startswith(old, place)]
    if not places:
        return word
    place, old = random.choice(places)
    return word[:place] + random.choice(_confusions()[old]) + word[place + len(old) :]


def sentences(line: str) -> list[str]:
    """The sentences of one paragraph, without the blanks between them."""
    found: list[str] = []
    start = 0
    for gap in _SENTENCE_END.finditer(line):
        if not _NO_END.search(line[start : gap.start()]):
            found.append(line[start : gap.start()])
            start = gap.end()
    return [*found, line[start:]]


def _reordered(line: str, goes_on: bool, random: Random) -> str:
    body = line.strip()
    found = sentences(body)
    fixed, free = found[:goes_on], found[goes_on:]
    if len(free) < 2 or not body.endswith((".", "!", "?")):  # an open end would run into the sentence after it
        return line
    random.shuffle(free)
    before = line[: len(line) - len(line.lstrip())]
    return before + " ".join(fixed + free) + line[len(line.rstrip()) :]


METHODS: dict[str, Callable[[str, float, Random], str]] = {"typos": typos, "ocr": ocr, "case": case, "order": order}
