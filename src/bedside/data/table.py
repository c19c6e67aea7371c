"""A source as it was read: every cell text, every row with the number that the user sees in the file.

This module knows no file format. It refuses a table without rows or columns, and it never changes a cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bedside.core.errors import DataError

if TYPE_CHECKING:
    import polars as pl

LONGEST_NAME = 300


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
    """

    frame: pl.DataFrame
    rows: tuple[int, ...]
    file: str
    seen: dict[str, Any]
    observations: tuple[str, ...] = ()
    warnings: tuple[str, ...] = field(default=())


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
        name = " ".join(cell.replace("\ufeff", "").replace("\x00", "").split())
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
    lost = frame.select(pl.all().str.contains(r"\?\?|\x{FFFD}").sum()).row(0)
    return [
        f"column '{name}' has {count:,} cells with '??' or a replacement character: letters were lost before this "
        "file was written; export it again as UTF-8 if you can"
        for name, count in zip(frame.columns, lost, strict=True)
        if count
    ]


def require_rows(frame: pl.DataFrame, file: str) -> None:
    """Refuse a table that holds nothing to learn from.

    Raises:
        DataError: there is no row below the column names.
    """
    if frame.height == 0:
        raise DataError(f"{file} has column names but no rows; is it the right file, and was the export finished?")
