"""A bundle on the disk."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import keyword_model


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    keyword_model.install(monkeypatch)
    evidence = tmp_path / "evidence.jsonl"
    evidence.write_text('{"number": 1}\n', encoding="utf-8")
    return keyword_model.write(tmp_path / "bundle", evidence=evidence)
