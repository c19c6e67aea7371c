"""Which language a text is written in, so that the rules of the right one are applied, or none.

Function words are counted, and the endings and letters that only one language has. It knows the languages that
have rules; it says ``other`` where the words of another language or another script prevail, and ``unknown`` where there
is too little to go by or two languages lie mixed. It refuses to guess: a wrong language means wrong rules for negation.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from bedside.data.rules import LANGUAGES, read_other_languages, read_rules

OTHER = "other"
UNKNOWN = "unknown"
# A word, or a word that French cuts short before a vowel; what touches a digit ("C5-C6", "3d") is no word.
_WORD = re.compile(r"(?<![\w'’])(?:qu|[cdjlmnst])['’]|(?<![\d_])[^\W\d_]+(?![\d_])")
_LATIN = re.compile(r"[A-Za-zÀ-ɏ\u1e00-\u1eff]")
_FEWEST_WORDS = 4  # under this many words nothing is said
_FEWEST_POINTS = 2.0  # at least two pieces of evidence
_LEAD = 1.35  # the first language must have this many times the points of the second
_FAINT = 0.06  # points per word under which a Latin text shows no language that is known here
_PIECE = 40  # words of a piece; a text whose pieces disagree is mixed
_LOOKED_AT = 2_000  # words at the beginning of a text that are looked at
_ENDING = 0.5  # an ending or a letter says less than a whole word


@dataclass(frozen=True)
class Language:
    """What a text is written in.

    Attributes:
        code: ``en``, ``es``, ``fr``, ``other`` or ``unknown``.
        points: evidence for the code, a word about one point; 0 where it is unknown.
        words: how many words were looked at.
    """

    code: str
    points: float
    words: int


def detect_language(text: str) -> Language:
    """The language of one text."""
    words = [one.casefold().replace("’", "'") for one in _WORD.findall(text)][:_LOOKED_AT]
    if len(words) < _FEWEST_WORDS:
        return Language(_few(words), 0.0, len(words))
    if _foreign_script(words):
        return Language(OTHER, float(len(words)), len(words))
    code, points = _winner(words)
    if code in LANGUAGES and not _of_one_mind(words, code):
        return Language(UNKNOWN, 0.0, len(words))
    return Language(code, points, len(words))


def detect_languages(texts: Iterable[str]) -> Counter[str]:
    """How many texts are in each language."""
    return Counter(detect_language(text).code for text in texts)


def _few(words: list[str]) -> str:
    return OTHER if words and _foreign_script(words) else UNKNOWN


def _foreign_script(words: list[str]) -> bool:
    latin = sum(_LATIN.match(word) is not None for word in words)
    return latin < len(words) / 2


def _winner(words: list[str]) -> tuple[str, float]:
    """The language with most points, or what is said where none leads."""
    points = _points(Counter(words))
    ranked = sorted(points.items(), key=lambda item: -item[1])
    (first, most), (second, next_most) = ranked[0], ranked[1]
    if most < max(_FEWEST_POINTS, _FAINT * len(words)):
        return UNKNOWN, 0.0
    both_foreign = first not in LANGUAGES and second not in LANGUAGES
    if most < _LEAD * next_most and not both_foreign:
        return UNKNOWN, 0.0
    return (first if first in LANGUAGES else OTHER), most


def _of_one_mind(words: list[str], code: str) -> bool:
    """Whether at most one long piece in four is in another language."""
    pieces = [words[at : at + _PIECE] for at in range(0, len(words), _PIECE)]
    winners = [_winner(piece)[0] for piece in pieces if len(piece) >= _PIECE // 2]
    strangers = sum(one not in (code, UNKNOWN) for one in winners)
    return strangers <= len(winners) / 4


def _points(counts: Mapping[str, int]) -> dict[str, float]:
    table, endings = _weights()
    points = dict.fromkeys(_all_words(), 0.0)
    for word, count in counts.items():
        for code, weight in table.get(word, ()):
            points[code] += weight * count
        for code, ends in endings:
            if word not in table and len(word) > 3 and word.endswith(ends):
                points[code] += _ENDING * count
    return points


@cache
def _all_words() -> dict[str, tuple[str, ...]]:
    ours = {code: tuple(read_rules(code)["function_words"]) for code in LANGUAGES}
    return ours | {code: tuple(words) for code, words in read_other_languages().items()}


@cache
def _weights() -> tuple[dict[str, tuple[tuple[str, float], ...]], tuple[tuple[str, tuple[str, ...]], ...]]:
    """Per word what it says for each language, and each language's endings.

    A word that several languages share speaks for each of them less: ``no`` is English, Spanish, Portuguese, Catalan.
    """
    words = {code: set(one) for code, one in _all_words().items()}
    shared = Counter(word for one in words.values() for word in one)
    table: dict[str, list[tuple[str, float]]] = {}
    for code, one in words.items():
        for word in one:
            table.setdefault(word, []).append((code, 1.0 / shared[word] ** 0.5))
    endings = tuple((code, tuple(read_rules(code)["endings"])) for code in LANGUAGES)
    return {word: tuple(pairs) for word, pairs in table.items()}, endings
