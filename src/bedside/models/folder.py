"""The folder of a base model: which files belong there, whether they are all there, and whether they are as they came.

Weights are safetensors. A pickle (``.bin``, ``.pt``) can run code when it is opened, and is never one of the files;
nor is Python source, which some repositories carry to be run beside their weights.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bedside.core.errors import ModelError
from bedside.core.files import sha256_file, write_text
from bedside.models.tensors import read_header

WEIGHTS = "model.safetensors"
SUMS = "SHA256SUMS"

_TENSORS = re.compile(r"model(-\d+-of-\d+)?\.safetensors")
_INDEX = "model.safetensors.index.json"
_PICKLES = re.compile(r"pytorch_model(-\d+-of-\d+)?\.bin")
_VOCABULARIES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
)
_BESIDE = {
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
    "chat_template.jinja",
    *_VOCABULARIES,
}
_TERMS = re.compile(r"(LICEN[CS]E|NOTICE|USE_POLICY|TERMS)[\w.-]*", re.IGNORECASE)


@dataclass(frozen=True)
class Parts:
    """The files of a model, by what they are.

    Attributes:
        tensors: safetensors, with their index where there are several.
        pickles: the same weights as pickles.
        beside: configuration, tokenizer and terms.
    """

    tensors: tuple[str, ...]
    pickles: tuple[str, ...]
    beside: tuple[str, ...]


def parts_of(names: Iterable[str]) -> Parts:
    """Sort the names of files; what is no part of the model (other formats, code, pictures) is left out."""
    known = sorted(names)
    tensors = [name for name in known if _TENSORS.fullmatch(name)]
    if WEIGHTS in tensors:
        tensors = [WEIGHTS]
    elif _INDEX in known:
        tensors.append(_INDEX)
    pickles = [name for name in known if _PICKLES.fullmatch(name)]
    beside = [name for name in known if name in _BESIDE or _TERMS.fullmatch(name)]
    return Parts(tuple(tensors), tuple(pickles), tuple(beside))


def checked(folder: Path) -> Path:
    """A folder with safetensors, a configuration and a tokenizer.

    Raises:
        ModelError: something is missing, or the weights are pickles.
    """
    missing = [] if (folder / "config.json").is_file() else ["config.json"]
    if not any((folder / name).is_file() for name in _VOCABULARIES):
        missing.append("tokenizer.json")
    if missing:
        raise ModelError(f"{folder} lacks {' and '.join(missing)}; copy the base model's files there whole.")
    if not list(folder.glob("*.safetensors")):
        raise ModelError(
            f"{folder} holds no .safetensors weights; pickles (.bin, .pt) can run code and are refused. Turn them into "
            f"safetensors, in a process that cannot run what they hold: bedside models convert {folder} --into FOLDER"
        )
    return folder


def copy_parts(source: Path, target: Path) -> None:
    """Copy a model's files, pickles and code excepted, from one folder to another.

    Raises:
        ModelError: the source is not whole, or its own SHA256SUMS says that a file is not as it was.
    """
    checked(source)
    verify(source, missing_ok=True)
    parts = parts_of(file.name for file in source.iterdir() if file.is_file())
    for name in (*parts.tensors, *parts.beside):
        shutil.copyfile(source / name, target / name)


def write_sums(folder: Path) -> None:
    """Write SHA256SUMS beside the files, in the form of ``sha256sum``."""
    files = sorted(file for file in folder.iterdir() if file.is_file() and file.name != SUMS)
    write_text(folder / SUMS, "".join(f"{sha256_file(file)}  {file.name}\n" for file in files))


def verify(folder: Path, *, missing_ok: bool = False) -> int:
    """Hash every file that SHA256SUMS lists, and read the header of every safetensors file.

    Args:
        folder: with SHA256SUMS in it.
        missing_ok: be content with the headers where there is no SHA256SUMS.

    Returns:
        how many files were hashed.

    Raises:
        ModelError: a file is absent or altered, or weights are there that are not listed.
    """
    for file in folder.glob("*.safetensors"):
        read_header(file)
    sums = folder / SUMS
    if not sums.is_file():
        if missing_ok:
            return 0
        raise ModelError(f"{folder} has no {SUMS}, so nothing says what its files should be; fetch the model again.")
    lines = [line.split(maxsplit=1) for line in sums.read_text(encoding="utf-8").splitlines() if line.strip()]
    listed = {name.removeprefix("*"): digest for digest, name in _pairs(sums, lines)}
    for name, digest in listed.items():
        if not (folder / name).is_file() or sha256_file(folder / name) != digest:
            raise ModelError(f"{folder / name} is not as {SUMS} has it; fetch the model again.")
    for file in sorted(folder.glob("*.safetensors")):
        if file.name not in listed:
            raise ModelError(f"{file} is not listed in {SUMS}; remove it, or fetch the model again.")
    return len(listed)


def _pairs(sums: Path, lines: Sequence[Sequence[str]]) -> list[tuple[str, str]]:
    for words in lines:
        if len(words) != 2 or "/" in words[1] or "\\" in words[1]:
            raise ModelError(f"{sums} is not a list of hashes and names; fetch the model again.")
    return [(words[0], words[1].strip()) for words in lines]
