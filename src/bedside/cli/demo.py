"""``bedside demo``: the whole line on synthetic notes, with nothing asked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bedside.cli.options import Quiet, example, progress

VERBS = ("demo",)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("demo", epilog=example("bedside demo", "bedside demo --into /tmp/demo"))(demo)


def demo(
    into: Annotated[Path, typer.Option(help="The folder for the sample and the study.")] = Path("demo"),
    base: Annotated[
        str | None, typer.Option(help="Another base model; builtin:tfidf takes seconds.", show_default=False)
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Sample 1,000 synthetic notes, prepare, train, evaluate, package, and serve one answer."""
    from bedside.cli.show import print_demo
    from bedside.study.demo import demonstrate

    print_demo(demonstrate(into, base=base, progress=progress(quiet)))
