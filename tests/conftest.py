"""Fixtures for every test: the data folder beside the checkout, and a home of its own for keys and caches."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("BEDSIDE_TEST_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public data sets; tests that need it are skipped where it is absent."""
    if not DATA.is_dir():
        pytest.skip(f"the public data sets are not at {DATA} (set BEDSIDE_TEST_DATA)")
    return DATA


@pytest.fixture(autouse=True)
def _own_config(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the site key of whoever runs it."""
    monkeypatch.setenv("BEDSIDE_CONFIG", str(tmp_path_factory.mktemp("config")))
