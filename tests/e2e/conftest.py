"""A small study, as each stage leaves it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import small_line


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the site key of all small studies, so that their pseudonyms are the same."""
    return tmp_path_factory.mktemp("site")


@pytest.fixture(autouse=True)
def _one_site(config: Path, _own_config: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEDSIDE_CONFIG", str(config))


@pytest.fixture(scope="session")
def snapshots(tmp_path_factory: pytest.TempPathFactory, config: Path) -> dict[str, Path]:
    """A study before each stage, by the stage's name, and ``done``: run without disturbance."""
    folder = tmp_path_factory.mktemp("small")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BEDSIDE_CONFIG", str(config))
        study = small_line.make_study(small_line.small_table(folder / "sample"), folder / "study")
        found = {}
        for stage in small_line.STAGES:
            found[stage] = small_line.copy(study.folder, folder / f"before-{stage}")
            study.run(stage)
    return {**found, "done": study.folder}


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two thin layers with random weights and MiniLM's words, as a folder that a protocol may name."""
    return small_line.tiny_encoder(tmp_path_factory.mktemp("tiny") / "tiny-bert")


@pytest.fixture(scope="session")
def encoder_study(tmp_path_factory: pytest.TempPathFactory, config: Path, tiny_encoder: Path) -> Path:
    """A finished study that fine-tuned the tiny encoder."""
    folder = tmp_path_factory.mktemp("encoder")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BEDSIDE_CONFIG", str(config))
        study = small_line.make_study(
            small_line.small_table(folder / "sample"),
            folder / "study",
            model={"base": str(tiny_encoder), "window": 64, "overlap": 8},
            train=small_line.BRIEF,
        )
        study.run()
    return study.folder


@pytest.fixture(scope="session")
def minilm(tmp_path_factory: pytest.TempPathFactory, config: Path) -> dict[str, Path]:
    """A study that fine-tuned MiniLM on few short notes, before training and ``done``."""
    folder = tmp_path_factory.mktemp("minilm")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BEDSIDE_CONFIG", str(config))
        study = small_line.make_study(
            small_line.small_table(folder / "sample", shown=150), folder / "study", **small_line.MINILM
        )
        study.run("baseline")
        before = small_line.copy(study.folder, folder / "before-train")
        study.run()
    return {"train": before, "done": study.folder}
