"""Workbooks (.xlsx): the cells' values as text, the first sheet unless another is named.

A workbook harms notes in ways that a person does not see: a cell holds at most 32,767 characters, so a long note ends
there, and an id typed as a number has lost its leading zeros. Both are said; neither can be mended from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bedside.core.errors import DataError
from bedside.core.progress import Progress
from bedside.data.table import Table, name_columns
from bedside.protocol import DataSection

if TYPE_CHECKING:
    import polars as pl

LONGEST_CELL = 32_767


def read(path: Path, data: DataSection, progress: Progress) -> Table:
    """Read one sheet.

    Raises:
        DataError: it is no workbook, the sheet does not exist or is empty.
    """
    sheet, raw = _sheet(path, data.sheet, progress)
    cells = raw.fill_null("").rows()
    top = _header_row(cells)
    if top is None:
        raise DataError(f"{path.name}, sheet '{sheet}' is empty; name another with data.sheet.")
    used = _width(cells[top:])
    names, remarks = name_columns(cells[top][:used], path.name)
    frame = raw.fill_null("").select(raw.columns[:used])
    frame.columns = names
    frame, rows = _filled(frame, top)
    if top:
        remarks.append(f"the first {top:,} rows are above the column names and were left out")
    remarks += _cut_cells(frame) + _lost_zeros(frame)
    said = f"read {frame.height:,} rows and {frame.width:,} columns of {path.name}: sheet '{sheet}'"
    return Table(frame, rows, path.name, {"format": "xlsx", "sheet": sheet}, (said,), tuple(remarks))


def _sheet(path: Path, wanted: str | None, progress: Progress) -> tuple[str, pl.DataFrame]:
    """A sheet's name and all its cells as strings, blank rows and all."""
    import fastexcel
    import polars as pl

    try:
        with progress.task(f"reading {path.name}", unit="rows"):
            book = fastexcel.read_excel(path)
            names: list[str] = book.sheet_names
            if wanted is not None and wanted not in names:
                raise DataError(f"{path.name} has no sheet '{wanted}'; it has: {', '.join(names)} (data.sheet).")
            name = wanted if wanted is not None else names[0]
            sheet = book.load_sheet(name, header_row=None, skip_rows=0, dtypes="string")
            return name, sheet.to_polars()
    except (fastexcel.FastExcelError, pl.exceptions.PolarsError, IndexError) as error:
        raise DataError(f"{path.name} is no readable workbook; save it again as .xlsx or as .csv.") from error


def _header_row(cells: Sequence[tuple[str, ...]]) -> int | None:
    """The first row with at least two filled cells and as many as half of the rows below it have."""
    filled = [sum(bool(cell.strip()) for cell in row) for row in cells[:50]]
    most = max(filled, default=0)
    if most == 0:
        return None
    return next(place for place, count in enumerate(filled) if count >= min(2, most) and count * 2 >= most)


def _width(cells: Sequence[tuple[str, ...]]) -> int:
    """How many columns hold anything at all."""
    width = 1
    for row in cells:
        for place in range(len(row), width, -1):
            if row[place - 1].strip():
                width = place
                break
    return width


def _filled(frame: pl.DataFrame, top: int) -> tuple[pl.DataFrame, tuple[int, ...]]:
    """The rows below the header that hold anything, and their numbers in the sheet."""
    import polars as pl

    below = frame.with_row_index("\x00row", offset=1).slice(top + 1)
    below = below.filter(pl.any_horizontal(pl.col(frame.columns).str.strip_chars() != ""))
    return below.drop("\x00row"), tuple(below["\x00row"].to_list())


def _cut_cells(frame: pl.DataFrame) -> list[str]:
    """Columns with cells at a workbook's limit: the note went on."""
    import polars as pl

    # A workbook counts in units of UTF-16, where an emoji is two; some programs that write one count characters.
    characters = pl.all().str.len_chars()
    units = characters + pl.all().str.count_matches(r"[\x{10000}-\x{10FFFF}]")
    full = (characters == LONGEST_CELL) | (units == LONGEST_CELL)
    counts = frame.select(full.sum()).row(0) if frame.height else ()
    return [
        f"column '{name}' has {count:,} cell{'' if count == 1 else 's'} of exactly {LONGEST_CELL:,} characters, the "
        f"most a workbook holds: {'that note is' if count == 1 else 'those notes are'} cut; export from the source as "
        ".csv"
        for name, count in zip(frame.columns, counts, strict=False)
        if count
    ]


def _lost_zeros(frame: pl.DataFrame) -> list[str]:
    """Id columns of digits in which most are equally long and some shorter, and none begins with 0."""
    import polars as pl

    remarks = []
    for name in frame.columns:
        if not any(word in name.lower() for word in ("id", "mrn", "patient", "person", "number", "code")):
            continue
        values = frame[name].filter(frame[name] != "")
        if values.len() < 2 or not values.str.contains(r"^[1-9]\d*$").all():
            continue
        lengths = values.str.len_chars().cast(pl.Int64).value_counts().sort("count", descending=True)
        usual, share = int(lengths[name][0]), lengths["count"][0] / values.len()
        longest = values.str.len_chars().max()
        if usual >= 4 and 0.5 < share < 1 and usual == longest:
            remarks.append(
                f"column '{name}' looks as if it had lost leading zeros (most have {usual} digits, some fewer); "
                "format it as text in the workbook if two ids could now be one"
            )
    return remarks
