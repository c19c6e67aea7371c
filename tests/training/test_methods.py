"""The loop with adapters and with a probe, on a tiny encoder and on a tiny decoder: what is saved predicts the same."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bedside.core.files import read_json
from bedside.models import adapters, load_diagnoser
from bedside.protocol import ModelSection, TrainSection
from bedside.training import train

BRIEF: dict[str, Any] = {"precision": "fp32", "device": "cpu", "threads": 1, "batch_tokens": 512, "lora_rank": 4}


@pytest.fixture(scope="module")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    """A tiny Llama with random weights that reads by the tiny encoder's tokenizer."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaModel

    folder = tmp_path_factory.mktemp("llama")
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaModel(config).save_pretrained(folder)
    return folder


def settings(base: Path, **values: Any) -> tuple[ModelSection, TrainSection]:
    return ModelSection(base=str(base), window=32, overlap=4), TrainSection(**{**BRIEF, "epochs": 6, **values})


def answers(network: Any, diagnoser: Any, texts: list[str]) -> np.ndarray:
    """What a diagnoser answers with another network in place of its own."""
    diagnoser.network = network.eval()
    return np.asarray(diagnoser.predict_proba(texts))


@pytest.mark.parametrize("base", ["tiny", "tiny_llama"])
@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_adapters_and_the_merged_model_predict_the_same(base, method, cohort, tmp_path, request) -> None:
    if method == "qlora" and importlib.util.find_spec("bitsandbytes") is None:
        pytest.skip("needs bitsandbytes")
    from bedside.models.network import build_network, load_body

    place = request.getfixturevalue(base)
    model, section = settings(place, method=method, learning_rate=1e-2)
    summary = train(cohort, model, section, tmp_path, seed=5)
    assert summary["method"] == method
    assert summary["trained_parameters"] < summary["parameters"] / 2
    assert summary["validation_macro_f1"] > 0.8
    assert sorted(file.name for file in (tmp_path / "adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert read_json(tmp_path / "adapter" / "adapter_config.json")["base_model_name_or_path"] == place.name
    assert not list((tmp_path / "model").glob("adapter*"))

    texts = cohort.texts("test")
    diagnoser = load_diagnoser(tmp_path / "model")
    expected = np.asarray(diagnoser.predict_proba(texts))
    assert (expected.argmax(axis=1) == cohort.targets("test")).mean() > 0.8

    more = {"quantization_config": adapters.quantised_config()} if method == "qlora" else {}
    body = load_body(place, pooling=diagnoser.pooling, labels=3, padding=0, **more)
    body = adapters.load(body, tmp_path / "adapter")
    network = build_network(body, 3, diagnoser.pooling)
    if diagnoser.pooling != "own":
        network.head = diagnoser.network.head
    assert np.abs(answers(network, diagnoser, texts) - expected).max() < 1e-5


@pytest.mark.parametrize("base", ["tiny", "tiny_llama"])
def test_a_probe_trains_the_head_alone(base, cohort, tmp_path, request) -> None:
    from safetensors.torch import load_file

    place = request.getfixturevalue(base)
    summary = train(cohort, *settings(place, method="probe"), tmp_path, seed=5)
    assert summary["validation_macro_f1"] > 0.8
    diagnoser = load_diagnoser(tmp_path / "model")
    assert (diagnoser.predict_proba(cohort.texts("test")).argmax(axis=1) == cohort.targets("test")).mean() > 0.8
    before, after = load_file(place / "model.safetensors"), load_file(tmp_path / "model" / "model.safetensors")
    kept = {name.removeprefix("model."): value for name, value in after.items()}
    assert all((kept[name] == value).all() for name, value in before.items())


def test_activations_computed_twice_give_the_same_adapters(cohort, tiny, tmp_path) -> None:
    found = []
    for twice in (False, True):
        chosen = settings(tiny, method="lora", epochs=1, learning_rate=1e-2, gradient_checkpointing=twice)
        train(cohort, *chosen, tmp_path / str(twice), seed=5)
        found.append(load_diagnoser(tmp_path / str(twice) / "model").predict_proba(cohort.texts("test")))
    assert np.abs(found[0] - found[1]).max() < 1e-5
