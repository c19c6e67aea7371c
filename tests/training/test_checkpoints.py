"""Checkpoints: bit for bit, whole or absent, verified before they are read, and none lost to a fault of one."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from bedside.core.errors import MachineError
from bedside.core.files import sha256_file
from bedside.training.checkpoints import Checkpoints

FILES = ("best.safetensors", "network.safetensors", "state.json", "SHA256SUMS")


def _parts(step: int) -> dict[str, dict[str, torch.Tensor]]:
    return {
        "network": {"weight": torch.full((40, 50), float(step)), "bias": torch.arange(7) + step},
        "best": {"weight": torch.full((40, 50), 0.5)},
    }


def _names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


def _saved(folder: Path, *steps: int) -> Checkpoints:
    found = Checkpoints(folder, "this run")
    for step in steps:
        found.save(step, _parts(step), {"step": step}, unchanged=("best",))
    return found


def _small_disk() -> ModuleType:
    """The small disk of the tests of the whole line."""
    spec = importlib.util.spec_from_file_location("small_disk", Path(__file__).parents[1] / "e2e" / "small_disk.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_tensor_comes_back_bit_for_bit(tmp_path: Path) -> None:
    whole = torch.arange(24, dtype=torch.float32)
    nan = torch.tensor([0x7FC00001, 0x7F800000, -0x80000000], dtype=torch.int64).to(torch.int32).view(torch.float32)
    kinds = ["bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64", "float16", "bfloat16"]
    kinds += ["float32", "float64", "complex64", "float8_e4m3fn", "float8_e5m2"]
    odd = {kind: torch.arange(48, dtype=torch.uint8).remainder(2).view(getattr(torch, kind)) for kind in kinds}
    given = {
        **odd,
        "scalar": torch.tensor(3.25, dtype=torch.float64),
        "empty": torch.empty(0, 4),
        "turned": whole.view(4, 6).T,
        "every_other": whole[::2],
        "view": whole[3:9],
        "shared": whole,
        "shared_too": whole,
        "expanded": torch.tensor([1.5]).expand(3, 2),
        "not_a_number": nan,
        "parameter": torch.nn.Parameter(torch.ones(2, 2)),
    }
    checkpoints = Checkpoints(tmp_path / "checkpoints", "run")
    checkpoints.save(3, {"network": given, "none": {}}, {"loss": 0.1 + 0.2, "log": [{"step": 1, "loss": None}]})
    found = Checkpoints(tmp_path / "checkpoints", "run").newest()
    assert found is not None
    assert (found.step, found.state) == (3, {"loss": 0.1 + 0.2, "log": [{"step": 1, "loss": None}]})
    assert found.has("network")
    assert not found.has("other")
    assert found.part("none") == {}
    back = found.part("network")
    assert set(back) == set(given)
    for name, value in given.items():
        assert (back[name].dtype, back[name].shape) == (value.dtype, value.shape), name
        wanted = value.detach().contiguous().reshape(-1)
        assert torch.equal(back[name].reshape(-1).view(torch.uint8), wanted.view(torch.uint8)), name
    assert Checkpoints.size({"a": {"b": torch.zeros(3, 4, dtype=torch.bfloat16), "c": torch.tensor(1.0)}}) == 28


def test_a_loaded_part_outlives_its_file(tmp_path: Path) -> None:
    found = _saved(tmp_path, 1).newest()
    assert found is not None
    part = found.part("network")
    (found.folder / "network.safetensors").write_bytes(b"")
    assert torch.equal(part["weight"], torch.full((40, 50), 1.0))


def test_the_last_ones_are_kept(tmp_path: Path) -> None:
    checkpoints = _saved(tmp_path, 5, 6, 7, 100_000_000)
    assert _names(tmp_path) == ["step-00000007", "step-100000000"]
    found = checkpoints.newest()
    assert found is not None
    assert (found.step, checkpoints.skipped) == (100_000_000, [])
    assert {file.name for file in found.folder.iterdir()} == set(FILES)
    alone = Checkpoints(tmp_path / "alone", "run", keep=1)
    alone.save(1, _parts(1), {})
    alone.save(2, _parts(2), {}, unchanged=("best",))
    assert _names(tmp_path / "alone") == ["step-00000002"]


def test_a_step_can_be_saved_again(tmp_path: Path) -> None:
    checkpoints = _saved(tmp_path, 1, 2)
    checkpoints.save(2, _parts(9), {"again": True}, unchanged=("best",))
    found = checkpoints.newest()
    assert found is not None
    assert found.state == {"again": True}
    assert float(found.part("network")["weight"][0, 0]) == 9
    assert _names(tmp_path) == ["step-00000001", "step-00000002"]


def test_what_is_unchanged_is_not_written_again_and_no_two_that_stay_share_a_file(tmp_path: Path) -> None:
    checkpoints = _saved(tmp_path, 1, 2)
    before = (tmp_path / "step-00000001" / "best.safetensors").stat().st_ino
    checkpoints.save(3, _parts(3), {}, unchanged=("best",))
    files = {name: (tmp_path / name / "best.safetensors").stat() for name in ("step-00000002", "step-00000003")}
    assert files["step-00000003"].st_ino == before
    assert {one.st_nlink for one in files.values()} == {1}
    changed = {**_parts(4), "best": {"weight": torch.zeros(3)}}
    checkpoints.save(4, changed, {})
    checkpoints.save(5, changed, {}, unchanged=("best",))
    found = checkpoints.newest()
    assert found is not None
    assert torch.equal(found.part("best")["weight"], torch.zeros(3))


def test_a_fault_in_what_is_unchanged_is_not_carried_on(tmp_path: Path) -> None:
    checkpoints = _saved(tmp_path, 1, 2)
    _flip(tmp_path / "step-00000001" / "best.safetensors", -1)
    checkpoints.save(3, _parts(3), {}, unchanged=("best",))
    found = checkpoints.newest()
    assert found is not None
    assert (found.step, checkpoints.skipped) == (3, [])
    assert torch.equal(found.part("best")["weight"], _parts(3)["best"]["weight"])


def test_where_links_are_impossible_the_file_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(1, "no links here")

    monkeypatch.setattr(os, "link", refused)
    found = _saved(tmp_path, 1, 2, 3).newest()
    assert found is not None
    assert (found.step, float(found.part("best")["weight"][0, 0])) == (3, 0.5)


def _flip(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(bytes(content))


def _truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def _into_link(file: Path) -> None:
    twin = file.parents[1] / f"twin of {file.name}"
    file.rename(twin)
    file.symlink_to(twin)


FAULTS: dict[str, Callable[[Path], object]] = {
    "first byte flipped": lambda file: _flip(file, 0),
    "middle byte flipped": lambda file: _flip(file, file.stat().st_size // 2),
    "last byte flipped": lambda file: _flip(file, -1),
    "truncated": _truncate,
    "emptied": lambda file: file.write_bytes(b""),
    "lengthened": lambda file: file.write_bytes(file.read_bytes() + b"\n"),
    "missing": Path.unlink,
    "a link": _into_link,
    "a folder": lambda file: (file.unlink(), file.mkdir()),
}


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("fault", FAULTS)
def test_the_newest_that_verifies_is_found_and_the_other_is_named(tmp_path: Path, file: str, fault: str) -> None:
    _saved(tmp_path, 1, 2, 3)
    FAULTS[fault](tmp_path / "step-00000003" / file)
    again = Checkpoints(tmp_path, "this run")
    found = again.newest()
    assert found is not None
    assert (found.step, found.state) == (2, {"step": 2})
    [sentence] = again.skipped
    assert str(tmp_path / "step-00000003") in sentence
    assert file in sentence or fault.endswith("flipped")  # a sum that is off points at the file that it is of
    again.save(3, _parts(3), {}, unchanged=("best",))
    healed = Checkpoints(tmp_path, "this run")
    found = healed.newest()
    assert found is not None
    assert (found.step, healed.skipped) == (3, [])


@pytest.mark.parametrize("name", ["extra.safetensors", ".hidden", "state.json.bak"])
def test_an_added_file_is_not_verified(tmp_path: Path, name: str) -> None:
    _saved(tmp_path, 1, 2)
    (tmp_path / "step-00000002" / name).write_bytes(b"x")
    again = Checkpoints(tmp_path, "this run")
    found = again.newest()
    assert found is not None
    assert found.step == 1
    assert again.skipped == [f"The checkpoint {tmp_path / 'step-00000002'} is passed over: {name} was added."]


def test_a_checkpoint_that_is_a_link_or_a_file_is_passed_over(tmp_path: Path) -> None:
    _saved(tmp_path, 1)
    shutil.copytree(tmp_path / "step-00000001", tmp_path / "elsewhere")
    (tmp_path / "step-00000002").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "step-00000003").write_bytes(b"x")
    shutil.copytree(tmp_path / "step-00000001", tmp_path / "step-00000004")  # whole, but under another's name
    again = Checkpoints(tmp_path, "this run")
    found = again.newest()
    assert found is not None
    assert found.step == 1
    assert len(again.skipped) == 3
    again.save(5, _parts(5), {})
    assert _names(tmp_path) == ["elsewhere", "step-00000001", "step-00000005"]
    assert (tmp_path / "elsewhere" / "state.json").is_file()


def test_nothing_is_parsed_before_every_byte_was_compared(tmp_path: Path) -> None:
    _saved(tmp_path, 1)
    (tmp_path / "step-00000001" / "state.json").write_text("{broken", encoding="utf-8")
    assert Checkpoints(tmp_path, "this run").newest() is None


def test_what_was_passed_over_never_pushes_out_what_is_whole(tmp_path: Path) -> None:
    _saved(tmp_path, 8, 9)
    shutil.copytree(tmp_path / "step-00000009", tmp_path / "step-00000010")  # under another's name
    _flip(tmp_path / "step-00000009" / "state.json", 0)
    again = Checkpoints(tmp_path, "this run")
    found = again.newest()
    assert found is not None
    assert found.step == 8
    again.save(9, _parts(9), {})
    assert _names(tmp_path) == ["step-00000008", "step-00000009"]
    _flip(tmp_path / "step-00000009" / "state.json", 0)
    found = Checkpoints(tmp_path, "this run").newest()
    assert found is not None
    assert found.step == 8


def test_another_run_is_named_and_cleared(tmp_path: Path) -> None:
    _saved(tmp_path, 4)
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    other = Checkpoints(tmp_path, "another run")
    assert other.newest() is None
    assert len(other.skipped) == 1
    assert "it is of another run" in other.skipped[0]
    other.clear()
    assert _names(tmp_path) == ["notes.txt"]
    (tmp_path / "notes.txt").unlink()
    other.clear()
    assert not tmp_path.exists()
    other.clear()
    assert other.newest() is None


def test_state_that_is_no_number_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    checkpoints = _saved(tmp_path, 1)
    with pytest.raises(ValueError, match="not JSON compliant"):
        checkpoints.save(2, _parts(2), {"loss": math.nan})
    with pytest.raises(ValueError, match="no name of a part"):
        checkpoints.save(2, {"../network": {}}, {})
    assert _names(tmp_path) == ["step-00000001"]


# Saves step 2 beside step 1, again and again in a process of its own that is killed at the n-th file operation, or in
# the middle of writing once a file has n bytes; says after each what is found.
_KILLED = """
import json, os, resource, shutil, signal, sys
from pathlib import Path
import torch
from bedside.training.checkpoints import Checkpoints

