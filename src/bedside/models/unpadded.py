"""The layers of BERT-like encoders over tokens without padding, for cards (CUDA).

The tokens of all windows go through transformers' own layers as one row; only around attention are they padded, and
there PyTorch's own kernel masks what is padding. Dropout, LoRA and saved activations work as ever, since no layer is
replaced, and nothing is asked of the card but what the padded model asks.

Values and gradients were compared with the padded model's on a CPU. On CUDA it was neither timed nor run here: what it
saves is the padding's share of all products but those of attention, and what it costs are two copies a layer.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import flash_attention_mask
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions as Output

from bedside.models.packed import stack_of

_NAME = "bedside_unpadded"


def leave_padding_out(body: Any) -> bool:
    """Let the layers of a body run over tokens without padding, until :func:`bedside.models.packed.unpack`.

    Args:
        body: a model of transformers, with or without a classifier on top, or one that PEFT has wrapped.

    Returns:
        Whether it could be done; if not, the body is as it was.
    """
    stack, config = stack_of(body.get_base_model() if hasattr(body, "peft_config") else body)
    if stack is None or any(getattr(config, name, False) for name in ("is_decoder", "add_cross_attention")):
        return False
    stack.forward = _Row(stack.layer, config)
    config._attn_implementation = _NAME
    return True


class _Row:
    """Stands in for the ``forward`` of a stack of layers."""

    def __init__(self, layers: Any, config: Any) -> None:
        self._layers, self._config, self._before = layers, config, config._attn_implementation

    def leave(self) -> None:
        """Give attention back to what it was."""
        self._config._attn_implementation = self._before

    def __call__(self, hidden_states: torch.Tensor, attention_mask: Any = None, **_: Any) -> Output:
        windows, length, width = hidden_states.shape
        flat = hidden_states.reshape(windows * length, width)
        if attention_mask is None:  # nothing is padded
            kept = torch.ones(windows, length, dtype=torch.bool, device=flat.device)
        else:
            kept = attention_mask.bool()
        real = kept.reshape(-1).nonzero().squeeze(1)
        row = flat.index_select(0, real).unsqueeze(0)
        for layer in self._layers:
            row = layer(row, None, kept=kept, real=real)
        found = row.new_zeros(flat.shape).index_copy(0, real, row.squeeze(0))
        return Output(last_hidden_state=found.view(windows, length, width))


def _attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Any,
    *,
    kept: torch.Tensor,
    real: torch.Tensor,
    dropout: float = 0.0,
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of each window to itself, as transformers asks for it.

    Args:
        module: not needed.
        query, key, value: [1, heads, tokens, size].
        attention_mask: there is none.
        kept: [windows, places] whether there is a token.
        real: [tokens] the place of each in the padded batch.
        dropout: of the weights of attention.
        scaling: of the scores.

    Returns:
        [1, tokens, heads, size], and no weights.
    """
    heads, tokens, size = query.shape[1:]
    windows, length = kept.shape
    padded = []
    for one in (query, key, value):
        rows = one.new_zeros(windows * length, heads, size).index_copy(0, real, one.squeeze(0).transpose(0, 1))
        padded.append(rows.view(windows, length, heads, size).transpose(1, 2))
    mask = None if tokens == windows * length else kept[:, None, None, :]
    q, k, v = padded
    read = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout, scale=scaling)
    return read.transpose(1, 2).reshape(windows * length, heads, size).index_select(0, real).unsqueeze(0), None


AttentionInterface.register(_NAME, _attend)
AttentionMaskInterface.register(_NAME, flash_attention_mask)
