"""50,000 SYNTHETIC notes with any of 120 labels through the whole line: seconds, peak memory, and how near the truth.

A note has each label on its own with the label's prevalence (0.5 % to 12 %). Every label has two cues, phrases of a
finding and a place; a cue stands in a note with a chance of 80 % where the note has the label and of 0.5 % where it
has not, and other phrases and numbers fill the note up to 60 to 100 words. So the chance of each label given the cues
that a note holds is known exactly (Bayes' rule), and with it the best mean average precision that any reader could
reach. Each stage runs in a process of its own; the table says its seconds and peak memory.

    python benchmarks/many_labels.py --base builtin:tfidf --folder /tmp/many-labels
    python benchmarks/many_labels.py --base tiny --train-notes 4800 --folder /tmp/many-labels-tiny
    python benchmarks/many_labels.py --base builtin:minilm --train-notes 4800 --folder /tmp/many-labels-minilm
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import platform
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FINDINGS = (
    "ache", "swelling", "numbness", "rash", "stiffness", "bruising", "itching", "weakness", "tremor", "cramps",
    "burning", "tenderness", "redness", "cyst", "spasm", "ulcer",
)  # fmt: skip
PLACES = (
    "left knee", "right knee", "left wrist", "right wrist", "lower back", "neck", "scalp", "left ear", "right ear",
    "upper jaw", "left heel", "right heel", "left thumb", "right thumb", "left elbow", "right elbow", "chin", "forearm",
)  # fmt: skip
FILL = (
    "seen today", "walked in alone", "lives with family", "no allergies known", "sleeping well", "eats normally",
    "medicines unchanged", "works outdoors", "does not smoke", "retired last year", "came by bus", "asks for a letter",
    "was here before", "feels worried", "blood drawn", "results pending", "weight stable", "pulse regular",
    "drinks on weekends", "plans to travel", "advice given", "will call back", "brought a list", "spoke with nurse",
    "prefers mornings", "wears glasses", "uses a stick", "slept badly", "missed last visit", "has a dog",
)  # fmt: skip
MENTIONED, BY_CHANCE = 0.8, 0.005
FEWEST_WORDS, MOST_WORDS = 60, 100
STAGES = ("prepare", "baseline", "train", "evaluate", "package")


@dataclass(frozen=True)
class Truth:
    """What was drawn: [notes, labels] who has what, [notes, labels, 2] cues written, and [labels] prevalences."""

    has: NDArray[np.bool_]
    cues: NDArray[np.bool_]
    prevalence: NDArray[np.float64]

    def posterior(self) -> NDArray[np.float64]:
        """[notes, labels] the chance of each label given the cues of the note (Bayes' rule; labels are independent)."""
        present = np.log(MENTIONED / BY_CHANCE)
        absent = np.log((1 - MENTIONED) / (1 - BY_CHANCE))
        count = self.cues.sum(axis=2)
        odds = np.log(self.prevalence / (1 - self.prevalence)) + count * present + (2 - count) * absent
        return 1 / (1 + np.exp(-odds))


def names(labels: int) -> list[str]:
    """The labels: a letter group and a number, so that no name gives the cues away."""
    return [f"condition {number:03d}" for number in range(1, labels + 1)]


def draw(notes: int, labels: int, seed: int) -> Truth:
    """Labels and cues of every note."""
    random = np.random.default_rng(seed)
    prevalence = np.geomspace(0.005, 0.12, labels)
    has = random.random((notes, labels)) < prevalence
    chance = np.where(has, MENTIONED, BY_CHANCE)[:, :, None]
    return Truth(has, random.random((notes, labels, 2)) < chance, prevalence)


def phrases(labels: int, seed: int) -> list[str]:
    """Two cues a label, each the label's own."""
    every = [f"{finding} of the {place}" for finding, place in itertools.product(FINDINGS, PLACES)]
    if 2 * labels > len(every):
        raise SystemExit(f"{labels} labels need {2 * labels} cues and there are {len(every)}; ask for fewer labels")
    order = np.random.default_rng(seed).permutation(len(every))
    return [every[place] for place in order[: 2 * labels].tolist()]


def write(truth: Truth, path: Path, seed: int) -> None:
    """The table: note, diagnoses, patient (one note in five is a patient's second)."""
    random = np.random.default_rng(seed + 1)
    labels = truth.has.shape[1]
    cues, called = phrases(labels, seed), names(labels)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("note", "diagnoses", "patient"))
        for number in range(len(truth.has)):
            own = [cues[place] for place in np.flatnonzero(truth.cues[number].reshape(-1)).tolist()]
            table.writerow(
                (
                    _note(own, random),
                    ";".join(called[place] for place in np.flatnonzero(truth.has[number]).tolist()),
                    f"p{number - (number % 5 == 4)}",
                )
            )


