"""The one loop on a tiny encoder: what it learns, what it writes, and when it refuses to go on."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from bedside.core.errors import ModelError
from bedside.core.files import read_json, sha256_tree
from bedside.models import load_diagnoser
from bedside.protocol import ModelSection, TrainSection
from bedside.training import train

BRIEF = {"precision": "fp32", "device": "cpu", "threads": 1, "batch_tokens": 256}


def settings(tiny, **values):
    window = {key: values.pop(key) for key in ("window", "overlap", "pooling") if key in values}
    return ModelSection(base=str(tiny), **{"window": 32, "overlap": 4, **window}), TrainSection(**{**BRIEF, **values})


def run(cohort, tiny, folder, seed=5, **values):
    return train(cohort, *settings(tiny, **values), folder, seed=seed)


def log_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def test_it_learns_what_can_be_learnt(cohort, tiny, tmp_path) -> None:
    summary = run(cohort, tiny, tmp_path, epochs=12, patience=12, learning_rate=5e-3, warm_start=False)
    found = load_diagnoser(tmp_path / "model").predict_proba(cohort.texts("test"))
    assert (found.argmax(axis=1) == cohort.targets("test")).mean() == 1.0
    assert summary["validation_macro_f1"] == 1.0
    losses = [line["loss"] for line in log_of(tmp_path) if "loss" in line]
    assert losses[-1] < losses[0] / 4


def test_the_warm_start_is_better_than_chance_before_a_step(cohort, tiny, tmp_path) -> None:
    run(cohort, tiny, tmp_path / "warm", epochs=6, learning_rate=5e-3)
    run(cohort, tiny, tmp_path / "cold", epochs=6, learning_rate=5e-3, warm_start=False)
    warm, cold = (log_of(tmp_path / name)[0]["validation_macro_f1"] for name in ("warm", "cold"))
    assert warm > 0.8
    assert warm > cold


def test_the_best_epoch_is_what_is_kept(cohort, tiny, tmp_path) -> None:
    summary = run(cohort, tiny, tmp_path, epochs=4, patience=4, learning_rate=2e-3, warm_start=False)
    scores = {line["epoch"]: line for line in log_of(tmp_path) if "validation_macro_f1" in line}
    best = max(scores.values(), key=lambda line: (line["validation_macro_f1"], -line["validation_loss"]))
    assert summary["best_epoch"] == best["epoch"]
    found = load_diagnoser(tmp_path / "model").predict_proba(cohort.texts("validation"))
    targets = cohort.targets("validation")
    loss = -np.log(found[np.arange(len(targets)), targets]).mean()
    assert loss == pytest.approx(best["validation_loss"], abs=1e-6)


def test_it_stops_when_validation_no_longer_improves(cohort, tiny, tmp_path) -> None:
    summary = run(cohort, tiny, tmp_path, epochs=30, patience=1, learning_rate=0.1)
    assert summary["epochs"] < 30
    assert summary["epochs"] == summary["best_epoch"] + 1


PROGRAM = """
import pickle, sys
from pathlib import Path
from bedside.training import train
cohort, model, section = pickle.loads(Path(sys.argv[1]).read_bytes())
train(cohort, model, section, Path(sys.argv[2]), seed=5)
"""


def test_the_same_seed_gives_the_same_bytes_in_another_process(cohort, tiny, tmp_path) -> None:
    import pickle

    model, section = settings(tiny, epochs=2)
    (tmp_path / "arguments").write_bytes(pickle.dumps((cohort, model, section)))
    for name in ("first", "second"):
        command = [sys.executable, "-c", PROGRAM, str(tmp_path / "arguments"), str(tmp_path / name)]
        subprocess.run(command, check=True)
    first, second = (sha256_tree(tmp_path / name / "model") for name in ("first", "second"))
    assert first == second
    train(cohort, model, section, tmp_path / "other", seed=6)
    assert sha256_tree(tmp_path / "other" / "model")["model.safetensors"] != first["model.safetensors"]


def test_precision_is_not_what_another_training_of_this_process_left(cohort, tiny, tmp_path, monkeypatch) -> None:
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    settled = {}
    try:
        for name in ("before", "after", "launched"):
            AcceleratorState._reset_state()
            if name == "after":
                Accelerator(cpu=True, mixed_precision="bf16")
            if name == "launched":
                monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
            run(cohort, tiny, tmp_path / name, epochs=1)
            settled[name] = sha256_tree(tmp_path / name / "model")["model.safetensors"]
    finally:
        AcceleratorState._reset_state()
    assert len(set(settled.values())) == 1


def test_a_step_of_several_batches_is_a_step_of_one(cohort, tiny, tmp_path) -> None:
    losses = {}
    for name, tokens in (("one", 100_000), ("several", 64)):
        # Both see all notes in each step, so that the order of the notes does not matter.
        run(
            cohort,
            tiny,
            tmp_path / name,
            epochs=5,
            batch_tokens=tokens,
            step_notes=1000,
            class_weights="on",
            head_dropout=0,
        )
        losses[name] = [line["loss"] for line in log_of(tmp_path / name) if "loss" in line]
    assert len(losses["one"]) == 5
    assert losses["several"] == pytest.approx(losses["one"], rel=1e-6)


def test_training_the_rows_in_use_is_training_the_table(cohort, tiny, tmp_path, monkeypatch) -> None:
    from safetensors.numpy import load_file

    from bedside.training import vocabulary

    run(cohort, tiny, tmp_path / "rows", epochs=2, weight_decay=0.0)
    monkeypatch.setattr(vocabulary, "_WORTH_IT", -1.0)
    run(cohort, tiny, tmp_path / "table", epochs=2, weight_decay=0.0)
    rows, table = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("rows", "table"))
    assert rows.keys() == table.keys()
    for name, value in rows.items():
        assert value.shape == table[name].shape
        assert np.allclose(value, table[name], atol=1e-6), name


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_at_once_and_keeps_nothing(cohort, tiny, tmp_path, monkeypatch, value) -> None:
    import torch

    real, calls = torch.nn.functional.cross_entropy, []

    def broken(*words, **more):
        calls.append(1)
        return real(*words, **more) * (value if len(calls) == 3 else 1.0)

    monkeypatch.setattr(torch.nn.functional, "cross_entropy", broken)
    with pytest.raises(ModelError, match="at step 3"):
        run(cohort, tiny, tmp_path, epochs=2, step_notes=1)
    assert not (tmp_path / "model").exists()
    assert log_of(tmp_path)[-1] == {"epoch": 1, "step": 3, "loss": None, "fault": f"the loss is {value}"}


def test_a_model_that_calls_one_label_only_is_refused(cohort, tiny, tmp_path, monkeypatch) -> None:
    from bedside.training import loop

    real = loop.probabilities

    def collapsed(*words, **more):
        found = real(*words, **more)
        found[:] = [0.2, 0.5, 0.3]
        return found

    monkeypatch.setattr(loop, "probabilities", collapsed)
    with pytest.raises(ModelError, match="calls every validation case 'Migraine'"):
        run(cohort, tiny, tmp_path, epochs=1)
    assert not (tmp_path / "model").exists()


def test_a_device_that_is_not_there_is_named(cohort, tiny, tmp_path) -> None:
    with pytest.raises(ModelError, match=r"train\.device = 'tpu' is not on this machine; it has"):
        run(cohort, tiny, tmp_path, device="tpu")


def test_long_notes_are_read_to_their_end(cohort, tiny, tmp_path) -> None:
    run(cohort, tiny, tmp_path, epochs=1, window=16, overlap=4)
    model = load_diagnoser(tmp_path / "model")
    text = cohort.texts("test")[0]
    one, longer = model.predict_proba([text * 3, text * 3 + ", rusty sputum"])
    assert not np.allclose(one, longer)
    assert read_json(tmp_path / "summary.json")["notes_of_several_windows"] > 0


def test_tfidf_as_the_model(cohort, tmp_path) -> None:
    summary = train(cohort, ModelSection(base="builtin:tfidf"), TrainSection(), tmp_path, seed=1)
    assert summary["kind"] == "tfidf"
    assert load_diagnoser(tmp_path / "model").kind == "tfidf"
