"""The optimiser and its rates: AdamW, a rate for each layer, linear up and linear down."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from bedside.core.errors import ModelError
from bedside.protocol import TrainSection

_LAYER = re.compile(r"\.(?:layers?|h|blocks?)\.(\d+)\.")
# By method: the most parameters, and the rate up to there. Larger models take smaller steps, adapters larger ones.
_RATES: dict[str, tuple[tuple[float, float], ...]] = {
    "full": ((6e7, 1e-4), (6e8, 3e-5), (float("inf"), 1e-5)),
    "lora": ((6e7, 1e-3), (6e8, 5e-4), (float("inf"), 2e-4)),
}


def rate_of(section: TrainSection, parameters: int) -> float:
    """The highest learning rate: the one that was given, or one that suits the method and the size of the model."""
    if section.learning_rate != "auto":
        return section.learning_rate
    table = _RATES["lora" if section.method in {"lora", "qlora"} else "full"]
    return next(rate for most, rate in table if parameters <= most)


def layer_of(name: str) -> int | None:
    """Which layer of the body a parameter belongs to, from 0 at the bottom; None for what is in no layer."""
    found = _LAYER.search(name)
    return int(found.group(1)) if found else None


def freeze(network: Any, layers: int) -> None:
    """Leave the embeddings and the lowest layers as they are.

    Raises:
        ModelError: the body has fewer layers.
    """
    if not layers:
        return
    depth = 1 + max((layer_of(name) or 0 for name, _ in network.named_parameters()), default=0)
    if layers > depth:
        raise ModelError(f"train.freeze = {layers}: the base model has {depth} layers; freeze at most so many.")
    for name, value in network.named_parameters():
        layer = layer_of(name)
        if (layer is not None and layer < layers) or (layer is None and "embed" in name.lower()):
            value.requires_grad_(False)


def parameter_groups(network: Any, section: TrainSection, rate: float) -> list[dict[str, Any]]:
    """What is trained, in groups of one rate and one weight decay; biases and norms are not pulled to zero."""
    depth = 1 + max((layer_of(name) or 0 for name, _ in network.named_parameters()), default=0)
    head = {id(value) for value in network.last.parameters()}
    groups: dict[tuple[float, float], list[Any]] = {}
    for name, value in network.named_parameters():
        if not value.requires_grad:
            continue
        decay = 0.0 if value.ndim < 2 and id(value) not in head else section.weight_decay
        height = layer_of(name)
        below = depth - height if height is not None else depth + 1 if "embed" in name.lower() else 0
        groups.setdefault((rate * section.layer_decay**below, decay), []).append(value)
    return [{"params": values, "lr": one, "weight_decay": decay} for (one, decay), values in groups.items()]


def schedule(steps: int, warmup: float) -> Callable[[int], float]:
    """Linear up in the first share of the steps, linear down to zero in the rest."""
    rise = max(int(steps * warmup), 1)

    def share(step: int) -> float:
        return (step + 1) / rise if step < rise else max((steps - step) / max(steps - rise, 1), 0.0)

    return share
