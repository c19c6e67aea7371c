"""What a varied text may never lose: numbers with what they measure, units, negations, sides.

The rule is strict and blind to meaning: the facts of a text are a multiset of what is written, and a text whose
multiset differs is discarded. A number is kept with its sign, its case and the word after it; a word of negation or
doubt with the word after it; so that neither can be moved to something else.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from bedside.data.rules import read_table

Fact = tuple[str, ...]
Span = tuple[int, int]

# A run of letters and digits with what ties them together: 120/80, 38.5, 3-5, w/o, don't, left-sided, 50%.
_TOKEN = re.compile(r"[^\W_]+(?:(?:[-.,:/'’^*×x+_–]+|&)[^\W_]+)*[%°]?|[%°±]")
_SIGN = re.compile(r"[<>≤≥=~±+−$£€#-]+\s*$")
_GAP = re.compile(r"[\s-]*\Z")  # what may lie between a word and the one that belongs to it
_DIGIT = re.compile(r"\d")
_NEGATED = re.compile(r"n['’]t$|^non(?!e)[a-z]{4,}$")


@dataclass(frozen=True)
class Token:
    """A word or number of a text; offsets are code points."""

    start: int
    end: int
    text: str


@cache
def _lists() -> dict[str, frozenset[str]]:
    return {name: frozenset(words) for name, words in read_table("facts").items() if name not in {"date", "sources"}}


def tokens(text: str) -> list[Token]:
    """The words and numbers of a text, in order."""
    return [Token(one.start(), one.end(), one.group()) for one in _TOKEN.finditer(text)]


def facts(text: str) -> Counter[Fact]:
    """What the text says in numbers, units, negations and sides: how often each, wherever it stands."""
    return Counter(fact for fact, _ in _found(text))


def unchanged_facts(before: str, after: str) -> bool:
    """Whether both texts hold the same numbers, units, negations and sides, equally often."""
    return facts(before) == facts(after)


def protected(text: str) -> list[Span]:
    """The places that must stay as they are for the facts to stay: sorted, some may overlap."""
    return sorted(span for _, span in _found(text))


def clear_of_facts(text: str, spans: Sequence[Span]) -> list[Span]:
    """The spans that no protected place touches."""
    kept = protected(text)
    starts = [start for start, _ in kept]
    reach = [0]
    for _, end in kept:
        reach.append(max(reach[-1], end))
    # The last protected place that begins before a span's end; the farthest that any of them reaches decides.
    return [(start, end) for start, end in spans if reach[bisect_right(starts, end - 1)] <= start]


def _found(text: str) -> Iterator[tuple[Fact, Span]]:
    """Every fact with its place, the word that belongs to it included."""
    found = tokens(text)
    for place, token in enumerate(found):
        following = found[place + 1] if place + 1 < len(found) else None
        if following and not _GAP.match(text, token.end, following.start):
            following = None
        kind = _kind(token.text)
        if kind is None:
            continue
        start = token.start
        if kind == "number":
            sign = _SIGN.search(text, max(start - 3, 0), start)
            start = sign.start() if sign else start
        binds = kind in {"number", "negation", "doubt"} and following is not None
        end = following.end if binds and following else token.end
        after = following.text if binds and following else ""
        # Only a number and a unit are a matter of case: mg is no MG. A negation means the same in capitals.
        own = text[start : token.end] if kind in {"number", "unit"} else token.text.casefold().replace("’", "'")
        yield (kind, own, after.casefold() if kind != "number" else after), (start, end)


def _kind(word: str) -> str | None:
    if _DIGIT.search(word) or word in {"%", "°", "±"}:
        return "number"
    lists, lowered = _lists(), word.casefold()
    if word in lists["units"]:
        return "unit"
    parts = {lowered, *re.split(r"[-–]", lowered)}
    for name, kind in (("numbers", "quantity"), ("negations", "negation"), ("doubts", "doubt"), ("sides", "side")):
        if parts & lists[name]:
            return kind
    return "negation" if any(map(_NEGATED.search, parts)) else None
