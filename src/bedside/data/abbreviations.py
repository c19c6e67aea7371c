"""Short forms written out, where it is certain what they stand for.

Which form stands for what is rule data, a file a language. A form with several usual meanings is expanded only where
words near it speak for one of them and for no other; else it is left and counted. Forms that hold a side, a negation or
a dose have no rule, and one that touches a number, a unit or an identifier is left. Every change can be undone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from bedside.data.edits import Edit
from bedside.data.rules import read_part

RULE = "abbreviations"
# A form stands alone: joined by a sign to something else (A-MI-12, x/CA, CP@home, MS.doc) it may be part of a name.
_TOKEN = re.compile(r"(?<![\w@#/\\&+.'’-])[^\W\d_][^\W_]*(?![\w@#/\\&+'’-]|\.\w)")
_AFTER_NUMBER = re.compile(r"\d\s?$")
_WORD = re.compile(r"[^\W_]+(?:[-'’][^\W_]+)*")
_REACH = 160  # characters in which the words near a form are looked for


@dataclass(frozen=True)
class Expansion:
    """What could be written out of one text.

    Attributes:
        edits: the changes, in order.
        expanded: how often each form was expanded.
        ambiguous: how often each form was left because nothing near it decides.
    """

    edits: list[Edit] = field(default_factory=list)
    expanded: Counter[str] = field(default_factory=Counter)
    ambiguous: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Rules:
    exact: Mapping[str, str]
    lower: Mapping[str, str]  # read in capitals or in small letters
    ambiguous: Mapping[str, tuple[tuple[str, frozenset[str]], ...]]  # meanings, each with the words that speak for it
    window: int


def expand_abbreviations(text: str, language: str = "en") -> Expansion:
    """The short forms of one text that can be written out.

    Args:
        text: one note.
        language: whose rules to use.

    Raises:
        DataError: there are no rules for that language.
    """
    rules = _rules(language)
    done = Expansion()
    for token in _TOKEN.finditer(text):
        short = token[0]
        if short not in rules.ambiguous and _sure(short, rules) is None:
            continue
        if _AFTER_NUMBER.search(text, max(0, token.start() - 2), token.start()):
            continue  # "40 PT" may be a unit, "12 MS" milliseconds
        long = _meaning(text, token, rules)
        if long is None:
            done.ambiguous[short] += 1
        else:
            done.edits.append(Edit(token.start(), token.end(), short, long, RULE))
            done.expanded[short] += 1
    return done


def _sure(short: str, rules: _Rules) -> str | None:
    """The one meaning of a form; in capitals (a plural's s aside) or small letters where the rules let both be."""
    either = short.islower() or short.removesuffix("s").isupper()
    return rules.exact.get(short) or (rules.lower.get(short.lower()) if either else None)


def _meaning(text: str, token: re.Match[str], rules: _Rules) -> str | None:
    """What a form stands for here, or ``None`` where that is open."""
    meanings = rules.ambiguous.get(token[0])
    if meanings is None:
        return _sure(token[0], rules)
    before = _WORD.findall(text, max(0, token.start() - _REACH), token.start())[-rules.window :]
    after = _WORD.findall(text, token.end(), token.end() + _REACH)[: rules.window]
    near = {word.casefold() for word in (*before, *after)}
    likely = [long for long, words in meanings if words & near]
    return likely[0] if len(likely) == 1 else None


@cache
def _rules(language: str) -> _Rules:
    rules = read_part("abbreviations", language)
    return _Rules(
        rules.get("exact", {}),
        rules.get("any", {}),
        {
            one["short"]: tuple(
                (long, frozenset(word.casefold() for word in words)) for long, words in one["meanings"].items()
            )
            for one in (*rules.get("ambiguous", ()), *({"short": short, "meanings": {}} for short in rules["alone"]))
        },
        rules["window"],
    )
