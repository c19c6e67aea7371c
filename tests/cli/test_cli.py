"""The command line from outside: help, exit codes, what is imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

VERBS = [
    "init",
    "prepare",
    "train",
    "evaluate",
    "package",
    "run",
    "verify",
    "predict",
    "serve",
    "models",
    "keys",
    "doctor",
    "sample",
    "demo",
]


def bedside(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "bedside", *words], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb) -> None:
    done = bedside(verb, "--help")
    assert done.returncode == 0
    assert verb in done.stdout


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from bedside.cli import main; main(['--help']);"
        "print(sorted({'torch', 'transformers', 'polars', 'scipy', 'sklearn', 'numpy', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")


@pytest.mark.parametrize(
    "words",
    [("init", "absent.csv"), ("run", "absent"), ("predict", "absent", "note.txt"), ("models", "show", "nonsense")],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(words, tmp_path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bedside", *words], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
