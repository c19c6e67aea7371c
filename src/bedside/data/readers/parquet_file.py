"""Parquet: typed columns become text as a person would write them; nested values become JSON text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedside.core.errors import DataError
from bedside.core.progress import Progress
from bedside.data.table import Table, name_columns
from bedside.protocol import DataSection

if TYPE_CHECKING:
    import polars as pl


def read(path: Path, data: DataSection, progress: Progress) -> Table:
    """Read a Parquet file.

    Raises:
        DataError: it is damaged or no Parquet file.
    """
    import polars as pl

    try:
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path.name} is no readable Parquet file; write or copy it again.") from error
    names, remarks = name_columns(frame.columns, path.name)
    frame = pl.DataFrame([as_text(frame[old]).rename(new) for old, new in zip(frame.columns, names, strict=True)])
    said = f"read {frame.height:,} rows and {frame.width:,} columns of {path.name}: Parquet"
    rows = tuple(range(1, frame.height + 1))
    return Table(frame, rows, path.name, {"format": "parquet"}, (said,), tuple(remarks))


def as_text(series: pl.Series) -> pl.Series:
    """A column as strings; whole floats that stand for integers with gaps lose their ``.0``."""
    import polars as pl

    if series.dtype.is_nested() or series.dtype in (pl.Object, pl.Binary):
        return pl.Series([_nested(value) for value in series.to_list()], dtype=pl.String)
    if series.dtype.is_float() and series.drop_nulls().drop_nans().is_finite().all():
        whole = series.drop_nulls().drop_nans()
        if whole.len() and (whole == whole.floor()).all() and whole.abs().max() < 2**53:  # type: ignore[operator]
            return series.fill_nan(None).cast(pl.Int64).cast(pl.String).fill_null("")
    return series.cast(pl.String).fill_null("")


def _nested(value: Any) -> str:
    """A list or a record as JSON text, bytes as nothing that could be read."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if hasattr(value, "to_list"):
        value = value.to_list()
    return json.dumps(value, ensure_ascii=False, default=str)
