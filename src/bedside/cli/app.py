"""The verbs, in the order in which a study needs them."""

from __future__ import annotations

import inspect
from typing import Annotated

import typer

from bedside import __version__
from bedside.cli import card, demo, doctor, init, keys, models, predict, sample, selftest, serve, stages, verify
from bedside.cli.options import example

app = typer.Typer(
    name="bedside",
    help="Train open-source language models for medical diagnosis, measure them honestly, and serve them safely. "
    "It supports a clinician's judgement and never replaces it.",
    epilog=example("bedside demo", "bedside init notes.csv --into my-study", "bedside run my-study"),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bedside {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """What every verb has in common."""


def _say_whole(verbs: typer.Typer) -> None:
    """List each verb with its whole first sentence: left to itself the listing cuts it in the middle."""
    for command in verbs.registered_commands:
        command.short_help = inspect.getdoc(command.callback)
    for group in verbs.registered_groups:
        if group.typer_instance:
            group.short_help = str(group.help)
            _say_whole(group.typer_instance)


_PARTS = (demo, init, stages, card, verify, predict, serve, keys, models, sample, doctor, selftest)
VERBS = frozenset(verb for part in _PARTS for verb in part.VERBS)
for _part in _PARTS:
    _part.register(app)
_say_whole(app)
