"""What a rule changed in a text, as a list that can be shown, counted and undone.

A rule is a function of one text alone that returns edits; it never rewrites by itself. So whatever cleaning did can be
taken back to the letter, and whatever must not be touched can be checked against what was.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache
from itertools import accumulate

from bedside.core.errors import DataError
from bedside.data.rules import read_table

_PIECES = re.compile(r"[^\W\d_]+|\d+|\s+|_+|[^\w\s]+")
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]")
# A number with its sign, its range or fraction and what follows it; or a word, with what ties it: w/o, b.i.d., don't.
_FACT = re.compile(
    r"(?P<number>[<>≤≥=~±+−-]*\s?\d+(?:[.,:/×x^]\d+|\s?[–−-]\s?\d+)*[½¼¾%°²³]*|[±½¼¾])(?=\s?(?P<unit>[^\W\d_]*))"
    r"|(?P<word>[^\W\d_]+(?:[.'’/][^\W\d_]+)*\.?)"
)


@dataclass(frozen=True)
class Edit:
    """One replacement; offsets are code points of the text before any of its edits, and the end is exclusive.

    Attributes:
        start: where the replaced part begins.
        end: where it ends; equal to ``start`` where something is put in.
        original: what stood there.
        replacement: what stands there now.
        rule: what changed it, for the count: ``mojibake``, ``abbreviations``, ``boilerplate``.
    """

    start: int
    end: int
    original: str
    replacement: str
    rule: str


def apply(text: str, edits: Iterable[Edit]) -> str:
    """The text with its edits made.

    Raises:
        DataError: an edit is not of this text, or two edits overlap; the offsets are named, the text is not.
    """
    parts, at = [], 0
    for one in _ordered(edits):
        if one.start < at or text[one.start : one.end] != one.original or one.end < one.start:
            raise DataError(
                f"the edit at {one.start}–{one.end} (rule '{one.rule}') does not fit this text of {len(text):,} "
                "characters; edits fit only the text that they were made from, and do not overlap."
            )
        parts += [text[at : one.start], one.replacement]
        at = one.end
    return "".join([*parts, text[at:]])


def restore(text: str, edits: Iterable[Edit]) -> str:
    """The text as it was before its edits.

    Raises:
        DataError: the text is not what these edits lead to.
    """
    return apply(text, undone(_ordered(edits)))


def undone(edits: Sequence[Edit]) -> list[Edit]:
    """The edits, in order, that take the edited text back."""
    back, shift = [], 0
    for one in edits:
        start = one.start + shift
        back.append(Edit(start, start + len(one.replacement), one.replacement, one.original, one.rule))
        shift += len(one.replacement) - len(one.original)
    return back


def _ordered(edits: Iterable[Edit]) -> list[Edit]:
    return sorted(edits, key=lambda one: (one.start, one.end))


def untouchable(text: str) -> Counter[str]:
    """What no cleaning may change: numbers with unit, sign and range, negations, sides, doses; how often each.

    White space and marks that nobody sees are left aside, so ``5  mg`` and ``5 mg`` are one. Letters in the wrong
    encoding are not what was written: compare after they were put right.
    """
    words, units = _kept_words()
    plain = " ".join(_UNSEEN.sub("", unicodedata.normalize("NFC", text)).split())
    found: Counter[str] = Counter()
    for one in _FACT.finditer(plain):
        if one["number"]:
            unit = one["unit"] if one["unit"] in units else ""
            found[re.sub(r"\s", "", one["number"]) + unit] += 1
        else:
            word = one["word"].casefold().replace("’", "'")
            word = word if word in words else word.rstrip(".")
            if word in words or word.endswith("n't"):
                found[word] += 1
    return found


@cache
def _kept_words() -> tuple[frozenset[str], frozenset[str]]:
    facts, more = read_table("facts"), read_table("untouchable")
    return frozenset([*facts["negations"], *more["sides"], *more["doses"]]), frozenset(facts["units"])


def differences(before: str, after: str) -> list[Edit]:
    """Where two versions of a text differ, word by word; ``apply(before, ...)`` is ``after``."""
    old, new = _PIECES.findall(before), _PIECES.findall(after)
    starts = [0, *accumulate(map(len, old))]
    return [
        Edit(starts[a], starts[b], "".join(old[a:b]), "".join(new[c:d]), "difference")
        for tag, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
        if tag != "equal"
    ]


def as_lines(before: str, after: str, around: int = 30) -> list[str]:
    """The differences as lines to read: what stood there in ``[-…-]``, what stands there now in ``{+…+}``.

    Marks that nobody sees are written as escapes. The lines hold the text of a note: they are for a terminal, not for
    a log or a report.
    """
    lines = []
    for one in differences(before, after):
        old, new = f"[-{one.original}-]" if one.original else "", f"{{+{one.replacement}+}}" if one.replacement else ""
        lines.append(_seen(f"…{before[max(0, one.start - around) : one.start]}{old}{new}{before[one.end :][:around]}…"))
    return lines


def _seen(text: str) -> str:
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in text)
