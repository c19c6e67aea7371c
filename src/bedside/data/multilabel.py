"""Cases with several labels: how they are read from a table, and how rare ones are dealt with.

The labels of a case come from one column that lists them (``Asthma; Gout``, ``["Asthma", "Gout"]``), from several
columns that hold one label each (``diagnosis_1``, ``diagnosis_2``), or from several columns that say yes or no.
"""

from __future__ import annotations

import ast
import dataclasses
import json
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from bedside.core.errors import DataError
from bedside.data.labels import merged, tidy
from bedside.data.table import Table, is_absent
from bedside.data.wording import counted
from bedside.protocol import DataSection

NONE_OF_THESE = "none of these"
SEPARATOR = "\x1f"  # between the labels of a case where they stand as one string; no tidied label holds it
LIST = "list"
_JOINED = "labels"
_YES = {"1", "1.0", "true", "yes", "y", "t", "x", "+", "positive", "present"}
_NO = {"0", "0.0", "false", "no", "n", "f", "-", "negative", "absent"}
_BRACKETS = re.compile(r"\s*[\[({].*[\])}]\s*", re.DOTALL)


def label_sets(
    columns: Mapping[str, Sequence[str]], delimiter: str | None, file: str, rows: Sequence[int]
) -> list[tuple[str, ...]]:
    """The labels of each row, sorted, each once; an empty tuple where there are none.

    Args:
        columns: [rows] cells by column.
        delimiter: between labels in a cell; ``"list"`` for cells that are JSON or Python lists; ``None`` where a cell
            holds one label.
        file: the table's name, for errors.
        rows: [rows] numbers as the user counts them, for errors.

    Several columns of which every filled cell says yes or no are indicators: a column's name is the label. Otherwise
    every cell is a label.

    Raises:
        DataError: an indicator column holds something that is neither yes nor no; a cell is no list.
    """
    if len(columns) > 1 and delimiter is None:
        indicators = [name for name, cells in columns.items() if _is_indicator(cells)]
        if indicators:
            return _of_indicators(columns, indicators, file, rows)
    found = [set[str]() for _ in rows]
    for name, cells in columns.items():
        for place, cell in enumerate(cells):
            parts = _parts(cell, delimiter, f"{file}, row {rows[place]:,}, column '{name}'")
            found[place].update(one for one in map(tidy, parts) if not is_absent(one))
    return [tuple(sorted(one)) for one in found]


def with_label_sets(table: Table, data: DataSection) -> tuple[Table, DataSection]:
    """The table with one column that holds the joined labels of each row, and the section that names it.

    The columns that the labels came from are gone, because each of them would give the label away. A table whose
    protocol has one label a case is as it was.

    Raises:
        DataError: see :func:`label_sets`.
    """
    if not data.several:
        return table, data
    import polars as pl

    columns = data.labels or [data.label]
    cells = {name: table.frame[name].to_list() for name in columns}
    sets = label_sets(cells, data.delimiter, table.file, table.rows)
    name = data.label or _JOINED
    while name in table.frame.columns and name not in columns:
        name += "_"
    labels = pl.Series(name, [joined(one) for one in sets], dtype=pl.String)
    frame = table.frame.drop(columns).with_columns(labels)
    return dataclasses.replace(table, frame=frame), data.model_copy(update={"label": name})


