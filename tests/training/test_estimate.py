"""What a training will take and what it took: the arithmetic on a clock and a memory of the test's own."""

from __future__ import annotations

import dataclasses
import json
import os

import numpy as np
import pytest

from bedside.core.errors import MachineError
from bedside.core.files import read_json
from bedside.core.progress import Progress
from bedside.models.notes import Notes
from bedside.protocol import ModelSection, TrainSection
from bedside.training import train
from bedside.training.energy import Counter, Meter, PeakMemory, energy_counters, smi
from bedside.training.estimate import (
    Memory,
    WaysOut,
    Work,
    activation_bytes,
    chosen_batches,
    estimate,
    fitted,
    group_limits,
    lora_weights,
    require_disk,
    too_large,
)
from bedside.training.trials import shapes

GB = 1_000_000_000
MB = 1_000_000
# One epoch: 60 batches of 1,536 tokens from short windows to long ones, as a loop makes them.
LEARNED = np.asarray([[1536 // length, length] for length in (16, 32, 48, 64, 128, 256) for _ in range(10)])


def work(**values) -> Work:
    usual = {
        "learned": LEARNED,
        "steps": 40,
        "epochs": 6,
        "patience": 4,
        "answered": LEARNED[::10],
        "read": LEARNED,
        "parameters": 22 * MB,
        "trained": 12 * MB,
        "checkpoint_bytes": 0,
        "checkpoint_seconds": 60.0,
        "disk_bytes": 700 * MB,
        "width": 384,
        "layers": 6,
        "heads": 12,
    }
    return Work(**{**usual, **values})


class Machine:
    """A machine whose seconds and bytes follow a law that the test knows."""

    def __init__(self, law, available=64 * GB) -> None:
        self.law, self.now, self.free, self.tried = law, 0.0, available, []

    def seconds(self, number: int) -> float:
        windows, length = LEARNED[number].tolist()
        tokens = windows * length
        return self.law[0] + self.law[1] * tokens + self.law[2] * tokens * length

    def learn(self, number: int) -> None:
        self.tried.append(number)
        self.now += self.seconds(number)

    def answer(self, number: int) -> None:
        self.now += 0.25 * self.seconds(number)

    def clock(self) -> float:
        return self.now

    def available(self) -> int:
        return self.free

    def used(self) -> int:
        return 400 * MB

    def growth(self, action) -> int:
        action()
        return 300 * MB

    def estimate(self, **values):
        return estimate(
            self.learn,
            work(**values),
            answer=self.answer,
            clock=self.clock,
            memory=self,
            optimiser_seconds=lambda trained: 1e-9 * trained,
        )


LAW = (0.002, 5e-5, 2e-7)


@pytest.mark.parametrize("law", [LAW, (0.0, 1e-4, 0.0), (0.01, 0.0, 1e-6)])
def test_the_seconds_are_those_of_the_whole_training(law) -> None:
    machine = Machine(law)
    found = machine.estimate()
    epoch = sum(machine.seconds(number) for number in range(60))
    check = sum(0.25 * machine.seconds(number) for number in range(0, 60, 10))
    true = 6 * (epoch + 40 * 0.012) + 7 * check + 0.25 * epoch
    assert found.seconds == pytest.approx(true, rel=1e-6)
    early = 4 * (epoch + 40 * 0.012) + 5 * check + 0.25 * epoch
    assert found.seconds_low == pytest.approx(0.85 * early, rel=1e-6)
    assert found.seconds_high == pytest.approx(1.3 * true, rel=1e-6)


def test_the_trial_takes_a_few_batches_and_no_more() -> None:
    machine = Machine(LAW)
    machine.estimate()
    assert len(set(machine.tried)) == 3
    assert len(machine.tried) <= 3 * 4 + 1
    slow = Machine((5.0, 0.0, 0.0))
    slow.estimate()
    assert len(slow.tried) == 4  # each once, and the largest once more for its memory


def test_checkpoints_cost_the_time_that_they_are_written_in() -> None:
    free = Machine(LAW).estimate()
    each = Machine(LAW).estimate(checkpoint_bytes=500 * MB, checkpoint_seconds=0.0)
    assert each.seconds - free.seconds == pytest.approx(6 * 40 * 2.0)
    spaced = Machine(LAW).estimate(checkpoint_bytes=500 * MB, checkpoint_seconds=10.0)
    learning = 6 * (sum(Machine(LAW).seconds(number) for number in range(60)) + 40 * 0.012)
    assert spaced.seconds - free.seconds == pytest.approx(2.0 * (learning // 10.0))


def test_a_busy_moment_in_the_trial_widens_the_range() -> None:
    machine = Machine(LAW)

    def learn(number) -> None:
        machine.learn(number)
        machine.now += machine.seconds(number) if len(machine.tried) == 4 else 0.0

    found = estimate(learn, work(), clock=machine.clock, memory=machine, optimiser_seconds=lambda trained: 0.0)
    assert found.seconds_high == pytest.approx(2 * found.seconds)


def test_no_term_is_negative_whatever_the_noise() -> None:
    for seconds in ([0.3, 0.2, 0.1], [0.1, 0.5, 0.1], [0.1, 0.1, 0.1]):
        found = fitted(LEARNED, dict(zip((0, 30, 59), ([one] for one in seconds), strict=True)))
        assert (found >= 0).all()
        assert found.any()


def test_batches_of_one_size_are_enough_for_an_estimate() -> None:
    machine = Machine(LAW)
    same = LEARNED[:1].repeat(60, axis=0)
    assert len(set(map(tuple, same[chosen_batches(same)].tolist()))) == 1
    found = machine.estimate(learned=same, answered=same[:0], read=same[:0], steps=0)
    assert found.seconds == pytest.approx(360 * machine.seconds(0))


def test_the_batches_that_are_tried_are_short_middling_and_the_largest() -> None:
    found = chosen_batches(LEARNED)
    assert LEARNED[found][:, 1].tolist() == [16, 64, 256]
    assert chosen_batches(LEARNED[:1]) == [0]


def test_memory_is_weights_gradients_moments_the_best_copy_and_activations() -> None:
    found = Machine(LAW).estimate()
    # 12 M trained weights of four bytes: gradients, two moments, and a copy of the best; then the measured growth.
    assert found.more_bytes == 4 * 48 * MB + 300 * MB
    assert found.memory_bytes == 400 * MB + found.more_bytes
    assert found.measured
    frozen = Machine(LAW).estimate(trained=MB)
    assert frozen.more_bytes == 4 * 4 * MB + 300 * MB
    large = Machine(LAW).estimate(trained=1000 * MB)
    assert large.more_bytes == 6 * 4 * GB  # what a checkpoint copies is more than the activations


def test_what_memory_will_not_hold_is_not_tried() -> None:
    largest = activation_bytes(work(), LEARNED[-1])
    assert largest == 2 * 6 * 6 * 256 * (34 * 384 + 5 * 12 * 256)
    machine = Machine(LAW, available=largest - 1)
    found = machine.estimate()
    assert set(LEARNED[machine.tried][:, 1].tolist()) == {16}
    assert (found.activation_bytes, found.measured) == (largest, False)


def test_it_is_said_in_one_sentence() -> None:
    found = Machine(LAW).estimate()
    base = dataclasses.replace(found, memory_bytes=1_200 * MB, disk_bytes=400 * MB)
    minutes = dataclasses.replace(base, seconds=240.0, seconds_low=180.0, seconds_high=360.0)
    assert minutes.in_words() == "about 4 min (3 to 6 min), 1.2 GB of memory, 400.0 MB on disk"
    mixed = dataclasses.replace(base, seconds=95.0, seconds_low=70.0, seconds_high=130.0)
    assert mixed.in_words().startswith("about 2 min (70 s to 2 min), ")
    hours = dataclasses.replace(base, seconds=10_800.0, seconds_low=7_500.0, seconds_high=14_000.0)
    assert hours.in_words().startswith("about 3 h 00 min (2 h 05 min to 3 h 53 min), ")


WAYS = WaysOut(method="full", batch_tokens=2048, longest=512, gradient_checkpointing=False, lora=2 * MB)


def test_a_training_that_fits_needs_no_warning() -> None:
    found = Machine(LAW).estimate()
    assert too_large(found, work(), WAYS, found.more_bytes) is None


def test_a_training_that_does_not_fit_is_told_every_way_out_and_what_it_saves() -> None:
    found = Machine(LAW).estimate()
    warning = too_large(found, work(), WAYS, 100 * MB)
    assert warning == (
        "Memory will probably not hold this training: it takes about 492.0 MB more, and 100.0 MB are free. "
        'Ways out, with what each would save: train.method = "lora" (160.0 MB); train.batch_tokens = 1024 (150.0 MB); '
        "train.gradient_checkpointing = true (up to 182.4 MB, at about half more time); "
        "a smaller base model (20 MB for each million weights fewer)."
    )


def test_what_was_done_already_is_not_offered() -> None:
    found = Machine(LAW).estimate()
    done = WaysOut(method="lora", batch_tokens=512, longest=512, gradient_checkpointing=True, lora=2 * MB)
    warning = too_large(found, work(), done, 0)
    assert not any(name in warning for name in ("lora", "batch_tokens", "gradient_checkpointing"))
    assert "a smaller base model" in warning


def test_a_disk_that_is_too_small_is_refused(tmp_path) -> None:
    found = dataclasses.replace(Machine(LAW).estimate(), disk_bytes=1 << 60)
    with pytest.raises(MachineError, match="Training needs about"):
        require_disk(found, tmp_path)


def test_adapters_on_every_linear_layer_are_counted() -> None:
    import torch

    network = torch.nn.Sequential(torch.nn.Linear(10, 20), torch.nn.Linear(20, 5), torch.nn.LayerNorm(5))
    assert lora_weights(network, rank=4) == 4 * (10 + 20) + 4 * (20 + 5)


def write_group(folder, **files) -> None:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(f"{content}\n", encoding="ascii")


def test_the_narrowest_control_group_counts_in_either_version(tmp_path) -> None:
    root, processes = tmp_path / "fs", tmp_path / "cgroup"
    processes.write_text("0::/outer/inner\n", encoding="utf-8")
    inner = {"memory__current": 300, "memory__stat": "anon 200\ninactive_file 100"}
    write_group(root / "outer", memory__max=1000, memory__current=900, memory__stat="inactive_file 0")
    write_group(root / "outer" / "inner", memory__max="max", **inner)
    assert group_limits(processes, root) == [100]
    (root / "outer" / "inner" / "memory.max").write_text("350", encoding="ascii")
    assert sorted(group_limits(processes, root)) == [100, 150]

    processes.write_text("5:devices:/x\n4:memory:/job\n", encoding="utf-8")
    names = {"memory__usage_in_bytes": 600, "memory__stat": "total_inactive_file 50"}
    write_group(root / "memory" / "job", memory__limit_in_bytes=2000, **names)
    for name, value in (("limit", "9223372036854771712"), ("usage", "700")):
        (root / "memory" / f"memory.{name}_in_bytes").write_text(value, encoding="ascii")
    (root / "memory" / "memory.stat").write_text("total_inactive_file 0", encoding="ascii")
    assert group_limits(processes, root) == [1450]


def test_a_container_that_sees_its_own_group_as_the_root_is_understood(tmp_path) -> None:
    root, processes = tmp_path / "fs", tmp_path / "cgroup"
    processes.write_text("0::/not/mounted/here\n", encoding="utf-8")
    write_group(root, memory__max=1000, memory__current=400, memory__stat="inactive_file 0")
    assert group_limits(processes, root) == [600]
    assert group_limits(tmp_path / "absent", root) == []


def test_the_growth_of_this_process_is_seen() -> None:
    held = []

    def take() -> None:
        held.append(np.ones(25 * MB // 8).copy())
        held.clear()

    grown = Memory("cpu").growth(lambda: [take() for _ in range(20)])
    assert 10 * MB < grown < 100 * MB
    assert Memory("cpu").available() > 0


def test_shapes_are_those_of_the_padded_batches() -> None:
    windows = [[[1] * 5], [[1] * 20, [1] * 20], [[1] * 33]]
    lengths = [len(window) for note in windows for window in note]
    notes = Notes(
        np.ones(sum(lengths), np.int32),
        np.concatenate([[0], np.cumsum(lengths)]),
        np.concatenate([[0], np.cumsum([len(note) for note in windows])]),
    )
    assert shapes(notes, [[0], [0, 1], [2]], 40).tolist() == [[1, 16], [3, 32], [1, 40]]
    assert shapes(notes, [], 40).shape == (0, 2)


def test_a_run_tells_what_it_will_take_and_what_it_took(cohort, tiny, tmp_path) -> None:
    model = ModelSection(base=str(tiny), window=32, overlap=4)
    section = TrainSection(epochs=2, device="cpu", threads=1, batch_tokens=256)
    summary = train(cohort, model, section, tmp_path, seed=5)
    settings = read_json(tmp_path / "settings.json")
    told = settings["estimate"]
    assert 0 < told["seconds_low"] <= told["seconds"] <= told["seconds_high"]
    size = (tmp_path / "model" / "model.safetensors").stat().st_size
    assert told["disk_bytes"] > size
    assert told["memory_bytes"] > 50 * MB
    assert settings["precision"] == settings["precision_trial"]["name"]
    assert summary["took"]["seconds"] > 0
    assert summary["took"]["peak_memory_bytes"] > 50 * MB
    assert ("energy_joules" in summary["took"]) == bool(energy_counters("cpu"))
    assert summary["estimate"] == told


def test_a_run_is_warned_of_memory_and_goes_on(cohort, tiny, tmp_path, monkeypatch) -> None:
    warnings = []

    class Told(Progress):
        def warn(self, sentence) -> None:
            warnings.append(sentence)

    monkeypatch.setattr(Memory, "available", lambda self: 1)
    model = ModelSection(base=str(tiny), window=32, overlap=4)
    section = TrainSection(epochs=1, device="cpu", threads=1, precision="fp32", batch_tokens=256)
    train(cohort, model, section, tmp_path, seed=5, progress=Told())
    assert len(warnings) == 1
    assert "Ways out" in warnings[0]
    assert (tmp_path / "model").is_dir()


def test_trials_teach_nothing(cohort, tiny, tmp_path, monkeypatch) -> None:
    from bedside.core.files import sha256_tree
    from bedside.training.trials import Trials

    model = ModelSection(base=str(tiny), window=32, overlap=4)
    section = TrainSection(epochs=2, device="cpu", threads=1, precision="fp32", batch_tokens=256, dropout=0.1)
    train(cohort, model, section, tmp_path / "with", seed=5)
    monkeypatch.setattr(Trials, "_estimate", lambda self: None)
    train(cohort, model, section, tmp_path / "without", seed=5)
    assert "estimate" not in read_json(tmp_path / "without" / "settings.json")
    assert sha256_tree(tmp_path / "with" / "model") == sha256_tree(tmp_path / "without" / "model")


def test_a_run_that_goes_on_keeps_what_was_settled(cohort, tiny, tmp_path, monkeypatch) -> None:
    from bedside.training.loop import Loop
    from bedside.training.trials import Trials

    model = ModelSection(base=str(tiny), window=32, overlap=4)
    section = TrainSection(epochs=2, device="cpu", threads=1, batch_tokens=256, checkpoint_seconds=0, compile=True)
    real = Loop._step

    def killed(self, step):
        if self.state.taken == 3:
            raise KeyboardInterrupt
        return real(self, step)

    monkeypatch.setattr(Loop, "_step", killed)
    with pytest.raises(KeyboardInterrupt):
        train(cohort, model, section, tmp_path, seed=5)
    settled = read_json(tmp_path / "settings.json")
    assert settled["compile"]["kept"] is False
    assert settled["compile"]["why"].startswith("not compiled: ")

    def never(self):
        raise AssertionError("a run that goes on tries nothing")

    monkeypatch.setattr(Loop, "_step", real)
    monkeypatch.setattr(Trials, "settle", never)
    train(cohort, model, section, tmp_path, seed=5)
    assert read_json(tmp_path / "settings.json") == settled


def test_energy_is_read_from_the_package_and_its_memory_and_survives_a_counter_that_runs_over(tmp_path) -> None:
    def zone(name, called, joules, most=1000.0) -> None:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        for file, value in (
            ("name", called),
            ("energy_uj", int(joules * 1e6)),
            ("max_energy_range_uj", int(most * 1e6)),
        ):
            (folder / file).write_text(f"{value}\n", encoding="ascii")

    def all_zones(package, memory) -> None:
        zone("intel-rapl:0", "package-0", package)
        zone("intel-rapl:0:0", "core", 5.0)
        zone("intel-rapl:0:1", "dram", memory)
        zone("intel-rapl:1", "psys", package + memory)

    all_zones(900.0, 10.0)
    counters = energy_counters("cpu", tmp_path)
    assert [counter.of for counter in counters] == ["the processor package", "its memory"]
    with Meter("cpu", counters) as meter:
        all_zones(50.0, 30.0)
    took = meter.took()
    assert took.energy_joules == pytest.approx(150.0 + 20.0)  # 900 to 1000, then 0 to 50
    assert took.energy_of == "the processor package and its memory"
    assert json.loads(json.dumps(took.to_json()))["energy_joules"] == 170.0


def test_without_a_counter_energy_is_absent_and_not_zero(tmp_path) -> None:
    with Meter("cpu", energy_counters("cpu", tmp_path / "absent")) as meter:
        pass
    assert meter.took().energy_joules is None
    assert set(meter.took().to_json()) == {"seconds", "peak_memory_bytes"}


def test_a_counter_that_fails_on_the_way_is_left_out_whole() -> None:
    values = iter([1.0, 5.0])

    def read() -> float:
        try:
            return next(values)
        except StopIteration:
            raise OSError("gone") from None

    counter = Counter("the card", read)
    for _ in range(3):
        counter.read()
    assert counter.lost
    backwards = iter([5.0, 1.0])
    odd = Counter("the card", lambda: next(backwards))
    odd.read()
    odd.read()
    assert odd.lost  # it never runs over, and yet went back: it was reset
    with Meter("cpu", [counter, odd]) as meter:
        pass
    assert meter.took().energy_joules is None


@pytest.mark.skipif(os.name == "nt", reason="needs a shell script in the place of nvidia-smi")
def test_watts_are_added_up_over_time(tmp_path, monkeypatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text('#!/bin/sh\ncat "$(dirname "$0")/watts"\n', encoding="ascii")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    now = [0.0]
    (tmp_path / "watts").write_text("100.00\n", encoding="ascii")
    (counter,) = smi("GPU-1", clock=lambda: now[0])
    counter.read()
    now[0] = 10.0
    (tmp_path / "watts").write_text("300.00\n", encoding="ascii")
    counter.read()
    assert counter.joules == pytest.approx(10 * 200.0)
    (tmp_path / "watts").write_text("[N/A]\n", encoding="ascii")
    assert smi("GPU-1") == []
    monkeypatch.setenv("PATH", "/nowhere")
    assert smi("GPU-1") == []


def test_the_peak_is_of_the_block_alone() -> None:
    with PeakMemory(every=0.001) as peak:
        held = np.ones(25 * MB // 8)
    assert peak.peak >= peak.start
    assert held.nbytes == 25 * MB


def test_the_clock_of_a_meter_is_that_of_the_block() -> None:
    now = iter(np.arange(0.0, 1000.0, 10.0).tolist())
    with Meter("cpu", [], clock=lambda: next(now)) as meter:
        pass
    assert meter.took().seconds > 0
