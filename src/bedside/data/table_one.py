"""Table one: who the cases are, in each split and together, and how far training and test are apart.

Ages and sexes are found among the columns that the protocol keeps, by name and by values. A count of one to four cases
is written as ``<5``, and where it could be worked out from its neighbours, one of these is hidden too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bedside.data.cohort import SPLITS

if TYPE_CHECKING:
    import polars as pl

SMALLEST = 5
HIDDEN = "hidden"
OVERALL = "overall"
MISSING = "not given"
OTHER = "other values"
_MOST_LEVELS = 12
_LONGEST = 40  # characters of a value that is shown; a longer one is likely free text
_BANDS = ((0, 17), (18, 39), (40, 64), (65, 79), (80, 89), (90, 200))
_AGE = re.compile(r"(?:^|_|\b)(?:age|ages|alter|edad|âge|yas|yaş)(?:$|_|\b)", re.IGNORECASE)
_SEX = re.compile(r"(?:^|_|\b)(?:sex|gender|sexo|sexe|geschlecht)(?:$|_|\b)", re.IGNORECASE)
_OWN = {"case_id", "text", "label", "patient", "split", "group", "time_rank"}
Levels = NDArray[np.int64]


class Row(NamedTuple):
    """A line of the table: a variable, what of it, a cell for each column, and the standardised difference."""

    variable: str
    level: str
    cells: tuple[str, ...]
    difference: float | None = None


def small(count: int) -> int | str:
    """A count as it may be written: ``<5`` for one to four."""
    return f"<{SMALLEST}" if 0 < count < SMALLEST else count


def is_age(name: str, values: pl.Series) -> bool:
    """Whether a column is one of ages in years: by its name, and nearly all of its numbers between 0 and 120."""
    if not values.dtype.is_numeric() or not _AGE.search(name):
        return False
    filled = values.drop_nulls()
    return bool(filled.len()) and float(filled.is_between(0, 120).mean() or 0) >= 0.95  # type: ignore[arg-type]


def is_sex(name: str, values: pl.Series) -> bool:
    """Whether a column is one of sexes: by its name, and at most six values."""
    return bool(_SEX.search(name)) and values.drop_nulls().n_unique() <= 6


def extra_columns(frame: pl.DataFrame) -> list[str]:
    """The columns that a protocol chose to keep, the site among them."""
    return [name for name in frame.columns if name not in _OWN]


def exploded(values: pl.Series) -> tuple[NDArray[np.int64], pl.Series]:
    """The row and the value of each entry: one a row, or as many as a row's list holds."""
    import polars as pl

    rows = np.arange(values.len(), dtype=np.int64)
    if not isinstance(values.dtype, pl.List):
        return rows, values
    counts = values.list.len().fill_null(0).to_numpy()
    flat: list[str] = [name for names in values.to_list() for name in names or ()]
    return np.repeat(rows, counts), pl.Series(values.name, flat, dtype=pl.String)


def table_one(frame: pl.DataFrame, *, patients: bool) -> dict[str, Any]:
    """Baseline characteristics by split.

    Args:
        frame: the cohort's.
        patients: whether a column names the patients.

    Returns:
        JSON-able: ``columns`` and ``rows`` of ``{"variable", "level", "cells", "difference"}``. The difference is the
        standardised one between training and test: of means over the pooled standard deviation, or of shares of several
        values by Mahalanobis distance (Austin 2009; Yang and Dalton 2012).
    """
    split = frame["split"].to_numpy()
    where = [np.ones(frame.height, dtype=np.bool_), *(split == name for name in SPLITS)]
    rows = [Row("Cases", "n", tuple(f"{int(one.sum()):,}" for one in where))]
    if patients:
        rows += _patients(frame, where)
    for name in extra_columns(frame):
        rows += _variable(name, frame[name], where)
    places, names = exploded(frame["label"])
    sizes = [int(one.sum()) for one in where]
    rows += _categories("Label", names, [one[places] for one in where], most=10_000, totals=sizes)
    return {
        "columns": [OVERALL, *SPLITS],
        "rows": [{**row._asdict(), "cells": list(row.cells)} for row in rows],
        "smallest": SMALLEST,
        "hidden": sum(cell == HIDDEN for row in rows for cell in row.cells),
    }


