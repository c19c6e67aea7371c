"""Diagnosis codes: proposed for labels that are names, and rolled up where the labels are codes.

A code is proposed with the reason and never set: equal names first, then names that share most of their words, for a
person to confirm. A code is rolled up by its shape and by ranges of categories (``rules/icd_chapters.toml``), so that
no table is needed; titles of ICD-10-CM come from ``simple-icd-10-cm``. What is no code is counted, and guessed never:
an ICD-9-CM code that lost its leading zero in a spreadsheet could be another disease.
"""

from __future__ import annotations

import csv
import dataclasses
import importlib.util
import re
import unicodedata
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from bedside.core.errors import DataError
from bedside.core.extras import require
from bedside.core.progress import SILENT, Progress
from bedside.data.labels import tidy
from bedside.data.multilabel import joined, parted
from bedside.data.rules import read_table
from bedside.data.table import Table, is_absent
from bedside.data.wording import counted
from bedside.protocol import DataSection

LEVELS = ("code", "three", "chapter")
SYSTEMS = {"icd9cm": "ICD-9-CM", "icd10": "ICD-10"}
SIMILAR = 0.5  # share of words in common from which a name is proposed
# A category of three characters and what stands behind the point. A cause of ICD-9-CM is E and three digits; a category
# of ICD-10 has a digit in second place, but for QA0.
_CAUSE = r"(?P<cause>E\d{3})(?:\.?(?P<last>\d))?"
_SHAPES = {
    "icd9cm": re.compile(rf"(?P<category>\d{{3}}|V\d\d)(?:\.?(?P<rest>\d{{1,2}}))?|{_CAUSE}"),
    "icd10": re.compile(rf"(?P<category>[A-Z]\d[0-9A-Z]|QA0)(?:\.?(?P<rest>[0-9A-Z]{{1,4}}))?|(?!){_CAUSE}"),
}
_LONGEST = 10  # characters of a cell that may be named: a longer one is no code, and may be a note
_RANGE = re.compile(r"\s*([0-9A-Za-z]{3,4})\s*[-–]\s*([0-9A-Za-z]{3,4})\s*")
_ASIDE = re.compile(r"\([^)]*\)")  # modifiers that change nothing, as ICD's conventions say
_OTHER_NAME = re.compile(r"\[([^]]*)\]")  # another name of the same
_WHOLE_OTHER_NAME = re.compile(
    r"^(?:(?! (?:of|for|to|with) )[^[])*\[([^]]*)\]$"
)  # "evidence of X [Y]" is no other name
_NOT_SAID = re.compile(
    r"\b(nos|not otherwise specified|site not specified|unspecified (organism|site|cause|type|trimester)|unspecified)\b"
)
_PLURAL = re.compile(r"(?<=[a-z]{3})(?<![siu])s\b")
_LINKS = frozenset(["a", "an", "and", "by", "due", "for", "in", "of", "on", "or", "the", "to", "with", "without"])
# What a name says of a case beyond the disease: proposed by words in common only for labels that say it too.
_SITUATIONS = frozenset(
    ["history", "family", "screening", "pregnancy", "newborn", "congenital", "neonatal", "sequela", "encounter"]
)


@dataclass(frozen=True)
class CodeProposal:
    """A code that a label may have, for a person to confirm.

    Attributes:
        label: as it is in the data.
        code: ICD-10-CM, with its point.
        title: of the code.
        how: ``name`` (title equal but for case, plural, "unspecified"), ``inclusion term`` (of the code), or ``words``.
        score: 1 for equal names; else the share of words in common.
    """

    label: str
    code: str
    title: str
    how: str
    score: float

    def line(self) -> str:
        """The line of ``[package.codes]`` that sets it, with the reason."""
        label, why = (
            _quoted(self.label),
            f"by {self.how}" if self.score >= 1 else f"{self.score:.0%} of words in common",
        )
        return f'"{label}" = "{self.code}"  # {why}: {self.title}'


