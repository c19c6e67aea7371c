"""Windows, batches and the saved encoder, on MiniLM itself."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedside.core.errors import ModelError
from bedside.models import load_diagnoser, weights
from bedside.models.encoder import EncoderDiagnoser
from bedside.models.network import build_network, load_body
from bedside.models.notes import Notes, Windowing, batches, collate

LABELS = ("Gout", "Migraine", "Pneumonia")
NOTES = ["Cough.", "Three days of headache, no fever. " * 40, "", "swollen toe " * 7, "BP 120/80, T 38.5 °C"]


@pytest.fixture(scope="module")
def diagnoser() -> EncoderDiagnoser:
    import torch
    from transformers import AutoTokenizer

    place = weights.locate("builtin:minilm")
    torch.manual_seed(0)
    network = build_network(load_body(place, pooling="mean", labels=len(LABELS)), len(LABELS), "mean")
    tokenizer = AutoTokenizer.from_pretrained(place, local_files_only=True)
    return EncoderDiagnoser(network, Windowing(tokenizer, 64, 16), LABELS, pooling="mean", base="builtin:minilm")


def notes_of(note_windows) -> Notes:
    """Notes of given windows, in memory."""
    windows = [window for note in note_windows for window in note]
    return Notes(
        np.asarray([token for window in windows for token in window], dtype=np.int32),
        np.cumsum([0, *map(len, windows)]),
        np.cumsum([0, *map(len, note_windows)]),
    )


def test_windows_hold_every_token_and_overlap_as_told(diagnoser) -> None:
    windowing = diagnoser.windowing
    ids = windowing.tokenizer(NOTES[1], add_special_tokens=False, verbose=False)["input_ids"]
    (windows,) = windowing.cut([NOTES[1]])
    inner = [window[1:-1] for window in windows]
    assert all(len(window) <= 64 for window in windows)
    assert [one[-16:] for one in inner[:-1]] == [one[:16] for one in inner[1:]]
    assert inner[0] + [token for one in inner[1:] for token in one[16:]] == ids
    assert [len(windows) for windows in windowing.cut(["", "cough"])] == [1, 1]


@given(length=st.integers(0, 400), room=st.integers(4, 60), overlap=st.integers(0, 30))
@settings(max_examples=200, deadline=None)
def test_windows_are_few_and_of_even_length(diagnoser, length, room, overlap) -> None:
    overlap = min(overlap, (room + 2) // 2, room - 1)
    windowing = Windowing(diagnoser.windowing.tokenizer, room + 2, overlap)
    ids = list(range(length))
    inner = [window[1:-1] for window in windowing._windows(ids)]
    assert sorted({token for window in inner for token in window}) == ids
    assert all(len(window) <= room for window in inner)
    assert all(one[len(one) - overlap :] == other[:overlap] for one, other in itertools.pairwise(inner))
    assert max(map(len, inner)) - min(map(len, inner)) < len(inner)
    if length > room:
        assert length > room + (len(inner) - 2) * (room - overlap)  # one window less would not hold them


@given(
    lengths=st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=4), min_size=1, max_size=30),
    tokens=st.integers(16, 400),
)
@settings(max_examples=60, deadline=None)
def test_batches_hold_every_note_once_and_no_more_tokens_than_allowed(lengths, tokens) -> None:
    notes = notes_of([[[1] * length for length in note] for note in lengths])
    found = list(batches(notes, range(len(notes)), tokens))
    assert [number for batch in found for number in batch] == list(range(len(notes)))
    for batch in found:
        size = sum(len(notes[number]) for number in batch) * max(len(w) for number in batch for w in notes[number])
        assert size <= tokens or len(batch) == 1


def test_a_batch_is_padded_to_few_lengths_and_never_beyond_what_is_read() -> None:
    notes = notes_of([[[5] * 17], [[5] * 60]])
    assert collate(notes, [0], 0, "cpu", 64)[0].shape == (1, 32)
    assert collate(notes, [0, 1], 0, "cpu", 62)[0].shape == (2, 62)
    ids, mask, owner, count = collate(notes_of([[[5, 6], [7]], [[8]]]), [0, 1], 9, "cpu")
    assert ids.tolist() == [[5, 6], [7, 9], [8, 9]]
    assert mask.tolist() == [[1, 1], [1, 0], [1, 0]]
    assert (owner.tolist(), count) == ([0, 0, 1], 2)


def test_a_note_is_answered_alike_alone_and_among_others(diagnoser) -> None:
    together = diagnoser.predict_proba(NOTES)
    alone = np.concatenate([diagnoser.predict_proba([note]) for note in NOTES])
    assert together.shape == (len(NOTES), len(LABELS))
    assert np.allclose(together.sum(axis=1), 1)
    assert np.abs(together - alone).max() < 1e-5
    assert diagnoser.predict_proba([]).shape == (0, len(LABELS))


def test_saved_and_loaded_it_answers_the_same(diagnoser, tmp_path) -> None:
    diagnoser.save(tmp_path / "model")
    again = load_diagnoser(tmp_path / "model")
    assert again.labels == LABELS
    assert np.array_equal(again.predict_proba(NOTES), diagnoser.predict_proba(NOTES))
    for file in (tmp_path / "model").glob("*.json"):
        assert str(weights.locate("builtin:minilm")) not in file.read_text(encoding="utf-8")


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_damaged_model_is_a_sentence(diagnoser, tmp_path, file) -> None:
    diagnoser.save(tmp_path)
    content = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match="is damaged"):
        load_diagnoser(tmp_path)


def test_a_model_whose_notes_were_cut_otherwise_is_refused(diagnoser, tmp_path) -> None:
    diagnoser.save(tmp_path)
    about = json.loads((tmp_path / "diagnoser.json").read_text(encoding="utf-8"))
    (tmp_path / "diagnoser.json").write_text(json.dumps({**about, "cut": "otherwise"}), encoding="utf-8")
    with pytest.raises(ModelError, match="cuts long notes otherwise"):
        load_diagnoser(tmp_path)


def test_an_unknown_kind_is_named(tmp_path) -> None:
    (tmp_path / "diagnoser.json").write_text(json.dumps({"kind": "oracle", "labels": []}), encoding="utf-8")
    with pytest.raises(ModelError, match="'oracle'"):
        load_diagnoser(tmp_path)
    with pytest.raises(ModelError, match="holds no model"):
        load_diagnoser(tmp_path / "absent")
