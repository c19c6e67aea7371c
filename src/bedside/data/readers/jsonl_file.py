"""JSON lines: one object a line. Numbers are kept as they are written; a nested value is kept as JSON text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bedside.core.errors import DataError
from bedside.core.progress import Progress
from bedside.data.readers.encoding import encoding_text, find_encoding, opener_of
from bedside.data.table import Table, name_columns
from bedside.protocol import DataSection


def read(path: Path, data: DataSection, progress: Progress) -> Table:
    """Read JSON lines.

    Raises:
        DataError: a line is not a JSON object, by its number.
    """
    import polars as pl

    opener = opener_of(path)
    encoding, guessed = find_encoding(opener, path.name, data.encoding)
    columns: dict[str, list[str]] = {}
    rows: list[int] = []
    with opener() as raw, progress.task(f"reading {path.name}", unit="rows") as task:
        text = raw.read().decode(encoding)
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                _add(columns, _object(line, number, path.name), len(rows))
                rows.append(number)
                task.advance()
    for values in columns.values():
        values.extend([""] * (len(rows) - len(values)))
    names, remarks = name_columns(list(columns), path.name)
    frame = pl.DataFrame(dict(zip(names, columns.values(), strict=True)), schema=dict.fromkeys(names, pl.String))
    said = f"read {len(rows):,} rows and {len(names):,} columns of {path.name}: JSON lines, {encoding_text(encoding)}"
    seen = {"format": "jsonl", "encoding": encoding, "encoding_guessed": guessed}
    return Table(frame, tuple(rows), path.name, seen, (said,), tuple(remarks))


def _object(line: str, number: int, file: str) -> dict[str, Any]:
    """One line as an object."""
    try:
        value = json.loads(line, parse_float=str, parse_int=str)
    except (json.JSONDecodeError, RecursionError):
        raise DataError(
            f"{file}, line {number:,} is not valid JSON; each line must be one object, such as "
            '{"text": "…", "label": "…"}.'
        ) from None
    if not isinstance(value, dict):
        raise DataError(f"{file}, line {number:,} is JSON but not an object; each line must be one in braces.")
    return value


def _add(columns: dict[str, list[str]], value: dict[str, Any], row: int) -> None:
    """Put one object's values under their names; a name seen for the first time was empty before."""
    for name, one in value.items():
        cells = columns.setdefault(name, [])
        cells.extend([""] * (row - len(cells)))
        cells.append(_text(one))


def _text(value: Any) -> str:
    """A JSON value as the text of a cell."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
