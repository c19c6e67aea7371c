"""The one training loop, over accelerate.

Tokenised once; batches by tokens with one padded length each; fused AdamW; a head that starts from a logistic
regression on the untouched encoder's vectors (linear probing, then fine-tuning: Kumar et al. 2022); the weights of
the best epoch on validation macro-F1 are kept. A loss that is not a number stops the run, and so does a model that
has collapsed to one label.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bedside.core.errors import ModelError
from bedside.core.files import atomic_folder, require_space, write_json
from bedside.core.progress import SILENT, Progress
from bedside.core.seeds import derive
from bedside.models.encoder import (
    Windowing,
    batches,
    build_network,
    collate,
    probabilities,
    quiet_libraries,
)
from bedside.protocol import ModelSection, TrainSection
from bedside.training.device import choose_device, choose_precision
from bedside.training.vocabulary import Vocabulary

if TYPE_CHECKING:
    from bedside.data import Cohort
    from bedside.models import EncoderDiagnoser

_CLIP = 1.0
_SOFT = 0.3  # what the warm head's logits are multiplied with: a head that is sure already teaches the encoder nothing
_UNBALANCED = 3.0
_BUCKET = 32  # batches that are sorted by length together, so that little is padded and order stays random


def train(
    cohort: Cohort,
    model: ModelSection,
    section: TrainSection,
    folder: Path,
    *,
    seed: int,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Train a model on the training split and keep the best by the validation split.

    Writes ``model`` (a saved diagnoser), ``log.jsonl``, ``settings.json`` and ``summary.json`` to ``folder``.

    Returns:
        The summary: epochs, the best one, validation figures, speed.

    Raises:
        ModelError: the base model is not at hand, the loss is not a number, or the model collapsed to one label.
        MachineError: there is no space for the weights.
    """
    from bedside.models import weights

    place = weights.locate(model.base)
    start = time.monotonic()
    if place is None:
        summary = _train_tfidf(cohort, folder, progress)
    else:
        size = sum(file.stat().st_size for file in place.glob("*.safetensors"))
        require_space(folder, 3 * size, "Training")
        summary = _Run(cohort, model, section, place, seed, progress).run(folder)
    summary = {"base": model.base, **summary, "seconds": round(time.monotonic() - start, 1)}
    write_json(folder / "summary.json", summary)
    return summary


def _train_tfidf(cohort: Cohort, folder: Path, progress: Progress) -> dict[str, Any]:
    """TF-IDF as a model in its own right, for sites where it is enough."""
    from bedside.models import TfidfLogistic

    validation = (cohort.texts("validation"), cohort.targets("validation"))
    texts, targets = cohort.texts("train"), cohort.targets("train")
    groups = cohort.part("train")["group"].to_list()
    found = TfidfLogistic.fit(texts, targets, validation, cohort.labels, progress, groups=groups)
    with atomic_folder(folder / "model") as place:
        found.save(place)
    score = _macro_f1(validation[1], found.predict_proba(validation[0]))
    return {"kind": "tfidf", "validation_macro_f1": score, "c": found.strength}


