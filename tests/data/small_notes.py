"""Small tables of made-up notes, and a quick prepare."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Sequence
from pathlib import Path

from bedside.data import Cohort, prepare
from bedside.data.columns import look
from bedside.protocol import CleanSection, DataSection, SplitSection

KEY = b"k" * 32
FINDINGS = {
    "Influenza": ["fever", "myalgia", "dry cough", "chills", "headache", "sore throat", "malaise"],
    "Appendicitis": ["right iliac fossa pain", "vomiting", "anorexia", "rebound tenderness", "guarding", "pyrexia"],
    "Migraine": ["throbbing headache", "photophobia", "nausea", "visual aura", "phonophobia", "unilateral pain"],
}
WHEN = ["since Monday", "for two days", "overnight", "for a week", "since lunch", "on and off", "after work", "today"]


def notes(count: int = 60, seed: int = 0) -> list[dict[str, str]]:
    """Rows of ``note_id, patient_id, note, diagnosis``: made-up notes, no two of them near each other."""
    dice = random.Random(seed)
    rows = []
    for number in range(count):
        label = list(FINDINGS)[number % len(FINDINGS)]
        found = ", ".join(dice.sample(FINDINGS[label], 3))
        noise = " ".join(
            f"{dice.choice('bcdfgklmnprst')}{dice.choice('aeiou')}{dice.randrange(10**6)}" for _ in range(12)
        )
        text = f"{found} {dice.choice(WHEN)}, temp {dice.randrange(360, 405) / 10} C, ref {noise}."
        row = {"note_id": f"N{number:04d}", "patient_id": f"MRN{7000 + number // 2}", "note": text, "diagnosis": label}
        rows.append(row)
    return rows


def as_csv(rows: Sequence[dict[str, str]], separator: str = ",") -> str:
    """Rows as delimited text."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), delimiter=separator, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def cohort_of(path: Path, *, split: SplitSection | None = None, seed: int = 42, **data) -> Cohort:
    """Prepare a table with the columns that ``look`` proposes, but for those that are given."""
    named = {key: value for key, value in data.items() if key in {"text", "label", "patient", "keep", "rare"}}
    section: DataSection = look(path, **named).section.model_copy(update=data)
    return prepare(section, CleanSection(), split or SplitSection(), base=Path(), seed=seed, key=KEY)
