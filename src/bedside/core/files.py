"""Files that are whole or absent, and their hashes.

Every output goes to a temporary name beside its place and is then renamed, so a crash or a full disk never
leaves half a file under a finished name. This module refuses to write in place.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bedside.core.errors import MachineError

_CHUNK = 1 << 20
_PART = ".part"
_OLD = ".old"


@contextlib.contextmanager
def plain_errors(path: Path) -> Iterator[None]:
    """Turn an operating system's refusal to write into a sentence that names the place.

    Raises:
        MachineError: the disk is full, the folder is read-only, or the path is not writable.
    """
    try:
        yield
    except MachineError:
        raise
    except Exception as error:
        if _is_full(error):
            free = free_bytes(path)
            raise MachineError(
                f"No space left on the disk while writing {path} ({size_text(free)} free); "
                "free some space and run the same command again, finished stages are kept."
            ) from error
        if isinstance(error, OSError) and error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            raise MachineError(
                f"{path} cannot be written ({error.strerror}); choose a folder that you may write to."
            ) from error
        raise


def _is_full(error: Exception) -> bool:
    """Whether an error means a full disk; libraries written in Rust tell it in their own types, with the number."""
    if isinstance(error, OSError):
        return error.errno in {errno.ENOSPC, errno.EDQUOT}
    return f"os error {errno.ENOSPC})" in str(error)


def free_bytes(path: Path) -> int:
    """Bytes free on the disk that holds ``path`` (or its nearest existing parent)."""
    place = path.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    return shutil.disk_usage(place).free


def size_text(size: float) -> str:
    """``size`` in bytes as a person reads it: ``1.4 GB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if abs(size) < 1000:
            return f"{size:.0f} {unit}" if unit in {"bytes", "kB"} else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def require_space(path: Path, needed: int, purpose: str) -> None:
    """Stop before work begins if the disk cannot hold its result.

    Args:
        path: a file or folder on the disk in question; need not exist yet.
        needed: bytes.
        purpose: what will be written, for the sentence.

    Raises:
        MachineError: less than ``needed`` bytes are free.
    """
    free = free_bytes(path)
    if free < needed:
        raise MachineError(
            f"{purpose} needs about {size_text(needed)} in {path}, and {size_text(free)} are free; "
            "free some space or put the study on another disk."
        )


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary file path beside ``path`` that takes its place when the block ends well."""
    with plain_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=_PART, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            _flush(temporary)
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``path`` that replaces it, whole, when the block ends well."""
    with plain_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=_PART, dir=path.parent))
        try:
            yield temporary
            for file in sorted(temporary.rglob("*")):
                if file.is_file():
                    _flush(file)
            temporary.chmod(0o755)
            _swap(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _swap(fresh: Path, place: Path) -> None:
    """Move ``fresh`` to ``place``; what lay there is removed only once the new folder has its name."""
    if not place.exists():
        fresh.replace(place)
        return
    old = place.with_name(f".{place.name}{_OLD}")
    shutil.rmtree(old, ignore_errors=True)
    place.replace(old)
    fresh.replace(place)
    shutil.rmtree(old, ignore_errors=True)


def clear_leftovers(folder: Path, names: Iterable[str] | None = None) -> None:
    """Remove what a killed process left behind while it was writing to ``folder``.

    Only for a folder that no other process writes to: a temporary name does not tell whether its writer lives.

    Args:
        folder: where to look; need not exist.
        names: remove the leftovers of these files and folders alone; of all if not given.
    """
    if not folder.is_dir():
        return
    known = None if names is None else set(names)
    with plain_errors(folder):
        for place in sorted(folder.iterdir()):
            name = _leftover_of(place.name)
            if name is None or (known is not None and name not in known):
                continue
            if place.is_dir() and not place.is_symlink():
                shutil.rmtree(place)
            else:
                place.unlink()


def _leftover_of(name: str) -> str | None:
    """The file or folder that a temporary name stands for: ``a.json`` for ``.a.json.x1y2z3w4.part``."""
    if not name.startswith("."):
        return None
    if name.endswith(_OLD):
        return name[1 : -len(_OLD)] or None
    stem, dot, drawn = name.removesuffix(_PART).rpartition(".")
    return stem[1:] or None if name.endswith(_PART) and dot and drawn else None


def _flush(file: Path) -> None:
    """Bring a file's bytes to the disk before its name says that it is finished."""
    with file.open("rb+") as handle:
        os.fsync(handle.fileno())


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    r"""Write ``content`` to ``path`` in UTF-8 with ``\n`` line ends on every system."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as JSON that is the same bytes for the same value (NaN is refused)."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def sha256_bytes(content: bytes) -> str:
    """The SHA-256 of ``content``, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def sha256_json(value: Any) -> str:
    """The SHA-256 of ``value`` as canonical JSON: sorted keys, no white space."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return sha256_bytes(text.encode("utf-8"))


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file, read in pieces so that its size does not matter; of a folder, over all its files'."""
    if path.is_dir():
        return sha256_json(sha256_tree(path))
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while piece := handle.read(_CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def sha256_tree(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file below ``folder``, by its path with forward slashes, sorted."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): sha256_file(file) for file in files}
