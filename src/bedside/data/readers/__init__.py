"""One file for each format; each turns a file into a :class:`bedside.data.table.Table` of strings.

Nothing here guesses what a cell means: numbers stay text, ids keep their zeros, decimal commas stay commas.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
from pathlib import Path
from typing import Any

from bedside.core.errors import DataError
from bedside.core.progress import SILENT, Progress
from bedside.data.table import Table, damaged_cells, decimal_commas, marked_cells, require_rows
from bedside.protocol import DataSection

_LONGEST_LOOK = 1 << 24  # of the first line, to tell what is in it
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
    ".json": "fhir_r4",
    ".xml": "pubmed_xml",
    ".nxml": "pubmed_xml",
}
_DATABASES = {".db", ".sqlite", ".sqlite3"}
_PACKED = {".csv", ".tsv", ".txt", ".tab", ".xml", ".nxml"}  # read through gzip too
_FOLDERS = ("mimic", "datasets_folder", "fhir_r4", "pubmed_xml")  # asked in this order whether a folder is theirs


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
    from bedside.data.readers import datasets_folder, sql

    if sql.is_address(data.source):
        table: Table = sql.read(data, base, progress)
    elif datasets_folder.is_hub(data.source):
        sql.require_no_query(data)
        table = datasets_folder.read_hub(data.source, progress)
    else:
        sql.require_no_query(data)
        path = resolve(data.source, base)
        table = _module(_reader_of(path)).read(path, data, progress)
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
    """The source's path; absent, a folder of no known format, or unreadable is said in one sentence.

    Raises:
        DataError: there is no such file.
    """
    path = Path(source).expanduser()
    path = path if path.is_absolute() else base / path
    if path.is_dir():
        if _of_folder(path) is None:
            raise DataError(
                f"{path} is a folder; name the table inside it (data.source). A folder is read as a whole only if it "
                "holds FHIR (.json, .ndjson), tables of MIMIC-III or MIMIC-IV, articles of PubMed or PMC (.xml, "
                ".nxml), or what the datasets library saved."
            )
        return path
    if not path.is_file():
        beside = sorted(file.name for file in path.parent.glob("*") if file.suffix in _READERS or file.suffix == ".gz")
        near = f"; beside it lie {', '.join(beside[:5])}" if beside else ""
        raise DataError(f"{path} does not exist{near}; set data.source to the table of notes.")
    return path


def files_of(source: str, base: Path) -> dict[str, Path]:
    """The files behind a source by a name for each: a manifest notices when one of them changes.

    Files in a folder are named by their places, because exports name them after patients.
    """
    from bedside.data.readers import datasets_folder, sql

    if sql.is_address(source):
        return sql.files_of(source, base)
    if datasets_folder.is_hub(source):
        return {}
    path = base / Path(source).expanduser()
    if not path.is_dir():
        return {"table": path}
    reader = _of_folder(path)
    files = [] if reader is None else _module(reader).files_in(path)
    return {f"table/{place}": file for place, file in enumerate(files, start=1)}


def _module(reader: str) -> Any:
    """A reader, imported when it is needed."""
    return importlib.import_module(f"{__name__}.{reader}")


def _of_folder(folder: Path) -> str | None:
    """Which reader knows the files of a folder, or None."""
    return next((reader for reader in _FOLDERS if _module(reader).holds(folder)), None)


def _reader_of(path: Path) -> str:
    """Which reader knows this source: by its name, and JSON lines by what the first one holds."""
    if path.is_dir():
        return str(_of_folder(path))
    known = _by_name(path)
    return _by_first_line(path) if known == "jsonl_file" else known


def _by_first_line(path: Path) -> str:
    """Which reader JSON lines are for."""
    from bedside.data.readers import fhir_r4, question_sets

    try:
        with path.open(encoding="utf-8-sig") as file:
            value = json.loads(file.readline(_LONGEST_LOOK))
    except (OSError, ValueError, RecursionError):
        return "jsonl_file"  # which says what is wrong with it
    if fhir_r4.is_resource(value):
        return "fhir_r4"
    return "question_sets" if isinstance(value, dict) and question_sets.recognises(value) else "jsonl_file"


def _by_name(path: Path) -> str:
    """Which reader a file's name asks for."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".gz"]:
        suffixes = suffixes[:-1]
        if suffixes and suffixes[-1] in _PACKED:
            return _READERS[suffixes[-1]]
    elif suffixes and suffixes[-1] in _READERS:
        return _READERS[suffixes[-1]]
    known = ", ".join(_READERS)
    if suffixes[-1:] and suffixes[-1] in _DATABASES:
        raise DataError(
            f"{path.name} looks like a database, and a database is named by its URL: write sqlite:///{path.name} with "
            "a query (data.query, or --query)."
        )
    raise DataError(
        f"{path.name} is of a format that is not read; known are {known} and, packed, .csv.gz and .xml.gz: export it "
        "as one."
    )
