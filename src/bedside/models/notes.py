"""Notes as a network reads them: tokenised once, cut into windows, gathered into batches of like lengths.

Tokens lie in one flat array, which for training is mapped from a file: a cohort of millions of notes costs no memory,
and nothing is tokenised twice. A note is never cut short: a long one has several windows, which overlap.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bedside.core.progress import SILENT, Progress

_STEP = 16  # lengths are padded up to a multiple of this, so that few kernels have to be made for few shapes
_CHUNK = 1000  # notes tokenised together
Windows = Sequence[Sequence[int]]
Ints = NDArray[np.int64]


class Windowing:
    """A tokenizer, and how a note is cut into windows that overlap.

    Args:
        tokenizer: of the base model.
        window: tokens in a window, special ones included.
        overlap: tokens that neighbouring windows share.
    """

    def __init__(self, tokenizer: Any, window: int, overlap: int) -> None:
        self.tokenizer, self.window, self.overlap = tokenizer, window, overlap
        ends = tokenizer("")["input_ids"]
        self._before, self._after = ends[:1], ends[1:]

    def cut(self, texts: Sequence[str]) -> list[list[list[int]]]:
        """The windows of each text; an empty text has one that holds the special tokens alone."""
        if not texts:
            return []
        found = self.tokenizer(list(texts), add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
        return [self._windows(ids) for ids in found]

    def _windows(self, ids: list[int]) -> list[list[int]]:
        """As few windows as hold all tokens, of even length: a short last one would be padded up to the first."""
        room = self.window - len(self._before) - len(self._after)
        count = max(-(-(len(ids) - self.overlap) // (room - self.overlap)), 1)
        size = -(-(len(ids) + (count - 1) * self.overlap) // count)
        starts = range(0, count * (size - self.overlap), size - self.overlap) if count > 1 else (0,)
        found = [[*self._before, *ids[start : start + size], *self._after] for start in starts]
        return found if found[0] else [[padding_of(self.tokenizer)]]  # a tokenizer without special tokens, empty text


def padding_of(tokenizer: Any) -> int:
    """The token that fills a row up: the tokenizer's own, else that which ends a text, else the first."""
    for token in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(token)
    return 0


@dataclass(frozen=True)
class Notes:
    """Tokenised notes.

    Attributes:
        tokens: [tokens] of all windows, one after the other.
        windows: [windows + 1] where each window starts, and where the last one ends.
        first: [notes + 1] the first window of each note, and the number of windows.
    """

    tokens: NDArray[np.int32]
    windows: Ints
    first: Ints

    @classmethod
    def of(
        cls, windowing: Windowing, texts: Sequence[str], file: Path | None = None, progress: Progress = SILENT
    ) -> Notes:
        """Tokenise texts, a thousand at a time.

        Args:
            windowing: how.
            texts: cleaned.
            file: where the tokens go, to be mapped from there; in memory if not given.
            progress: told of the work.
        """
        parts: list[NDArray[np.int32]] = []
        lengths: list[int] = []
        counts: list[int] = []
        target = file.open("wb") if file else None
        try:
            with progress.task("Tokenising", total=len(texts), unit="notes") as task:
                for start in range(0, len(texts), _CHUNK):
                    cut = windowing.cut(texts[start : start + _CHUNK])
                    part = np.asarray([token for note in cut for window in note for token in window], dtype=np.int32)
                    lengths += [len(window) for note in cut for window in note]
                    counts += [len(note) for note in cut]
                    target.write(part.tobytes()) if target else parts.append(part)
                    task.advance(len(cut))
        finally:
            if target:
                target.close()
        whole: NDArray[np.int32]
        if file and lengths:
            whole = np.memmap(file, dtype=np.int32, mode="r")
        else:
            whole = np.concatenate([np.zeros(0, np.int32), *parts])
        return cls(whole, _bounds(lengths), _bounds(counts))

    def __len__(self) -> int:
        return len(self.first) - 1

    def __getitem__(self, number: int) -> list[NDArray[np.int32]]:
        """The windows of a note."""
        bounds = self.windows[self.first[number] : self.first[number + 1] + 1]
        return [self.tokens[start:stop] for start, stop in itertools.pairwise(bounds)]

    def lengths(self) -> Ints:
        """[notes] tokens of all windows of a note."""
        return np.asarray(self.windows[self.first[1:]] - self.windows[self.first[:-1]])

    def counts(self) -> Ints:
        """[notes] windows of a note."""
        return np.diff(self.first)

    def longest(self) -> Ints:
        """[notes] tokens of a note's longest window."""
        if not len(self):
            return np.zeros(0, np.int64)
        return np.asarray(np.maximum.reduceat(np.diff(self.windows), self.first[:-1]))

    def numbered(self, place: NDArray[np.int32]) -> Notes:
        """The same notes with each token's number looked up in ``place``."""
        return Notes(place[self.tokens], self.windows, self.first)


def _bounds(sizes: Sequence[int]) -> Ints:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(np.asarray(sizes, dtype=np.int64))])


def batches(notes: Notes, order: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Cut an order of notes into batches whose padded windows hold at most ``tokens`` (a longer note goes alone)."""
    chosen = np.asarray(order, dtype=np.int64)
    counts, lengths = notes.counts()[chosen].tolist(), notes.longest()[chosen].tolist()
    batch: list[int] = []
    windows = longest = 0
    for number, more, length in zip(chosen.tolist(), counts, lengths, strict=True):
        if batch and (windows + more) * max(longest, length) > tokens:
            yield batch
            batch, windows, longest = [], 0, 0
        batch.append(number)
        windows, longest = windows + more, max(longest, length)
    if batch:
        yield batch


def short_first(notes: Notes) -> list[int]:
    """An order in which notes of like lengths stand together."""
    order: list[int] = np.argsort(notes.lengths(), kind="stable").tolist()
    return order


def collate(notes: Notes, batch: Sequence[int], padding: int, device: Any, most: int = 0) -> tuple[Any, Any, Any, int]:
    """The tensors of a batch: ids and mask [windows, tokens], the note that owns each window, and how many notes.

    ``most`` is the longest window that the model takes; up to it, lengths are rounded up to a multiple of 16.
    """
    import torch

    rows = [notes[number] for number in batch]
    longest = max(len(window) for note in rows for window in note)
    longest = max(longest, min(-(-longest // _STEP) * _STEP, most))
    owner = np.repeat(np.arange(len(batch)), [len(note) for note in rows])
    ids = np.full((len(owner), longest), padding, dtype=np.int64)
    mask = np.zeros((len(owner), longest), dtype=np.int64)
    for row, window in enumerate(window for note in rows for window in note):
        ids[row, : len(window)] = window
        mask[row, : len(window)] = 1
    found = [torch.from_numpy(one).to(device) for one in (ids, mask, owner)]
    return found[0], found[1], found[2], len(batch)
