"""The network as a torch module; :func:`bedside.models.network.build_network` makes one."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from bedside.models.network import is_decoder

_TOKENS_AT_ONCE = 16_384  # padded tokens of windows that go through the body together


class Network(nn.Module):
    """Maps the windows of notes to logits [notes, labels]."""

    def __init__(self, body: Any, labels: int, pooling: str, windows: str) -> None:
        super().__init__()
        self.body, self.labels, self.pooling = body, labels, pooling
        self.decoder = is_decoder(body.config)
        if pooling != "own":
            self.head = nn.Linear(int(body.config.get_text_config().hidden_size), labels)
        self.query = nn.Parameter(torch.zeros(self.last.in_features)) if windows == "learned" else None

    @property
    def last(self) -> nn.Linear:
        """The last linear layer, whose weights are a row a label."""
        return self.head if self.pooling != "own" else _last_linear(self.body, self.labels)

    def of_windows(self, ids: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[windows, hidden] sums of vectors, and [windows, 1] of how many each is the sum."""
        if self.pooling == "own":
            vector = self._before_last(ids, mask)
            return vector, torch.ones_like(vector[:, :1])
        hidden = self.body(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        if self.pooling == "cls":
            return hidden[:, 0], torch.ones_like(hidden[:, 0, :1])
        weight = mask.unsqueeze(-1).float()
        return (hidden * weight).sum(dim=1), weight.sum(dim=1)

    def _before_last(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """[windows, hidden] what the body's own head gives to its last layer."""
        caught: list[torch.Tensor] = []
        hook = self.last.register_forward_pre_hook(lambda _layer, given: caught.append(given[0]))
        try:
            self.body(input_ids=ids, attention_mask=mask)
        finally:
            hook.remove()
        vector = caught[0].float()
        if vector.ndim == 3:  # a decoder scores every token; that of the last one counts
            end = mask.sum(dim=1) - 1 if self.decoder else torch.zeros_like(mask[:, 0])
            vector = vector[torch.arange(len(vector), device=vector.device), end]
        return vector

    def _of_all_windows(self, ids: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The same of many windows, some at a time, so that the memory for a very long note has a bound."""
        some = max(_TOKENS_AT_ONCE // ids.shape[1], 1)
        if len(ids) <= some:
            return self.of_windows(ids, mask)
        pieces = list(zip(torch.split(ids, some), torch.split(mask, some), strict=True))
        if torch.is_grad_enabled():  # what lies between is computed again in the backward pass instead of being kept
            found = [checkpoint(self.of_windows, *piece, use_reentrant=False) for piece in pieces]
        else:
            found = [self.of_windows(*piece) for piece in pieces]
        return torch.cat([total for total, _ in found]), torch.cat([count for _, count in found])

    def vectors(self, ids: torch.Tensor, mask: torch.Tensor, owner: torch.Tensor, notes: int) -> torch.Tensor:
        """[notes, hidden] one vector a note, over all its windows."""
        total, count = self._of_all_windows(ids, mask)
        if self.query is not None:
            total = total / count
            count = _shares(total @ self.query / total.shape[1] ** 0.5, owner, notes).unsqueeze(1)
            total = total * count
        sums = total.new_zeros(notes, total.shape[1]).index_add(0, owner, total)
        counts = count.new_zeros(notes, 1).index_add(0, owner, count)
        pooled: torch.Tensor = sums / counts
        return pooled

    def forward(
        self,
        ids: torch.Tensor,
        mask: torch.Tensor,
        owner: torch.Tensor,
        notes: int,
        kept: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Logits; ``kept`` [notes, hidden] multiplies the vectors, which is how dropout comes in."""
        vectors = self.vectors(ids, mask, owner, notes)
        logits: torch.Tensor = self.last(vectors if kept is None else vectors * kept)
        return logits


def _last_linear(body: Any, labels: int) -> nn.Linear:
    """The last linear layer of a classifier; of one that PEFT keeps two of, the trained one."""
    found = [part for part in body.modules() if isinstance(part, nn.Linear) and part.out_features == labels]
    return found[-1]


def _shares(scores: torch.Tensor, owner: torch.Tensor, notes: int) -> torch.Tensor:
    """[windows] the softmax of scores over the windows of each note."""
    highest = torch.full((notes,), -torch.inf, dtype=scores.dtype, device=scores.device)
    highest = highest.scatter_reduce(0, owner, scores.detach(), "amax")
    raised = (scores - highest[owner]).exp()
    return raised / raised.new_zeros(notes).index_add(0, owner, raised)[owner]
