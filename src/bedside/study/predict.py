"""Answers for files: a note in a text file, or a table with a note in each row."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from bedside.bundle import Bundle
from bedside.core.errors import DataError
from bedside.core.files import atomic_path
from bedside.core.progress import SILENT, Progress

_TABLES = (".csv", ".csv.gz", ".tsv", ".xlsx", ".jsonl", ".parquet")
_HOW_GIVEN = "give a text file with one note, or - to read it from standard input"
_LONGEST_NAME = 255  # bytes that file systems allow for a name
_AT_ONCE = 256  # rows answered between two steps of the bar


@dataclass(frozen=True)
class Written:
    """The answers that were written, by status."""

    path: Path
    rows: int
    statuses: dict[str, int]

    def account(self) -> str:
        """The statuses in words."""
        return ", ".join(f"{count:,} {status}" for status, count in self.statuses.items()) or "no row"


def is_table(name: str) -> bool:
    """Whether a file's name is that of a table."""
    return name.lower().endswith(_TABLES)


def read_note(path: Path) -> str:
    """The note in a text file.

    Raises:
        DataError: there is no such file, or it cannot be read, or is not UTF-8 text.
    """
    given = str(path)
    if "\n" in given or any(len(part.encode(errors="replace")) > _LONGEST_NAME for part in path.parts):
        # A note in place of its file: it is not repeated.
        raise DataError(f"What was given ({len(given):,} characters) is no file's name; {_HOW_GIVEN}.")
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise DataError(f"{path} {what}; {_HOW_GIVEN}.")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); {_HOW_GIVEN}.") from None
    return decode_note(content, given)


def decode_note(content: bytes, name: str) -> str:
    """The text of a note's bytes.

    Raises:
        DataError: they are not UTF-8.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is not UTF-8 text (byte {error.start}); save the note as UTF-8.") from None


def answer_table(
    bundle: Bundle,
    table: Path,
    text: str | None,
    output: Path | None,
    *,
    top_k: int | None = None,
    progress: Progress = SILENT,
) -> Written:
    """Answer every row of a table and write the answers, one JSON object a line, in the order of the rows.

    Each object holds ``row`` (from 1) and what the server would answer; never the text.

    Raises:
        DataError: the column is not given or not there, or no output is named.
    """
    from bedside.data.readers import read
    from bedside.protocol import DataSection

    if text is None or output is None:
        raise DataError(
            f"{table} is a table: name the column with the note (--text) and a file for the answers (--output)."
        )
    frame = read(DataSection(source=str(table), text=text, label=text), Path(), progress).frame
    if text not in frame.columns:
        raise DataError(f"{table} has no column '{text}'; its columns are {', '.join(frame.columns[:20])}.")
    texts: list[str] = [one or "" for one in frame[text].to_list()]
    statuses: Counter[str] = Counter()
    with (
        atomic_path(output) as temporary,
        temporary.open("w", encoding="utf-8", newline="\n") as file,
        progress.task("Answering", total=len(texts), unit="notes") as task,
    ):
        for start in range(0, len(texts), _AT_ONCE):
            answers = bundle.diagnose(texts[start : start + _AT_ONCE], top_k)
            for row, answer in enumerate(answers, start=start + 1):
                statuses[answer.status] += 1
                file.write(json.dumps({"row": row, **answer.to_json()}, ensure_ascii=False) + "\n")
            task.advance(len(answers))
    return Written(output, len(texts), dict(statuses.most_common()))