@dataclass(frozen=True)
class Level:
    """How many labels there would be at one level, and the cases of the smallest."""

    name: str
    labels: int
    smallest: int
    smallest_label: str
    under_ten: int

    def sentence(self) -> str:
        """The counts in words."""
        return (
            f"'{self.name}': {counted(self.labels, 'label')}, {self.under_ten:,} of them with under 10 cases, the "
            f"smallest with {self.smallest:,}"
        )


@dataclass(frozen=True)
class RolledUp:
    """Codes as labels of a level.

    Attributes:
        labels: [codes] the label, or None where the cell is no code of the system, or not in the user's map.
        levels: the counts at each level, so that one can be chosen.
        unread: what was no code, or not in the map, with its count, the commonest first.
    """

    labels: tuple[str | None, ...]
    levels: tuple[Level, ...]
    unread: dict[str, int]

    def account(self) -> dict[str, Any]:
        """For a report: counts by level, and what could not be read, without cells that are too long to be codes."""
        return {
            "levels": [dict(vars(one)) for one in self.levels],
            "unread_cells": sum(self.unread.values()),
            "unread": {_shown(cell): count for cell, count in list(self.unread.items())[:20]},
        }


def propose_codes(labels: Iterable[str], threshold: float = SIMILAR) -> list[CodeProposal]:
    """The likeliest ICD-10-CM code of each label, where a name is equal or shares enough words.

    A code that bills (a leaf) goes before its category where both have the name.

    Args:
        labels: names of diagnoses.
        threshold: least share of words in common (Jaccard), in (0, 1]; 1 proposes equal names only.

    Raises:
        MissingExtra: ``simple-icd-10-cm`` is not installed.
    """
    found = []
    for label in dict.fromkeys(labels):
        best = _equal(label) or (_alike(label, threshold) if threshold < 1 else None)
        if best is not None:
            found.append(best)
    return found


def roll_up(codes: Sequence[str], level: str = "three", system: str = "icd10", base: Path | None = None) -> RolledUp:
    """Turn codes into labels of a coarser level.

    Args:
        codes: with or without their point, in any case.
        level: ``code`` (as it is), ``three`` (the category), ``chapter``, or a CSV file with columns code and label:
            a code stands for all codes that start with it, a range such as ``A00-A09`` for its categories, and the
            longest that fits counts.
        system: ``icd9cm`` or ``icd10`` (ICD-10-CM and WHO's).
        base: the folder that a relative file is relative to.

    Raises:
        DataError: there is no such system, or the file cannot be read as a map.
        MissingExtra: titles of ICD-10-CM are needed and ``simple-icd-10-cm`` is not installed.
    """
    if system not in SYSTEMS:
        raise DataError(f"data.label_codes.system = '{system}' is no system that is known; use {' or '.join(SYSTEMS)}.")
    distinct = Counter(codes)
    plain = {cell: normal_code(cell, system) for cell in distinct}
    own = _read_map(level, base or Path(), system) if level not in LEVELS else None
    tables = {
        name: {cell: _label(code, name, system, titled=name == level) for cell, code in plain.items()}
        for name in LEVELS
    }
    if own is not None:
        tables[level] = {cell: own.label(code) for cell, code in plain.items()}
    chosen = tables[level]
    unread = {cell: count for cell, count in distinct.most_common() if chosen[cell] is None}
    levels = tuple(_count(name, table, distinct) for name, table in tables.items())
    return RolledUp(tuple(chosen[cell] for cell in codes), levels, unread)


def normal_code(cell: str, system: str) -> str | None:
    """A code in capitals with its point, or None where the cell is none.

    ``E8500`` of ICD-9-CM is E850.0, and ``E119`` of ICD-10 is E11.9: the system decides where the point stands.
    """
    found = _SHAPES[system].fullmatch(cell.strip().upper().rstrip(".").replace(" ", ""))
    if found is None:
        return None
    category, rest = found["category"] or found["cause"], found["rest"] or found["last"]
    if _chapter(category, system) is None:
        return None
    return f"{category}.{rest}" if rest else category


