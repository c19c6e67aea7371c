"""One model's files from the Hugging Face Hub, or from a mirror that speaks its language.

Only :func:`fetch` opens a connection, and only :mod:`bedside.models.weights` calls it, for a model that was asked for
by name. ``HF_ENDPOINT`` names a mirror, ``HF_TOKEN`` whoever has accepted a model's terms; telemetry is off. Every file
is held against the hash that the repository itself gives: SHA-256 for large files, git's own for small ones.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedside.core.errors import BedsideError, MachineError, ModelError
from bedside.core.files import require_space, sha256_file, size_text, write_json
from bedside.core.progress import Progress, Task
from bedside.models.folder import WEIGHTS, parts_of, write_sums

_SPARE = 50_000_000  # bytes left free beside what is fetched


@dataclass(frozen=True)
class Remote:
    """A file in a repository: its name, bytes, and SHA-256 or git's hash."""

    name: str
    size: int
    sha256: str
    blob: str


def fetch(name: str, place: Path, progress: Progress, *, pickles: bool = False) -> None:
    """Fetch a repository's files to a folder; what an earlier attempt left is gone on with.

    Args:
        name: the Hub id.
        place: where the folder will be once everything is there and verified.
        progress: told of the bytes.
        pickles: fetch pickled weights, where there are no others, for a conversion.

    Raises:
        ModelError: the repository has pickled weights alone, or a file is not what the repository says.
        MachineError: the Hub cannot be reached or refuses, or the disk is full.
    """
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    partial = place.with_name(f".{place.name}.fetching")
    try:
        revision, files = _listing(name, pickles)
        _fetch_files(name, revision, files, partial, progress)
    except BedsideError:
        raise
    except Exception as error:  # the Hub's client raises errors of several libraries for one cause
        raise _sentence(name, place, error) from error
    for file in files:
        _verify(partial, file, name)
    shutil.rmtree(partial / ".cache", ignore_errors=True)
    write_json(partial / "origin.json", {"id": name, "revision": revision})
    write_sums(partial)
    shutil.rmtree(place, ignore_errors=True)
    partial.replace(place)


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"


def _listing(name: str, pickles: bool) -> tuple[str, list[Remote]]:
    """The commit, and the files that are needed."""
    from huggingface_hub import HfApi

    about: Any = HfApi(endpoint=_endpoint()).model_info(name, files_metadata=True)
    known = {one.rfilename: one for one in about.siblings}
    parts = parts_of(known)
    weights = parts.tensors or (parts.pickles if pickles else ())
    if not weights:
        raise ModelError(_no_safetensors(name, bool(parts.pickles)))
    chosen = [known[file] for file in (*parts.beside, *weights)]
    files = [Remote(one.rfilename, one.size or 0, one.lfs.sha256 if one.lfs else "", one.blob_id) for one in chosen]
    return about.sha, files


def _no_safetensors(name: str, pickled: bool) -> str:
    if not pickled:
        return f"{name} has no weights that bedside reads ({WEIGHTS}); choose another model."
    return (
        f"{name} has its weights only as a pickle (pytorch_model.bin), which can run code when it is opened, so it is "
        f"refused as it is. To fetch it and turn it into safetensors in a process that cannot run what it holds: "
        f"bedside models get {name} --convert (or, from a folder: bedside models convert FOLDER --into FOLDER2)"
    )


def _fetch_files(name: str, revision: str, files: list[Remote], partial: Path, progress: Progress) -> None:
    from huggingface_hub import hf_hub_download

    waiting = [file for file in files if not _is_right(partial, file)]
    total = sum(file.size for file in waiting)
    require_space(partial, total + _SPARE, f"Fetching {name} ({size_text(total)})")
    progress.say(f"Fetching {name}: {len(waiting)} files, {size_text(total)}, from {_endpoint()} …")
    with progress.task(f"Fetching {name}", total=max(total // 1_000_000, 1), unit="MB") as task:
        for file in waiting:
            (partial / file.name).unlink(missing_ok=True)
            hf_hub_download(
                name,
                file.name,
                revision=revision,
                local_dir=partial,
                endpoint=_endpoint(),
                tqdm_class=_counter(task),
            )


def _counter(task: Task) -> Any:
    """A bar that shows nothing and counts megabytes on this task."""
    base: Any = importlib.import_module("tqdm").tqdm

    class Counter(base):  # type: ignore[misc]  # tqdm is untyped
        def __init__(self, *args: Any, **settings: Any) -> None:
            settings.pop("name", None)
            super().__init__(*args, **{**settings, "disable": True})

        def update(self, n: float | None = 1) -> None:
            task.advance((n or 0) / 1e6)

    return Counter


def _is_right(folder: Path, file: Remote) -> bool:
    """Whether a file lies there, and is what the repository says."""
    path = folder / file.name
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    if file.sha256:
        return sha256_file(path) == file.sha256
    content = path.read_bytes()
    git = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
    return file.blob in {"", None} or git.hexdigest() == file.blob


def _verify(folder: Path, file: Remote, name: str) -> None:
    if not _is_right(folder, file):
        path = folder / file.name
        path.unlink(missing_ok=True)
        raise ModelError(
            f"{file.name} of {name} did not arrive as the repository says ({size_text(file.size)}, hash "
            f"{(file.sha256 or file.blob)[:12]}…); not kept. Run the same again."
        )


def _sentence(name: str, place: Path, error: Exception) -> BedsideError:
    """What the client's error means, and the way out."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    if isinstance(error, GatedRepoError):
        return ModelError(
            f"{name} is given only to those who accept its terms: accept them on {_endpoint()}/{name}, and set "
            "HF_TOKEN to a token of that account."
        )
    if isinstance(error, RepositoryNotFoundError):
        return ModelError(
            f"{_endpoint()} has no model {name}, or shows it only to its members; check the name, or set HF_TOKEN."
        )
    return MachineError(
        f"{name} could not be fetched from the Hub ({type(error).__name__}). Fetch config.json, tokenizer.json, "
        f"tokenizer_config.json and {WEIGHTS} on another machine, put them in {place}, and run the same again."
    )
