"""No text of a patient outside the cases: not in a log, an error, a report, a bundle, a cache or a temporary file.

Every note holds a word of its patient alone, and every patient's id a mark. The line crashes once with a note in the
error's message, is finished, predicts and serves; then every byte that it left is searched.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import polars as pl
import pytest
import small_line
from small_line import bedside

from bedside.study import Study

pytestmark = pytest.mark.e2e

# Longer than the five characters on end that a vocabulary may hold; each patient's word ends differently.
TEXT = "qzxwvqk"
PATIENT = "wkjhxpid"
ASKED = "vbnmzqxr"
_CRASH = """
from bedside.models import TfidfLogistic
_fit, _calls = TfidfLogistic.fit, []
def _broken(texts, *rest, **more):
    _calls.append(1)
    if len(_calls) == 2:  # the first is the baseline's
        raise ValueError(texts[0])
    return _fit(texts, *rest, **more)
TfidfLogistic.fit = _broken
"""
_FAIL_WHEN_ASKED = """
from bedside.models import TfidfLogistic
_predict = TfidfLogistic.predict_proba
def _broken(self, texts):
    if any("break the model" in text for text in texts):
        raise ValueError(texts[0])
    return _predict(self, texts)
TfidfLogistic.predict_proba = _broken
"""


def _planted(rows: pl.DataFrame) -> pl.DataFrame:
    """Each patient's own word at the start and in the middle of each of his notes, and the mark in his id."""
    # Letters alone, so that no splitting of words from numbers takes the mark apart.
    digits = {str(digit): chr(ord("a") + digit) for digit in range(10)}
    letters = pl.col("patient_id").rank("dense").cast(pl.String).str.replace_many(digits)
    word = pl.lit(TEXT.capitalize()) + letters
    note = pl.col("note")
    return rows.with_columns(
        word + " presents. " + note.str.slice(0, 150) + " " + word + " " + note.str.slice(150),
        patient_id=pl.lit(PATIENT) + "-" + pl.col("patient_id"),
    ).select(*(name for name in rows.columns if name != "note"), pl.col("literal").alias("note"))


class Line(NamedTuple):
    """What a line left: folders to search, and what was printed and answered."""

    study: Path
    folders: tuple[Path, ...]
    printed: dict[str, str]
    statuses: list[int]


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    outside, inside = tmp_path_factory.mktemp("outside"), tmp_path_factory.mktemp("inside")
    table = small_line.small_table(outside, change=_planted)
    places = {name: inside / name for name in ("config", "temporary", "home")}
    for place in places.values():
        place.mkdir()
    environment = {
        "BEDSIDE_CONFIG": str(places["config"]),
        "BEDSIDE_DEBUG": "0",
        "TMPDIR": str(places["temporary"]),
        "HOME": str(places["home"]),
    }
    study, printed = inside / "study", {}

    def run(name: str, *words: str | Path, code: str | None = None, expected: int = 0) -> None:
        done = bedside(*words, code=code, **environment)
        printed[name] = done.stdout + done.stderr
        assert done.returncode == expected, printed[name]

    run("init", "init", table, "--into", study, "--text", "note", "--label", "diagnosis", "--patient", "patient_id")
    small_line.change(Study.open(study), "model", base="builtin:tfidf")
    small_line.change(Study.open(study), "evaluate", resamples=100)
    run("crash", "run", study, code=_CRASH, expected=1)
    assert not Study.open(study).done("train")
    run("run", "run", study)
    notes = pl.read_csv(table, infer_schema=False)["note"].to_list()
    (outside / "note.txt").write_text(notes[0], encoding="utf-8")
    run("predict", "predict", study, outside / "note.txt")
    run("table", "predict", study, table, "--text", "note", "--output", inside / "answers.jsonl")
    run("text", "predict", study, notes[0] + "\n", expected=2)
    with small_line.serving(study, outside / "server.log", code=_FAIL_WHEN_ASKED, **environment) as server:
        statuses, printed["answers"] = _ask(server, notes)
    printed["server"] = (outside / "server.log").read_text(encoding="utf-8")
    yield Line(study, (inside,), printed, statuses)