def _variable(name: str, values: pl.Series, where: Sequence[NDArray[np.bool_]]) -> list[Row]:
    """The rows of one kept column, as what it is."""
    if is_age(name, values):
        return _ages(name, values, where)
    if is_sex(name, values):
        return _categories(f"Sex ({name})" if name.lower() != "sex" else "Sex", values, where)
    if values.dtype.is_numeric():
        return _number(name, values, where)
    return _categories(name[:1].upper() + name[1:], values, where)


def _patients(frame: pl.DataFrame, where: Sequence[NDArray[np.bool_]]) -> list[Row]:
    """How many patients, and how many notes each has."""
    people = frame["patient"].to_numpy()
    notes = [np.unique(people[one], return_counts=True)[1] for one in where]
    return [
        Row("Patients", "n", tuple(str(small(len(one))) if len(one) < SMALLEST else f"{len(one):,}" for one in notes)),
        Row(
            "Notes per patient",
            "median (quartiles)",
            tuple(map(_quartiles, notes)),
            _rounded(difference_of_means(notes[1], notes[-1])),
        ),
    ]


def _ages(name: str, values: pl.Series, where: Sequence[NDArray[np.bool_]]) -> list[Row]:
    """Median and quartiles, and bands; over 89 is one band, as Safe Harbor (45 CFR 164.514) has it."""
    import polars as pl

    title = "Age, years" if name.lower() == "age" else f"Age, years ({name})"
    bands = age_bands(values)
    names = [_called(band) for band in _BANDS]
    return [
        *_number(title, values.clip(None, 90), where),
        *_categories(f"{title}, bands", pl.Series(bands, dtype=pl.String), where, order=names),
    ]


def age_bands(values: pl.Series) -> list[str | None]:
    """[cases] the band of each age in years; None where it is not given."""
    import polars as pl

    return [_band(age) for age in values.cast(pl.Float64).to_list()]


def _band(age: float | None) -> str | None:
    if age is None:
        return None
    return next((_called(band) for band in _BANDS if age < band[1] + 1), None)


def _called(band: tuple[int, int]) -> str:
    return "90+" if band[0] == 90 else f"{band[0]}–{band[1]}"


def _number(title: str, values: pl.Series, where: Sequence[NDArray[np.bool_]]) -> list[Row]:
    """Median and quartiles of a column of numbers, and how many are missing."""
    import polars as pl

    column = values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    parts = [column[one & ~np.isnan(column)] for one in where]
    rows = [
        Row(
            title,
            "median (quartiles)",
            tuple(map(_quartiles, parts)),
            _rounded(difference_of_means(parts[1], parts[-1])),
        )
    ]
    if np.isnan(column).any():
        missing = np.asarray([[int((one & np.isnan(column)).sum()) for one in where]])
        filled = np.asarray([[len(part) for part in parts]])
        shown = _shown(np.concatenate([missing, filled]), [int(one.sum()) for one in where])
        rows.append(Row(title, MISSING, shown[0]))
    return rows


def _categories(
    title: str,
    values: pl.Series,
    where: Sequence[NDArray[np.bool_]],
    *,
    order: Sequence[str] = (),
    most: int = _MOST_LEVELS,
    totals: Sequence[int] | None = None,
) -> list[Row]:
    """The values of a column with counts and shares (of ``totals``); rare and long ones are counted together."""
    cells = values.to_list()
    levels = list(order) or shown_levels(cells, most)
    keep = set(levels)
    told = np.asarray([MISSING if one is None else one if one in keep else OTHER for one in cells], dtype=object)
    names = [one for one in [*levels, OTHER, MISSING] if (told == one).any()]
    counts = np.asarray([[int((told[one] == name).sum()) for one in where] for name in names], dtype=np.int64)
    shown = _shown(counts, totals or [int(one.sum()) for one in where])
    apart = _rounded(difference_of_shares(counts[:, 1], counts[:, -1]))
    return [Row(title, name, shown[place], apart if place == 0 else None) for place, name in enumerate(names)]


