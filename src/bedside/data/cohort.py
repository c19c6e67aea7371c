"""The prepared cases, their split, and the account of how they came to be.

A cohort holds no identifier of the source: cases, patients and groups are keyed pseudonyms.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bedside.core.errors import DataError
from bedside.core.files import atomic_path, read_json, require_space, write_json, write_text

if TYPE_CHECKING:
    import polars as pl

SPLITS = ("train", "validation", "calibration", "test")
_SCHEMA = "1"


@dataclass(frozen=True)
class Cohort:
    """Cases ready to learn from.

    Attributes:
        frame: ``case_id, text, label, patient, split, group`` and the columns that were kept.
        labels: sorted; the order of every probability matrix.
        report: counts of what was read, kept, dropped and found; JSON-able, without text of a case.
        uncut: [cases] the texts with what is written after the moment of asking, where something was left out; for the
            comparison with and without it, right after the preparation. It is never written.
        suspects: ``case_id, row, label, suggested, margin`` of the cases whose label is probably wrong, the most
            probable first; written for people, and not read again.
    """

    frame: pl.DataFrame
    labels: tuple[str, ...]
    report: dict[str, Any]
    uncut: tuple[str, ...] | None = field(default=None, repr=False)
    suspects: pl.DataFrame | None = field(default=None, repr=False)

    def part(self, split: str) -> pl.DataFrame:
        """The cases of one split.

        Raises:
            ValueError: there is no such split.
        """
        import polars as pl

        if split not in SPLITS:
            raise ValueError(f"'{split}' is no split; they are {', '.join(SPLITS)}")
        return self.frame.filter(pl.col("split") == split)

    def texts(self, split: str) -> list[str]:
        """The texts of one split."""
        texts: list[str] = self.part(split)["text"].to_list()
        return texts

    @property
    def several(self) -> bool:
        """Whether a case may have several labels; ``label`` is then a column of lists."""
        import polars as pl

        return isinstance(self.frame.schema["label"], pl.List)

    def target_matrix(self, split: str) -> NDArray[np.int64]:
        """[cases, labels] 1 where the case has the label, else 0; for one label a case and for several."""
        numbers = {label: number for number, label in enumerate(self.labels)}
        cells = self.part(split)["label"].to_list()
        matrix = np.zeros((len(cells), len(self.labels)), dtype=np.int64)
        for row, cell in enumerate(cells):
            for label in (cell,) if isinstance(cell, str) else cell:
                matrix[row, numbers[label]] = 1
        return matrix

    def targets(self, split: str) -> NDArray[np.int64]:
        """[cases] the number of each case's label, in the order of ``labels``.

        Raises:
            DataError: a case may have several.
        """
        if self.several:
            raise DataError(
                "The cases of this cohort may have several labels each, and what was asked for takes one label a case; "
                "name one column with one label (data.label, without data.delimiter)."
            )
        numbers = {label: number for number, label in enumerate(self.labels)}
        return np.asarray([numbers[label] for label in self.part(split)["label"]], dtype=np.int64)

    @property
    def positive(self) -> str | None:
        """For two labels, the one that means 'has it'."""
        found = self.report.get("positive")
        return str(found) if found is not None else None

    def save(self, folder: Path) -> None:
        """Write ``cases.parquet``, ``suspects.csv`` and the report; the same cohort gives the same bytes."""
        from bedside.data.report_page import page

        require_space(folder, 2 * int(self.frame.estimated_size()) + 1_000_000, "The cohort")
        metadata = {"bedside.schema": _SCHEMA, "bedside.labels": json.dumps(self.labels, ensure_ascii=False)}
        if self.positive is not None:
            metadata["bedside.positive"] = self.positive
        with atomic_path(folder / "cases.parquet") as temporary:
            self.frame.write_parquet(temporary, metadata=metadata)
        if self.suspects is None:  # those of an earlier preparation are of other cases
            (folder / "suspects.csv").unlink(missing_ok=True)
        else:
            write_text(folder / "suspects.csv", self.suspects.write_csv())
        write_json(folder / "report.json", self.report)
        write_text(folder / "report.html", page(self.report))

    @classmethod
    def load(cls, folder: Path) -> Cohort:
        """Read a cohort that :meth:`save` wrote.

        Raises:
            DataError: a file is missing, damaged, or not a cohort's.
        """
        import polars as pl

        path = folder / "cases.parquet"
        if not path.is_file() or not (folder / "report.json").is_file():
            raise DataError(f"{folder} holds no cohort (cases.parquet and report.json); run the prepare stage first.")
        try:
            metadata = pl.read_parquet_metadata(path)
            frame = pl.read_parquet(path)
            report = read_json(folder / "report.json")
        except (pl.exceptions.PolarsError, OSError, ValueError) as error:
            raise DataError(f"{path} or its report is damaged; run the prepare stage again.") from error
        if metadata.get("bedside.schema") != _SCHEMA:
            raise DataError(f"{path} was not written by a version of bedside that this one reads; prepare it again.")
        return cls(frame, tuple(json.loads(metadata["bedside.labels"])), report)
