"""A forest plot: one row a group, a point and its interval."""

from __future__ import annotations

from collections.abc import Sequence

from bedside.reporting.pictures import ROW, figure, line, room, short, text

_WIDE, _VALUE = 260, 150


def forest(rows: Sequence[tuple[str, float | None, float | None, float | None]], title: str, numbers: str) -> str:
    """Shares from 0 to 1 with their intervals, one row a name.

    Args:
        rows: name, value, and the ends of the interval; None where there is none.
        title: of the figure.
        numbers: a table of them.
    """
    left = room([name for name, *_ in rows]) + 8
    floor = len(rows) * ROW + 6
    parts = [
        line(left + _WIDE * tick, 0, left + _WIDE * tick, floor, "var(--line)") for tick in (0, 0.25, 0.5, 0.75, 1)
    ]
    parts += [text(left + _WIDE * tick, floor + 16, f"{tick:g}", "middle") for tick in (0, 0.25, 0.5, 0.75, 1)]
    for place, (name, value, low, high) in enumerate(rows):
        y = place * ROW + 14
        parts.append(text(left - 8, y + 4, short(name), "end"))
        if value is None:
            continue
        said = f"{value:.2f}"
        if low is not None and high is not None:
            parts.append(line(left + _WIDE * low, y, left + _WIDE * high, y, "var(--mark)", width=2))
            said += f" ({low:.2f}–{high:.2f})"
        parts.append(f'<rect x="{left + _WIDE * value - 4:.1f}" y="{y - 4}" width="8" height="8" fill="var(--mark)"/>')
        parts.append(text(left + _WIDE + 12, y + 4, said))
    return figure("".join(parts), left + _WIDE + _VALUE, floor + 22, title, numbers, wide=True)
