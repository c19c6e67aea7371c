"""How the time and the memory of training grow with the number of notes, on SYNTHETIC notes of the sample clinic.

    python benchmarks/training_growth.py --notes 1000 5000 10000 50000 --seed 42 --folder /tmp/training-growth

Prints for each size what comes before the first step (loading, tokenising, warm start, trials), some steps, what an
epoch takes at that speed, and the peak memory. Each size is measured in a process of its own, whose peak memory
never falls; preparing the cohort is another process's work. With ``--epoch`` a whole epoch is trained and evaluated.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Enough(Exception):
    """As many steps as were asked for are done."""


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Train on a prepared cohort here, and say how long each part took and how much memory the process ever held."""
    from bedside.core.progress import Progress, Task
    from bedside.data import Cohort
    from bedside.protocol import ModelSection, TrainSection
    from bedside.training import train

    moments: list[float] = []
    phases: dict[str, float] = {}
    whole = [0.0]

    class Steps(Task):
        def advance(self, steps: float = 1) -> None:
            if not steps:
                return
            moments.append(time.monotonic())
            if not options.epoch and len(moments) > options.steps:
                raise Enough

    class Watching(Progress):
        @contextlib.contextmanager
        def task(self, label: str, total: float | None = None, unit: str = "") -> Iterator[Task]:
            began = time.monotonic()
            training = unit == "steps" and bool(total)
            if training:
                whole[0] = float(total or 0)
            yield Steps() if training else Task()
            phases[label] = phases.get(label, 0.0) + time.monotonic() - began

    start = time.monotonic()
    cohort = Cohort.load(folder)
    before = _peak()
    notes = len(cohort.texts("train"))
    section = TrainSection(threads=options.threads, epochs=1)
    with tempfile.TemporaryDirectory() as place, contextlib.suppress(Enough):
        model = ModelSection(base=options.base)
        train(cohort, model, section, Path(place), seed=options.seed, progress=Watching())
    spent = moments[-1] - moments[0]
    return {
        "notes": sum(len(cohort.texts(part)) for part in ("train", "validation", "calibration", "test")),
        "train": notes,
        "ahead": moments[0] - start,
        "phases": {name: round(seconds, 1) for name, seconds in phases.items()},
        "steps": len(moments) - 1,
        "a_step": spent / (len(moments) - 1),
        "an_epoch": spent / (len(moments) - 1) * whole[0],
        "peak_gb": _peak(),
        "cohort_gb": before,
    }


def _peak() -> float:
    """GB that this process held at most."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def make(folder: Path, notes: int, options: argparse.Namespace) -> None:
    """The sample clinic's table of this size, prepared; one that is there is taken."""
    if (folder / "cases.parquet").is_file():
        return
    from bedside.data import prepare
    from bedside.protocol import AuditSection, CleanSection, DataSection, SplitSection
    from bedside.synthetic import Plan, generate

    generate(Plan(notes=notes, seed=options.seed)).write(folder / "table", truth=False)
    data = DataSection(source="notes.csv", text="note", label="diagnosis", patient="patient_id", rare="drop")
    audit = AuditSection(cases=0)
    base = folder / "table"
    prepare(data, CleanSection(), SplitSection(), base=base, seed=options.seed, key=bytes(32), audit=audit).save(folder)


def in_child(folder: Path, notes: int, options: argparse.Namespace, what: str) -> str:
    """Do something in a fresh process; returns the last line that it said."""
    numbers = {"--seed": options.seed, "--steps": options.steps, "--threads": options.threads}
    chosen = [str(word) for pair in numbers.items() for word in pair] + ["--base", options.base]
    chosen += ["--epoch"] if options.epoch else []
    command = [sys.executable, __file__, "--only", what, "--notes", str(notes), "--folder", str(folder), *chosen]
    threads = {name: str(options.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **threads})
    return (done.stdout.splitlines() or [""])[-1]


def show(found: list[dict[str, Any]], options: argparse.Namespace) -> None:
    """The table in markdown."""
    print(f"    {' '.join(['python', 'benchmarks/training_growth.py', *sys.argv[1:]])}\n")
    print("| SYNTHETIC notes | " + " | ".join(f"{one['notes']:,}" for one in found) + " |")
    print("|---|" + "---|" * len(found))
    for said, figure in {
        "to learn from": lambda one: f"{one['train']:,}",
        "before the first step, s": lambda one: f"{one['ahead']:.1f}",
        "steps measured": lambda one: f"{one['steps']:,}",
        "a step, s": lambda one: f"{one['a_step']:.3f}",
        "an epoch at that speed, s": lambda one: f"{one['an_epoch']:.0f}",
        "notes/s": lambda one: f"{one['train'] / one['an_epoch']:.1f}",
        "**peak memory, GB**": lambda one: f"{one['peak_gb']:.2f}",
        "of it before training, GB": lambda one: f"{one['cohort_gb']:.2f}",
    }.items():
        print(f"| {said} | " + " | ".join(map(figure, found)) + " |")
    first = found[0]
    growth = [
        (one["ahead"] + one["an_epoch"]) / (first["ahead"] + first["an_epoch"]) / (one["train"] / first["train"])
        for one in found
    ]
    print("| time per note of one epoch and what precedes it, against the first | ", end="")
    print(" | ".join(f"{one:.2f}" for one in growth) + " |")
    for one in found:
        print(f"\n{one['notes']:,} notes, seconds by phase: {one['phases']}", end="")
    print(
        f"\n\nSeed {options.seed}; {os.cpu_count()} shared CPU cores ({platform.machine()}), {options.threads} threads."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--notes", type=int, nargs="+", default=[1000, 5000, 10_000, 50_000])
    parser.add_argument("--steps", type=int, default=100, help="steps after the first, of each size")
    parser.add_argument("--epoch", action="store_true", help="a whole epoch instead")
    parser.add_argument("--base", default="builtin:minilm")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--folder", type=Path, required=True, help="for the tables, the cohorts and what is finished")
    parser.add_argument("--only", choices=["make", "measure"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only == "make":
        make(options.folder, options.notes[0], options)
    elif options.only == "measure":
        print(json.dumps(measure(options.folder, options)))
    else:
        found = []
        for notes in options.notes:
            place = options.folder / f"{notes}-{options.seed}"
            done = place / f"measured-{'epoch' if options.epoch else options.steps}.json"
            if not done.is_file():
                in_child(place, notes, options, "make")
                done.write_text(in_child(place, notes, options, "measure"))
            found.append(json.loads(done.read_text()))
            print(f"{notes:,}: {found[-1]}", file=sys.stderr, flush=True)
        show(found, options)


if __name__ == "__main__":
    main()
