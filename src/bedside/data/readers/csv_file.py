"""Delimited text: .csv, .tsv and their gzipped forms, in any encoding, however the export quoted it.

What can be read without a guess about meaning is read and said; a row whose cells cannot be told apart is refused
by its number. A row that a person cannot find in the file is never named: row 1 is the first record, as in a
spreadsheet, and a cell that spans lines is still one row.
"""

from __future__ import annotations

import csv
import io
import itertools
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bedside.core.errors import DataError
from bedside.core.progress import Progress
from bedside.data.readers.encoding import Opener, encoding_text, find_encoding, opener_of
from bedside.data.table import Table, name_columns
from bedside.protocol import DataSection

if TYPE_CHECKING:
    import polars as pl

_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}
_SIGNATURES = (
    (b"PK\x03\x04", "a zip file or a workbook (.xlsx)"),
    (b"PAR1", "a Parquet file"),
    (b"%PDF", "a PDF"),
    (b"\x1f\x8b", "a gzip file (.gz)"),
    (b"\xd0\xcf\x11\xe0", "an old workbook (.xls); save it as .xlsx or .csv"),
    (b"\x89PNG", "a picture"),
    (b"SQLite format 3", "a database"),
    (b"{\\rtf", "a rich-text document"),
)
_LONGEST_CELL = 1 << 30
_LOOK_LINES = 200
_LOOK_CHARACTERS = 1 << 19
_BATCH = 20_000
_END = "\x00end of file\x00"  # fed after the last line: swallowed by a cell whose quote was never closed


@dataclass
class _Shape:
    """What the rows turned out to be, counted while they pass."""

    width: int
    file: str
    short: int = 0
    first_short: int = 0
    blank: int = 0
    trimmed: int = 0
    rows: list[int] = field(default_factory=list)


def read(path: Path, data: DataSection, progress: Progress) -> Table:
    """Read a delimited file.

    Raises:
        DataError: it is empty, binary, in another encoding, or has a row that cannot be cut into cells.
    """
    opener = opener_of(path)
    try:
        _refuse_binary(opener, path.name)
        encoding, guessed = find_encoding(opener, path.name, data.encoding)
        separator = _separator(opener, path, encoding, data.separator)
        return _read(opener, path, encoding, separator, guessed, progress)
    except (EOFError, zlib.error, OSError) as error:
        if isinstance(error, PermissionError):
            raise DataError(f"{path} may not be read by this user; ask for the right to read it.") from None
        raise DataError(f"{path.name} is cut off or damaged ({error}); copy or export it again.") from error


def _refuse_binary(opener: Opener, file: str) -> None:
    """Refuse what is no text at all, by what it looks like."""
    with opener() as handle:
        start = handle.read(1 << 16)
    if not start.strip(b" \t\r\n\x00\xef\xbb\xbf\xff\xfe"):
        raise DataError(f"{file} is empty; is it the right file, and was the export finished?")
    for signature, what in _SIGNATURES:
        if start.startswith(signature):
            raise DataError(f"{file} is not a text table but {what}; name it so, or export it as .csv.")
    odd = sum(byte < 9 or 13 < byte < 32 for byte in start if byte != 0)
    if odd > 0.05 * len(start):
        raise DataError(f"{file} is a binary file, not a text table; export it as .csv, .xlsx, .jsonl or .parquet.")


def _lines(opener: Opener, encoding: str) -> Iterator[str]:
    """The file's lines with their ends as they are; NUL characters stay for the cleaning to remove."""
    with opener() as handle, io.TextIOWrapper(handle, encoding=encoding, newline="") as text:
        yield from text


def _ended(lines: Iterator[str]) -> Iterator[str]:
    """The lines, the last one with a line end, and then the end mark as a line of its own."""
    line = "\n"
    for line in lines:
        yield line
    if not line.endswith(("\n", "\r")):
        yield "\n"
    yield _END


