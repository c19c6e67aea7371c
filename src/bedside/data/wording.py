"""How counts are said in what the user reads."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

_SHOWN = 20


def counted(count: int, one: str, many: str = "") -> str:
    """A count with its noun: ``1 note``, ``2,000 notes``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def nearest(name: str, columns: Sequence[str]) -> str:
    """The end of a sentence: the likeliest columns that were meant, and all of them."""
    return f"{meant(name, columns) or ';'} {every(columns, 'columns')}"


def meant(name: str, names: Sequence[str]) -> str:
    """The middle of a sentence: the likeliest names that were meant; empty where none is near."""
    lowered = {one.lower(): one for one in names}
    close = [lowered[one] for one in difflib.get_close_matches(name.lower(), list(lowered), n=2, cutoff=0.5)]
    return f"; did you mean {' or '.join(repr(one) for one in close)}?" if close else ""


def every(names: Sequence[str], noun: str) -> str:
    """The end of a sentence: all names, or the first."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{'Its' if noun == 'columns' else 'The'} {noun} are {', '.join(names[:_SHOWN])}{more}"
