"""Pickled weights turned into safetensors, by a process that cannot run what a pickle may hold.

A pickle is a program. It is opened in a child alone (:mod:`bedside.models.unpickle`) that builds nothing but tensors,
has no network (its own empty network namespace where Linux allows one; a hook that refuses connections everywhere),
may start nothing and write one file, and is ended when it takes too much memory or time.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from bedside.core.errors import MachineError, ModelError
from bedside.core.files import atomic_folder, require_space, write_json
from bedside.core.progress import SILENT, Progress
from bedside.models.folder import checked, parts_of, write_sums

_BYTES_PER_SECOND = 5_000_000  # the slowest disk that is waited for
_LEAST_SECONDS = 300


def convert(folder: Path, into: Path, progress: Progress = SILENT) -> Path:
    """Write a folder with the same model, its weights as safetensors.

    Args:
        folder: with ``pytorch_model.bin`` (or its numbered parts), config and tokenizer.
        into: the new folder; must not exist.
        progress: told of the work.

    Returns:
        the new folder.

    Raises:
        ModelError: there is no pickle, it holds more than tensors, or it is damaged.
        MachineError: no space.
    """
    if into.exists():
        raise ModelError(f"{into} exists already; name a new folder after --into.")
    parts = parts_of(file.name for file in folder.iterdir() if file.is_file()) if folder.is_dir() else parts_of(())
    if not parts.pickles:
        raise ModelError(f"{folder} holds no pytorch_model.bin to convert; copy the base model's files there whole.")
    size = sum((folder / name).stat().st_size for name in parts.pickles)
    require_space(into, 2 * size, f"Converting {folder}")
    with atomic_folder(into) as fresh:
        _convert_all(folder, parts.pickles, fresh, progress)
        for name in parts.beside:
            shutil.copyfile(folder / name, fresh / name)
        checked(fresh)
        write_sums(fresh)
    return into


def _convert_all(folder: Path, pickles: tuple[str, ...], fresh: Path, progress: Progress) -> None:
    where: dict[str, str] = {}
    total = 0
    with progress.task("Converting pickled weights", total=len(pickles), unit="files") as task:
        for name in pickles:
            target = name.replace("pytorch_model", "model").replace(".bin", ".safetensors")
            told = _in_a_child(folder / name, fresh / target)
            where.update(dict.fromkeys(told["names"], target))
            total += told["bytes"]
            task.advance()
    if len(pickles) > 1:
        write_json(fresh / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": where})


def _in_a_child(source: Path, target: Path) -> dict[str, Any]:
    seconds = _LEAST_SECONDS + source.stat().st_size // _BYTES_PER_SECOND
    script = Path(__file__).with_name("unpickle.py")
    command = [*_without_network(), sys.executable, "-I", str(script), str(source), str(target), str(seconds)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=seconds, env=_environment(), cwd=target.parent
        )
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired as error:
        raise MachineError(f"{source} was not read within {seconds} s; it is damaged, or the disk is slow.") from error
    except (ValueError, IndexError) as error:
        raise ModelError(
            f"{source} was refused: the process that read it ended without an answer (memory, time or a damaged file)."
        ) from error
    if "error" in told:
        raise ModelError(f"{source} was refused: {told['error']}. Nothing in it was run, and nothing is kept.")
    return told


def _environment() -> dict[str, str]:
    """What the child needs, and nothing that names proxies, tokens or a home."""
    import os

    kept = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR", "TEMP", "LANG", "LC_ALL")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"OMP_NUM_THREADS": "1"}


def _without_network() -> list[str]:
    """Words before a command that give it an empty network namespace, where this system allows that to anyone."""
    if sys.platform != "linux" or not (program := shutil.which("unshare")):
        return []
    words = [program, "--user", "--map-root-user", "--net"]
    allowed = subprocess.run([*words, "true"], capture_output=True, check=False, timeout=30)
    return [*words, "--"] if allowed.returncode == 0 else []