def look_like_codes(labels: Iterable[str]) -> str | None:
    """The system whose codes nearly all labels are, or None.

    ``V58`` and ``E850`` are codes of both; ICD-10 is meant where all of the labels could be.
    """
    held = list(dict.fromkeys(labels))
    for system in ("icd10", "icd9cm"):
        if held and sum(normal_code(one, system) is not None for one in held) >= 0.95 * len(held):
            return system
    return None


def code_remarks(
    labels: Mapping[str, int], known: Mapping[str, str], progress: Progress = SILENT
) -> dict[str, list[str]]:
    """Comment lines for a new protocol, by key, with lines to uncomment.

    For labels that are codes: the counts at each level. For labels that are names: a code for each that has none yet,
    if ``simple-icd-10-cm`` is installed.

    Args:
        labels: cases of each label.
        known: labels that have a code already.
        progress: shown while the table of codes is loaded.
    """
    system = look_like_codes(labels)
    if system is not None:
        rolled = roll_up(list(Counter(labels).elements()), "chapter", system)
        counts = [f"level {one.sentence()}" for one in rolled.levels]
        said = f"the labels look like {SYSTEMS[system]} codes; uncomment to roll them up:"
        return {"data.label_codes": [*counts, said, f'system = "{system}"', 'level = "three"']}
    unknown = [label for label in labels if label not in known]
    if not unknown or importlib.util.find_spec("simple_icd_10_cm") is None:
        return {}
    with progress.task("looking for ICD-10-CM codes"):
        lines = [one.line() for one in propose_codes(unknown)]
    return {"package.codes": ["proposed by name; look at each, then uncomment it:", *lines]} if lines else {}


def unread_sentence(rolled: RolledUp, system: str) -> str:
    """What could not be read, as the end of a warning; empty where all could."""
    if not rolled.unread:
        return ""
    shown = ", ".join(f"{_shown(cell)} ({counted(count, 'row')})" for cell, count in list(rolled.unread.items())[:5])
    more = f" and {len(rolled.unread) - 5} more" if len(rolled.unread) > 5 else ""
    lost = any(cell.strip().isdigit() and len(cell.strip()) < 3 for cell in rolled.unread) and system == "icd9cm"
    hint = "; codes of one or two digits have lost their leading zeros, export them as text" if lost else ""
    return (
        f"{counted(sum(rolled.unread.values()), 'label')} could not be read as {SYSTEMS[system]} codes "
        f"(data.label_codes) and were left out: {shown}{more}{hint}"
    )


def with_rolled_labels(table: Table, data: DataSection, base: Path, progress: Progress = SILENT) -> Table:
    """The table with the codes of its label column rolled up as ``data.label_codes`` says.

    A cell that is no code is empty afterwards, so that it is dropped and counted as a row without a label, or refused.

    Returns:
        The table as it was where the protocol asks for nothing; else with the counts by level in ``seen["codes"]``.

    Raises:
        DataError: no label is a code of that system; or see :func:`roll_up`.
    """
    if not data.label_codes:
        return table
    import polars as pl

    system, level = data.label_codes["system"], data.label_codes.get("level", "three")
    column = table.frame[data.label].to_list()
    cells = [parted(one) if data.several else _one(one) for one in column]
    rolled = roll_up([code for cell in cells for code in cell], level, system, base)
    if not any(rolled.labels):
        raise DataError(
            f"{table.file}: no cell of column '{data.label}' is a code of {SYSTEMS[system]} (data.label_codes); is it "
            "the right column, and the right system?"
        )
    every = iter(rolled.labels)
    fresh = [joined([label for label in (next(every) for _ in cell) if label]) for cell in cells]
    sentence = unread_sentence(rolled, system)
    if sentence:
        progress.warn(f"{table.file}: {sentence}.")
    for one in rolled.levels:
        progress.say(f"labels at level {one.sentence()}")
    return dataclasses.replace(
        table,
        frame=table.frame.with_columns(pl.Series(data.label, fresh, dtype=pl.String)),
        seen={**table.seen, "codes": {"system": system, "level": level, **rolled.account()}},
        warnings=(*table.warnings, *([sentence] if sentence else [])),
    )