place, way = Path(sys.argv[1]), sys.argv[2]
EVENTS = ("open", "os.", "shutil.", "pathlib.", "tempfile.")

def parts(step):
    return {"network": {"w": torch.full((64, 64), float(step))}, "best": {"w": torch.full((8,), 0.5)}}

def save(n):
    checkpoints = Checkpoints(place, "run", keep=int(sys.argv[3]))
    assert checkpoints.newest().step == (2 if way == "replace" else 1)
    left = [n]
    def watch(event, arguments):
        if event.startswith(EVENTS):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
    if way == "bytes":
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (n, n))
    else:
        sys.addaudithook(watch)
    checkpoints.save(2, parts(3), {"step": 3}, unchanged=("best",))

for n in range(1, 400) if way != "bytes" else (0, 1, 64, 200, 300, 4096, 9000, 16000, 16384, 16500, 20000):
    shutil.rmtree(place, ignore_errors=True)
    first = Checkpoints(place, "run")
    for step in (1, 2) if way == "replace" else (0, 1):
        first.save(step, parts(step), {"step": step})
    child = os.fork()
    if child == 0:
        save(n)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    killed = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    again = Checkpoints(place, "run")
    found = again.newest()
    value = None if found is None else float(found.part("network")["w"][0, 0])
    left = sorted(one.name for one in place.iterdir())
    told = {"n": n, "killed": killed, "step": found and found.step, "state": found and found.state["step"]}
    print(json.dumps({**told, "value": value, "left": left, "skipped": again.skipped}))
    if not killed:
        break
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL to send")
@pytest.mark.parametrize(("way", "keep"), [("add", 2), ("replace", 1), ("bytes", 2)])
def test_killed_inside_save(tmp_path: Path, way: str, keep: int) -> None:
    command = [sys.executable, "-c", _KILLED, str(tmp_path / "checkpoints"), way, str(keep)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) > (8 if way == "bytes" else 20)
    assert all(line["killed"] for line in lines[:-1])
    assert not lines[-1]["killed"]
    before = 2 if way == "replace" else 1
    for line in lines:
        assert line["skipped"] == [], line
        assert line["state"] == line["value"], line
        assert line["state"] in {before, 3}, line
        assert line["step"] == (before if line["state"] == before else 2), line
        assert not [name for name in line["left"] if name.startswith(".")], line
    assert {line["state"] for line in lines} == {before, 3}
    assert lines[-1]["state"] == 3


