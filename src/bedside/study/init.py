"""A new study from a table: look at it, propose which column is what, write the protocol.

Everything that was seen and proposed stands in ``protocol.toml``, beside the key that it concerns, for the user to
read and change. A protocol that is already there is never overwritten.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bedside.core.errors import StudyError
from bedside.core.files import plain_errors, write_text
from bedside.core.progress import SILENT, Progress
from bedside.protocol import PackageSection, Protocol, StudySection, render
from bedside.study.study import PROTOCOL, Study


@dataclass(frozen=True)
class Created:
    """A new study, and what was seen in its table: facts, and what will go wrong or mislead."""

    study: Study
    observations: tuple[str, ...]
    warnings: tuple[str, ...]


def create(
    table: Path | str,
    into: Path,
    *,
    text: str | list[str] | None = None,
    label: str | None = None,
    patient: str | None = None,
    time: str | None = None,
    site: str | None = None,
    keep: Sequence[str] | None = None,
    rare: str | int | None = None,
    sheet: str | None = None,
    query: str | None = None,
    note_types: Sequence[str] = (),
    progress: Progress = SILENT,
) -> Created:
    """Make a study from a table of notes.

    Args:
        table: .csv, .tsv, .xlsx, .jsonl or .parquet (csv may be .gz), or a database's URL, or ``env:NAME`` where the
            environment variable NAME holds it.
        into: the study's folder; made if absent.
        text, label, patient, time, site, keep: columns that the user names; what is not given is proposed.
        rare: what to do with labels too small for every split: ``drop``, ``merge:NAME``, or the fewest cases that a
            label may have; if not given, the lines to choose from are written as comments.
        sheet: of a workbook.
        query: of a database: the SELECT whose rows are the cases.
        note_types: of FHIR and MIMIC: the types of notes to take; empty takes all.
        progress: shown while reading; what was seen is in the answer.

    Raises:
        StudyError: there is a protocol in that folder already, or the folder is a file.
        DataError: the table cannot be read, or its columns cannot be told apart.
    """
    from bedside.data import look
    from bedside.data.codes import code_remarks

    protocol_file = into / PROTOCOL
    if protocol_file.exists():
        raise StudyError(
            f"{protocol_file} is there already and is not overwritten; edit it, or choose another folder with --into."
        )
    if into.exists() and not into.is_dir():
        raise StudyError(f"{into} is a file, and a study is a folder; choose another with --into.")
    proposal = look(
        table,
        text=text,
        label=label,
        patient=patient,
        time=time,
        site=site,
        keep=keep,
        rare=rare,
        sheet=sheet,
        query=query,
        note_types=note_types,
        progress=progress,
    )
    codes = code_remarks(proposal.labels, proposal.codes, progress)
    protocol = Protocol(
        study=StudySection(name=into.absolute().name or "study"),
        data=proposal.section.model_copy(update={"source": _relative(table, into)}),
        package=PackageSection(codes={label: _dotted(code) for label, code in proposal.codes.items()}),
    )
    with plain_errors(into):
        into.mkdir(parents=True, exist_ok=True)
        write_text(protocol_file, render(protocol, {**proposal.remarks, **codes}))
    return Created(Study.open(into), tuple(proposal.observations), tuple(proposal.warnings))


def _dotted(code: str) -> str:
    """An ICD-10-CM code with its point, which many exports leave out."""
    return code if "." in code or len(code) <= 3 else f"{code[:3]}.{code[3:]}"


def _relative(table: Path | str, folder: Path) -> str:
    """The table's path as seen from the study, so that both can move together; absolute on another drive.

    An SQLite file is a path too; the address of a server, and a name on the Hub, stay as they are.
    """
    from bedside.data.readers import datasets_folder, sql

    source = str(table)
    if datasets_folder.is_hub(source):
        return source
    if sql.is_address(source):
        found = sql.file_in(source)
        return source if found is None else source.replace(found, _relative(Path(found).expanduser(), folder), 1)
    table = Path(table)
    try:
        return Path(os.path.relpath(table.absolute(), folder.absolute())).as_posix()
    except ValueError:
        return table.absolute().as_posix()