def _one(cell: str) -> tuple[str, ...]:
    """The code in a cell, if there is one."""
    code = tidy(cell)
    return () if is_absent(code) else (code,)


def _shown(cell: str) -> str:
    """A cell that is short enough to be a code, else only its length."""
    return f"'{cell}'" if len(cell) <= _LONGEST else f"a cell of {len(cell):,} characters"


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


@cache
def _chapters(system: str) -> tuple[tuple[str, str, str], ...]:
    """First and last category, and title, of each chapter."""
    return tuple((first, last, title) for first, last, title in read_table("icd_chapters")[system]["chapters"])


@cache
def _chapter(category: str, system: str) -> str | None:
    """The chapter of a category, as ``I00-I99 Diseases of the circulatory system``."""
    for first, last, title in _chapters(system):
        if len(category) == len(first) and first <= category <= last:
            return f"{first}-{last} {title}"
    return None


def _label(code: str | None, level: str, system: str, *, titled: bool) -> str | None:
    """The label of a code at a level, with its title where one is known and asked for."""
    if code is None:
        return None
    if level == "chapter":
        return _chapter(code.partition(".")[0], system)
    short = code.partition(".")[0] if level == "three" else code
    title = _title(short) if titled and system == "icd10" else ""
    return f"{short} {title}" if title else short


@cache
def _icd_10_cm() -> ModuleType:
    """The tabular list of ICD-10-CM, which takes a second or two to load."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it reads its files by a function that Python deprecates
        return require("simple_icd_10_cm", "codes")


def _title(code: str) -> str:
    """The title in ICD-10-CM; empty for a code that only another ICD-10 has."""
    table = _icd_10_cm()
    return str(table.get_description(code)) if table.is_valid_item(code) else ""


def _count(name: str, table: Mapping[str, str | None], cells: Mapping[str, int]) -> Level:
    """Labels and the smallest of them at a level."""
    sizes: Counter[str] = Counter()
    for cell, count in cells.items():
        label = table[cell]
        if label is not None:
            sizes[label] += count
    least = min(sizes, key=lambda label: (sizes[label], label), default="")
    return Level(name, len(sizes), sizes[least], least, sum(size < 10 for size in sizes.values()))


@dataclass(frozen=True)
class _Map:
    """The user's own labels: by the start of a code, and by ranges of categories."""

    starts: dict[str, str]
    ranges: tuple[tuple[str, str, str], ...]

    def label(self, code: str | None) -> str | None:
        """The label of the longest start that fits; else that of the first range."""
        if code is None:
            return None
        plain, category = code.replace(".", ""), code.partition(".")[0]
        for length in range(len(plain), 0, -1):
            if plain[:length] in self.starts:
                return self.starts[plain[:length]]
        fits = (
            label for first, last, label in self.ranges if len(first) == len(category) and first <= category <= last
        )
        return next(fits, None)


def _read_map(name: str, base: Path, system: str) -> _Map:
    """The user's map of codes to labels.

    Raises:
        DataError: it is absent, has not the two columns, or a row is no code and label.
    """
    path = base / Path(name).expanduser()
    if not path.is_file():
        raise DataError(
            f"data.label_codes.level = '{name}' is neither one of {', '.join(LEVELS)} nor a file; write a CSV with the "
            "columns code and label there."
        )
    starts: dict[str, str] = {}
    ranges = []
    with path.open(encoding="utf-8-sig", newline="") as file:
        table = csv.DictReader(file)
        if not {"code", "label"} <= set(table.fieldnames or ()):
            raise DataError(
                f"{path.name} has the columns {', '.join(table.fieldnames or ())}; it needs code and label."
            )
        for number, row in enumerate(table, start=2):
            code, label = (row["code"] or "").strip().upper(), " ".join((row["label"] or "").split())
            span = _RANGE.fullmatch(code)
            if not label or not (span or re.fullmatch(r"[0-9A-Z]{1,4}\.?[0-9A-Z]{0,4}", code)):
                raise DataError(
                    f"{path.name}, row {number}: '{code[:_LONGEST]}' and '{label[:_LONGEST]}' are no {SYSTEMS[system]} "
                    "code (I10, I1, I10-I15) with a label; mend the row."
                )
            if span:
                ranges.append((span[1], span[2], label))
            else:
                starts[code.replace(".", "")] = label
    return _Map(starts, tuple(ranges))