def _separator(opener: Opener, path: Path, encoding: str, wanted: str) -> str:
    """The separator that cuts the first rows into the same number of cells, most consistently."""
    if wanted != "auto":
        found = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}.get(wanted, wanted)
        if len(found) != 1:
            raise DataError(f"data.separator = '{wanted}' must be one character, such as ',' ';' '|' or a tab.")
        return found
    sample = "".join(itertools.islice(_lines(opener, encoding), _LOOK_LINES))[:_LOOK_CHARACTERS]
    scores = {one: _score(sample, one) for one in _SEPARATORS}
    if path.suffixes[:1] in ([".tsv"], [".tab"]) and scores["\t"][0] > 0:
        return "\t"
    return max(scores, key=lambda one: scores[one])


def _score(sample: str, separator: str) -> tuple[float, int]:
    """How evenly a separator cuts a sample: the share of rows with the usual width, then that width."""
    limit = csv.field_size_limit(_LONGEST_CELL)  # Python's own is too low for a long note
    try:
        rows = [row for row in csv.reader(io.StringIO(sample, newline=""), delimiter=separator) if any(row)]
    finally:
        csv.field_size_limit(limit)
    if len(rows) > 2:
        rows = rows[:-1]  # the sample may end inside it
    if not rows:
        return 0.0, 0
    width, count = max(Counter(map(len, rows)).items(), key=lambda item: (item[1], item[0]))
    if width < 2:
        return 0.0, width
    return round(count / len(rows), 2), width


def _read(opener: Opener, path: Path, encoding: str, separator: str, guessed: bool, progress: Progress) -> Table:
    """Read all rows strictly; where the quoting is broken, read again leniently and say so."""
    remarks: list[str] = []
    try:
        table = _rows(opener, path, encoding, separator, progress, strict=True)
    except _LooseQuote as fault:
        remarks.append(
            f"row {fault.row:,} has text after a closing quote; such cells are read as they stand, without the quote"
        )
        table = _rows(opener, path, encoding, separator, progress, strict=False)
    frame, shape, seen, notes = table
    if guessed:
        remarks.append(
            f"it is not UTF-8 and was read as {encoding}, a guess from its letters; if accented letters look wrong, "
            "set data.encoding"
        )
    remarks += notes + _shape_remarks(shape)
    what = f"{_SEPARATORS.get(separator, separator)}, {encoding_text(encoding)}"
    said = f"read {frame.height:,} rows and {frame.width:,} columns of {path.name}: {what}"
    seen |= {"format": "csv", "encoding": encoding, "separator": separator, "encoding_guessed": guessed}
    return Table(frame, tuple(shape.rows), path.name, seen, (said,), tuple(remarks))


class _LooseQuote(Exception):
    """A cell goes on after its closing quote, at this row."""

    def __init__(self, row: int) -> None:
        self.row = row
        super().__init__(row)


def _rows(
    opener: Opener, path: Path, encoding: str, separator: str, progress: Progress, *, strict: bool
) -> tuple[pl.DataFrame, _Shape, dict[str, object], list[str]]:
    """Header and rows as a frame of strings."""
    import polars as pl

    records = _records(opener, path.name, encoding, separator, strict=strict)
    header, number, early, notes = _header(records, path.name)
    names, remarks = name_columns(_without_tail(header), path.name)
    shape = _Shape(len(names), path.name)
    frames = []
    fitted = _fit(itertools.chain(early, records), shape)
    with progress.task(f"reading {path.name}", unit="rows") as task:
        while batch := list(itertools.islice(fitted, _BATCH)):
            frames.append(pl.DataFrame(dict(zip(names, map(list, zip(*batch, strict=True)), strict=True))))
            task.advance(len(batch))
    empty = pl.DataFrame({name: [] for name in names}, schema=dict.fromkeys(names, pl.String))
    frame = pl.concat(frames) if frames else empty
    return frame, shape, {"header_row": number}, notes + remarks


