"""How a training went, as pictures and a page: loss over steps, validation over epochs, what it took.

Everything is read from what the run wrote itself, ``log.jsonl`` and ``summary.json``; nothing is computed a second time
but the smoothing, which is drawn beside what it smooths.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bedside.core.files import read_json, size_text, write_text
from bedside.core.progress import duration_text

Points = list[tuple[float, float]]

_DRAWN = 240  # points of a line; beyond that a picture as wide as a phone shows no more of them
_ROWS = 40  # of a table of steps
_SPAN = 20  # a smoothed loss looks back over about one part in so many of the steps
_SCORE = "validation_"
_LOSS = "validation_loss"
_ESTIMATE = "Estimated before the first step from a few micro-batches, which taught nothing."
_SYNTHETIC = "SYNTHETIC DATA: these figures say nothing about patients."
_MEASURES = {"macro_f1": "macro-F1"}
_SPEED = {
    "notes_per_second": "notes a second",
    "tokens_per_second": "tokens a second",
}
# Settings that have a place of their own on the page, or that say nothing to a reader.
_ELSEWHERE = {"estimate", "identity", "took", "seconds", "epochs", "best_epoch", "seeds", *_SPEED}


@dataclass(frozen=True)
class Log:
    """What ``log.jsonl`` tells.

    Attributes:
        loss, rate: by step.
        score, held_out_loss: of the validation split, by epoch; epoch 0 is before the first step.
        measure: what the score is, such as ``macro_f1``.
        fault: why the run was stopped, if it was.
    """

    loss: Points = field(default_factory=list)
    rate: Points = field(default_factory=list)
    score: Points = field(default_factory=list)
    held_out_loss: Points = field(default_factory=list)
    measure: str = ""
    fault: str = ""

    @classmethod
    def read(cls, file: Path) -> Log | None:
        """The log of a run; None where there is none, or where it is of a head alone, which has no steps."""
        try:
            lines = [*_lines(file.read_text(encoding="utf-8"))]
        except (OSError, UnicodeDecodeError):
            return None
        lines = [line for line in lines if "strength" not in line]
        measures = [key for line in lines for key in line if key.startswith(_SCORE) and key != _LOSS]
        score = measures[0] if measures else ""
        found = cls(
            loss=_points(lines, "step", "loss"),
            rate=_points(lines, "step", "rate"),
            score=_points(lines, "epoch", score),
            held_out_loss=_points(lines, "epoch", _LOSS),
            measure=score.removeprefix(_SCORE),
            fault=next((str(line["fault"]) for line in lines if "fault" in line), ""),
        )
        return found if found.loss or found.score else None


def _lines(text: str) -> Iterator[dict[str, Any]]:
    """The lines that are whole; the last one of a run that was cut off may not be."""
    for line in text.splitlines():
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            yield found


def _points(lines: Sequence[Mapping[str, Any]], across: str, name: str) -> Points:
    """The values of a name, in order; a step that was done again after a crash counts once."""
    kept = {
        float(line[across]): float(line[name])
        for line in lines
        if isinstance(line.get(name), int | float) and isinstance(line.get(across), int | float)
    }
    return sorted(kept.items())


def smoothed(points: Points, span: float) -> Points:
    """The exponentially weighted mean of the values so far, over about ``span`` of them.

    The first values are not drawn towards zero: the weights are divided by their sum, as Adam does it (Kingma and Ba
    2015, section 3).
    """
    keep = 1 - 2 / (max(span, 1.0) + 1)
    found, mean, weight = [], 0.0, 0.0
    for x, y in points:
        mean, weight = keep * mean + (1 - keep) * y, keep * weight + (1 - keep)
        found.append((x, mean / weight))
    return found


def thinned(points: Points, most: int = _DRAWN) -> Points:
    """At most so many points with every peak kept: of each stretch its lowest and its highest value."""
    if len(points) <= most:
        return points
    found: Points = []
    for part in _parts(points, max(most // 2, 1)):
        found += sorted({min(part, key=lambda one: one[1]), max(part, key=lambda one: one[1])})
    return found


def _parts(points: Points, count: int) -> list[Points]:
    """The points in so many stretches of equal length."""
    edges = [round(k * len(points) / count) for k in range(count + 1)]
    return [points[start:end] for start, end in itertools.pairwise(edges) if end > start]


def pictures(log: Log, best: int | None = None) -> list[str]:
    """The curves of a run: loss over steps, validation score and loss over epochs, the learning rate.

    Args:
        log: of the run.
        best: the epoch whose weights were kept; ringed.
    """
    from bedside import reporting as r

    found = []
    if log.loss:
        found.append(_loss(log))
    name = measure_name(log.measure)
    for points, up in ((log.score, f"validation {name}"), (log.held_out_loss, "validation loss")):
        if points:
            found.append(_by_epoch(points, up, best))
    if len(log.rate) > 1:
        numbers = _step_table(log.rate, "learning rate")
        found.append(r.lines([r.Curve("rate", thinned(log.rate))], "Learning rate.", "step", "learning rate", numbers))
    return found


def _loss(log: Log) -> str:
    from bedside import reporting as r

    span = max(len(log.loss) / _SPAN, 3.0)
    curves = [r.Curve("each step", thinned(log.loss), main=False)]
    if len(log.loss) > _SPAN:
        curves.append(r.Curve(f"smoothed over about {span:.0f} steps", thinned(smoothed(log.loss, span))))
    else:
        curves = [curves[0]._replace(main=True)]
    title = "Training loss; a step's own notes, with dropout, so it is not to be compared with the validation loss."
    return r.lines(curves, title, "step", "loss", _step_table(log.loss, "loss"))


def _by_epoch(points: Points, up: str, best: int | None) -> str:
    from bedside import reporting as r

    at = dict(points)
    mark = None if best is None or best not in at else (float(best), at[best], f"kept: epoch {best}, {at[best]:.3f}")
    rows = [[f"{epoch:g}", value, "kept" if epoch == best else ""] for epoch, value in points]
    numbers = r.table(["epoch", up, ""], rows, caption=f"{up[:1].upper()}{up[1:]} by epoch.")
    title = f"{up[:1].upper()}{up[1:]} after each epoch; epoch 0 is before the first step."
    return r.lines([r.Curve(up, points)], title, "epoch", up, numbers, mark)


def _step_table(points: Points, name: str) -> str:
    """The values of steps, or where there are many the mean, lowest and highest of stretches of them."""
    from bedside import reporting as r

    if len(points) <= _ROWS:
        return r.table(["step", name], [[f"{x:g}", _figure(y)] for x, y in points], caption=f"{name} by step.")
    rows = []
    for part in _parts(points, _ROWS):
        values = [y for _, y in part]
        middle = sum(values) / len(values)
        rows.append([f"{part[0][0]:g}–{part[-1][0]:g}", *map(_figure, (middle, min(values), max(values)))])
    return r.table(["steps", "mean", "lowest", "highest"], rows, caption=f"{name} by steps.")


def _figure(value: float) -> str:
    return f"{value:.3f}" if abs(value) >= 0.01 or value == 0 else f"{value:.2e}"


def measure_name(measure: str) -> str:
    """A score as it is called in prose."""
    return _MEASURES.get(measure, measure.replace("_", " "))


def kept(summary: Mapping[str, Any], log: Log) -> str:
    """Which epoch's weights were kept, and why, in a sentence."""
    best, name = summary["best_epoch"], measure_name(log.measure)
    at = dict(log.score)
    score = f" of {at[best]:.3f}" if best in at else ""
    if best == 0:
        return (
            f"The weights from before the first step were kept: no epoch improved the validation {name}{score}, so "
            "what answers was not fine-tuned."
        )
    return (
        f"The weights of epoch {best} of {summary['epochs']} were kept, the best by the validation {name}{score}; of "
        "equal scores the one with the lower loss is better."
    )


