"""``bedside card``: the model card of a study or a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from bedside.cli.options import bundle_of, example

VERBS = ("card",)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    lines = ("bedside card my-study", "bedside card my-study --form json", "bedside card my-study --check")
    app.command("card", epilog=example(*lines))(card)


def card(
    place: Annotated[Path, typer.Argument(metavar="STUDY|BUNDLE", help="A study or a bundle.")],
    form: Annotated[Literal["md", "html", "json"], typer.Option(help="In which form.")] = "md",
    check: Annotated[
        bool, typer.Option("--check", help="Print nothing but what differs from the evidence; exit 2 if anything does.")
    ] = False,
) -> None:
    """Print the model card, every field of it; or check that it says what was measured."""
    from bedside.core.errors import BundleError
    from bedside.governance import check_card

    bundle = bundle_of(place)
    path = bundle / f"card.{form}"
    if not path.is_file() and not check:
        raise BundleError(f"{bundle} has no card.{form}; package the study again with this version.")
    if not check:
        typer.echo(path.read_text(encoding="utf-8"), nl=False)
        return
    faults = check_card(bundle)
    for fault in faults:
        typer.echo(fault, err=True)
    if faults:
        raise typer.Exit(2)
    typer.echo(f"{bundle}: the card says what was measured.")
