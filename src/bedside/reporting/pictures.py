"""Pictures as inline SVG, each with its numbers in a table beneath it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

from bedside.reporting.page import details, table

ROW = 24
_BAR, _VALUE = 170, 60  # longest bar, and room for the number at its end
_PLOT, _AXIS, _TOP = 330, 52, 12  # side of a plot, room for its axis, space above
_STRIP = 64  # height of the histogram under a reliability diagram
_LONGEST = 30
_LETTER = 6.6  # width of a letter at 12 px, about
_FEW = 40  # points of a line that are drawn one by one
_STROKES = {True: 'stroke="var(--mark)" stroke-width="2"', False: 'stroke="var(--faint)" stroke-opacity="0.6"'}
_SERIES = (("var(--other)", "3 4"), ("var(--mark)", "none"))


class Bin(NamedTuple):
    """A bin of a reliability diagram: mean confidence, share right with the ends of its interval, and cases."""

    confidence: float
    right: float
    low: float
    high: float
    cases: int


class Curve(NamedTuple):
    """A line of a chart: its name, its points, and whether it stands out (else it is thin and faint)."""

    name: str
    points: Sequence[tuple[float, float]]
    main: bool = True


def bars(labels: Sequence[str], values: Sequence[float], title: str, unit: str = "", called: str = "label") -> str:
    """Horizontal bars, one a label, with the value written at the end; ``called`` says what the labels are."""
    top = max([*values, 1e-12])
    left = room(labels) + 8
    rows = []
    for place, (label, value) in enumerate(zip(labels, values, strict=True)):
        y, long = place * ROW, _BAR * value / top
        rows.append(
            text(left - 8, y + 16, short(label), "end")
            + f'<rect x="{left}" y="{y + 4}" width="{long:.1f}" height="15" fill="var(--mark)"/>'
            + text(left + long + 6, y + 16, f"{value:,.4g}" if value != int(value) else f"{int(value):,}")
        )
    caption = f"{title}{f' ({unit})' if unit else ''}"
    numbers = table([called, unit or "value"], [list(pair) for pair in zip(labels, values, strict=True)], caption)
    return figure("".join(rows), left + _BAR + _VALUE, len(labels) * ROW + 4, caption, numbers)


def reliability(
    series: Sequence[tuple[str, Sequence[Bin]]], edges: Sequence[float], counts: Sequence[int], title: str
) -> str:
    """Stated confidence against the share that was right, over a histogram of the confidences.

    Args:
        series: a name and its bins; the last one is drawn in full and with its intervals.
        edges: of the histogram's columns, from 0 to 1.
        counts: cases in each column.
        title: of the figure.
    """
    floor = _TOP + _PLOT
    parts = [
        f'<rect x="{_AXIS}" y="{_TOP}" width="{_PLOT}" height="{_PLOT}" fill="none" stroke="var(--line)"/>',
        line(_AXIS, floor, _AXIS + _PLOT, _TOP, "var(--faint)", "5 4"),
        *(text(_AXIS - 6, floor + 4 - _PLOT * tick, f"{tick:g}", "end") for tick in (0, 0.25, 0.5, 0.75, 1)),
        f'<g transform="rotate(-90)">{text(-(_TOP + _PLOT / 2), 14, "share that was right", "middle")}</g>',
    ]
    for place, (name, bins) in enumerate(series):
        colour, dash = _SERIES[min(place, 1)]
        last = place == len(series) - 1
        parts.append(_curve(bins, floor, colour, dash, whole=last))
        y = floor + _STRIP + 58 + 20 * place
        parts += [line(_AXIS, y - 4, _AXIS + 30, y - 4, colour, dash, 2.5), text(_AXIS + 38, y, name)]
    parts += [_columns(edges, [counts], floor + 8, _STRIP, ["var(--faint)"]), _axis(floor + 8 + _STRIP)]
    parts.append(text(_AXIS + _PLOT / 2, floor + _STRIP + 40, "confidence in the first label", "middle"))
    numbers = [
        [name, one.cases, one.confidence, f"{one.right:.3f} ({one.low:.3f}–{one.high:.3f})"]
        for name, bins in series
        for one in bins
    ]
    return figure(
        "".join(parts),
        _AXIS + _PLOT + 20,
        floor + _STRIP + 58 + 20 * len(series),
        title,
        table(["", "cases", "mean confidence", "share right (95% interval)"], numbers, caption="The bins.")
        + table(
            ["confidence", "cases"],
            [[_between(edges, k), count] for k, count in enumerate(counts)],
            caption="Cases by confidence.",
        ),
    )


def _curve(bins: Sequence[Bin], floor: float, colour: str, dash: str, *, whole: bool) -> str:
    """A line through the bins; ``whole`` adds points and the intervals."""
    places = [(_AXIS + _PLOT * one.confidence, floor - _PLOT * one.right) for one in bins]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    drawn = f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>'
    if not whole:
        return drawn
    ranges = (
        line(x, floor - _PLOT * one.low, x, floor - _PLOT * one.high, colour, "none", 1, 0.55)
        for (x, _), one in zip(places, bins, strict=True)
    )
    points = (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in places)
    return "".join([*ranges, drawn, *points])


def histogram(edges: Sequence[float], series: Sequence[tuple[str, Sequence[int]]], title: str, across: str) -> str:
    """How many cases lie between which edges, of two kinds stacked on each other.

    Args:
        edges: one more than there are columns, from 0 to 1.
        series: a name and its counts, from the bottom up.
        title: of the figure.
        across: what the horizontal axis shows.
    """
    tall = 170
    floor = _TOP + tall
    colours = ["var(--mark)", "var(--other)"]
    most = max(map(sum, zip(*(counts for _, counts in series), strict=True)), default=0)
    parts = [
        _columns(edges, [counts for _, counts in series], _TOP, tall, colours),
        _axis(floor),
        text(_AXIS - 6, _TOP + 8, f"{most:,}", "end"),
        text(_AXIS - 6, floor + 4, "0", "end"),
        f'<g transform="rotate(-90)">{text(-(_TOP + tall / 2), 14, "cases", "middle")}</g>',
        text(_AXIS + _PLOT / 2, floor + 36, across, "middle"),
    ]
    for place, (name, _) in enumerate(series):
        y = floor + 58 + 20 * place
        parts.append(f'<rect x="{_AXIS}" y="{y - 10}" width="12" height="12" fill="{colours[place]}"/>')
        parts.append(text(_AXIS + 20, y, name))
    numbers = [[_between(edges, k), *(counts[k] for _, counts in series)] for k in range(len(edges) - 1)]
    return figure(
        "".join(parts),
        _AXIS + _PLOT + 20,
        floor + 58 + 20 * len(series),
        title,
        table([across, *(name for name, _ in series)], numbers, caption=title),
    )


def lines(
    curves: Sequence[Curve],
    title: str,
    across: str,
    up: str,
    numbers: str,
    mark: tuple[float, float, str] | None = None,
) -> str:
    """Lines over a common axis, drawn in order; the vertical axis shows the range of the values, not all from 0.

    Args:
        curves: at least one point in all.
        title: of the figure.
        across: what the horizontal axis shows; counts, so its ticks are whole numbers.
        up: what the vertical axis shows.
        numbers: a table of them.
        mark: a point to ring, and what to call it.
    """
    top, tall = _TOP + 14, 170  # the axis is named above, where long numbers beside it do not reach
    floor = top + tall
    every = [point for curve in curves for point in curve.points]
    left, right = min(x for x, _ in every), max(x for x, _ in every)
    ticks = _ticks(min(y for _, y in every), max(y for _, y in every))
    low, high = ticks[0], ticks[-1]

    def place(x: float, y: float) -> tuple[float, float]:
        share = (x - left) / (right - left) if right > left else 0.5
        return _AXIS + _PLOT * share, floor - tall * (y - low) / (high - low)

    parts = [text(_AXIS, 12, up)]
    for tick in ticks:
        _, y = place(left, tick)
        parts += [line(_AXIS, y, _AXIS + _PLOT, y, "var(--line)"), text(_AXIS - 5, y + 4, _number(tick), "end")]
    for tick in [one for one in _ticks(left, right, whole=True) if left <= one <= right]:
        x, _ = place(tick, low)
        parts += [line(x, floor, x, floor + 4), text(x, floor + 16, f"{tick:,g}", "middle")]
    parts.append(text(_AXIS + _PLOT / 2, floor + 34, across, "middle"))
    parts += [_path([place(*point) for point in curve.points], main=curve.main) for curve in curves]
    below = floor + 54
    for curve in curves if len(curves) > 1 else ():
        parts += [_stroke(_AXIS, below - 4, main=curve.main), text(_AXIS + 38, below, curve.name)]
        below += 20
    if mark:
        x, y = place(mark[0], mark[1])
        parts += [_ring(x, y), _ring(_AXIS + 15, below - 4), text(_AXIS + 38, below, mark[2])]
        below += 20
    return figure("".join(parts), _AXIS + _PLOT + 20, below - 10, title, numbers)


def _path(places: Sequence[tuple[float, float]], *, main: bool) -> str:
    """A line; one that stands out has its points, too, where they are few."""
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    drawn = f'<polyline points="{points}" fill="none" stroke-linejoin="round" {_STROKES[main]}/>'
    if not main or len(places) > _FEW:
        return drawn
    return drawn + "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="var(--mark)"/>' for x, y in places)


def _stroke(x: float, y: float, *, main: bool) -> str:
    """How a line looks, for its name."""
    return f'<path d="M{x:.1f} {y:.1f}h30" {_STROKES[main]}/>'


def _ring(x: float, y: float) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="none" stroke="var(--other)" stroke-width="2"/>'


def _number(value: float) -> str:
    """A tick's number in few letters: ``0.25``, ``1.5e-4``."""
    if not value or abs(value) >= 0.001:
        return f"{value:g}"
    digits, _, power = f"{value:.1e}".partition("e")
    return f"{digits.removesuffix('.0')}e{int(power)}"


