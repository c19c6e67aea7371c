"""The moment of asking: what a model may read when it is asked, and what is only written later.

A discharge summary states the diagnosis; a model that learns from one reads the answer. With ``data.moment`` the
sections, notes and columns that are written later are left out, by dated rules, from what the model learns from and
from every note that it is asked about afterwards. Simulating the notes of an admission from a discharge summary in
this way follows van Aken et al., EACL 2021.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from bedside.core.errors import DataError
from bedside.core.progress import SILENT, Progress
from bedside.data.language import detect_languages
from bedside.data.rules import LANGUAGES, read_table
from bedside.data.sections import PREAMBLE, find_sections, section_names
from bedside.protocol import DataSection

MOMENTS = ("triage", "admission", "discharge")
_AFTER = "after"
_LOOKED_AT = 200  # texts in which the language is looked for
_MOST = 0.9  # share of texts with a known language that one language must have


@dataclass(frozen=True)
class Cut:
    """What is left out of a note because it is written after the moment of asking.

    Attributes:
        moment: ``triage``, ``admission`` or ``discharge``.
        language: whose headings are known: ``en``, ``es`` or ``fr``.
        excluded: canonical names of the sections that are written later.
    """

    moment: str
    language: str
    excluded: tuple[str, ...]

    @classmethod
    def at(cls, moment: str, language: str) -> Cut:
        """The cut of a moment, by the rules of a language.

        Raises:
            DataError: there are no rules for that language.
        """
        known = set(section_names(language))
        return cls(moment, language, tuple(sorted(known - _at_hand(moment))))

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Cut:
        """Read what :meth:`to_json` gave."""
        return cls(str(value["moment"]), str(value["language"]), tuple(value["excluded"]))

    def to_json(self) -> dict[str, Any]:
        """JSON-able; the excluded sections by name, so that later rules do not change what a bundle cuts."""
        return {"moment": self.moment, "language": self.language, "excluded": list(self.excluded)}

    def apply(self, text: str) -> str:
        """The text without the sections that are written later; one without such headings is as it was."""
        return self.sections_of(text, later=False)[0]

    def sections_of(self, text: str, *, later: bool) -> tuple[str, tuple[str, ...]]:
        """What is at hand of a text, and the names of the sections that were cut.

        Args:
            text: a cleaned note.
            later: the note as a whole is written after the moment, so what stands before its first heading is too.
        """
        found = find_sections(text, self.language)
        out = {*self.excluded, PREAMBLE} if later else set(self.excluded)
        cut = tuple(one.name for one in found if one.name in out)
        if not cut:
            return text, ()
        kept = "".join(text[one.start : one.end] for one in found if one.name not in out)
        return kept.strip(" \n"), cut


@dataclass
class CutCases:
    """What came of a cut.

    Attributes:
        texts: [rows] what is at hand; ``""`` where nothing is.
        sections: how many notes lost each section.
        notes: how many notes lost something and are still there.
        later: how many notes are of a type that is written later.
        unknown_types: how many notes are of a type that the rules do not know.
    """

    texts: list[str]
    sections: Counter[str] = field(default_factory=Counter)
    notes: int = 0
    later: int = 0
    unknown_types: int = 0

    def account(self) -> dict[str, Any]:
        """The counts, JSON-able."""
        return {
            "notes_cut": self.notes,
            "later_notes": self.later,
            "unknown_types": self.unknown_types,
            "sections": dict(sorted(self.sections.items(), key=lambda one: (-one[1], one[0]))),
        }


def cut_cases(texts: Sequence[str], types: Sequence[str] | None, cut: Cut, progress: Progress = SILENT) -> CutCases:
    """Leave out of every text what is written after the moment of asking.

    Args:
        texts: [rows] cleaned notes.
        types: [rows] the type of each note as the source names it (a name or a LOINC code), where a column says it.
        cut: the moment and the language.
        progress: shown while cutting.

    A note of a later type keeps the sections that are at hand by the moment; one without headings keeps nothing.
    """
    done = CutCases([])
    with progress.task("cutting", total=len(texts), unit="notes") as task:
        for place, text in enumerate(texts):
            written = None if types is None else written_at(types[place])
            done.unknown_types += types is not None and written is None
            later = written is not None and _rank(written) > _rank(cut.moment)
            done.later += later
            kept, names = cut.sections_of(text, later=later)
            done.sections.update(set(names) - {PREAMBLE})
            done.notes += bool(kept) and kept != text
            done.texts.append(kept)
            task.advance()
    return done


def written_at(kind: str) -> str | None:
    """When a type of note is written: a moment, ``after``, or ``None`` where the rules do not know the type."""
    return next((moment for moment, pattern in _type_patterns() if pattern.search(kind)), None)


def later_columns(data: DataSection) -> set[str]:
    """The columns that are written after the moment of asking."""
    return {name for name, when in data.written.items() if data.moment and is_later(when, data.moment)}


def without_later_columns(data: DataSection) -> DataSection:
    """The section without text and kept columns that are written after the moment of asking.

    Raises:
        DataError: no text column is left.
    """
    later = later_columns(data)
    if not later:
        return data
    text = [name for name in data.text_columns() if name not in later]
    if not text:
        raise DataError(
            f"data.written says that every text column is written after data.moment = '{data.moment}'; "
            "take a later moment, or name a text that is at hand then."
        )
    return data.model_copy(
        update={"text": text[0] if len(text) == 1 else text, "keep": [name for name in data.keep if name not in later]}
    )


def is_later(written: str, moment: str) -> bool:
    """Whether what is written at one moment is not yet at hand at another."""
    return _rank(written) > _rank(moment)


def language_of(texts: Sequence[str], named: str = "auto") -> str:
    """The language whose rules are used: the one that was named, or the one that nearly all of a sample are in.

    Args:
        texts: the notes; the first, the last and those between, 200 at most, are looked at.
        named: ``data.language``.

    Raises:
        DataError: the texts are of several languages, or of one without rules, and none was named.
    """
    if named != "auto":
        return named
    found = languages_of(texts)
    unknown = found.pop("unknown", 0)
    if not found:
        raise DataError(
            f"The language of the notes could not be told from the {unknown:,} that were looked at; name it: "
            f"data.language = one of {', '.join(LANGUAGES)}."
        )
    code, most = found.most_common(1)[0]
    if code not in LANGUAGES or most < _MOST * sum(found.values()):
        shown = ", ".join(f"{name} {number}" for name, number in found.most_common())
        raise DataError(
            f"data.moment needs headings of one language, and of {sum(found.values())} notes there are: {shown}; "
            f"name the language whose rules shall be used (data.language = one of {', '.join(LANGUAGES)})."
        )
    return code


def likely_language(texts: Sequence[str], named: str = "auto") -> str:
    """The language that was named, or the commonest in a sample, for rules that can be done without."""
    if named != "auto":
        return named
    found = languages_of(texts)
    found.pop("unknown", 0)
    return found.most_common(1)[0][0] if found else "other"


def languages_of(texts: Sequence[str]) -> Counter[str]:
    """How many of a sample of the texts, about 200 at most, are in each language."""
    step = max(1, len(texts) // _LOOKED_AT)
    return detect_languages(texts[::step])


def _rank(moment: str) -> int:
    return (*MOMENTS, _AFTER).index(moment)


def _at_hand(moment: str) -> set[str]:
    """Names of the sections that are written by a moment."""
    sections = read_table("moments")["sections"]
    return {name for when in MOMENTS[: _rank(moment) + 1] for name in sections[when]}


@cache
def _type_patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    types = read_table("moments")["note_types"]
    return tuple(
        (when, re.compile("|".join(rf"(?<!\w){re.escape(name)}(?!\w)" for name in names), re.IGNORECASE))
        for when, names in types.items()
    )
