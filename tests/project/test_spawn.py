"""Processes that start from nothing, as on Windows and macOS: a study made and run in one is the study made here."""

from __future__ import annotations

import ast
import csv
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

from bedside.core.files import sha256_file
from bedside.study.demo import write_sample

SOURCE = Path(__file__).resolve().parents[2] / "src" / "bedside"

_SCRIPT = """
import json
import multiprocessing
import os
import sys
from pathlib import Path

NOTES = Path(sys.argv[1])
PLACES = [Path(word) for word in sys.argv[2:]]


def work(place):
    import bedside
    from bedside.protocol import render

    protocol_file = place / "protocol.toml"
    protocol = bedside.create(NOTES, place).study.protocol
    changes = {
        "study": protocol.study.model_copy(update={"name": "spawn"}),
        "model": protocol.model.model_copy(update={"base": "builtin:tfidf"}),
        "evaluate": protocol.evaluate.model_copy(update={"resamples": 100}),
    }
    protocol_file.write_text(render(protocol.model_copy(update=changes)), encoding="utf-8")
    study = bedside.Study.open(place)
    study.run()
    rows = study.diagnoser().predict_proba(["62F with pleuritic chest pain. " * 20])
    return os.getpid(), rows.tolist()


if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        spawned = pool.apply_async(work, (PLACES[0],))
        here = work(PLACES[1])
        there = spawned.get()
    print(json.dumps({"here": here, "there": there}))
"""


def test_a_spawned_process_makes_the_same_study(tmp_path) -> None:
    notes = few_diagnoses(tmp_path / "the clinic")
    script = tmp_path / "a script.py"
    script.write_text(_SCRIPT, encoding="utf-8")
    places = [tmp_path / "étude für Ärzte 1", tmp_path / "çalişma 研究 2"]
    done = subprocess.run(
        [sys.executable, script, notes, *places],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["here"][0] != said["there"][0]
    assert said["here"][1] == said["there"][1]
    spawned, own = (products(place) for place in places)
    assert "evaluation/metrics.json" in spawned
    assert any(name.startswith("runs/main/model/") for name in spawned)
    assert spawned == own


def few_diagnoses(folder: Path) -> Path:
    """A table with the six commonest diagnoses of a sample clinic: quick to learn."""
    write_sample(folder, notes=600)
    with (folder / "notes.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    label = header.index("diagnosis")
    common = {name for name, _ in Counter(row[label] for row in rows).most_common(6)}
    with (folder / "few.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *(row for row in rows if row[label] in common)])
    return folder / "few.csv"


def products(study: Path) -> dict[str, str]:
    """The SHA-256 of what a study measured and learned, by path."""
    files = [
        study / "evaluation" / "metrics.json",
        study / "evaluation" / "predictions.parquet",
        study / "cohort" / "cases.parquet",
        *sorted((study / "runs" / "main" / "model").rglob("*")),
    ]
    return {file.relative_to(study).as_posix(): sha256_file(file) for file in files if file.is_file()}


def test_nothing_forks_and_no_path_is_glued_together() -> None:
    """``os.fork`` is absent on Windows, ``os.path.join`` and ``+ "/" +`` forget its separator."""
    for path in SOURCE.rglob("*.py"):
        kills = path == SOURCE / "study" / "trial.py"  # of the self-test, which says that it needs Unix
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert kills or not attribute(node, "os", "fork"), f"{path}:{node.lineno} forks"
            assert not attribute(node, "path", "join"), f"{path}:{node.lineno} joins a path as text"
            assert not glued(node), f"{path}:{node.lineno} joins a path as text"


def attribute(node: ast.AST, owner: str, name: str) -> bool:
    """Whether a node is ``owner.name`` or ``….owner.name``."""
    if not (isinstance(node, ast.Attribute) and node.attr == name):
        return False
    return getattr(node.value, "id", None) == owner or getattr(node.value, "attr", None) == owner


def glued(node: ast.AST) -> bool:
    """Whether something is added to a text that is a separator."""
    sides = (node.left, node.right) if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) else ()
    return any(isinstance(side, ast.Constant) and side.value in {"/", "\\"} for side in sides)
