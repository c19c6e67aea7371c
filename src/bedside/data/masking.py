"""What a label is called in a text: its name, what is in parentheses, its initials, its code, and the synonyms given.

Masking replaces every such phrase of *every* label by one neutral token, whether the note states, denies or suspects
it: when the model is asked nobody knows the label, so nothing else could be done alike then. The phrases are words of
the label set and of the protocol, never of a note, so they may stand in reports and travel with a bundle. Numbers that
are no ICD-10 code, and words of one or two letters that nobody named, are refused: they would take "2 tablets" and the
"PE" of an examination along.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bedside.protocol import AuditSection, CleanSection

TOKEN = "[DIAGNOSIS]"  # noqa: S105
KINDS = ("name", "synonym", "abbreviation", "code")
CODE = re.compile(r"(?<![\w.])[A-TV-Z]\d[0-9A-Z](?:\.[0-9A-Z]{1,4})?(?![\w]|\.\w)")  # as ICD-10-CM codes are built
_PARENTHESES = re.compile(r"\s*[(\[]([^()\[\]]*)[)\]]\s*")
_FEWEST_LETTERS = 3
_PASSED_OVER = frozenset(
    {"of", "the", "and", "or", "in", "with", "without", "due", "to", "a", "an", "for", "by", "on", "not"}
)


@dataclass(frozen=True)
class Phrase:
    """One way to say a label.

    Attributes:
        text: as it is written; matched as whole words, whatever the white space.
        kind: ``name``, ``synonym`` (given), ``abbreviation`` (made of initials, or in capitals) or ``code``.
        exact: whether capitals count, so that AIDS is not "aids" and ALL not "all".
    """

    text: str
    kind: str
    exact: bool


def phrases_of(
    labels: Iterable[str], synonyms: Mapping[str, Sequence[str]], codes: Mapping[str, str]
) -> dict[str, tuple[Phrase, ...]]:
    """The ways to say each label.

    Args:
        labels: as they stand in the cohort.
        synonyms: of ``audit.synonyms``: by label, what else it is called.
        codes: of ``package.codes``: by label, its ICD-10 code.
    """
    return {label: _phrases(label, synonyms.get(label, ()), codes.get(label)) for label in labels}


def _phrases(label: str, synonyms: Sequence[str], code: str | None) -> tuple[Phrase, ...]:
    found: dict[str, Phrase] = {}
    inside = [part.strip() for part in _PARENTHESES.findall(label)]
    outside = " ".join(_PARENTHESES.sub(" ", label).split())
    for name in (label, outside, *inside):
        _add(found, name, "name")
    for name in synonyms:
        _add(found, name, "synonym", fewest=1)
    _add(found, _initials(outside), "abbreviation")
    if code:
        found.setdefault(code.casefold(), Phrase(code, "code", exact=False))
    return tuple(found.values())


def _add(found: dict[str, Phrase], name: str, kind: str, fewest: int = _FEWEST_LETTERS) -> None:
    """Take a phrase if it has letters enough; one in capitals is matched in capitals only."""
    name = " ".join(name.split())
    if sum(letter.isalpha() for letter in name) >= fewest:
        found.setdefault(name.casefold(), Phrase(name, kind, exact=name.isupper() and " " not in name))


def _initials(label: str) -> str:
    words = [word for word in re.findall(r"[^\W\d_]+", label) if word.casefold() not in _PASSED_OVER]
    return "".join(word[0] for word in words).upper() if len(words) > 1 else ""


def pattern_of(phrases: Sequence[Phrase]) -> re.Pattern[str]:
    """One expression that finds any of the phrases, the longest first; it finds nothing if there are none."""
    ordered = sorted(phrases, key=lambda one: (-len(one.text), one.text))
    listed = "|".join(_expression(one) for one in ordered)
    return re.compile(rf"(?<![\w\[])(?:{listed})(?!\w)") if listed else re.compile(r"(?!)")


def _expression(phrase: Phrase) -> str:
    """A phrase as an expression: any white space or hyphen between words, a plural s or none."""
    words = [re.escape(word) for word in re.split(r"[\s-]+", phrase.text) if word]
    plain = r"[\s-]+".join(words)
    if phrase.kind == "code":
        plain = plain.replace(r"\.", r"\.?")
    elif phrase.text[-1].isalpha():
        plain += "(?:s|es|'s)?"
    return plain if phrase.exact else f"(?i:{plain})"


def mask_list(phrases: Mapping[str, Sequence[Phrase]]) -> list[str]:
    """The phrases of all labels as a list of words for ``clean.mask``, sorted and each once.

    A phrase whose capitals count is written with a leading ``=``.
    """
    return sorted({f"={one.text}" if one.exact else one.text for held in phrases.values() for one in held})


def masked(text: str, mask: Sequence[str]) -> str:
    """A text with every listed phrase replaced by :data:`TOKEN`; applying it twice changes nothing more."""
    return _mask_pattern(tuple(mask)).sub(TOKEN, text) if mask else text


@lru_cache(maxsize=8)
def _mask_pattern(mask: tuple[str, ...]) -> re.Pattern[str]:
    return pattern_of([_listed(one) for one in mask])


def _listed(one: str) -> Phrase:
    """A phrase of a list that :func:`mask_list` wrote."""
    text = one.removeprefix("=")
    return Phrase(text, "code" if CODE.fullmatch(text.upper()) else "name", exact=one.startswith("="))


def with_mask(
    clean: CleanSection, labels: Iterable[str], audit: AuditSection, codes: Mapping[str, str]
) -> CleanSection:
    """The cleaning with the phrases of all labels masked, where ``audit.leaks`` asks for it; else as it is."""
    if audit.leaks != "mask":
        return clean
    phrases = phrases_of(sorted(set(labels)), audit.synonyms, codes)
    return clean.model_copy(update={"mask": sorted({*clean.mask, *mask_list(phrases)})})
