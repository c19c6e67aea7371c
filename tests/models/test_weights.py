"""Base models by name, and their files."""

from __future__ import annotations

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