def _ticks(low: float, high: float, *, whole: bool = False) -> list[float]:
    """Three to seven round numbers around a range: steps of 1, 2 or 5 times a power of ten."""
    span = high - low or abs(high) or 1.0
    power = 10 ** math.floor(math.log10(span / 4))
    step = next(factor * power for factor in (1, 2, 5, 10) if span / (factor * power) <= 5)
    if whole:
        step = max(round(step), 1)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(k * step, 12) for k in range(first, max(last, first + 1) + 1)]


def matrix(labels: Sequence[str], counts: Sequence[Sequence[int]], title: str) -> str:
    """A confusion matrix: rows are the true labels, columns the predicted ones, each row shaded by its share."""
    size = 24 if len(labels) > 12 else 34
    left = room(labels) + 20
    parts = [text(left, 12, "called"), text(0, left + 12, "true")]
    top = left + 18
    for row, (label, values) in enumerate(zip(labels, counts, strict=True)):
        y = top + row * size
        parts.append(text(left - 8, y + size / 2 + 4, short(label), "end"))
        parts += [
            _square(left + column * size, y, size, value, max(sum(values), 1), row == column, f"{label} → {called}")
            for column, (value, called) in enumerate(zip(values, labels, strict=True))
        ]
    parts += [
        f'<g transform="translate({left + column * size + size / 2 + 4:.0f} {top - 8}) rotate(-90)">'
        f"{text(0, 0, short(label))}</g>"
        for column, label in enumerate(labels)
    ]
    found = [
        [labels[row], labels[column], value]
        for row, values in enumerate(counts)
        for column, value in enumerate(values)
        if value
    ]
    side = len(labels) * size
    return figure(
        "".join(parts),
        left + side + 10,
        top + side + 6,
        title,
        table(["true", "called", "cases"], found, title),
        wide=True,
    )


