"""What a user would have read, kept in a list."""

from __future__ import annotations

from bedside.core.progress import Progress


class Told(Progress):
    """Progress that remembers what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, sentence: str) -> None:
        self.lines.append(sentence)

    warn = say
