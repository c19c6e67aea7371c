"""What is settled and told before the first step of a run: precision, compiling, and what the run will take.

Nothing is learned in a trial, and nothing random is drawn that a step does not draw anew from its own seed. A run that
goes on from a checkpoint keeps what was settled then, whatever this machine would choose now.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bedside.core.files import require_space
from bedside.models.notes import Notes, batches, short_first
from bedside.training.device import Precision, compile_gain, probe_precision, without_trial
from bedside.training.estimate import Ints, Memory, WaysOut, Work, chosen_batches, estimate, lora_weights, too_large

if TYPE_CHECKING:
    from bedside.training.loop import Loop

_LONG = 60.0  # seconds from which a training is told of before it begins
_PADDED_TO = 16  # as bedside.models.notes.collate does it
_ALONE = {"NO", "MULTI_CPU", "MULTI_GPU"}  # how processes may share the work, and each still try a batch by itself


class Trials:
    """The trials of a run, which leave its weights as they were.

    Args:
        loop: before its first step.
        warm_notes: notes that the warm start reads, at most.
    """

    def __init__(self, loop: Loop, warm_notes: int) -> None:
        self.loop, self.material, self.section = loop, loop.material, loop.section
        accelerator, plan = loop.accelerator, loop.plan
        self.processes = accelerator.num_processes
        steps = plan.steps(1)
        share = (accelerator.process_index, self.processes)
        parts = [part for step in steps for part in plan.micro_batches(step, loop.state.limit, *share)]
        self.batches = [part.notes for part in parts]
        self.learned = shapes(self.material.notes, self.batches, self.material.window)
        self.work = self._work(len(steps), warm_notes)

    def settle(self) -> dict[str, Any]:
        """Choose, estimate, and tell; every process goes by what the first one found.

        Returns:
            ``precision_trial``, and ``compile`` and ``estimate`` where they were tried, as in ``settings.json``.

        Raises:
            MachineError: the disk does not hold the run.
        """
        require_space(self.loop.folder, self.work.disk_bytes, "Training with checkpoints")
        precision = self._shared(self._precision())
        self.material.precision = precision.name
        found = {"precision_trial": precision.to_json()}
        if self.section.compile:
            found["compile"] = self._compile()
        told = self._shared(self._survived(self._estimate))
        return found if told is None else {**found, "estimate": told}

    def _shared(self, found: Any) -> Any:
        """What the first process found."""
        if self.processes == 1:
            return found
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([found])[0]

    def _precision(self) -> Precision:
        wish, device = self.section.precision, self.material.device
        if not self._tries:
            return without_trial(wish, device)
        middle = self.batches[chosen_batches(self.learned)[-2:][0]]
        found = self._survived(lambda: probe_precision(wish, device, lambda name: self._learn(middle, name)))
        return found or without_trial(wish, device)

    @property
    def _tries(self) -> bool:
        """Whether a process can run a batch without the others: not where each holds a part of every weight."""
        return self.loop.accelerator.distributed_type.name in _ALONE

    def _compile(self) -> dict[str, Any]:
        """Compile where that pays, and let the loop call what was compiled."""
        if self.processes > 1:
            return {"kept": False, "why": "not compiled: that is for a run in one process."}
        tried = list(dict.fromkeys(chosen_batches(self.learned)))

        def step(forward: Any) -> None:
            for number in tried:
                self._learn(self.batches[number], None, forward)

        steps = self.section.epochs * len(self.batches) // len(tried)
        found = compile_gain(self.material.network, step, steps=steps, device=self.material.device)
        self._drop()
        if found.kept:
            self.loop.forward = found.forward
        self.loop.progress.say(f"      {found.why}")
        return found.to_json()

    def _estimate(self) -> dict[str, Any] | None:
        if not self._tries:
            return None
        device, progress = self.material.device, self.loop.progress
        if self.section.warm_start:
            import sklearn.linear_model  # noqa: F401 - it will be loaded, and its memory is to be counted
        found = estimate(
            lambda number: self._learn(self.batches[number]),
            self.work,
            device=device,
            answer=lambda number: self.loop.ask(self.batches[number]),
        )
        if found.seconds > _LONG:
            progress.say(f"      it will take {found.in_words()}")
        warning = too_large(found, self.work, self._ways(), Memory(device).available())
        if warning:
            progress.warn(warning)
        return found.to_json()

    def _survived(self, trial: Any) -> Any:
        """What a trial finds; None where memory ran out in it, which the loop will meet with smaller batches."""
        from bedside.training.loop import short_of_memory

        try:
            return trial()
        except (RuntimeError, MemoryError) as error:
            if not short_of_memory(error):
                raise
            self._drop()
            return None

    def _learn(self, notes: list[int], precision: str | None = None, forward: Any = None) -> None:
        """Forward and backward, with nothing learned."""
        self.loop.trial(notes, precision, forward)
        self._drop()

    def _drop(self) -> None:
        for value in self.material.network.parameters():
            value.grad = None

    def _work(self, steps: int, warm_notes: int) -> Work:
        """What this process is to do."""
        loop, section, material = self.loop, self.section, self.material
        config = material.network.body.config.get_text_config()
        values = list(material.network.parameters())
        read = np.arange(min(len(material.notes), warm_notes)) if section.warm_start else np.zeros(0, np.int64)
        return Work(
            learned=self.learned,
            steps=steps,
            epochs=section.epochs,
            patience=section.patience,
            answered=self._passed(material.held_out, short_first(material.held_out)[:: self.processes]),
            read=self._passed(material.notes, read[np.argsort(material.notes.lengths()[read])].tolist()),
            parameters=sum(value.numel() for value in values),
            trained=sum(value.numel() for value in values if value.requires_grad),
            checkpoint_bytes=loop.size(),
            checkpoint_seconds=section.checkpoint_seconds,
            disk_bytes=(loop.checkpoints.keep + 1) * loop.size() + _saved_bytes(material.network, config),
            width=int(getattr(config, "hidden_size", 0) or 768),
            layers=int(getattr(config, "num_hidden_layers", 0) or 12),
            heads=int(getattr(config, "num_attention_heads", 0) or 12),
        )

    def _passed(self, notes: Notes, order: Sequence[int]) -> Ints:
        return shapes(notes, batches(notes, order, self.section.batch_tokens), self.material.window)

    def _ways(self) -> WaysOut:
        notes = self.material.notes
        return WaysOut(
            method=self.section.method,
            batch_tokens=self.loop.state.limit,
            longest=int((notes.counts() * notes.longest()).max()),
            gradient_checkpointing=self.section.gradient_checkpointing,
            lora=lora_weights(self.material.network, self.section.lora_rank),
        )


def shapes(notes: Notes, parts: Iterable[Sequence[int]], most: int) -> Ints:
    """[batches, 2] windows and padded length of each batch of notes; ``most`` tokens are in a window."""
    counts, longest = notes.counts(), notes.longest()
    found = [(int(counts[part].sum()), int(longest[part].max())) for part in map(list, parts)]
    given = np.asarray(found, dtype=np.int64).reshape(-1, 2)
    padded = -(-given[:, 1] // _PADDED_TO) * _PADDED_TO
    given[:, 1] = np.maximum(given[:, 1], np.minimum(padded, most))
    return given


def _saved_bytes(network: Any, config: Any) -> int:
    """Bytes of the saved model: all weights in fp32, and the rows of the token table that rest while training."""
    table = network.body.get_input_embeddings().weight
    resting = max(int(getattr(config, "vocab_size", 0)) - table.shape[0], 0) * table.shape[1]
    return int(4 * (sum(value.numel() for value in network.parameters()) + resting))
