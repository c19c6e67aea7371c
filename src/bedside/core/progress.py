"""Progress that a person can read, and that a script can leave out.

A room is handed a ``Progress`` and never prints. No progress line may hold patient text: labels, counts and
names of stages only.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars


_FIRST_ESTIMATE = 2.0  # seconds after which a long task says how long it will take
_LONG = 60.0  # seconds left that make a task a long one


class Task:
    """One piece of work under way. This one shows nothing."""

    def advance(self, steps: float = 1) -> None:
        """Say that ``steps`` more of the total are done."""

    def note(self, text: str) -> None:
        """Show a short remark beside the bar, such as the current loss."""


class Progress:
    """The silent progress: the default for a library."""

    def say(self, sentence: str) -> None:
        """Tell the user something in passing."""

    def warn(self, sentence: str) -> None:
        """Tell the user something that should not be missed."""

    @contextlib.contextmanager
    def task(self, label: str, total: float | None = None, unit: str = "") -> Iterator[Task]:
        """Show a bar with an estimate while the block runs."""
        yield Task()


SILENT = Progress()


class _Bar(Task):
    """A task on a terminal."""

    def __init__(self, bars: Bars, label: str, total: float | None, unit: str) -> None:
        self._bars = bars
        self._unit = unit
        self._id = bars.add_task(label, total=total, remark=unit)

    def advance(self, steps: float = 1) -> None:
        self._bars.advance(self._id, steps)

    def note(self, text: str) -> None:
        self._bars.update(self._id, remark=text)


class _Lines(Task):
    """A task in a log file: a line every few seconds, with an estimate; an early one where it will be long."""

    def __init__(self, console: Console, label: str, total: float | None, unit: str, every: float) -> None:
        self._console, self._label, self._total, self._unit, self._every = console, label, total, unit, every
        self._start = self._last = time.monotonic()
        self._early = True
        self._done = 0.0
        self._remark = ""

    def advance(self, steps: float = 1) -> None:
        self._done += steps
        now = time.monotonic()
        left = None
        if self._total:
            left = (now - self._start) * (self._total - self._done) / max(self._done, 1e-9)
        if not self._due(now, left):
            return
        self._last, self._early = now, False
        text = f"  {self._label}: {self._done:,.0f}"
        if left is not None:
            text += f" of {self._total:,.0f} {self._unit}, about {duration_text(left)} left"
        self._console.print(f"{text} {self._remark}".rstrip(), highlight=False, markup=False)

    def _due(self, now: float, left: float | None) -> bool:
        """Whether it is time for a line: the first early where the user will wait long, the others at intervals."""
        if self._early and left is not None and left > _LONG:
            return now - self._start >= min(_FIRST_ESTIMATE, self._every)
        return now - self._last >= self._every

    def note(self, text: str) -> None:
        self._remark = f"({text})"


class ConsoleProgress(Progress):
    """Progress on standard error: bars on a terminal, a line every ten seconds in a log."""

    def __init__(self, console: Console | None = None, every: float = 10.0) -> None:
        if console is None:
            from rich.console import Console

            console = Console(stderr=True, soft_wrap=True)
        self.console = console
        self._every = every

    def say(self, sentence: str) -> None:
        """Print a sentence to standard error."""
        self.console.print(sentence, highlight=False, markup=False)

    def warn(self, sentence: str) -> None:
        """Print a sentence to standard error, marked in words (colour alone says nothing in a log)."""
        self.console.print(f"Note: {sentence}", style="yellow", highlight=False, markup=False)

    @contextlib.contextmanager
    def task(self, label: str, total: float | None = None, unit: str = "") -> Iterator[Task]:
        """Show a bar on a terminal, or a line every few seconds elsewhere."""
        if not self.console.is_terminal:
            yield _Lines(self.console, label, total, unit, self._every)
            return
        from rich import progress as rich_progress

        columns = (
            rich_progress.TextColumn("  {task.description}"),
            rich_progress.BarColumn(bar_width=24),
            rich_progress.MofNCompleteColumn() if total else rich_progress.SpinnerColumn(),
            rich_progress.TextColumn("{task.fields[remark]}"),
            rich_progress.TimeRemainingColumn() if total else rich_progress.TimeElapsedColumn(),
        )
        with rich_progress.Progress(*columns, console=self.console, transient=True) as bars:
            yield _Bar(bars, label, total, unit)


def duration_text(seconds: float) -> str:
    """``seconds`` as a person says it: ``40 s``, ``3 min``, ``2 h 05 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min"
