"""The one training loop, over accelerate: for encoders and decoders, all weights or adapters, one process or several.

Whatever happens in it is a function of the cohort, the protocol and the seed: the order of the notes, the dropout of
each step, the rates. So a run that was killed goes on from its newest verified checkpoint to the very bytes that it
would have reached undisturbed, and a step that does not fit into memory is cut smaller without a change to what it
teaches. A loss that is not a number stops the run at once, and so does a model that has collapsed.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bedside.core.errors import MachineError, ModelError
from bedside.core.files import write_text
from bedside.core.progress import Progress
from bedside.core.seeds import derive
from bedside.models.encoder import probabilities
from bedside.models.notes import collate
from bedside.training import head
from bedside.training.checkpoints import Checkpoint, Checkpoints
from bedside.training.device import Precision, without_trial
from bedside.training.material import Material
from bedside.training.objective import Objective, Score
from bedside.training.optimiser import parameter_groups, rate_of, schedule
from bedside.training.steps import MicroBatch, Plan, Step, largest
from bedside.training.trials import Trials

if TYPE_CHECKING:
    from bedside.protocol import TrainSection

_CLIP = 1.0
_SOFT = 0.3  # what the warm head's logits are multiplied with: a head that is sure already teaches the encoder nothing
_WARM_NOTES = 20_000  # a warm start from more notes is no better, and their vectors take time
_NETWORK, _OPTIMISER, _BEST = "network", "optimiser", "best"  # the parts of a checkpoint
_MEMORY_WORDS = ("not enough memory", "can't allocate memory", "out of memory", "std::bad_alloc")


@dataclass
class Best:
    """The best epoch so far: its score, which labels it calls on the validation split, and its weights by name."""

    epoch: int
    score: Score
    called: frozenset[int]
    weights: dict[str, Any]


@dataclass
class State:
    """How far a run has come; all of it is in a checkpoint.

    Attributes:
        epoch: the present one, from 1; 0 before the first.
        position: steps of it that are done.
        taken: steps in all.
        seen, tokens: notes and their tokens that were learned from, each time that they were.
        waited: epochs since the best one.
        limit: padded tokens in a micro-batch, at most.
        seconds: that steps took.
        log: a line for each step and each epoch.
    """

    limit: int
    epoch: int = 0
    position: int = 0
    taken: int = 0
    seen: int = 0
    tokens: int = 0
    waited: int = 0
    seconds: float = 0.0
    log: list[dict[str, Any]] = field(default_factory=list)


class Loop:
    """One training, from the base model to the best epoch.

    Args:
        material: the network, the tokenised notes and what else is made of the base model and the cohort.
        objective: the loss and the score.
        section: how it learns.
        folder: of the run; checkpoints and the log go there.
        identity: a hash of everything that the run depends on; checkpoints of another are not gone on from.
        seed: of the order and of dropout.
        progress: told what happens.
    """

    def __init__(
        self,
        material: Material,
        objective: Objective,
        section: TrainSection,
        folder: Path,
        *,
        identity: str,
        seed: int,
        progress: Progress,
    ) -> None:
        import torch

        self.material, self.objective, self.section = material, objective, section
        self.folder, self.seed, self.progress = folder, seed, progress
        self.plan = Plan(material.notes, section.batch_tokens, section.step_notes, seed)
        self.steps = section.epochs * len(self.plan.steps(1))
        self.state = State(limit=section.batch_tokens)
        self.best: Best | None = None
        self.accelerator = _accelerator(material.device)
        _refuse_shards(self.accelerator)
        material.network.to(self.accelerator.device)
        self.rate = rate_of(section, sum(value.numel() for value in material.network.parameters()))
        _freeze_unreached(material.network, lambda: self.trial([0]))
        groups = parameter_groups(material.network, section, self.rate)
        optimiser = torch.optim.AdamW(groups, lr=self.rate, fused=material.device in {"cpu", "cuda"})
        self.schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, schedule(self.steps, section.warmup))
        self.network, self.optimiser = self.accelerator.prepare(material.network, optimiser)
        self.forward = self.network  # or what was compiled of it
        self.settled: dict[str, Any] = {}
        self.tell: Callable[[Mapping[str, Any]], None] = lambda _line: None
        self.checkpoints = Checkpoints(folder / "checkpoints", identity)
        self.saved = time.monotonic()
        self.best_is_saved = False

    @property
    def plain(self) -> Any:
        """The network itself, without what accelerate wraps around it."""
        return self.accelerator.unwrap_model(self.network)

    def settle(self) -> dict[str, Any]:
        """Go on from a checkpoint where there is one; else settle by trials what depends on the machine.

        Returns:
            What was settled, as it stands in ``settings.json``.

        Raises:
            MachineError: the disk does not hold the run.
        """
        if self.section.method == "probe":
            self.settled = {"precision_trial": without_trial(self.section.precision, self.material.device).to_json()}
            return self.settled
        self._resume()
        if not self.settled:
            self.settled = Trials(self, _WARM_NOTES).settle()
        return self.settled

    def run(self) -> Best:
        """Train until the last epoch, or until the score no longer improves; the network ends with the best weights.

        Raises:
            ModelError: the loss is not a number, or the model collapsed.
            MachineError: memory or disk does not hold it.
        """
        if not self.settled:
            self.settle()
        if self.state.epoch == 0:
            self._begin()
        with self.progress.task("Fine-tuning", total=self.steps, unit="steps") as task:
            task.advance(self.state.taken)
            while self.state.epoch <= self.section.epochs and self.state.waited < self.section.patience:
                self._epoch(task)
        best = self._found()
        self._put(best.weights)
        self.write_log()
        collapsed = self.objective.collapsed(best.called)
        if collapsed:
            raise ModelError(
                f"The model collapsed: it {collapsed}, so nothing was kept; lower train.learning_rate, or set "
                "train.class_weights to 'on'."
            )
        return best

    def probe(self) -> Best:
        """Fit the head alone, its regularisation chosen on the validation split."""
        material, labels = self.material, len(self.objective.labels)
        given = self._vectors(range(len(material.notes)), says="Reading the training notes")
        beside = self._vectors(range(len(material.held_out)), held_out=True, says="Reading the validation notes")
        last = self.plain.last
        tried: list[tuple[Score, head.Linear]] = []
        for strength in head.PROBE_STRENGTHS:
            found = head.fit(given, self.objective.targets, labels, strength=strength, with_bias=last.bias is not None)
            logits = beside @ found.weight.T + (found.bias if last.bias is not None else 0.0)
            tried.append((self.objective.score(_from_logits(logits, self.objective.several)), found))
            self._note({"epoch": 0, "strength": strength, **self._scores(tried[-1][0])})
        score, found = max(tried, key=lambda one: (one[0].value, -one[0].loss))
        found.put(last)
        self.state.seen, self.state.tokens = len(material.notes), int(material.notes.lengths().sum())
        self.write_log()
        return Best(0, score, frozenset(), self._weights())

    def _note(self, line: dict[str, Any]) -> None:
        """Add a line to the log, and tell it to the trackers."""
        self.state.log.append(line)
        self.tell(line)

    def write_log(self) -> None:
        """Write the lines so far to ``log.jsonl``."""
        if self.accelerator.is_main_process:
            lines = (json.dumps(line, allow_nan=False) + "\n" for line in self.state.log)
            write_text(self.folder / "log.jsonl", "".join(lines))

    def _begin(self) -> None:
        """What comes before the first step."""
        if self.section.warm_start:
            self._warm_start()
        self._assess()
        self.state.epoch = 1

    def _epoch(self, task: Any) -> None:
        """The rest of an epoch, and its score."""
        state = self.state
        self.network.train()
        for step in self.plan.steps(state.epoch)[state.position :]:
            began = time.monotonic()
            value, rate = self._step(step), self.schedule.get_last_lr()[0]
            state.seconds += time.monotonic() - began
            state.position += 1
            self._note({"epoch": state.epoch, "step": state.taken, "loss": value, "rate": rate})
            task.advance()
            task.note(f"loss {value:.3f}")
            self._save()
        self._assess()
        state.epoch, state.position = state.epoch + 1, 0
        self._save()

    def _step(self, step: Step) -> float:
        """Learn from one step; returns its loss."""
        self.state.taken += 1
        value = self._gradient(step)
        norm = self._clip()
        if not math.isfinite(value) or not math.isfinite(norm):
            self._stop(
                value if not math.isfinite(value) else norm, of="loss" if not math.isfinite(value) else "gradient"
            )
        self.optimiser.step()
        self.schedule.step()
        self.optimiser.zero_grad(set_to_none=True)
        notes = [note for batch in step for note in batch]
        self.state.seen += len(notes)
        self.state.tokens += int(self.material.notes.lengths()[notes].sum())
        return value

    def _clip(self) -> float:
        """Shorten the gradient to a norm of one where it is longer; returns the norm. Most steps need no change."""
        from torch.nn.utils import clip_grads_with_norm_, get_total_norm

        trained = [value for value in self.plain.parameters() if value.grad is not None]
        norm = get_total_norm([value.grad for value in trained])
        if not float(norm) <= _CLIP:
            clip_grads_with_norm_(trained, _CLIP, norm)
        return float(norm)

    def _stop(self, value: float, of: str) -> None:
        """Stop at a value that is no number, visibly, with nothing exported."""
        state = self.state
        state.log.append({"epoch": state.epoch, "step": state.taken, "loss": None, "fault": f"the {of} is {value}"})
        self.write_log()
        raise ModelError(
            f"The {of} is {value} at step {state.taken} of epoch {state.epoch}, so nothing was kept; "
            "lower train.learning_rate, or set train.precision to fp32."
        )

    def _gradient(self, step: Step) -> float:
        """The gradient of a step, in as small micro-batches as memory needs; returns the loss."""
        while True:
            parts = self.plan.micro_batches(
                step, self.state.limit, self.accelerator.process_index, self.accelerator.num_processes
            )
            try:
                return self._gradient_of(step, parts)
            except (RuntimeError, MemoryError) as error:
                if not short_of_memory(error):
                    raise
                self.optimiser.zero_grad(set_to_none=True)
                self._lower_limit(parts, error)

    def _lower_limit(self, parts: list[MicroBatch], error: Exception) -> None:
        """Halve the micro-batch after memory ran out."""
        if self.accelerator.num_processes > 1 or all(len(one.notes) == 1 for one in parts):
            raise MachineError(
                f"Memory does not hold one note at a time of this model (model.base = '{self.material.base}', windows "
                f"of {self.material.window} tokens); set train.method to 'lora', train.gradient_checkpointing to true, "
                "a smaller model.window or train.batch_tokens, or take a smaller base model."
            ) from error
        self.state.limit = max(largest(self.material.notes, parts) // 2, 1)
        self.progress.warn(
            f"Memory ran out; from here on a batch holds at most {self.state.limit:,} tokens. A step still "
            "holds as many notes as before, so the result is the same."
        )

    def _gradient_of(self, step: Step, parts: list[MicroBatch]) -> float:
        """Add the gradients of micro-batches up: that of the mean loss over all notes of the step."""
        import torch

        whole = self.objective.mass([note for batch in step for note in batch])
        kept = self._kept(sum(map(len, step)))
        processes = self.accelerator.num_processes
        self._seed_step()
        total = torch.zeros((), dtype=torch.float64)
        for number, part in enumerate(parts):
            with self._together(number == len(parts) - 1):
                with self._cast():
                    logits = self.forward(*self._collated(part.notes), None if kept is None else kept[part.places])
                loss = self.objective.losses(logits, part.notes) * (0.0 if part.idle else 1.0) / whole
                # Several processes take the mean of their gradients; what is wanted is the sum.
                self.accelerator.backward(loss * processes)
            total += loss.detach().double().cpu()
        if processes > 1:
            total = self.accelerator.reduce(total.to(self.accelerator.device), "sum")
        return float(total)

    def _together(self, last: bool) -> Any:
        """Processes exchange gradients once a step, in the last of its micro-batches."""
        alone = self.accelerator.num_processes == 1 or last
        return contextlib.nullcontext() if alone else self.accelerator.no_sync(self.network)

    def _seed_step(self) -> None:
        """Every step draws from its own seed, in every library, so that a resumed run draws the same."""
        from accelerate.utils import set_seed

        seed = derive(self.seed, "train", "step", str(self.state.taken), str(self.accelerator.process_index))
        set_seed(seed % 2**32)

    def _kept(self, notes: int) -> Any:
        """[notes of the step, hidden] what the vectors are multiplied with: dropout, drawn for the step as a whole."""
        import torch

        rate = self.section.head_dropout
        if not rate:
            return None
        random = torch.Generator().manual_seed(derive(self.seed, "train", "dropout", str(self.state.taken)))
        drawn = torch.rand(notes, self.plain.last.in_features, generator=random) >= rate
        return (drawn / (1 - rate)).to(self.accelerator.device)

    @contextlib.contextmanager
    def _cast(self, precision: str | None = None) -> Iterator[None]:
        """Compute in the chosen precision."""
        import torch

        bf16 = (precision or self.material.precision) == "bf16"
        with torch.autocast(self.accelerator.device.type, dtype=torch.bfloat16, enabled=bf16):
            yield

    def _collated(self, batch: list[int]) -> tuple[Any, Any, Any, int]:
        material = self.material
        return collate(material.notes, batch, material.padding, self.accelerator.device, material.window)

    def trial(self, batch: list[int], precision: str | None = None, forward: Any = None) -> None:
        """A forward and backward pass that teaches nothing: to see which weights it reaches, and how long it takes."""
        with self._cast(precision):
            logits = (forward or self.material.network)(*self._collated(batch))
        logits.float().sum().backward()

    def ask(self, batch: list[int]) -> None:
        """A forward pass alone, as in validation."""
        import torch

        self.material.network.eval()
        with torch.inference_mode(), self._cast():
            self.material.network(*self._collated(batch))
        self.material.network.train()

    def _assess(self) -> None:
        """Score the present weights on the validation split, and keep them where they are the best so far."""
        state, material = self.state, self.material
        mine = self._mine(len(material.held_out))
        with self._cast():
            found = probabilities(
                self.plain,
                material.held_out,
                material.padding,
                material.window,
                several=self.objective.several,
                chosen=mine,
            )
        found = self._joined(found)
        score = self.objective.score(found)
        self._note({"epoch": state.epoch, **self._scores(score)})
        self.network.train()
        if self.best is not None and not score.better_than(self.best.score):
            state.waited += 1
            return
        self.best = Best(state.epoch, score, self.objective.called(found), self._weights())
        self.best_is_saved, state.waited = False, 0

    def _scores(self, score: Score) -> dict[str, float]:
        return {f"validation_{self.objective.measure}": score.value, "validation_loss": score.loss}

    def _mine(self, notes: int) -> list[int] | None:
        """The validation notes that this process answers; None for all."""
        processes = self.accelerator.num_processes
        return None if processes == 1 else list(range(self.accelerator.process_index, notes, processes))

    def _joined(self, found: NDArray[np.float64]) -> NDArray[np.float64]:
        """The answers of all processes, each of which knows some rows."""
        if self.accelerator.num_processes == 1:
            return found
        from accelerate.utils import gather_object

        parts = gather_object([found])
        return np.asarray(np.nansum(np.stack(parts), axis=0))

    def _warm_start(self) -> None:
        """Start the head from a logistic regression on the untouched model's vectors."""
        notes = len(self.material.notes)
        random = np.random.default_rng(derive(self.seed, "train", "warm start"))
        chosen = sorted(random.permutation(notes)[:_WARM_NOTES].tolist())
        given, last = self._vectors(chosen), self.plain.last
        found = head.fit(
            given,
            self.objective.targets[chosen],
            len(self.objective.labels),
            strength=head.WARM_STRENGTH,
            with_bias=last.bias is not None,
        )
        found.put(last, scale=_SOFT)

    def _vectors(self, chosen: Any, *, held_out: bool = False, says: str = "Warm start") -> NDArray[np.float64]:
        material = self.material
        return head.vectors(
            self.plain,
            material.held_out if held_out else material.notes,
            chosen,
            self._cast,
            padding=material.padding,
            most=material.window,
            tokens=self.section.batch_tokens,
            progress=self.progress,
            says=says,
        )

    def _trained(self) -> dict[str, Any]:
        """What is trained, by name."""
        return {name: value for name, value in self.plain.named_parameters() if value.requires_grad}

    def _weights(self) -> dict[str, Any]:
        return {name: value.detach().cpu().clone() for name, value in self._trained().items()}

    def _put(self, weights: dict[str, Any]) -> None:
        """Set the trained weights."""
        import torch

        with torch.no_grad():
            for name, value in self._trained().items():
                value.copy_(weights[name])

    def size(self) -> int:
        """Bytes of a checkpoint: weights, two moments, and the best weights."""
        return 4 * sum(int(value.numel() * value.element_size()) for value in self._trained().values())

    def _found(self) -> Best:
        if self.best is None:
            raise RuntimeError("a run has a best epoch after its first score")
        return self.best

    def _save(self) -> None:
        """Write a checkpoint where the last one is old enough."""
        if not self._is_due():
            return
        best = self._found()
        if self.accelerator.is_main_process:
            parts = {_NETWORK: self._weights(), _OPTIMISER: self._moments(), _BEST: best.weights}
            told = {
                "state": {**vars(self.state), "log": self.state.log},
                "best": {"epoch": best.epoch, **vars(best.score), "called": sorted(best.called)},
                "settled": self.settled,
            }
            unchanged = (_BEST,) if self.best_is_saved else ()
            self.checkpoints.save(self.state.taken, parts, told, unchanged=unchanged)
            self.write_log()
        self.accelerator.wait_for_everyone()
        self.best_is_saved, self.saved = True, time.monotonic()

    def _is_due(self) -> bool:
        """Whether it is time for a checkpoint: by the clock of the first process, or some would wait for the others."""
        due = time.monotonic() - self.saved >= self.section.checkpoint_seconds
        if self.accelerator.num_processes == 1:
            return due
        import torch

        vote = torch.tensor(float(due and self.accelerator.is_main_process), device=self.accelerator.device)
        return bool(self.accelerator.reduce(vote, "sum") > 0)

    def _moments(self) -> dict[str, Any]:
        """What AdamW remembers of each weight."""
        states = self.optimiser.optimizer.state
        return {
            f"{name}/{key}": kept.detach().cpu()
            for name, value in self._trained().items()
            for key, kept in states.get(value, {}).items()
        }

    def _resume(self) -> None:
        """Go on from the newest checkpoint that verifies, where there is one."""
        found = self.checkpoints.newest()
        for sentence in self.checkpoints.skipped:
            self.progress.warn(sentence)
        if found is None:
            return
        self._put(found.part(_NETWORK))
        self._put_moments(found)
        self.state = State(**found.state["state"])
        self._keep_settled(found.state["settled"])
        best = found.state["best"]
        score = Score(best["value"], best["loss"])
        self.best = Best(best["epoch"], score, frozenset(best["called"]), found.part(_BEST))
        for group, start, share in zip(
            self.optimiser.param_groups, self.schedule.base_lrs, self.schedule.lr_lambdas, strict=True
        ):
            group["lr"] = start * share(self.state.taken)
        self.schedule.last_epoch = self.state.taken
        self.schedule._last_lr = [group["lr"] for group in self.optimiser.param_groups]
        self.best_is_saved = False
        self.progress.say(
            f"      going on from step {self.state.taken:,} of {self.steps:,}, where a run was interrupted"
        )

    def _keep_settled(self, settled: dict[str, Any]) -> None:
        """Go on as was settled, whatever a trial would show now."""
        import torch

        self.settled = settled
        self.material.precision = Precision.from_json(settled["precision_trial"]).name
        if settled.get("compile", {}).get("kept"):
            self.forward = torch.compile(self.network, dynamic=True)

    def _put_moments(self, found: Checkpoint) -> None:
        names = self._trained()
        states = self.optimiser.optimizer.state
        for name, kept in found.part(_OPTIMISER).items():
            weight, key = name.rsplit("/", 1)
            value = names[weight]
            device = value.device if kept.ndim or self.material.device == "cuda" else "cpu"
            states.setdefault(value, {})[key] = kept.to(device)


