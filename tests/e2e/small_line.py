"""Small studies on the sample clinic, and the real ``bedside`` in a process of its own."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from bedside.core.files import sha256_file, write_text
from bedside.protocol import render
from bedside.study import Study, create
from bedside.study.demo import write_sample

STAGES = ("prepare", "baseline", "train", "evaluate", "package")
# A training that is short, and the same on every machine with as many threads.
BRIEF = {
    "epochs": 2,
    "patience": 2,
    "learning_rate": 2e-4,
    "batch_tokens": 1024,
    "warm_start": True,
    "precision": "fp32",
    "device": "cpu",
    "threads": 1,
}
MINILM: dict[str, dict[str, Any]] = {
    "model": {"base": "builtin:minilm", "window": 64, "overlap": 8},
    "train": {**BRIEF, "epochs": 1, "batch_tokens": 512},
}
LABELS = ("Pulmonary embolism", "Appendicitis", "Gout")


def small_table(
    folder: Path, *, shown: int = 400, change: Callable[[pl.DataFrame], pl.DataFrame] | None = None
) -> Path:
    """Three diagnoses of a sample clinic, each note cut to ``shown`` characters, as a table beside its README."""
    write_sample(folder, notes=1000)
    table = folder / "notes.csv"
    rows = pl.read_csv(table, infer_schema=False).filter(pl.col("diagnosis").is_in(LABELS))
    rows = rows.with_columns(pl.col("note").str.slice(0, shown))
    (rows if change is None else change(rows)).write_csv(table)
    return table


def make_study(table: Path, folder: Path, **sections: Mapping[str, Any]) -> Study:
    """A study of a small table with the quickest model, ``sections`` changed as given."""
    created = create(table, folder, text="note", label="diagnosis", patient="patient_id").study
    quick: dict[str, dict[str, Any]] = {
        "study": {"name": "small"},  # not the folder's, so that two copies give the same bundle
        "model": {"base": "builtin:tfidf"},
        "evaluate": {"resamples": 100},
    }
    for section, values in sections.items():
        quick[section] = {**quick.get(section, {}), **values}
    for section, values in quick.items():
        change(created, section, **values)
    return Study.open(folder)


def change(study: Study, section: str, **values: Any) -> None:
    """Change keys of a study's protocol on the disk."""
    protocol = Study.open(study.folder).protocol
    part = getattr(protocol, section)
    part = type(part).model_validate({**part.model_dump(), **values})
    write_text(study.folder / "protocol.toml", render(protocol.model_copy(update={section: part})))


def tiny_encoder(folder: Path) -> Path:
    """A BERT with random weights and MiniLM's tokenizer in a folder."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

    from bedside.models import weights

    source = weights.locate("builtin:minilm")
    tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
    torch.manual_seed(0)
    shape = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
    )
    BertModel(shape).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def copy(study: Path, place: Path) -> Path:
    """A study's twin: the same bytes and times."""
    shutil.copytree(study, place, symlinks=True)
    return place


def bedside(*words: str | Path, code: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end; ``code`` runs first, in the same process."""
    return subprocess.run(
        command(*words, code=code),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
        timeout=300,
    )


def command(*words: str | Path, code: str | None = None) -> list[str]:
    """The command that runs ``bedside`` with these words."""
    if code is None:
        return [sys.executable, "-m", "bedside", *map(str, words)]
    whole = f"{code}\nimport sys\nfrom bedside.cli import main\nsys.exit(main(sys.argv[1:]))"
    return [sys.executable, "-c", whole, *map(str, words)]


# What holds times or durations, and what lists the hashes of such.
_OF_THE_MOMENT = ("manifest.json", "evidence.jsonl", "SHA256SUMS", "summary.json", ".lock", "protocol.toml")


def products(study: Path) -> dict[str, str]:
    """The SHA-256 of every file that the stages wrote, but of those that hold times."""
    return {
        file.relative_to(study).as_posix(): sha256_file(file)
        for file in sorted(study.rglob("*"))
        if file.is_file() and not file.name.endswith(_OF_THE_MOMENT)
    }


def leftovers(study: Path) -> list[str]:
    """Temporary files and folders that somebody left in a study."""
    return sorted(place.relative_to(study).as_posix() for place in study.rglob(".*") if place.name != ".lock")


class Serving(NamedTuple):
    """A ``bedside serve`` under way: where it listens, the key that it showed, and the file with what it wrote."""

    url: str
    key: str
    log: Path


@contextlib.contextmanager
def serving(place: Path, log: Path, *, code: str | None = None, **environment: str) -> Iterator[Serving]:
    """The real ``bedside serve`` with a new key on a free port, in a process of its own; ended like a service."""
    words = command("serve", place, "--port", "0", "--new-key", code=code)
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(words, stdout=file, stderr=file, env={**os.environ, **environment})
        try:
            yield Serving(*_announced(process, log), log)
        finally:
            process.terminate()
            ended = process.wait(60)
    assert ended == 0, log.read_text(encoding="utf-8")


def _announced(process: subprocess.Popen[bytes], log: Path) -> tuple[str, str]:
    """The address and the key, once the server says that it listens."""
    while process.poll() is None:
        said = log.read_text(encoding="utf-8")
        if "Ctrl-C stops it." in said:
            return re.findall(r" on (http://\S+)", said)[0], re.findall(r"BEDSIDE_KEY=(\S+)", said)[0]
        time.sleep(0.05)
    raise AssertionError(log.read_text(encoding="utf-8"))