def _note(cues: list[str], random: np.random.Generator) -> str:
    """A note of the cues and of what fills it up, in any order."""
    length = int(random.integers(FEWEST_WORDS, MOST_WORDS + 1))
    parts = [*cues]
    words = sum(len(part.split()) for part in parts)
    while words < length:
        part = f"{FILL[int(random.integers(len(FILL)))]} {int(random.integers(1, 1000))}"
        parts.append(part)
        words += len(part.split())
    return ". ".join(parts[place] for place in random.permutation(len(parts)).tolist()) + "."


def make(options: argparse.Namespace) -> None:
    """Write the table and the study."""
    from bedside.core.files import write_text
    from bedside.protocol import EvaluateSection, ModelSection, TrainSection, render
    from bedside.study import create

    options.folder.mkdir(parents=True, exist_ok=True)
    base = str(tiny(options.folder / "tiny", options.seed)) if options.base == "tiny" else options.base
    write(draw(options.notes, options.labels, options.seed), options.folder / "notes.csv", options.seed)
    study = create(
        options.folder / "notes.csv", options.study, text="note", label="diagnoses", patient="patient", rare="drop"
    ).study
    planned = study.protocol
    data = planned.data.model_copy(update={"delimiter": ";", "unlabelled": "none", "keep": []})
    plan = planned.model_copy(
        update={
            "data": data,
            "model": ModelSection(base=base),
            "train": TrainSection(epochs=options.epochs),
            "evaluate": EvaluateSection(resamples=options.resamples),
        }
    )
    write_text(options.study / "protocol.toml", render(plan))


