"""A bug ends in a traceback that names places and kinds, and never what was being read."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

MARKER = "Zyxomarker"
# A fault in the verb itself, behind another one, with the note in both messages.
_CODE = f"""
import bedside.protocol, sys
from bedside.cli import main

def _broken(path):
    note = "{MARKER} has chest pain"
    try:
        {{{{}}}}[note]
    except KeyError as error:
        raise {{kind}}(note) {{origin}}

bedside.protocol.load = _broken
sys.exit(main(["run", "."]))
"""


def _fail(kind: str = "ValueError", origin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    without = {name: value for name, value in os.environ.items() if name != "BEDSIDE_DEBUG"}
    return subprocess.run(
        [sys.executable, "-c", _CODE.format(kind=kind, origin=origin)],
        capture_output=True,
        text=True,
        check=False,
        env={**without, **environment},
    )


@pytest.mark.parametrize(
    ("origin", "kinds"),
    [("", ["KeyError", "ValueError"]), ("from error", ["KeyError", "ValueError"]), ("from None", ["ValueError"])],
)
def test_a_bug_shows_places_and_kinds_and_withholds_the_message(origin: str, kinds: list[str]) -> None:
    done = _fail(origin=origin)
    assert done.returncode == 1
    assert MARKER not in done.stdout + done.stderr
    lines = done.stderr.splitlines()
    assert [line for line in lines if line in {"KeyError", "ValueError"}] == kinds
    assert lines.count("Traceback (most recent call last):") == len(kinds)
    assert any('study.py", line ' in line and line.endswith(", in open") for line in lines)
    assert any(line.endswith(", in _broken") for line in lines)
    assert lines[-1].count("BEDSIDE_DEBUG=1 shows it.") == 1


@pytest.mark.parametrize("debug", ["0", ""])
def test_only_a_one_asks_for_the_message(debug: str) -> None:
    assert MARKER not in _fail(BEDSIDE_DEBUG=debug).stderr


def test_the_message_is_shown_to_whoever_asks_for_it() -> None:
    done = _fail(BEDSIDE_DEBUG="1")
    assert done.returncode == 1
    assert f"ValueError: {MARKER} has chest pain" in done.stderr
    assert "withheld" not in done.stderr


def test_an_error_without_end_is_shown_in_few_lines() -> None:
    code = _CODE.replace("    note =", "    return _broken(path)\n    note =").format(kind="ValueError", origin="")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "RecursionError" in done.stderr.splitlines()
    assert len(done.stderr.splitlines()) < 40
