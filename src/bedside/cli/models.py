"""``bedside models``: base models that can be trained, fetching their weights, and turning pickles into safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bedside.cli.options import Quiet, example, progress

VERBS = ("models",)

Name = Annotated[
    str, typer.Argument(help="builtin:minilm, an id of the catalogue, a Hub id, or a folder.", show_default=False)
]
Verify = Annotated[bool, typer.Option("--verify", help="Hash its files again, and compare.")]
Source = Annotated[
    Path | None,
    typer.Option(
        "--from", metavar="FOLDER", help="Take the files from a folder, without a network.", show_default=False
    ),
]
Convert = Annotated[
    bool, typer.Option("--convert", help="Where there are only pickled weights, turn those into safetensors.")
]
Pickled = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="Holds pytorch_model.bin, config and tokenizer.", show_default=False)
]
Into = Annotated[Path, typer.Option("--into", metavar="FOLDER", help="The new folder to write.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    models = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    models.command("list", epilog=example("bedside models list"))(show_all)
    models.command(
        "show", epilog=example("bedside models show biobert", "bedside models show builtin:minilm --verify")
    )(show)
    models.command(
        "get",
        epilog=example(
            "bedside models get builtin:minilm",
            "bedside models get emilyalsentzer/Bio_ClinicalBERT --convert",
            "bedside models get builtin:smollm2 --from carried/",
        ),
    )(get)
    models.command("convert", epilog=example("bedside models convert downloaded --into weights"))(convert_pickles)
    app.add_typer(models, name="models", help="List base models, show one, fetch or convert weights.")


def show_all() -> None:
    """List the base models of the catalogue and whether they are at hand."""
    from bedside.cli.show import print_models

    print_models()


def show(name: Name, verify: Verify = False) -> None:
    """Show what a base model is for, its licence, its limits, and how to get it."""
    from bedside.cli.show import print_model

    print_model(name, verify=verify)


def get(name: Name, source: Source = None, convert: Convert = False, quiet: Quiet = False) -> None:
    """Fetch a base model's weights, verify them and keep them in the cache: the one verb that uses the network."""
    from bedside.models import weights

    place = weights.get(name, progress(quiet), source=source, convert=convert)
    typer.echo(f"{name} is at hand in {place}" if place else f"{name} needs no weights.")


def convert_pickles(folder: Pickled, into: Into, quiet: Quiet = False) -> None:
    """Turn pickled weights into safetensors, in a process that cannot run what a pickle may hold."""
    from bedside.models import pickles

    typer.echo(f"Written: {pickles.convert(folder, into, progress(quiet))}")
