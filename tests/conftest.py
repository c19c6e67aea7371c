"""Fixtures for every test: the data folder beside the checkout, and a home of its own for keys and caches.

A test that needs a program of this system skips with a reason that begins with ``needs ``. Where everything is said to
be installed (``BEDSIDE_REQUIRE_ALL=1``, as ``.ci/run`` does) such a skip is a failure.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
# A shell starts what it puts in the background with Ctrl-C ignored, and every process started from there inherits that;
# the tests that press Ctrl-C say how a program in the foreground behaves.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

DATA = Path(os.environ.get("BEDSIDE_TEST_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public data sets; tests that need it are skipped where it is absent."""
    if not DATA.is_dir():
        if "BEDSIDE_TEST_DATA" in os.environ:
            pytest.fail(f"BEDSIDE_TEST_DATA names {DATA}, which is no folder")
        pytest.skip(f"the public data sets are not at {DATA} (set BEDSIDE_TEST_DATA)")
    return DATA


@pytest.fixture(autouse=True)
def _own_config(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the site key of whoever runs it."""
    monkeypatch.setenv("BEDSIDE_CONFIG", str(tmp_path_factory.mktemp("config")))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Judge the skip of one test."""
    return _judged((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Judge the skip of a whole file."""
    return _judged((yield))


def _judged(report: Any) -> Any:
    """Make a failure of a skip for a missing program, where none may be missing."""
    if os.environ.get("BEDSIDE_REQUIRE_ALL") == "1" and report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if reason.startswith("needs "):
            report.outcome = "failed"
            report.longrepr = f"BEDSIDE_REQUIRE_ALL=1, but this {reason}"
    return report
