"""Which cases are compared with which: the groups of a column of the cohort, none of them too small to be named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from bedside.core.errors import ProtocolError
from bedside.data.table_one import MISSING, OTHER, SMALLEST, age_bands, extra_columns, is_age, shown_levels

if TYPE_CHECKING:
    import polars as pl

LENGTH = "note length"
_MOST = 12  # values of a column that is compared without being asked for


def groups_of(frame: pl.DataFrame, by: Sequence[str], words: Sequence[int]) -> dict[str, list[str]]:
    """The group of each case, by column.

    Args:
        frame: the cases.
        by: columns, or several joined by ``+``, or ``note length``; empty takes every column that the protocol keeps
            and that has few values, ages in bands, and the length of the notes.
        words: [cases] words of each note.

    Returns:
        By column, [cases] the name of the group. A value of fewer than five cases is counted among others.

    Raises:
        ProtocolError: a column is not there.
    """
    found = {}
    for name in by or [*_few_valued(frame), LENGTH]:
        parts = [_column(frame, part.strip(), words) for part in name.split("+")]
        joined = [" · ".join(one) for one in zip(*parts, strict=True)]
        found[name] = _named(joined)
    return found


def _few_valued(frame: pl.DataFrame) -> list[str]:
    """The kept columns that have few enough values to be compared."""
    found = []
    for name in extra_columns(frame):
        values = frame[name]
        few = not values.dtype.is_nested() and values.n_unique() <= _MOST and not values.dtype.is_float()
        if is_age(name, values) or few:
            found.append(name)
    return found


def _column(frame: pl.DataFrame, name: str, words: Sequence[int]) -> list[str]:
    """[cases] the values of one column, ages and lengths in bands."""
    if name == LENGTH:
        return _thirds(words)
    if name not in extra_columns(frame):
        there = ", ".join([*extra_columns(frame), LENGTH])
        raise ProtocolError(
            "protocol.toml",
            [f"evaluate.by names {name!r}, which the cohort does not keep (data.keep); there are: {there}"],
        )
    values = frame[name]
    if is_age(name, values):
        return [one or MISSING for one in age_bands(values)]
    return [MISSING if one is None else str(one) for one in values.to_list()]


def _thirds(words: Sequence[int]) -> list[str]:
    """Short, middling and long notes, by thirds of these cases."""
    low, high = (int(one) for one in np.quantile(np.asarray(words), [1 / 3, 2 / 3], method="lower"))
    names = (f"up to {low} words", f"{low + 1} to {high} words", f"over {high} words")
    return [names[int(count > low) + int(count > high)] for count in words]


def _named(values: Sequence[str]) -> list[str]:
    """The same values, the rare ones as one; should these be few still, the rarest named one joins them."""
    keep = set(shown_levels(values, len(values)))
    counts = Counter(value if value in keep else OTHER for value in values)
    if 0 < counts[OTHER] < SMALLEST and len(counts) > 1:
        keep.discard(min((one for one in counts if one != OTHER), key=lambda one: (counts[one], one)))
    return [value if value in keep else OTHER for value in values]
