"""``bedside verify``: whether a bundle is what was packaged."""

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
    """Check every byte of a bundle against its checksums, and print its digest."""
    from bedside.bundle import verify_bundle

    bundle = bundle_of(place)
    digest = verify_bundle(bundle)
    typer.echo(f"{bundle}: every file is as it was packaged.\n{digest}")
