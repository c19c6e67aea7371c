"""What the tests of the data room share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a file of bytes, or of text as UTF-8, and say where it lies."""

    def put(content: bytes | str, name: str = "notes.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        return path

    return put
