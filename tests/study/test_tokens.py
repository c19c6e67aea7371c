"""The base model's tokenizer, for lengths alone."""

from __future__ import annotations

import json

from bedside.study.tokens import counter_of


def test_a_model_without_a_tokenizer_or_not_at_hand_counts_nothing() -> None:
    assert counter_of("builtin:tfidf") is None
    assert counter_of("someone/not-at-hand") is None


def test_a_folder_with_a_tokenizer_counts_whole_texts_and_knows_its_limit(tmp_path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"pain": 0, "[UNK]": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_truncation(4)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "config.json").write_text(json.dumps({"max_position_embeddings": 64}))
    (tmp_path / "model.safetensors").write_bytes(b"")
    counter = counter_of(str(tmp_path))
    assert counter is not None
    assert counter.limit == 64
    assert list(counter.count(["pain", "pain, " * 10])) == [1, 20]
