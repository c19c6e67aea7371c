"""Choices for one note, taken in turn from a row of uniform draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """A row of uniform draws, used from left to right (and again from the start where a note needs more)."""

    __slots__ = ("_at", "_draws")

    def __init__(self, draws: list[float]) -> None:
        self._draws = draws
        self._at = -1

    def draw(self) -> float:
        """The next number in [0, 1)."""
        self._at += 1
        if self._at == len(self._draws):
            self._at = 0
        return self._draws[self._at]

    def chance(self, share: float) -> bool:
        """Yes, in ``share`` of the cases."""
        return self.draw() < share

    def below(self, count: int) -> int:
        """A whole number from 0 to ``count - 1``."""
        return int(self.draw() * count)

    def pick(self, items: Sequence[T]) -> T:
        """One of the items."""
        return items[int(self.draw() * len(items))]

    def shuffle(self, items: list[T]) -> list[T]:
        """The items in another order, in place."""
        for place in range(len(items) - 1, 0, -1):
            other = int(self.draw() * (place + 1))
            items[place], items[other] = items[other], items[place]
        return items

    def digits(self, count: int) -> str:
        """A string of ``count`` digits."""
        return f"{int(self.draw() * 10**count):0{count}d}"
