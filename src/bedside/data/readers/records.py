"""Records with named values, as a reader of a nested format finds them, made into a table of strings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bedside.data.table import Table

if TYPE_CHECKING:
    import polars as pl


def table_of(
    records: Sequence[Mapping[str, str]],
    columns: Sequence[str],
    file: str,
    seen: dict[str, Any],
    observations: Sequence[str],
    warnings: Sequence[str] = (),
) -> Table:
    """A table whose row numbers are the records' places, from 1; a value that a record lacks is empty."""
    return Table(
        frame_of(records, columns),
        tuple(range(1, len(records) + 1)),
        file,
        seen,
        tuple(observations),
        tuple(warnings),
    )


def frame_of(records: Sequence[Mapping[str, str]], columns: Sequence[str]) -> pl.DataFrame:
    """The records as a frame of strings."""
    import polars as pl

    values = {name: [record.get(name, "") for record in records] for name in columns}
    return pl.DataFrame(values, schema=dict.fromkeys(columns, pl.String))
