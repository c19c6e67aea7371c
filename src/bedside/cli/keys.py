"""``bedside keys``: who may ask the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bedside.cli.options import example

if TYPE_CHECKING:
    from bedside.serving import KeyStore

VERBS = ("keys",)


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    keys = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    keys.command("list", epilog=example("bedside keys list"))(show)
    keys.command("new", epilog=example("bedside keys new ward-3"))(new)
    keys.command("revoke", epilog=example("bedside keys revoke ward-3"))(revoke)
    app.add_typer(keys, name="keys", help="List, make or revoke the keys that the server accepts.")


def _store() -> KeyStore:
    from bedside.core.keys import config_folder
    from bedside.serving import KeyStore

    return KeyStore(config_folder() / "keys.json")


def show() -> None:
    """List the names of the keys; the keys themselves are kept nowhere."""
    store = _store()
    for name in store.names():
        typer.echo(name)
    if not store.names():
        typer.echo("There is no key; the first start of bedside serve makes one.")


def new(name: Annotated[str, typer.Argument(help="Who or what will use it.", show_default=False)]) -> None:
    """Make a key and show it, once."""
    typer.echo(_store().create(name))


def revoke(name: Annotated[str, typer.Argument(help="The key's name.", show_default=False)]) -> None:
    """Remove a key; a running server refuses it from its next request on."""
    _store().revoke(name)
    typer.echo(f"{name} is revoked.")
