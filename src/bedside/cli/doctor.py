"""``bedside doctor``: what this machine has, what is missing, and what to do about it."""

from __future__ import annotations

from typing import Annotated

import typer

from bedside.cli.options import Json, example

VERBS = ("doctor",)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("doctor", epilog=example("bedside doctor", "bedside doctor --hub"))(doctor)


def doctor(
    hub: Annotated[bool, typer.Option("--hub", help="Try a connection to the Hugging Face Hub.")] = False,
    as_json: Json = False,
) -> None:
    """Show versions, processor, devices, memory, disk and base models at hand; exit 1 where something is missing."""
    import json
    from dataclasses import asdict

    from bedside.study.doctor import examine

    findings = examine(hub)
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        from bedside.cli.show import print_findings

        print_findings(findings)
    if any(finding.status == "missing" for finding in findings):
        raise typer.Exit(1)
