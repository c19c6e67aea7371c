"""The flow of rows as boxes and arrows: what came in, what left the way and why, what was kept and where it went.

Drawn after the flow diagram of CONSORT 2010 (Schulz et al. 2010): a trunk, and to its right a box for each exclusion.
It is 360 pixels wide, so that it is readable on a phone without being shrunk.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from html import escape

from bedside.reporting.page import table

_WIDTH = 360
_TRUNK = 130  # width of a box of the trunk; boxes beside it take the rest
_SIDE = 160  # where a box beside the trunk begins
_LINE = 16
_PAD = 9
_GAP = 20
_LETTERS = 27  # in a line of a box beside the trunk
_MOST = 8  # parts in a row of four


def flow(
    start: tuple[str, int],
    dropped: Sequence[tuple[str, int]],
    end: tuple[str, int],
    parts: Sequence[tuple[str, int]],
    title: str,
) -> str:
    """Boxes in → dropped by reason → kept → parts, with the same counts in a table beside them.

    Args:
        start: what came in: a name and its rows.
        dropped: each reason and its rows, in order.
        end: what was kept.
        parts: where the kept rows went, at most eight.
        title: of the picture.
    """
    middle = _TRUNK / 2 + 1
    drawn, y = _box(1, 0, _TRUNK, [start[0], _rows(start[1])])
    for reason, rows in dropped:
        wrapped = textwrap.wrap(reason, _LETTERS)[:4]
        box, below = _box(_SIDE, y + _GAP / 2, _WIDTH - _SIDE - 1, [*wrapped, _rows(rows)])
        level = y + _GAP / 2 + (below - y - _GAP / 2) / 2
        drawn += box + _stroke(middle, y, middle, below + 4) + _arrow(middle, level, _SIDE, level)
        y = below + 4
    drawn += _arrow(middle, y, middle, y + _GAP)
    box, y = _box(1, y + _GAP, _TRUNK, [end[0], _rows(end[1])])
    drawn += box
    if parts:
        box, y = _row_of_boxes(parts[:_MOST], y, middle)
        drawn += box
    counts = [[start[0], start[1]], *([f"dropped: {reason}", rows] for reason, rows in dropped)]
    counts += [[end[0], end[1]], *([name, rows] for name, rows in parts)]
    picture = (
        f'<svg class="flow" viewBox="0 0 {_WIDTH} {y + 2:.0f}" width="{_WIDTH}" role="img" '
        f'aria-label="{escape(title)}; the same counts are in the table" font-size="13" fill="currentColor">'
        f"{drawn}</svg>"
    )
    numbers = table(["step", "rows"], counts, caption="Rows of each step.")
    return f'<figure><figcaption>{escape(title)}</figcaption><div class="beside">{picture}{numbers}</div></figure>'


def _row_of_boxes(parts: Sequence[tuple[str, int]], y: float, middle: float) -> tuple[str, float]:
    """Boxes side by side, four in a row, and the line that leads to them."""
    drawn, room = "", _WIDTH / 4
    for first in range(0, len(parts), 4):
        rail, top = y + _GAP / 2, y + _GAP
        few = parts[first : first + 4]
        centres = [room * place + room / 2 for place in range(len(few))]
        drawn += _stroke(middle, y, middle, rail) if not first else ""
        drawn += _stroke(min(middle, centres[0]), rail, max(middle, centres[-1]), rail)
        for (name, rows), centre in zip(few, centres, strict=True):
            box, below = _box(centre - room / 2 + 1, top, room - 4, [name, f"{rows:,}"])
            drawn += _arrow(centre, rail, centre, top) + box
        y = below
    return drawn, y


def _box(x: float, y: float, wide: float, lines: Sequence[str]) -> tuple[str, float]:
    """A box with lines of text, the last of them bold; and where it ends."""
    high = len(lines) * _LINE + 2 * _PAD - 4
    texts = "".join(
        f'<text x="{x + wide / 2:.1f}" y="{y + _PAD + 9 + _LINE * place:.1f}" text-anchor="middle"'
        f' font-weight="{600 if place == len(lines) - 1 else 400}">{escape(line)}</text>'
        for place, line in enumerate(lines)
    )
    frame = (
        f'<rect x="{x:.1f}" y="{y + 1:.1f}" width="{wide:.1f}" height="{high:.1f}" rx="3" fill="var(--soft)" '
        'stroke="var(--faint)"/>'
    )
    return frame + texts, y + 1 + high


def _stroke(x: float, y: float, to_x: float, to_y: float) -> str:
    return f'<path d="M{x:.1f} {y:.1f}L{to_x:.1f} {to_y:.1f}" stroke="var(--faint)" fill="none"/>'


def _arrow(x: float, y: float, to_x: float, to_y: float) -> str:
    """A straight line with a head: to the right, or downwards."""
    head = "l-6 -3.5v7z" if y == to_y else "l-3.5 -6h7z"
    return _stroke(x, y, to_x, to_y) + f'<path d="M{to_x:.1f} {to_y:.1f}{head}" fill="var(--faint)"/>'


def _rows(rows: int) -> str:
    return f"{rows:,} row{'' if rows == 1 else 's'}"
