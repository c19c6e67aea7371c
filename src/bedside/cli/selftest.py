"""``bedside selftest``: whether bedside keeps its promises on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from bedside.cli.options import Json, Quiet, example, progress

VERBS = ("selftest",)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    selftest = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    selftest.callback()(_root)
    selftest.command(
        "training", epilog=example("bedside selftest training --quick", "bedside selftest training --seed 7")
    )(training)
    app.add_typer(selftest, name="selftest", help="Try on this machine, with real faults, what bedside promises.")


def _root() -> None:
    """Try on this machine, with real faults, what bedside promises."""


def training(
    seed: Annotated[int, typer.Option(min=0, help="Of the notes, the moments and the faults.")] = 42,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer trials, all with a tiny random encoder.")] = False,
    base: Annotated[
        str, typer.Option(help="The base model that is killed; 'tiny' for a random encoder made here.")
    ] = "builtin:minilm",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Kill, starve and damage trainings on SYNTHETIC notes, and compare how they end; exit 1 where one differs."""
    import json
    from dataclasses import asdict, replace

    from bedside.study.selftest import FULL, QUICK, selftest_training

    size = QUICK if quick else replace(FULL, base="" if base == "tiny" else base)
    checks = selftest_training(seed=seed, size=size, progress=progress(quiet))
    if as_json:
        found = {"synthetic": True, "seed": seed, "quick": quick, "checks": [asdict(check) for check in checks]}
        typer.echo(json.dumps(found, indent=2))
    else:
        from bedside.cli.show import print_checks

        print_checks(checks)
    if not all(check.held for check in checks):
        raise typer.Exit(1)
