"""``bedside models``: base models that can be trained, and fetching their weights."""

from __future__ import annotations

from typing import Annotated

import typer

from bedside.cli.options import Quiet, example, progress

VERBS = ("models",)

Name = Annotated[str, typer.Argument(help="builtin:minilm, an id of the catalogue, or a Hub id.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    models = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    models.command("list", epilog=example("bedside models list"))(show_all)
    models.command("show", epilog=example("bedside models show biobert"))(show)
    models.command("get", epilog=example("bedside models get builtin:minilm"))(get)
    app.add_typer(models, name="models", help="List base models, show one, or fetch its weights.")


def show_all() -> None:
    """List the base models of the catalogue and whether they are at hand."""
    from bedside.cli.show import print_models

    print_models()


def show(name: Name) -> None:
    """Show what a base model is for, its licence, its limits, and how to get it."""
    from bedside.cli.show import print_model

    print_model(name)


def get(name: Name, quiet: Quiet = False) -> None:
    """Fetch a base model's weights, verify them and keep them in the cache: the one verb that uses the network."""
    from bedside.models import weights

    place = weights.get(name, progress(quiet))
    typer.echo(f"{name} is at hand in {place}" if place else f"{name} needs no weights.")
