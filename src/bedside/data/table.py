"""A source as it was read: every cell text, every row with the number that the user sees in the file.

This module knows no file format. It refuses a table without rows or columns, and it never changes a cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bedside.core.errors import DataError
from bedside.data.clean import without_marks

if TYPE_CHECKING:
    import polars as pl

LONGEST_NAME = 300
_NUMERIC = 0.95  # share of filled cells that must parse before a column is one of numbers
_ABSENT = frozenset({"", "nan", "null", "n/a", "#n/a", "<na>", "na", "nil", "-", "?", "??", "???"})
_ONLY_MARKS = r"^\s*\?{1,3}\s*$"
_DECIMAL_COMMA = r"^\s*([+-]?\d+),(\d+)\s*$"
_THOUSANDS = r"^[+-]?\d{1,3}(,\d{3})+$"


@dataclass(frozen=True)
class Table:
    """What a reader hands on.

    Attributes:
        frame: strings only, never null; an empty cell is an empty string.
        rows: for each row of the frame, its number in the file, where the header is usually row 1.
        file: the file's name, for sentences.
        seen: format, encoding, separator, sheet: what the reader found.
        observations: sentences for the user, in passing.
        warnings: sentences that should not be missed.
        files: for each row of the frame, the name of its file, where several were joined; else empty.
    """

    frame: pl.DataFrame
    rows: tuple[int, ...]
    file: str
    seen: dict[str, Any]
    observations: tuple[str, ...] = ()
    warnings: tuple[str, ...] = field(default=())
    files: tuple[str, ...] = ()

    def row(self, place: int) -> str:
        """Where the user finds the row at this place of the frame: ``row 7``, or ``row 7 of b.csv``."""
        found = f"row {self.rows[place]:,}"
        return f"{found} of {self.files[place]}" if self.files else found

    def key(self, place: int) -> str:
        """A name of the row at this place that no other row has."""
        return f"{self.files[place]}\x1f{self.rows[place]}" if self.files else f"{self.rows[place]}"


def name_columns(cells: Sequence[str], file: str) -> tuple[list[str], list[str]]:
    """Make a header usable: trimmed, each name once, blanks named by their place.

    Returns:
        The names, and a sentence for each thing that was changed.

    Raises:
        DataError: a name is so long that the row is surely not a header.
    """
    names: list[str] = []
    remarks: list[str] = []
    taken: set[str] = set()
    for place, cell in enumerate(cells, start=1):
        name = " ".join(without_marks(cell).split())
        if len(name) > LONGEST_NAME:
            raise DataError(
                f"{file}: the first row holds a cell of {len(name):,} characters in column {place}, so it is "
                "no row of column names; put one above the data."
            )
        if not name:
            name = f"unnamed_{place}"
            remarks.append(f"column {place} has no name and is called '{name}'")
        fresh, count = name, 1
        while fresh in taken:
            count += 1
            fresh = f"{name}_{count}"
        if fresh != name:
            remarks.append(f"the column name '{name}' occurs again in column {place}, which is called '{fresh}'")
        taken.add(fresh)
        names.append(fresh)
    return names, _shorten(remarks)


def _shorten(remarks: list[str], most: int = 5) -> list[str]:
    """The first few remarks, and how many more there are."""
    if len(remarks) <= most:
        return remarks
    return [*remarks[:most], f"and {len(remarks) - most:,} more column names like that"]


def damaged_cells(frame: pl.DataFrame) -> list[str]:
    """A sentence for each column with cells in which an earlier program lost letters (``??`` or U+FFFD)."""
    import polars as pl

    if not frame.width or not frame.height:
        return []
    marked = pl.all().str.contains(_ONLY_MARKS)
    lost = frame.select((pl.all().str.contains(r"\?\?|\x{FFFD}") & ~marked).sum()).row(0)
    return [
        f"column '{name}' has {count:,} cell{'' if count == 1 else 's'} with '??' or a replacement character inside: "
        "if letters were lost before this file was written, export it again as UTF-8"
        for name, count in zip(frame.columns, lost, strict=True)
        if count
    ]


def marked_cells(frame: pl.DataFrame) -> list[str]:
    """A sentence on the cells that hold nothing but question marks."""
    import polars as pl

    counts = frame.select(pl.all().str.contains(_ONLY_MARKS).sum()).row(0)
    found = [f"'{name}' {count:,}" for name, count in zip(frame.columns, counts, strict=True) if count]
    if not found:
        return []
    return [f"cells that hold only '?' or '??' count as absent: {_listed(found)}"]


def decimal_commas(frame: pl.DataFrame) -> list[str]:
    """A sentence on the columns of numbers that are written with a decimal comma."""
    found = [f"'{name}'" for name in frame.columns if numbers(frame[name]) is not None and _commas(frame[name])]
    if not found:
        return []
    return [f"numbers with a decimal comma are read as numbers where they are kept: {_listed(found)}"]


def _commas(values: pl.Series) -> bool:
    """Whether any cell is a number with a decimal comma."""
    return bool(values.str.contains(_DECIMAL_COMMA).any())


def _listed(names: Sequence[str], most: int = 8) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def is_absent(cell: str) -> bool:
    """Whether a trimmed cell says that there is nothing. ``None`` is a value: it may mean 'no diagnosis'."""
    return cell.lower() in _ABSENT


def text_or_null(values: pl.Series) -> pl.Series:
    """Trimmed text; a cell that says that there is nothing is null."""
    trimmed = values.str.strip_chars()
    return trimmed.set(trimmed.str.to_lowercase().is_in(sorted(_ABSENT)), None)


def numbers(values: pl.Series) -> pl.Series | None:
    """A column as numbers where nearly all of its cells are, with a decimal point or comma; else None.

    Ids with leading zeros are no numbers, and neither are commas that may as well separate thousands (250,000).
    """
    import polars as pl

    text = text_or_null(values)
    filled = text.drop_nulls()
    commas = filled.filter(filled.str.contains(","))
    if (
        not filled.len()
        or filled.str.contains(r"^0\d").any()
        or (commas.len() and commas.str.contains(_THOUSANDS).all())
    ):
        return None
    found = text.str.replace(_DECIMAL_COMMA, "$1.$2").cast(pl.Float64, strict=False)
    found = found.set(~found.is_finite().fill_null(False), None)
    return found if found.drop_nulls().len() >= _NUMERIC * filled.len() else None


def require_rows(frame: pl.DataFrame, file: str) -> None:
    """Refuse a table that holds nothing to learn from.

    Raises:
        DataError: there is no row below the column names.
    """
    if frame.height == 0:
        raise DataError(f"{file} has column names but no rows; is it the right file, and was the export finished?")
