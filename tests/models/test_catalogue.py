"""The catalogue's facts, and the layers that get adapters."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

import bedside.models
from bedside.models.catalogue import lora_targets

FOLDER = Path(bedside.models.__file__).parent
TYPES = sorted(tomllib.loads((FOLDER / "lora_targets.toml").read_text(encoding="utf-8")))
SMALL = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
SPECIAL = {f"{name}_token_id": 1 for name in ("pad", "eos", "bos", "cls", "sep", "mask")}
SHAPES = {
    "distilbert": {"dim": 32, "n_layers": 1, "n_heads": 2, "hidden_dim": 64},
    "longformer": {**SMALL, "attention_window": [4]},
    "gemma3": {"text_config": SMALL, "vision_config": {**SMALL, "image_size": 28, "patch_size": 14}},
}


def linear_names(model_type: str) -> set[str]:
    """The last names of the linear layers of an architecture's blocks, as transformers builds it."""
    import torch
    from transformers import AutoModel
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    shape = SHAPES.get(model_type, SMALL)
    config = CONFIG_MAPPING[model_type](**shape, vocab_size=99, **SPECIAL)
    with torch.device("meta"):
        model = AutoModel.from_config(config)
    names = [name.split(".") for name, part in model.named_modules() if isinstance(part, torch.nn.Linear)]
    return {parts[-1] for parts in names if any(part.isdigit() for part in parts) and "vision_tower" not in parts}


@pytest.mark.parametrize("model_type", TYPES)
def test_adapters_go_to_all_linear_layers_of_a_block_and_only_to_such(model_type) -> None:
    assert set(lora_targets(model_type) or ()) == linear_names(model_type)


def test_an_architecture_that_is_not_listed_has_no_targets() -> None:
    assert lora_targets("no-such-type") is None
