"""A run that was interrupted ends with the very bytes that it would have reached undisturbed."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from bedside.core.errors import MachineError, ModelError
from bedside.core.files import sha256_tree
from bedside.protocol import ModelSection, TrainSection
from bedside.training import loop, train


class Killed(BaseException):
    """What ends a run in the middle; nothing in the code under test catches it."""


class Ears:
    """A progress that remembers what it was told."""

    def __init__(self) -> None:
        from bedside.core.progress import Progress

        self.silent, self.said = Progress(), []

    def say(self, sentence):
        self.said.append(sentence)

    warn = say

    def task(self, *words, **more):
        return self.silent.task(*words, **more)


def arguments(tiny, **values):
    train_values = {
        "precision": "fp32",
        "device": "cpu",
        "threads": 1,
        "batch_tokens": 256,
        "epochs": 3,
        "learning_rate": 5e-3,
        "dropout": 0.1,
        "checkpoint_seconds": 0,
        **values,
    }
    return ModelSection(base=str(tiny), window=32, overlap=4), TrainSection(**train_values)


def run(cohort, tiny, folder, progress=None, seed=5, **values):
    return train(cohort, *arguments(tiny, **values), folder, seed=seed, **({"progress": progress} if progress else {}))


def weights_of(folder):
    return {name: sha for name, sha in sha256_tree(folder / "model").items() if name.endswith(".safetensors")}


def kill_at(monkeypatch, step):
    """End the run when its ``step``-th step begins, counted over all runs of this process."""
    real, calls = loop.Loop._step, []

    def counted(self, batch):
        calls.append(1)
        if len(calls) == step:
            raise Killed
        return real(self, batch)

    monkeypatch.setattr(loop.Loop, "_step", counted)


@pytest.mark.parametrize("step", [1, 2, 4, 7])
def test_a_killed_run_goes_on_to_the_same_bytes(cohort, tiny, tmp_path, monkeypatch, step) -> None:
    run(cohort, tiny, tmp_path / "whole")
    with monkeypatch.context() as patch:
        kill_at(patch, step)
        with pytest.raises(Killed):
            run(cohort, tiny, tmp_path / "cut")
    assert not (tmp_path / "cut" / "model").exists()
    ears = Ears()
    run(cohort, tiny, tmp_path / "cut", ears)
    assert any("going on from step" in said for said in ears.said) == (step > 1)
    assert weights_of(tmp_path / "cut") == weights_of(tmp_path / "whole")
    logs = [(tmp_path / name / "log.jsonl").read_text(encoding="utf-8") for name in ("cut", "whole")]
    assert logs[0] == logs[1]
    assert not (tmp_path / "cut" / "checkpoints").exists()


def test_a_checkpoint_of_another_plan_is_not_gone_on_from(cohort, tiny, tmp_path, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        kill_at(patch, 4)
        with pytest.raises(Killed):
            run(cohort, tiny, tmp_path / "cut")
    ears = Ears()
    run(cohort, tiny, tmp_path / "cut", ears, learning_rate=2e-3)
    assert not any("going on" in said for said in ears.said)
    run(cohort, tiny, tmp_path / "whole", learning_rate=2e-3)
    assert weights_of(tmp_path / "cut") == weights_of(tmp_path / "whole")


def test_a_seed_that_is_done_is_not_done_again(cohort, tiny, tmp_path, monkeypatch) -> None:
    summary = run(cohort, tiny, tmp_path / "whole", seeds=3)
    assert summary["seeds"]["count"] == 3
    assert len(set(map(str, (weights_of(tmp_path / "whole" / place) for place in ("", "seeds/2", "seeds/3"))))) == 3
    alone = run(cohort, tiny, tmp_path / "alone")
    assert weights_of(tmp_path / "alone") == weights_of(tmp_path / "whole")
    steps = sum("step" in line for line in (tmp_path / "alone" / "log.jsonl").read_text().splitlines())
    assert alone["seed"] == summary["seed"] == 5
    with monkeypatch.context() as patch:
        kill_at(patch, steps + 3)
        with pytest.raises(Killed):
            run(cohort, tiny, tmp_path / "cut", seeds=3)
    assert (tmp_path / "cut" / "model").is_dir()
    with monkeypatch.context() as patch:
        kill_at(patch, 2 * steps)  # fewer steps than two whole seeds have are left to do
        run(cohort, tiny, tmp_path / "cut", seeds=3)
    for place in ("", "seeds/2", "seeds/3"):
        assert weights_of(tmp_path / "cut" / place) == weights_of(tmp_path / "whole" / place)


def test_out_of_memory_halves_the_batch_and_changes_nothing(cohort, tiny, tmp_path, monkeypatch) -> None:
    real = loop.Loop._collated
    sizes = []

    def short(self, batch):
        found = real(self, batch)
        if self.material.network.training and found[0].numel() > 100:
            raise torch.OutOfMemoryError("CUDA out of memory")
        sizes.append(found[0].numel())
        return found

    losses = {}
    for name in ("roomy", "short"):
        ears = Ears()
        with monkeypatch.context() as patch:
            if name == "short":
                patch.setattr(loop.Loop, "_collated", short)
            # At a low rate, so that rounding is not blown up from step to step.
            run(cohort, tiny, tmp_path / name, ears, dropout=0.0, head_dropout=0.3, learning_rate=1e-5)
        lines = (tmp_path / name / "log.jsonl").read_text(encoding="utf-8").splitlines()
        losses[name] = [line["loss"] for line in map(json.loads, lines) if "loss" in line]
    assert any("Memory ran out" in said for said in ears.said)
    assert max(sizes) <= 100
    assert np.allclose(losses["short"], losses["roomy"], rtol=1e-6, atol=0)


def test_memory_for_less_than_one_note_is_a_sentence(cohort, tiny, tmp_path, monkeypatch) -> None:
    def none(self, _step, _parts):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")

    monkeypatch.setattr(loop.Loop, "_gradient_of", none)
    with pytest.raises(MachineError, match=r"does not hold one note at a time .* train\.gradient_checkpointing"):
        run(cohort, tiny, tmp_path)
    assert not (tmp_path / "model").exists()


def test_another_error_is_not_taken_for_a_lack_of_memory(cohort, tiny, tmp_path, monkeypatch) -> None:
    def broken(self, _step, _parts):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(loop.Loop, "_gradient_of", broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        run(cohort, tiny, tmp_path)


def test_a_gradient_that_is_no_number_stops_too(cohort, tiny, tmp_path, monkeypatch) -> None:
    real = loop.Loop._gradient

    def poisoned(self, step):
        value = real(self, step)
        if self.state.taken == 2:
            self.plain.last.weight.grad[0, 0] = float("nan")
        return value

    monkeypatch.setattr(loop.Loop, "_gradient", poisoned)
    with pytest.raises(ModelError, match="The gradient is nan at step 2"):
        run(cohort, tiny, tmp_path)
    assert not (tmp_path / "model").exists()
    assert '"fault": "the gradient is nan"' in (tmp_path / "log.jsonl").read_text(encoding="utf-8")
