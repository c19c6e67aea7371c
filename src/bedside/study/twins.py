"""A prepared SYNTHETIC study, its undisturbed training, and twins that train in processes of their own.

The self-test lets something go wrong in a twin, starts it again, and compares what it ends with.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from bedside.core.errors import MachineError
from bedside.core.files import sha256_file, sha256_tree, write_text
from bedside.core.progress import Progress
from bedside.core.seeds import derive

LABELS = ("Appendicitis", "Gout", "Pulmonary embolism")
_TRIAL = [sys.executable, "-m", "bedside.study.trial"]
_SHOWN = 400  # characters of a note
_PATIENCE = 900  # seconds that one process may take


@dataclass
class Ended:
    """How a process ended: its exit code (negative: the signal), and what it said."""

    code: int
    said: str


@dataclass(frozen=True)
class _Process:
    """A process under way: its id, and whether it has not ended yet."""

    id: int
    alive: Callable[[], bool]


class Nursery:
    """A process that has imported everything, and forks one for each trial."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [*_TRIAL, "nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # what libraries say when they are imported; a trial has a file for what it says
            text=True,
            env=_environment(),
        )

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *_: object) -> None:
        self._in.close()
        self._process.wait(_PATIENCE)
        self._out.close()

    @property
    def _in(self) -> IO[str]:
        if self._process.stdin is None:
            raise RuntimeError("the nursery was started with a pipe")
        return self._process.stdin

    @property
    def _out(self) -> IO[str]:
        if self._process.stdout is None:
            raise RuntimeError("the nursery was started with a pipe")
        return self._process.stdout

    def run(self, plan: str, watch: Callable[[_Process], None]) -> int:
        """Fork a process for a plan, let ``watch`` see it, and wait for its exit code."""
        self._in.write(f"{plan}\n")
        self._in.flush()
        number = int(self._out.readline())
        watch(_Process(number, lambda: _answers(number)))
        return int(self._out.readline())


def _environment() -> dict[str, str]:
    return {**os.environ, "TOKENIZERS_PARALLELISM": "false", "PYTHONWARNINGS": "ignore"}


@dataclass
class Bench:
    """A prepared SYNTHETIC study, its undisturbed run, and the means to run twins of it.

    Attributes:
        folder: where all of it lies.
        seed: of the study, and of what is drawn.
        nursery: where processes come from; the undisturbed run has an interpreter of its own.
        progress: told of each trial.
        whole: SHA-256 of the undisturbed run's files.
        steps: that it took.
        epoch: steps of one epoch.
        seconds: of one step, about.
    """

    folder: Path
    seed: int
    nursery: Nursery
    progress: Progress
    whole: dict[str, str] = field(default_factory=dict)
    steps: int = 0
    epoch: int = 0
    seconds: float = 0.0

    def make(self, notes: int, base: str, train: Mapping[str, Any]) -> None:
        """Prepare the study, and train it without disturbance."""
        from bedside.study.study import Study

        model = {"base": base or str(_tiny_encoder(self.folder, notes, self.seed)), "window": 64, "overlap": 8}
        _make_study(self.folder, notes, self.seed, model, train)
        Study.open(self._study).run("baseline")
        twin = self.twin("undisturbed")
        ended = self.run(twin, fresh=True)
        if ended.code:
            last = "".join(ended.said.strip().splitlines()[-1:])
            raise MachineError(f"Training does not run undisturbed with this seed ({last}); try another --seed.")
        self.whole = products(twin)
        lines = log_of(twin)
        self.steps = sum("step" in line for line in lines)
        self.epoch = sum("step" in line and line["epoch"] == 1 for line in lines)
        summary = json.loads((run_folder(twin) / "summary.json").read_bytes())
        self.seconds = max(summary["seconds"] / max(self.steps, 1), 0.001)

    @property
    def _study(self) -> Path:
        return self.folder / "study"

    def random(self, *names: str) -> np.random.Generator:
        """What a trial draws from."""
        return np.random.default_rng(derive(self.seed, "selftest", *names))

    def twin(self, name: str, **train: Any) -> Path:
        """A fresh copy of the prepared study, with keys of ``train`` changed."""
        place = self.folder / name
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self._study, place)
        if train:
            _change(place, "train", train)
        return place

    def run(
        self,
        study: Path,
        fault: list[Any] | None = None,
        kill: tuple[int, float] | None = None,
        *,
        fresh: bool = False,
    ) -> Ended:
        """Train in a process of its own.

        Args:
            study: a twin.
            fault: what is to go wrong in the process.
            kill: send SIGKILL when so many steps are done, and so many seconds have passed since.
            fresh: in an interpreter of its own, which takes seconds to start.
        """
        log, steps = study / "said.txt", study / "steps.txt"
        log.unlink(missing_ok=True)
        steps.unlink(missing_ok=True)
        plan = json.dumps(
            {"study": str(study), "log": str(log), "steps": str(steps), "fault": fault, "patience": _PATIENCE}
        )

        def watch(process: _Process) -> None:
            if kill is not None:
                _kill_when(process, steps, *kill)

        code = _run_fresh([*_TRIAL, plan], watch) if fresh else self.nursery.run(plan, watch)
        return Ended(code, log.read_text(encoding="utf-8") if log.exists() else "")

    def same(self, study: Path) -> str | None:
        """None where a run ended with the very files of the undisturbed one; else which differs."""
        found = products(study)
        for name in sorted({*found, *self.whole}):
            if found.get(name) != self.whole.get(name):
                return f"{name} differs from the undisturbed run's"
        return None


