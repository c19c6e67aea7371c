"""Speed and quality of training, side by side on two cores.

    python benchmarks/training.py --data ../shared/data --folder /tmp/training --python-of-peers /tmp/peers/bin/python

The reference recipe, the Hugging Face Trainer at its best, SetFit, and bedside: every weight, LoRA, the frozen probe.

Each row trains in a process of its own, with two threads. The processes take turns of ``--window`` seconds (all others
are stopped meanwhile), so that noise hits all rows alike. Notes a second: the median of at least ``--repeats`` windows
of that many seconds of training, the evaluation after each epoch included. Seconds: from the texts to the trained model
and its last evaluation, with all that a row does (tokenising, warm start, choosing the epoch, saving), turns of others
taken off. Macro-F1: on the test split, after the clock; the mean over a row's trainings, which differ in the seed.

A row counts only where its macro-F1 is at most half a point below that of the Trainer at its best. What is finished
is kept in ``cells.json`` in the folder, and the same command goes on from there.

``--parts search`` finds the Trainer's rate on the validation split (``RATES``); where that was not run, ``BEST``
is taken. A row named in ``--no-whole`` is not trained to its end: its seconds are projected from its windows, and
``--parts scores`` trains it once for its macro-F1, at whatever speed.

SetFit needs a Python of its own: pip install setfit==1.2.0 'transformers<5' torch==2.13.0.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import queue
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from training_rows import LIMIT

HERE = Path(__file__).parent
POINTS = 0.005  # of macro-F1 that a row may be below the Trainer's
RATES = (1e-4, 2e-4, 4e-4)
BEST: dict[str, dict[str, Any]] = {
    "s2d": {"batch": 16, "rate": 2e-4, "epochs": 6},
    "mts": {"batch": 16, "rate": 2e-4, "epochs": 5},
    "even": {"batch": 16, "rate": 1e-4, "epochs": 100},
}
SETFIT = {
    "setfit": {"batch": 16, "rate": 2e-5, "iterations": 20, "bf16": False},
    "setfit-few": {"batch": 16, "rate": 1e-4, "iterations": 1, "bf16": True},
}
TITLES = {
    "reference": "(a) reference recipe",
    "trainer": "(b) Trainer at its best",
    "trainer-still": "(b) without dropout",
    "setfit": "(c) SetFit, its defaults",
    "setfit-few": "(c) SetFit, few pairs",
    "full": "(d) bedside, full",
    "short": "(d) bedside, full, short",
    "lora": "(e) bedside, LoRA",
    "probe": "(f) bedside, frozen probe",
    "products": "matrix products",
}
SIZES = {"sizes": (2048, 4096), "seconds": 3600}  # of matrix products; the better one counts
_LONG_TURN = 5.0  # seconds that a turn may take where windows are short and much goes before the first step
NO_WHOLE = {"reference", "setfit"}  # a whole training takes too long; it is projected from the windows
NO_WINDOWS = {"probe", "short"}  # the speed is that of whole trainings
EPOCHS = {"reference": 3, "trainer": 5, "full": 6, "lora": 6}  # of rows whose seconds can be projected
SETS = {"s2d": "Symptom2Disease", "mts": "MTSamples, primary specialty", "even": "SYNTHETIC notes of 256 tokens"}
OPTIONAL = {"trainer-still", "setfit"}  # only where --rows names them
EVEN_ROWS = ("products", "trainer", "full")


# One process ----------------------------------------------------------------------------------------------------------


@dataclass
class Training:
    """A row's process: it can be stopped and let go on, and says when each step was done.

    Attributes:
        stops: spans of time in which it stood still.
        stamps: what it said.
    """

    row: str
    process: subprocess.Popen[str]
    lines: queue.Queue[dict[str, Any] | None] = field(default_factory=queue.Queue)
    stamps: list[dict[str, Any]] = field(default_factory=list)
    stops: list[tuple[float, float]] = field(default_factory=list)
    stopped: float | None = None
    ended: bool = False
    windows: list[float] = field(default_factory=list)

    @classmethod
    def start(cls, row: str, python: str, order: dict[str, Any], folder: Path) -> Training:
        """Start a row's work."""
        threads = {name: str(order["threads"]) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        quiet = {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
        command = [python, str(HERE / "training_rows.py"), json.dumps(order)]
        with (folder / f"{Path(order['cohort']).name}-{row}.log").open("w") as log:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, env={**os.environ, **threads, **quiet}
            )
        made = cls(row, process)
        threading.Thread(target=made._read, args=(process.stdout,), daemon=True).start()
        return made

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            if line.startswith("@"):
                self.lines.put(json.loads(line[1:]))
        self.lines.put(None)

    def catch_up(self) -> None:
        """Take in what it has said since."""
        while True:
            try:
                said = self.lines.get_nowait()
            except queue.Empty:
                return
            if said is None:
                self.ended = True
            else:
                self.stamps.append(said)

    def go(self) -> None:
        """Let it go on."""
        if self.stopped is not None:
            self.stops.append((self.stopped, time.monotonic()))
            self.stopped = None
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Let it stand still."""
        self.stopped = time.monotonic()
        self.process.send_signal(signal.SIGSTOP)

    def end(self) -> None:
        """End it, whatever it is at."""
        self.process.kill()
        self.process.wait()

    def active(self, start: float, end: float) -> float:
        """Seconds between two moments in which it was not stopped."""
        return end - start - sum(max(min(end, b) - max(start, a), 0.0) for a, b in self.stops)

    def turn(self, window: float, repeats: int) -> None:
        """Let it work until it has trained for a window, or, where whole trainings are asked for, until they are done.

        A turn ends only between steps or trainings: what a row measures before its first step is not disturbed.
        """
        self.go()
        begin, began = len(self.stamps), time.monotonic()
        while not self.ended:
            time.sleep(min(0.2, window))
            self.catch_up()
            new = self.stamps[begin:]
            seconds, notes = trained(new)
            if seconds >= window and self.row not in NO_WINDOWS:
                self.windows.append(notes / seconds)
                break
            if self.row in NO_WINDOWS and len(self.whole()) >= repeats:
                break
            between = bool(new) and new[-1]["kind"] in {"step", "score"}
            if between and time.monotonic() - began > max(3 * window, _LONG_TURN):
                break
        self.catch_up()
        if not self.ended:
            self.stop()

    def settle(self) -> None:
        """Take in all that it said, after its end."""
        while not self.ended:
            time.sleep(0.01)
            self.catch_up()

    def whole(self) -> list[dict[str, Any]]:
        """The trainings that are finished: seconds, and what was scored."""
        found: list[dict[str, Any]] = []
        begun = 0.0
        for one in self.stamps:
            if one["kind"] == "run":
                begun = one["t"]
            elif one["kind"] == "end":
                found.append({"seconds": self.active(begun, one["t"]), "summary": one.get("summary", {})})
            elif one["kind"] == "score":
                found[-1].update({name: one[name] for name in ("validation", "test") if name in one})
        return [one for one in found if "test" in one]


def trained(stamps: list[dict[str, Any]]) -> tuple[float, float]:
    """Seconds between steps of one training, and the notes learned from in them."""
    seconds = notes = 0.0
    last: dict[str, Any] | None = None
    for one in stamps:
        if one["kind"] == "step":
            if last is not None:
                seconds, notes = seconds + one["t"] - last["t"], notes + one["notes"] - last["notes"]
            last = one
        elif one["kind"] in {"run", "end"}:
            last = None
    return seconds, notes


# What is measured -----------------------------------------------------------------------------------------------------


def finished(training: Training, options: argparse.Namespace) -> bool:
    """Whether a row has enough windows and whole trainings."""
    if training.ended:
        return True
    whole = training.whole()
    if training.row in NO_WINDOWS:
        return len(whole) >= options.repeats
    windows = len(training.windows) >= options.repeats
    projected = NO_WHOLE | {"products"} | set(options.no_whole)
    return windows and (bool(whole) or training.row in projected or options.set == "even")


def measure(trainings: list[Training], options: argparse.Namespace) -> Iterator[Training]:
    """Give each its turns until all have enough; each is handed over when it has."""
    try:
        for one in trainings:
            one.stop()
        left = list(trainings)
        while left:
            for one in left:
                one.turn(options.window, options.repeats)
                said = f"{options.set} {one.row}: {len(one.windows)} windows, {len(one.whole())} trainings"
                print(said, [round(rate, 1) for rate in one.windows], file=sys.stderr, flush=True)
            ready = [one for one in left if finished(one, options)]
            left = [one for one in left if one not in ready]
            for one in ready:
                one.end()
                if not one.whole() and not one.windows:
                    log = options.folder / f"{options.set}-{one.row}.log"
                    print(f"{one.row} FAILED: see {log}", file=sys.stderr, flush=True)
                    continue
                yield one
    finally:
        for one in trainings:
            one.end()


def orders(options: argparse.Namespace, cells: Cells) -> dict[str, tuple[str, dict[str, Any]]]:
    """What each row of a set is told to do, and by which Python."""
    place = options.folder / "cohorts" / options.set
    common = {
        "threads": options.threads, "runs": 50, "seed": options.seed, "base": options.base, "cohort": str(place),
        "texts": str(place / "texts.json"),
    }  # fmt: skip
    best = {**BEST[options.set], **cells.chosen(options.set)}
    short = {"epochs": 1, "step_notes": 4} if options.quick else {}
    if options.set == "even":
        short = {"epochs": 2 if options.quick else 100, "patience": 100}
    if options.quick:
        best["epochs"] = 1
    asked: dict[str, tuple[str, dict[str, Any]]] = {
        "products": ("products", {"sizes": (64,), "seconds": 1} if options.quick else SIZES),
        "reference": ("reference", {"cut": LIMIT}),
        "trainer": ("trainer", best),
        "trainer-still": ("trainer", {**best, "dropout": False, "attention": "eager"}),
        **{row: ("setfit", wish) for row, wish in SETFIT.items()},
        "full": ("bedside", {"method": "full", **short}),
        "short": ("bedside", {"method": "full", "epochs": 2, **short}),
        "lora": ("bedside", {"method": "lora", **short}),
        "probe": ("bedside", {"method": "probe"}),
    }  # fmt: skip
    found = {}
    for row, (work, settings) in asked.items():
        wanted = row in EVEN_ROWS if options.set == "even" else row != "products"
        python = options.python_of_peers if work == "setfit" else sys.executable
        if wanted and row in options.rows and python:
            found[row] = (python, {**common, "row": row, "work": work, "settings": settings})
    return found


class Cells:
    """What is finished, in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}

    def keep(self, key: str, value: Any) -> None:
        """Write one down."""
        self.found[key] = value
        fresh = self.path.with_suffix(".part")
        fresh.write_text(json.dumps(self.found, indent=1))
        fresh.replace(self.path)

    def of(self, part: str, name: str) -> dict[str, Any]:
        """The rows of a set that are finished."""
        start = f"{part}/{name}/"
        return {key.removeprefix(start): value for key, value in self.found.items() if key.startswith(start)}

    def chosen(self, name: str) -> dict[str, Any]:
        """The Trainer's rate and epochs that were best on validation; empty where nobody looked."""
        tried = self.of("search", name)
        return max(tried.values(), key=lambda one: one["validation"])["settings"] if tried else {}


