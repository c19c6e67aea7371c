"""Every row of the benchmark of training runs, on a few notes for a few steps, and tells what was stamped."""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Path:
    """A small BERT with random weights that knows the words of the notes and reads 512 tokens at once."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny")
    with (shared_data / "symptom2disease/symptom2disease.csv").open(encoding="utf-8", newline="") as file:
        words = sorted({word for row in csv.DictReader(file) for word in re.findall(r"\w+", row["text"].lower())})
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: place for place, word in enumerate([*specials, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {f"{one}_token": f"[{one.upper()}]" for one in ("pad", "unk", "cls", "sep", "mask")}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=512, **names).save_pretrained(folder)
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=512,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def test_rows_take_turns_and_a_second_call_measures_nothing_again(tiny, shared_data, tmp_path) -> None:
    command = [
        sys.executable, str(BENCHMARKS / "training.py"), "--quick", "--data", str(shared_data), "--base", str(tiny),
        "--folder", str(tmp_path), "--sets", "s2d", "--rows", "trainer", "probe", "--window", "0.05",
        "--repeats", "1", "--parts", "rows",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for row in ("(b) Trainer at its best", "(f) bedside, frozen probe"):
        assert f"\n| {row} |" in done.stdout
    before = (tmp_path / "cells.json").read_bytes()
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.stdout == done.stdout
    assert (tmp_path / "cells.json").read_bytes() == before


def _loaded(name):
    """A module of the folder with the benchmarks."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        spec = importlib.util.spec_from_file_location(f"benchmark_{name}", BENCHMARKS / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(BENCHMARKS))
        sys.modules.pop(f"benchmark_{name}", None)


@pytest.fixture(scope="module")
def benchmark():
    yield from _loaded("training")


@pytest.fixture(scope="module")
def rows():
    yield from _loaded("training_rows")