def _ask(server: small_line.Serving, notes: list[str]) -> tuple[list[int], str]:
    """Twenty requests with patient text, most of them wrong in some way; the statuses, and all that came back."""
    key, note = {"Authorization": f"Bearer {server.key}"}, f"{ASKED} {notes[0]}"
    right, path, json_type = {"text": note}, "/v1/diagnose", {"Content-Type": "application/json"}
    with httpx.Client(base_url=server.url, headers=key, timeout=60, trust_env=False) as client:
        answers = [
            *(client.post(path, json={"text": f"{ASKED} {one}"}) for one in notes[:6]),
            client.post("/diagnose", json=right),
            client.post(f"{path}/batch", json={"items": [{"id": "1", "text": note}, {"id": "2", "text": note}]}),
            client.post(path, json={"text": f"{note} break the model"}),
            client.post(path, content=f'{{"text": "{note}'.encode()),
            client.post(path, content=f'{{"text": "{note}'.encode(), headers=json_type),
            client.post(path, content=f'{{"text": "{note}"'.encode("utf-16"), headers=json_type),
            client.post(path, json={"text": [note]}),
            client.post(path, json={"text": note, ASKED: note}),
            client.post(path, json={"text": note, "top_k": ASKED}),
            client.post(path, json={"text": note * 5000}),
            client.post(path, json=right, headers={"Authorization": f"Bearer {ASKED}"}),
            client.get(f"/v1/{ASKED}?patient={ASKED}"),
            client.put(path, json=right),
            client.post(path, json=right, params={"patient": ASKED}, headers={"X-Request-ID": f"{ASKED} of no form"}),
        ]  # fmt: skip
    headers = [json.dumps(dict(answer.headers)) for answer in answers]
    return [answer.status_code for answer in answers], "".join([*(answer.text for answer in answers), *headers])


def _files(line: Line) -> list[Path]:
    return [file for folder in line.folders for file in sorted(folder.rglob("*")) if file.is_file()]


def _of_parquet(file: Path) -> dict[str, str]:
    """The values of each column, as text: the file itself is packed."""
    frame = pl.read_parquet(file)
    return {name: "\n".join(str(value) for value in frame[name].to_list()) for name in frame.columns}


def _hits(line: Line, mark: str) -> list[str]:
    """Where a mark is found, in any case."""
    found = [f"printed by {name}" for name, text in line.printed.items() if mark in text.lower()]
    for file in _files(line):
        name = file.relative_to(line.folders[0]).as_posix()
        if mark in name.lower() or mark.encode() in file.read_bytes().lower():
            found.append(name)
        if file.suffix == ".parquet":
            found += [f"{name}: {column}" for column, text in _of_parquet(file).items() if mark in text.lower()]
    return found


def test_all_that_was_planned_took_place(line: Line) -> None:
    assert line.statuses == [200] * 8 + [500, 415, 400, 400, 422, 422, 422, 413, 401, 404, 405, 200]
    assert "ValueError" in line.printed["crash"]
    assert "ValueError" in line.printed["server"]
    assert line.printed["server"].count('"status"') == len(line.statuses)
    assert Study.open(line.study).done("package")


def test_the_text_is_in_the_cases_alone(line: Line) -> None:
    # The first is the bytes of the file, where a small column may stand unpacked.
    assert {hit.removesuffix(": text") for hit in _hits(line, TEXT)} == {"study/cohort/cases.parquet"}
    assert "study/cohort/cases.parquet: text" in _hits(line, TEXT)


def test_the_patients_id_is_nowhere(line: Line) -> None:
    assert _hits(line, PATIENT) == []


def test_what_the_server_was_asked_is_nowhere(line: Line) -> None:
    assert _hits(line, ASKED) == []
