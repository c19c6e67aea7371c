"""Dated rule data, one file a language, and the one function that reads it.

A file says its ``date``, its ``language`` and its ``sources``, and holds ``function_words`` and ``endings``, by which
the language is detected, and ``sections`` with their headings; cues of negation and abbreviations have files of their
own. A language without rules is refused by name: rules of
another language would be worse than none.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib import resources
from typing import Any

from bedside.core.errors import DataError

LANGUAGES = ("en", "es", "fr")
_PARTS = ("negation", "abbreviations")  # kinds of rules that have files of their own, one a language
_ACCENTS = {"a": "[aàâá]", "c": "[cç]", "e": "[eéèêë]", "i": "[iíîï]", "n": "[nñ]", "o": "[oóôö]", "u": "[uúùûü]"}
_PLAIN = str.maketrans("àâáçéèêëíîïñóôöúùûü’", "aaaceeeeiiinooouuuu'")


@cache
def read_rules(language: str) -> dict[str, Any]:
    """The rules of one language as tomllib gives them; callers do not change them.

    Raises:
        DataError: there are no rules for that language.
    """
    if language not in LANGUAGES:
        known = ", ".join(LANGUAGES)
        raise DataError(f"there are no rules for the language {language!r}; there are for {known}: use one of these")
    return _read(language)


@cache
def read_part(part: str, language: str) -> dict[str, Any]:
    """The rules of one kind in one language: ``negation`` or ``abbreviations``; callers do not change them.

    Raises:
        DataError: there are no such rules for that language.
    """
    if part not in _PARTS or language not in LANGUAGES:
        raise DataError(
            f"there are no rules of {part} for the language {language!r}; there are for {', '.join(LANGUAGES)}: "
            "use one of these, or do without"
        )
    return _read(f"{part}_{language}")


@cache
def read_table(name: str) -> dict[str, Any]:
    """One file of rule data that no language owns; callers do not change it."""
    return _read(name)


@cache
def read_other_languages() -> dict[str, list[str]]:
    """Function words of languages that have no other rules, so that they are told apart from those that do."""
    words: dict[str, list[str]] = _read("other")["function_words"]
    return words


def pattern(phrase: str) -> str:
    """A phrase as a regular expression: any white space between words, ``#`` any number, accents written or not."""
    return r"\s+".join("".join(_letter(one) for one in word) for word in phrase.split())


def compared(phrase: str) -> str:
    """A phrase as phrases are compared: case, accents and white space aside."""
    return " ".join(phrase.casefold().translate(_PLAIN).split())


def _letter(one: str) -> str:
    if one == "#":
        return r"\d+"
    if one in "’'":
        return "[’']"
    return _ACCENTS.get(one.lower().translate(_PLAIN), "") or re.escape(one)


def _read(name: str) -> dict[str, Any]:
    text = resources.files("bedside.data").joinpath("rules", f"{name}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
