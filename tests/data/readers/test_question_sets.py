"""Question sets: what becomes text and label, what is left out because it tells, and the source's own split."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bedside.core.errors import DataError
from bedside.data.readers import read
from bedside.protocol import DataSection

PUBMEDQA = {
    "pmid": "1",
    "question": "Does it help?",
    "contexts": ["We asked.", "It did."],
    "labels": ["AIM", "RESULTS"],
    "meshes": ["Humans", "Aged"],
    "long_answer": "It helps.",
    "answer": "yes",
    "split": "test",
}
MEDQA = {
    "question": "What is it?",
    "options": {"A": "Gout", "B": "Sprain"},
    "answer_idx": "B",
    "answer": "Sprain",
    "meta_info": "step1",
}
MEDMCQA = {
    "question": "Which?",
    **{"opa": "a1", "opb": "b1", "opc": "c1", "opd": "d1", "cop": 3, "exp": "It is c1, see page 3."},
    "subject_name": "Medicine",
}


def table(path: Path):
    return read(DataSection(source=str(path), text="text", label="label"), Path())


def lines(*values: dict) -> str:
    return "\n".join(map(json.dumps, values))


def test_pubmedqa(write) -> None:
    got = table(write(lines(PUBMEDQA), "q.jsonl"))
    (row,) = got.frame.to_dicts()
    assert row["text"] == "Does it help?\nAIM: We asked.\nRESULTS: It did."
    assert (row["label"], row["split"], row["mesh"], row["id"]) == ("yes", "test", "Humans; Aged", "1")
    assert "long_answer" not in got.frame.columns
    assert any("states the answer: long_answer" in one for one in got.observations)


def test_medqa_and_the_split_in_the_files_name(write) -> None:
    got = table(write(lines(MEDQA), "medqa_us_test.jsonl"))
    (row,) = got.frame.to_dicts()
    assert row["text"] == "What is it?\nA. Gout\nB. Sprain"
    assert (row["label"], row["answer"], row["split"]) == ("B", "Sprain", "test")
    assert any("letter of the right option" in one for one in got.warnings)


def test_medmcqa_counts_from_one_and_its_test_split_has_no_answers(write) -> None:
    unknown = {key: value for key, value in MEDMCQA.items() if key != "exp"} | {"cop": 0}
    got = table(write(lines(MEDMCQA, unknown), "m.jsonl"))
    first, second = got.frame.to_dicts()
    assert (first["label"], first["answer"], first["subject"]) == ("C", "c1", "Medicine")
    assert (second["label"], second["answer"]) == ("", "")
    assert "exp" not in got.frame.columns
    assert any("1 question has no published answer" in one for one in got.warnings)


@pytest.mark.parametrize(
    ("second", "says"),
    [
        ("{", "line 2 is not valid JSON"),
        ("[]", "line 2 is no question of MedQA"),
        (json.dumps({"question": "x"}), "line 2 is no question of MedQA, which has answer_idx, options, question"),
        (json.dumps({**MEDQA, "answer_idx": "Z"}), "line 2 is no question of MedQA"),
        (json.dumps({**MEDQA, "options": "A"}), "line 2 is no question of MedQA"),
    ],
)
def test_a_wrong_line_is_one_sentence(write, second: str, says: str) -> None:
    with pytest.raises(DataError, match=says) as caught:
        table(write(lines(MEDQA) + "\n" + second, "q.jsonl"))
    assert "What is it" not in str(caught.value)


def test_other_json_lines_are_a_table_as_before(write) -> None:
    got = table(write(lines({"question": "a", "text": "b", "label": "c"}), "q.jsonl"))
    assert got.seen["format"] == "jsonl"
    assert got.frame.columns == ["question", "text", "label"]


@pytest.mark.parametrize(
    ("name", "kind", "rows", "labels", "splits"),
    [
        ("pubmedqa/pubmedqa_pqal.jsonl", "PubMedQA", 1000, {"yes", "no", "maybe"}, {"test", "train"}),
        ("medqa_usmle/medqa_us_4opt_test.jsonl", "MedQA", 1273, set("ABCD"), {"test"}),
        ("medmcqa/medmcqa_dev.jsonl", "MedMCQA", 4183, set("ABCD"), {"dev"}),
    ],
)
def test_published_sets(shared_data: Path, name: str, kind: str, rows: int, labels: set, splits: set) -> None:
    got = table(shared_data / name)
    assert got.seen["format"] == f"questions: {kind}"
    assert got.frame.height == rows
    assert set(got.frame["label"]) == labels
    assert set(got.frame["split"]) == splits
    published = [json.loads(line) for line in (shared_data / name).read_text(encoding="utf-8").split("\n") if line]
    assert all(one["question"].strip() in text for one, text in zip(published, got.frame["text"], strict=True))
    if "answer" in got.frame.columns and kind == "MedQA":
        assert got.frame["answer"].to_list() == [one["answer"].strip() for one in published]
