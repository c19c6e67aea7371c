"""``bedside run``, and its stages one by one: ``prepare``, ``train``, ``evaluate``, ``package``."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Annotated

import typer

from bedside.cli.options import Quiet, StudyFolder, example, progress

VERBS = ("run", "prepare", "train", "evaluate", "package")

Again = Annotated[bool, typer.Option("--again", help="Do this stage again even where it is done.")]

ShowCleaning = Annotated[
    int,
    typer.Option(
        "--show-cleaning",
        metavar="N",
        min=0,
        help="Print what cleaning changes in the first N notes that it changes, with their text, and prepare nothing.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    commands: tuple[Callable[..., None], ...] = (run, prepare, train, evaluate, package)
    for verb, command in zip(VERBS, commands, strict=True):
        app.command(verb, epilog=example(f"bedside {verb} my-study"))(command)


def run(study: StudyFolder, quiet: Quiet = False) -> None:
    """Run every stage that is not done, and show what came out."""
    _stage(study, None, False, quiet)


def prepare(study: StudyFolder, again: Again = False, quiet: Quiet = False, show_cleaning: ShowCleaning = 0) -> None:
    """Read, clean and divide the cases; nothing of a patient or a duplicate crosses a split."""
    if show_cleaning:
        _show_cleaning(study, show_cleaning, quiet)
        return
    _stage(study, "prepare", again, quiet)


def train(study: StudyFolder, again: Again = False, quiet: Quiet = False) -> None:
    """Train the baselines and fine-tune the base model; an interrupted training goes on where it was."""
    _stage(study, "train", again, quiet)


def evaluate(study: StudyFolder, again: Again = False, quiet: Quiet = False) -> None:
    """Calibrate, then measure on the test split; every look at it is counted."""
    _stage(study, "evaluate", again, quiet)


def package(study: StudyFolder, again: Again = False, quiet: Quiet = False) -> None:
    """Write the deployable bundle: weights, labels, calibration, thresholds, checksums."""
    _stage(study, "package", again, quiet)


def _show_cleaning(folder: StudyFolder, most: int, quiet: bool) -> None:
    """Print changed notes to the user's own terminal; nothing of it is written."""
    from bedside.data.cleaning_shown import changed_notes
    from bedside.study import Study

    study = Study.open(folder)
    shown = 0
    protocol = study.protocol
    for row, lines in changed_notes(protocol.data, protocol.clean, study.folder, most, progress(quiet)):
        shown += 1
        typer.echo("\n".join([f"{row}:", *(f"  {line}" for line in lines)]))
    if not shown:
        typer.echo("Cleaning changes no note.")


def _stage(folder: StudyFolder, until: str | None, again: bool, quiet: bool) -> None:
    """Run a study up to a stage and say what came out."""
    from bedside.cli.show import print_metrics, print_next
    from bedside.core.files import read_json
    from bedside.study import Study

    study = Study.open(folder)
    silent = os.environ.get("RANK", "0") != "0"  # of several processes that train together, the first one speaks
    outcomes = study.run(until, again=again, progress=progress(quiet or silent))
    if silent:
        return
    ran = [outcome.stage for outcome in outcomes if outcome.ran]
    if not ran:
        are = "is" if len(outcomes) == 1 else "are"
        typer.echo(f"Nothing to do: {', '.join(one.stage for one in outcomes)} {are} done and nothing has changed.")
    if until in {None, "evaluate", "package"}:
        print_metrics(read_json(study.path("evaluate") / "metrics.json"))
    print_next(study, until)
