"""Faults that are put in on purpose, each drawn from its own stream so that one does not move another.

Typing errors, wrong labels, copies under another patient, the diagnosis named in the text, and a habit of one
site that gives a label away. Each is written to the truth list; nothing is planted that is not listed.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bedside.synthetic.dice import Dice
from bedside.synthetic.facts import Facts, stream
from bedside.synthetic.knowledge import Floats, Knowledge, read_data

_WORD = re.compile(r"[A-Za-z]{5,}")
MOST_WORDS = 192  # words of five letters or more that typing errors may reach in one note


@dataclass(frozen=True)
class Faults:
    """What is planted in a block. N notes."""

    label: NDArray[np.int64]  # [N] recorded diagnosis, before copies
    copy_of: NDArray[np.int64]  # [N] row in the block whose note is copied, or -1
    exact: NDArray[np.bool_]  # [N] the copy is letter for letter
    leak: NDArray[np.bool_]  # [N]
    shortcut: NDArray[np.bool_]  # [N]
    draws: Floats  # [N, 4] for the wording of a fault


def draw_faults(
    model: Knowledge, facts: Facts, seed: int, *, label_errors: float, duplicates: float, leaks: float, shortcut: bool
) -> Faults:
    """Decide what is planted in a block, at the given rates (shares of notes)."""
    count = len(facts)
    copy_of, exact = _copies(facts, stream(seed, "duplicates", facts.block), duplicates)
    original = np.where(copy_of >= 0, copy_of, np.arange(count))
    truth = facts.diagnosis[original]
    wording = stream(seed, "wording", facts.block).random((count, 4))
    return Faults(
        label=_labels(model, truth, stream(seed, "labels", facts.block), label_errors),
        copy_of=copy_of,
        exact=exact,
        leak=(stream(seed, "leaks", facts.block).random(count) < leaks) & (copy_of < 0),
        shortcut=_shortcuts(model, facts, stream(seed, "shortcut", facts.block)) & shortcut,
        draws=wording,
    )


def _copies(facts: Facts, rng: np.random.Generator, rate: float) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Rows that copy an earlier note of another patient in the block, itself no copy."""
    draws = rng.random((len(facts), 3))
    copy_of = np.full(len(facts), -1, dtype=np.int64)
    for row in np.flatnonzero(draws[:, 0] < rate).tolist():
        earlier = np.flatnonzero((copy_of[:row] < 0) & (facts.patient[:row] != facts.patient[row]))
        if len(earlier):
            copy_of[row] = earlier[int(draws[row, 1] * len(earlier))]
    return copy_of, draws[:, 2] < 0.5


def _labels(model: Knowledge, truth: NDArray[np.int64], rng: np.random.Generator, rate: float) -> NDArray[np.int64]:
    """Recorded labels: a wrong one is mostly a neighbour, as coders confuse what looks alike."""
    draws = rng.random((len(truth), 3))
    label = truth.copy()
    for row in np.flatnonzero(draws[:, 0] < rate).tolist():
        near = draws[row, 1] < 0.7
        group = model.groups[truth[row]]
        others = [
            index
            for index in range(len(model.diagnoses))
            if index != truth[row] and (not near or model.groups[index] == group)
        ]
        label[row] = others[int(draws[row, 2] * len(others))]
    return label


def _shortcuts(model: Knowledge, facts: Facts, rng: np.random.Generator) -> NDArray[np.bool_]:
    plan = read_data("phrases")["planted"]
    sites = list(read_data("phrases")["sites"])
    target = facts.diagnosis == model.diagnoses.index(plan["shortcut_diagnosis"])
    chance = np.where(target, plan["shortcut_with"], plan["shortcut_without"])
    here = facts.site == sites.index(plan["shortcut_site"])
    return np.asarray(here & (rng.random(len(facts)) < chance))


def leak_line(model: Knowledge, diagnosis: int, dice: Dice) -> str:
    """A line that names the diagnosis."""
    line = dice.pick(read_data("phrases")["leak"]["lines"])
    return str(line.format(x=dice.pick(model.names[diagnosis]), code=model.codes[diagnosis]))


def misspell(text: str, hits: list[int], dice: Dice) -> tuple[str, list[tuple[int, int]]]:
    """Put one typing error into each word (of five letters or more) whose number is in ``hits``.

    Returns:
        The text, and for each error its place in the old text and by how much the text grew there.
    """
    words = list(_WORD.finditer(text))
    changes = []
    for number in reversed([hit for hit in hits if hit < len(words)]):
        word = words[number]
        place = word.start() + 1 + dice.below(len(word.group()) - 2)
        old = text[place : place + 2]
        new = dice.pick((old[::-1], old[0], old[0] + old, old[1]))
        text = text[:place] + new + text[place + 2 :]
        changes.append((place, len(new) - 2))
    return text, changes


class Tally:
    """The list of everything planted, gathered note by note."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._labels: Counter[str] = Counter()
        self._lists: dict[str, list[Any]] = {
            "label_errors": [],
            "duplicates": [],
            "leaks": [],
            "shortcut": [],
            "bias": [],
        }

    def add(self, truth: dict[str, Any], recorded: str) -> None:
        """Count one note, given its truth and its recorded label."""
        self._counts["notes"] += 1
        self._counts["misspelt_words"] += truth["misspelt"]
        self._counts["copied_forward"] += truth["copied_forward"]
        self._labels.update(span["label"] for span in truth["spans"])
        note = truth["note_id"]
        if truth["label_error"]:
            self._lists["label_errors"].append({"note_id": note, "true": truth["diagnosis"], "recorded": recorded})
        if truth["is_duplicate_of"]:
            self._lists["duplicates"].append({"note_id": note, "of": truth["is_duplicate_of"], "exact": truth["exact"]})
        for name in ("leak", "shortcut", "bias"):
            if truth[name]:
                self._lists[f"{name}s" if name == "leak" else name].append(note)

    def summary(self) -> dict[str, Any]:
        """Counts and lists, ready for JSON."""
        return {
            "notes": self._counts["notes"],
            "misspelt_words": self._counts["misspelt_words"],
            "copied_forward": self._counts["copied_forward"],
            "identifiers": dict(sorted(self._labels.items())),
            **self._lists,
        }
