"""A disk that is full, and one that is read-only: a sentence with the place, nothing half-written, and no harm done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import small_line
from small_disk import SmallDisk, mounted
from small_line import copy, leftovers, products

from bedside.cli import main
from bedside.core import evidence, files
from bedside.study import Study

pytestmark = pytest.mark.e2e
NOTE = "Seen today for a routine check, without any complaint at all. " * 8


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with mounted(tmp_path / "disk") as found:
        yield found


def _mistake(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    """The one sentence of a command that ends in exit code 2, without its announcements."""
    assert main([str(word) for word in words]) == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


def _study(snapshots: dict[str, Path], stage: str, disk: SmallDisk) -> Path:
    """A study before a stage, on the disk; its table is elsewhere, where its protocol looks for it."""
    (disk.folder / "sample").symlink_to(snapshots["done"].parent / "sample")
    return copy(snapshots[stage], disk.folder / "study")


def _written(folder: Path) -> list[Path]:
    return [place for place in folder.rglob("*") if place.is_file()]


@pytest.mark.parametrize("stage", small_line.STAGES)
def test_a_stage_asks_for_room_before_it_begins(
    snapshots: dict[str, Path], disk: SmallDisk, capsys: pytest.CaptureFixture[str], stage: str
) -> None:
    study = _study(snapshots, stage, disk)
    before = products(study)
    disk.leave(1_000_000)
    said = _mistake(capsys, "run", study)
    place = Study.open(study).path(stage)
    assert f"The stage {stage} needs about " in said
    assert f" in {place}, and " in said
    assert "free some space or put the study on another disk." in said
    assert products(study) == before
    assert leftovers(study) == []


@pytest.mark.parametrize("stage", small_line.STAGES)
def test_a_disk_that_fills_as_a_stage_writes(
    snapshots: dict[str, Path],
    disk: SmallDisk,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
) -> None:
    study = _study(snapshots, stage, disk)
    before, undisturbed = products(study), products(snapshots["done"])
    with monkeypatch.context() as patch:
        # As if another program had taken the room after the stage had asked for it.
        patch.setattr(files, "free_bytes", lambda _path: 1 << 40)
        disk.leave(3 * 4096)
        said = _mistake(capsys, "run", study)
    assert f"No space left on the disk while writing {study}/" in said
    assert "free some space and run the same command again, finished stages are kept." in said
    assert not Study.open(study).done(stage)
    assert leftovers(study) == []
    # What is there is whole: what was there before, and perhaps files of the stage as they are to be.
    assert {**before, **products(study)} == products(study)
    assert products(study).items() <= undisturbed.items()
    disk.make_room()
    assert main(["run", str(study), "--quiet"]) == 0
    assert products(study) == undisturbed
    assert leftovers(study) == []
    assert [entry["kind"] for entry in evidence.read(study / "evidence.jsonl")] == ["test opened", "evaluated"]


def test_a_full_disk_takes_no_new_study_and_no_new_key(
    disk: SmallDisk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    table = small_line.small_table(tmp_path / "sample")
    words = ["init", table, "--into", disk.folder / "study", "--text", "note", "--label", "diagnosis"]
    disk.leave(0)
    said = _mistake(capsys, *words)
    assert f"No space left on the disk while writing {disk.folder / 'study' / 'protocol.toml'} (0 bytes free)" in said
    assert _written(disk.folder / "study") == []
    disk.make_room()
    assert main([str(word) for word in words]) == 0
    monkeypatch.setenv("BEDSIDE_CONFIG", str(disk.folder / "config"))
    disk.leave(0)
    said = _mistake(capsys, "keys", "new", "ward-3")
    assert f"No space left on the disk while writing {disk.folder / 'config'}" in said
    assert _written(disk.folder / "config") == []


def test_a_read_only_study_answers_and_says_that_it_cannot_be_changed(
    snapshots: dict[str, Path], disk: SmallDisk, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    study, half = copy(snapshots["done"], disk.folder / "done"), copy(snapshots["train"], disk.folder / "half")
    (tmp_path / "note.txt").write_text(NOTE, encoding="utf-8")
    disk.forbid_writing()
    assert main(["verify", str(study)]) == 0
    assert main(["predict", str(study), str(tmp_path / "note.txt")]) == 0
    table = snapshots["done"].parent / "sample" / "notes.csv"
    for words, place in [
        (("run", half), half),
        (("evaluate", study, "--again"), study),
        (("init", table, "--into", disk.folder / "new"), disk.folder / "new"),
        (("sample", disk.folder / "sample"), disk.folder / "sample"),
        (("predict", study, table, "--text", "note", "--output", disk.folder / "a.jsonl"), disk.folder / "a.jsonl"),
    ]:
        said = _mistake(capsys, *words)
        assert str(place) in said
        assert "cannot be written (Read-only file system); choose a folder that you may write to." in said
    disk.make_room()
    assert main(["run", str(half), "--quiet"]) == 0
    assert products(half) == products(snapshots["done"])
