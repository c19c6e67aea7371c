"""What safetensors files say of themselves, read without torch: names, types, shapes, and the bytes behind them.

The format (https://github.com/huggingface/safetensors, "Format"): eight bytes hold the length of a JSON header, little
end first; the header maps each name to ``dtype``, ``shape`` and ``data_offsets``, which count from the header's end.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bedside.core.errors import ModelError

_MOST = 100_000_000  # bytes of a header; the format's own limit
_CHUNK = 1 << 20
_NO_WEIGHTS = {"I64", "I32", "BOOL"}


def read_header(path: Path) -> tuple[dict[str, Any], int]:
    """The header of a safetensors file (by name of tensor), and where its data begin.

    Raises:
        ModelError: it is no safetensors file, or was cut short.
    """
    try:
        with path.open("rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
            header: Any = json.loads(handle.read(length)) if 1 < length <= _MOST else None
        tensors = {name: about for name, about in header.items() if name != "__metadata__"}
        end = max((about["data_offsets"][1] for about in tensors.values()), default=0)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path} is no whole safetensors file; fetch it again.") from error
    if path.stat().st_size != 8 + length + end:
        raise ModelError(f"{path} was cut short or added to; fetch it again.")
    return tensors, 8 + length


def parameters(files: Sequence[Path]) -> int:
    """How many weights the tensors of these files hold; positions and masks, held as integers, are none."""
    found = (about for path in files for about in read_header(path)[0].values())
    return sum(math.prod(about["shape"]) for about in found if about["dtype"] not in _NO_WEIGHTS)


def tensors_digest(files: Sequence[Path]) -> str:
    """SHA-256 over names, types, shapes and bytes in the order of the names: the same however they are laid out."""
    where = {}
    for path in files:
        tensors, start = read_header(path)
        where.update({name: (path, start, about) for name, about in tensors.items()})
    digest = hashlib.sha256()
    for name, (path, start, about) in sorted(where.items()):
        digest.update(json.dumps([name, about["dtype"], about["shape"]]).encode())
        first, last = about["data_offsets"]
        with path.open("rb") as handle:
            handle.seek(start + first)
            left = last - first
            while left and (piece := handle.read(min(left, _CHUNK))):
                digest.update(piece)
                left -= len(piece)
    return digest.hexdigest()