def _records(
    opener: Opener, file: str, encoding: str, separator: str, *, strict: bool
) -> Iterator[tuple[int, list[str]]]:
    """Each record with its number, counted from 1 with blank ones.

    Raises:
        DataError: a quote is opened and never closed.
        _LooseQuote: only when strict.
    """
    limit = csv.field_size_limit(_LONGEST_CELL)
    reader = csv.reader(_ended(_lines(opener, encoding)), delimiter=separator, strict=strict)
    number, line = 0, 0
    try:
        for record in reader:
            if record == [_END]:
                return
            if record and record[-1].endswith(_END):
                break
            number, line = number + 1, reader.line_num
            yield number, record
    except csv.Error as error:
        if "unexpected end of data" not in str(error):
            raise _LooseQuote(number + 1) from None
    finally:
        csv.field_size_limit(limit)
    raise DataError(
        f"{file}, row {number + 1:,} (line {line + 1:,}) opens a quote that is never closed; "
        "close it, or double the quotes inside that cell."
    )


def _header(
    records: Iterator[tuple[int, list[str]]], file: str
) -> tuple[list[str], int, list[tuple[int, list[str]]], list[str]]:
    """The row of column names, skipping comments and titles above it; and what was read ahead.

    Raises:
        DataError: there is none.
    """
    ahead = list(itertools.islice(records, 50))
    filled = [(number, row) for number, row in ahead if any(cell.strip() for cell in row)]
    if not filled:
        raise DataError(f"{file} is empty; is it the right file, and was the export finished?")
    widths = Counter(len(_without_tail(row)) for _, row in filled if not _comment(row))
    usual = max(widths, key=lambda width: (widths[width], width)) if widths else 1
    for place, (number, row) in enumerate(filled):
        if _comment(row) or (len(_without_tail(row)) < min(usual, 2)):
            continue
        notes = [f"the first {number - 1:,} rows are above the column names and were left out"] if place else []
        return row, number, [one for one in ahead if one[0] > number], notes
    raise DataError(f"{file} has no row of column names; put one above the data.")


def _comment(row: Sequence[str]) -> bool:
    """A line that a program wrote above the table."""
    return row[0].lstrip().startswith(("#", "//")) and len(row[0].strip()) > 1 if row else False


def _without_tail(row: list[str]) -> list[str]:
    """A row without the empty cells at its end."""
    end = len(row)
    while end and not row[end - 1].strip():
        end -= 1
    return row[:end]


def _fit(records: Iterator[tuple[int, list[str]]], shape: _Shape) -> Iterator[list[str]]:
    """Rows of exactly the header's width: empty cells are added or left out, anything else is refused.

    Raises:
        DataError: a row holds more cells than there are columns.
    """
    for number, row in records:
        if not any(row) or not any(cell.strip() for cell in row):
            shape.blank += 1
            continue
        if len(row) > shape.width:
            if any(cell.strip() for cell in row[shape.width :]):
                raise DataError(
                    f"{shape.file}, row {number:,} has {len(row)} cells and there are {shape.width} columns; "
                    "a cell that holds the separator or a line break must stand in quotes."
                )
            shape.trimmed += 1
            row = row[: shape.width]
        elif len(row) < shape.width:
            shape.short += 1
            shape.first_short = shape.first_short or number
            row = row + [""] * (shape.width - len(row))
        shape.rows.append(number)
        yield row


def _shape_remarks(shape: _Shape) -> list[str]:
    """Sentences on rows that had to be filled up, cut or left out.

    Raises:
        DataError: most rows are short: the file is not cut where it should be.
    """
    remarks = []
    if shape.short > 0.5 * max(len(shape.rows), 1):
        raise DataError(
            f"{shape.file}: {shape.short:,} of {len(shape.rows):,} rows have fewer cells than the {shape.width} "
            f"columns (the first is row {shape.first_short:,}); are line breaks inside notes without quotes, or is the "
            "separator wrong?"
        )
    if shape.short:
        remarks.append(
            f"{shape.short:,} rows have fewer cells than there are columns and were filled up with empty ones "
            f"(the first is row {shape.first_short:,}); look at it, a line break inside a note needs quotes"
        )
    if shape.blank:
        remarks.append(f"{shape.blank:,} blank rows were left out")
    return remarks
