"""The catalogue's facts, and the layers that get adapters."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path

import pytest

import bedside.models
from bedside.core.errors import ModelError
from bedside.models import tensors, weights
from bedside.models.catalogue import CATALOGUE, BaseModel, find, lora_targets

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


def test_every_entry_says_what_it_is_and_where_that_was_looked_up() -> None:
    names = {one.name for one in dataclasses.fields(BaseModel)}
    for model in CATALOGUE:
        assert model.kind in {"baseline", "encoder", "decoder"}
        assert model.licence
        assert set(model.unverified) <= names
        if model.kind != "baseline":
            assert model.parameters > 0
            assert model.bytes > 0
            assert model.limit >= 512
            assert model.pooling in {"mean", "own"}
            assert model.link.startswith("https://")
            assert re.fullmatch(r"20\d\d-\d\d-\d\d", model.checked)
            assert model.source
            assert lora_targets(model.architecture), f"{model.architecture} has no targets for adapters"


def test_every_base_model_that_the_documentation_promises_is_there() -> None:
    titles = " ".join(model.title for model in CATALOGUE)
    for name in ("BioBERT", "ClinicalBERT", "PubMedBERT", "BlueBERT", "BioClinical ModernBERT", "Clinical-Longformer"):
        assert name in titles
    for name in ("GatorTron", "BioMistral", "Meditron", "MedGemma", "Qwen3", "Llama 3", "SmolLM2", "MiniLM", "TF-IDF"):
        assert name in titles


def test_terms_that_bind_whoever_passes_a_model_on_are_named() -> None:
    for model in CATALOGUE:
        if "Llama" in model.licence or "terms" in model.licence or model.licence.startswith("none"):
            assert model.obligations


@pytest.mark.parametrize("name", ["builtin:minilm", "builtin:smollm2"])
def test_what_is_said_of_an_embedded_model_is_what_its_files_say(name) -> None:
    if not weights.installed(name):
        pytest.skip(f"{name} is not at hand")
    said, found = find(name), find(str(weights.locate(name)))
    for key in ("parameters", "bytes", "limit", "architecture", "kind"):
        assert getattr(said, key) == getattr(found, key), key


def made(folder: Path, model_type: str, auto: str) -> Path:
    """A model with random weights in a folder."""
    import torch
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    torch.manual_seed(0)
    config = CONFIG_MAPPING[model_type](**SMALL, vocab_size=99, max_position_embeddings=64, **SPECIAL)
    getattr(transformers, auto).from_config(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("model_type", "auto", "kind", "pooling"),
    [
        ("bert", "AutoModel", "encoder", "mean"),
        ("modernbert", "AutoModelForMaskedLM", "encoder", "own"),
        ("llama", "AutoModelForCausalLM", "decoder", "own"),
    ],
)
def test_a_folder_says_what_it_is(tmp_path, model_type, auto, kind, pooling) -> None:
    from safetensors.torch import load_file

    model = find(str(made(tmp_path, model_type, auto)))
    assert (model.kind, model.pooling, model.architecture, model.limit) == (kind, pooling, model_type, 64)
    assert model.parameters == sum(value.numel() for value in load_file(tmp_path / "model.safetensors").values())
    assert model.bytes == (tmp_path / "model.safetensors").stat().st_size


def test_a_folder_that_says_nothing_is_found_and_nothing_is_made_up(tmp_path) -> None:
    model = find(str(tmp_path))
    assert (model.kind, model.pooling, model.parameters, model.limit) == ("", "", 0, 0)
    (tmp_path / "config.json").write_text("[]", encoding="utf-8")
    (tmp_path / "model.safetensors").write_bytes(b"\x00" * 4)
    assert find(str(tmp_path)).parameters == 0


def test_a_safetensors_file_that_was_cut_short_is_a_sentence(tmp_path) -> None:
    path = made(tmp_path, "bert", "AutoModel") / "model.safetensors"
    content = path.read_bytes()
    assert tensors.tensors_digest([path]) == tensors.tensors_digest([path])
    for cut in (content[:5], content[:100], content[:-1], content + b"x"):
        path.write_bytes(cut)
        with pytest.raises(ModelError, match=r"fetch it again\."):
            tensors.read_header(path)


def test_the_digest_of_tensors_does_not_depend_on_how_they_are_laid_out(tmp_path) -> None:
    import torch
    from safetensors.torch import save_file

    first, second = torch.arange(6.0).reshape(2, 3), torch.ones(4, dtype=torch.bfloat16)
    save_file({"a": first, "b": second}, tmp_path / "one.safetensors", metadata={"format": "pt"})
    save_file({"b": second}, tmp_path / "two.safetensors")
    save_file({"a": first}, tmp_path / "three.safetensors")
    whole = tensors.tensors_digest([tmp_path / "one.safetensors"])
    assert tensors.tensors_digest([tmp_path / "two.safetensors", tmp_path / "three.safetensors"]) == whole
    save_file({"a": first.reshape(3, 2)}, tmp_path / "three.safetensors")
    assert tensors.tensors_digest([tmp_path / "two.safetensors", tmp_path / "three.safetensors"]) != whole
