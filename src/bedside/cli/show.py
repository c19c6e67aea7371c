"""What a verb shows on the terminal. The colour never carries the meaning."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from bedside.study import Study
    from bedside.study.demo import Shown
    from bedside.study.doctor import Finding

_NARROW = 100


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; on a pipe it is as wide as it needs to be."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for header in headers:
        table.add_column(header, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console = Console() if sys.stdout.isatty() else Console(width=_NARROW)
    console.print(table)


def print_metrics(metrics: Mapping[str, Any]) -> None:
    """The figures beside the baselines', and which is better."""
    from bedside.evaluation.report import summary_rows, verdict

    test = metrics["test"]
    _table([f"{test['n']:,} test cases", "model", "TF-IDF + LR", "majority"], summary_rows(metrics))
    typer.echo(f"In brackets the {metrics['confidence']:.0%} interval. {verdict(metrics)}")


def print_next(study: Study, until: str | None) -> None:
    """Where the reports lie, and what comes next."""
    typer.echo(f"Data report:   {study.path('prepare') / 'report.html'}")
    if (study.path("evaluate") / "report.html").is_file():
        typer.echo(f"Evaluation:    {study.path('evaluate') / 'report.html'}")
    following = {
        "prepare": f"bedside train {study.folder}",
        "train": f"bedside evaluate {study.folder}",
        "evaluate": f"bedside package {study.folder}",
    }
    typer.echo(
        f"Next: {following.get(until or '', f'bedside predict {study.folder} note.txt | bedside serve {study.folder}')}"
    )


def print_answer(answer: Mapping[str, Any], title: str) -> None:
    """A ranked differential, or why there is none."""
    typer.echo(f"{title}: {answer['status'].replace('_', ' ')}")
    for one in answer["differential"]:
        code = one["codes"][0]["code"] if one.get("codes") else ""
        typer.echo(f"  {one['rank']}. {one['probability']:>6.1%}  {one['display']}  {code}".rstrip())
    for reason in answer.get("reasons", []):
        typer.echo(f"  Why: {reason['message']}")
    for warning in answer["warnings"]:
        typer.echo(f"  Note: {warning}")
    typer.echo(f"  {answer['disclaimer']}")


def print_demo(shown: Shown) -> None:
    """The end of the demo."""
    typer.echo("\nSYNTHETIC notes: the figures show that the line works, and say nothing about patients.\n")
    print_metrics(shown.metrics)
    typer.echo(f"\nThe report: {shown.study.path('evaluate') / 'report.html'}\n")
    typer.echo(f"A new synthetic note of {shown.diagnosis!r}, answered by the server:\n\n{shown.note}\n")
    print_answer(shown.answer, "Answer")
    typer.echo(
        "\nWith your own table:\n"
        "  bedside init notes.csv --into my-study\n"
        "  bedside run my-study\n"
        "  bedside serve my-study"
    )


def print_models() -> None:
    """The catalogue."""
    from bedside.models import weights
    from bedside.models.catalogue import CATALOGUE

    rows = [
        [model.id, model.title, model.use, _size(model.parameters), "yes" if weights.installed(model.id) else "no"]
        for model in CATALOGUE
    ]
    _table(["base", "model", "for", "size", "at hand"], rows)
    typer.echo("A folder with safetensors, or any Hub id of a BERT-class encoder, can be named as well.")


def print_model(name: str) -> None:
    """One base model."""
    from bedside.core.errors import ModelError
    from bedside.models import weights
    from bedside.models.catalogue import find

    model = find(name)
    for key, value in vars(model).items():
        typer.echo(f"{key:11} {value}")
    try:
        typer.echo(f"{'at hand':11} {weights.locate(name) or 'needs no weights'}")
    except ModelError as error:
        typer.echo(f"{'at hand':11} no. {error}")


def _size(parameters: int) -> str:
    return f"{parameters / 1e6:,.0f} M" if parameters else "–"


def print_findings(findings: Sequence[Finding]) -> None:
    """What the doctor found."""
    _table(["", "what", "found", "what to do"], [[one.status, one.name, one.value, one.advice] for one in findings])