def search(options: argparse.Namespace, cells: Cells) -> None:
    """Try the Trainer's rates, one after the other, and score each on validation."""
    python, order = orders(options, cells)["trainer"]
    for rate in options.rates:
        key = f"search/{options.set}/{rate:g}"
        if key in cells.found:
            continue
        settings = {**BEST[options.set], "rate": rate, **({"epochs": 1} if options.quick else {})}
        training = Training.start("search", python, {**order, "runs": 1, "settings": settings}, options.folder)
        try:
            training.process.wait()
        finally:
            training.end()
        training.settle()
        (only,) = training.whole()
        cells.keep(key, {"settings": settings, "validation": only["validation"], "seconds": only["seconds"]})
        print(f"{options.set} rate {rate:g}: {only['validation']:.4f}", file=sys.stderr, flush=True)


def score(options: argparse.Namespace, cells: Cells) -> None:
    """Train once, for their macro-F1 alone, the rows whose windows are measured and whose whole training is not."""
    for row, (python, order) in orders(options, cells).items():
        cell, key = cells.of("rows", options.set).get(row), f"scores/{options.set}/{row}"
        if not cell or cell["trainings"] or key in cells.found or row in NO_WHOLE:
            continue
        training = Training.start(row, python, {**order, "runs": 1}, options.folder)
        try:
            training.process.wait()
        finally:
            training.end()
        training.settle()
        (only,) = training.whole()
        cells.keep(key, only["test"])
        print(f"{options.set} {row}: {only['test']:.4f}", file=sys.stderr, flush=True)


