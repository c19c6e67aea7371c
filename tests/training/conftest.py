"""A tiny encoder with random weights and a tokenizer of its own, and a cohort whose labels a word decides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from bedside.data import Cohort

LABELS = ("Gout", "Migraine", "Pneumonia")
SAYS = {
    "Gout": ["swollen big toe", "tophus on the ear", "red hot toe joint"],
    "Migraine": ["throbbing one sided headache", "hates bright light", "headache with zigzag lines"],
    "Pneumonia": ["productive cough and fever", "crackles at the base", "cough with rusty sputum"],
}
AROUND = ["seen in clinic today", "no known allergies", "lives alone", "walks the dog", "non smoker", "on no medicines"]


@pytest.fixture(scope="session")
def cohort() -> Cohort:
    random = np.random.default_rng(1)
    rows = []
    shares = (("train", 48), ("validation", 15), ("calibration", 15), ("test", 15))
    for split, count in shares:
        for number in range(count):
            label = LABELS[number % 3]
            words = [*random.choice(SAYS[label], 2, replace=False), *random.choice(AROUND, 3, replace=False)]
            text = ", ".join(random.permutation(words).tolist())
            name = f"{split}{number}"
            rows.append({"case_id": name, "text": text, "label": label, "patient": name, "split": split, "group": name})
    return Cohort(pl.DataFrame(rows), LABELS, {"labels": {}})


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, cohort: Cohort) -> Path:
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny")
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = sorted({word for text in cohort.frame["text"] for word in text.replace(",", " ,").split()})
    vocabulary = {word: place for place, word in enumerate([*specials, *words, *(f"unused{n}" for n in range(300))])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    }
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names).save_pretrained(folder)
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    return folder
