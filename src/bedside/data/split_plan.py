"""Which way of dividing the protocol asks for, read from the table: the time, the site or the given part of each row.

Nothing is divided here. A row of which the way of dividing knows nothing (no time, no site, no part) can be on no side
of the split without risk, so it is left out and counted; a name that the table does not hold is refused with the
nearest that it does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bedside.core.errors import DataError
from bedside.data.cohort import SPLITS
from bedside.data.labels import tidy
from bedside.data.table import Table, is_absent
from bedside.data.wording import counted, every, meant
from bedside.protocol import DataSection, SplitSection

TRAIN, VALIDATION, CALIBRATION, TEST = range(len(SPLITS))
_PARTS = {
    **{"train": TRAIN, "training": TRAIN},
    **{"validation": VALIDATION, "valid": VALIDATION, "val": VALIDATION, "dev": VALIDATION},
    **{"calibration": CALIBRATION, "calib": CALIBRATION, "cal": CALIBRATION},
    **{"test": TEST, "testing": TEST},
}
_MOST_PARTS = 12  # a column with more different values says something else, and what it says may be text of a case
_MOST_FOLDS = 100


@dataclass(frozen=True)
class Plan:
    """How the rows of a table are to be divided.

    Attributes:
        split: the protocol's section.
        values: [rows of the table] the rank of the time, or the number of the part; -1 where there is none; None
            for a division at random.
        missing: why rows without a value are left out, as the report says it.
        folds: [rows of the table] the given fold, -1 where there is none; None where none are given.
        row: where the user finds the row at a place of the table, for sentences.
        file: the table's name.
    """

    split: SplitSection
    values: NDArray[np.int64] | None
    missing: str
    folds: NDArray[np.int64] | None
    row: Callable[[int], str]
    file: str

    def usable(self, places: Sequence[int]) -> NDArray[np.bool_]:
        """[rows] whether each has what the division goes by.

        Raises:
            DataError: none has.
        """
        if self.values is None:
            return np.ones(len(places), dtype=np.bool_)
        found: NDArray[np.bool_] = self.values[np.asarray(places, dtype=np.int64)] >= 0
        if not found.any():
            raise DataError(
                f"{self.file}: no row with a text and a label can be divided by split.method = '{self.split.method}' "
                f"({self.missing}); set split.method = 'random'."
            )
        return found


def plan_split(table: Table, data: DataSection, split: SplitSection) -> Plan:
    """Read from the table what the division goes by.

    Raises:
        DataError: a column, a site or a part is not what the protocol says; one sentence with the nearest names.
    """
    values, missing = None, ""
    if split.method == "temporal":
        values, missing = _times(table, data), "no time for a split by time"
    elif split.method == "site":
        values, missing = _sites(table, data, split), "no site for a split by site"
    elif split.method == "given":
        values, missing = _given(table, data, split), f"no part in column '{split.column}'"
    folds = _given_folds(table, data, split.folds) if isinstance(split.folds, str) else None
    return Plan(split, values, missing, folds, table.row, table.file)


def _times(table: Table, data: DataSection) -> NDArray[np.int64]:
    """[rows of the table] the rank of each time."""
    from bedside.data.times import time_rank

    if data.time is None:
        raise DataError(
            "split.method = 'temporal' needs data.time: name the column with the time of the note under [data]."
        )
    ranks, _ = time_rank(table.frame[data.time])  # what is odd about them is said where the rank is written
    found: NDArray[np.int64] = ranks.fill_null(-1).to_numpy().astype(np.int64)
    known = len(np.unique(found[found >= 0]))
    if known < len(SPLITS):
        raise DataError(
            f"split.method = 'temporal' needs {len(SPLITS)} different times at least, and column '{data.time}' of "
            f"{table.file} holds {known} that can be read; name another column, or set split.method = 'random'."
        )
    return found


def _sites(table: Table, data: DataSection, split: SplitSection) -> NDArray[np.int64]:
    """[rows of the table] test for the sites held out, train for the others."""
    if data.site is None:
        raise DataError(
            "split.method = 'site' needs data.site: name the column with the hospital or ward under [data]."
        )
    names = [tidy(str(one)) for one in table.frame[data.site]]
    known = [name for name, _ in Counter(one for one in names if not is_absent(one)).most_common()]
    if not split.test_sites:
        raise DataError(f"split.method = 'site' needs split.test_sites, the sites held out; {every(known, 'sites')}.")
    held = {tidy(name) for name in split.test_sites}
    for name in sorted(held):
        if name not in known:
            raise DataError(
                f"split.test_sites names '{name}', which is no site in column '{data.site}' of {table.file}"
                f"{meant(name, known) or '.'} {every(known, 'sites')}."
            )
    if held >= set(known):
        raise DataError(
            f"split.test_sites names every site in column '{data.site}' of {table.file}, so none is left to learn "
            "from; leave one out."
        )
    return np.asarray([-1 if is_absent(one) else TEST if one in held else TRAIN for one in names], dtype=np.int64)


def _given(table: Table, data: DataSection, split: SplitSection) -> NDArray[np.int64]:
    """[rows of the table] the part that the column says."""
    column = str(split.column)
    cells = _cells(table, data, "split.column", column)
    different = list(dict.fromkeys(one for one in cells if not is_absent(one)))
    if len(different) > _MOST_PARTS:
        raise DataError(
            f"split.column = '{column}' holds {len(different):,} different values in {table.file}, so it does not say "
            "train, validation, calibration or test; name another column."
        )
    for name in different:
        if name.casefold() not in _PARTS:
            rows = [place for place, one in enumerate(cells) if one == name]
            raise DataError(
                f"split.column = '{column}' says '{name[:30]}' in {counted(len(rows), 'row')} of {table.file} (the "
                f"first is {table.row(rows[0])}){meant(name.casefold(), list(_PARTS)) or '.'} It may say train, "
                "validation (valid, val, dev), calibration (calib, cal) or test."
            )
    found = np.asarray([-1 if is_absent(one) else _PARTS[one.casefold()] for one in cells], dtype=np.int64)
    if not (found == TRAIN).any():
        raise DataError(
            f"split.column = '{column}' says train in no row of {table.file}; it needs cases to learn from."
        )
    return found


def _given_folds(table: Table, data: DataSection, column: str) -> NDArray[np.int64]:
    """[rows of the table] the number of the fold that the column names."""
    cells = _cells(table, data, "split.folds", column)
    names = sorted({one for one in cells if not is_absent(one)}, key=lambda one: (len(one), one))  # 2 before 10
    if not 2 <= len(names) <= _MOST_FOLDS:
        raise DataError(
            f"split.folds = '{column}' holds {counted(len(names), 'different value')} in {table.file}, and folds are "
            f"from 2 to {_MOST_FOLDS}; name another column, or give a number of folds."
        )
    numbers = {name: number for number, name in enumerate(names)}
    return np.asarray([numbers.get(one, -1) for one in cells], dtype=np.int64)


def _cells(table: Table, data: DataSection, key: str, column: str) -> list[str]:
    """The cells of a column that the protocol's split names."""
    if column not in table.frame.columns:
        names = list(table.frame.columns)
        raise DataError(
            f"{key} = '{column}' is no column of {table.file}{meant(column, names) or '.'} {every(names, 'columns')}."
        )
    if column in {*data.text_columns(), data.label, data.patient, data.case_id}:
        raise DataError(f"{key} = '{column}' is a column that [data] names for something else; name another.")
    return [str(one).strip() for one in table.frame[column]]
