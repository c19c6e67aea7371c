"""What a verb shows on the terminal. The colour never carries the meaning."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from bedside.models.catalogue import BaseModel
    from bedside.study import Study
    from bedside.study.demo import Shown
    from bedside.study.doctor import Finding
    from bedside.study.selftest import Check

_ON_A_PIPE = 100
_GAP = 3  # columns between those of a table


def _width() -> int:
    """Columns of the terminal; a fixed number where the output is a pipe or a file, so that it is always the same."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else _ON_A_PIPE


def prose(text: str, indent: str = "", first: str | None = None) -> None:
    """Print prose, broken between words where it meets a terminal's edge; a pipe gets it in one line."""
    start = indent if first is None else first
    if not sys.stdout.isatty():
        typer.echo(start + text)
        return
    typer.echo(
        textwrap.fill(
            text,
            max(_width(), 40),
            initial_indent=start,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
    )


def typed(path: Path) -> str:
    """A path as it is typed after a verb."""
    return f'"{path}"' if " " in str(path) else str(path)


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; where the terminal is too narrow for it, its rows one under another: no figure is ever broken."""
    widths = [max(len(row[column]) for row in [headers, *rows]) for column in range(len(headers))]
    if sum(widths) + _GAP * len(widths) <= _width():
        for number, row in enumerate([headers, *rows]):
            cells = (cell.ljust(width + _GAP) for cell, width in zip(row, widths, strict=True))
            typer.echo("".join(cells).rstrip())
            if not number:
                typer.echo("─" * (sum(widths) + _GAP * (len(widths) - 1)))
        return
    typer.echo(headers[0])
    for first, *others in rows:
        typer.echo(first)
        for header, cell in zip(headers[1:], others, strict=True):
            typer.echo(f"  {header.ljust(max(map(len, headers[1:])))}  {cell}")


def print_metrics(metrics: Mapping[str, Any]) -> None:
    """The figures beside the baselines', and which is better."""
    from bedside.evaluation.report import leak, summary_rows, verdict

    test = metrics["test"]
    _table([f"{test['n']:,} test cases", "model", "TF-IDF + LR", "majority"], summary_rows(metrics))
    typer.echo("")
    prose(f"In brackets the {metrics['confidence']:.0%} interval. {verdict(metrics)}")
    if "naive" in metrics:
        prose(leak(metrics))


def print_next(study: Study, until: str | None) -> None:
    """Where the reports lie, and what comes next."""
    typer.echo(f"Data report:   {study.path('prepare') / 'report.html'}")
    if (study.path("train") / "report.html").is_file():
        typer.echo(f"Training:      {study.path('train') / 'report.html'}")
    if (study.path("evaluate") / "report.html").is_file():
        typer.echo(f"Evaluation:    {study.path('evaluate') / 'report.html'}")
    folder = typed(study.folder)
    following = {"prepare": "train", "train": "evaluate", "evaluate": "package"}.get(until or "")
    if following:
        typer.echo(f"Next:          bedside {following} {folder}")
    else:
        typer.echo(f"Next:          bedside predict {folder} note.txt\n               bedside serve {folder}")


def print_answer(answer: Mapping[str, Any], title: str) -> None:
    """A ranked differential, or what is yes and what is open, or why there is none."""
    typer.echo(f"{title}: {answer['status'].replace('_', ' ')}")
    for one in answer["differential"]:
        code = one["codes"][0]["code"] if one.get("codes") else ""
        said = f"{one['decision']:>7}" if "decision" in one else ""  # yes or unsure, where a case may have several
        typer.echo(f"  {one['rank']}.{said} {one['probability']:>6.1%}  {one['display']}  {code}".rstrip())
    for reason in answer.get("reasons", []):
        prose(reason["message"], "       ", "  Why: ")
    for warning in answer["warnings"]:
        prose(warning, "        ", "  Note: ")
    prose(answer["disclaimer"], "  ")


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
    """The catalogue: what each model is, how large, on what terms, and whether it is at hand."""
    from bedside.models import weights
    from bedside.models.catalogue import CATALOGUE

    titles = {
        "baseline": "Without a language model",
        "encoder": "Encoders: read a note both ways at once",
        "decoder": "Decoders (LLMs): write from left to right; a classification head reads their last token",
    }
    for kind, title in titles.items():
        prose(title)
        for model in (one for one in CATALOGUE if one.kind == kind):
            at_hand = "at hand" if weights.installed(model.id) else "not at hand"
            typer.echo(f"  {model.id}")
            prose(" · ".join([*_facts(model), at_hand]), "      ")
            prose(f"{model.title}: {model.use}", "      ")
        typer.echo("")
    prose(
        "A folder with safetensors, or any Hub id of such a model, can be named as well; ? marks what is not verified."
    )


def _facts(model: BaseModel) -> list[str]:
    """Size, context and licence in a few words; a question mark stands behind what was not verified."""
    from bedside.core.files import size_text

    def doubt(name: str) -> str:
        return "?" if name in model.unverified else ""

    said = []
    if model.parameters:
        said.append(f"{_millions(model.parameters)} parameters{doubt('parameters')}")
    if model.bytes:
        said.append(f"{size_text(model.bytes)}{doubt('bytes')}")
    if model.limit:
        said.append(f"{model.limit:,} tokens{doubt('limit')}")
    said.append(f"{model.licence}{doubt('licence')}")
    said += ["terms to accept"] if model.gated else []
    return said + (["pickled: get --convert"] if model.weights == "pickle" else [])


def _millions(count: int) -> str:
    return f"{count / 1e9:.1f} billion" if count >= 1e9 else f"{count / 1e6:,.0f} M"


def print_model(name: str, *, verify: bool = False) -> None:
    """One base model: all that is known of it."""
    from bedside.core.errors import ModelError
    from bedside.models import weights
    from bedside.models.catalogue import find, lora_targets

    model = find(name)
    told: dict[str, object] = {key: value for key, value in vars(model).items() if key != "unverified" and value}
    told["gated"] = "yes: accept its terms on its page first" if model.gated else "no"
    told["adapters"] = ", ".join(lora_targets(model.architecture) or ())
    for key, value in told.items():
        if value:
            doubt = " (not verified)" if key in model.unverified else ""
            text = f"{value:,}" if isinstance(value, int) else str(value)
            prose(f"{text}{doubt}", " " * 14, f"{key:13} ")
    try:
        at_hand = f"in {place}" if (place := weights.locate(name)) else "needs no weights"
    except ModelError as error:
        at_hand = f"no: {error}"
    prose(at_hand, " " * 14, f"{'at hand':13} ")
    if verify:
        count = weights.verify(name)
        prose(f"{count} files are as they came" if count else "no files to verify", " " * 14, f"{'verified':13} ")


def print_findings(findings: Sequence[Finding]) -> None:
    """What the doctor found; what is to be done stands under it."""
    name = max(len(one.name) for one in findings) + 2
    indent = " " * (9 + name)
    for one in findings:
        prose(one.value, indent, f"{one.status:9}{one.name:{name}}")
        if one.advice:
            prose(one.advice, f"{indent}  ", f"{indent}→ ")


def print_checks(checks: Sequence[Check]) -> None:
    """What the self-test tried: trials that held, of how many, and what was measured or went wrong first."""
    typer.echo("SYNTHETIC notes, real processes.\n")
    for one in checks:
        prose(one.name, " " * 15, f"{'held' if one.held else 'FAILED':8}{f'{one.passed}/{one.of}':7}")
        prose(one.remark, " " * 17, f"{' ' * 15}→ ")
