"""Adapters on a tiny model of every architecture: trained, saved, loaded, merged, and read by plain PEFT."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from tiny_models import ARCHITECTURES, Architecture

from bedside.core.errors import MissingExtra, ModelError
from bedside.models import adapters, catalogue
from bedside.models.network import build_network
from bedside.protocol import TrainSection

LABELS = 2
CLOSE = 1e-5
LORA = TrainSection(method="lora", lora_rank=4, lora_alpha=8)
BY_NAME = {one.type: one for one in ARCHITECTURES}
every_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda one: one.type)


def probabilities(body: Any) -> torch.Tensor:
    """[notes, labels] what a classifier with a head of its own answers."""
    body.eval()
    with torch.inference_mode():
        return body(**tiny_models.batch()).logits.double().softmax(dim=1)


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().max())


def fit(body: Any) -> tuple[float, float]:
    """Train a classifier for a few steps; its first and last loss."""
    torch.manual_seed(7)
    given = tiny_models.batch()
    wanted = torch.arange(len(given["input_ids"])) * LABELS // len(given["input_ids"])
    return tiny_models.train(lambda: body(**given, labels=wanted).loss, list(body.parameters()))


def trained(architecture: Architecture, section: TrainSection = LORA) -> Any:
    body = adapters.attach(tiny_models.build(architecture, LABELS), section)
    fit(body)
    return body


@every_architecture
def test_trained_saved_loaded_and_merged_it_predicts_the_same(architecture, tmp_path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification

    body = adapters.attach(tiny_models.build(architecture, LABELS), LORA)
    before = probabilities(body)
    first, last = fit(body)
    assert last < 0.9 * first
    expected = probabilities(body)
    assert apart(expected, before) > 0.01

    adapters.save(body, tmp_path / "adapter", "owner/base")
    again = adapters.load(tiny_models.build(architecture, LABELS), tmp_path / "adapter")
    assert apart(probabilities(again), expected) < CLOSE
    with pytest.warns(FutureWarning, match="is_gradient_checkpointing"):  # PEFT's own, of transformers
        plain = PeftModel.from_pretrained(tiny_models.build(architecture, LABELS), tmp_path / "adapter")
    assert apart(probabilities(plain), expected) < CLOSE

    whole = adapters.merged(again)
    assert not any("lora" in name or "modules_to_save" in name for name in whole.state_dict())
    assert apart(probabilities(whole), expected) < CLOSE
    whole.save_pretrained(tmp_path / "merged")
    assert not list((tmp_path / "merged").glob("*.bin"))
    found = AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged", attn_implementation="eager")
    assert apart(probabilities(found), expected) < CLOSE


@every_architecture
def test_adapters_and_head_are_trained_and_nothing_else(architecture) -> None:
    body = adapters.attach(tiny_models.build(architecture, LABELS), LORA)
    names = [name for name, value in body.named_parameters() if value.requires_grad]
    assert all("lora_" in name or ".modules_to_save." in name for name in names)
    layers = {name.split(".lora_")[0] for name in names if "lora_" in name}
    wanted = catalogue.lora_targets(architecture.type)
    there = [name for name, _ in adapters._linear(tiny_models.build(architecture, None)) if "pooler" not in name]
    assert len(layers) == sum(name.rpartition(".")[2] in wanted for name in there) > 0
    given, wanted = tiny_models.batch(), torch.arange(12) % LABELS
    body(**given, labels=wanted).loss.backward()
    idle = [name for name, value in body.named_parameters() if value.requires_grad and value.grad is None]
    assert idle == []


@every_architecture
def test_under_a_head_of_ours_the_bare_body_is_merged_alike(architecture, tmp_path) -> None:
    body = adapters.attach(tiny_models.build(architecture, None), LORA)
    assert not any("modules_to_save" in name or "pooler" in name for name in adapter_names(body))
    torch.manual_seed(1)
    network = build_network(body, LABELS, "mean")
    owner, wanted = torch.arange(12), torch.arange(12) * LABELS // 12
    given = tiny_models.batch()

    def logits() -> torch.Tensor:
        return network(given["input_ids"], given["attention_mask"], owner, 12)

    first, last = tiny_models.train(
        lambda: torch.nn.functional.cross_entropy(logits(), wanted), list(network.parameters())
    )
    assert last < 0.9 * first
    network.eval()
    with torch.inference_mode():
        expected = logits()
        adapters.save(body, tmp_path, "owner/base")
        network.body = adapters.load(tiny_models.build(architecture, None), tmp_path).eval()
        assert apart(logits(), expected) < CLOSE
        network.body = adapters.merged(network.body)
        assert apart(logits(), expected) < CLOSE


def adapter_names(body: Any) -> list[str]:
    return [name for name, value in body.named_parameters() if value.requires_grad]


@pytest.mark.parametrize("name", ["bert", "modernbert", "llama"])
def test_activations_that_are_computed_twice_give_the_same_gradients(name) -> None:
    found = []
    for twice in (False, True):
        body = tiny_models.build(BY_NAME[name], LABELS)
        if twice:
            body.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
        torch.manual_seed(3)
        body = adapters.attach(body, LORA).train()
        fit(body)
        found.append({name: value.detach() for name, value in body.named_parameters() if value.requires_grad})
        assert apart(probabilities(body), probabilities(adapters.merged(body))) < CLOSE
    assert all(torch.allclose(value, found[1][name], atol=1e-6) for name, value in found[0].items())


def test_the_same_seed_gives_the_same_bytes(tmp_path) -> None:
    for run in ("a", "b"):
        torch.manual_seed(11)
        adapters.save(trained(BY_NAME["bert"]), tmp_path / run, "owner/base")
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_what_is_saved_names_the_base_and_no_place_on_this_machine(tmp_path) -> None:
    (tmp_path / "private" / "my-base").mkdir(parents=True)
    tiny_models.build(BY_NAME["bert"], LABELS).save_pretrained(tmp_path / "private" / "my-base")
    from transformers import AutoModelForSequenceClassification

    body = AutoModelForSequenceClassification.from_pretrained(tmp_path / "private" / "my-base")
    body = adapters.attach(body, LORA)
    for base, written in (("owner/base", "owner/base"), (str(tmp_path / "private" / "my-base"), "my-base")):
        adapters.save(body, tmp_path / "adapter", base)
        files = sorted(file.name for file in (tmp_path / "adapter").iterdir())
        assert files == ["adapter_config.json", "adapter_model.safetensors"]
        text = (tmp_path / "adapter" / "adapter_config.json").read_text(encoding="utf-8")
        assert json.loads(text)["base_model_name_or_path"] == written
        assert str(tmp_path) not in text
        assert b"private" not in (tmp_path / "adapter" / "adapter_model.safetensors").read_bytes()


def test_a_name_of_another_architecture_is_a_sentence_with_the_names_there_are() -> None:
    section = LORA.model_copy(update={"lora_targets": ["query", "q_proj"]})
    with pytest.raises(ModelError) as caught:
        adapters.attach(tiny_models.build(BY_NAME["bert"], LABELS), section)
    sentence = str(caught.value)
    assert sentence.startswith("train.lora_targets: 'q_proj' is no linear layer of a bert;")
    assert "names query, key, value, dense (" in sentence


def test_layers_of_the_head_and_ends_within_a_name_are_no_targets() -> None:
    body = tiny_models.build(BY_NAME["bert"], LABELS)
    for name in ("classifier", "pooler.dense", "uery", "embeddings"):
        with pytest.raises(ModelError, match=f"'{name}' is no linear layer"):
            adapters.targets(body, [name])
    assert adapters.targets(body, ["query", "output.dense"]) == ["query", "output.dense"]
    assert adapters.targets(body, ["all-linear"]) == "all-linear"


def test_an_architecture_that_the_catalogue_does_not_know_gets_adapters_everywhere(monkeypatch) -> None:
    monkeypatch.setattr(adapters.catalogue, "lora_targets", lambda _: None)
    body = tiny_models.build(BY_NAME["roberta"], LABELS)
    assert adapters.targets(body, []) == "all-linear"
    some = adapters.trainable(adapters.attach(body, LORA))
    monkeypatch.undo()
    assert adapters.trainable(adapters.attach(tiny_models.build(BY_NAME["roberta"], LABELS), LORA)) == some


def test_the_weights_of_adapters_are_counted() -> None:
    body = tiny_models.build(BY_NAME["llama"], None)
    whole = sum(value.numel() for value in body.parameters())
    assert adapters.trainable(body) == (whole, whole)
    section = LORA.model_copy(update={"lora_targets": ["q_proj", "down_proj"]})
    added = 2 * 4 * ((32 + 32) + (64 + 32))  # two layers of rank 4
    assert adapters.trainable(adapters.attach(body, section)) == (added, whole + added)


def test_adapters_of_another_base_and_damaged_ones_are_a_sentence(tmp_path) -> None:
    adapters.save(trained(BY_NAME["bert"]), tmp_path, "owner/base")
    with pytest.raises(ModelError, match=r"for a llama of this size|other layers than this llama"):
        adapters.load(tiny_models.build(BY_NAME["llama"], LABELS), tmp_path)
    wide = Architecture("bert", "BertConfig", {**BY_NAME["bert"].values, "hidden_size": 64})
    with pytest.raises(ModelError, match="not for a bert of this size"):
        adapters.load(tiny_models.build(wide, LABELS), tmp_path)
    deep = Architecture("bert", "BertConfig", {**BY_NAME["bert"].values, "num_hidden_layers": 3})
    with pytest.raises(ModelError, match="other layers than this bert"), pytest.warns(UserWarning, match="missing"):
        adapters.load(tiny_models.build(deep, LABELS), tmp_path)
    weights = tmp_path / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ModelError, match="are damaged"):
        adapters.load(tiny_models.build(BY_NAME["bert"], LABELS), tmp_path)


def test_a_pickle_is_not_read(tmp_path) -> None:
    adapters.save(trained(BY_NAME["bert"]), tmp_path, "owner/base")
    (tmp_path / "adapter_model.safetensors").unlink()
    torch.save({}, tmp_path / "adapter_model.bin")
    with pytest.raises(ModelError, match=r"lacks adapter_model\.safetensors; .* safetensors alone"):
        adapters.load(tiny_models.build(BY_NAME["bert"], LABELS), tmp_path)


def test_a_base_in_half_precision_is_merged_in_full() -> None:
    body = adapters.attach(tiny_models.build(BY_NAME["llama"], LABELS).bfloat16(), LORA)
    assert all(value.dtype == torch.float32 for name, value in body.named_parameters() if "lora_" in name)
    fit(body)
    reference = {name: value.detach().float() for name, value in body.state_dict().items() if "q_proj" in name}
    whole = adapters.merged(body)
    assert {value.dtype for value in whole.parameters()} == {torch.float32}
    place = "base_model.model.model.layers.0.self_attn.q_proj"
    product = reference[f"{place}.lora_B.default.weight"] @ reference[f"{place}.lora_A.default.weight"]
    expected = reference[f"{place}.base_layer.weight"] + 8 / 4 * product
    assert torch.allclose(whole.model.layers[0].self_attn.q_proj.weight, expected, atol=1e-6)


@pytest.fixture(scope="module")
def saved_llama(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    tiny_models.build(BY_NAME["llama"], LABELS).save_pretrained(folder)
    return folder


def in_4_bits(folder: Path) -> Any:
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification.from_pretrained(
        folder, quantization_config=adapters.quantised_config(), dtype=torch.float32, attn_implementation="eager"
    ).eval()


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="needs bitsandbytes")
def test_over_a_base_in_4_bits_it_trains_saves_loads_and_merges(saved_llama, tmp_path) -> None:
    from transformers import AutoModelForSequenceClassification

    body = adapters.attach(in_4_bits(saved_llama), LORA)
    assert body.get_base_model().model.layers[0].self_attn.q_proj.base_layer.weight.dtype == torch.uint8
    assert body.get_base_model().score.weight.dtype == torch.float32
    whole = sum(value.numel() for value in tiny_models.build(BY_NAME["llama"], LABELS).parameters())
    trained_ones, every = adapters.trainable(body)
    assert every == whole + trained_ones
    first, last = fit(body)
    assert last < 0.9 * first
    expected = probabilities(body)
    adapters.save(body, tmp_path / "adapter", "owner/base")
    again = adapters.load(in_4_bits(saved_llama), tmp_path / "adapter")
    assert apart(probabilities(again), expected) < CLOSE
    plain = adapters.merged(again)
    assert apart(probabilities(plain), expected) < CLOSE
    plain.save_pretrained(tmp_path / "merged")
    assert "quantization_config" not in json.loads((tmp_path / "merged" / "config.json").read_text(encoding="utf-8"))
    found = AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged", attn_implementation="eager")
    assert apart(probabilities(found), expected) < CLOSE


def test_without_bitsandbytes_the_sentence_names_the_extra(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingExtra, match=r"pip install 'bedside\[qlora\]', or set train\.method to 'lora'"):
        adapters.quantised_config()
