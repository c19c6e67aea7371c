"""How counts are said in what the user reads."""

from __future__ import annotations


def counted(count: int, one: str, many: str = "") -> str:
    """A count with its noun: ``1 note``, ``2,000 notes``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
