"""``bedside sample``: a synthetic cohort whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bedside.cli.options import Quiet, example, progress

VERBS = ("sample",)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("sample", epilog=example("bedside sample clinic --notes 3000", "bedside sample clinic --bias"))(sample)


def sample(
    into: Annotated[Path, typer.Argument(help="The folder to write.")] = Path("sample"),
    notes: Annotated[int, typer.Option(min=1, help="How many notes.")] = 1000,
    patients: Annotated[
        int | None, typer.Option(min=1, help="Of how many patients; about half as many as notes.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same notes.")] = 42,
    label_errors: Annotated[float, typer.Option(min=0, max=1, help="Share of notes with a wrong label.")] = 0.0,
    duplicates: Annotated[float, typer.Option(min=0, max=1, help="Share of notes that are copies.")] = 0.0,
    leaks: Annotated[float, typer.Option(min=0, max=1, help="Share of notes that state their own label.")] = 0.0,
    typos: Annotated[float, typer.Option(min=0, max=1, help="Share of long words with a typo.")] = 0.01,
    identifiers: Annotated[bool, typer.Option(help="Plant names, dates, numbers and places, with their spans.")] = True,
    bias: Annotated[bool, typer.Option("--bias", help="Plant worse documentation in one group of patients.")] = False,
    shortcut: Annotated[
        bool, typer.Option("--shortcut", help="Plant a word that gives a label away at one site.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Write a synthetic cohort of clinical notes with known truth. Synthetic: never take it for patients."""
    from bedside.cli.show import prose, typed
    from bedside.study.demo import write_sample

    planted = write_sample(
        into,
        progress=progress(quiet),
        notes=notes,
        patients=patients,
        seed=seed,
        label_errors=label_errors,
        duplicates=duplicates,
        leaks=leaks,
        typos=typos,
        identifiers=identifiers,
        bias=bias,
        shortcut=shortcut,
    )
    prose(f"Wrote {notes:,} SYNTHETIC notes to {into / 'notes.csv'}; what was planted is in {into / 'planted.json'}.")
    bayes = planted["bayes"]
    prose(f"The generator's own Bayes rule names {bayes['accuracy']:.1%} of {bayes['n']:,} notes rightly.")
    typer.echo(f"Next: bedside init {typed(into / 'notes.csv')} --into my-study")