def how_it_was_trained(folder: Path) -> list[str]:
    """The same curves for another page; none where the run has no log, such as TF-IDF.

    Nothing in them depends on the machine's speed, so that a page that is made anew has the same bytes.

    Args:
        folder: of the run.
    """
    from bedside import reporting as r

    log = Log.read(folder / "log.jsonl")
    try:
        summary = read_json(folder / "summary.json")
    except (OSError, ValueError):
        return []
    if log is None or "best_epoch" not in summary:
        return []
    return [r.paragraph(kept(summary, log)), *pictures(log, summary["best_epoch"])]


def write_report(
    folder: Path, summary: Mapping[str, Any], settings: Mapping[str, Any], study: str, *, synthetic: bool = False
) -> Path:
    """Write ``report.html`` of a run.

    Args:
        folder: of the run; its ``log.jsonl`` is read, and may be absent.
        summary: as in ``summary.json``.
        settings: as in ``settings.json``.
        study: its name.
        synthetic: whether the data are; the page then says so first.

    Returns:
        The file.
    """
    from bedside import reporting as r

    told = f"{summary['base']}, {settings.get('method', summary.get('kind', ''))}, seed {settings.get('seed', '–')}"
    sheet = r.Page(f"Training: {study}", told, _SYNTHETIC if synthetic else "")
    log = Log.read(folder / "log.jsonl")
    blocks = []
    if log is not None and log.fault:
        blocks.append(r.verdicts([("FAIL", "Stopped", f"{log.fault}; nothing was kept.")]))
    if log is not None and "best_epoch" in summary:
        blocks.append(r.paragraph(kept(summary, log)))
    blocks.append(r.facts(_result(summary)))
    sheet.section("Result", *blocks)
    if log is not None:
        sheet.section("Curves", *pictures(log, summary.get("best_epoch")))
    rows = _beside(settings.get("estimate"), summary)
    if rows:
        sheet.section("Estimated, and what it took", r.table(["", "estimated", "took"], rows, caption=_ESTIMATE))
    if "seeds" in summary:
        sheet.section("Several seeds", r.paragraph(_seeds(summary["seeds"])))
    sheet.section("Settings", r.facts(_settings(settings)))
    file = folder / "report.html"
    write_text(file, sheet.html())
    return file


