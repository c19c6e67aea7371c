"""One file for each format; each turns a file into a :class:`bedside.data.table.Table` of strings.

Nothing here guesses what a cell means: numbers stay text, ids keep their zeros, decimal commas stay commas.
"""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path

from bedside.core.errors import DataError
from bedside.core.progress import SILENT, Progress
from bedside.data.table import Table, damaged_cells, decimal_commas, marked_cells, require_rows
from bedside.protocol import DataSection

_READERS = {
    ".csv": "csv_file",
    ".txt": "csv_file",
    ".tsv": "csv_file",
    ".tab": "csv_file",
    ".xlsx": "excel_file",
    ".xlsm": "excel_file",
    ".jsonl": "jsonl_file",
    ".ndjson": "jsonl_file",
    ".parquet": "parquet_file",
}


def read(data: DataSection, base: Path, progress: Progress = SILENT, *, tell: bool = True) -> Table:
    """Read the source table and say what was seen.

    Args:
        data: where the cases come from; encoding, separator and sheet are taken from it.
        base: the folder that a relative ``data.source`` is relative to.
        progress: told what was read, and what looks damaged.
        tell: whether it is; the caller who says it in his own way leaves it out.

    Raises:
        DataError: one sentence naming the file, and the row where there is one.
    """
    path = resolve(data.source, base)
    reader = importlib.import_module(f"{__name__}.{_reader_of(path)}")
    table: Table = reader.read(path, data, progress)
    require_rows(table.frame, table.file)
    table = dataclasses.replace(
        table,
        observations=(*table.observations, *marked_cells(table.frame), *decimal_commas(table.frame)),
        warnings=(*table.warnings, *damaged_cells(table.frame)),
    )
    if not tell:
        return table
    for sentence in table.observations:
        progress.say(sentence)
    for sentence in table.warnings:
        progress.warn(f"{table.file}: {sentence}.")
    return table


def resolve(source: str, base: Path) -> Path:
    """The source's path; absent, a folder, or unreadable is said in one sentence.

    Raises:
        DataError: there is no such file.
    """
    path = Path(source).expanduser()
    path = path if path.is_absolute() else base / path
    if path.is_dir():
        raise DataError(f"{path} is a folder; name the table inside it (data.source).")
    if not path.is_file():
        beside = sorted(file.name for file in path.parent.glob("*") if file.suffix in _READERS or file.suffix == ".gz")
        near = f"; beside it lie {', '.join(beside[:5])}" if beside else ""
        raise DataError(f"{path} does not exist{near}; set data.source to the table of notes.")
    return path


def _reader_of(path: Path) -> str:
    """Which reader knows this file's name."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".gz"]:
        suffixes = suffixes[:-1]
        if suffixes and suffixes[-1] in {".csv", ".tsv", ".txt", ".tab"}:
            return "csv_file"
    elif suffixes and suffixes[-1] in _READERS:
        return _READERS[suffixes[-1]]
    known = ", ".join(_READERS)
    raise DataError(f"{path.name} is of a format that is not read; known are {known} and .csv.gz: export it as one.")