def compare(options: argparse.Namespace, cells: Cells) -> None:
    """Train the rows of a set in turns, and keep what each gave."""
    done = cells.of("rows", options.set)
    asked = {row: order for row, order in orders(options, cells).items() if row not in done}
    trainings = [Training.start(row, python, order, options.folder) for row, (python, order) in asked.items()]
    for one in measure(trainings, options):
        given = asked[one.row][1]["settings"]
        found = {"windows": one.windows, "trainings": one.whole(), "settings": given, "window": options.window}
        if one.row == "products":
            found["summary"] = next((said["summary"] for said in one.stamps if "summary" in said), {})
        cells.keep(f"rows/{options.set}/{one.row}", found)


# The cohorts ----------------------------------------------------------------------------------------------------------


def prepare_set(options: argparse.Namespace) -> None:
    """The prepared cohort of a set, as bedside divides it by default; one that is there is taken."""
    from bedside.data import Cohort, prepare
    from bedside.protocol import AuditSection, CleanSection, DataSection, SplitSection

    place = options.folder / "cohorts" / options.set
    if (place / "texts.json").is_file():
        return
    place.mkdir(parents=True, exist_ok=True)
    source, data = options.data, {
        "s2d": DataSection(source="symptom2disease/symptom2disease.csv", text="text", label="label"),
        "mts": DataSection(
            source="mtsamples/mtsamples_unique_multilabel.csv.gz", text="transcription", label="primary_specialty",
            rare="drop",
        ),
        "even": DataSection(source="even.csv", text="text", label="label"),
    }[options.set]  # fmt: skip
    if options.set == "even":
        source = place
        even_notes(place / "even.csv", options)
    cohort = prepare(
        data, CleanSection(), SplitSection(), base=source, seed=options.seed, key=bytes(32), audit=AuditSection(cases=0)
    )
    if options.quick:
        cohort = Cohort(_few(cohort.frame), cohort.labels, cohort.report)
    cohort.save(place)
    parts = ("train", "validation", "test")
    texts = {part: cohort.texts(part) for part in parts}
    targets = {part: cohort.targets(part).tolist() for part in parts}
    whole = {"labels": list(cohort.labels), "texts": texts, "targets": targets, "tokens": _lengths(texts, options)}
    (place / "texts.json").write_text(json.dumps(whole), encoding="utf-8")


