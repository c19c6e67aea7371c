"""The order of the notes, kept as a rank: the dates themselves are not written anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

_FORMATS = (
    "%Y-%m-%dT%H:%M:%S%.f%#z",
    *("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%d", "%Y/%m/%d"),
    *("%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y"),
    *("%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M", "%d/%m/%Y"),
    *("%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y"),
    *("%d-%m-%Y %H:%M:%S", "%d-%m-%Y %H:%M", "%d-%m-%Y", "%d-%b-%Y", "%d %b %Y", "%Y%m%d%H%M%S", "%Y%m%d", "%Y"),
)


def time_rank(values: pl.Series) -> tuple[pl.Series, list[str]]:
    """[rows] the place of each row's time among all, from 0, equal times alike; null where it cannot be read.

    Returns:
        The ranks and sentences on what could not be read, and on dates whose day and month cannot be told apart.
    """
    import polars as pl

    text, best, notes = _read(values)
    ranks = _parsed(text, best).rank("dense").cast(pl.Int64) - 1
    return ranks.rename("time_rank"), notes


def as_iso(values: pl.Series) -> tuple[pl.Series, list[str]]:
    """[rows] each time in one form, so that sources which write it otherwise can be joined; empty where it has none.

    Returns:
        The times and sentences on what could not be read, and on dates whose day and month cannot be told apart.
    """
    import polars as pl

    text, best, notes = _read(values)
    found = _parsed(text, best)
    if "%H" not in best:
        found = found * 86_400_000_000  # days
    fresh = found.cast(pl.Datetime("us")).dt.strftime("%Y-%m-%dT%H:%M:%S%.6f")
    return fresh.fill_null("").rename(values.name), [one for one in notes if not one.endswith("have no time")]


def _read(values: pl.Series) -> tuple[pl.Series, str, list[str]]:
    """Trimmed times, the form that most of them have, and what is odd."""
    text = values.str.strip_chars()
    counts = {form: _parsed(text, form).drop_nulls().len() for form in _FORMATS}
    best = max(_FORMATS, key=lambda form: counts[form])
    filled = int((text != "").sum())
    notes = []
    if counts[best] < filled:
        notes.append(f"the time of {filled - counts[best]:,} rows could not be read and has no rank")
    if filled < values.len():
        notes.append(f"{values.len() - filled:,} rows have no time")
    twin = best.replace("%d/%m", "%m/%d")
    if counts[best] and twin != best and counts[twin] == counts[best]:
        notes.append("every time could be day/month or month/day; it was read as day/month")
    return text, best, notes


def _parsed(text: pl.Series, form: str) -> pl.Series:
    """The times that have this form, in microseconds; others are null."""
    import polars as pl

    if "%H" not in form:
        if form == "%Y":
            text, form = text.str.extract(r"^(\d{4})$") + "-01-01", "%Y-%m-%d"
        return text.str.to_date(form, strict=False).cast(pl.Int64)
    if form.endswith("%#z"):
        return text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", strict=False, time_unit="us", time_zone="UTC").cast(
            pl.Int64
        )
    return text.str.to_datetime(form, strict=False, time_unit="us").cast(pl.Int64)
