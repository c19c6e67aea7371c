"""The clinic's files. Notes are written one by one, so memory does not grow with the cohort."""

from __future__ import annotations

import contextlib
import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedside.core.files import atomic_path, require_space, write_json, write_text
from bedside.synthetic.planting import Tally

if TYPE_CHECKING:
    from bedside.synthetic.clinic import Clinic

COLUMNS = ("note_id", "patient_id", "date", "site", "age", "sex", "note", "diagnosis")
_NOTE_BYTES, _TRUTH_BYTES = 900, 4000  # generous; a check before the work, not a measurement

_README = """SYNTHETIC. These notes were written by a program; nobody in them exists.

Made by the sample clinic of bedside from the plan in `planted.json`. The figures behind them are illustrative,
chosen by us, not epidemiology. Do not train anything for use on patients with them.

| file | holds |
|---|---|
| `notes.csv` | note_id, patient_id, date, site, age, sex, note, diagnosis (as recorded: it may be wrong on purpose) |
| `truth.jsonl` | for each note: true diagnosis, findings present and negated, numbers, identifiers, what was planted |
| `gold_spans.jsonl` | text, identifier spans (start, end in Unicode code points, label) and the form as `template` |
| `planted.json` | the plan, everything planted with note ids, and the accuracy of Bayes' rule on the facts written |
"""


def write_clinic(clinic: Clinic, folder: Path, truth: bool) -> list[Path]:
    """Write the cohort to ``folder``; each file is whole or absent.

    Raises:
        MachineError: the disk is full or the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    size = clinic.plan.notes * (_NOTE_BYTES + (_TRUTH_BYTES if truth else 0))
    require_space(folder, size, f"The sample of {clinic.plan.notes:,} notes")
    if not truth:
        return [_write_notes(clinic, folder / "notes.csv")]
    tally = _write_all(clinic, folder)
    write_json(folder / "planted.json", clinic.describe(tally))
    write_text(folder / "README.md", _README)
    return [folder / name for name in ("notes.csv", "truth.jsonl", "gold_spans.jsonl", "planted.json", "README.md")]


def _write_notes(clinic: Clinic, path: Path) -> Path:
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as handle:
        table = csv.writer(handle)  # RFC 4180: CRLF and doubled quotes
        table.writerow(COLUMNS)
        table.writerows([note[name] for name in COLUMNS] for note, _ in clinic.rows())
    return path


def _write_all(clinic: Clinic, folder: Path) -> Tally:
    tally = Tally()
    with contextlib.ExitStack() as stack:
        names = ("notes.csv", "truth.jsonl", "gold_spans.jsonl")
        places = [stack.enter_context(atomic_path(folder / name)) for name in names]
        handles = [stack.enter_context(place.open("w", encoding="utf-8", newline="")) for place in places]
        table = csv.writer(handles[0])
        table.writerow(COLUMNS)
        for note, truth in clinic.rows():
            table.writerow([note[name] for name in COLUMNS])
            handles[1].write(_line(truth))
            handles[2].write(_line({"text": note["note"], "spans": truth["spans"], "template": truth["template"]}))
            tally.add(truth, note["diagnosis"])
    return tally


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def _line(value: dict[str, Any]) -> str:
    return f"{_encode(value)}\n"