def _result(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The figures of the summary in words."""
    found = [
        (f"validation {measure_name(name.removeprefix(_SCORE))}", f"{value:.3f}")
        for name, value in summary.items()
        if name.startswith(_SCORE) and isinstance(value, int | float)
    ]
    found += [(f"{words}", f"{summary[name]:,.4g}") for name, words in _SPEED.items() if name in summary]
    if "seconds" in summary:
        found.append(("time in all", duration_text(summary["seconds"])))
    return found


def _beside(estimate: Mapping[str, Any] | None, summary: Mapping[str, Any]) -> list[list[Any]]:
    """What was estimated and what it took, row by row; what is not known is a dash."""
    took = summary.get("took", {})
    if not estimate and not took:
        return []
    guess = estimate or {}
    rows: list[list[Any]] = [
        ["time", _range(guess), duration_text(took["seconds"]) if "seconds" in took else None],
        ["memory", _size(guess.get("memory_bytes")), _size(took.get("peak_memory_bytes"))],
        ["disk", _size(guess.get("disk_bytes")), None],
    ]
    if "energy_joules" in took:
        rows.append([f"energy ({took['energy_of']})", None, f"{took['energy_joules'] / 3600:,.3g} Wh"])
    return [row for row in rows if row[1] is not None or row[2] is not None]


def _range(estimate: Mapping[str, Any]) -> str | None:
    if "seconds" not in estimate:
        return None
    low, high = (duration_text(estimate[name]) for name in ("seconds_low", "seconds_high"))
    return f"{duration_text(estimate['seconds'])}, from {low} to {high}"


def _size(value: float | None) -> str | None:
    return None if value is None else size_text(value)


def _seeds(seeds: Mapping[str, Any]) -> str:
    values = ", ".join(f"{value:.3f}" for value in seeds["values"])
    name = measure_name(str(seeds["measure"]).removeprefix(_SCORE))
    return (
        f"{seeds['count']} runs from different seeds: validation {name} {values}; mean {seeds['mean']:.3f}, standard "
        f"deviation {seeds['standard_deviation']:.3f}. What is kept is that of the study's own seed."
    )


def _settings(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values; where a setting was chosen by a trial, the reason that was found."""
    found = []
    for name, value in settings.items():
        if name in _ELSEWHERE or value is None:
            continue
        if isinstance(value, Mapping):
            value = value.get("why", json.dumps(value))
        found.append((name.replace("_", " "), _worded(value)))
    return found


def _worded(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and abs(value) >= 10_000:
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)
