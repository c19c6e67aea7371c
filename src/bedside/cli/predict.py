"""``bedside predict``: answers without a server."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from bedside.cli.options import Json, Quiet, bundle_of, example, progress

VERBS = ("predict",)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        "predict",
        epilog=example(
            "bedside predict my-study note.txt",
            "bedside predict my-study - < note.txt",
            "bedside predict my-study notes.csv --text note --output answers.jsonl",
        ),
    )(predict)


def predict(
    place: Annotated[Path, typer.Argument(metavar="STUDY|BUNDLE", help="A study or a bundle.", show_default=False)],
    notes: Annotated[
        list[str],
        typer.Argument(help="Text files with one note each, - for standard input, or one table.", show_default=False),
    ],
    text: Annotated[str | None, typer.Option(help="For a table: the column with the note.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="For a table: where the answers go, one JSON object a row.")
    ] = None,
    top: Annotated[int | None, typer.Option(min=1, help="Diagnoses in an answer.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Answer notes with the packaged model: a ranked differential, or "I don't know" and why."""
    from bedside.bundle import Bundle
    from bedside.cli.show import print_answer
    from bedside.study.predict import answer_table, decode_note, is_table, read_note

    bundle = Bundle.load(bundle_of(place))
    if len(notes) == 1 and is_table(notes[0]):
        written = answer_table(bundle, Path(notes[0]), text, output, top_k=top, progress=progress(quiet))
        typer.echo(f"Wrote {written.rows:,} answers to {written.path}: {written.account()}")
        return
    texts = [
        decode_note(sys.stdin.buffer.read(), "standard input") if note == "-" else read_note(Path(note))
        for note in notes
    ]
    answers = [answer.to_json() for answer in bundle.diagnose(texts, top)]
    if as_json:
        typer.echo(json.dumps(answers if len(answers) > 1 else answers[0], indent=2, ensure_ascii=False))
        return
    for note, answer in zip(notes, answers, strict=True):
        print_answer(answer, "standard input" if note == "-" else note)