def _run_fresh(command: list[str], watch: Callable[[_Process], None]) -> int:
    with subprocess.Popen(command, env=_environment(), stderr=subprocess.DEVNULL) as process:
        watch(_Process(process.pid, lambda: process.poll() is None))
        return process.wait(_PATIENCE)


def _kill_when(process: _Process, steps: Path, after: int, seconds: float) -> None:
    """Send SIGKILL when so many steps are done and so many seconds have passed since, or never if it ends before."""
    until = time.monotonic() + _PATIENCE
    while process.alive() and time.monotonic() < until:
        if steps.exists() and int(steps.read_bytes()[:8] or b"-1") >= after:
            time.sleep(seconds)
            break
        time.sleep(0.002)
    if process.alive():
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.id, signal.SIGKILL)


def _answers(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def run_folder(study: Path) -> Path:
    """Where a study's training writes."""
    return study / "runs" / "main"


def products(study: Path) -> dict[str, str]:
    """SHA-256 of what a finished training leaves that holds no time: the model, and the loss of every step."""
    folder = run_folder(study)
    found = {f"model/{name}": sha for name, sha in sha256_tree(folder / "model").items()}
    log = folder / "log.jsonl"
    return {**found, **({"log.jsonl": sha256_file(log)} if log.is_file() else {})}


def log_of(study: Path) -> list[dict[str, Any]]:
    """The lines of a training's log."""
    text = (run_folder(study) / "log.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def losses_of(study: Path) -> list[float]:
    """The loss of every step of a training."""
    return [line["loss"] for line in log_of(study) if "loss" in line]


def run_shared(study: Path, kill_after: int | None = None) -> Ended:
    """Train in two processes; kill the second after so many steps."""
    log, steps = study / "said.txt", study / "steps.txt"
    log.unlink(missing_ok=True)
    fault = None if kill_after is None else ["kill rank", kill_after, 1]
    plan = json.dumps(
        {"study": str(study), "log": str(log), "steps": str(steps), "fault": fault, "patience": _PATIENCE}
    )
    run = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "bedside.study.trial", plan]
    environment = {**_environment(), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *run], env=environment, capture_output=True, check=False, timeout=_PATIENCE
    )
    return Ended(done.returncode, log.read_text(encoding="utf-8") if log.exists() else "")


def _make_study(folder: Path, notes: int, seed: int, model: Mapping[str, Any], train: Mapping[str, Any]) -> None:
    """A study of three diagnoses of the SYNTHETIC sample clinic."""
    from bedside.study.init import create

    place = folder / "study"
    shutil.rmtree(place, ignore_errors=True)
    create(_table(folder, notes, seed), place, text="note", label="diagnosis", patient="patient_id")
    _change(place, "model", model)
    _change(place, "train", train)


def _table(folder: Path, notes: int, seed: int) -> Path:
    """The notes of three diagnoses, each cut, as a table."""
    import polars as pl

    from bedside.study.demo import write_sample

    table = folder / "sample" / "notes.csv"
    if not table.is_file():
        write_sample(folder / "sample", notes=notes, seed=seed)
        rows = pl.read_csv(table, infer_schema=False).filter(pl.col("diagnosis").is_in(LABELS))
        rows.with_columns(pl.col("note").str.slice(0, _SHOWN)).write_csv(table)
    return table


def _change(study: Path, section: str, values: Mapping[str, Any]) -> None:
    """Change keys of a study's protocol."""
    from bedside.protocol import load, render

    protocol = load(study / "protocol.toml")
    part = getattr(protocol, section)
    part = type(part).model_validate({**part.model_dump(), **values})
    write_text(study / "protocol.toml", render(protocol.model_copy(update={section: part})))


def _tiny_encoder(folder: Path, notes: int, seed: int) -> Path:
    """A BERT with random weights that knows the words of the notes."""
    import polars as pl
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    place = folder / "encoder"
    text = pl.read_csv(_table(folder, notes, seed), infer_schema=False)["note"].str.to_lowercase()
    words = sorted({word for note in text for word in note.split() if word.isalpha()})
    names = ("pad", "unk", "cls", "sep", "mask")
    specials = [f"[{name.upper()}]" for name in names]
    vocabulary = {word: number for number, word in enumerate([*specials, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))  # noqa: S106 (a token of text)
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    told = {f"{name}_token": special for name, special in zip(names, specials, strict=True)}
    fast: Any = PreTrainedTokenizerFast
    fast(tokenizer_object=tokenizer, model_max_length=64, **told).save_pretrained(place)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "selftest", "encoder"))
        config = BertConfig(
            vocab_size=len(vocabulary),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=64,
        )
        BertModel(config).save_pretrained(place)
    return place
