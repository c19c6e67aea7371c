"""Where everything is said to be installed, a skip for a missing program is a failure, and no other skip is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_TESTS = """
import pytest

def test_program():
    pytest.skip("needs a program that is not there")

@pytest.mark.skipif(True, reason="needs another program")
def test_marked():
    pass

def test_data():
    pytest.skip("the public data sets are not here")

def test_fine():
    pass

@pytest.mark.xfail(reason="needs thought")
def test_expected():
    raise AssertionError
"""


@pytest.mark.parametrize(
    ("required", "ends"),
    [("0", "1 passed, 3 skipped, 1 xfailed"), ("1", "1 failed, 1 passed, 1 skipped, 1 xfailed, 1 error")],
)
def test_a_skip_for_a_missing_program(required, ends, tmp_path) -> None:
    assert ends in run_tests(tmp_path, _TESTS, required)


@pytest.mark.parametrize(("required", "ends"), [("0", "1 skipped"), ("1", "1 error")])
def test_a_whole_file_that_needs_a_program(required, ends, tmp_path) -> None:
    content = 'import pytest\npytest.skip("needs a program", allow_module_level=True)\n'
    assert ends in run_tests(tmp_path, content, required)


def run_tests(folder: Path, content: str, required: str) -> str:
    """The last line of a run of these tests under this project's conftest."""
    shutil.copy(Path(__file__).parents[1] / "conftest.py", folder / "conftest.py")
    (folder / "test_sample.py").write_text(content, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(folder)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "BEDSIDE_REQUIRE_ALL": required},
    )
    return done.stdout.strip().splitlines()[-1]
