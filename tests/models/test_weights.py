"""Base models by name, and their files."""

from __future__ import annotations

import shutil

import pytest

from bedside.core.errors import MachineError, ModelError
from bedside.core.files import sha256_file
from bedside.models import weights
from bedside.models.catalogue import CATALOGUE, find


def test_a_base_model_is_found_by_id_and_title() -> None:
    for model in CATALOGUE:
        assert find(model.id) is model
        assert find(model.title.upper()) is model
    assert find("someone/some-model").use == "named by the study"


@pytest.mark.parametrize(("name", "near"), [("minilm-l6", "builtin:minilm"), ("BioBRT", "dmis-lab/biobert-v1.1")])
def test_near_names_are_offered(name, near) -> None:
    with pytest.raises(ModelError, match=near):
        find(name)


def test_the_embedded_default_is_what_it_should_be() -> None:
    found = sha256_file(weights.locate("builtin:minilm") / "model.safetensors")
    assert found == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def test_what_is_not_at_hand_is_a_sentence_that_tells_how_to_get_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("BEDSIDE_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="bedside models get builtin:minilm"):
        weights.locate("builtin:minilm")
    with pytest.raises(ModelError, match=r"Without one: on another machine fetch config\.json"):
        weights.locate("dmis-lab/biobert-v1.1")
    assert not weights.installed("dmis-lab/biobert-v1.1")
    assert weights.locate("builtin:tfidf") is None


def test_a_folder_must_be_whole_and_pickles_are_refused(tmp_path) -> None:
    with pytest.raises(ModelError, match=r"lacks config\.json and tokenizer\.json"):
        weights.locate(str(tmp_path))
    for name in ("config.json", "tokenizer.json", "pytorch_model.bin"):
        (tmp_path / name).write_bytes(b"{}")
    with pytest.raises(ModelError, match=r"pickles \(\.bin, \.pt\) can run code and are refused"):
        weights.locate(str(tmp_path))
    (tmp_path / "config.json").write_bytes(b"{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert weights.locate(str(tmp_path)) == tmp_path


def test_the_hub_out_of_reach_is_a_sentence(tmp_path, monkeypatch) -> None:
    import huggingface_hub

    def unreachable(*_words, **_more):
        raise ConnectionError("no route to host")

    monkeypatch.setenv("BEDSIDE_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unreachable)
    with pytest.raises(MachineError, match=r"could not be fetched from the Hub \(ConnectionError\)\. Fetch config"):
        weights.get("dmis-lab/biobert-v1.1")
    assert list(tmp_path.rglob("*.part")) == []


def test_a_folder_from_elsewhere_is_taken_in_without_a_network(tmp_path, monkeypatch) -> None:
    source = tmp_path / "carried"
    shutil.copytree(weights.locate("builtin:minilm"), source)
    (source / "pytorch_model.bin").write_bytes(b"a pickle")
    (source / "modeling_own.py").write_text("raise SystemExit", encoding="utf-8")
    monkeypatch.setenv("BEDSIDE_CACHE", str(tmp_path / "cache"))
    for name in ("builtin:minilm", "someone/some-model"):
        place = weights.get(name, source=source)
        assert not {"pytorch_model.bin", "modeling_own.py"} & {file.name for file in place.iterdir()}
        assert weights.verify(name)
    path = source / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    monkeypatch.setenv("BEDSIDE_CACHE", str(tmp_path / "another"))
    with pytest.raises(ModelError, match=r"are not those expected of builtin:minilm; not kept"):
        weights.get("builtin:minilm", source=source)
    assert not weights.installed("builtin:minilm")
    with pytest.raises(ModelError, match="is no folder; name the folder with the files of builtin:minilm"):
        weights.get("builtin:minilm", source=tmp_path / "absent")


def test_an_altered_builtin_is_found_by_its_pinned_hash(tmp_path, monkeypatch) -> None:
    place = tmp_path / "cache" / "models" / "builtin--minilm"
    shutil.copytree(weights.locate("builtin:minilm"), place)
    monkeypatch.setenv("BEDSIDE_CACHE", str(tmp_path / "cache"))
    assert weights.verify("builtin:minilm")
    with (place / "model.safetensors").open("r+b") as handle:
        handle.seek(-1, 2)
        handle.write(b"\x7f")
    with pytest.raises(ModelError, match="is not as it came; fetch it again: bedside models get builtin:minilm"):
        weights.verify("builtin:minilm")


def test_smollm2_goes_on_with_a_sentence_and_loads_as_a_classifier() -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

    if not weights.installed("builtin:smollm2"):
        pytest.skip("builtin:smollm2 is not at hand (bedside models get builtin:smollm2)")
    place = weights.locate("builtin:smollm2")
    tokenizer = AutoTokenizer.from_pretrained(place, local_files_only=True)
    assert tokenizer.convert_ids_to_tokens(tokenizer("  120/80").input_ids) == ["ĠĠ", *"120/80"]
    assert tokenizer.pad_token != tokenizer.eos_token
    words = tokenizer("The capital of France is", return_tensors="pt")
    model = AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32, local_files_only=True)
    assert model.config.pad_token_id == tokenizer.pad_token_id
    with torch.inference_mode():
        following = int(model(**words).logits[0, -1].argmax())
    assert tokenizer.decode([following]) == " Paris"
    classifier = AutoModelForSequenceClassification.from_pretrained(place, num_labels=3, local_files_only=True)
    assert classifier(**words).logits.shape == (1, 3)