def _macro_f1(targets: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    from bedside.metrics import counts, macro_f1

    found = counts(np.ones((1, len(targets))), targets, probabilities.argmax(axis=1), probabilities.shape[1])
    return float(macro_f1(found)[0])


@dataclass
class _Best:
    """The best weights so far."""

    epoch: int
    score: float
    loss: float
    called: frozenset[int]  # the labels that it calls on the validation split
    state: dict[str, Any]


class _Run:
    """One training, from the base model to the best epoch."""

    def __init__(
        self, cohort: Cohort, model: ModelSection, section: TrainSection, place: Path, seed: int, progress: Progress
    ) -> None:
        quiet_libraries()
        import torch
        from transformers import AutoModel, AutoTokenizer

        self.cohort, self.section, self.seed, self.progress = cohort, section, seed, progress
        if section.threads:
            torch.set_num_threads(section.threads)
        torch.manual_seed(derive(seed, "train", "torch"))
        self.device = choose_device(section.device)
        self.precision = choose_precision(section.precision, self.device)
        tokenizer = AutoTokenizer.from_pretrained(place, local_files_only=True)
        encoder = AutoModel.from_pretrained(
            place, local_files_only=True, dtype=torch.float32, attn_implementation=_attention(self.device)
        )
        _without_dropout(encoder)
        limit = int(getattr(encoder.config, "max_position_embeddings", model.window))
        self.window = min(model.window, limit, tokenizer.model_max_length)
        self.pooling = "mean" if model.pooling == "auto" else model.pooling
        self.windowing = Windowing(tokenizer, self.window, model.overlap)
        self.padding = tokenizer.pad_token_id or 0
        self.base = model.base
        self.targets = cohort.targets("train")
        notes, held_out = (self.windowing.cut(cohort.texts(split)) for split in ("train", "validation"))
        self.vocabulary = Vocabulary((notes, held_out), self.padding, encoder.get_input_embeddings().num_embeddings)
        self.notes, self.held_out = self.vocabulary.numbered(notes), self.vocabulary.numbered(held_out)
        self.vocabulary.shrink(encoder)
        network = build_network(encoder, len(cohort.labels), self.pooling)
        self.log: list[dict[str, Any]] = []
        self.taken = 0  # steps
        self._prepare(network)

    def _prepare(self, network: Any) -> None:
        """Optimiser and schedule, in the hands of accelerate."""
        import torch
        from accelerate import Accelerator

        mixed = "bf16" if self.precision == "bf16" else "no"
        self.accelerator = Accelerator(cpu=self.device == "cpu", mixed_precision=mixed)
        plain: list[Any] = []
        rest: list[Any] = []
        for name, value in network.named_parameters():
            (plain if value.ndim < 2 and not name.startswith("head") else rest).append(value)
        groups = [
            {"params": rest, "weight_decay": self.section.weight_decay},
            {"params": plain, "weight_decay": 0.0},  # biases and norms are not pulled to zero
        ]
        optimiser = torch.optim.AdamW(groups, lr=self.section.learning_rate, fused=self.device in {"cpu", "cuda"})
        steps = self.section.epochs * len(self._steps(1))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, _schedule(steps, self.section.warmup))
        self.steps = steps
        self.network, self.optimiser = self.accelerator.prepare(network, optimiser)
        self.schedule = schedule
        self.weights = self._class_weights()

    def _class_weights(self) -> Any:
        """[labels] weights of the loss, or None."""
        import torch

        counts = np.bincount(self.targets, minlength=len(self.cohort.labels)).astype(np.float64)
        unbalanced = counts.max() > _UNBALANCED * max(counts.min(), 1)
        if self.section.class_weights == "off" or (self.section.class_weights == "auto" and not unbalanced):
            return None
        weights = np.sqrt(counts.sum() / (len(counts) * np.maximum(counts, 1)))
        return torch.tensor(weights / weights.mean(), dtype=torch.float32, device=self.accelerator.device)

    def run(self, folder: Path) -> dict[str, Any]:
        """Train, and write everything but the summary."""
        settings = {
            "device": self.device,
            "precision": self.precision,
            "window": self.window,
            "pooling": self.pooling,
            "class_weights": self.weights is not None,
            "parameters": sum(value.numel() for value in self.network.parameters()),
            "seed": self.seed,
        }
        write_json(folder / "settings.json", settings)
        self.progress.say(f"      on {self.device} in {self.precision}, {len(self.notes):,} notes")
        if self.section.warm_start:
            self._warm_start()
        best = self._assess(0, None)
        began, seen, waited = time.monotonic(), 0, 0
        epochs = 0
        with self.progress.task("Fine-tuning", total=self.steps, unit="steps") as task:
            for epoch in range(1, self.section.epochs + 1):
                seen += self._epoch(epoch, task, folder)
                epochs, before = epoch, best
                best = self._assess(epoch, best)
                waited = 0 if best is not before else waited + 1
                if waited >= self.section.patience:
                    break
        speed = seen / max(time.monotonic() - began, 1e-9)
        self.network.load_state_dict(best.state)
        self._refuse_collapse(best)
        diagnoser = self._diagnoser()
        with atomic_folder(folder / "model") as place:
            diagnoser.save(place)
        self._write_log(folder)
        return {
            "kind": "encoder",
            "epochs": epochs,
            "best_epoch": best.epoch,
            "validation_macro_f1": best.score,
            "validation_loss": best.loss,
            "notes_per_second": round(speed, 1),
            "windows": sum(map(len, self.notes)),
            "notes_of_several_windows": sum(len(note) > 1 for note in self.notes),
            **settings,
        }

    def _diagnoser(self) -> EncoderDiagnoser:
        """What was trained, with its whole vocabulary; the last act of a run."""
        from bedside.models import EncoderDiagnoser

        network = self.accelerator.unwrap_model(self.network, keep_fp32_wrapper=False)
        self.vocabulary.restore(network.encoder)
        return EncoderDiagnoser(network, self.windowing, self.cohort.labels, self.pooling, self.base)

    def _steps(self, epoch: int) -> list[list[list[int]]]:
        """The steps of an epoch, each of one batch or several, in an order that seed and epoch alone decide."""
        random = np.random.default_rng(derive(self.seed, "train", "order", str(epoch)))
        order = random.permutation(len(self.notes)).tolist()
        lengths = [sum(map(len, note)) for note in self.notes]
        mean = max(sum(lengths) / max(len(lengths), 1), 1)
        size = max(int(_BUCKET * self.section.batch_tokens / mean), 1)
        found: list[list[int]] = []
        for start in range(0, len(order), size):
            bucket = sorted(order[start : start + size], key=lengths.__getitem__)
            found += batches(self.notes, bucket, self.section.batch_tokens)
        steps: list[list[list[int]]] = []
        for place in random.permutation(len(found)).tolist():
            if steps and sum(map(len, steps[-1])) < self.section.step_notes:
                steps[-1].append(found[place])
            else:
                steps.append([found[place]])
        return steps

    def _collated(self, batch: list[int]) -> tuple[Any, Any, Any, int]:
        return collate(self.notes, batch, self.padding, self.accelerator.device, self.window)

    def _epoch(self, epoch: int, task: Any, folder: Path) -> int:
        """One pass over the training cases; returns how many were seen."""
        import torch

        self.network.train()
        torch.manual_seed(derive(self.seed, "train", "dropout", str(epoch)))
        seen = 0
        for step in self._steps(epoch):
            value = self._gradient(step)
            self.taken += 1
            self.log.append({"epoch": epoch, "step": self.taken, "loss": value if math.isfinite(value) else None})
            if not math.isfinite(value):
                self._write_log(folder)
                raise ModelError(
                    f"The loss is {value} at step {self.taken} of epoch {epoch}, so nothing was kept; "
                    "lower train.learning_rate, or set train.precision to fp32."
                )
            self.accelerator.clip_grad_norm_(self.network.parameters(), _CLIP)
            self.optimiser.step()
            self.schedule.step()
            self.optimiser.zero_grad(set_to_none=True)
            seen += sum(map(len, step))
            task.advance()
            task.note(f"loss {value:.3f}")
        return seen

    def _gradient(self, step: list[list[int]]) -> float:
        """The gradient of a step: the mean over all its notes, however many batches they came in; returns the loss."""
        import torch

        targets = [torch.tensor(self.targets[batch], device=self.accelerator.device) for batch in step]
        whole = sum(float(len(one) if self.weights is None else self.weights[one].sum()) for one in targets)
        total = 0.0
        for batch, wanted in zip(step, targets, strict=True):
            with self.accelerator.autocast():
                logits = self.network(*self._collated(batch))
            loss = torch.nn.functional.cross_entropy(logits.float(), wanted, weight=self.weights, reduction="sum")
            self.accelerator.backward(loss / whole)
            total += float(loss.detach()) / whole
        return total

    def _assess(self, epoch: int, best: _Best | None) -> _Best:
        """The better of the best so far and the present weights, by validation macro-F1, then by the loss."""
        import torch

        targets = self.cohort.targets("validation")
        with self.accelerator.autocast():
            network = self.accelerator.unwrap_model(self.network)
            found = probabilities(network, self.held_out, self.padding, self.window)
        score = _macro_f1(targets, found)
        loss = float(-np.log(np.maximum(found[np.arange(len(targets)), targets], 1e-12)).mean())
        self.log.append({"epoch": epoch, "validation_macro_f1": score, "validation_loss": loss})
        if best is not None and (score, -loss) <= (best.score, -best.loss):
            return best
        with torch.no_grad():
            state = {name: value.detach().cpu().clone() for name, value in self.network.state_dict().items()}
        called = frozenset(found.argmax(axis=1).tolist())
        return _Best(epoch, score, loss, called, state)

    def _warm_start(self) -> None:
        """Start the head from a logistic regression on the untouched encoder's vectors."""
        import torch
        from sklearn.linear_model import LogisticRegression

        from bedside.models.baseline import every_label

        vectors = self._vectors()
        mean, spread = vectors.mean(axis=0), vectors.std(axis=0) + 1e-6
        model = LogisticRegression(C=0.1, max_iter=500).fit((vectors - mean) / spread, self.targets)
        weights, bias = every_label(model, len(self.cohort.labels))
        weights = weights / spread
        bias = bias - weights @ mean
        head = self.accelerator.unwrap_model(self.network).head
        with torch.no_grad():
            head.weight.copy_(torch.tensor(_SOFT * weights))
            head.bias.copy_(torch.tensor(_SOFT * bias))

    def _vectors(self) -> NDArray[np.float64]:
        """[notes, hidden] the untouched encoder's vectors of the training notes."""
        import torch

        network = self.accelerator.unwrap_model(self.network)
        network.eval()
        found = np.empty((len(self.notes), network.head.in_features))
        order = sorted(range(len(self.notes)), key=lambda number: sum(map(len, self.notes[number])))
        with self.progress.task("Warm start", total=len(order), unit="notes") as task, torch.inference_mode():
            for batch in batches(self.notes, order, self.section.batch_tokens):
                with self.accelerator.autocast():
                    vectors = network.vectors(*self._collated(batch))
                found[batch] = vectors.float().cpu().numpy()
                task.advance(len(batch))
        return found

    def _refuse_collapse(self, best: _Best) -> None:
        if len(best.called) == 1 and len(set(self.cohort.targets("validation").tolist())) > 1:
            raise ModelError(
                f"The model collapsed: it calls every validation case '{self.cohort.labels[min(best.called)]}', so "
                "nothing was kept; lower train.learning_rate, or set train.class_weights to 'on'."
            )

    def _write_log(self, folder: Path) -> None:
        from bedside.core.files import write_text

        write_text(folder / "log.jsonl", "".join(json.dumps(line, allow_nan=False) + "\n" for line in self.log))


def _attention(device: str) -> str:
    """Which attention to train with. On CPUs the fused one's backward pass is the slowest part of a step."""
    return "eager" if device == "cpu" else "sdpa"


def _without_dropout(encoder: Any) -> None:
    """Switch dropout inside the encoder off: on CPUs its masks double a step's time. The head keeps its own."""
    import torch

    for part in encoder.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
        for name in ("attention_dropout", "dropout_prob"):
            if isinstance(getattr(part, name, None), float):
                setattr(part, name, 0.0)


def _schedule(steps: int, warmup: float) -> Any:
    """Linear up in the first share of the steps, linear down to zero in the rest."""
    rise = max(int(steps * warmup), 1)

    def rate(step: int) -> float:
        return (step + 1) / rise if step < rise else max((steps - step) / max(steps - rise, 1), 0.0)

    return rate
