from __future__ import annotations

from pathlib import Path

import pytest

from bedside.core.errors import MachineError
from bedside.core.files import atomic_folder, atomic_path, clear_leftovers, plain_errors, require_space, write_text


def test_a_failed_write_leaves_the_old_content_and_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "b") as place:
        (place / "x").write_text("half")
        raise RuntimeError
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "old"


def test_only_leftovers_are_cleared_and_only_those_named(tmp_path: Path) -> None:
    for name in (".a.json.x1y2z3w4.part", ".b.json.x1y2z3w4.part", ".hidden", "part", "c.part", ".d.part"):
        (tmp_path / name).write_text("x")
    (tmp_path / ".bundle.old").mkdir()
    (tmp_path / ".bundle.old" / "x").write_text("x")
    clear_leftovers(tmp_path, ["a.json"])
    assert not (tmp_path / ".a.json.x1y2z3w4.part").exists()
    assert (tmp_path / ".b.json.x1y2z3w4.part").exists()
    clear_leftovers(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == [".d.part", ".hidden", "c.part", "part"]
    clear_leftovers(tmp_path / "absent")


def test_a_full_disk_is_a_sentence_whoever_tells_it(tmp_path: Path) -> None:
    for error in (OSError(28, "No space left on device"), RuntimeError("I/O error: x (os error 28)")):
        with pytest.raises(MachineError, match="No space left on the disk while writing"), plain_errors(tmp_path):
            raise error
    with pytest.raises(RuntimeError, match="another"), plain_errors(tmp_path):
        raise RuntimeError("another")
    with pytest.raises(MachineError, match=r"The stage train needs about 1000000\.0 TB"):
        require_space(tmp_path, 10**18, "The stage train")
