"""Prepare a million SYNTHETIC notes: seconds of each step, peak memory, and how both grow with the number of notes.

Writes a sample clinic for each size (5 % of the notes are planted copies), prepares it in a process of its own, reads
the cohort back, and prints a markdown table of the CPU seconds spent in each step itself, the process's peak memory,
and the growth: CPU time per note against that of the smallest size, where 1.0 is exactly linear. CPU seconds, because
the seconds on the clock, which are printed too, depend on what else the machine does. The label audit's model judges a
sample of bounded size, which would make the growth look better than it is: it is left out unless ``--audit`` says how
many cases.

    python benchmarks/prepare_million.py --notes 10000 100000 1000000 --seed 42 --folder /tmp/prepare-million
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

COPIES = 0.05
# Where each step is done: module and function. A step's seconds leave out those of the steps inside it.
STEPS = {
    "read": ["preparation.gather"],
    "clean": ["preparation._cases"],
    "duplicates": ["preparation.find_duplicates"],
    "groups": ["preparation._group", "preparation.apply_rare"],
    "split": ["preparation.plan_split", "preparation.divide"],
    "crossings": ["preparation.count_crossings"],
    "place": ["preparation._place"],
    "table": ["preparation._frame"],
    "label audit": ["preparation.audit_labels"],
    "report": ["report.account"],
    "save": ["cohort.Cohort.save"],
}


class Clock:
    """CPU seconds spent in each step itself, while steps call each other."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)
        self._open = ["rest"]
        self._last = time.process_time()

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Charge what passes to this step."""
        self.turn()
        self._open.append(name)
        try:
            yield
        finally:
            self.turn()
            self._open.pop()

    def turn(self) -> None:
        """Charge what has passed to the step that is open."""
        now = time.process_time()
        self.spent[self._open[-1]] += now - self._last
        self._last = now

    def watch(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with its time charged to the step."""

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.step(name):
                return function(*args, **kwargs)

        return timed


def measure(table: Path, folder: Path, seed: int, audit: int) -> dict[str, Any]:
    """Prepare one table here, and say how long each step took and how much memory the process ever held."""
    from bedside.data import prepare
    from bedside.data.cohort import Cohort
    from bedside.protocol import AuditSection, CleanSection, DataSection, SplitSection

    clock = Clock()
    for step, places in STEPS.items():
        for place in places:
            module, *outer, last = place.split(".")
            holder: Any = importlib.import_module(f"bedside.data.{module}")
            for part in outer:
                holder = getattr(holder, part)
            setattr(holder, last, clock.watch(step, getattr(holder, last)))
    data = DataSection(
        source=table.name, text="note", label="diagnosis", patient="patient_id", case_id="note_id", time="date",
        site="site", keep=["age", "sex"],
    )  # fmt: skip
    start = time.perf_counter()
    clock.turn()
    clock.spent.clear()  # what importing took
    asked = AuditSection(cases=audit)
    cohort = prepare(data, CleanSection(), SplitSection(), base=table.parent, seed=seed, key=bytes(32), audit=asked)
    cohort.save(folder)
    clock.turn()
    total = time.perf_counter() - start
    report = cohort.report
    return {
        "notes": report["source"]["rows"],
        "seconds": round(total, 2),
        "cpu": round(sum(clock.spent.values()), 2),
        "steps": {name: round(clock.spent[name], 2) for name in [*STEPS, "rest"]},
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 3),
        "table_gb": round(table.stat().st_size / 1e9, 3),
        "words": round(float(sum(part["words"]["p50"] * part["share"] for part in report["splits"].values())), 1),
        "near_clusters": report["duplicates"]["near"]["clusters"],
        "exact_rows": report["duplicates"]["exact"]["rows"],
        "crossings": sum(report["crossings"][one] for one in ("patients", "exact", "near")),
        "compared": report["crossings"]["compared_by_brute_force"],
        "same_when_read": Cohort.load(folder).frame.equals(cohort.frame),
    }


def in_child(table: Path, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Measure in a fresh process: the peak memory of a process never falls."""
    chosen = ["--seed", str(options.seed), "--audit", str(options.audit), "--folder", str(folder)]
    command = [sys.executable, __file__, "--only", str(table), *chosen]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def sample(notes: int, seed: int, folder: Path) -> Path:
    """The sample clinic's table of this size; one that is there is taken."""
    from bedside.synthetic import Plan, generate

    table = folder / f"notes-{notes}-{seed}" / "notes.csv"
    if not table.exists():
        generate(Plan(notes=notes, seed=seed, duplicates=COPIES)).write(table.parent, truth=False)
    return table


def show(found: list[dict[str, Any]]) -> None:
    """The table in markdown."""
    first = found[0]
    print("| SYNTHETIC notes | " + " | ".join(f"{one['notes']:,}" for one in found) + " |")
    print("|---|" + "---|" * len(found))
    for step in first["steps"]:
        print(f"| {step}, CPU s | " + " | ".join(f"{one['steps'][step]:.1f}" for one in found) + " |")
    print("| **in all, CPU s** | " + " | ".join(f"{one['cpu']:.1f}" for one in found) + " |")
    print("| in all, s on the clock | " + " | ".join(f"{one['seconds']:.1f}" for one in found) + " |")
    growth = [one["cpu"] / first["cpu"] / (one["notes"] / first["notes"]) for one in found]
    print("| CPU time per note, against the first | " + " | ".join(f"{one:.2f}" for one in growth) + " |")
    print("| **peak memory, GB** | " + " | ".join(f"{one['peak_gb']:.2f}" for one in found) + " |")
    for name, said in {
        "table_gb": "the table, GB",
        "words": "words of a note, median",
        "exact_rows": "rows with an exact twin",
        "near_clusters": "near-duplicate clusters",
        "crossings": "crossings found",
        "compared": "held-out texts compared with all",
    }.items():
        print(f"| {said} | " + " | ".join(f"{one[name]:,}" for one in found) + " |")
    print(f"\n{os.cpu_count()} CPUs ({platform.machine()}), Python {platform.python_version()}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--notes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--folder", type=Path, required=True, help="for the tables and cohorts; 2 GB at a million")
    parser.add_argument("--audit", type=int, default=0, help="cases that the label audit's model judges")
    parser.add_argument("--only", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measure(options.only, options.folder, options.seed, options.audit)))
        return
    found = []
    for notes in options.notes:
        table = sample(notes, options.seed, options.folder)
        found.append(in_child(table, options.folder / f"cohort-{notes}-{options.seed}", options))
        print(f"{notes:,}: {found[-1]}", file=sys.stderr, flush=True)
    show(found)


if __name__ == "__main__":
    main()
