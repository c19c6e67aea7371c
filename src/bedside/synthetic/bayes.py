"""The best any reader could do: the posterior over diagnoses, exactly, from the facts a note expresses.

The facts are sex, age, each finding as present, negated or not mentioned, and the bin of each number that the
note gives (Bayes' rule on the generative model in knowledge.py). What a note says of relatives, the past and
competing diagnoses is not used, nor is a second visit of the same patient; the planted bias is not known to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bedside.synthetic.knowledge import Floats, Knowledge

if TYPE_CHECKING:
    from bedside.synthetic.facts import Facts


def log_prior(model: Knowledge, male: NDArray[np.bool_], age_bin: NDArray[np.int64]) -> Floats:
    """Log of prior times the chances of sex and age, not normalised. Shape [notes, diagnoses]."""
    sex = np.where(male[:, None], np.log(model.male), np.log(1 - model.male))
    return np.asarray(np.log(model.prior) + sex + np.log(model.ages).T[age_bin])


def posterior(model: Knowledge, facts: Facts) -> Floats:
    """Chance of each diagnosis for each note of a block. Shape [notes, diagnoses], rows sum to 1."""
    total = log_prior(model, facts.male, facts.age_bin)
    present = model.present * model.mention_present
    negated = (1 - model.present) * model.mention_absent
    silent = 1 - present - negated
    for value, table in enumerate((silent, present, negated)):
        total = total + (facts.state == value).astype(np.float64) @ np.log(table).T
    for place in range(len(model.measures)):
        total = total + _log_measure(model, place)[facts.bins[:, place]]
    total -= total.max(axis=1, keepdims=True)
    chances = np.exp(total)
    return np.asarray(chances / chances.sum(axis=1, keepdims=True))


def _log_measure(model: Knowledge, place: int) -> Floats:
    """Log chances of a measure's bins, and of not being given as the last row. Shape [bins + 1, diagnoses]."""
    given = model.mention_measure[:, place]
    count = len(model.measures[place].usual)
    rows = [given * model.bins[:, place, number] for number in range(count)]
    with np.errstate(divide="ignore"):  # the onset is always given: its missing row is never used
        return np.log(np.stack([*rows, 1 - given]))
