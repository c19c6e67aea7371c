"""Pictures as inline SVG, each with its numbers as text."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_ROW = 24
_LEFT = 230
_WIDTH = 620
_SQUARE = 300


def bars(labels: Sequence[str], values: Sequence[float], title: str, unit: str = "") -> str:
    """Horizontal bars, one a label, with the value written at the end."""
    top = max([*values, 1e-12])
    room = _WIDTH - _LEFT - 70
    rows = []
    for place, (label, value) in enumerate(zip(labels, values, strict=True)):
        y, long = place * _ROW, room * value / top
        rows.append(
            f'<text x="{_LEFT - 8}" y="{y + 16}" text-anchor="end">{escape(_short(label))}</text>'
            f'<rect x="{_LEFT}" y="{y + 4}" width="{long:.1f}" height="15" fill="var(--mark)"/>'
            f'<text x="{_LEFT + long + 6:.1f}" y="{y + 16}">{value:,.4g}</text>'
        )
    return _figure("".join(rows), _WIDTH, len(labels) * _ROW + 4, f"{title}{f' ({unit})' if unit else ''}")


def reliability(series: Sequence[tuple[str, Sequence[tuple[float, float, int]]]], title: str) -> str:
    """Stated confidence against the share that was right; each series is bins of (confidence, share right, cases)."""
    parts = [
        f'<rect x="40" y="10" width="{_SQUARE}" height="{_SQUARE}" fill="none" stroke="var(--line)"/>',
        f'<line x1="40" y1="{_SQUARE + 10}" x2="{_SQUARE + 40}" y2="10" stroke="var(--faint)" stroke-dasharray="5 4"/>',
        *(
            f'<text x="{40 + _SQUARE * tick:.0f}" y="{_SQUARE + 28}" text-anchor="middle">{tick:g}</text>'
            f'<text x="34" y="{_SQUARE + 14 - _SQUARE * tick:.0f}" text-anchor="end">{tick:g}</text>'
            for tick in (0, 0.5, 1)
        ),
    ]
    legend = []
    for place, (name, points) in enumerate(series):
        colour, dash = (("var(--other)", "2 4"), ("var(--mark)", "none"))[min(place, 1)]
        path = " ".join(f"{40 + _SQUARE * x:.1f},{_SQUARE + 10 - _SQUARE * y:.1f}" for x, y, _ in points)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.5" stroke-dasharray="{dash}"/>'
        )
        legend.append(
            f'<line x1="{_SQUARE + 60}" y1="{30 + 24 * place}" x2="{_SQUARE + 90}" y2="{30 + 24 * place}" stroke="{colour}" '
            f'stroke-width="2.5" stroke-dasharray="{dash}"/>'
            f'<text x="{_SQUARE + 98}" y="{35 + 24 * place}">{escape(name)}</text>'
        )
    return _figure("".join([*parts, *legend]), _WIDTH, _SQUARE + 40, title)


def matrix(labels: Sequence[str], counts: Sequence[Sequence[int]], title: str) -> str:
    """A confusion matrix: rows are the true labels, columns the predicted ones, each row shaded by its share."""
    size = max(14, min(34, 560 // max(len(labels), 1)))
    parts = []
    for row, (label, values) in enumerate(zip(labels, counts, strict=True)):
        whole = max(sum(values), 1)
        parts.append(
            f'<text x="{_LEFT - 8}" y="{row * size + size * 0.7:.0f}" text-anchor="end">{row + 1} {escape(_short(label))}</text>'
        )
        for column, value in enumerate(values):
            x, y = _LEFT + column * size, row * size
            colour = "var(--mark)" if row == column else "var(--fail)"
            parts.append(
                f'<rect x="{x}" y="{y}" width="{size - 1}" height="{size - 1}" fill="{colour}" '
                f'fill-opacity="{0.06 + 0.8 * value / whole:.2f}"><title>{escape(label)} called {escape(labels[column])}: '
                f"{value}</title></rect>"
            )
            if value and size >= 20:
                parts.append(
                    f'<text x="{x + size / 2:.0f}" y="{y + size * 0.66:.0f}" text-anchor="middle">{value}</text>'
                )
    bottom = len(labels) * size
    parts += [
        f'<text x="{_LEFT + column * size + size / 2:.0f}" y="{bottom + 14}" text-anchor="middle">{column + 1}</text>'
        for column in range(len(labels))
    ]
    return _figure("".join(parts), _LEFT + len(labels) * size + 10, bottom + 22, title)


def _short(label: str) -> str:
    return label if len(label) <= 30 else f"{label[:29]}…"


def _figure(content: str, width: int, height: int, title: str) -> str:
    return (
        f'<figure><figcaption>{escape(title)}</figcaption><svg viewBox="0 0 {width} {height}" width="{width}" '
        f'role="img" aria-label="{escape(title)}" font-size="12" fill="currentColor">{content}</svg></figure>'
    )
