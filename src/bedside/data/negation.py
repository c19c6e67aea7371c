"""What a note says of the patient now, and what it only mentions: denied, of a relative, hypothetical, of the past.

The method is that of NegEx (Chapman et al. 2001) and ConText (Harkema et al. 2009): literal cues, each with a scope
that ends with the sentence or at a word that turns it. Cues are rule data, a file a language. It reads words, not
grammar: a list after "no" is taken to be denied to its end, unless a word of the rules says otherwise. It refuses
languages without rules, because the cues of another language would be worse than none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from bedside.data.rules import compared, pattern, read_part
from bedside.data.sections import PREAMBLE, Section, find_sections

KINDS = ("family", "hypothetical", "negated", "historical")  # the first that holds is said
PRESENT = "present"
_FAMILY = "family history"
# A sentence ends at a stop before a space, at a semicolon, at the end of a line; not after these short forms.
_STOP = re.compile(r"[.!](?=\s|$)|(?<=[\w)])\?(?=\s|$)|;|\n+")
_SHORT = re.compile(
    r"(?:^|[\s(])(?:dr|mr|mrs|ms|dra|sr|sra|mme|prof|vs|approx|e\.g|i\.e|p\.\s?ej|etc|[a-z](?:\.[a-z])+)$", re.I
)
_NUMBER = re.compile(r"\d+")
_TOKEN = re.compile(r"\w+|[^\w\s]")
_ITEM_EDGE = re.compile(r"[,/(]")
_AFTER_MARK = r"(?=\s*(?:[,;/.]|$))"


@dataclass(frozen=True)
class Scope:
    """A part of a text that is not about the patient now.

    Attributes:
        start: where it begins, in code points; a cue before it belongs to it.
        end: where it ends, exclusive; a cue after it belongs to it.
        kind: ``negated``, ``family``, ``hypothetical`` (feared, sought, advised) or ``historical``.
        cue: the words that say so, as written; the heading where a whole section does.
    """

    start: int
    end: int
    kind: str
    cue: str


@dataclass(frozen=True)
class _Cues:
    first: Mapping[str, re.Pattern[str]]  # the cues that begin with a word or sign, the longest first
    before: Mapping[str, str]  # kind by cue as compared
    after: Mapping[str, str]
    stops: frozenset[str]  # words that end a scope
    family_stops: frozenset[str]
    near: frozenset[str]  # cues that speak of one item of a list
    marks: re.Pattern[str]
    affirmed: frozenset[str]


@dataclass(frozen=True)
class _Cue:
    start: int
    end: int
    name: str  # as compared
    text: str


def assertions(text: str, language: str = "en") -> list[Scope]:
    """The parts of a text that are denied, of relatives, hypothetical or of the past; they may overlap.

    Args:
        text: one note.
        language: whose cues to use.

    Raises:
        DataError: there are no rules for that language.
    """
    cues = _cues(language)
    sections = find_sections(text, language)
    scopes = [one for section in sections if section.name == _FAMILY for one in _of_relatives(text, section)]
    starts = [one.start for one in sections if one.name != PREAMBLE and not _ticked(text, one, cues)]
    for start, end in _sentences(text, starts):
        scopes += _sentence(text, start, end, cues)
    return sorted(set(scopes), key=lambda one: (one.start, one.end, one.kind, one.cue))


def status_of(text: str, start: int, end: int, language: str = "en") -> str:
    """What a note says of ``text[start:end]``: the first of ``KINDS`` that holds there, else ``present``."""
    return status_in(assertions(text, language), start, end)


def status_in(scopes: Iterable[Scope], start: int, end: int) -> str:
    """The same, for several places of a text whose scopes are known."""
    held = {one.kind for one in scopes if one.start <= start and end <= one.end}
    return next((kind for kind in KINDS if kind in held), PRESENT)


def _ticked(text: str, section: Section, cues: _Cues) -> bool:
    """Whether a heading is one by its looks only: "consolidation on CXR: absent"."""
    said = next(_found(text, section.body, section.end, cues), None)
    if said is None or said.start > section.body or said.name not in cues.after:
        return False
    return _closes(text, said.end, section.end)


def _of_relatives(text: str, section: Section) -> list[Scope]:
    """A section on the family's history: whole where its heading stands alone, else its line; inside a line, nothing.

    A heading within a line is a cue of its sentence; what follows in other sentences may be about the patient.
    """
    line = text.rfind("\n", 0, section.start + 1) + 1
    if text[line : section.start].strip():
        return []
    rest = text.find("\n", section.body, section.end)
    alone = rest < 0 or not text[section.body : rest].strip() or "\n" in text[section.start : section.body]
    end = section.end if alone else rest
    return [Scope(section.body, end, "family", section.heading)] if end > section.body else []


def _sentences(text: str, starts: list[int]) -> list[tuple[int, int]]:
    """Where each sentence begins and ends; a heading begins one too."""
    edges = {0, len(text), *starts}
    for found in _STOP.finditer(text):
        if found[0] != "." or not _SHORT.search(text, max(0, found.start() - 12), found.start()):
            if found[0][0] == "\n" and _runs_on(text, found.start(), found.end()):
                continue
            edges.add(found.end())
    places = sorted(edges)
    return list(pairwise(places))


def _runs_on(text: str, start: int, end: int) -> bool:
    """Whether a line was broken in the middle of a sentence: no stop before, a small letter after."""
    before = text[:start].rstrip(" ")[-1:] if start else ""
    return end - start == 1 and (before.isalnum() or before == ",") and text[end : end + 1].islower()


def _sentence(text: str, start: int, end: int, cues: _Cues) -> list[Scope]:
    found = list(_found(text, start, end, cues))
    marks = [_Cue(one.start(), one.end(), _compared(one[0]), one[0]) for one in cues.marks.finditer(text, start, end)]
    places = {one.start for one in marks}
    found = [one for one in found if one.start not in places]
    affirmed = [_item(text, start, one) for one in marks if one.name in cues.affirmed]
    scopes = [
        Scope(_item(text, start, one), one.start, "negated", one.text) for one in marks if one.name not in cues.affirmed
    ]
    for at, one in enumerate(found):
        before, after = cues.before.get(one.name), cues.after.get(one.name)
        if before and after:
            before, after = (None, after) if _closes(text, one.end, end) else (before, None)
        if before:
            stop = _forward(text, one, found[at + 1 :], before, end, cues)
            stop = min([stop, *(place for place in affirmed if place > one.end)]) if before == "negated" else stop
            scopes.append(Scope(one.start, stop, before, one.text))
        elif after:
            scopes.append(Scope(_backward(one, found[:at], start, cues), one.end, after, one.text))
    return scopes


def _found(text: str, start: int, end: int, cues: _Cues) -> Iterator[_Cue]:
    """The cues of a sentence; of two that overlap the first, of two at one place the longer."""
    at = start
    for token in _TOKEN.finditer(text, start, end):
        pattern = cues.first.get(_compared(token[0])) if token.start() >= at else None
        one = pattern.match(text, token.start(), end) if pattern else None
        if one:
            at = one.end()
            yield _Cue(one.start(), at, _compared(one[0]), one[0])


def _closes(text: str, at: int, end: int) -> bool:
    """Whether a cue stands at the end of what it speaks of."""
    rest = text[at:end].lstrip(" \t")
    return not rest or rest[0] in ".,;!)\n/"


def _forward(text: str, cue: _Cue, later: list[_Cue], kind: str, end: int, cues: _Cues) -> int:
    """Where the scope of a cue that speaks of what follows ends."""
    heading = text[cue.end : cue.end + 1] == ":" and kind == "historical"  # "Last visit: 54M presents with ..."
    stops = cues.family_stops if kind == "family" or heading else cues.stops
    if cue.name in cues.near:
        end = min([end, *(one.start() for one in _ITEM_EDGE.finditer(text, cue.end, end))])
    for one in later:
        between = text[cue.end : one.start].strip(" \n:")
        new = one.name in cues.before and kind != "family" and between.endswith(",")
        if between and (one.name in stops or new):
            return min(one.start, end)
    return end


def _backward(cue: _Cue, earlier: list[_Cue], start: int, cues: _Cues) -> int:
    """Where the scope of a cue that speaks of what precedes begins."""
    ends = [one.end for one in earlier if one.name in cues.stops or one.name in cues.after]
    return max([start, *ends])


def _item(text: str, start: int, mark: _Cue) -> int:
    """Where the item of a list that a mark closes begins."""
    edges = [one.end() for one in _ITEM_EDGE.finditer(text, start, mark.start)]
    return max([start, *edges])


def _compared(cue: str) -> str:
    return _NUMBER.sub("#", compared(cue))


def _bounded(cue: str) -> str:
    """A cue as a pattern that does not begin or end inside a word."""
    return (
        ("(?<!\\w)" if cue[0].isalnum() or cue[0] in "#?-" else "")
        + pattern(cue)
        + ("(?!\\w)" if cue[-1].isalnum() or cue[-1] == "#" else "")
    )


def _marks(item: Mapping[str, list[str]]) -> re.Pattern[str]:
    every = sorted({*item["negated"], *item["affirmed"]}, key=lambda one: (-len(one), one))
    return re.compile(rf"(?:(?<=\s)|(?<=:))(?:{'|'.join(map(re.escape, every))}){_AFTER_MARK}", re.IGNORECASE)


@cache
def _cues(language: str) -> _Cues:
    rules = read_part("negation", language)
    before, after = (
        {_compared(cue): kind for kind in reversed(KINDS) for cue in rules[side].get(kind, ())}
        for side in ("before", "after")
    )
    relatives = rules.get("relatives", {"words": (), "reporting": (), "together": ()})
    before |= {_compared(word): "family" for word in relatives["words"]}
    together = [f"{phrase} {word}" for phrase in relatives["together"] for word in relatives["words"]]
    plain = {*before, *after, *rules["termination"], *rules["family_end"], *rules["pseudo"], *together}
    plain -= {_compared(word) for word in relatives["words"]}
    options = [(cue, _bounded(cue)) for cue in map(_compared, plain)]
    if relatives["words"]:
        verbs = "|".join(pattern(verb) for verb in relatives["reporting"])
        options += [(_compared(word), rf"{_bounded(word)}(?!\s+(?:{verbs})\b)") for word in relatives["words"]]
    first: dict[str, list[tuple[str, str]]] = {}
    for cue, option in sorted(options, key=lambda pair: (-len(pair[0]), pair[0])):
        first.setdefault(_TOKEN.findall(cue)[0], []).append((cue, option))
    return _Cues(
        {token: re.compile("|".join(one for _, one in pairs), re.IGNORECASE) for token, pairs in first.items()},
        before,
        after,
        frozenset(map(_compared, rules["termination"])),
        frozenset(map(_compared, rules["family_end"])),
        frozenset(map(_compared, rules.get("near", ()))),
        _marks(rules["item"]),
        frozenset(map(_compared, rules["item"]["affirmed"])),
    )
