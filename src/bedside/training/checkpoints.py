"""Checkpoints that are whole, verified, or passed over by name; never half of one, and never a pickle.

A checkpoint is a folder ``step-00000120`` with ``state.json``, one ``.safetensors`` file a part and ``SHA256SUMS``. It
is made under a temporary name and renamed when every byte is on the disk, and older ones go only after that. Nothing in
a checkpoint is parsed before all of it was read and compared with its sums, so a crash, a full disk or a flipped bit
costs the work since the checkpoint before and nothing else. A folder belongs to one run at a time, whose processes may
all read it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedside.core.files import atomic_folder, plain_errors, sha256_file

if TYPE_CHECKING:
    from torch import Tensor

_SUMS = "SHA256SUMS"
_STATE = "state.json"
_SUFFIX = ".safetensors"
_SCHEMA = 1
_NAME = re.compile(r"step-\d{8,}")
_PART_NAME = re.compile(r"[a-z][a-z0-9_]*")
_LINE = re.compile(r"(?P<sum>[0-9a-f]{64})  (?P<name>[A-Za-z0-9_.]+)")
Parts = Mapping[str, Mapping[str, "Tensor"]]


@dataclass(frozen=True)
class Checkpoint:
    """One that was verified.

    Attributes:
        step: how many steps the run had taken.
        state: what was saved beside the tensors.
        folder: where it lies.
    """

    step: int
    state: dict[str, Any]
    folder: Path

    def has(self, name: str) -> bool:
        """Whether it has a part of this name."""
        return (self.folder / (name + _SUFFIX)).is_file()

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors of a part by name, bit for bit as they were saved, in memory of their own, on the CPU."""
        from safetensors.torch import load_file

        # What is loaded is a view of the file, which may be removed or replaced while the run goes on.
        return {key: value.clone() for key, value in load_file(self.folder / (name + _SUFFIX)).items()}


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: where they lie; need not exist. What a killed process left half-done there is removed.
        identity: a hash of everything that the run depends on; checkpoints of another are not gone on from.
        keep: how many of the newest are kept.

    Attributes:
        skipped: after :meth:`newest`, a sentence for each checkpoint that was passed over: which, which file, why.
    """

    def __init__(self, folder: Path, identity: str, keep: int = 2) -> None:
        if keep < 1:
            raise ValueError(f"keep is {keep}, and at least one checkpoint must be kept")
        self.folder, self.identity, self.keep = folder, identity, keep
        self.skipped: list[str] = []
        self._passed: set[Path] = set()  # what newest() passed over; gone once there is a better one
        self._previous: Path | None = None  # what this object saved or found last
        self._tidy()

    @staticmethod
    def size(parts: Parts) -> int:
        """Bytes of the tensors of all parts."""
        return sum(value.numel() * value.element_size() for tensors in parts.values() for value in tensors.values())

    def save(self, step: int, parts: Parts, state: Mapping[str, Any], *, unchanged: Collection[str] = ()) -> None:
        """Write a checkpoint, then remove what is older than the last ``keep``.

        Args:
            step: how many steps the run has taken; a checkpoint of the same step is replaced.
            parts: tensors by name, by the name of their part (lower-case letters, digits, ``_``).
            state: values for JSON; NaN is refused.
            unchanged: parts that are as in the previous checkpoint. Their files are linked from a checkpoint that goes
                now, not from the previous one: two checkpoints that stay share no bytes, so one fault cannot hit both.

        Raises:
            MachineError: the disk is full, or the folder cannot be written to; earlier checkpoints are as they were.
        """
        place = self.folder / f"step-{step:08d}"
        going = self._going(place)
        with atomic_folder(place) as fresh:
            for name, tensors in parts.items():
                file = _file_of(name)
                old = self._same(file, going) if name in unchanged else None
                if old is None:
                    _write_tensors(fresh / file, tensors)
                else:
                    _link(old, fresh / file)
            told = {"schema": _SCHEMA, "identity": self.identity, "step": step, "state": dict(state)}
            (fresh / _STATE).write_text(json.dumps(told, allow_nan=False), encoding="utf-8")
            sums = {file.name: sha256_file(file) for file in fresh.iterdir()}
            (fresh / _SUMS).write_bytes(_sums_text(sums))
        self._previous = place
        _flush_folder(self.folder)  # before the older ones go
        for old in going:
            if old != place:
                _remove(old)
        self._passed.clear()

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint of this identity of which every byte is as it was saved; None where there is none."""
        self.skipped = []
        self._passed.clear()
        for place in reversed(self._all()):
            fault = _fault_of(place)
            if fault is None:
                told = json.loads((place / _STATE).read_bytes())
                fault = self._foreign(place, told)
                if fault is None:
                    self._previous = place
                    return Checkpoint(told["step"], told["state"], place)
            self._passed.add(place)
            self.skipped.append(f"The checkpoint {place} is passed over: {fault}.")
        return None

    def clear(self) -> None:
        """Remove all checkpoints, of other identities too.

        Raises:
            MachineError: the folder cannot be written to.
        """
        self._tidy()
        for place in self._all():
            _remove(place)
        with contextlib.suppress(OSError):  # it is absent, or holds what is not ours
            self.folder.rmdir()
        self._previous = None

    def _all(self) -> list[Path]:
        """Every checkpoint, verified or not, the oldest first."""
        if not self.folder.is_dir():
            return []
        return sorted((one for one in self.folder.iterdir() if _NAME.fullmatch(one.name)), key=_step_of)

    def _going(self, place: Path) -> list[Path]:
        """Which checkpoints go once ``place`` is there: all but the last ``keep``.

        What was passed over goes too, and so does any of a later step: this run went on from an earlier one.
        """
        before = [one for one in self._all() if one not in self._passed and _step_of(one) < _step_of(place)]
        stay = before[len(before) - (self.keep - 1) :] if self.keep - 1 < len(before) else before
        return [one for one in self._all() if one not in stay]

    def _same(self, file: str, going: list[Path]) -> Path | None:
        """A file with the content that the previous checkpoint lists for it, in a checkpoint that goes."""
        wanted = None if self._previous is None else _listed(self._previous).get(file)
        for place in going:
            if wanted is not None and place not in self._passed and _listed(place).get(file) == wanted:
                with contextlib.suppress(OSError):
                    if sha256_file(place / file) == wanted:
                        return place / file
        return None

    def _foreign(self, place: Path, told: dict[str, Any]) -> str | None:
        """Why a whole checkpoint is not one of this run."""
        if told.get("schema") != _SCHEMA:
            return f"its {_STATE} is of version {told.get('schema')}, and this release reads {_SCHEMA}"
        if told.get("identity") != self.identity:
            return "it is of another run (other cases, protocol, base model, seed or release)"
        if told.get("step") != _step_of(place):
            return f"its {_STATE} is of step {told.get('step')}, and its name is not"
        return None

    def _tidy(self) -> None:
        """Remove what a killed process left; give back its name to what was to be replaced and was not.

        Processes of one run do this side by side, so it is no fault where another was faster.
        """
        if not self.folder.is_dir():
            return
        for place in sorted(self.folder.glob(".step-*")):
            whole = place.with_name(place.name.removeprefix(".").removesuffix(".old"))
            if place.name.endswith(".old") and not whole.exists():
                with contextlib.suppress(OSError):
                    place.rename(whole)
            elif place.name.endswith((".part", ".old")):
                shutil.rmtree(place, ignore_errors=True)


