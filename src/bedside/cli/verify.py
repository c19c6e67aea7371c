"""``bedside verify``: whether a study and its bundle are what was measured and packaged."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bedside.cli.options import bundle_of, example

VERBS = ("verify",)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("verify", epilog=example("bedside verify my-study", "bedside verify my-study/bundle"))(verify)


def verify(place: Annotated[Path, typer.Argument(metavar="STUDY|BUNDLE", help="A study or a bundle.")]) -> None:
    """Check a bundle's bytes, evidence and card, and of a study its figures, from its predictions."""
    from bedside.bundle import verify_bundle
    from bedside.study import Study
    from bedside.study.card import faults_of_bundle, faults_of_study

    faults: list[str] = []
    bundle: Path | None = None
    if (place / "protocol.toml").is_file():
        study = Study.open(place)
        faults += faults_of_study(study)
        bundle = study.bundle() if study.path("package").is_dir() else None
        if not faults:
            typer.echo(f"{place}: evidence, predictions and figures fit together.")
    else:
        bundle = bundle_of(place)
        verify_bundle(bundle)  # of a bundle alone the first fault is said, as predict and serve do
    if bundle is not None:
        found = faults_of_bundle(bundle)
        if not found:
            typer.echo(f"{bundle}: every file is as it was packaged, and the card says what was measured.")
            typer.echo(verify_bundle(bundle))
        faults += found
    for fault in faults:
        typer.echo(fault, err=True)
    if faults:
        raise typer.Exit(2)