def tiny(folder: Path, seed: int) -> Path:
    """Two transformer layers of 64 with random weights and MiniLM's tokenizer: for the line, not for its figures."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

    from bedside.models import weights

    torch.manual_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(weights.locate("builtin:minilm"), local_files_only=True)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=256
    )
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def run_stage(options: argparse.Namespace) -> None:
    """Run one stage in this process and print what it took."""
    from bedside import Study
    from bedside.core.progress import ConsoleProgress

    start = time.monotonic()
    if options.stage == "init":
        make(options)
    else:
        if options.stage == "train" and options.train_notes:
            _learn_from(options.train_notes)
        Study.open(options.study).run(options.stage, progress=ConsoleProgress())
    used = resource.getrusage(resource.RUSAGE_SELF)
    took = {
        "seconds": round(time.monotonic() - start, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_gb": round(used.ru_maxrss * 1024 / 1e9, 2),  # Linux counts in KiB
    }
    sys.stdout.write(json.dumps(took) + "\n")


def _learn_from(notes: int) -> None:
    """Let the train stage see the first notes of the training split alone, and a quarter as many of validation.

    No key of the protocol ends a training after so many steps, because no study should; a measurement of the speed
    needs no more.
    """
    from bedside.data import Cohort

    whole, most = Cohort.part, {"train": notes, "validation": max(notes // 4, 1)}

    def part(self: Cohort, split: str) -> Any:
        found = whole(self, split)
        return found.head(most[split]) if split in most else found

    Cohort.part = part  # type: ignore[method-assign]


def measured(options: argparse.Namespace, took: dict[str, dict[str, float]]) -> dict[str, Any]:
    """What the study found, and the best that could be found on the same test notes."""
    from bedside import Bundle
    from bedside.core.files import read_json
    from bedside.data import Cohort
    from bedside.metrics import areas

    metrics = read_json(options.study / "evaluation" / "metrics.json")
    cohort = Cohort.load(options.study / "cohort")
    truth = draw(options.notes, options.labels, options.seed)
    with (options.folder / "notes.csv").open(encoding="utf-8", newline="") as file:
        place = {row["note"]: number for number, row in enumerate(csv.DictReader(file))}
    rows = [place[text] for text in cohort.texts("test")]
    # Equal chances are many, and count as one threshold: in any order they are as good.
    best = truth.posterior()[rows] + np.random.default_rng(0).random((len(rows), options.labels)) * 1e-9
    even = np.ones((1, len(rows)))
    bayes = [float(areas(even, truth.has[rows, k], best[:, k])[1][0]) for k in range(options.labels)]
    summary = read_json(options.study / "runs" / "main" / "summary.json")
    splits = {split: cohort.part(split).height for split in ("train", "validation", "calibration", "test")}
    held = metrics["abstention"]
    found: dict[str, Any] = {
        "notes": options.notes,
        "labels": len(cohort.labels),
        "labels_of_a_case": metrics["test"]["labels_of_a_case"],
        "splits": splits,
        "base": options.base,
        "took": took,
        "mean_average_precision": {
            "best possible (Bayes)": float(np.nanmean(bayes)),
            **{who: metrics["test"][who]["auprc"] for who in ("model", "baseline", "majority")},
        },
        "macro_f1": {who: metrics["test"][who]["macro_f1"] for who in ("model", "baseline", "majority")},
        "ece": metrics["test"]["model"]["ece"],
        "slope": metrics["test"]["model"]["calibration_slope"],
        "answers": {name: held[name] for name in ("labels_with_yes", "labels_with_no", "yes", "no", "unsure", "of")},
        "naive": metrics["naive"],
        "training": {name: summary[name] for name in summary if name.endswith("_per_second")},
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
    }
    if "notes_per_second" in summary:
        log = (options.study / "runs" / "main" / "log.jsonl").read_text(encoding="utf-8")
        learned = min(options.train_notes or splits["train"], splits["train"])
        epoch = splits["train"] / summary["notes_per_second"]
        found["training"] |= {
            "notes": learned,
            "steps": max(json.loads(line).get("step", 0) for line in log.splitlines()),
            "epoch_of_all_notes_hours": round(epoch / 3600, 2),
            "six_epochs_of_all_notes_hours": round(6 * epoch / 3600, 2),
        }
    bundle = Bundle.load(options.study / "bundle")
    start = time.monotonic()
    answers = bundle.diagnose(cohort.texts("test")[:200])
    found["answer"] = {
        "notes_per_second": round(len(answers) / (time.monotonic() - start), 1),
        "yes_of_a_note": float(np.mean([one.decisions.yes for one in answers if one.decisions])),
        "unsure_of_a_note": float(np.mean([one.decisions.unsure for one in answers if one.decisions])),
    }
    return found


def table(found: dict[str, Any]) -> str:
    """The figures as markdown."""
    lines = ["| stage | s on the clock | CPU s | peak memory, GB |", "|---|---|---|---|"]
    lines += [
        f"| {stage} | {one['seconds']:,.1f} | {one['cpu_seconds']:,.1f} | {one['peak_gb']:.2f} |"
        for stage, one in found["took"].items()
    ]
    lines += ["", "| SYNTHETIC test notes | mean average precision | macro-F1 |", "|---|---|---|"]
    precision, f1 = found["mean_average_precision"], found["macro_f1"]
    lines.append(f"| best possible (Bayes) | {precision['best possible (Bayes)']:.3f} | |")
    for who, title in (("model", found["base"]), ("baseline", "TF-IDF baseline"), ("majority", "prevalence")):
        lines.append(f"| {title} | {_interval(precision[who])} | {_interval(f1[who])} |")
    return "\n".join(lines)


def _interval(figure: dict[str, Any]) -> str:
    if figure["low"] is None:
        return f"{figure['value']:.3f}"
    return f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"


def main() -> None:
    """Run every stage in a process of its own and print what each took."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--notes", type=int, default=50_000)
    parser.add_argument("--labels", type=int, default=120)
    parser.add_argument("--base", default="builtin:tfidf", help="'tiny' makes a small one with random weights")
    parser.add_argument("--train-notes", type=int, default=0, help="the train stage sees so many; 0 for all")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--stage", choices=("init", *STAGES), help="run this one alone, in this process")
    options = parser.parse_args()
    options.study = options.folder / "study"
    if options.stage:
        run_stage(options)
        return
    took = {}
    for stage in ("init", *STAGES):
        command = [sys.executable, __file__, *sys.argv[1:], "--stage", stage]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        took[stage] = json.loads(done.stdout.strip().splitlines()[-1])
        sys.stderr.write(f"{stage}: {took[stage]}\n")
        (options.folder / "took.json").write_text(json.dumps(took), encoding="utf-8")
    found = measured(options, took)
    (options.folder / "found.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    sys.stdout.write(f"{table(found)}\n\n{json.dumps({k: found[k] for k in found if k != 'took'}, indent=1)}\n")


if __name__ == "__main__":
    main()
