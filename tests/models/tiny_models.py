"""Tiny models with random weights, one of every architecture that adapters are tried on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

WIDTH, VOCABULARY, LENGTH, PADDING = 32, 60, 24, 1
_BERT = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "pad_token_id": PADDING,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
_LLAMA = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "pad_token_id": PADDING,
}
_DEBERTA = {**_BERT, "relative_attention": True, "pos_att_type": ["c2p", "p2c"], "pooler_hidden_size": WIDTH}


@dataclass(frozen=True)
class Architecture:
    """One architecture.

    Attributes:
        type: transformers' name of it.
        configuration: the name of its configuration's class.
        values: what the tiny one has.
    """

    type: str
    configuration: str
    values: dict[str, Any]

    def config(self, labels: int) -> Any:
        """Its configuration, with the attention that training on a CPU takes."""
        import transformers

        config = getattr(transformers, self.configuration)(**self.values)
        config.num_labels = labels
        config._attn_implementation = "eager"
        return config


ARCHITECTURES = (
    Architecture("bert", "BertConfig", _BERT),
    Architecture("roberta", "RobertaConfig", _BERT),
    Architecture(
        "distilbert",
        "DistilBertConfig",
        {
            "vocab_size": VOCABULARY,
            "dim": WIDTH,
            "n_layers": 2,
            "n_heads": 4,
            "hidden_dim": 64,
            "max_position_embeddings": 64,
            "pad_token_id": PADDING,
            "dropout": 0.0,
            "attention_dropout": 0.0,
            "seq_classif_dropout": 0.0,
        },
    ),
    Architecture("deberta", "DebertaConfig", _DEBERTA),
    Architecture("deberta-v2", "DebertaV2Config", _DEBERTA),
    Architecture(
        "modernbert",
        "ModernBertConfig",
        {
            "vocab_size": VOCABULARY,
            "hidden_size": WIDTH,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 64,
            "max_position_embeddings": 64,
            "pad_token_id": PADDING,
            "local_attention": 16,
        },
    ),
    Architecture("longformer", "LongformerConfig", {**_BERT, "attention_window": 8}),
    Architecture("llama", "LlamaConfig", _LLAMA),
    Architecture("qwen2", "Qwen2Config", _LLAMA),
    Architecture("qwen3", "Qwen3Config", _LLAMA),
    Architecture("gemma2", "Gemma2Config", _LLAMA),
    Architecture("gemma3_text", "Gemma3TextConfig", _LLAMA),
)


def build(architecture: Architecture, labels: int | None, seed: int = 0) -> Any:
    """A model with random weights; the same ones for the same seed.

    Args:
        architecture: which.
        labels: of its own classifier; None builds the bare model.
        seed: of the weights.
    """
    import torch
    from transformers import AutoModel, AutoModelForSequenceClassification

    auto: Any = AutoModel if labels is None else AutoModelForSequenceClassification
    torch.manual_seed(seed)
    body = auto.from_config(architecture.config(labels or 2))
    with torch.no_grad():  # as pre-trained ones are: far enough from zero that a fault shows in what is predicted
        for value in body.parameters():
            value.add_(0.05 * torch.randn_like(value))
    return body.eval()


def batch(notes: int = 12, seed: int = 5) -> dict[str, Any]:
    """Notes of several lengths: ids and mask [notes, tokens]. The halves differ in their first tokens."""
    import torch

    random = torch.Generator().manual_seed(seed)
    ids = torch.randint(6, VOCABULARY, (notes, LENGTH), generator=random)
    ids[: notes // 2, :3], ids[notes // 2 :, :3] = 4, 5
    mask = torch.ones_like(ids)
    for row in range(notes):
        mask[row, LENGTH - row % 5 :] = 0
    ids[mask == 0] = PADDING
    return {"input_ids": ids, "attention_mask": mask}


def train(forward: Callable[[], Any], values: list[Any], steps: int = 8, rate: float = 2e-2) -> tuple[float, float]:
    """A few steps of AdamW; the losses of the first and the last step."""
    import torch

    optimiser = torch.optim.AdamW([value for value in values if value.requires_grad], lr=rate)
    losses = []
    for _ in range(steps):
        loss = forward()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(float(loss.detach()))
    return losses[0], losses[-1]