def _step_of(place: Path) -> int:
    return int(place.name.removeprefix("step-"))


def _file_of(name: str) -> str:
    if not _PART_NAME.fullmatch(name):
        raise ValueError(f"'{name}' is no name of a part: lower-case letters, digits and _ make one")
    return name + _SUFFIX


def _write_tensors(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors."""
    from safetensors.torch import save_file

    save_file(dict(_own_memory(tensors)), file)


def _own_memory(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """The tensors on the CPU, each whole and in order in memory of its own, as safetensors wants them."""
    seen: set[int] = set()
    for name, value in tensors.items():
        plain = value.detach().cpu().contiguous()
        memory = plain.untyped_storage()
        if memory.nbytes() != plain.numel() * plain.element_size() or memory.data_ptr() in seen:
            plain = plain.clone()
        seen.add(plain.untyped_storage().data_ptr())
        yield name, plain


def _link(old: Path, new: Path) -> None:
    """Give a file a second name, or copy it where the file system knows no second names."""
    try:
        os.link(old, new)
    except OSError:
        shutil.copyfile(old, new)


def _remove(place: Path) -> None:
    """Remove a checkpoint: first its name, so that a crash leaves no half of it under that."""
    doomed = place.with_name(f".{place.name}.doomed.part")
    with plain_errors(place):
        place.replace(doomed)
        if doomed.is_symlink() or not doomed.is_dir():
            doomed.unlink()
        else:
            shutil.rmtree(doomed)


def _flush_folder(folder: Path) -> None:
    """Bring a folder's names to the disk, where the system lets one."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sums_text(sums: Mapping[str, str]) -> bytes:
    """The content of ``SHA256SUMS``, in the form of ``sha256sum``."""
    return "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode("ascii")


def _listed(place: Path) -> dict[str, str]:
    """SHA-256 by file name as a checkpoint lists them; empty where its list is absent or not in its form."""
    try:
        content = (place / _SUMS).read_bytes()
    except OSError:
        return {}
    matches = [_LINE.fullmatch(line) for line in content.decode("utf-8", errors="replace").splitlines()]
    listed = {match["name"]: match["sum"] for match in matches if match is not None}
    return listed if content == _sums_text(listed) else {}


def _fault_of(place: Path) -> str | None:
    """What is wrong with a checkpoint, naming the file; None where every byte is as it was saved."""
    try:
        return _fault_in(place)
    except OSError as error:
        return f"{Path(error.filename or place).name} cannot be read ({error.strerror})"


def _fault_in(place: Path) -> str | None:
    if place.is_symlink() or not place.is_dir():
        return "it is a link or no folder"
    names = sorted(file.name for file in place.iterdir())
    for name in names:
        if not stat.S_ISREG((place / name).lstat().st_mode):
            return f"{name} is a link or no plain file"
    if _SUMS not in names:
        return f"{_SUMS} is missing"
    listed = _listed(place)
    if _STATE not in listed:
        return f"{_SUMS} was altered"
    for name in sorted({*names, *listed} - {_SUMS}):
        if name not in listed:
            return f"{name} was added"
        if name not in names:
            return f"{name} is missing"
        if sha256_file(place / name) != listed[name]:
            return f"{name} was altered (its SHA-256 is not the one in {_SUMS})"
    return None
