"""What a training will take on this machine: time, memory and disk, from a few batches that are timed before it.

The seconds of a batch are fitted as ``a + b * tokens + c * tokens * length``: what every batch costs, what every token
costs, and what attention costs, which looks from each token at its whole window. Nothing is learned from the timed
batches. The range that is told is honest about two things only: that training may stop early, and that a trial of a
second is repeated over minutes on a machine that may do other work; it is no confidence interval.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bedside.core.files import require_space, size_text
from bedside.core.progress import duration_text
from bedside.training.device import Clock, wait

Ints = NDArray[np.int64]
_REPEATS = 3
_ENOUGH = 1.0  # seconds of timing one batch after which it is not repeated
_BUSY = 1.3  # how much longer it may take than in the trial: the machine does other work, or gets hot and slows down
_IDLE = 0.85
_FORWARD = 1 / 3  # of a batch's time, where it is not timed: a backward pass computes two products for each one
_WRITTEN = 250e6  # bytes of a checkpoint a second: copied, hashed and brought to the disk (benchmarks/estimate.py)
_SCRATCH = 4_000_000  # elements that the optimiser is timed on


@dataclass(frozen=True)
class Work:
    """What a training will do.

    Attributes:
        learned: [micro-batches, 2] windows and padded length of each micro-batch of an epoch.
        steps: optimiser steps of an epoch.
        epochs: at most.
        patience: epochs without a better one before it stops.
        answered: [batches, 2] the same of one pass over the validation notes; there is one before the first epoch too.
        read: [batches, 2] the same of the warm start; empty where there is none.
        parameters: all weights of the network.
        trained: those that are trained; gradients, moments and the best epoch's copy are kept of these, in fp32.
        checkpoint_bytes: of one.
        checkpoint_seconds: between two; 0 for one after every step.
        disk_bytes: of everything that is written.
        width, layers, heads: of the body, for the formula of its activations.
    """

    learned: Ints
    steps: int
    epochs: int
    patience: int
    answered: Ints
    read: Ints
    parameters: int
    trained: int
    checkpoint_bytes: int
    checkpoint_seconds: float
    disk_bytes: int
    width: int
    layers: int
    heads: int


@dataclass(frozen=True)
class Estimate:
    """What a training will take.

    Attributes:
        seconds: if it goes on to the last epoch, at the trial's speed.
        seconds_low: if it stops as early as it can, on an idle machine.
        seconds_high: if it goes on to the last epoch, on a busy machine.
        memory_bytes: the most that is held at once, of the card or of this process with all that it has loaded.
        more_bytes: the part of it that is not yet taken.
        activation_bytes: the part of that which goes with the size of a micro-batch.
        disk_bytes: written.
        measured: whether the activations were measured, not computed.
    """

    seconds: float
    seconds_low: float
    seconds_high: float
    memory_bytes: int
    more_bytes: int
    activation_bytes: int
    disk_bytes: int
    measured: bool = True

    def in_words(self) -> str:
        """``about 4 min (3 to 6 min), 1.2 GB of memory, 0.4 GB on disk``."""
        low, high = duration_text(self.seconds_low), duration_text(self.seconds_high)
        number, unit = low.split(" ", 1)
        if high.split(" ", 1)[1] == unit:
            low = number
        return (
            f"about {duration_text(self.seconds)} ({low} to {high}), {size_text(self.memory_bytes)} of memory, "
            f"{size_text(self.disk_bytes)} on disk"
        )

    def to_json(self) -> dict[str, Any]:
        """As it stands in ``settings.json``."""
        return {
            "seconds": round(self.seconds, 1),
            "seconds_low": round(self.seconds_low, 1),
            "seconds_high": round(self.seconds_high, 1),
            "memory_bytes": self.memory_bytes,
            "disk_bytes": self.disk_bytes,
        }


def estimate(
    learn: Callable[[int], None],
    work: Work,
    *,
    device: str = "cpu",
    answer: Callable[[int], None] | None = None,
    clock: Clock = time.perf_counter,
    memory: Memory | None = None,
    optimiser_seconds: Callable[[int], float] | None = None,
) -> Estimate:
    """Estimate a training from a few of its micro-batches, none of which teaches it anything.

    Args:
        learn: forward and backward of the micro-batch of this number in ``work.learned``; must leave weights,
            gradients and random numbers as they were.
        work: what is to be done.
        device: ``cuda``, ``mps`` or ``cpu``.
        answer: forward alone, without gradients; a third of the time is taken for it if not given.
        clock: seconds, ever rising.
        memory: of the device; how it is looked up on this machine if not given.
        optimiser_seconds: of one step over so many weights; timed on this machine if not given.
    """
    memory = memory or Memory(device)
    chosen = chosen_batches(work.learned)
    by_formula = activation_bytes(work, work.learned[chosen[-1]])
    fits = by_formula < memory.available()
    before = memory.used()
    # The largest one first: what an allocator keeps of an earlier batch would not be seen to grow.
    grown = memory.growth(lambda: learn(chosen[-1])) if fits else None
    tried = chosen if fits else chosen[:1]  # a trial must not be what memory runs out in
    times = {number: _timings(learn, number, device, clock) for number in tried}
    forward = _FORWARD
    if answer is not None:
        middle = list(times)[len(times) // 2]
        forward = min(_middle(_timings(answer, middle, device, clock)) / _middle(times[middle]), 1.0)
    update = (optimiser_seconds or _OptimiserTrial(device, clock))(work.trained)
    seconds, soonest = _seconds(work, fitted(work.learned, times), forward, update)
    wobble = max(max(found) / _middle(found) for found in times.values())
    activations = by_formula if grown is None else grown
    more = more_bytes(work, activations, device)
    return Estimate(
        seconds=seconds,
        seconds_low=soonest * _IDLE,
        seconds_high=seconds * max(_BUSY, wobble),
        memory_bytes=before + more,
        more_bytes=more,
        activation_bytes=activations,
        disk_bytes=work.disk_bytes,
        measured=grown is not None,
    )


def chosen_batches(learned: Ints) -> list[int]:
    """A short, a middling and the largest micro-batch by its padded length; fewer where they are the same."""
    windows, length = learned[:, 0], learned[:, 1]
    order = np.lexsort((windows, length))
    most = int(np.argmax(windows * length * (length + np.median(length))))
    found = {tuple(learned[number]): int(number) for number in (most, order[len(order) // 2], order[len(order) // 10])}
    return list(found.values())[::-1]


def _timings(action: Callable[[int], None], number: int, device: str, clock: Clock) -> list[float]:
    """Seconds of a batch, a few times after once to warm up; a slow one is not repeated."""
    found: list[float] = []
    warm = _once(action, number, device, clock)
    if warm > _ENOUGH:
        return [warm]
    while len(found) < _REPEATS and sum(found) < _ENOUGH:
        found.append(_once(action, number, device, clock))
    return found


def _once(action: Callable[[int], None], number: int, device: str, clock: Clock) -> float:
    wait(device)
    start = clock()
    action(number)
    wait(device)
    return max(clock() - start, 1e-9)


def _middle(found: Sequence[float]) -> float:
    return float(np.median(found))


def terms(batches: Ints) -> NDArray[np.float64]:
    """[batches, 3] what the seconds of a batch are made of: one, its tokens, and its tokens times their window."""
    tokens = batches[:, 0].astype(np.float64) * batches[:, 1]
    return np.stack([np.ones(len(batches)), tokens, tokens * batches[:, 1]], axis=1)


def fitted(learned: Ints, times: dict[int, list[float]]) -> NDArray[np.float64]:
    """[3] seconds of each term, none below zero, that fit the timed batches best in relative terms.

    Non-negative least squares (Lawson and Hanson 1974): a batch never gets quicker by being larger, also where three
    noisy timings say so. With a single size all of its time is put down to its tokens.
    """
    from scipy.optimize import nnls

    seconds = np.asarray([_middle(found) for found in times.values()])
    given = terms(learned[list(times)]) / seconds[:, None]
    scale = given.max(axis=0)
    if len(seconds) == 1:
        return np.asarray([0.0, 1 / given[0, 1], 0.0])
    found, _ = nnls(given / scale, np.ones(len(seconds)))
    return np.asarray(found / scale)


def _seconds(work: Work, weights: NDArray[np.float64], forward: float, update: float) -> tuple[float, float]:
    """Seconds of the whole training, and of one that stops as early as patience lets it."""
    epoch = float((terms(work.learned) @ weights).sum()) + work.steps * update
    check = forward * float((terms(work.answered) @ weights).sum()) if len(work.answered) else 0.0
    warm = forward * float((terms(work.read) @ weights).sum()) if len(work.read) else 0.0

    def whole(epochs: int) -> float:
        learning = epochs * epoch
        written = work.checkpoint_bytes / _WRITTEN
        saves = epochs * work.steps if not work.checkpoint_seconds else learning / work.checkpoint_seconds
        return warm + check * (epochs + 1) + learning + written * math.floor(saves)

    return whole(work.epochs), whole(min(work.patience, work.epochs))


class _OptimiserTrial:
    """Times AdamW on weights of its own."""

    def __init__(self, device: str, clock: Clock) -> None:
        self.device, self.clock = device, clock

    def __call__(self, trained: int) -> float:
        """Seconds of one step over so many weights, the norm of their gradients included."""
        import torch

        size = max(min(trained, _SCRATCH), 1)
        weight = torch.zeros(size, device=self.device, requires_grad=True)
        optimiser = torch.optim.AdamW([weight], fused=self.device in {"cpu", "cuda"})
        weight.grad = torch.zeros_like(weight)

        def step(_: int) -> None:
            torch.nn.utils.clip_grad_norm_([weight], 1.0)
            optimiser.step()

        return _middle(_timings(step, 0, self.device, self.clock)) * trained / size


def activation_bytes(work: Work, batch: Any) -> int:
    """Bytes that a micro-batch [windows, length] keeps for its backward pass, by formula.

    ``tokens * width * (34 + 5 * heads * length / width)`` a layer in 16 bits (Korthikanti et al. 2022, "Reducing
    activation recomputation in large transformer models", equation 2), and twice that in 32.
    """
    windows, length = int(batch[0]), int(batch[1])
    per_layer = windows * length * (34 * work.width + 5 * work.heads * length)
    return 2 * work.layers * per_layer


def more_bytes(work: Work, activations: int, device: str) -> int:
    """Bytes that a training will take beyond the weights, which are there already.

    Two moments of each trained weight and, in the memory of the machine, a copy of the best ones stay; at the worst
    moment there are gradients and activations besides, or what a checkpoint copies, whichever is more.
    """
    one = 4 * work.trained
    if device != "cpu":
        return 2 * one + one + activations
    return 2 * one + one + max(one + activations, 3 * one)


class Memory:
    """The memory of a device: how much is there, how much is used, and how much more an action takes."""

    def __init__(self, device: str) -> None:
        self.device = device

    def available(self) -> int:
        """Bytes that could still be taken."""
        import psutil
        import torch

        if self.device == "cuda":
            free, _ = torch.cuda.mem_get_info()
            return int(free + torch.cuda.memory_reserved() - torch.cuda.memory_allocated())
        if self.device == "mps":
            return int(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
        return min([int(psutil.virtual_memory().available), *group_limits()])

    def used(self) -> int:
        """Bytes that this process has taken."""
        import psutil
        import torch

        if self.device == "cuda":
            return int(torch.cuda.memory_allocated())
        if self.device == "mps":
            return int(torch.mps.driver_allocated_memory())
        return int(psutil.Process().memory_info().rss)

    def growth(self, action: Callable[[], None]) -> int | None:
        """Bytes that an action takes at its worst moment; None where that cannot be seen."""
        import torch

        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            action()
            return int(torch.cuda.max_memory_allocated() - before)
        if self.device == "mps":
            return None
        from bedside.training.energy import PeakMemory

        with PeakMemory(every=0.002) as peak:
            action()
        return peak.grown


def group_limits(processes: Path = Path("/proc/self/cgroup"), mounted: Path = Path("/sys/fs/cgroup")) -> list[int]:
    """Bytes that each control group of this process has left: Linux kills what takes more, whatever the machine has.

    Both versions are read (https://docs.kernel.org/admin-guide/cgroup-v2.html, …/cgroup-v1/memory.html), and every
    group above, since the narrowest limit holds. What files the kernel keeps in memory only for speed counts as free.
    """
    try:
        lines = processes.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found: list[int] = []
    for line in lines:
        _, kinds, path = line.split(":", 2)
        if not kinds:
            found += _left(mounted, path, "memory.max", "memory.current", "inactive_file")
        elif "memory" in kinds.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            found += _left(mounted / "memory", path, *names)
    return found


def _left(root: Path, path: str, limit: str, usage: str, files: str) -> list[int]:
    """Bytes left in a group and in those above it; a container sees its own group as the root."""
    place = root / path.lstrip("/")
    found: list[int] = []
    for folder in [place, *place.parents]:
        try:
            most = (folder / limit).read_text(encoding="ascii").strip()
            taken = int((folder / usage).read_text(encoding="ascii"))
            stat = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines())
        except (OSError, ValueError):
            most = "max"
        if most.isdecimal() and int(most) < 1 << 60:  # version 1 tells a huge number for no limit
            found.append(max(int(most) - taken + int(stat.get(files, 0)), 0))
        if folder == root:
            break
    return found


@dataclass(frozen=True)
class WaysOut:
    """What the protocol has already done to save memory, for the advice on what could be done besides.

    Attributes:
        method: ``train.method``.
        batch_tokens: ``train.batch_tokens``.
        longest: padded tokens of the longest note, below which no micro-batch can be cut.
        gradient_checkpointing: ``train.gradient_checkpointing``.
        lora: weights that adapters would have.
    """

    method: str
    batch_tokens: int
    longest: int
    gradient_checkpointing: bool
    lora: int


def too_large(found: Estimate, work: Work, ways: WaysOut, available: int) -> str | None:
    """A warning where memory will not hold a training, with each way out and what it would save; None where it will.

    Args:
        found: what it takes.
        work: what is to be done.
        ways: what has been done already.
        available: bytes.
    """
    if found.more_bytes <= available:
        return None
    offers = [offer for offer in (_lora(work, ways), _smaller(found, ways), _checkpointing(found, work, ways)) if offer]
    # Weights, gradients, two moments and the best copy, of four bytes each.
    offers.append("a smaller base model (20 MB for each million weights fewer)")
    return (
        f"Memory will probably not hold this training: it takes about {size_text(found.more_bytes)} more, and "
        f"{size_text(available)} are free. Ways out, with what each would save: {'; '.join(offers)}."
    )


def _lora(work: Work, ways: WaysOut) -> str | None:
    """Adapters: gradients, moments and best copy of few weights."""
    if ways.method != "full" or ways.lora >= work.trained:
        return None
    return f'train.method = "lora" ({size_text(16 * (work.trained - ways.lora))})'


def _smaller(found: Estimate, ways: WaysOut) -> str | None:
    """Half the tokens in a batch; a step still holds as many notes."""
    least = max(ways.batch_tokens // 2, ways.longest, 64)
    if least >= ways.batch_tokens:
        return None
    saved = found.activation_bytes * (1 - least / ways.batch_tokens)
    return f"train.batch_tokens = {least} ({size_text(saved)})"


def _checkpointing(found: Estimate, work: Work, ways: WaysOut) -> str | None:
    """Only what enters each layer is kept, and one layer's activations at a time."""
    if ways.gradient_checkpointing or work.layers < 3:
        return None
    saved = found.activation_bytes * kept_away(work.layers)
    return f"train.gradient_checkpointing = true (up to {size_text(saved)}, at about half more time)"


def kept_away(layers: int) -> float:
    """The share of the activations that gradient checkpointing does not keep (Chen et al. 2016, a segment a layer).

    A layer keeps 2 of 34 parts, its input, and one layer at a time is there whole, with the gradients of what is in it
    (``benchmarks/estimate.py --checkpointing``: about this share for six plain layers, less where they are packed).
    """
    return max(1 - 2 / 34 - 2 / layers, 0.0)


def lora_weights(network: Any, rank: int) -> int:
    """Weights that adapters of this rank on every linear layer would have: two thin matrices each."""
    import torch

    layers = (part for part in network.modules() if isinstance(part, torch.nn.Linear))
    return sum(rank * (layer.in_features + layer.out_features) for layer in layers)


def require_disk(found: Estimate, folder: Path) -> None:
    """Refuse to begin what the disk will not hold.

    Raises:
        MachineError: less is free than checkpoints and model take.
    """
    require_space(folder, found.disk_bytes, "Training")
