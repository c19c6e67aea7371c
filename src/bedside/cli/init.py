"""``bedside init``: a study from a table of notes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bedside.cli.options import Quiet, example, progress

VERBS = ("init",)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(
        "init",
        epilog=example(
            "bedside init notes.csv --into my-study",
            "bedside init notes.xlsx --label dx --rare drop",
            'bedside init sqlite:///notes.db --query "SELECT note, diagnosis FROM notes"',
        ),
    )(init)


def init(
    table: Annotated[
        str,
        typer.Argument(
            help="The table of notes: .csv, .tsv, .xlsx, .jsonl, .parquet or .xml; a folder of FHIR, MIMIC, PubMed "
            "or datasets; or a database: sqlite:///notes.db, or env:NAME where the environment variable NAME holds its "
            "URL.",
            show_default=False,
        ),
    ],
    into: Annotated[Path, typer.Option(help="The new study's folder.")] = Path("my-study"),
    text: Annotated[
        list[str] | None, typer.Option(help="The column with the note; give it again to join several.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="The column with the diagnosis.")] = None,
    patient: Annotated[str | None, typer.Option(help="The column that names the patient.")] = None,
    time: Annotated[str | None, typer.Option(help="The column with the time of the note.")] = None,
    site: Annotated[str | None, typer.Option(help="The column with the hospital or ward.")] = None,
    keep: Annotated[
        list[str] | None, typer.Option(help="A further column to keep, for subgroups; may be given again.")
    ] = None,
    rare: Annotated[
        str | None,
        typer.Option(
            metavar="drop|merge:NAME|N",
            help="Labels too small for every split: left out, read as one, or all under N cases left out.",
        ),
    ] = None,
    sheet: Annotated[str | None, typer.Option(help="The sheet of a workbook.")] = None,
    query: Annotated[str | None, typer.Option(help="Of a database: the SELECT whose rows are the cases.")] = None,
    note_types: Annotated[
        list[str] | None, typer.Option(help="Of FHIR and MIMIC: a type of note to take; may be given again.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Look at a table, propose which column is what, and write protocol.toml with a comment on every key."""
    from bedside.study import create

    created = create(
        table,
        into,
        text=text[0] if text and len(text) == 1 else text,
        label=label,
        patient=patient,
        time=time,
        site=site,
        keep=keep,
        rare=int(rare) if rare is not None and rare.isdecimal() else rare,
        sheet=sheet,
        query=query,
        note_types=note_types or (),
        progress=progress(quiet),
    )
    data = created.study.protocol.data
    typer.echo(f"Wrote {into / 'protocol.toml'}")
    parts = [("text", ", ".join(data.text_columns())), ("label", data.label), ("patient", data.patient)]
    parts += [("time", data.time), ("site", data.site), ("keep", ", ".join(data.keep))]
    for name, value in parts:
        if value or name == "patient":
            typer.echo(f"  {name:8} {value or '(none)'}")
    for sentence in created.observations:
        typer.echo(f"  Seen: {sentence}.")
    for sentence in created.warnings:
        typer.echo(f"  Note: {sentence}.")
    typer.echo(f"Read it, change what is wrong, then: bedside run {into}")