def _lengths(texts: dict[str, list[str]], options: argparse.Namespace) -> dict[str, float]:
    """Tokens of a training note on average: all of them, and where notes are cut as the Trainer's rows do."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(options.base)
    lengths = [len(ids) for ids in tokenizer(texts["train"], truncation=False, verbose=False)["input_ids"]]
    return {"whole": statistics.mean(lengths), "cut": statistics.mean(min(one, LIMIT) for one in lengths)}


def _few(frame: Any) -> Any:
    """A case or two of each label in each split."""
    return frame.group_by(["split", "label"], maintain_order=True).head(2)


def even_notes(path: Path, options: argparse.Namespace, tokens: int = 256) -> None:
    """SYNTHETIC notes that are exactly so many tokens long: words that are one token each, drawn at random."""
    import csv
    import random

    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(options.base)
    words = sorted(word for word in tokenizer.get_vocab() if word.isascii() and word.isalpha() and len(word) > 3)
    if len(words) < tokens:  # a tokenizer made for a test
        words = [*words, *(word * 2 for word in words)]
    draw = random.Random(options.seed)
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label"])
        for number in range(64 if options.quick else 800):
            label = number % 8
            said = [draw.choice(words[label::8] if draw.random() < 0.5 else words) for _ in range(tokens - 2)]
            rows.writerow([" ".join(said), f"label {label}"])


def flops(base: str, tokens: int) -> float:
    """GFLOP of matrix products behind one note of so many tokens: forward, and twice that backward, of all layers."""
    config = json.loads((Path(base) / "config.json").read_text())
    width, inner, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    a_token = layers * (2 * (4 * width**2 + 2 * width * inner) + 4 * tokens * width)
    return float(3 * tokens * a_token / 1e9)


# What is printed ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """A row's figures; what was not measured is None."""

    name: str
    speed: float | None
    spread: str
    seconds: float | None
    projected: bool
    score: float | None
    scores: str

    @classmethod
    def of(cls, name: str, cell: dict[str, Any], notes: int, score: float | None = None) -> Row:
        """From a finished cell; ``notes`` of the training split, ``score`` of a training that was not timed."""
        seconds = [one["seconds"] for one in cell["trainings"]]
        rates = cell["windows"] or [notes * cell["settings"].get("epochs", 1) / one for one in seconds]
        speed = statistics.median(rates)
        spread = f"{min(rates):.1f} to {max(rates):.1f}, n = {len(rates)}"
        scores = [one["test"] for one in cell["trainings"]] or ([] if score is None else [score])
        projected = not seconds
        if projected and name in EPOCHS:
            seconds = [cell.get("settings", {}).get("epochs", EPOCHS[name]) * notes / speed]
        return cls(
            name,
            speed,
            spread,
            statistics.median(seconds) if seconds else None,
            projected,
            statistics.mean(scores) if scores else None,
            f"{min(scores):.3f} to {max(scores):.3f}, n = {len(scores)}" if scores else "",
        )