def merged_sets(labels: Sequence[str], merge: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Apply ``data.merge`` to joined labels; and a sentence for each entry that matched nothing."""
    parts = [parted(one) for one in labels]
    fresh, idle = merged([label for one in parts for label in one], merge)
    every = iter(fresh)
    return [joined([next(every) for _ in one]) for one in parts], idle


def without_labels(labels: Sequence[str], gone: Collection[str], name: str | None = None) -> list[str]:
    """Joined labels with some left out, or read as one other."""
    return [joined(_without(parted(one), set(gone), name)) for one in labels]


def joined(labels: Sequence[str]) -> str:
    """The labels of a case as one string, the same for the same set."""
    return SEPARATOR.join(sorted(set(labels)))


def parted(label: str) -> tuple[str, ...]:
    """The labels that :func:`joined` joined; a single label is itself."""
    return tuple(label.split(SEPARATOR)) if label else ()


def apply_rare_labels(
    sets: Sequence[tuple[str, ...]], groups: NDArray[np.int64], rare: str | int, fewest: int
) -> tuple[list[tuple[str, ...]], list[str]]:
    """Deal with labels that cannot reach every split. A case keeps its other labels, so no case is dropped for one.

    Args:
        sets: [rows] labels.
        groups: [rows] number of each row's group of patients and duplicates.
        rare: ``refuse``, ``drop``, ``merge:NAME``, or the fewest cases that a label may have.
        fewest: groups that a label needs.

    Returns:
        [rows] labels, and a sentence for what was done.

    Raises:
        DataError: rare labels and ``refuse``; or fewer than two labels are left.
    """
    cases = Counter(label for labels in sets for label in labels)
    spread = Counter(label for label, _ in {(one, int(group)) for one, group in _pairs(sets, groups)})
    if isinstance(rare, int):
        small = {label for label in cases if cases[label] < rare or spread[label] < fewest}
    else:
        small = {label for label in cases if spread[label] < fewest}
    if not small:
        fresh, said = list(sets), []
    elif rare == "refuse":
        shown = ", ".join(f"{label} ({spread[label]})" for label in sorted(small)[:8])
        more = f" and {len(small) - 8} more" if len(small) > 8 else ""
        raise DataError(
            f"{counted(len(small), 'label')} {'has' if len(small) == 1 else 'have'} fewer than {fewest} groups: "
            f"{shown}{more}; say data.rare = 'drop', 'merge:Other' or the fewest cases a label may have."
        )
    else:
        name = tidy(rare[6:]) if isinstance(rare, str) and rare.startswith("merge:") else None
        fresh = [_without(labels, small, name) for labels in sets]
        done = f"read as '{name}'" if name else "left out of the cases that have them"
        said = [f"{counted(len(small), 'rare label was', 'rare labels were')} {done} (data.rare)"]
    if len({label for labels in fresh for label in labels}) < 2:
        raise DataError(
            "fewer than two labels are left; a model needs two to tell apart: see data.rare and data.label."
        )
    return fresh, said


def _pairs(sets: Sequence[tuple[str, ...]], groups: NDArray[np.int64]) -> list[tuple[str, int]]:
    return [(label, group) for labels, group in zip(sets, groups.tolist(), strict=True) for label in labels]


def _without(labels: tuple[str, ...], small: set[str], name: str | None) -> tuple[str, ...]:
    """A case's labels with the rare ones left out, or read as one other."""
    kept = {label for label in labels if label not in small}
    if name and len(kept) < len(labels):
        kept.add(name)
    return tuple(sorted(kept))


def _is_indicator(cells: Sequence[str]) -> bool:
    """Whether most filled cells say yes or no: a few others are faults, and are told of."""
    filled = [cell.strip().lower() for cell in cells if not is_absent(cell)]
    return bool(filled) and sum(cell in _YES or cell in _NO for cell in filled) > 0.9 * len(filled)


def _of_indicators(
    columns: Mapping[str, Sequence[str]], indicators: Sequence[str], file: str, rows: Sequence[int]
) -> list[tuple[str, ...]]:
    """The names of the columns that say yes."""
    found: list[list[str]] = [[] for _ in rows]
    others = [name for name in columns if name not in indicators]
    if others:
        raise DataError(
            f"{file}: of the columns in data.label, {', '.join(indicators)} say yes or no and {', '.join(others)} hold "
            "something else; name columns of one kind."
        )
    for name, cells in columns.items():
        for place, cell in enumerate(cells):
            said = cell.strip().lower()
            if said in _YES:
                found[place].append(tidy(name))
            elif said not in _NO and not is_absent(cell):
                raise DataError(
                    f"{file}, row {rows[place]:,}: column '{name}' says neither yes nor no as its other cells do; "
                    "put 1 or 0 there, or leave it empty."
                )
    return [tuple(sorted(set(one))) for one in found]


def _parts(cell: str, delimiter: str | None, place: str) -> list[str]:
    """The labels in one cell."""
    if is_absent(cell):
        return []
    if delimiter is None:
        return [cell]
    if delimiter != LIST:
        return cell.split(delimiter)
    if not _BRACKETS.fullmatch(cell):
        return [cell]
    for read in (json.loads, ast.literal_eval):  # an export by Python writes its own quotes
        try:
            value = read(cell)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(value, (list, tuple, set)) and all(isinstance(one, (str, int, float)) for one in value):
            return [str(one) for one in value]
    raise DataError(f"{place} begins like a list and is none; mend it, or name the delimiter between labels instead.")
