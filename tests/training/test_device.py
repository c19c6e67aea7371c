"""Precision and compile: chosen by a trial, on a clock of the test's own; and for real where the machine can."""

from __future__ import annotations

import json

import pytest

from bedside.core.errors import ModelError
from bedside.training.device import (
    Compiled,
    Precision,
    choose_device,
    compile_gain,
    lacks_bf16,
    lacks_compiler,
    probe_precision,
)


class Bench:
    """Steps whose seconds the test decides, and the clock that counts them."""

    def __init__(self, seconds) -> None:
        self.seconds, self.now, self.taken = seconds, 0.0, []

    def step(self, choice) -> None:
        self.now += self.seconds[choice]
        self.taken.append(choice)

    def clock(self) -> float:
        return self.now


def probe(seconds, wish="auto", lacks=lambda device: "", **more):
    bench = Bench(seconds)
    return probe_precision(wish, "cpu", bench.step, clock=bench.clock, lacks=lacks, **more), bench


def test_bf16_is_taken_where_the_trial_shows_that_it_is_faster() -> None:
    found, bench = probe({"fp32": 0.05, "bf16": 0.02})
    assert found.name == "bf16"
    assert found.rates == {"fp32": 20.0, "bf16": 50.0}
    assert "20 ms in bf16 and 50 ms in fp32 (2.50x)" in found.why
    timed = bench.taken[3:]  # one step to start, one of each to warm up
    assert timed == ["fp32", "bf16"] * (len(timed) // 2)
    assert 0.5 <= sum(bench.seconds[name] for name in timed) <= 0.57


@pytest.mark.parametrize(("bf16", "name"), [(0.0905, "bf16"), (0.0915, "fp32"), (0.3, "fp32")])
def test_a_gain_under_a_tenth_is_not_worth_the_digits(bf16, name) -> None:
    assert probe({"fp32": 0.1, "bf16": bf16})[0].name == name


def test_a_busy_moment_does_not_decide() -> None:
    bench = Bench({"fp32": 0.5, "bf16": 0.2})

    def step(choice) -> None:
        bench.step(choice)
        bench.now += 3.0 if len(bench.taken) in {5, 7} else 0.0  # something else took the machine, twice of thrice

    found = probe_precision("auto", "cpu", step, clock=bench.clock, lacks=lambda device: "")
    assert bench.taken[3:] == ["fp32", "bf16"] * 3
    assert found.name == "bf16"


def test_a_slow_step_is_repeated_no_longer_than_there_is_patience_for() -> None:
    found, bench = probe({"fp32": 9.0, "bf16": 4.0})
    assert bench.taken == ["fp32", "fp32", "bf16", "fp32", "bf16"]
    assert found.name == "bf16"
    assert probe({"fp32": 2.0, "bf16": 1.0})[1].taken[3:] == ["fp32", "bf16"] * 3


def test_a_wish_is_a_wish_and_costs_no_trial() -> None:
    for wish in ("fp32", "bf16"):
        found, bench = probe({}, wish=wish, lacks=lambda device: "it has none")
        assert (found.name, bench.taken) == (wish, [])
        assert "train.precision" in found.why


def test_where_bf16_is_absent_nothing_is_tried() -> None:
    found, bench = probe({}, lacks=lambda device: "this processor only emulates bf16")
    assert (found.name, found.why, bench.taken) == ("fp32", "fp32 because this processor only emulates bf16.", [])


def test_a_step_that_bf16_cannot_do_means_fp32_and_one_that_fp32_cannot_do_is_an_error() -> None:
    def without(broken):
        def step(choice) -> None:
            if choice == broken:
                raise RuntimeError("not implemented for this type")

        return step

    found = probe_precision("auto", "cpu", without("bf16"), lacks=lambda device: "")
    assert (found.name, found.why) == ("fp32", "fp32 because a step in bf16 failed (RuntimeError).")
    with pytest.raises(RuntimeError):
        probe_precision("auto", "cpu", without("fp32"), lacks=lambda device: "")


def test_a_processor_that_emulates_bf16_counts_as_without(monkeypatch) -> None:
    import torch

    features = {"architecture": "x86_64", "avx512_f": True, "avx512_bf16": False, "amx_bf16": False}
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features)
    assert lacks_bf16("cpu") == "this processor only emulates bf16"
    features["amx_bf16"] = True
    assert lacks_bf16("cpu") == ""
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    assert lacks_bf16("cpu") == "this processor computes no bf16"


