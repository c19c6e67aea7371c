"""What the rows of training.py do, each in a process of its own: it trains, and stamps the time of every step.

    python benchmarks/training_rows.py '{"row": "trainer", "texts": "texts.json", …}'

Only the standard library is imported at the top: SetFit runs under a Python of its own, where bedside is not installed.
A stamp is a line of JSON behind ``@`` on standard output. ``run`` opens a training, ``step`` gives the notes learned
from so far, ``end`` closes it, and ``score`` gives the macro-F1, which is taken after the clock has stopped. Trainings
follow each other with new seeds until as many are done as were asked for, or the process is ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

LIMIT = 512  # tokens that MiniLM reads at once; the Trainer's rows cut there
_SENTENCE_LIMIT = 256  # what the sentence model was trained with, so what SetFit is given


def stamp(kind: str, **more: Any) -> None:
    print("@" + json.dumps({"kind": kind, "t": time.monotonic(), **more}), flush=True)


def macro_f1(wanted: list[int], called: list[int]) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(wanted, called, average="macro", zero_division=0))


class Table:
    """The texts and targets of a prepared cohort, by split."""

    def __init__(self, path: str) -> None:
        whole = json.loads(Path(path).read_text(encoding="utf-8"))
        self.labels: list[str] = whole["labels"]
        self.texts: dict[str, list[str]] = whole["texts"]
        self.targets: dict[str, list[int]] = whole["targets"]


# The Hugging Face Trainer ---------------------------------------------------------------------------------------------


def trainer(order: dict[str, Any], seed: int, *, reference: bool = False) -> None:
    """The reference recipe, or the Trainer with everything that it has for speed."""
    import torch
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    table, wish = Table(order["texts"]), order["settings"]
    tokenizer = AutoTokenizer.from_pretrained(order["base"])
    padding: Any = "max_length" if reference else False
    cut = wish.get("cut", LIMIT)

    def rows(split: str) -> list[dict[str, Any]]:
        found = tokenizer(table.texts[split], truncation=True, max_length=cut, padding=padding)["input_ids"]
        mark = tokenizer.pad_token_id
        masks = [[int(token != mark) for token in ids] for ids in found]
        pairs = zip(found, masks, table.targets[split], strict=True)
        return [{"input_ids": ids, "attention_mask": mask, "labels": label} for ids, mask, label in pairs]

    train, validation = rows("train"), rows("validation")
    more = {} if wish.get("dropout", True) else {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(
        order["base"], num_labels=len(table.labels), attn_implementation=wish.get("attention", "sdpa"), **more
    )
    chosen: dict[str, Any] = {"per_device_train_batch_size": 16, "learning_rate": 2e-5, "num_train_epochs": 3}
    if not reference:
        chosen = {
            "per_device_train_batch_size": wish["batch"], "learning_rate": wish["rate"],
            "num_train_epochs": wish["epochs"], "warmup_steps": 0.1, "bf16": True, "optim": "adamw_torch_fused",
            "train_sampling_strategy": "group_by_length",
        }  # fmt: skip

    class Stamping(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
            stamp("step", notes=state.epoch * len(train))

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder, use_cpu=True, weight_decay=0.01, seed=seed, eval_strategy="epoch", save_strategy="no",
            per_device_eval_batch_size=32, logging_strategy="no", report_to="none", disable_tqdm=True,
            dataloader_pin_memory=False, **chosen,
        )  # fmt: skip
        loop = Trainer(
            model=model,
            args=arguments,
            train_dataset=train,
            eval_dataset=validation,
            processing_class=tokenizer,
            data_collator=DataCollatorWithPadding(tokenizer),
            callbacks=[Stamping()],
        )
        loop.train()
        stamp("end")
        scores = {}
        for split in ("validation", "test"):
            found = loop.predict(rows(split))  # in an order of its own, that of lengths
            scores[split] = macro_f1(found.label_ids.tolist(), found.predictions.argmax(axis=1).tolist())
    stamp("score", **scores)


def reference(order: dict[str, Any], seed: int) -> None:
    trainer(order, seed, reference=True)


# SetFit ---------------------------------------------------------------------------------------------------------------


def setfit(order: dict[str, Any], seed: int) -> None:
    """SetFit: pairs of notes, then a logistic regression. What counts as a note here is a text read by the encoder."""
    import torch
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer
    from setfit import SetFitModel, Trainer, TrainingArguments
    from transformers import TrainerCallback

    _without_push_to_hub()
    table, wish = Table(order["texts"]), order["settings"]
    torch.manual_seed(seed)
    body = SentenceTransformer(order["base"], device="cpu")
    body.max_seq_length = _SENTENCE_LIMIT
    from sklearn.linear_model import LogisticRegression

    model = SetFitModel(model_body=body, model_head=LogisticRegression(max_iter=500), labels=table.labels)
    batch = wish["batch"]

    class Stamping(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
            stamp("step", notes=2 * batch * state.global_step)

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder, batch_size=(batch, batch), num_epochs=(1, 1), num_iterations=wish["iterations"],
            body_learning_rate=(wish["rate"], 1e-5), seed=seed, report_to="none", save_strategy="no",
            show_progress_bar=False, max_length=_SENTENCE_LIMIT, logging_strategy="no",
        )  # fmt: skip
        arguments.logging_dir = folder
        given = Dataset.from_dict({"text": table.texts["train"], "label": table.targets["train"]})
        loop = Trainer(model=model, args=arguments, train_dataset=given, callbacks=[Stamping()])
        quick = torch.autocast("cpu", torch.bfloat16) if wish["bf16"] else contextlib.nullcontext()
        with quick:
            loop.train_embeddings(table.texts["train"], table.targets["train"], args=arguments)
        loop.train_classifier(table.texts["train"], table.targets["train"], args=arguments)
        stamp("end")
        scores = {}
        for split in ("validation", "test"):
            with torch.inference_mode():
                called = [int(one) for one in model.model_head.predict(body.encode(table.texts[split]))]
            scores[split] = macro_f1(table.targets[split], called)
    stamp("score", **scores)


def _without_push_to_hub() -> None:
    """Nothing here may ask the Hub anything."""
    os.environ["HF_HUB_OFFLINE"] = "1"


# bedside --------------------------------------------------------------------------------------------------------------


def stamping_progress(notes: int, epochs: int) -> Any:
    """A progress that stamps each step of the training; of ``notes`` cases in ``epochs`` epochs."""
    from bedside.core.progress import Progress, Task

    class Steps(Task):
        def __init__(self, total: float) -> None:
            self.total, self.done = total, 0.0

        def advance(self, steps: float = 1) -> None:
            self.done += steps
            stamp("step", notes=self.done / self.total * notes * epochs)

    class Stamping(Progress):
        @contextlib.contextmanager
        def task(self, label: str, total: float | None = None, unit: str = "") -> Iterator[Task]:
            stamp("phase", name=label)
            yield Steps(total) if unit == "steps" and total else Task()

        def warn(self, sentence: str) -> None:
            print(sentence, file=sys.stderr)

    return Stamping()


def bedside(order: dict[str, Any], seed: int) -> None:
    """The one loop of bedside, through its public entry."""
    from bedside.data import Cohort
    from bedside.models import load_diagnoser
    from bedside.protocol import ModelSection, TrainSection
    from bedside.training import train

    cohort = Cohort.load(Path(order["cohort"]))
    section = TrainSection(threads=order["threads"], **order["settings"])
    with tempfile.TemporaryDirectory() as folder:
        said = stamping_progress(len(cohort.texts("train")), section.epochs)
        summary = train(cohort, ModelSection(base=order["base"]), section, Path(folder), seed=seed, progress=said)
        stamp("end", summary={name: value for name, value in summary.items() if isinstance(value, int | float | str)})
        model = load_diagnoser(Path(folder) / "model")
        scores = {}
        for split in ("validation", "test"):
            called = model.predict_proba(cohort.texts(split)).argmax(axis=1).tolist()
            scores[split] = macro_f1(cohort.targets(split).tolist(), called)
    stamp("score", **scores)


# The machine ----------------------------------------------------------------------------------------------------------


def products(order: dict[str, Any], seed: int) -> None:
    """Matrix products in bf16, of the size that this machine is best at; what counts as a note here is a GFLOP."""
    import torch

    torch.manual_seed(seed)
    rates = {}
    for size in order["settings"]["sizes"]:
        one, other = (torch.randn(size, size, dtype=torch.bfloat16) for _ in range(2))
        rates[size] = _products_a_second(one, other, 1.0) * size**3
    size = max(rates, key=rates.__getitem__)
    one, other = (torch.randn(size, size, dtype=torch.bfloat16) for _ in range(2))
    done = 0.0
    until = time.monotonic() + order["settings"]["seconds"]
    while time.monotonic() < until:
        for _ in range(4):
            torch.mm(one, other)
        done += 4 * 2 * size**3 / 1e9
        stamp("step", notes=done)
    tall, wide = torch.randn(3072, 384, dtype=torch.bfloat16), torch.randn(384, 1536, dtype=torch.bfloat16)
    own = _products_a_second(tall, wide, 2.0) * 2 * 3072 * 384 * 1536 / 1e9
    stamp("end", summary={"size": size, "gflops_at_a_layers_shape": round(own)})
    stamp("score")


def _products_a_second(one: Any, other: Any, seconds: float) -> float:
    import torch

    torch.mm(one, other)
    start, count = time.monotonic(), 0
    while time.monotonic() - start < seconds:
        torch.mm(one, other)
        count += 1
    return count / (time.monotonic() - start)


WORK: dict[str, Callable[[dict[str, Any], int], None]] = {
    "reference": reference,
    "trainer": trainer,
    "setfit": setfit,
    "bedside": bedside,
    "products": products,
}


def _die_with_parent() -> None:
    """On Linux, end when the parent does: a process that it has stopped would else stay for ever."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL


def main() -> None:
    order = json.loads(sys.argv[1])
    _die_with_parent()
    import torch

    torch.set_num_threads(order["threads"])
    for number in range(order["runs"]):
        stamp("run", seed=order["seed"] + number)
        WORK[order["work"]](order, order["seed"] + number)


if __name__ == "__main__":
    main()