def table(name: str, cells: Cells, folder: Path) -> None:
    """The rows of a set beside the Trainer's, and whether the goals are reached."""
    found = cells.of("rows", name)
    if "trainer" not in found:
        return
    prepared = json.loads((folder / "cohorts" / name / "texts.json").read_text(encoding="utf-8"))
    notes, lengths = len(prepared["targets"]["train"]), prepared["tokens"]
    scored = cells.of("scores", name)
    rows = {row: Row.of(row, found[row], notes, scored.get(row)) for row in TITLES if row in found}
    best = rows["trainer"]
    print(
        f"\n## {SETS[name]}\n\n{notes:,} notes to learn from, {len(prepared['targets']['test'])} to test on, ", end=""
    )
    print(
        f"{len(prepared['labels'])} labels; {lengths['whole']:.0f} tokens a note, {lengths['cut']:.0f} cut at {LIMIT}\n"
    )
    print(
        "| row | notes/s (windows) | × (b) | seconds, whole | (b)'s / its | macro-F1, test | points from (b) | counts |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for row in rows.values():
        print(_line(row, best))
    full = [row for row in rows.values() if row.name in {"full", "short"} and counts(row, best)]
    goal("notes/s of bedside, full ≥ 1.5 × (b)", max((row.speed / best.speed for row in full), default=None), 1.5)
    quick = [row for row in rows.values() if row.name in {"full", "short", "lora", "probe"} and counts(row, best)]
    goal("(b)'s seconds ≥ 3 × those of bedside's quickest row that counts", _quickest(quick, best), 3.0)


def _quickest(rows: list[Row], best: Row) -> float | None:
    return max((best.seconds / row.seconds for row in rows if row.seconds and best.seconds), default=None)


def counts(row: Row, best: Row) -> bool:
    """Whether its macro-F1 is not more than half a point below the Trainer's."""
    return row.score is not None and best.score is not None and row.score >= best.score - POINTS


def _line(row: Row, best: Row) -> str:
    speed, ratio = f"{row.speed:.1f} ({row.spread})", f"{row.speed / best.speed:.2f}"
    seconds = "not run" if row.seconds is None else f"{row.seconds:.0f}" + (" (projected)" if row.projected else "")
    against = f"{best.seconds / row.seconds:.1f}" if row.seconds and best.seconds else ""
    score = "not run" if row.score is None else f"{row.score:.3f} ({row.scores})"
    apart = "" if row.score is None or best.score is None else f"{100 * (row.score - best.score):+.1f}"
    said = "yes" if counts(row, best) else "not shown" if row.score is None else "no"
    return f"| {TITLES[row.name]} | {speed} | {ratio} | {seconds} | {against} | {score} | {apart} | {said} |"


def goal(said: str, reached: float | None, wanted: float) -> None:
    """A goal, and what was reached."""
    figure = "no row counts" if reached is None else f"{reached:.2f}"
    print(f"\nGoal: {said}: {figure}, {'reached' if reached is not None and reached >= wanted else 'NOT reached'}.")


def share(cells: Cells, base: str) -> None:
    """The share of the machine's rate that training reaches."""
    found = cells.of("rows", "even")
    if "products" not in found:
        return
    rate, each = statistics.median(found["products"]["windows"]), flops(base, 256)
    print(f"\n## {SETS['even']}: {each:.1f} GFLOP of matrix products a note\n")
    print("| | notes/s | GFLOP/s | share of the rate |\n|---|---|---|---|")
    summary = found["products"]["summary"]
    print(f"| torch.mm in bf16 | | {rate:,.0f} {summary or ''} | 1.00 |")
    for row in ("trainer", "full"):
        if row in found:
            speed = statistics.median(found[row]["windows"])
            print(f"| {TITLES[row]} | {speed:.1f} | {speed * each:,.0f} | {speed * each / rate:.2f} |")
    if "full" in found:
        reached = statistics.median(found["full"]["windows"]) * each / rate
        goal("share of the machine's bf16 matrix-product rate ≥ 0.50", reached, 0.5)


def show(options: argparse.Namespace, cells: Cells) -> None:
    """All tables that there are figures for."""
    print(f"    {' '.join(['python', 'benchmarks/training.py', *sys.argv[1:]])}\n")
    names = ("torch", "transformers", "accelerate", "peft")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    print(
        f"Seed {options.seed}; {os.cpu_count()} shared CPU cores ({platform.machine()}), "
        f"{options.threads} threads a row; windows of {options.window:g} s; "
        f"Python {platform.python_version()}, {versions}."
    )
    for name in options.sets:
        if name != "even":
            table(name, cells, options.folder)
        tried = cells.of("search", name)
        if tried:
            said = ", ".join(f"{rate}: {one['validation']:.3f}" for rate, one in tried.items())
            print(f"\n(b)'s rates, macro-F1 on validation: {said}.")
        if "trainer" in cells.of("rows", name):
            print(f"\n(b) as measured: {cells.of('rows', name)['trainer']['settings']}.")
    share(cells, options.base)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the folder with symptom2disease/ and mtsamples/")
    parser.add_argument("--folder", type=Path, required=True, help="for cohorts, logs and what is finished")
    parser.add_argument("--base", help="a folder with a BERT; builtin:minilm if not given")
    parser.add_argument("--parts", nargs="+", default=["rows"], choices=["search", "rows", "scores", "show"])
    parser.add_argument("--sets", nargs="+", default=["s2d", "mts", "even"], choices=list(SETS))
    parser.add_argument(
        "--rows", nargs="+", default=[row for row in TITLES if row not in OPTIONAL], choices=list(TITLES)
    )
    parser.add_argument("--rates", type=float, nargs="+", default=RATES, help="of the search")
    parser.add_argument("--window", type=float, default=60.0, help="seconds")
    parser.add_argument("--repeats", type=int, default=3, help="windows of a row, at least")
    parser.add_argument(
        "--no-whole", nargs="+", default=[], choices=list(TITLES), help="rows of which windows are enough"
    )
    parser.add_argument("--threads", type=int, default=2, help="of each row")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--python-of-peers", help="a Python that has SetFit; its rows are left out if not given")
    parser.add_argument("--quick", action="store_true", help="a few notes and steps, to see that everything runs")
    return parser.parse_args(given)


def main() -> None:
    from bedside.models import weights

    options = arguments()
    options.base = options.base or str(weights.locate("builtin:minilm"))
    options.folder.mkdir(parents=True, exist_ok=True)
    cells = Cells(options.folder / "cells.json")
    for name in options.sets:
        options.set = name
        prepare_set(options)
        if "search" in options.parts and name != "even" and "trainer" in options.rows:
            search(options, cells)
        if "rows" in options.parts:
            compare(options, cells)
        if "scores" in options.parts:
            score(options, cells)
    show(options, cells)


if __name__ == "__main__":
    main()