def test_the_choice_survives_json() -> None:
    found, _ = probe({"fp32": 0.05, "bf16": 0.02})
    assert Precision.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_a_real_trial_leaves_the_weights_as_they_were() -> None:
    import torch

    torch.manual_seed(1)
    network = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Tanh(), torch.nn.Linear(64, 2))
    before = [value.clone() for value in network.parameters()]
    seen = set()

    def step(choice: str) -> None:
        seen.add(choice)
        with torch.autocast("cpu", torch.bfloat16, enabled=choice == "bf16"):
            loss = network(torch.ones(4, 64)).float().sum()
        loss.backward()
        network.zero_grad(set_to_none=True)

    found = probe_precision("auto", choose_device("cpu"), step, seconds=0.05)
    assert found.name in {"fp32", "bf16"}
    assert seen == (set() if lacks_bf16("cpu") else {"fp32", "bf16"})
    assert all(torch.equal(one, other) for one, other in zip(before, network.parameters(), strict=True))


def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(ModelError, match=r"train\.device = 'tpu' is not on this machine; it has"):
        choose_device("tpu")


def trial(monkeypatch, plain, compiled, steps, first=20.0):
    """A trial whose compiler is the test's own: what it makes takes ``compiled`` seconds, and ``first`` at first."""
    import torch

    monkeypatch.setattr(torch, "compile", lambda network, dynamic: "compiled")
    monkeypatch.setattr("bedside.training.device.lacks_compiler", lambda device: "")
    bench = Bench({"plain": plain, "compiled": compiled})

    def step(network) -> None:
        bench.now += first if network == "compiled" and "compiled" not in bench.taken else 0.0
        bench.step(network)

    return compile_gain("plain", step, steps=steps, clock=bench.clock), bench


def test_what_is_compiled_is_kept_where_it_earns_its_time_back(monkeypatch) -> None:
    found, _ = trial(monkeypatch, 0.4, 0.3, steps=1000)
    assert (found.forward, found.kept, found.gain, found.compile_seconds) == ("compiled", True, 1.333, 20.3)
    assert found.why == "compiled: it is 1.33x as fast, and compiling took 20 s, which 203 of 1,000 steps earn back."
    assert found.to_json() == {"kept": True, "why": found.why, "gain": 1.333, "compile_seconds": 20.3}


@pytest.mark.parametrize(
    ("compiled", "steps", "why"),
    [
        (0.3, 200, "which 200 steps do not earn back"),
        (0.39, 10_000, "under 1.05x"),
        (0.8, 10_000, "0.50x as fast"),
    ],
)
def test_what_is_compiled_is_left_where_it_does_not_pay(monkeypatch, compiled, steps, why) -> None:
    found, _ = trial(monkeypatch, 0.4, compiled, steps)
    assert (found.forward, found.kept) == ("plain", False)
    assert why in found.why


def test_a_short_training_is_not_compiled_at_all(monkeypatch) -> None:
    found, bench = trial(monkeypatch, 0.4, 0.1, steps=50)
    assert "compiled" not in bench.taken
    assert (found.forward, found.why) == ("plain", "not compiled: all 50 steps take 20 s as it is.")


def test_a_compiler_that_fails_leaves_the_plain_network(monkeypatch) -> None:
    import torch

    def broken(network, dynamic):
        raise torch._dynamo.exc.TorchDynamoException("no")

    monkeypatch.setattr(torch, "compile", broken)
    monkeypatch.setattr("bedside.training.device.lacks_compiler", lambda device: "")
    bench = Bench({"plain": 1.0})
    found = compile_gain("plain", bench.step, steps=1000, clock=bench.clock)
    assert (found.forward, found.why) == ("plain", "not compiled: the compiler failed (TorchDynamoException).")


def test_without_a_compiler_it_says_so(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    bench = Bench({})
    found = compile_gain("plain", bench.step, steps=1000)
    assert found == Compiled("plain", False, "not compiled: there is no C++ compiler on this machine.")
    assert bench.taken == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own, in code that it runs while it compiles
def test_a_network_is_compiled_for_real_and_answers_alike(monkeypatch, tmp_path) -> None:
    import torch

    if lacks_compiler("cpu"):
        pytest.skip(f"needs a C++ compiler: {lacks_compiler('cpu')}")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("torch._inductor.config.compile_threads", 1)
    monkeypatch.setattr("bedside.training.device._WORTH_COMPILING", 0.0)
    torch.manual_seed(1)
    network = torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.Tanh())
    inputs = [torch.randn(3, 4), torch.randn(5, 4)]

    def step(forward) -> None:
        with torch.no_grad():  # half as much to compile
            for batch in inputs:
                forward(batch)

    found = compile_gain(network, step, steps=10**9, seconds=0.01)
    assert found.gain is not None, found.why  # it was compiled and timed, not given up
    assert (found.forward is network) == (not found.kept)  # which of the two is faster is the machine's affair
    assert torch.allclose(torch.compile(network, dynamic=True)(inputs[0]), network(inputs[0]), atol=1e-6)
