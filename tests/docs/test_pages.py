"""The docs cannot lie: pages are current and linked, and what they say to type is typed here.

A page is Markdown; its ``bash`` and ``python`` blocks run in order, in one folder. A comment before a block says how:

- ``<!-- not run: REASON -->``: the block is only read.
- ``<!-- fails: CODE where REASON -->``: that exit code is right too.
- ``<!-- ready: THING -->``: the folder already holds ``notes.csv``, a study that has not run, or one that has.
"""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bedside.cli.app import VERBS
from bedside.study.demo import write_sample

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
_BLOCK = re.compile(r"(?P<before>(?:<!--[^\n]*-->\n)*)```(?P<language>bash|python)\n(?P<code>.*?)```", re.DOTALL)
_COMMENT = re.compile(r"<!-- (not run|fails|ready): (.*?) -->")
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
# Whoever takes another block out of the tests says so here, and why on the page.
_NOT_RUN = {
    "docs/base-models.md": 2,
    "docs/install.md": 3,
    "docs/verbs/demo.md": 1,
    "docs/verbs/models.md": 1,
    "docs/verbs/selftest.md": 1,
    "docs/verbs/serve.md": 1,
}


@dataclass(frozen=True)
class Block:
    language: str
    code: str
    comments: dict[str, str] = field(default_factory=dict)


def blocks(page: Path) -> list[Block]:
    """The blocks of a page that can be run, in order."""
    found = _BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Block(one["language"], one["code"], dict(_COMMENT.findall(one["before"]))) for one in found]


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def builder():
    """``docs/build_help.py`` as a module."""
    spec = importlib.util.spec_from_file_location("build_help", DOCS / "build_help.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_verb_has_a_page_and_its_help_is_current() -> None:
    build = builder()
    assert set(build.VERBS) == VERBS
    for verb, commands in build.VERBS.items():
        page = (DOCS / "verbs" / f"{verb}.md").read_text(encoding="utf-8")
        assert page == build.verb_page(page, commands), f"{verb}.md is not current: python docs/build_help.py"


def test_the_page_of_the_protocol_is_current() -> None:
    page = (DOCS / "protocol.md").read_text(encoding="utf-8")
    assert page == builder().protocol_page(page), "protocol.md is not current: python docs/build_help.py"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_to_a_file(page) -> None:
    for target in _LINK.findall(page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{name(page)} links to {target}"


def test_every_page_is_linked_from_the_index_and_the_index_from_the_readme() -> None:
    linked = {(DOCS / target).resolve() for target in _LINK.findall((DOCS / "README.md").read_text(encoding="utf-8"))}
    assert {page for page in PAGES[1:] if page != DOCS / "README.md"} <= linked
    assert "docs/README.md" in _LINK.findall(PAGES[0].read_text(encoding="utf-8"))


def test_no_block_is_left_out_unnoticed() -> None:
    left_out = {name(page): sum("not run" in block.comments for block in blocks(page)) for page in PAGES}
    assert {page: count for page, count in left_out.items() if count} == _NOT_RUN


@pytest.fixture(scope="session")
def prepared(tmp_path_factory) -> Path:
    """A folder with what a reader would have: a table, a note, and a study of it that has run."""
    folder = tmp_path_factory.mktemp("reader")
    write_sample(folder / "sample", notes=600)
    few_diagnoses(folder / "sample" / "notes.csv", folder / "notes.csv")
    (folder / "note.txt").write_text("62F with pleuritic chest pain and short of breath. " * 20, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BEDSIDE_CONFIG", str(folder / "config"))
        command(["init", "notes.csv"], folder)
        command(["run", "my-study", "--quiet"], folder)
    return folder


def few_diagnoses(table: Path, into: Path) -> None:
    """Keep the six commonest diagnoses, which are quick to learn."""
    with table.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    label = header.index("diagnosis")
    common = {kind for kind, _ in Counter(row[label] for row in rows).most_common(6)}
    with into.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *(row for row in rows if row[label] in common)])


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=name)
def test_what_a_page_says_to_type_works(page, prepared, tmp_path, monkeypatch) -> None:
    ready = {kind for block in blocks(page) for key, kind in block.comments.items() if key == "ready"}
    shutil.copy(prepared / "notes.csv", tmp_path / "notes.csv")
    shutil.copy(prepared / "note.txt", tmp_path / "note.txt")
    if ready & {"my-study", "unrun"}:
        shutil.copytree(prepared / "my-study", tmp_path / "my-study")
        monkeypatch.setenv("BEDSIDE_CONFIG", str(prepared / "config"))
    if "unrun" in ready:
        invalidate(tmp_path / "my-study", page.stem)
    for block in blocks(page):
        if "not run" not in block.comments:
            execute(block, tmp_path)


def invalidate(study: Path, verb: str) -> None:
    """Take away what a stage left behind, so that the verb of that stage has something to do."""
    manifests = {"prepare": "cohort", "train": "runs/main", "evaluate": "evaluation", "run": "evaluation"}
    if verb in manifests:
        (study / manifests[verb] / "manifest.json").unlink()
    if verb == "package":
        (study / "bundle.manifest.json").unlink()


def execute(block: Block, folder: Path) -> None:
    """Run one block as a reader would."""
    if block.language == "python":
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", block.code], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return
    allowed = {0} | ({int(block.comments["fails"].split()[0])} if "fails" in block.comments else set())
    for line in block.code.splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["make"] or not words:
            continue
        assert words[0] == "bedside", f"only bedside is run here, not: {line}"
        command(words[1:], folder, allowed)


def command(words: list[str], folder: Path, allowed: set[int] | None = None) -> None:
    """One command line; a server is started on a free port and stopped."""
    if words[0] == "serve":
        serve(words, folder)
        return
    done = subprocess.run(
        [sys.executable, "-m", "bedside", *words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode in (allowed or {0}), f"bedside {shlex.join(words)}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    if words[0] == "init":
        for protocol in folder.glob("*/protocol.toml"):
            text = protocol.read_text(encoding="utf-8").replace('"builtin:minilm"', '"builtin:tfidf"')
            protocol.write_text(text.replace("resamples = 2000", "resamples = 200"), encoding="utf-8")


def serve(words: list[str], folder: Path) -> None:
    """Start the server that a page starts, ask whether it is well, and stop it."""
    if "--port" in words:
        at = words.index("--port")
        words = words[:at] + words[at + 2 :]
    with (folder / "server.log").open("w+", encoding="utf-8") as log:
        started = [sys.executable, "-m", "bedside", *words, "--port", "0"]
        process = subprocess.Popen(started, cwd=folder, stdout=log, stderr=log, env=dict(os.environ))
        try:
            url = address(process, folder / "server.log")
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(f"{url}/healthz", timeout=30) as answer:
                assert answer.status == 200
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=30)
            process.kill()


def address(process: subprocess.Popen[bytes], log: Path) -> str:
    """The URL that the server prints once it listens."""
    for _ in range(600):
        said = log.read_text(encoding="utf-8")
        found = re.search(r"http://127\.0\.0\.1:\d+", said)
        if found:
            return found[0]
        assert process.poll() is None, said
        time.sleep(0.1)
    raise AssertionError(log.read_text(encoding="utf-8"))
