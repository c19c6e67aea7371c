"""Is a small decoder with adapters worth its time: SmolLM2 + LoRA + a head, beside MiniLM and TF-IDF, on one split.

    python benchmarks/smollm2_head.py --into /tmp/smollm2-head

Symptom2Disease is prepared once with the default split. Each model is trained in a process of its own, whose highest
memory is the system's figure, and answers the test split; macro-F1 has an interval by cluster, and a difference to
TF-IDF that is paired. The base of SmolLM2 was published in 4 bits (Q4_1) and is read back from them, so its figures are
those of a 4-bit base. What is done is kept, so a run that was stopped goes on; delete the folder to begin anew.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from bedside import protocol as protocols
from bedside.core.files import atomic_path, read_json, write_json
from bedside.data import Cohort, prepare

SEED = 42
TABLE = '[data]\nsource = "{0}/symptom2disease/symptom2disease.csv"\ntext = "text"\nlabel = "label"\n'
ROWS: dict[str, dict[str, Any]] = {
    "tfidf": {"model": {"base": "builtin:tfidf"}},
    "minilm": {"model": {"base": "builtin:minilm"}},
    "smollm2 + lora, 4-bit base": {
        "model": {"base": "builtin:smollm2"},
        "train": {"method": "lora", "epochs": 2, "patience": 2},
    },
}


def cohort_of(data: Path, into: Path) -> Cohort:
    """The prepared cases."""
    if not (into / "cohort" / "cases.parquet").is_file():
        plan = protocols.parse(TABLE.format(data.resolve()))
        found = prepare(plan.data, plan.clean, plan.split, base=into, seed=SEED, key=b"smollm2", audit=plan.audit)
        found.save(into / "cohort")
    return Cohort.load(into / "cohort")


def one(name: str, into: Path) -> None:
    """Train one model, answer the test split, and write what it took."""
    from bedside.core.progress import ConsoleProgress
    from bedside.models import load_diagnoser
    from bedside.protocol import ModelSection, TrainSection
    from bedside.training import train

    cohort = Cohort.load(into / "cohort")
    folder = into / name.split()[0]
    model, section = (
        kind(**ROWS[name].get(key, {})) for kind, key in ((ModelSection, "model"), (TrainSection, "train"))
    )
    summary = train(cohort, model, section, folder, seed=SEED, progress=ConsoleProgress())
    start = time.monotonic()
    found = load_diagnoser(folder / "model").predict_proba(cohort.texts("test"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    took = {
        "train_seconds": summary["seconds"],
        "answer_seconds": round(time.monotonic() - start, 1),
        "peak_bytes": peak,
        "trained_parameters": summary.get("trained_parameters"),
        "epochs": summary.get("epochs"),
        "precision": summary.get("precision"),
    }
    with atomic_path(folder / "test.npy") as temporary, temporary.open("wb") as target:
        np.save(target, found)
    write_json(folder / "took.json", took)


def figures(cohort: Cohort, found: dict[str, np.ndarray]) -> dict[str, Any]:
    """Macro-F1 with its interval by cluster, and the paired difference to TF-IDF."""
    import quality

    groups = cohort.part("test")["group"].to_list()
    return quality.figures(cohort.targets("test"), groups, found, len(cohort.labels))


def show(into: Path, cohort: Cohort) -> None:
    """The table, of the rows that are there."""
    places = {name: into / name.split()[0] for name in ROWS}
    done = {name: place for name, place in places.items() if (place / "took.json").is_file()}
    table = figures(cohort, {name: np.load(place / "test.npy") for name, place in done.items()})
    cases = len(cohort.targets("test"))
    print(f"\n| Symptom2Disease, test n = {cases} | macro-F1 (95 % interval) | to TF-IDF | training | memory at most |")
    print("|---|---|---|---|---|")
    for name, place in done.items():
        row, took = table[name], read_json(place / "took.json")
        apart = row.get("difference")
        words = f"{apart[0]:+.3f} ({apart[1]:+.3f} to {apart[2]:+.3f})" if apart else ""
        how = "" if took["epochs"] is None else f", {took['epochs']} epochs in {took['precision']}"
        print(
            f"| {name} | {row['macro_f1']:.3f} ({row['low']:.3f}-{row['high']:.3f}) | {words} | "
            f"{took['train_seconds']:.0f} s{how} | {took['peak_bytes'] / 1e9:.1f} GB |"
        )


def main() -> None:
    """Run each row in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, required=True, help="where runs are kept")
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"), help="the public data")
    parser.add_argument("--row", choices=ROWS, help="one row alone, in this process")
    arguments = parser.parse_args()
    if arguments.row:
        one(arguments.row, arguments.into)
        return
    cohort = cohort_of(arguments.shared, arguments.into)
    for name in ROWS:
        if not (arguments.into / name.split()[0] / "took.json").is_file():
            subprocess.run([sys.executable, __file__, "--into", str(arguments.into), "--row", name], check=True)
        show(arguments.into, cohort)


if __name__ == "__main__":
    main()
