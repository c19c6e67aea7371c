"""The network of every trainable classifier: a body from transformers, pooling over the windows of a note, a head.

Two forms. With pooling ``mean`` or ``cls`` the body is the bare encoder and a linear head stands beside it. With
``own`` the body is the architecture's own ``AutoModelForSequenceClassification``: what a BERT does with its pooler, a
ModernBERT with its head and a Llama with its last token, so that what is saved loads in transformers as it is. In both
the vector before the last linear layer is what the windows of a long note are joined by, and what a warm start is
fitted on.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from bedside.core.errors import ModelError

_DROPOUT_KEYS = ("attention_dropout", "dropout_prob", "hidden_dropout", "dropout_rate")


def quiet_libraries() -> None:
    """No bars and no advice from the libraries below: they could not know what matters here."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it advises to install more whenever PEFT looks for it
    from transformers.utils import logging as advice

    for silence in (advice.set_verbosity_error, advice.disable_progress_bar):
        cast("Callable[[], None]", silence)()


def is_decoder(config: Any) -> bool:
    """Whether an architecture writes from left to right, as a Llama does, so that its last token sums a note up."""
    from transformers.models.auto import modeling_auto

    name = getattr(config, "model_type", "")
    writes = name in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    return writes and name not in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES


def attention_for(device: str) -> str:
    """Which attention to use. On CPUs the fused one's backward pass is the slowest part of a step."""
    return "eager" if device == "cpu" else "sdpa"


def load_body(
    place: Path,
    *,
    pooling: str,
    labels: int,
    device: str = "cpu",
    pretrained: bool = True,
    padding: int | None = None,
    **more: Any,
) -> Any:
    """The body of a network, from a folder with transformers' files.

    Args:
        place: config, and safetensors where ``pretrained``.
        pooling: ``own`` gives the architecture's own classifier, else the bare model.
        labels: of the classifier.
        device: which attention suits.
        pretrained: false gives random weights.
        padding: the token that fills rows up, for architectures that ask for it.
        more: for ``from_pretrained``: ``dtype``, ``quantization_config``.

    Raises:
        ModelError: the architecture has no classifier of its own, or is not known to transformers.
    """
    import torch
    from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

    try:
        config = AutoConfig.from_pretrained(place, local_files_only=True)
    except ValueError as error:
        raise ModelError(
            f"{place / 'config.json'} is of an architecture that this version of transformers does not know; "
            "name another model.base."
        ) from error
    auto: Any = AutoModelForSequenceClassification if pooling == "own" else AutoModel
    if type(config) not in auto._model_mapping:
        raise ModelError(
            f"An architecture of type '{config.model_type}' has no classification head of its own; "
            "set model.pooling to 'mean'."
        )
    if pooling == "own":
        config.num_labels = labels
        if getattr(config, "pad_token_id", None) is None:
            config.pad_token_id = padding
    wanted = {"dtype": torch.float32, "attn_implementation": attention_for(device), **more}
    if not pretrained:
        return auto.from_config(config, **{key: wanted[key] for key in ("dtype", "attn_implementation")})
    return auto.from_pretrained(place, config=config, local_files_only=True, use_safetensors=True, **wanted)


def set_dropout(body: Any, rate: float) -> None:
    """Set dropout inside the body. At 0 nothing is drawn: on CPUs its masks double a step's time."""
    import torch

    for part in body.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = rate
        for name in _DROPOUT_KEYS:
            if isinstance(getattr(part, name, None), float):
                setattr(part, name, rate)


def build_network(body: Any, labels: int, pooling: str, windows: str = "mean") -> Any:
    """The network.

    Args:
        body: from :func:`load_body`, as it is or wrapped by PEFT.
        labels: how many.
        pooling: ``mean`` or ``cls`` (a linear head beside the body), or ``own`` (the body's own head).
        windows: how the windows of a note become one: ``mean``, or ``learned`` (attention with one learned query, which
            starts at zero, where it is the mean; Ilse et al. 2018).

    Returns:
        A module that maps ids and mask [windows, tokens], the owner of each window and the number of notes to logits
        [notes, labels], with ``vectors`` [notes, hidden] and ``last`` (the last linear layer).
    """
    from bedside.models.module import Network

    return Network(body, labels, pooling, windows)
