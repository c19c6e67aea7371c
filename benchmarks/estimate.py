"""What was estimated before a training beside what it took, and what gradient checkpointing saves.

    python benchmarks/estimate.py --data ../shared/data --epochs 2 --seed 42
    python benchmarks/estimate.py --checkpointing

Each training runs in a process of its own, with the default protocol but for ``--epochs`` (no early stop),
``--threads`` and ``--notes`` (training notes, at most). Printed are the estimate, the truth and their ratio (1.0 is
right, 2.0 is twice as much as was said), with the mean load of the machine over the last minute before and after: the
trial takes seconds and the training minutes, so a load that changes in between is part of the ratio. Memory is what
the process held at its worst moment.

``--checkpointing`` runs forward and backward passes of MiniLM over windows of 512 tokens, with gradient checkpointing
and, as training does on CPUs, with packed layers without it, each in a process of its own, and prints the peak memory
beyond that of the loaded model.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TABLES = {
    "symptom2disease": '[data]\nsource = "{0}/symptom2disease/symptom2disease.csv"\ntext = "text"\nlabel = "label"\n',
    "mtsamples": '[data]\nsource = "{0}/mtsamples/mtsamples_unique_multilabel.csv.gz"\ntext = "transcription"\n'
    'label = "primary_specialty"\nrare = "drop"\n',
}
BASE = "builtin:minilm"
TOKENS = 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--tables", nargs="*", choices=TABLES, default=list(TABLES))
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--notes", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--windows", type=int, nargs="*", default=[1, 4])
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(json.loads(options.child), options)))
    elif options.checkpointing:
        compare_memory(options)
    else:
        compare_estimates(options)


def in_a_process(task: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """What a task gives in a process of its own."""
    more = [f"--{key}={getattr(options, key)}" for key in ("data", "epochs", "threads", "notes", "seed")]
    command = [sys.executable, __file__, "--child", json.dumps(task), *more]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def child(task: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    return one_training(task["table"], options) if "table" in task else one_memory(options=options, **task)


def compare_estimates(options: argparse.Namespace) -> None:
    print("| table | notes | precision | estimate (range) | took | ratio | memory said | was | ratio | load |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for table in options.tables:
        found = in_a_process({"table": table}, options)
        said, took = found["estimate"], found["took"]
        print(
            f"| {table} | {found['notes']:,} | {found['precision']} | {said['seconds']:.0f} s "
            f"({said['seconds_low']:.0f} to {said['seconds_high']:.0f}) | {took['seconds']:.0f} s | "
            f"{took['seconds'] / said['seconds']:.2f} | {said['memory_bytes'] / 1e9:.2f} GB | "
            f"{took['peak_memory_bytes'] / 1e9:.2f} GB | {took['peak_memory_bytes'] / said['memory_bytes']:.2f} | "
            f"{found['load'][0]:.1f} to {found['load'][1]:.1f} |",
            flush=True,
        )


def one_training(table: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train once; everything but the trial and the training itself is left out of both figures."""
    import polars as pl

    from bedside import protocol as protocols
    from bedside.data import Cohort, prepare
    from bedside.protocol import AuditSection, ModelSection, TrainSection
    from bedside.training import train

    plan = protocols.parse(TABLES[table].format(options.data.resolve()))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        none = AuditSection(cases=0)
        cohort = prepare(plan.data, plan.clean, plan.split, base=place, seed=options.seed, key=b"estimate", audit=none)
        kept = pl.concat([cohort.part("train").head(options.notes), cohort.frame.filter(pl.col("split") != "train")])
        cohort = Cohort(kept, cohort.labels, cohort.report)
        section = TrainSection(epochs=options.epochs, patience=options.epochs, threads=options.threads)
        before = os.getloadavg()[0]
        summary = train(cohort, ModelSection(base=BASE), section, place / "run", seed=options.seed)
        return {
            **{key: summary[key] for key in ("estimate", "took", "precision", "precision_trial")},
            "notes": cohort.part("train").height,
            "load": [before, os.getloadavg()[0]],
        }


def compare_memory(options: argparse.Namespace) -> None:
    print(f"| windows of {TOKENS} | precision | plain | checkpointed | saved | seconds, plain | checkpointed |")
    print("|---|---|---|---|---|---|---|")
    for windows in options.windows:
        for precision in ("fp32", "bf16"):
            task = {"windows": windows, "precision": precision}
            plain, saved = (in_a_process({**task, "checkpointed": one}, options) for one in (False, True))
            print(
                f"| {windows} | {precision} | {plain['grown'] / 1e6:,.0f} MB | {saved['grown'] / 1e6:,.0f} MB | "
                f"{1 - saved['grown'] / plain['grown']:.0%} | {plain['seconds']:.2f} | {saved['seconds']:.2f} "
                f"({saved['seconds'] / plain['seconds']:.2f}x) |",
                flush=True,
            )


def one_memory(windows: int, precision: str, checkpointed: bool, options: argparse.Namespace) -> dict[str, float]:
    """The growth of this process's peak memory over that of the loaded model, and the quickest of three passes."""
    import resource

    import torch

    from bedside.models import weights
    from bedside.models.network import build_network, load_body, quiet_libraries, set_dropout
    from bedside.models.packed import pack

    quiet_libraries()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    body = load_body(weights.locate(BASE), pooling="mean", labels=24, device="cpu", pretrained=True, padding=0)
    set_dropout(body, 0.0)
    if checkpointed:
        body.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    pack(body)  # as training does; it leaves a body with gradient checkpointing as it is
    network = build_network(body, 24, "mean", "mean").train()
    ids = torch.randint(1000, 20_000, (windows, TOKENS))
    mask, owner = torch.ones_like(ids), torch.arange(windows)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times = []
    for _ in range(3):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            logits = network(ids, mask, owner, windows)
        logits.float().sum().backward()
        times.append(time.perf_counter() - start)
        network.zero_grad(set_to_none=True)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"grown": 1024 * (after - before), "seconds": min(times)}


if __name__ == "__main__":
    main()
