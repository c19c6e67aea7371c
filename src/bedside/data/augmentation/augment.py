"""Varied copies of the training cases, and the account of how they came to be.

Only the training split is copied; the copies take label, patient and group of their origin, live in memory alone, and
can be made again from the same cases, section and seed. A copy that lost or gained a fact, or that names a label where
its origin did not, is discarded and counted.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from bedside.core.files import sha256_bytes
from bedside.core.progress import SILENT, Progress
from bedside.core.seeds import derive
from bedside.data.augmentation.facts import unchanged_facts
from bedside.data.augmentation.methods import METHODS, Abbreviations, Phrases, medical_groups, short_forms
from bedside.data.augmentation.translation import back_translate
from bedside.data.augmentation.wordnet import read_wordnet
from bedside.data.cohort import Cohort
from bedside.protocol import AugmentSection

if TYPE_CHECKING:
    import polars as pl

_PLURAL = re.compile(r"(?<=[a-z]{3})(?<!s)s$")
_LONG_WORD = 4  # letters; shorter words of a label ("of", "the") tell nothing


@dataclass(frozen=True)
class Copy:
    """One varied copy.

    Attributes:
        origin: the place of its origin among the texts.
        method: how it was varied.
        text: what came of it.
        fate: ``made``, ``unchanged`` (nothing to vary, or like another copy); discarded for ``facts`` or for ``label``.
    """

    origin: int
    method: str
    text: str
    fate: str


@dataclass(frozen=True)
class Augmented:
    """A cohort with more training cases.

    Attributes:
        cohort: the same cases, and after them the copies, all in the training split.
        origins: the place among the training cases that each copy was made of.
        methods: how each copy was made.
        account: JSON-able: by method how many copies were made, unchanged and discarded, and a digest of them all.
    """

    cohort: Cohort
    origins: tuple[int, ...]
    methods: tuple[str, ...]
    account: dict[str, Any]


def augment(
    cohort: Cohort, section: AugmentSection, *, seed: int, base: Path = Path(), progress: Progress = SILENT
) -> Augmented:
    """Add varied copies of the training cases.

    Args:
        cohort: prepared cases; it is not changed.
        section: which methods, how many copies, and how much of a text is varied.
        seed: the study's.
        base: the folder that relative paths of the section start from.
        progress: told of the work.

    Raises:
        DataError: WordNet's files are not where the section says.
        ModelError: a translation model is not at hand.
    """
    part = cohort.part("train")
    copies = vary(part["text"].to_list(), cohort.labels, section, seed=seed, base=base, progress=progress)
    made = [one for one in copies if one.fate == "made"]
    origins, methods = tuple(one.origin for one in made), tuple(one.method for one in made)
    account = _account(copies, section, part.height)
    whole = _with_copies(cohort.frame, part, made)
    return Augmented(replace(cohort, frame=whole), origins, methods, account)


def vary(
    texts: Sequence[str],
    labels: Sequence[str],
    section: AugmentSection,
    *,
    seed: int,
    base: Path = Path(),
    progress: Progress = SILENT,
) -> list[Copy]:
    """``section.copies`` copies of each text, each by one of the methods, drawn evenly.

    The draw for a text depends on the text, not on its place, so that other rows do not move it.
    """
    varying = _Varying(labels, section, base)
    copies: list[Copy] = []
    waiting: list[tuple[int, int]] = []  # origin, place among the copies: translated together at the end
    with progress.task("Augmenting", total=len(texts), unit="notes") as task:
        for origin, text in enumerate(texts):
            for number in range(section.copies):
                random = Random(derive(seed, "augment", str(number), text))  # noqa: S311 (no secret)
                method = random.choice(section.methods)
                if method == "translation":
                    waiting.append((origin, len(copies)))
                fresh = text if method == "translation" else varying.by(method, text, random)
                copies.append(Copy(origin, method, fresh, ""))
            task.advance()
    if waiting:
        said = back_translate([texts[origin] for origin, _ in waiting], section.translate, base, progress)
        for (origin, place), fresh in zip(waiting, said, strict=True):
            copies[place] = Copy(origin, "translation", fresh, "")
    return _judged(copies, texts, varying)


def _judged(copies: Sequence[Copy], texts: Sequence[str], varying: _Varying) -> list[Copy]:
    """Each copy with its fate."""
    seen: set[tuple[int, str]] = set()
    found = []
    for copy in copies:
        before = texts[copy.origin]
        if copy.text in {before, ""} or (copy.origin, copy.text) in seen:
            fate = "unchanged"
        elif not unchanged_facts(before, copy.text):
            fate = "facts"
        elif varying.names(copy.text) - varying.names(before):
            fate = "label"
        else:
            fate = "made"
        seen.add((copy.origin, copy.text))
        found.append(Copy(copy.origin, copy.method, copy.text, fate))
    return found


class _Varying:
    """The methods with the tables that they need, and the names of labels that none may put in."""

    def __init__(self, labels: Sequence[str], section: AugmentSection, base: Path) -> None:
        groups = medical_groups()
        if section.wordnet is not None:
            groups += read_wordnet(base / Path(section.wordnet).expanduser())
        names = label_names(labels, (*groups, *short_forms()))
        words = frozenset(name for name in names if " " not in name)
        # Apart, so that a phrase that lost a letter does not make its other words look new.
        self._patterns = (_any_of(words), _any_of(names - words))
        self._synonyms = Phrases.of(groups, _any_of(names)) if "synonyms" in section.methods else None
        self._abbreviations = Abbreviations(_any_of(names)) if "abbreviations" in section.methods else None
        self._share = section.share

    def by(self, method: str, text: str, random: Random) -> str:
        """A text varied by one method."""
        if method == "synonyms" and self._synonyms is not None:
            return self._synonyms.vary(text, self._share, random)
        if method == "abbreviations" and self._abbreviations is not None:
            return self._abbreviations.vary(text, self._share, random)
        return METHODS[method](text, self._share, random)

    def names(self, text: str) -> Counter[str]:
        """Which names of labels a text holds, and how often."""
        found = (one.group() for pattern in self._patterns for one in pattern.finditer(text))
        return Counter(" ".join(one.casefold().split()) for one in found)


def label_names(labels: Sequence[str], groups: Sequence[Sequence[str]]) -> frozenset[str]:
    """What tells a label, in small letters: its name and each long word of it, in both numbers, and its synonyms."""
    whole = {label.casefold() for label in labels}
    whole |= {_PLURAL.sub("", name) for name in whole} | {f"{name}s" for name in whole}
    words = {word for name in whole for word in re.findall(r"[^\W\d_]+", name) if len(word) >= _LONG_WORD}
    told = {one.casefold() for group in groups for one in group if whole & {other.casefold() for other in group}}
    return frozenset(whole | words | told)


def _any_of(names: frozenset[str]) -> re.Pattern[str]:
    longest_first = sorted(names, key=lambda one: (-len(one), one))
    choices = "|".join(r"\s+".join(map(re.escape, one.split())) for one in longest_first if one.strip()) or r"(?!)"
    return re.compile(rf"(?<!\w)(?:{choices})(?!\w)", re.IGNORECASE)


def _account(copies: Sequence[Copy], section: AugmentSection, cases: int) -> dict[str, Any]:
    """Counts by method, and a digest by which a later run can show that it made the same copies."""
    counts = Counter((one.method, one.fate) for one in copies)
    made = [[one.origin, one.method, one.text] for one in copies if one.fate == "made"]
    return {
        "cases": cases,
        "copies": len(made),
        "digest": sha256_bytes(json.dumps(made, ensure_ascii=False).encode("utf-8")),
        "methods": {
            method: {
                "made": counts[method, "made"],
                "unchanged": counts[method, "unchanged"],
                "discarded": {"facts": counts[method, "facts"], "label": counts[method, "label"]},
            }
            for method in section.methods
        },
    }


def _with_copies(frame: pl.DataFrame, part: pl.DataFrame, made: Sequence[Copy]) -> pl.DataFrame:
    """The frame with a row for each copy: its origin's, but for the text and the case id."""
    import polars as pl

    if not made:
        return frame
    numbers: Counter[int] = Counter()
    ids = []
    names = part["case_id"].to_list()
    for one in made:
        numbers[one.origin] += 1
        ids.append(f"{names[one.origin]}+{numbers[one.origin]}")
    rows = part[[one.origin for one in made]]
    fresh = rows.with_columns(pl.Series("text", [one.text for one in made]), pl.Series("case_id", ids))
    return pl.concat([frame, fresh])
