"""Whether a bundle is what was packaged, decided before anything in it is parsed or loaded.

``SHA256SUMS`` lists every file but itself and can be checked with ``sha256sum -c``. The list is rebuilt from the
folder and compared byte for byte, so nothing that differs can pass. A checksum shows that a bundle was altered by
accident or without its list; whoever alters both changes the digest, which every answer carries.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from bedside.core.errors import BundleError
from bedside.core.files import sha256_bytes, sha256_file

SUMS = "SHA256SUMS"
_LINE = re.compile(r"(?P<sum>[0-9a-f]{64})  (?P<name>[^\\\n\r]+)")
# Files that run code when they are opened the usual way.
REFUSED_SUFFIXES = frozenset({
    ".bin", ".pt", ".pth", ".pkl", ".pickle", ".joblib", ".ckpt", ".dill", ".npy", ".h5", ".py", ".pyc", ".so",
})  # fmt: skip
_AGAIN = "fetch the bundle again, or package the study again"


def verify_bundle(folder: Path) -> str:
    """Check every byte of a bundle.

    Args:
        folder: the bundle.

    Returns:
        Its digest: ``sha256:`` and the SHA-256 of ``SHA256SUMS``, which stands for the whole folder.

    Raises:
        BundleError: naming the first file that is altered, added, missing, a link, or of a kind that can run code.
    """
    sums = folder / SUMS
    if not folder.is_dir() or not sums.is_file():
        raise BundleError(f"{folder} is not a bundle: it has no {SUMS}; run: bedside package")
    names = list_files(folder)
    if sums.is_symlink():
        raise BundleError(f"{sums} is a link; {_AGAIN}.")
    content = sums.read_bytes()
    listed = _listed(sums, content)
    for name in names:
        if name not in listed:
            raise BundleError(f"{folder / name} was added: {SUMS} does not list it; remove it, or {_AGAIN}.")
    for name in listed:
        if name not in names:
            raise BundleError(f"{folder / name} is missing; {_AGAIN}.")
    for name in names:
        if sha256_file(folder / name) != listed[name]:
            raise BundleError(f"{folder / name} was altered: its SHA-256 is not the one in {SUMS}; {_AGAIN}.")
    if content != sums_text(listed):
        raise BundleError(f"{sums} was altered: it is not in the form that bedside writes; {_AGAIN}.")
    return f"sha256:{sha256_bytes(content)}"


def list_files(folder: Path) -> list[str]:
    """Every file below ``folder`` but its sums, with forward slashes, sorted.

    Raises:
        BundleError: one is a link, not a plain file, or of a kind that can run code.
    """
    names = []
    for root, folders, files in os.walk(folder, followlinks=False):
        for name in sorted([*folders, *files]):
            path = Path(root, name)
            mode = path.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise BundleError(f"{path} is a link or not a plain file, which a bundle never holds; {_AGAIN}.")
            if path.suffix.lower() in REFUSED_SUFFIXES:
                raise BundleError(
                    f"{path} is of a kind that can run code when it is opened, and is refused; "
                    "keep weights as .safetensors and remove it."
                )
            if stat.S_ISREG(mode) and path != folder / SUMS:
                names.append(path.relative_to(folder).as_posix())
    return sorted(names)


def sums_text(sums: dict[str, str]) -> bytes:
    """The content of ``SHA256SUMS`` for SHA-256 by file name: sorted, in the form of ``sha256sum``."""
    return "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode("utf-8")


def _listed(path: Path, content: bytes) -> dict[str, str]:
    """The SHA-256 by file name that a list gives."""
    listed: dict[str, str] = {}
    for number, line in enumerate(content.decode("utf-8", errors="replace").removesuffix("\n").split("\n"), start=1):
        match = _LINE.fullmatch(line)
        if match is None or match["name"] in listed:
            raise BundleError(f"{path}, line {number} was altered: it is no checksum of a file; {_AGAIN}.")
        listed[match["name"]] = match["sum"]
    return listed