@dataclass(frozen=True)
class _Name:
    """One name of a code: its title, or an inclusion term."""

    code: str
    how: str
    rank: tuple[bool, bool, int]  # leaves first, titles before inclusion terms, then the order of the tabular list
    words: frozenset[str]


def _words(name: str) -> list[str]:
    """The words of a name that tell it apart, in one spelling: American, singular, without accents."""
    plain = "".join(one for one in unicodedata.normalize("NFKD", name.casefold()) if not unicodedata.combining(one))
    plain = _NOT_SAID.sub(" ", _ASIDE.sub(" ", _OTHER_NAME.sub(" ", plain)))
    plain = _PLURAL.sub("", plain.replace("'s", "").replace("’s", "").replace("ae", "e").replace("oe", "e"))
    return re.findall(r"\w+", plain)


@cache
def _index() -> tuple[dict[str, _Name], list[_Name], dict[str, list[int]]]:
    """Names of ICD-10-CM: the best for each spelling, all, and which hold a word."""
    table = _icd_10_cm()
    equal: dict[str, _Name] = {}
    names: list[_Name] = []
    holders: dict[str, list[int]] = defaultdict(list)
    for order, code in enumerate(table.get_all_codes()):
        if table.is_chapter_or_block(code) or table.is_extended_subcategory(code):
            continue
        leaf = bool(table.is_leaf(code))
        title = table.get_description(code)
        titles = [("name", one) for one in (title, *_WHOLE_OTHER_NAME.findall(title))]
        terms = [("inclusion term", one) for one in table.get_inclusion_term(code)]
        for how, text in titles + terms:
            words = _words(text)
            name = _Name(code, how, (not leaf, how != "name", order), frozenset(words) - _LINKS)
            key = "".join(words)
            if key and (key not in equal or name.rank < equal[key].rank):
                equal[key] = name
            for word in name.words:
                holders[word].append(len(names))
            names.append(name)
    return equal, names, dict(holders)


def _equal(label: str) -> CodeProposal | None:
    """The code that has the label's name."""
    equal, _, _ = _index()
    for one in (label, *(aside.strip("()") for aside in _ASIDE.findall(label))):  # GERD (gastro-esophageal reflux)
        name = equal.get("".join(_words(one)))
        if name is not None:
            return _proposal(label, name, 1.0)
    return None


def _alike(label: str, threshold: float) -> CodeProposal | None:
    """The code whose name shares most words with the label."""
    _, names, holders = _index()
    wanted = frozenset(_words(label)) - _LINKS
    shared = Counter(place for word in wanted for place in holders.get(word, ()))
    scored = [
        (count / (len(wanted) + len(names[place].words) - count), names[place])
        for place, count in shared.items()
        if not (names[place].words - wanted) & _SITUATIONS
    ]
    best = min(scored, key=lambda one: (-one[0], one[1].rank), default=None)
    if best is None or best[0] < threshold:
        return None
    return _proposal(label, best[1], min(best[0], 0.99))


def _proposal(label: str, name: _Name, score: float) -> CodeProposal:
    title = str(_icd_10_cm().get_description(name.code))
    return CodeProposal(label, name.code, title, name.how if score >= 1 else "words", round(score, 2))
