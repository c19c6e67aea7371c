"""What a second run does: nothing, or no more than it must."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_line import bedside, change, copy, products

from bedside.core import evidence
from bedside.study import Study


def test_a_second_run_does_nothing_and_says_so(snapshots: dict[str, Path]) -> None:
    before = {file: file.stat().st_mtime_ns for file in snapshots["done"].rglob("*") if file.name != ".lock"}
    done = bedside("run", snapshots["done"])
    assert done.returncode == 0
    assert "Nothing to do: prepare, baseline, train, evaluate, package are done" in done.stdout
    assert "[1/5]" not in done.stderr
    assert {file: file.stat().st_mtime_ns for file in snapshots["done"].rglob("*") if file.name != ".lock"} == before


@pytest.mark.parametrize(
    ("section", "values", "redone"),
    [
        # TF-IDF has no epochs: the same weights come out, so nothing after training need be done again.
        ("train", {"epochs": 9}, ["train"]),
        ("answer", {"max_error": 0.1}, ["evaluate", "package"]),
        ("evaluate", {"resamples": 120}, ["evaluate", "package"]),
        ("study", {"name": "other"}, ["evaluate", "package"]),
        ("package", {"version": "0.2.0"}, ["package"]),
        ("serve", {"port": 9000}, []),
    ],
)
def test_a_changed_key_redoes_what_depends_on_it_and_no_more(
    snapshots: dict[str, Path], section: str, values: dict[str, object], redone: list[str]
) -> None:
    study = Study.open(copy(snapshots["done"], snapshots["done"].with_name(f"changed-{section}")))
    change(study, section, **values)
    assert [outcome.stage for outcome in Study.open(study.folder).run() if outcome.ran] == redone
    assert not any(outcome.ran for outcome in Study.open(study.folder).run())


def test_a_training_key_of_an_encoder_redoes_training_and_what_follows(encoder_study: Path) -> None:
    study = Study.open(copy(encoder_study, encoder_study.with_name("slower")))
    change(study, "train", learning_rate=1e-4)
    ran = [outcome.stage for outcome in Study.open(study.folder).run() if outcome.ran]
    assert ran == ["train", "evaluate", "package"]
    assert (
        products(study.folder)["runs/main/model/model.safetensors"]
        != (products(encoder_study)["runs/main/model/model.safetensors"])
    )


def test_a_second_look_at_the_test_split_is_counted(snapshots: dict[str, Path]) -> None:
    study = copy(snapshots["done"], snapshots["done"].with_name("looks"))
    done = bedside("evaluate", study, "--again")
    assert done.returncode == 0
    assert "look 2 of the test split" in done.stderr
    assert [entry["kind"] for entry in evidence.read(study / "evidence.jsonl")] == ["test opened", "evaluated"] * 2