def _accelerator(device: str) -> Any:
    """What places the network on a device and speaks to the other processes; precision is left to this loop.

    Its state is shared by all of a process: where another library has trained before, or ``accelerate launch`` was told
    a precision, it would lay its own autocast over the fp32 that was asked for.
    """
    from accelerate import Accelerator
    from accelerate.state import is_initialized

    accelerator = Accelerator(cpu=device == "cpu", mixed_precision=None if is_initialized() else "no")
    accelerator.native_amp, accelerator.scaler = False, None
    return accelerator


def _refuse_shards(accelerator: Any) -> None:
    """Stop where processes hold parts of the weights: resuming exactly was not shown there, and is not promised.

    Raises:
        ModelError: FSDP, DeepSpeed or another way to share weights was asked of accelerate.
    """
    kind = str(accelerator.distributed_type.value)
    if kind not in {"NO", "MULTI_CPU", "MULTI_GPU"}:
        raise ModelError(
            f"accelerate was told to train with {kind}, and bedside trains in several processes that each hold the "
            "whole model (DDP); choose that in accelerate config, or start it with torchrun."
        )


def short_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out, of a card or of the machine."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in _MEMORY_WORDS)


def _freeze_unreached(network: Any, trial: Any) -> None:
    """Leave alone what the loss does not depend on, such as a pooler beside mean pooling: it gets no gradient."""
    network.train()
    trial()
    for value in network.parameters():
        if value.requires_grad and value.grad is None:
            value.requires_grad_(False)
        value.grad = None


def _from_logits(logits: NDArray[np.float64], several: bool) -> NDArray[np.float64]:
    """[notes, labels] probabilities."""
    if several:
        return np.asarray(1 / (1 + np.exp(-logits)))
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))