def _square(x: float, y: float, size: int, value: int, whole: int, same: bool, title: str) -> str:
    """A cell of a matrix; an empty one is faint, and the number stands in it."""
    colour = "var(--mark)" if same else "var(--fail)"
    shade = 0.15 + 0.5 * value / whole if value else 0.04
    drawn = (
        f'<rect x="{x:.0f}" y="{y:.0f}" width="{size - 1}" height="{size - 1}" fill="{colour}" '
        f'fill-opacity="{shade:.2f}"><title>{escape(title)}: {value}</title></rect>'
    )
    return drawn + (text(x + size / 2, y + size / 2 + 4, str(value), "middle") if value else "")


def _columns(
    edges: Sequence[float], series: Sequence[Sequence[int]], top: float, tall: float, colours: Sequence[str]
) -> str:
    """Stacked columns on a plot's horizontal axis."""
    most = max([sum(column) for column in zip(*series, strict=True)] + [1])
    drawn = []
    for k in range(len(edges) - 1):
        floor = top + tall
        for counts, colour in zip(series, colours, strict=False):
            high = tall * counts[k] / most
            floor -= high
            wide = _PLOT * (edges[k + 1] - edges[k])
            drawn.append(
                f'<rect x="{_AXIS + _PLOT * edges[k] + 0.5:.1f}" y="{floor:.1f}" width="{wide - 1:.1f}" '
                f'height="{high:.1f}" fill="{colour}"/>'
            )
    return "".join(drawn)