def shown_levels(cells: Sequence[Any], most: int = _MOST_LEVELS) -> list[str]:
    """The values that may be named: short, of five cases at least, the commonest first.

    A value that few cases have may name a person.
    """
    counts = Counter(str(one) for one in cells if one is not None)
    common = sorted((-n, one) for one, n in counts.items() if n >= SMALLEST and len(one) <= _LONGEST)
    return [one for _, one in common[:most]]


def _shown(counts: Levels, totals: Sequence[int]) -> list[tuple[str, ...]]:
    """[levels] cells as ``123 (45.6%)``, with small ones hidden."""
    covered = hidden_cells(counts)
    return [
        tuple(
            _cell(int(count), total, covered=bool(cover))
            for count, total, cover in zip(line, totals, hidden, strict=True)
        )
        for line, hidden in zip(counts, covered, strict=True)
    ]


def _cell(count: int, total: int, *, covered: bool) -> str:
    if 0 < count < SMALLEST:
        return str(small(count))
    return HIDDEN if covered else f"{count:,} ({count / max(total, 1):.1%})"


def hidden_cells(counts: Levels) -> NDArray[np.bool_]:
    """[levels, columns] which cells must not be shown.

    The small ones; and where just one of a row or of a column is hidden, so that it could be worked out from the total,
    the next smallest beside it, until no such row or column is left.
    """
    hidden = (counts > 0) & (counts < SMALLEST)
    changed = bool(hidden.any())
    while changed:
        changed = False
        for cells, covered in [*zip(counts, hidden, strict=True), *zip(counts.T, hidden.T, strict=True)]:
            free = np.flatnonzero(~covered & (cells > 0))
            if covered.sum() == 1 and len(free):
                covered[free[np.argmin(cells[free])]] = True  # a view: it is hidden in the table
                changed = True
    return hidden


def _quartiles(values: NDArray[Any]) -> str:
    """``54 (41–67)``; of fewer than five values nothing is shown."""
    if len(values) < SMALLEST:
        return "too few"
    low, middle, high = np.percentile(values, [25, 50, 75])
    return f"{middle:g} ({low:g}–{high:g})"


def difference_of_means(one: NDArray[Any], other: NDArray[Any]) -> float | None:
    """The standardised difference of two means: over the root of the mean of both variances (Austin 2009)."""
    if len(one) < 2 or len(other) < 2:
        return None
    spread = float(np.sqrt((one.var(ddof=1) + other.var(ddof=1)) / 2))
    return float(other.mean() - one.mean()) / spread if spread > 0 else None


def difference_of_shares(one: Levels, other: Levels) -> float | None:
    """The standardised difference of two distributions over values: a Mahalanobis distance (Yang and Dalton 2012).

    For two values it is the difference of shares over the root of the mean of both variances.
    """
    if one.sum() == 0 or other.sum() == 0 or len(one) < 2:
        return None
    first, second = one[1:] / one.sum(), other[1:] / other.sum()
    cover = (np.diag(first) - np.outer(first, first) + np.diag(second) - np.outer(second, second)) / 2
    gap = second - first
    return float(np.sqrt(max(gap @ np.linalg.pinv(cover) @ gap, 0.0)))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3) + 0.0


def rows_of(found: Mapping[str, Any]) -> list[list[Any]]:
    """The table's rows as they are printed."""
    return [[f"{one['variable']}: {one['level']}", *one["cells"], one["difference"]] for one in found["rows"]]
