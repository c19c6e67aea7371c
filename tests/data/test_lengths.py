"""What a model of so many tokens would not see: on notes whose length and sections are known."""

from __future__ import annotations

import polars as pl
import pytest

from bedside.data.lengths import PER_CHARACTER, SAMPLED, TokenCounter, lengths

ONE_A_WORD = TokenCounter("one token a word", 100, lambda texts: [len(text.split()) for text in texts])


def _frame(words: list[int], labels: list[str] | None = None, head: str = "") -> pl.DataFrame:
    texts = [head + " ".join(["pain"] * count) for count in words]
    return pl.DataFrame({"text": texts, "label": labels or ["A"] * len(texts)})


def test_words_are_counted_into_bins_that_double() -> None:
    found = lengths(_frame([1, 16, 17, 32, 33, 300]), 1)["words"]
    assert [(one["from"], one["to"], one["notes"]) for one in found["bins"]] == [
        (0, 16, 2),
        (17, 32, 2),
        (33, 64, 1),
        (65, 128, 0),
        (129, 256, 0),
        (257, 512, 1),
    ]
    assert (found["shortest"], found["longest"], found["p50"]) == (1, 300, 17)


def test_without_a_tokenizer_the_rule_is_said() -> None:
    found = lengths(_frame([10, 5000]), 1)
    assert found["tokens"]["per_character"] == PER_CHARACTER
    assert "estimated at 0.23 tokens a character" in found["tokens"]["rule"]
    (limit,) = found["limits"]
    characters = 5000 * 5 - 1
    assert (limit["tokens"], limit["longer"]) == (512, 1)
    assert limit["beyond"] == pytest.approx((characters - 510 / 0.23) / (characters + 49), abs=1e-3)


def test_with_a_tokenizer_the_rate_is_measured_and_its_limit_is_added() -> None:
    found = lengths(_frame([20] * 50 + [200] * 50, ["short"] * 50 + ["long"] * 50), 1, ONE_A_WORD)
    assert found["tokens"]["per_character"] == pytest.approx(0.2, abs=0.01)
    assert "one token a word" in found["tokens"]["rule"]
    assert [one["tokens"] for one in found["limits"]] == [100, 512]
    short, long = (found["limits"][0]["labels"][name] for name in ("short", "long"))
    assert (short["longer"], short["beyond"]) == (0, 0)
    assert (long["longer"], long["notes"]) == (50, 50)
    assert long["beyond"] == pytest.approx(1 - 98 / 200, abs=0.01)


def test_a_section_at_the_end_of_a_long_note_is_not_seen() -> None:
    note = "History of present illness: " + "cough " * 150 + "\nAssessment: " + "viral " * 20
    found = lengths(pl.DataFrame({"text": [note] * 10, "label": ["A"] * 10}), 1, ONE_A_WORD)["sections"]
    rows = {one["section"]: one for one in found["rows"]}
    assert found["with_headings"] == found["sampled"] == 10
    assert rows["assessment"]["unseen"] == {"100": 10, "512": 0}
    assert rows["assessment"]["beyond"] == {"100": 1.0, "512": 0.0}
    assert 0.2 < rows["history of present illness"]["beyond"]["100"] < 0.5
    assert rows["history of present illness"]["unseen"]["100"] == 0


def test_a_section_of_few_notes_is_left_out_and_the_sample_is_bounded() -> None:
    frame = pl.concat([_frame([5] * (SAMPLED + 100)), _frame([5] * 2, head="Plan: ")])
    found = lengths(frame, 1)["sections"]
    assert found["sampled"] == SAMPLED and found["rows"] == []


def test_the_rule_holds_on_public_tables(shared_data) -> None:
    """The estimate of the text beyond 512 tokens against BERT's own vocabulary, where that is at hand."""
    from bedside.study.tokens import counter_of

    counter = counter_of("builtin:minilm")
    if counter is None:
        pytest.skip("the weights of builtin:minilm are not at hand")
    table = pl.read_csv(shared_data / "mtsamples" / "mtsamples_unique_multilabel.csv.gz")
    frame = table.filter(pl.col("transcription").is_not_null()).select(text="transcription", label=pl.lit("A"))
    texts = frame["text"].to_list()[:500]
    tokens = counter.count(texts)
    beyond = sum(max(one - 510, 0) for one in tokens) / sum(tokens)
    estimated = lengths(frame.head(500), 1)["limits"][0]["beyond"]
    assert estimated == pytest.approx(beyond, abs=0.03)
