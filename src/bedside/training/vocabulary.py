"""Only the tokens that occur are trained.

An embedding table is half of a small encoder, and most of its rows never get a gradient: their tokens are in no
training note. Left in place they cost a full pass over the table, four times a step (gradient, norm, two moments).
While training runs the table holds the rows in use alone; afterwards they go back to their places. The result is that
of training the whole table, but that weight decay leaves unused rows as they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bedside.models.encoder import Windows

_WORTH_IT = 0.7  # share of the table in use up to which it is shrunk


class Vocabulary:
    """The tokens in use, and where they stand in the whole table.

    Args:
        notes: every tokenised note that the network will read while it is trained, by split.
        padding: the token that fills a row up; it keeps its number, which some encoders count positions by.
        size: rows of the whole table.
    """

    def __init__(self, notes: Sequence[Sequence[Windows]], padding: int, size: int) -> None:
        seen = {token for split in notes for note in split for window in note for token in window}
        used = sorted(seen | set(range(padding + 1)))
        self._used = used if len(used) <= _WORTH_IT * size else None
        self._place = {token: place for place, token in enumerate(used)}

    def numbered(self, notes: Sequence[Windows]) -> list[Windows]:
        """The notes with each token's number in the table as it is while training."""
        if self._used is None:
            return list(notes)
        place = self._place
        return [[[place[token] for token in window] for window in note] for note in notes]

    def shrink(self, encoder: Any) -> None:
        """Leave only the rows in use."""
        if self._used is None:
            return
        import torch

        self._whole = encoder.get_input_embeddings()
        rows = torch.tensor(self._used, device=self._whole.weight.device)
        size, width = len(self._used), self._whole.embedding_dim
        small = torch.nn.Embedding(size, width, padding_idx=self._whole.padding_idx, device=rows.device)
        with torch.no_grad():
            small.weight.copy_(self._whole.weight[rows])
        encoder.set_input_embeddings(small)

    def restore(self, encoder: Any) -> None:
        """Put the rows back where they belong."""
        if self._used is None:
            return
        import torch

        rows = torch.tensor(self._used, device=self._whole.weight.device)
        with torch.no_grad():
            self._whole.weight[rows] = encoder.get_input_embeddings().weight.to(self._whole.weight)
        encoder.set_input_embeddings(self._whole)
