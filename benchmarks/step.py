"""One training step of MiniLM's shape on CPUs, in turns: the Hugging Face Trainer, transformers' layers, packed layers.

    python benchmarks/step.py                         (42, 128 and 256 tokens a note; random tokens: SYNTHETIC)
    python benchmarks/step.py --tokens 42 --profile   (and where the time of a packed step goes, operator by operator)

A step is forward, backward, clipping and AdamW over the same notes in all: those of one batch by tokens, or of three.
Lengths vary by 4 % around the mean, as they do in a batch of sorted notes, so that the Trainer pads little too.

- trainer: ``transformers.Trainer`` with dynamic padding, bf16 autocast, fused AdamW, the usual dropout and SDPA, all
  notes in one batch;
- plain: bedside's loop over transformers' layers: eager attention, no dropout inside, only those rows of the embedding
  table that are in use, batches of at most so many tokens, padded to a multiple of 16;
- packed: the same loop over packed tokens (``bedside.models.packed``).

Times are medians over turns; a ratio is the median of the turns' ratios, with the lowest and highest quarter. The share
is that of the rate of a large product of bf16 matrices, measured between the turns; only the operations of real tokens
are counted, none of padding. Weights are random: what is computed does not depend on them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from bedside.models.network import build_network, quiet_libraries
from bedside.models.packed import pack

LABELS, VOCABULARY, IN_USE, LAYERS, WIDTH, INNER = 24, 30_522, 3_000, 6, 384, 1_536
Step = Callable[[], None]
Clock = Callable[[], float]
Batch = tuple[torch.Tensor, torch.Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, nargs="*", default=[42, 128, 256], help="a note, on average")
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--batch-tokens", type=int, default=1536)
    parser.add_argument("--product", type=int, default=4096, help="rows and columns of the large product")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--cpu-time", action="store_true", help="of one thread: what a busy machine can measure")
    parser.add_argument("--fp32", action="store_true", help="instead of bf16")
    parser.add_argument("--without-trainer", action="store_true")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--seed", type=int, default=42)
    options = parser.parse_args()
    if options.cpu_time:
        options.threads = 1
    quiet_libraries()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    clock = "CPU time" if options.cpu_time else "time on the clock"
    load = os.getloadavg()[0]
    print(f"torch {torch.__version__}, {options.threads} threads, {clock}, load {load:.1f}, seed {options.seed}\n")
    columns = ("tokens", "notes", "trainer, ms", "plain, ms", "packed, ms", "trainer / packed", "plain / packed")
    print(f"| {' | '.join(columns)} | share of the product's rate | the product, GFLOP/s |")
    print("|" + "---|" * (len(columns) + 2))
    for mean in options.tokens:
        measure(mean, options)


def measure(mean: int, options: argparse.Namespace) -> None:
    notes = notes_of(mean, options.batch_tokens * (3 if mean > 200 else 1), options.seed)
    steps = {name: bedside_step(notes, options, packed=name == "packed") for name in ("plain", "packed")}
    size = options.product
    left, right = (torch.randn(size, size, dtype=torch.bfloat16) for _ in range(2))
    times: dict[str, list[float]] = {name: [] for name in ("trainer", *steps, "product")}

    def turn() -> None:
        for name, step in (*steps.items(), ("product", lambda: torch.mm(left, right))):
            times[name].append(timed(step, clock_of(options)))

    if options.without_trainer:
        for _ in range(options.turns + 2):
            times["trainer"].append(float("nan"))
            turn()
    else:
        train_beside(notes, options, times["trainer"], turn)
    times = {name: found[2:] for name, found in times.items()}  # the first ones compile kernels
    middle = {name: statistics.median(found) for name, found in times.items()}
    product = 2 * size**3 / middle["product"]
    share = operations(notes) / middle["packed"] / product
    told = " | ".join(f"{1000 * middle[name]:.0f}" for name in ("trainer", "plain", "packed"))
    ratios = [ratio(times[name], times["packed"]) for name in ("trainer", "plain")]
    print(
        f"| {mean} | {len(notes)} | {told} | {ratios[0]} | {ratios[1]} | {share:.2f} | {product / 1e9:.0f} |",
        flush=True,
    )
    if options.profile:
        show_profile(steps["packed"])


def clock_of(options: argparse.Namespace) -> Clock:
    return time.process_time if options.cpu_time else time.perf_counter


def timed(step: Step, clock: Clock) -> float:
    start = clock()
    step()
    return clock() - start


def ratio(slow: list[float], fast: list[float]) -> str:
    low, middle, high = statistics.quantiles([one / other for one, other in zip(slow, fast, strict=True)], n=4)
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def notes_of(mean: int, tokens: int, seed: int) -> list[list[int]]:
    """Random notes that hold so many tokens in all, or just fewer; long ones first."""
    random = torch.Generator().manual_seed(seed)
    notes: list[list[int]] = []
    while True:
        length = max(round(mean * (1 + 0.04 * float(torch.randn((), generator=random)))), 4)
        if sum(map(len, notes)) + length > tokens:
            return sorted(notes, key=len, reverse=True)
        notes.append(torch.randint(5, IN_USE, (length,), generator=random).tolist())


def padded(notes: list[list[int]], unit: int) -> Batch:
    longest = -(-max(map(len, notes)) // unit) * unit
    ids, mask = (torch.zeros(len(notes), longest, dtype=torch.long) for _ in range(2))
    for row, note in enumerate(notes):
        ids[row, : len(note)] = torch.tensor(note)
        mask[row, : len(note)] = 1
    return ids, mask


def operations(notes: list[list[int]]) -> float:
    """Of the layers' products, forward and twice that backward; the embeddings and the head are left out."""
    lengths = [len(note) for note in notes]
    token = 2 * (4 * WIDTH**2 + 2 * WIDTH * INNER)
    return float(3 * LAYERS * (token * sum(lengths) + 4 * WIDTH * sum(length**2 for length in lengths)))


