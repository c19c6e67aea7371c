"""A bundle on the disk."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import small_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    evidence = tmp_path / "evidence.jsonl"
    evidence.write_text('{"number": 1}\n', encoding="utf-8")
    return small_model.write(tmp_path / "bundle", evidence=evidence)
