"""Where and in which precision to train, and whether to compile: what the machine has, and then what a trial shows.

A processor may have bf16 and still be slower in it on small models, and a compiled network may be slower than a plain
one. So both are timed on a batch of the training itself, and the sentence that gives the reason holds the figures.
Nothing here changes a weight or draws a random number: the step that is timed is the caller's, who restores both.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bedside.core.errors import ModelError
from bedside.core.progress import duration_text

Clock = Callable[[], float]
_FASTER = 1.1  # bf16 keeps 8 bits of each number; a gain within the noise of a trial is not worth them
_COMPILED_FASTER = 1.05
_WORTH_COMPILING = 30.0  # seconds of training; compiling alone takes about as long
_TURNS = 3  # of each, at least, unless they take longer than is patience for: one alone may have met a busy moment
_PATIENCE = 10.0  # seconds


def choose_device(wish: str) -> str:
    """``cuda``, ``mps`` or ``cpu``.

    Raises:
        ModelError: the device that was asked for is not there.
    """
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wish == "auto":
        return next(name for name, found in there.items() if found)
    if not there.get(wish, False):
        found = ", ".join(name for name, is_there in there.items() if is_there)
        raise ModelError(f"train.device = '{wish}' is not on this machine; it has {found}.")
    return wish


def choose_precision(wish: str, device: str) -> str:
    """``bf16`` where it is asked for, or where the processor or card has it; else ``fp32``."""
    if wish != "auto":
        return wish
    return "fp32" if lacks_bf16(device) else "bf16"


@dataclass(frozen=True)
class Precision:
    """The precision of a training: ``fp32`` or ``bf16``, why, and the steps a second of each that was tried."""

    name: str
    why: str
    rates: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As it stands in ``settings.json``."""
        return {"name": self.name, "why": self.why, "steps_per_second": dict(self.rates)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Precision:
        """The choice of an earlier process, which a resumed run keeps whatever a trial would show now."""
        return cls(value["name"], value["why"], dict(value["steps_per_second"]))


def without_trial(wish: str, device: str) -> Precision:
    """The precision where nothing can be tried: what was asked for, or bf16 where the device has it."""
    if wish != "auto":
        return Precision(wish, f"{wish} because train.precision asks for it.")
    reason = lacks_bf16(device)
    return Precision("fp32", f"fp32 because {reason}.") if reason else Precision("bf16", f"bf16, which {device} has.")


def lacks_bf16(device: str) -> str:
    """Why a device is not to be tried in bf16; empty where it may be.

    What a processor emulates counts as absent: oneDNN takes bf16 on any with AVX-512, and on one without its bf16
    instructions converts every operand (https://uxlfoundation.github.io/oneDNN/dev_guide_data_types.html).
    """
    import torch

    if device == "cuda":
        return "" if torch.cuda.is_bf16_supported(including_emulation=False) else "this card computes no bf16"
    if device == "cpu":
        if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            return "this processor computes no bf16"
        return "" if _computes_bf16(torch.cpu.get_capabilities()) else "this processor only emulates bf16"
    return f"training in bf16 on {device} is not tried unless it is asked for"


def _computes_bf16(features: Any) -> bool:
    """Whether a processor multiplies in bf16 itself: AVX-512 or AMX on x86; on ARM the library has looked already."""
    if features.get("architecture") != "x86_64":
        return True
    return bool(features.get("avx512_bf16") or features.get("amx_bf16"))


def probe_precision(
    wish: str,
    device: str,
    step: Callable[[str], None],
    *,
    seconds: float = 0.5,
    clock: Clock = time.perf_counter,
    lacks: Callable[[str], str] = lacks_bf16,
) -> Precision:
    """Choose a precision: the one that was asked for, or bf16 where it is there and a trial shows it 1.1x as fast.

    Args:
        wish: ``auto``, ``fp32`` or ``bf16``.
        device: ``cuda``, ``mps`` or ``cpu``.
        step: forward and backward of one typical batch in the precision it is handed; must leave weights, gradients
            and random numbers as they were.
        seconds: for the trial, after a step of each to warm up; three timed steps of each are taken at least, or as
            many as ten seconds hold.
        clock: seconds, ever rising.
        lacks: why a device is not to be tried in bf16, or an empty text.
    """
    if wish != "auto":
        return without_trial(wish, device)
    reason = lacks(device)
    if reason:
        return Precision("fp32", f"fp32 because {reason}.")
    step("fp32")  # an error here is the training's own, and is not caught
    try:
        times = _alternate(step, ("fp32", "bf16"), device, seconds, clock)
    except RuntimeError as error:
        return Precision("fp32", f"fp32 because a step in bf16 failed ({type(error).__name__}).")
    rates = {name: round(1 / max(time, 1e-9), 3) for name, time in times.items()}
    gain = times["fp32"] / max(times["bf16"], 1e-9)
    name = "bf16" if gain >= _FASTER else "fp32"
    measured = f"a step took {_time_text(times['bf16'])} in bf16 and {_time_text(times['fp32'])} in fp32 ({gain:.2f}x)"
    tail = "" if name == "bf16" else f", and under {_FASTER:g}x the lost digits are not worth it"
    return Precision(name, f"{name} because in a trial {measured}{tail}.", rates)


def _alternate(
    step: Callable[[Any], None], choices: tuple[Any, Any], device: str, seconds: float, clock: Clock
) -> dict[Any, float]:
    """The least seconds of a step by choice: whatever else the machine does can only add to them.

    They take turns, so that it meets both alike.
    """
    for choice in choices:
        step(choice)
    times: dict[Any, list[float]] = {choice: [] for choice in choices}
    turns, spent = 0, 0.0
    while spent < seconds or (turns < _TURNS and spent < _PATIENCE):
        for choice in choices:
            times[choice].append(_timed(step, choice, device, clock))
        turns, spent = turns + 1, sum(map(sum, times.values()))
    return {choice: min(found) for choice, found in times.items()}


def _timed(step: Callable[[Any], None], choice: Any, device: str, clock: Clock) -> float:
    wait(device)
    start = clock()
    step(choice)
    wait(device)
    return max(clock() - start, 1e-9)


def wait(device: str) -> None:
    """Let a device finish what it was given: cards are handed work and answer at once."""
    import torch

    if device == "cuda":
        torch.cuda.synchronize()
    elif device == "mps":
        torch.mps.synchronize()


def _time_text(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


@dataclass(frozen=True)
class Compiled:
    """What to call in the place of the network, and why; ``gain`` and ``compile_seconds`` only where it was tried."""

    forward: Any
    kept: bool
    why: str
    gain: float | None = None
    compile_seconds: float | None = None

    def to_json(self) -> dict[str, Any]:
        """As it stands in ``settings.json``."""
        figures = {"gain": self.gain, "compile_seconds": self.compile_seconds}
        return {"kept": self.kept, "why": self.why, **{key: x for key, x in figures.items() if x is not None}}


def compile_gain(
    network: Any,
    step: Callable[[Any], None],
    *,
    steps: int,
    device: str = "cpu",
    seconds: float = 2.0,
    clock: Clock = time.perf_counter,
) -> Compiled:
    """Compile a network, time it against the plain one, and keep it only where that pays within this training.

    Compiling is paid anew by every process that resumes the run, so a gain must earn it back.

    Args:
        network: the plain one, an ``nn.Module``; it shares its weights with what is compiled.
        step: forward and backward through what it is handed; over two batches of different shape at least, so that
            what is compiled holds for every shape. Must leave weights, gradients and random numbers as they were.
        steps: how many such steps are to come.
        device: ``cuda``, ``mps`` or ``cpu``.
        seconds: for the trial, after compiling.
        clock: seconds, ever rising.
    """
    missing = lacks_compiler(device)
    if missing:
        return Compiled(network, False, f"not compiled: {missing}.")
    _timed(step, network, device, clock)
    whole = steps * _timed(step, network, device, clock)
    if whole < _WORTH_COMPILING:
        return Compiled(network, False, f"not compiled: all {steps:,} steps take {duration_text(whole)} as it is.")
    import torch

    try:
        compiled = torch.compile(network, dynamic=True)
        spent = _timed(step, compiled, device, clock)
        times = _alternate(step, (network, compiled), device, seconds, clock)
    except Exception as error:  # the compilers below raise errors of many kinds, and none of them may stop a training
        return Compiled(network, False, f"not compiled: the compiler failed ({type(error).__name__}).")
    return _judged(network, compiled, times, spent, steps)


def _judged(network: Any, compiled: Any, times: dict[Any, float], spent: float, steps: int) -> Compiled:
    """Keep the compiled network or the plain one, by the seconds of a step in each."""
    saved = times[network] - times[compiled]
    gain = round(times[network] / times[compiled], 3)
    kept = gain >= _COMPILED_FASTER and steps * saved > spent
    figures = f"it is {gain:.2f}x as fast, and compiling took {duration_text(spent)}"
    if kept:
        why = f"compiled: {figures}, which {spent / saved:,.0f} of {steps:,} steps earn back."
    elif gain >= _COMPILED_FASTER:
        why = f"not compiled: {figures}, which {steps:,} steps do not earn back."
    else:
        why = f"not compiled: {figures}; under {_COMPILED_FASTER:g}x it is left."
    return Compiled(compiled if kept else network, kept, why, gain, round(spent, 1))


def lacks_compiler(device: str) -> str:
    """What ``torch.compile`` needs on this machine and does not find; empty where nothing is missing."""
    import importlib.util

    usual = "cl" if os.name == "nt" else "clang++" if sys.platform == "darwin" else "g++"  # as inductor looks for it
    if not shutil.which(os.environ.get("CXX") or usual):
        return "there is no C++ compiler on this machine"
    if device == "cuda" and importlib.util.find_spec("triton") is None:
        return "triton is not installed"
    return ""
