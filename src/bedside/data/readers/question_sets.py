"""Question sets as JSON lines: PubMedQA, MedQA and MedMCQA, told apart by the names of their values.

The question and what is given with it become ``text``, the right answer ``label``. What explains the answer is left
out, because it states it. The split that the source's authors made is kept as ``split``: a score that is to be
compared with theirs must be measured on theirs.

Formats: Jin et al. 2019 (PubMedQA), Jin et al. 2021 (MedQA), Pal et al. 2022 (MedMCQA).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedside.core.errors import DataError
from bedside.core.progress import Progress
from bedside.data.readers.encoding import encoding_text, find_encoding, opener_of
from bedside.data.readers.records import table_of
from bedside.data.table import Table
from bedside.data.wording import counted
from bedside.protocol import DataSection

Values = Mapping[str, Any]
_LETTERS = "ABCD"
_SPLIT = re.compile(r"(?:^|[\W_])(train|dev|val|validation|test)(?=[\W_]|$)", re.IGNORECASE)


@dataclass(frozen=True)
class _Kind:
    """One question set: what it is known by, how a line becomes a record, what is left out because it tells."""

    name: str
    known_by: frozenset[str]
    record: Callable[[Values], dict[str, str]]
    left_out: tuple[str, ...]
    by_letter: bool


def _pubmedqa(line: Values) -> dict[str, str]:
    headings = line.get("labels") or []
    contexts = [str(one) for one in line["contexts"]]
    parts = [f"{head}: {text}" for head, text in zip(headings, contexts, strict=False)] + contexts[len(headings) :]
    answer = line.get("answer", line.get("final_decision"))
    return {
        "text": "\n".join([_plain(line["question"]), *parts]),
        "label": _plain(answer),
        "id": _plain(line.get("pmid")),
        "year": _plain(line.get("year")),
        "mesh": "; ".join(map(str, line.get("meshes") or [])),
        "split": _plain(line.get("split")),
    }


def _medqa(line: Values) -> dict[str, str]:
    options = {str(letter): _plain(text) for letter, text in sorted(line["options"].items())}
    letter = _plain(line["answer_idx"])
    if letter not in options:
        raise KeyError(letter)
    return {
        "text": _with_options(line["question"], options),
        "label": letter,
        "answer": options[letter],
        "step": _plain(line.get("meta_info")),
    }


def _medmcqa(line: Values) -> dict[str, str]:
    options = {letter: _plain(line[f"op{letter.lower()}"]) for letter in _LETTERS}
    number = line["cop"]  # from 1; absent in the test split, whose answers were never published
    letter = _LETTERS[int(number) - 1] if str(number) in "1234" and number else ""
    return {
        "text": _with_options(line["question"], options),
        "label": letter,
        "answer": options.get(letter, ""),
        "subject": _plain(line.get("subject_name")),
        "topic": _plain(line.get("topic_name")),
        "choice_type": _plain(line.get("choice_type")),
        "id": _plain(line.get("id")),
    }


_KINDS = (
    _Kind("PubMedQA", frozenset({"question", "contexts"}), _pubmedqa, ("long_answer",), by_letter=False),
    _Kind("MedMCQA", frozenset({"question", "opa", "opb", "opc", "opd", "cop"}), _medmcqa, ("exp",), by_letter=True),
    _Kind("MedQA", frozenset({"question", "options", "answer_idx"}), _medqa, (), by_letter=True),
)


def recognises(line: Values) -> bool:
    """Whether a JSON object is a question of one of the sets."""
    return _kind(line) is not None


def read(path: Path, data: DataSection, progress: Progress) -> Table:
    """Read a question set.

    Raises:
        DataError: a line is no question of the set that the first line belongs to, by its number.
    """
    opener = opener_of(path)
    encoding, guessed = find_encoding(opener, path.name, data.encoding)
    records: list[dict[str, str]] = []
    kind: _Kind | None = None
    with opener() as raw, progress.task(f"reading {path.name}", unit="questions") as task:
        for number, line in enumerate(raw.read().decode(encoding).split("\n"), start=1):
            if not line.strip():
                continue
            kind, record = _record(line, number, path.name, kind)
            records.append(record)
            task.advance()
    if kind is None:
        raise DataError(f"{path.name} is empty; is it the right file, and was the download finished?")
    own = _SPLIT.search(path.stem)
    for record in records:
        record["split"] = record.get("split") or (own[1].lower() if own else "")
    columns = list(dict.fromkeys(name for record in records[:1] for name in record))
    seen = {"format": f"questions: {kind.name}", "encoding": encoding, "encoding_guessed": guessed}
    return table_of(records, columns, path.name, seen, _says(kind, records, path.name, encoding), _warns(kind, records))


def _record(line: str, number: int, file: str, kind: _Kind | None) -> tuple[_Kind, dict[str, str]]:
    """One line as a record of the set that the first line belongs to."""
    try:
        value = json.loads(line)
        kind = kind or _kind(value)
        if kind is None:
            raise KeyError("question")
        return kind, kind.record(value)
    except (json.JSONDecodeError, RecursionError):
        raise DataError(f"{file}, line {number:,} is not valid JSON; download it again.") from None
    except (KeyError, TypeError, ValueError, AttributeError):
        name = kind.name if kind else "known set"
        wanted = ", ".join(sorted(kind.known_by)) if kind else "question"
        raise DataError(
            f"{file}, line {number:,} is no question of {name}, which has {wanted}; mend or remove the line."
        ) from None


def _kind(line: Any) -> _Kind | None:
    """Which set a JSON object belongs to."""
    if not isinstance(line, dict):
        return None
    return next((kind for kind in _KINDS if kind.known_by <= line.keys()), None)


def _plain(value: Any) -> str:
    """A value as a cell."""
    return "" if value is None else str(value).strip()


def _with_options(question: Any, options: Mapping[str, str]) -> str:
    """The question, and each option on a line of its own."""
    return "\n".join([_plain(question), *(f"{letter}. {text}" for letter, text in options.items())])


def _says(kind: _Kind, records: list[dict[str, str]], file: str, encoding: str) -> list[str]:
    """What was read, the source's own split, and what was left out."""
    said = [f"read {counted(len(records), 'question')} of {file}: {kind.name}, {encoding_text(encoding)}"]
    splits = Counter(record["split"] for record in records if record["split"])
    if splits:
        shares = ", ".join(f"{name} {count:,}" for name, count in splits.items())
        said.append(f"the source's own split is in the column 'split' and is not used unless you use it: {shares}")
    if kind.left_out:
        said.append(f"left out because it states the answer: {', '.join(kind.left_out)}")
    return said


def _warns(kind: _Kind, records: list[dict[str, str]]) -> list[str]:
    """What would mislead: letters as labels, and questions without an answer."""
    warnings = []
    if kind.by_letter:
        others = "'answer'" if kind.name == "MedQA" else "'answer' or 'subject'"
        warnings.append(
            "the label is the letter of the right option, which means something else in each question: a classifier "
            f"over fixed labels can hardly learn it, and {others} is the label for another study"
        )
    without = sum(not record["label"] for record in records)
    if without:
        warnings.append(f"{counted(without, 'question has', 'questions have')} no published answer and no label")
    return warnings
