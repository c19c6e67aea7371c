"""The command line from outside: help, examples, exit codes, what is imported."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time

import pytest

VERBS = [
    "init",
    "prepare",
    "train",
    "evaluate",
    "package",
    "run",
    "card",
    "verify",
    "predict",
    "serve",
    "models",
    "keys",
    "doctor",
    "selftest",
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


COMMANDS = [
    *(verb for verb in VERBS if verb not in {"models", "keys", "selftest"}),
    *("models list", "models show", "models get", "models convert"),
    *("keys list", "keys new", "keys revoke", "selftest training"),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_has_examples_that_can_be_typed(command) -> None:
    """Each line is parsed by the verb itself; nothing is run."""
    from typer.main import get_command

    from bedside.cli.app import app

    said = bedside(*command.split(), "--help").stdout
    examples = re.findall(r"^ +(bedside .+)$", said.partition("Example")[2], re.MULTILINE)
    assert examples, f"bedside {command} --help shows no example"
    for line in examples:
        words = shlex.split(line.partition("<")[0])[1:]
        assert " ".join(words).startswith(command)
        found = get_command(app)
        for word in command.split():
            found = found.commands[word]
        found.make_context(command, words[len(command.split()) :])


def test_the_listing_cuts_no_sentence() -> None:
    for words in (["--help"], ["models", "--help"], ["keys", "--help"]):
        listing = bedside(*words).stdout.partition("Commands:")[2]
        assert listing
        assert "..." not in listing


def test_the_list_of_verbs_here_is_whole() -> None:
    from bedside.cli.app import VERBS as KNOWN

    assert set(VERBS) == KNOWN


def test_an_unknown_verb_is_a_mistake() -> None:
    done = bedside("nonsense")
    assert done.returncode == 2
    assert "nonsense" in done.stderr
    assert "bedside --help" in done.stderr
    assert "Traceback" not in done.stderr


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


def test_doctor_says_what_is_missing_and_exits_1(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("BEDSIDE_CACHE", str(tmp_path / "empty"))
    done = bedside("doctor")
    assert done.returncode == 1
    assert re.search(r"^missing +builtin:minilm +not at hand", done.stdout, re.MULTILINE)
    assert "bedside models get builtin:minilm" in done.stdout
    assert "Traceback" not in done.stderr


def test_doctor_names_what_a_report_of_a_fault_needs(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("BEDSIDE_CACHE", str(tmp_path / "empty"))
    findings = {one["name"]: one for one in json.loads(bedside("doctor", "--json").stdout)}
    for name in ("Python", "torch", "transformers", "datasets", "scikit-learn", "CPU", "memory", "disk"):
        assert findings[name]["value"]
    assert {"sizes that fit", "base models at hand", "Hugging Face Hub"} <= set(findings)
    assert any(name.startswith("CUDA device") for name in findings)
    assert "builtin:tfidf" in findings["base models at hand"]["value"]
    for one in findings.values():
        assert one["status"] == "ok" or one["advice"], f"{one['name']} says nothing of what to do"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to a process")
def test_ctrl_c_ends_in_130_and_a_sentence(tmp_path) -> None:
    words = [sys.executable, "-m", "bedside", "sample", "clinic", "--notes", "200000"]
    process = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        until_under_way(process, tmp_path / "clinic")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert said.strip().splitlines()[-1].startswith("Stopped.")
    assert "Traceback" not in said
    assert not (tmp_path / "clinic" / "notes.csv").exists(), "half a table looks like a whole one"


def until_under_way(process: subprocess.Popen[str], folder) -> None:
    """Wait until the verb has begun to write."""
    while not (folder.is_dir() and any(folder.iterdir())):
        assert process.poll() is None, "it ended before it could be stopped"
        time.sleep(0.02)


def test_a_pipe_that_is_closed_early_is_no_traceback() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "bedside", "models", "list"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) in {0, 1}
    assert said == b""
