"""Options and arguments that several verbs share, named once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bedside.core.progress import Progress

StudyFolder = Annotated[Path, typer.Argument(metavar="STUDY", help="The study's folder.", show_default=False)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")]


def example(*lines: str) -> str:
    """The end of a verb's help: how it is typed, a line each, none of them broken."""
    return "\n".join(["\b", "Example:" if len(lines) == 1 else "Examples:", *(f"  {line}" for line in lines)])


def progress(quiet: bool) -> Progress:
    """Progress on standard error, or none."""
    from bedside.core.progress import SILENT, ConsoleProgress

    return SILENT if quiet else ConsoleProgress()


def bundle_of(place: Path) -> Path:
    """The bundle that a path means: a study's, or the folder itself."""
    from bedside.study import Study

    if (place / "protocol.toml").is_file() or not (place / "SHA256SUMS").is_file():
        return Study.open(place).bundle()
    return place
