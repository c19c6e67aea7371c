"""Patients and what is true of them, drawn block by block, before a word is written.

A block of patients has its own random streams and is always drawn whole, so a note does not change when more
notes are asked for. Only uniform draws are used, so the bytes are the same on every machine. Adults only.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from bedside.core.seeds import derive
from bedside.synthetic.knowledge import AGE_RANGES, Floats, Knowledge, read_data

BLOCK = 512  # patients
SILENT_FINDING, PRESENT, NEGATED = 0, 1, 2
UNSAID = -1  # a measure that the note does not give
_VISITS = np.array([0.6, 0.85, 0.95])  # one, at most two, at most three visits; mean 1.6
_STAYS = 0.5  # a later visit is for the same diagnosis this often; else the diagnosis is drawn afresh
_FIRST_DAY = datetime(2023, 1, 2, 8, 0)


@dataclass(frozen=True)
class Facts:
    """The truth of one block. N notes, F findings, K measures."""

    block: int
    first_note: int  # number of the block's first note in the whole cohort
    patient: NDArray[np.int64]  # [N] number of the patient in the whole cohort
    visit: NDArray[np.int64]  # [N] 0 for a patient's first note
    diagnosis: NDArray[np.int64]  # [N]
    male: NDArray[np.bool_]  # [N]
    age: NDArray[np.int64]  # [N] years
    age_bin: NDArray[np.int64]  # [N]
    site: NDArray[np.int64]  # [N]
    when: list[datetime]
    state: NDArray[np.int8]  # [N, F] silent, present or negated, as the note says it
    bins: NDArray[np.int64]  # [N, K] bin of each measure that the note gives, or -1
    within: Floats  # [N, K] place inside the bin, 0 to 1
    silenced: NDArray[np.int64]  # [N] findings that the planted bias kept out of the note

    def __len__(self) -> int:
        return len(self.patient)


def stream(seed: int, name: str, block: int) -> np.random.Generator:
    """The random stream of one purpose in one block."""
    return np.random.Generator(np.random.PCG64(derive(seed, "clinic", name, str(block))))


def visits(seed: int, block: int, notes: int, patients: int | None) -> NDArray[np.int64]:
    """Notes per patient of a block: drawn (mean 1.6), or spread evenly where the number of patients is given."""
    if patients is None:
        return 1 + np.searchsorted(_VISITS, stream(seed, "visits", block).random(BLOCK), side="right")
    edges = np.arange(block * BLOCK, min((block + 1) * BLOCK, patients) + 1) * notes // patients
    return np.asarray(np.diff(edges), dtype=np.int64)


def draw_facts(
    model: Knowledge, seed: int, block: int, first_note: int, counts: NDArray[np.int64], bias: bool
) -> Facts:
    """Draw a block's patients, diagnoses, findings and numbers.

    Args:
        model: the generative model.
        seed: the cohort's seed.
        block: number of the block.
        first_note: number of the block's first note.
        counts: notes of each patient in the block.
        bias: switch the planted under-documentation on.
    """
    people = np.repeat(np.arange(len(counts)), counts)
    visit = np.arange(len(people)) - np.repeat(np.cumsum(counts) - counts, counts)
    draws = stream(seed, "people", block).random((len(counts), 6))
    cell = _cells(model, draws[:, 0])
    male, age_bin = cell // len(AGE_RANGES) == 1, cell % len(AGE_RANGES)
    low, high = np.array(AGE_RANGES).T
    age = low[age_bin] + (draws[:, 1] * (high - low + 1)[age_bin]).astype(np.int64)
    shares = np.cumsum([site["share"] for site in read_data("phrases")["sites"].values()])
    site = np.searchsorted(shares[:-1], draws[:, 2], side="right")
    diagnosis = _diagnoses(model, stream(seed, "diagnoses", block), cell[people], visit)
    state, silenced = _states(model, stream(seed, "findings", block), diagnosis, male[people], bias)
    bins, within = _measures(model, stream(seed, "measures", block), diagnosis)
    return Facts(
        block=block,
        first_note=first_note,
        patient=people + block * BLOCK,
        visit=visit,
        diagnosis=diagnosis,
        male=male[people],
        age=age[people],
        age_bin=age_bin[people],
        site=site[people],
        when=_times(stream(seed, "times", block), draws[:, 3], people, visit),
        state=state,
        bins=bins,
        within=within,
        silenced=silenced,
    )


def _cells(model: Knowledge, draws: Floats) -> NDArray[np.int64]:
    """Sex and age bin of each patient, from their joint share over all diagnoses."""
    sexes = np.stack([1 - model.male, model.male], axis=1)
    joint = np.einsum("d,ds,da->sa", model.prior, sexes, model.ages).ravel()
    return np.searchsorted(np.cumsum(joint)[:-1] / joint.sum(), draws, side="right")


def _diagnoses(
    model: Knowledge, rng: np.random.Generator, cell: NDArray[np.int64], visit: NDArray[np.int64]
) -> NDArray[np.int64]:
    """A diagnosis per note given sex and age; a later visit often keeps the one before."""
    draws = rng.random((len(cell), 2))
    ages = len(AGE_RANGES)
    sex = np.where((cell // ages == 1)[:, None], model.male, 1 - model.male)
    chances = model.prior * sex * model.ages.T[cell % ages]
    edges = np.cumsum(chances / chances.sum(axis=1, keepdims=True), axis=1)
    fresh = np.minimum((edges < draws[:, :1]).sum(axis=1), chances.shape[1] - 1)
    for row in np.flatnonzero((visit > 0) & (draws[:, 1] < _STAYS)):
        fresh[row] = fresh[row - 1]
    return np.asarray(fresh, dtype=np.int64)


def _states(
    model: Knowledge, rng: np.random.Generator, diagnosis: NDArray[np.int64], male: NDArray[np.bool_], bias: bool
) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    shape = (len(diagnosis), len(model.findings))
    present = rng.random(shape) < model.present[diagnosis]
    draw = rng.random(shape)
    chance = np.where(present, model.mention_present[diagnosis], model.mention_absent[diagnosis])
    written = draw < chance
    state = np.where(written, np.where(present, PRESENT, NEGATED), SILENT_FINDING).astype(np.int8)
    if not bias:
        return state, np.zeros(len(diagnosis), dtype=np.int64)
    plan = read_data("phrases")["planted"]
    targets = [model.diagnoses.index(name) for name in plan["bias_diagnoses"]]
    group = np.isin(diagnosis, targets) & (male == (plan["bias_sex"] == "M"))
    lost = group[:, None] & (state == PRESENT) & (draw >= chance * plan["bias_documented"])
    return np.where(lost, SILENT_FINDING, state).astype(np.int8), np.asarray(lost.sum(axis=1), dtype=np.int64)


def _measures(
    model: Knowledge, rng: np.random.Generator, diagnosis: NDArray[np.int64]
) -> tuple[NDArray[np.int64], Floats]:
    shape = (len(diagnosis), len(model.measures))
    edges = np.cumsum(model.bins, axis=2)[diagnosis]
    most = np.array([len(measure.usual) - 1 for measure in model.measures])
    bins = np.minimum((edges <= rng.random(shape)[:, :, None]).sum(axis=2), most)
    said = rng.random(shape) < model.mention_measure[diagnosis]
    return np.where(said, bins, UNSAID), rng.random(shape)


def _times(
    rng: np.random.Generator, first: Floats, people: NDArray[np.int64], visit: NDArray[np.int64]
) -> list[datetime]:
    """Encounter times: a first visit within three years, later ones days apart, all within 200 days."""
    most = int(visit.max(initial=0))
    longest = min(56, 170 // max(most, 1))
    draws = rng.random((len(people), 2))
    times: list[datetime] = []
    day = 0
    for person, number, (gap, clock) in zip(people.tolist(), visit.tolist(), draws.tolist(), strict=True):
        day = int(first[person] * 1000) if number == 0 else day + 1 + int(gap * longest)
        times.append(_FIRST_DAY + timedelta(days=day, minutes=int(clock * 840)))
    return times
