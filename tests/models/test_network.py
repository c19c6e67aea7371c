"""The two forms of the network, and that transformers loads what is saved."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaModel,
)

from bedside.core.errors import ModelError
from bedside.models import load_diagnoser, module
from bedside.models.encoder import EncoderDiagnoser
from bedside.models.network import build_network, is_decoder, load_body
from bedside.models.notes import Notes, Windowing, collate

LABELS = ("Gout", "Migraine", "Pneumonia")
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
TEXTS = ["fever and cough", "swollen toe " * 30, ""]


@pytest.fixture(scope="module")
def tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {word: place for place, word in enumerate(["[PAD]", "[UNK]", "fever", "and", "cough", "swollen", "toe"])}
    inner = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]")


@pytest.fixture(scope="module", params=["bert", "llama"])
def base(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(1)
    sizes = {**SIZES, "vocab_size": 20, "max_position_embeddings": 64}
    model = BertModel(BertConfig(**sizes)) if request.param == "bert" else LlamaModel(LlamaConfig(**sizes))
    model.save_pretrained(folder)
    return folder


def diagnoser_of(base, tokenizer, pooling, windows="mean", several=False) -> EncoderDiagnoser:
    torch.manual_seed(2)
    body = load_body(base, pooling=pooling, labels=len(LABELS), padding=0)
    network = build_network(body, len(LABELS), pooling, windows).eval()
    words = {"pooling": pooling, "base": "tiny", "windows": windows, "several": several}
    return EncoderDiagnoser(network, Windowing(tokenizer, 16, 4), LABELS, **words)


@pytest.mark.parametrize("pooling", ["own", "mean", "cls"])
@pytest.mark.parametrize("windows", ["mean", "learned"])
def test_saved_and_loaded_it_answers_the_same(base, tokenizer, tmp_path, pooling, windows) -> None:
    diagnoser = diagnoser_of(base, tokenizer, pooling, windows, several=True)
    if windows == "learned":
        torch.nn.init.normal_(diagnoser.network.query)
    diagnoser.save(tmp_path)
    again = load_diagnoser(tmp_path)
    assert again.several
    assert again.kind == ("decoder" if "llama" in base.name else "encoder")
    found = again.predict_proba(TEXTS)
    assert np.array_equal(found, diagnoser.predict_proba(TEXTS))
    assert not np.allclose(found.sum(axis=1), 1)


def test_transformers_loads_an_own_head_as_it_is(base, tokenizer, tmp_path) -> None:
    diagnoser = diagnoser_of(base, tokenizer, "own")
    diagnoser.save(tmp_path)
    model, told = AutoModelForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not told["missing_keys"]
    assert model.config.id2label == dict(enumerate(LABELS))
    ids, mask, _, _ = collate(Notes.of(diagnoser.windowing, TEXTS[:1]), [0], 0, "cpu")
    with torch.inference_mode():
        found = model.eval()(input_ids=ids, attention_mask=mask).logits.double().softmax(dim=1).numpy()
    assert np.allclose(found, diagnoser.predict_proba(TEXTS[:1]), atol=1e-6)


def test_transformers_loads_the_encoder_beside_a_head(base, tokenizer, tmp_path) -> None:
    from safetensors.torch import load_file

    diagnoser = diagnoser_of(base, tokenizer, "mean")
    diagnoser.save(tmp_path)
    model = AutoModel.from_pretrained(tmp_path).eval()
    head = load_file(tmp_path / "head.safetensors")
    ids, mask, _, _ = collate(Notes.of(diagnoser.windowing, TEXTS[:1]), [0], 0, "cpu")
    with torch.inference_mode():
        pooled = model(input_ids=ids, attention_mask=mask).last_hidden_state.mean(dim=1)
        found = (pooled @ head["weight"].T + head["bias"]).double().softmax(dim=1).numpy()
    assert np.allclose(found, diagnoser.predict_proba(TEXTS[:1]), atol=1e-6)


def test_a_decoder_is_asked_by_its_last_token_whatever_is_padded(base, tokenizer) -> None:
    diagnoser = diagnoser_of(base, tokenizer, "own")
    assert is_decoder(diagnoser.network.body.config) == ("llama" in base.name)
    together = diagnoser.predict_proba(TEXTS)
    alone = np.concatenate([diagnoser.predict_proba([text]) for text in TEXTS])
    assert np.abs(together - alone).max() < 1e-5


def test_learned_windows_begin_as_their_mean(base, tokenizer) -> None:
    both = [diagnoser_of(base, tokenizer, "own", windows).predict_proba(TEXTS) for windows in ("mean", "learned")]
    assert np.allclose(both[0], both[1], atol=1e-6)


@pytest.mark.parametrize("pooling", ["own", "mean"])
def test_a_very_long_note_is_read_in_pieces_with_the_same_gradient(base, tokenizer, monkeypatch, pooling) -> None:
    found = []
    for most in (10_000, 32):
        monkeypatch.setattr(module, "_TOKENS_AT_ONCE", most)
        diagnoser = diagnoser_of(base, tokenizer, pooling)
        notes = Notes.of(diagnoser.windowing, ["fever and cough swollen toe " * 30])
        assert len(notes[0]) > 4
        logits = diagnoser.network(*collate(notes, [0], 0, "cpu"))
        logits[0, 1].backward()
        found.append((logits.detach(), diagnoser.network.last.weight.grad))
    assert torch.allclose(found[0][0], found[1][0], atol=1e-6)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-6)


def test_an_architecture_without_a_head_of_its_own_is_a_sentence(tmp_path) -> None:
    from transformers import VisualBertConfig

    VisualBertConfig(hidden_size=16, num_hidden_layers=1).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"set model\.pooling to 'mean'"):
        load_body(tmp_path, pooling="own", labels=2)


@pytest.mark.parametrize("file", ["model.safetensors", "head.safetensors"])
def test_weights_of_another_model_are_refused(base, tokenizer, tmp_path, file) -> None:
    from safetensors.torch import load_file, save_file

    diagnoser_of(base, tokenizer, "mean").save(tmp_path)
    state = load_file(tmp_path / file)
    state.pop(sorted(state)[0])
    save_file(state, tmp_path / file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match="is damaged"):
        load_diagnoser(tmp_path)


def test_notes_in_a_file_are_those_in_memory(tokenizer, tmp_path) -> None:
    windowing = Windowing(tokenizer, 16, 4)
    texts = TEXTS * 700  # more than are tokenised together
    kept, mapped = Notes.of(windowing, texts), Notes.of(windowing, texts, tmp_path / "tokens")
    assert isinstance(mapped.tokens, np.memmap)
    assert len(kept) == len(mapped) == len(texts)
    for name in ("tokens", "windows", "first"):
        assert np.array_equal(getattr(kept, name), getattr(mapped, name))
    cut = windowing.cut(TEXTS)
    assert [[list(window) for window in mapped[1200 + n]] for n in range(3)] == cut
    assert mapped.longest()[1200:1203].tolist() == [max(map(len, note)) for note in cut]
    assert mapped.lengths()[1200:1203].tolist() == [sum(map(len, note)) for note in cut]
    assert len(Notes.of(windowing, [])) == 0
