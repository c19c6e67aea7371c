"""kill -9 inside every stage: the next run completes it, gives the same bytes, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import small_line
from small_line import bedside, change, command, copy, leftovers, products

from bedside.bundle import verify_bundle
from bedside.core import evidence
from bedside.study import Study

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL to send"),
]

# Kills its own process in the moment before the nth file of a name would take its place.
_AT_A_RENAME = """
import os, signal, sys
_left = [{count}]
def _watch(event, arguments):
    if event == "os.rename" and os.fspath(arguments[1]).endswith({name!r}):
        _left[0] -= 1
        if _left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(_watch)
"""
# Kills its own process after the nth step of the optimiser, whoever calls it.
_AT_A_STEP = """
import os, signal
from torch.optim.optimizer import register_optimizer_step_post_hook
_steps = []
def _count(*_):
    _steps.append(1)
    if len(_steps) == {count}:
        os.kill(os.getpid(), signal.SIGKILL)
register_optimizer_step_post_hook(_count)
"""


def _looks(study: Path) -> list[str]:
    return [entry["kind"] for entry in evidence.read(study / "evidence.jsonl")]


@pytest.mark.parametrize("stage", small_line.STAGES)
def test_killed_from_outside_as_a_stage_works(snapshots: dict[str, Path], stage: str) -> None:
    study = copy(snapshots[stage], snapshots[stage].with_name(f"killed-{stage}"))
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command("run", study), stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        announced = next(line for line in process.stderr if f"] {stage}: " in line)
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL, announced
    assert not Study.open(study).done(stage)
    again = bedside("run", study)
    assert again.returncode == 0, again.stderr
    assert f"] {stage}: " in again.stderr
    assert products(study) == products(snapshots["done"])
    assert leftovers(study) == []
    assert _looks(study) == ["test opened", "evaluated"]


@pytest.mark.parametrize(
    ("stage", "name", "count"),
    [
        ("prepare", "cohort/cases.parquet", 1),
        ("baseline", "runs/baseline/tfidf", 1),
        ("train", "runs/main/manifest.json", 1),
        ("evaluate", "evidence.jsonl", 1),  # before the look at the test split is written down
        ("evaluate", "evaluation/metrics.json", 1),
        ("evaluate", "evidence.jsonl", 2),  # before the figures are bound
        ("evaluate", "evaluation/manifest.json", 1),
        ("package", "bundle", 1),
        ("package", "bundle.manifest.json", 1),
    ],
)
def test_killed_in_the_moment_before_a_file_is_there(
    snapshots: dict[str, Path], stage: str, name: str, count: int
) -> None:
    study = copy(snapshots[stage], snapshots[stage].with_name(f"moment-{name.replace('/', '-')}-{count}"))
    killed = bedside("run", study, code=_AT_A_RENAME.format(count=count, name=f"/{name}"))
    assert killed.returncode == -signal.SIGKILL
    assert leftovers(study) != []
    assert not Study.open(study).done(stage)
    until = stage if stage in {"prepare", "baseline"} else None  # what follows is the test's above
    assert next(one.stage for one in Study.open(study).run(until) if one.ran) == stage
    assert leftovers(study) == []
    undisturbed = products(snapshots["done"])
    found = products(study)
    assert found == (undisturbed if until is None else {name: undisturbed[name] for name in found})
    if until is None:
        assert _looks(study) == ["test opened", "evaluated"]


def test_killed_while_an_older_bundle_makes_way(snapshots: dict[str, Path]) -> None:
    study = Study.open(copy(snapshots["done"], snapshots["done"].with_name("replaced")))
    change(study, "package", version="0.3.0")
    # The first rename moves the old one aside, the second would bring the new one.
    killed = bedside("run", study.folder, code=_AT_A_RENAME.format(count=1, name="/bundle"))
    assert killed.returncode == -signal.SIGKILL
    assert ".bundle.old" in leftovers(study.folder)
    assert [one.stage for one in Study.open(study.folder).run() if one.ran] == ["package"]
    assert leftovers(study.folder) == []
    assert verify_bundle(study.bundle()).startswith("sha256:")
    assert Study.open(study.folder).diagnoser().info["version"] == "0.3.0"


def test_killed_in_the_middle_of_fine_tuning(minilm: dict[str, Path]) -> None:
    study = Study.open(copy(minilm["train"], minilm["train"].with_name("killed")))
    killed = bedside("run", study.folder, code=_AT_A_STEP.format(count=3))
    assert killed.returncode == -signal.SIGKILL
    assert not study.done("train")
    assert not (study.path("train") / "model").exists()
    again = bedside("run", study.folder)
    assert again.returncode == 0, again.stderr
    assert leftovers(study.folder) == []
    found, undisturbed = products(study.folder), products(minilm["done"])
    for name in ("runs/main/model/model.safetensors", "bundle/model.safetensors", "evaluation/metrics.json"):
        assert found[name] == undisturbed[name]
