"""What cleaning would change, note by note, for whoever may read the notes; it writes nothing and logs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bedside.core.progress import SILENT, Progress
from bedside.data.clean import clean_text
from bedside.data.edits import as_lines
from bedside.data.sources import gather
from bedside.protocol import CleanSection, DataSection


def changed_notes(
    data: DataSection, clean: CleanSection, base: Path, most: int, progress: Progress = SILENT
) -> Iterator[tuple[str, list[str]]]:
    """The first notes that cleaning changes, and each change as a line.

    Args:
        data: where the notes are.
        clean: how they are cleaned.
        base: the folder that a relative ``data.source`` is relative to.
        most: notes shown at most.
        progress: told what is read.

    Yields:
        The row as the file counts it, and its lines; they hold text of the note.
    """
    gathered = gather(data, base, progress)
    table, columns = gathered.table, gathered.data.text_columns()
    shown = 0
    for place, cells in enumerate(table.frame.select(columns).iter_rows()):
        lines = [line for cell in cells for line in as_lines(cell, clean_text(cell, clean))]
        if lines and shown < most:
            shown += 1
            yield table.row(place), lines
        if shown >= most:
            return
