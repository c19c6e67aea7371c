from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from bedside.core.progress import ConsoleProgress


def _lines(monkeypatch: pytest.MonkeyPatch, steps: int, seconds: float, asked: int) -> list[str]:
    """The lines of a task of ``steps`` steps of ``seconds`` each by a clock of our own, after ``asked`` of them."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    progress = ConsoleProgress(Console(file=stream, width=200))
    with progress.task("Work", total=steps, unit="steps") as task:
        for _ in range(asked):
            now[0] += seconds
            task.advance()
    return stream.getvalue().splitlines()


def test_a_long_task_tells_early_and_then_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _lines(monkeypatch, 120, 1.0, 23) == [
        "  Work: 2 of 120 steps, about 2 min left",
        "  Work: 12 of 120 steps, about 2 min left",
        "  Work: 22 of 120 steps, about 2 min left",
    ]


def test_a_short_task_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _lines(monkeypatch, 9, 1.0, 9) == []
    assert _lines(monkeypatch, 30, 1.0, 12) == ["  Work: 10 of 30 steps, about 20 s left"]
