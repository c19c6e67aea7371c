"""The sample clinic: a synthetic cohort of clinical notes whose truth is known.

It exists so that a newcomer can try the whole line, and so that tests can ask whether a planted fault is found.
It refuses to pass for real: every file it writes says SYNTHETIC or lies beside one that does, and figures are
illustrative. Adults only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path

import numpy as np

from bedside.core.errors import DataError
from bedside.core.progress import SILENT, Progress
from bedside.core.seeds import derive
from bedside.synthetic.bayes import posterior
from bedside.synthetic.facts import Facts, draw_facts, visits
from bedside.synthetic.knowledge import knowledge, read_data
from bedside.synthetic.planting import Faults, Tally, draw_faults
from bedside.synthetic.scribe import Row, Scribe, Settings

MOST_NOTES_PER_PATIENT = 50


@dataclass(frozen=True)
class Plan:
    """What to generate. Rates are shares of notes, but ``typos``: the share of words of five letters or more.

    Raises:
        DataError: a value is out of its range.
    """

    notes: int = 1000
    seed: int = 42
    patients: int | None = None
    label_errors: float = 0.0
    duplicates: float = 0.0
    leaks: float = 0.0
    typos: float = 0.01
    identifiers: bool = True
    bias: bool = False
    shortcut: bool = False

    def __post_init__(self) -> None:
        if self.notes < 1:
            raise DataError(f"The sample clinic was asked for {self.notes} notes; ask for 1 or more.")
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float) and not 0 <= value <= 1:
                raise DataError(f"{field.name} is {value}; give a share from 0 to 1.")
        least = -(-self.notes // MOST_NOTES_PER_PATIENT)
        if self.patients is not None and not least <= self.patients <= self.notes:
            raise DataError(
                f"{self.patients} patients do not fit {self.notes} notes; "
                f"give from {least} to {self.notes} (1 to {MOST_NOTES_PER_PATIENT} notes each)."
            )


class Clinic:
    """A cohort, written on demand: nothing is generated before it is asked for."""

    def __init__(self, plan: Plan, progress: Progress = SILENT) -> None:
        self.plan = plan
        self._progress = progress

    def rows(self) -> Iterator[tuple[Row, Row]]:
        """Each note as a pair: the row as it is recorded, and its truth. Memory does not grow with the cohort."""
        with self._progress.task("Writing sample notes", total=self.plan.notes, unit="notes") as task:
            for facts, faults, left in _blocks(self.plan):
                pairs = Scribe(_settings(self.plan), facts, faults).pairs(left)
                yield from pairs
                task.advance(len(pairs))

    @cached_property
    def _pairs(self) -> list[tuple[Row, Row]]:
        return list(self.rows())

    @property
    def notes(self) -> list[Row]:
        """The recorded rows, with the columns of ``notes.csv``."""
        return [note for note, _ in self._pairs]

    @property
    def truth(self) -> list[Row]:
        """The truth of each note: diagnosis, spans, form, findings, numbers, and what was planted."""
        return [truth for _, truth in self._pairs]

    @property
    def planted(self) -> Row:
        """What was planted: counts, and lists of note ids."""
        tally = Tally()
        for note, truth in self._pairs:
            tally.add(truth, note["diagnosis"])
        return self.describe(tally)

    def describe(self, tally: Tally) -> Row:
        """The summary that ``planted.json`` holds."""
        switches = {name: getattr(self.plan, name) for name in ("bias", "shortcut")}
        rules = read_data("phrases")["planted"]
        used = {name: {key: value for key, value in rules.items() if key.startswith(name)} for name in switches}
        return {
            "synthetic": True,
            "plan": asdict(self.plan),
            "rules": {name: used[name] for name, on in switches.items() if on},
            "bayes": {"accuracy": self.bayes_accuracy, "n": self.bayes_n},
            **tally.summary(),
        }

    @cached_property
    def _bayes(self) -> tuple[int, int]:
        model, right, count = knowledge(), 0, 0
        for facts, faults, left in _blocks(self.plan):
            kept = (np.arange(len(facts)) < left) & (faults.copy_of < 0)
            best = posterior(model, facts).argmax(axis=1)
            right += int((best == facts.diagnosis)[kept].sum())
            count += int(kept.sum())
        return right, count

    @property
    def bayes_accuracy(self) -> float:
        """Share of notes (copies left out) whose true diagnosis has the highest posterior given the facts written."""
        return self._bayes[0] / self._bayes[1]

    @property
    def bayes_n(self) -> int:
        """Notes behind ``bayes_accuracy``."""
        return self._bayes[1]

    def write(self, folder: Path, truth: bool = True) -> list[Path]:
        """Write the cohort; with ``truth=False`` only ``notes.csv``. Returns the files written."""
        from bedside.synthetic.output import write_clinic

        return write_clinic(self, folder, truth)


def generate(plan: Plan, progress: Progress = SILENT) -> Clinic:
    """The clinic of a plan. Notes are made when they are read or written; the same plan gives the same bytes."""
    return Clinic(plan, progress)


def codes() -> dict[str, str]:
    """ICD-10-CM code of each diagnosis, sorted by diagnosis."""
    model = knowledge()
    return dict(zip(model.diagnoses, model.codes, strict=True))


def note_for(diagnosis: str, seed: int) -> str:
    """One fresh note, without identifiers, of a patient who has ``diagnosis``.

    Raises:
        DataError: the clinic does not know the diagnosis.
    """
    model = knowledge()
    if diagnosis not in model.diagnoses:
        raise DataError(f"The sample clinic has no diagnosis {diagnosis!r}; it has {', '.join(model.diagnoses)}.")
    plan = Plan(notes=10**9, seed=derive(seed, "note", diagnosis), identifiers=False)
    for facts, faults, _ in _blocks(plan):
        found = np.flatnonzero((facts.diagnosis == model.diagnoses.index(diagnosis)) & (facts.visit == 0))
        if len(found):
            note, _ = Scribe(_settings(plan), facts, faults).pair(int(found[0]))
            return str(note["note"])
    raise DataError(f"No note of {diagnosis} could be drawn; use another seed.")


def _settings(plan: Plan) -> Settings:
    return Settings(seed=plan.seed, typos=plan.typos, identifiers=plan.identifiers)


def _blocks(plan: Plan) -> Iterator[tuple[Facts, Faults, int]]:
    """Blocks of patients until there are enough notes, each with the number of notes still wanted."""
    model, block, done = knowledge(), 0, 0
    while done < plan.notes:
        counts = visits(plan.seed, block, plan.notes, plan.patients)
        facts = draw_facts(model, plan.seed, block, done, counts, plan.bias)
        faults = draw_faults(
            model,
            facts,
            plan.seed,
            label_errors=plan.label_errors,
            duplicates=plan.duplicates,
            leaks=plan.leaks,
            shortcut=plan.shortcut,
        )
        yield facts, faults, plan.notes - done
        done += len(facts)
        block += 1