def test_what_a_killed_save_left_is_removed_and_what_was_moved_aside_gets_its_name_back(tmp_path: Path) -> None:
    _saved(tmp_path, 1, 2)
    (tmp_path / ".step-00000003.abc.part").mkdir()
    (tmp_path / ".step-00000003.abc.part" / "network.safetensors").write_bytes(b"half")
    (tmp_path / "step-00000002").rename(tmp_path / ".step-00000002.old")
    shutil.copytree(tmp_path / "step-00000001", tmp_path / ".step-00000001.old")
    found = Checkpoints(tmp_path, "this run").newest()
    assert found is not None
    assert found.step == 2
    assert _names(tmp_path) == ["step-00000001", "step-00000002"]


def test_a_full_and_a_read_only_disk_are_said_and_cost_nothing(tmp_path: Path) -> None:
    with _small_disk().mounted(tmp_path / "disk") as disk:
        folder = disk.folder / "checkpoints"
        checkpoints = _saved(folder, 1, 2)
        before = {name: sha256_file(folder / name) for name in _names(folder)}
        for spare in (0, 4096, 8192, 12288):
            disk.leave(spare)
            with pytest.raises(MachineError, match="No space left on the disk"):
                checkpoints.save(3, _parts(3), {}, unchanged=("best",))
            assert {name: sha256_file(folder / name) for name in _names(folder)} == before
        disk.make_room()
        disk.forbid_writing()
        with pytest.raises(MachineError, match="cannot be written"):
            checkpoints.save(3, _parts(3), {})
        with pytest.raises(MachineError, match="cannot be written"):
            checkpoints.clear()
        again = Checkpoints(folder, "this run")
        found = again.newest()
        assert found is not None
        assert (found.step, again.skipped) == (2, [])
        disk.make_room()
        again.save(3, _parts(3), {})
        assert _names(folder) == ["step-00000002", "step-00000003"]


def test_a_folder_that_this_user_may_not_write_to(tmp_path: Path) -> None:
    if os.name == "nt" or os.geteuid() == 0:
        pytest.skip("root may write everywhere; the read-only disk above stands for it")
    checkpoints = _saved(tmp_path / "here", 1)
    (tmp_path / "here").chmod(0o500)
    try:
        with pytest.raises(MachineError, match="cannot be written"):
            checkpoints.save(2, _parts(2), {})
        found = Checkpoints(tmp_path / "here", "this run").newest()
        assert found is not None
        assert found.step == 1
    finally:
        (tmp_path / "here").chmod(0o700)
