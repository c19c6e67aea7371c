"""Only the tokens that occur are trained.

An embedding table is half of a small encoder, and most of its rows never get a gradient: their tokens are in no
training note. Left in place they cost a full pass over the table, four times a step (gradient, norm, two moments).
While training runs the table holds the rows in use alone; afterwards they go back to their places. The result is that
of training the whole table, but that weight decay leaves unused rows as they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bedside.models.notes import Notes

_WORTH_IT = 0.7  # share of the table in use up to which it is shrunk


class Vocabulary:
    """The tokens in use, and where they stand in the whole table.

    Args:
        notes: every tokenised note that the network will read while it is trained, by split.
        padding: the token that fills a row up.
        size: rows of the whole table.
        keep_padding: whether the padding token must keep its number, which some encoders count positions by.
        whole: leave the table as it is, for one that is not trained.

    Attributes:
        padding: the number of the padding token while training.
    """

    def __init__(
        self, notes: Sequence[Notes], padding: int, size: int, *, keep_padding: bool = True, whole: bool = False
    ) -> None:
        found = [np.unique(one.tokens) for one in notes]
        used = np.unique(np.concatenate([np.arange(0 if keep_padding else padding, padding + 1), *found]))
        self._used = used if len(used) <= _WORTH_IT * size and not whole else None
        self._place = np.zeros(size, dtype=np.int32)
        self._place[used] = np.arange(len(used), dtype=np.int32)
        self.padding = padding if self._used is None else int(self._place[padding])

    def numbered(self, notes: Notes) -> Notes:
        """The notes with each token's number in the table as it is while training."""
        return notes if self._used is None else notes.numbered(self._place)

    def shrink(self, body: Any) -> None:
        """Leave only the rows in use."""
        if self._used is None:
            return
        import torch

        self._whole = body.get_input_embeddings()
        rows = torch.tensor(self._used, device=self._whole.weight.device)
        size, width, silent = len(self._used), self._whole.embedding_dim, self._whole.padding_idx
        silent = None if silent is None else int(self._place[silent])
        small = torch.nn.Embedding(size, width, padding_idx=silent, device=rows.device)
        with torch.no_grad():
            small.weight.copy_(self._whole.weight[rows])
        body.set_input_embeddings(small)

    def restore(self, body: Any) -> None:
        """Put the rows back where they belong."""
        if self._used is None:
            return
        import torch

        rows = torch.tensor(self._used, device=self._whole.weight.device)
        with torch.no_grad():
            self._whole.weight[rows] = body.get_input_embeddings().weight.to(self._whole.weight)
        body.set_input_embeddings(self._whole)