def config_of(dropout: float, vocabulary: int, **more: Any) -> BertConfig:
    return BertConfig(
        vocab_size=vocabulary,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=12,
        intermediate_size=INNER,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        **more,
    )


def bedside_step(notes: list[list[int]], options: argparse.Namespace, *, packed: bool) -> Step:
    config = config_of(0.0, IN_USE)
    config._attn_implementation = "eager"
    body = BertModel(config, add_pooling_layer=False)
    if packed and not pack(body):
        raise SystemExit("The body could not be packed.")
    network = build_network(body, LABELS, "mean").train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-5, fused=True)
    parts: list[list[list[int]]] = [[]]
    for note in notes:
        if sum(map(len, parts[-1])) + len(note) > options.batch_tokens:
            parts.append([])
        parts[-1].append(note)
    collated = [(*padded(part, 16), torch.arange(len(part)), len(part)) for part in parts]

    def step() -> None:
        for part in collated:
            with torch.autocast("cpu", torch.bfloat16, enabled=not options.fp32):
                logits = network(*part).float()
            wanted = torch.arange(len(logits)) % LABELS
            (torch.nn.functional.cross_entropy(logits, wanted, reduction="sum") / len(notes)).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step


class Beside(TrainerCallback):
    """Takes the time of the Trainer's steps, and lets the others take their turn between them."""

    def __init__(self, times: list[float], turn: Step, clock: Clock) -> None:
        self.times, self.turn, self.clock, self.start = times, turn, clock, 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Start the clock."""
        self.start = self.clock()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Stop it, and let the others take theirs."""
        self.times.append(self.clock() - self.start)
        self.turn()


def train_beside(notes: list[list[int]], options: argparse.Namespace, times: list[float], turn: Step) -> None:
    config = config_of(0.1, VOCABULARY, num_labels=LABELS)
    ids, mask = padded(notes, 1)
    batch = {"input_ids": ids, "attention_mask": mask, "labels": torch.arange(len(ids)) % LABELS}
    rows = [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arguments = TrainingArguments(
            folder,
            max_steps=options.turns + 2,
            per_device_train_batch_size=len(rows),
            bf16=not options.fp32,
            optim="adamw_torch_fused",
            use_cpu=True,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            log_level="error",
        )
        network = AutoModelForSequenceClassification.from_config(config)
        trainer = Trainer(network, arguments, train_dataset=rows, callbacks=[Beside(times, turn, clock_of(options))])
        trainer.remove_callback(PrinterCallback)
        trainer.train()


def show_profile(step: Step) -> None:
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as found:
        for _ in range(3):
            step()
    table = found.key_averages().table(sort_by="self_cpu_time_total", row_limit=25, max_name_column_width=40)
    print(table)


if __name__ == "__main__":
    main()
