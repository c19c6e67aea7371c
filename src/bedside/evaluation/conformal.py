"""Sets of labels that hold the true one as often as promised, whatever the model is worth.

Split-conformal prediction with the score of Sadinle, Lei and Wasserman 2019 (a label belongs to the set where its
probability reaches a limit). A label that has enough calibration cases of its own gets its own limit, so that the
promise holds for its cases alone (Mondrian, class-conditional: Vovk 2012); the other labels share one. One case of each
patient or duplicate cluster enters, because the promise rests on cases that could be exchanged.

The rank of the limit is seldom a whole number. It is drawn, by the seed, between the two next to it, so that the
coverage is the one promised and not a little more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bedside.evaluation.abstention import one_of_each

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
METHOD = "split-conformal, limit on the probability, one case of each cluster"
OWN = 100  # calibration cases from which on a label has a limit of its own: its coverage is then within a point


@dataclass(frozen=True)
class Sets:
    """From which probability on a label belongs to the set.

    Attributes:
        coverage: the share of cases whose set is to hold the true label.
        least: [labels] that probability; 0 where there were too few cases to leave the label out of any set.
        own: numbers of the labels with a limit of their own.
        cases: independent calibration cases.
    """

    coverage: float
    least: tuple[float, ...]
    own: tuple[int, ...]
    cases: int

    @classmethod
    def fit(
        cls, probabilities: Floats, targets: Ints, clusters: Sequence[object], *, coverage: float, seed: int
    ) -> Sets:
        """Find the limits on the calibration split.

        Args:
            probabilities: [cases, labels], calibrated.
            targets: [cases].
            clusters: [cases] patient or duplicate group.
            coverage: the promise.
            seed: draws the one case of each cluster, and the ranks.
        """
        chosen = one_of_each(clusters, seed)
        stated = probabilities[chosen, targets[chosen]]
        counts = np.bincount(targets[chosen], minlength=probabilities.shape[1])
        own = np.flatnonzero(counts >= OWN).tolist()
        random = np.random.default_rng(seed)
        shared = _limit(stated[~np.isin(targets[chosen], own)], coverage, random)
        least = [
            _limit(stated[targets[chosen] == label], coverage, random) if label in own else shared
            for label in range(probabilities.shape[1])
        ]
        return cls(coverage, tuple(least), tuple(own), len(chosen))

    def conforming(self, probabilities: Floats) -> Bools:
        """[notes, labels] the labels that reach their limits; may be none, where no label fits the note."""
        return np.asarray(probabilities >= np.asarray(self.least))

    def members(self, probabilities: Floats) -> Bools:
        """[notes, labels] the set of each note: the conforming labels, and the likeliest one always.

        No answer has an empty set; so where few notes are hard the coverage is more than promised.
        """
        found = self.conforming(probabilities)
        found[np.arange(len(found)), probabilities.argmax(axis=1)] = True
        return found

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return {"method": METHOD, **asdict(self)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Sets:
        """From :meth:`to_json`."""
        return cls(
            float(value["coverage"]),
            tuple(float(one) for one in value["least"]),
            tuple(int(one) for one in value["own"]),
            int(value["cases"]),
        )


def _limit(stated: Floats, coverage: float, random: np.random.Generator) -> float:
    """The probability that a share ``coverage`` of further such cases reaches; 0 where too few say so."""
    rank = (1 - coverage) * (len(stated) + 1)
    whole = math.floor(rank) + int(random.random() < rank - math.floor(rank))
    return float(np.sort(stated)[whole - 1]) if 0 < whole <= len(stated) else 0.0
