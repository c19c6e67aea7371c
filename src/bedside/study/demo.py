"""The whole line on the sample clinic, with nothing asked: what a newcomer runs first.

Everything it shows is synthetic, and says so.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedside.core.files import plain_errors, read_json
from bedside.core.progress import SILENT, Progress
from bedside.study.init import create
from bedside.study.study import PROTOCOL, Study

SAMPLE_NOTES = 1000
_SHOWN_DIAGNOSIS = "Pulmonary embolism"
_SEED = 42
_TIMEOUT = 60.0


@dataclass(frozen=True)
class Shown:
    """What the demo has to show: the study, its figures, a note that no split holds, and its served answer."""

    study: Study
    metrics: dict[str, Any]
    note: str
    diagnosis: str
    answer: dict[str, Any]


def demonstrate(folder: Path, *, base: str | None = None, progress: Progress = SILENT) -> Shown:
    """Sample notes, run every stage, and have one new note answered by the real server.

    A demo that was interrupted goes on where it stopped.

    Args:
        folder: where the sample and the study go.
        base: another base model than the default.
        progress: told what happens.
    """
    study = _study(folder, base, progress)
    study.run(progress=progress)
    note = _fresh_note()
    progress.say("Serving the bundle on this machine for one note …")
    return Shown(
        study,
        read_json(study.path("evaluate") / "metrics.json"),
        note,
        _SHOWN_DIAGNOSIS,
        _ask(study, note),
    )


def _study(folder: Path, base: str | None, progress: Progress) -> Study:
    """The demo's study, made if it is not there."""
    place = folder / "study"
    if not (place / PROTOCOL).exists():
        progress.say(f"Writing a sample clinic of {SAMPLE_NOTES:,} synthetic notes to {folder / 'sample'}")
        write_sample(folder / "sample", progress=progress)
        create(folder / "sample" / "notes.csv", place, progress=progress)
        _state(place / PROTOCOL, base)
    return Study.open(place)


def write_sample(folder: Path, *, progress: Progress = SILENT, **plan: Any) -> dict[str, Any]:
    """Write a sample clinic (see :class:`bedside.synthetic.Plan` for what may be planned) and say what is in it.

    Returns:
        ``planted.json``: counts of what was planted, and the accuracy of the generator's own Bayes rule.
    """
    from bedside.synthetic import Plan, generate

    plan = {"notes": SAMPLE_NOTES, "seed": _SEED, **plan}
    with plain_errors(folder):
        generate(Plan(**plan), progress).write(folder)
    planted: dict[str, Any] = read_json(folder / "planted.json")
    return planted


def _state(protocol_file: Path, base: str | None) -> None:
    """Name the base model and the codes that the sample clinic knows in the protocol, as a user would by hand."""
    from bedside.core.files import write_text
    from bedside.protocol import load, render
    from bedside.synthetic import codes

    protocol = load(protocol_file)
    package = protocol.package.model_copy(
        update={
            "codes": codes(),
            "intended_use": "Demonstration on synthetic notes.",
            "limits": "Not for patients: the notes that it learned from were made up.",
        }
    )
    model = protocol.model.model_copy(update={"base": base}) if base else protocol.model
    write_text(protocol_file, render(protocol.model_copy(update={"package": package, "model": model})))


def _fresh_note() -> str:
    from bedside.core.seeds import derive
    from bedside.synthetic import note_for

    return note_for(_SHOWN_DIAGNOSIS, derive(_SEED, "demo", "note") % 2**31)


def _ask(study: Study, note: str) -> dict[str, Any]:
    """Ask the real server over HTTP."""
    from bedside.serving import running

    with running(study.diagnoser(), study.protocol.serve) as server:
        request = urllib.request.Request(  # noqa: S310 (the URL is the server's own, on loopback)
            f"{server.base_url}/v1/diagnose",
            data=json.dumps({"text": note}).encode("utf-8"),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {server.key}"},
        )
        opener: Callable[..., Any] = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
        with opener(request, timeout=_TIMEOUT) as response:
            answer: dict[str, Any] = json.load(response)
    return answer
