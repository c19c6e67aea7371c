"""The self-test of training at small size: real kills, hurt checkpoints, two processes. And it finds what is broken."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bedside.cli import main
from bedside.core.progress import SILENT
from bedside.study import selftest
from bedside.study.selftest import Size
from bedside.study.twins import Bench, Nursery

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL to send"),
]
SMALL = Size(kills=2, faults=10, losses=2, base="", notes=400)
# What a resumed run would be whose optimiser forgets, and one that takes checkpoints unread.
FORGETS = "from bedside.training.loop import Loop\nLoop._put_moments = lambda self, found: None\n"
BELIEVES = "from bedside.training import checkpoints\ncheckpoints._fault_of = lambda place: None\n"


def test_training_keeps_its_promises(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(selftest, "QUICK", SMALL)
    code = main(["selftest", "training", "--seed", "42", "--quick", "--json", "--quiet"])
    found = json.loads(capsys.readouterr().out)
    assert [one["remark"] for one in found["checks"] if one["passed"] < one["of"]] == []
    assert [one["of"] for one in found["checks"]] == [2, 10, 2, 3, 1, 1, 1]
    assert (code, found["synthetic"], found["seed"]) == (0, True, 42)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, config: Path) -> Bench:
    with pytest.MonkeyPatch.context() as patch, Nursery() as nursery:
        patch.setenv("BEDSIDE_CONFIG", str(config))
        made = Bench(tmp_path_factory.mktemp("bench"), 42, nursery, SILENT)
        made.make(SMALL.notes, "", selftest._TINY)
    return made


def _killed(bench: Bench) -> str | None:
    study = bench.twin("killed")
    return selftest._went_on(bench, study, bench.run(study, kill=(3, 0.0)), [])


def _flipped(bench: Bench) -> str | None:
    hurt = selftest._damaged(lambda file, random: selftest._flip(file.with_name("network.safetensors"), random))
    return hurt(bench, bench.twin("flipped"), bench.random("flip"))


@pytest.mark.parametrize(
    ("broken", "trial", "says"),
    [
        (FORGETS, _killed, "differs from the undisturbed run's"),
        (BELIEVES, _flipped, "flipped"),
    ],
    ids=["an optimiser that forgets", "checkpoints that are believed"],
)
def test_what_is_broken_is_found(
    bench: Bench,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    broken: str,
    trial: Callable[[Bench], str | None],
    says: str,
) -> None:
    (tmp_path / "sitecustomize.py").write_text(broken, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    with Nursery() as bench.nursery:
        assert says in str(trial(bench))
