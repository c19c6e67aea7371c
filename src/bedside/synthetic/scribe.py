"""Writes a block's notes one by one: facts, planted faults and forms come together here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bedside.synthetic.dice import Dice
from bedside.synthetic.facts import NEGATED, PRESENT, UNSAID, Facts, stream
from bedside.synthetic.identifiers import Form, Identifiers, forms, person
from bedside.synthetic.knowledge import knowledge, read_data
from bedside.synthetic.planting import MOST_WORDS, Faults, leak_line, misspell
from bedside.synthetic.writing import Background, Case, Page, put_on_form, write_body

Row = dict[str, Any]
_USUAL = 0.05  # a past diagnosis is mentioned at ages that have this share of its patients
_ONSET = 0  # place of the onset among the measures


@dataclass(frozen=True)
class Settings:
    """What the writer needs of the plan."""

    seed: int
    typos: float
    identifiers: bool


class Scribe:
    """The writer of one block. Notes are written in order, because later ones copy earlier ones."""

    def __init__(self, settings: Settings, facts: Facts, faults: Faults) -> None:
        count, seed, block = len(facts), settings.seed, facts.block
        self._settings, self._facts, self._faults = settings, facts, faults
        self._model = knowledge()
        self._sites = list(read_data("phrases")["sites"])
        self._words = stream(seed, "words", block).random((count, 256))
        self._paper = stream(seed, "paper", block).random((count, 96))
        self._identity = stream(seed, "identity", block).random((count, 24))
        hits = stream(seed, "typos", block).random((count, MOST_WORDS)) < settings.typos
        self._hits = [np.flatnonzero(row).tolist() for row in hits]
        self._slips = stream(seed, "slips", block).random((count, 32))
        self._first = np.arange(count) - facts.visit  # row of the patient's first note
        self._earlier: dict[int, tuple[Background, str]] = {}
        self._written: dict[int, tuple[Row, Row]] = {}

    def pairs(self, most: int) -> list[tuple[Row, Row]]:
        """The block's first ``most`` notes and their truths."""
        return [self.pair(row) for row in range(min(most, len(self._facts)))]

    def pair(self, row: int) -> tuple[Row, Row]:
        """One note as recorded, and its truth."""
        source = int(self._faults.copy_of[row])
        done = self._copy(row, source) if source >= 0 else self._fresh(row)
        self._written[row] = done
        return done

    def _ids(self, row: int) -> Row:
        facts = self._facts
        return {
            "note_id": f"N{facts.first_note + row + 1:07d}",
            "patient_id": f"P{int(facts.patient[row]) + 1:07d}",
            "date": facts.when[row].isoformat(timespec="seconds"),
        }

    def _fresh(self, row: int) -> tuple[Row, Row]:
        facts, model = self._facts, self._model
        case = self._case(row)
        patient = int(facts.patient[row])
        before = self._earlier.get(patient)
        dice = Dice(self._words[row].tolist())
        draft = write_body(case, dice, before[0] if before else None)
        note = self._ids(row)
        self._earlier[patient] = (draft.background, note["note_id"])
        body, age_at = self._faulty(row, draft.text, draft.age_at)
        form, page = self._on_form(row, case, body, age_at)
        label = int(self._faults.label[row])
        true = int(facts.diagnosis[row])
        note |= {
            "site": case.site,
            "age": int(facts.age[row]),
            "sex": "M" if case.male else "F",
            "note": "".join(page.parts),
            "diagnosis": model.diagnoses[label],
        }
        truth = {
            "note_id": note["note_id"],
            "diagnosis": model.diagnoses[true],
            "code": model.codes[true],
            "spans": [span._asdict() for span in page.spans],
            "template": form.id if form else None,
            "present": case.present,
            "negated": case.negated,
            "onset": case.onset,
            "numbers": dict(case.numbers),
            "label_error": label != true,
            "is_duplicate_of": None,
            "exact": False,
            "leak": bool(self._faults.leak[row]),
            "shortcut": bool(self._faults.shortcut[row]),
            "bias": bool(facts.silenced[row]),
            "misspelt": self._misspelt,
            "copied_forward": draft.copied,
            "copied_from": before[1] if before and draft.copied else None,
        }
        return note, truth

    def _copy(self, row: int, source: int) -> tuple[Row, Row]:
        """Another patient's note, filed again; half of the copies carry one line more."""
        note, truth = self._written[source] if source in self._written else self.pair(source)
        lines = read_data("phrases")["duplicate"]["lines"]
        exact = bool(self._faults.exact[row])
        more = "" if exact else f"\n{lines[int(self._faults.draws[row, 1] * len(lines))]}"
        label = self._model.diagnoses[int(self._faults.label[row])]
        copied = {**note, **self._ids(row), "note": note["note"] + more, "diagnosis": label}
        listed = {
            "note_id": copied["note_id"],
            "is_duplicate_of": truth["note_id"],
            "exact": exact,
            "label_error": label != truth["diagnosis"],
        }
        return copied, {**truth, **listed}

    def _case(self, row: int) -> Case:
        facts, model = self._facts, self._model
        true = int(facts.diagnosis[row])
        age = int(facts.age[row])
        named = self._named(row)
        others = [index for index in range(len(model.diagnoses)) if index not in named]
        group = model.groups[true]
        return Case(
            site=self._sites[int(facts.site[row])],
            group=group,
            male=bool(facts.male[row]),
            age=str(age) if age <= 89 or self._settings.identifiers else "90+",
            years=age,
            over_89=age > 89,
            present=[model.findings[index] for index in np.flatnonzero(facts.state[row] == PRESENT)],
            negated=[model.findings[index] for index in np.flatnonzero(facts.state[row] == NEGATED)],
            onset=str(read_data("measures")["measures"]["onset"]["bins"][int(facts.bins[row, _ONSET])]),
            numbers=self._numbers(row),
            others=[model.names[index] for index in others],
            before=[model.names[index] for index in others if model.ages[index, facts.age_bin[row]] > _USUAL],
            neighbours=[model.names[index] for index in others if model.groups[index] == group],
        )

    def _named(self, row: int) -> set[int]:
        """Diagnoses that the note must not name: the patient's own, now and at any visit."""
        first = int(self._first[row])
        patient, last = self._facts.patient[row], row
        while last + 1 < len(self._facts) and self._facts.patient[last + 1] == patient:
            last += 1
        return {int(item) for item in self._facts.diagnosis[first : last + 1]}

    def _numbers(self, row: int) -> list[tuple[str, float]]:
        facts, values = self._facts, []
        for place, (chosen, within) in enumerate(
            zip(facts.bins[row].tolist(), facts.within[row].tolist(), strict=True)
        ):
            measure = self._model.measures[place]
            if place != _ONSET and chosen != UNSAID:
                low, high = measure.ranges[chosen]
                values.append((measure.name, round(low + within * (high - low), measure.digits)))
        return values

    def _faulty(self, row: int, body: str, age_at: int) -> tuple[str, int]:
        """The body with its typing errors, leak and shortcut, and the age's place in it."""
        self._misspelt = 0
        if self._hits[row]:
            body, changes = misspell(body, self._hits[row], Dice(self._slips[row].tolist()))
            age_at += sum(growth for place, growth in changes if place < age_at)
            self._misspelt = len(changes)
        if self._faults.leak[row]:
            line = leak_line(self._model, int(self._facts.diagnosis[row]), Dice(self._faults.draws[row].tolist()))
            body = f"{body}\n{line}"
        if self._faults.shortcut[row]:
            body = f"{body}\n{read_data('phrases')['shortcut']['line']}"
        return body, age_at

    def _on_form(self, row: int, case: Case, body: str, age_at: int) -> tuple[Form | None, Page]:
        facts = self._facts
        dice = Dice(self._paper[row].tolist())
        first = int(self._first[row])
        fixed = self._identity[first].tolist()
        who = person(case.male, int(facts.age[row]), facts.when[first], Dice(fixed[::-1]))
        identifiers = Identifiers(who, fixed, facts.when[row], case.site, dice)
        form = dice.pick(forms(case.site)) if self._settings.identifiers else None
        return form, put_on_form(form, body, age_at, case, identifiers, dice)
