"""Turn one pickled state dict into safetensors: the child process of :mod:`bedside.models.pickles`, run as a script.

``torch.load(weights_only=True)`` builds tensors and plain containers and refuses every other name in the pickle. Should
that ever let something through, it would find itself without the right to start a program, to open a connection or to
write anywhere but at the target: hooks and limits are set before the file is opened, and hooks cannot be taken off.
It imports nothing of bedside, and prints one line of JSON: what was written, or why not.
"""

from __future__ import annotations

import json
import os
import sys
import zipfile
from pathlib import Path
from typing import Any

_FORBIDDEN = (
    "subprocess.",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "socket.",
    "ctypes.dlopen",
)
_CHANGES = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.chmod", "os.truncate")
_OVERHEAD = 24 << 30  # bytes of address space that torch itself may map


def limit(size: int, seconds: int) -> None:
    """Limit address space, processor time and what may be written, where the system can."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for kind, most in (
        (resource.RLIMIT_AS, 4 * size + _OVERHEAD),
        (resource.RLIMIT_FSIZE, 2 * size + (64 << 20)),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        wanted = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (wanted, hard))


def guard(target: Path) -> None:
    """Refuse programs, connections, changes to files, and writing anywhere but to the target."""

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event.startswith((*_FORBIDDEN, *_CHANGES)):
            raise PermissionError(f"{event} is not allowed here")
        if event == "open" and _writes(args) and not _is_target(args[0]):
            raise PermissionError("writing is not allowed here")

    def _is_target(path: Any) -> bool:
        return isinstance(path, (str, bytes, os.PathLike)) and Path(os.fsdecode(path)) == target

    sys.addaudithook(hook)


def _writes(args: tuple[Any, ...]) -> bool:
    mode, flags = args[1], args[2]
    if isinstance(mode, str) and set(mode) & set("wax+"):
        return True
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def tensors_of(source: Path) -> dict[str, Any]:
    """The tensors of a pickled state dict, each with storage of its own, as safetensors wants them."""
    import torch

    state = torch.load(source, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(source))
    if not isinstance(state, dict):
        raise TypeError("it holds no state dict")
    nested = state.get("state_dict")
    if isinstance(nested, dict):
        state = nested
    found, seen = {}, set()
    for name, value in state.items():
        if not isinstance(value, torch.Tensor):
            continue
        value = value.detach().contiguous()
        key = value.untyped_storage().data_ptr()
        found[str(name)] = value.clone() if key in seen or value.untyped_storage().nbytes() != value.nbytes else value
        seen.add(key)
    if not found:
        raise TypeError("it holds no tensors")
    return found


def same(tensors: dict[str, Any], target: Path) -> bool:
    """Whether what was written is byte for byte what was read."""
    import torch
    from safetensors import safe_open

    with safe_open(target, framework="pt") as written:
        if set(written.keys()) != set(tensors):
            return False
        return all(
            value.dtype == (other := written.get_tensor(name)).dtype
            and value.shape == other.shape
            and torch.equal(value.reshape(-1).view(torch.uint8), other.reshape(-1).view(torch.uint8))
            for name, value in tensors.items()
        )


def main(source: Path, target: Path, seconds: int) -> dict[str, Any]:
    """Read, write, compare."""
    import pickle

    import torch  # noqa: F401  # its own libraries are loaded before the guard is up
    from safetensors.torch import save_file

    limit(source.stat().st_size, seconds)
    guard(target)
    try:
        tensors = tensors_of(source)
        save_file(tensors, target, metadata={"format": "pt"})
        if not same(tensors, target):
            return {"error": "what was written is not what was read"}
    except pickle.UnpicklingError:
        return {"error": "it holds more than tensors, which a pickle can use to run code"}
    except Exception as error:  # whatever a damaged or hostile file leads to is one sentence for the parent
        return {"error": f"it cannot be read ({type(error).__name__})"}
    return {"names": sorted(tensors), "bytes": sum(value.nbytes for value in tensors.values())}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))) + "\n")