def _axis(y: float) -> str:
    """A plot's horizontal axis from 0 to 1."""
    ticks = (
        text(_AXIS + _PLOT * tick, y + 16, f"{tick:g}", "middle")
        + line(_AXIS + _PLOT * tick, y, _AXIS + _PLOT * tick, y + 4)
        for tick in (0, 0.25, 0.5, 0.75, 1)
    )
    return line(_AXIS, y, _AXIS + _PLOT, y) + "".join(ticks)


def line(
    x: float,
    y: float,
    to_x: float,
    to_y: float,
    colour: str = "var(--faint)",
    dash: str = "none",
    width: float = 1,
    opacity: float = 1,
) -> str:
    """A straight line."""
    return (
        f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" stroke="{colour}" stroke-width="{width:g}" '
        f'stroke-dasharray="{dash}" stroke-opacity="{opacity:g}"/>'
    )


def text(x: float, y: float, content: str, anchor: str = "start") -> str:
    """Letters; ``anchor`` says which part of them stands at the place."""
    place = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{x:.1f}" y="{y:.1f}"{place}>{escape(content)}</text>'


def _between(edges: Sequence[float], k: int) -> str:
    return f"{edges[k]:.2f} to {edges[k + 1]:.2f}"


def short(label: str) -> str:
    """A name cut to what has room; it stands in full in the table."""
    return label if len(label) <= _LONGEST else f"{label[: _LONGEST - 1]}…"


def room(labels: Sequence[str]) -> int:
    """Pixels that the longest shown name needs."""
    return int(max((len(short(label)) for label in labels), default=0) * _LETTER) + 8


def figure(content: str, width: float, height: float, title: str, numbers: str, *, wide: bool = False) -> str:
    """A picture, its caption and its numbers; one that is ``wide`` scrolls rather than shrinks on a narrow screen."""
    size: tuple[Any, Any] = (round(width), round(height))
    drawn = (
        f'<svg viewBox="0 0 {size[0]} {size[1]}" width="{size[0]}" role="img" aria-label="{escape(title)}" '
        f'font-size="12" fill="currentColor">{content}</svg>'
    )
    if wide:
        drawn = f'<div class="box wide" tabindex="0">{drawn}</div>'
    return f"<figure><figcaption>{escape(title)}</figcaption>{drawn}{details('The numbers', numbers)}</figure>"