@pytest.fixture(scope="module")
def options(benchmark, tiny, shared_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("quick")
    asked = ["--quick", "--data", str(shared_data), "--base", str(tiny), "--folder", str(folder)]
    asked += ["--rows", *benchmark.TITLES]
    found = benchmark.arguments(asked)
    found.set = "s2d"
    benchmark.prepare_set(found)
    return found


@pytest.mark.parametrize("row", ["reference", "trainer", "trainer-still", "full", "short", "lora", "probe"])
def test_every_row_trains_and_stamps_what_it_does(row, benchmark, rows, options, capsys) -> None:
    _, order = benchmark.orders(options, benchmark.Cells(options.folder / "cells.json"))[row]
    rows.WORK[order["work"]](order, 7)
    said = [json.loads(line[1:]) for line in capsys.readouterr().out.splitlines() if line.startswith("@")]
    assert [one["kind"] for one in said if one["kind"] in {"end", "score"}] == ["end", "score"]
    notes = [one["notes"] for one in said if one["kind"] == "step"]
    epochs = {"reference": 3, "probe": 0}.get(row, order["settings"].get("epochs", 6))
    if row != "probe":  # the head of a probe is fitted at once
        assert notes == sorted(notes)
        assert notes[-1] == pytest.approx(48 * epochs)  # two of each label
    assert 0 <= said[-1]["test"] <= 1


def test_notes_of_the_even_set_are_all_of_256_tokens(benchmark, options, tiny) -> None:
    from transformers import AutoTokenizer

    with_even = argparse.Namespace(**{**vars(options), "set": "even"})
    benchmark.prepare_set(with_even)
    texts = json.loads((options.folder / "cohorts/even/texts.json").read_text())["texts"]["train"]
    assert {len(ids) for ids in AutoTokenizer.from_pretrained(tiny)(texts)["input_ids"]} == {256}
    assert set(benchmark.orders(with_even, benchmark.Cells(options.folder / "cells.json"))) == {
        "products",
        "trainer",
        "full",
    }


def test_the_trainer_learns_and_is_scored_by_the_notes_own_labels(benchmark, rows, options, capsys, tmp_path) -> None:
    _, order = benchmark.orders(options, benchmark.Cells(options.folder / "cells.json"))["trainer"]
    whole = json.loads(Path(order["texts"]).read_text())
    says = ["acne pimples skin", "high fever chills", "itching rash on the skin", "headache and fever"]
    targets = [number % 2 for number in range(40)]
    texts = [" ".join([says[number % 4]] * (1 + number % 7)) for number in range(40)]  # of several lengths
    parts = ("train", "validation", "test")
    told = {"labels": ["skin", "fever"], "texts": dict.fromkeys(parts, texts), "targets": dict.fromkeys(parts, targets)}
    assert whole.keys() >= told.keys()
    (tmp_path / "texts.json").write_text(json.dumps(told))
    settings = {"batch": 8, "rate": 1e-2, "epochs": 12}
    rows.trainer({**order, "texts": str(tmp_path / "texts.json"), "settings": settings}, 7)
    score = json.loads(capsys.readouterr().out.splitlines()[-1][1:])
    assert score["test"] > 0.9  # by chance, 0.5


def test_matrix_products_are_stamped(benchmark, rows, capsys) -> None:
    rows.products({"settings": {"sizes": (64,), "seconds": 0.1}}, 1)
    said = [json.loads(line[1:]) for line in capsys.readouterr().out.splitlines()]
    assert said[0]["notes"] == pytest.approx(4 * 2 * 64**3 / 1e9)
    assert said[-2]["summary"]["size"] == 64


def test_time_in_which_a_row_stood_still_is_not_counted(benchmark) -> None:
    row = benchmark.Training("full", process=None)
    row.stops = [(10.0, 25.0), (40.0, 50.0)]
    assert row.active(0.0, 5.0) == 5.0
    assert row.active(5.0, 30.0) == 10.0  # 25, less the 15 of the first stop
    assert row.active(12.0, 45.0) == 15.0  # 33, less 13 and 5
    row.stamps = [
        {"kind": "run", "t": 5.0},
        {"kind": "end", "t": 45.0},
        {"kind": "score", "t": 46.0, "test": 0.9, "validation": 0.8},
        {"kind": "run", "t": 47.0},
        {"kind": "end", "t": 60.0},  # its score is still to come
    ]
    assert [(one["seconds"], one["test"]) for one in row.whole()] == [(20.0, 0.9)]


def test_a_window_counts_from_step_to_step_of_one_training(benchmark) -> None:
    steps = [("step", 1.0, 10), ("step", 2.0, 20), ("end", 5.0, None), ("run", 6.0, None), ("step", 9.0, 1)]
    steps += [("step", 10.0, 6)]
    stamps = [{"kind": kind, "t": moment, "notes": notes} for kind, moment, notes in steps]
    assert benchmark.trained(stamps) == (2.0, 15.0)
    assert benchmark.trained(stamps[1:]) == (1.0, 5.0)


def test_a_row_counts_to_half_a_point_below_the_trainer(benchmark) -> None:
    def row(score):
        cell = {"windows": [1.0], "trainings": [{"seconds": 1.0, "test": score}] if score is not None else []}
        return benchmark.Row.of("full", cell, 1)

    best = row(0.950)
    assert benchmark.counts(row(0.9451), best)
    assert not benchmark.counts(row(0.9449), best)
    assert not benchmark.counts(row(None), best)


def test_the_products_behind_a_note_are_counted_from_the_shapes(benchmark, tiny) -> None:
    width, inner, tokens = 16, 32, 256
    forward = 0
    for rows, through, columns in [(tokens, width, width)] * 4 + [(tokens, width, inner), (tokens, inner, width)]:
        forward += 2 * rows * through * columns
    for rows, through, columns in [(tokens, 8, tokens), (tokens, tokens, 8)] * 2:  # two heads
        forward += 2 * rows * through * columns
    assert benchmark.flops(str(tiny), tokens) == pytest.approx(3 * forward / 1e9)
