"""What a finished stage leaves behind, so that a half-finished one never looks done.

``manifest.json`` is written last. It holds the key under which the stage ran (the hash of everything that the
result depends on) and the SHA-256 of every file that it wrote. A stage is skipped when its key is the same and
its files are still those files.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bedside
from bedside.core.files import read_json, sha256_file, write_json

_SCHEMA = 1
_LIBRARIES = ("torch", "transformers", "tokenizers", "scikit-learn", "numpy", "polars", "scipy")


@dataclass(frozen=True)
class Output:
    """One file as a stage left it."""

    sha256: str
    size: int
    modified: int


def fingerprint(path: Path, known: Output | None = None) -> Output:
    """A file's hash, size and time; the hash is taken over from ``known`` when size and time are the same."""
    state = path.stat()
    if known and (state.st_size, state.st_mtime_ns) == (known.size, known.modified):
        return known
    return Output(sha256_file(path), state.st_size, state.st_mtime_ns)


def collect(folder: Path, products: Iterable[str], known: Mapping[str, Output]) -> dict[str, Output]:
    """The fingerprint of every file below the named products (files or folders), by its path in the stage's folder."""
    found: dict[str, Output] = {}
    for product in products:
        place = folder / product
        files = sorted(place.rglob("*")) if place.is_dir() else [place]
        for file in files:
            if file.is_file():
                name = file.relative_to(folder).as_posix()
                found[name] = fingerprint(file, known.get(name))
    return found


@dataclass(frozen=True)
class Manifest:
    """A finished stage.

    Attributes:
        key: the hash of everything that the result depends on.
        inputs: by earlier stage, the SHA-256 of each of its products.
        sources: files from outside the study (the table, the base model's weights).
        outputs: what the stage wrote.
        seconds: how long it took.
    """

    key: str
    inputs: dict[str, dict[str, str]]
    sources: dict[str, Output]
    outputs: dict[str, Output]
    seconds: float

    @classmethod
    def read(cls, path: Path) -> Manifest | None:
        """The manifest at ``path``, or None where there is none that can be read."""
        try:
            values = read_json(path)
            sources, outputs = (
                {name: Output(**value) for name, value in values[part].items()} for part in ("sources", "outputs")
            )
            return cls(values["key"], values["inputs"], sources, outputs, values["seconds"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def write(self, path: Path, stage: str, seed: int) -> None:
        """Write the manifest: the last act of a stage."""
        write_json(
            path,
            {
                "schema": _SCHEMA,
                "stage": stage,
                "key": self.key,
                "seed": seed,
                "inputs": self.inputs,
                "sources": {name: vars(output) for name, output in self.sources.items()},
                "outputs": {name: vars(output) for name, output in self.outputs.items()},
                "versions": versions(),
                "finished": datetime.now(UTC).isoformat(timespec="seconds"),
                "seconds": round(self.seconds, 1),
            },
        )

    def intact(self, folder: Path, products: Iterable[str]) -> bool:
        """Whether the files that the stage wrote are all there, unchanged, and no others are."""
        found = collect(folder, products, self.outputs)
        return {name: out.sha256 for name, out in found.items()} == self.hashes()

    def hashes(self) -> dict[str, str]:
        """The SHA-256 of each output by name."""
        return {name: output.sha256 for name, output in self.outputs.items()}


def versions() -> dict[str, Any]:
    """The versions that a result may depend on, without importing any of the libraries."""
    found = {"bedside": bedside.__version__, "python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            found[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
