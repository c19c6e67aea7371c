"""Labels that must not be missed: a threshold of its own for each, with a certificate on its sensitivity.

The threshold is the greatest under which the calibration cases of the label would be missed so seldom that an exact
binomial test rules out a sensitivity below the one asked for. Thresholds are tried from the lowest upward and the
search stops at the first that fails, so the search needs no correction (Learn then Test, Angelopoulos et al. 2021). One
case of each cluster enters. Where none can be certified, that is said, with the number of cases that would do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bedside.core.errors import ProtocolError
from bedside.evaluation.abstention import least_cases, one_of_each

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Alarm:
    """The threshold of one label that must not be missed.

    Attributes:
        label: its number.
        threshold: from which probability on it is shown whatever its rank; None where none could be certified.
        cases: independent calibration cases that have it.
        missed: of them, below the threshold.
    """

    label: int
    threshold: float | None
    cases: int
    missed: int


@dataclass(frozen=True)
class Alarms:
    """The thresholds of all such labels.

    Attributes:
        min_sensitivity: the least share of the label's cases that must reach its threshold.
        confidence: of each certificate.
        every: one a label.
    """

    min_sensitivity: float
    confidence: float
    every: tuple[Alarm, ...]

    @classmethod
    def certify(
        cls,
        probabilities: Floats,
        has: Bools,
        clusters: Sequence[object],
        numbers: Sequence[int],
        *,
        min_sensitivity: float,
        confidence: float,
        seed: int,
    ) -> Alarms:
        """Certify a threshold for each label on the calibration split, or refuse to.

        Args:
            probabilities: [cases, labels], calibrated.
            has: [cases, labels] whether the case has the label.
            clusters: [cases] patient or duplicate group.
            numbers: of the labels that must not be missed.
            min_sensitivity, confidence: the contract.
            seed: draws the one case of each cluster.
        """
        found = []
        for number in numbers:
            cases = np.flatnonzero(has[:, number])
            chosen = cases[one_of_each([clusters[place] for place in cases.tolist()], seed)]
            threshold, missed = _certified(probabilities[chosen, number], min_sensitivity, confidence)
            found.append(Alarm(int(number), threshold, len(chosen), missed))
        return cls(min_sensitivity, confidence, tuple(found))

    @property
    def numbers(self) -> tuple[int, ...]:
        """The labels that must not be missed."""
        return tuple(one.label for one in self.every)

    def raised(self, probabilities: Floats) -> Bools:
        """[notes, labels] where a label that must not be missed reaches its threshold."""
        found = np.zeros(probabilities.shape, dtype=bool)
        for one in self.every:
            if one.threshold is not None:
                found[:, one.label] = probabilities[:, one.label] >= one.threshold
        return found

    def refusals(self, labels: Sequence[str]) -> list[str]:
        """For each label without a certificate, a sentence that says why and what would do."""
        return [
            f"{labels[one.label]!r} must not be missed, but no threshold could be certified for a sensitivity of "
            f"{self.min_sensitivity:.0%}: {_why(one, self.min_sensitivity, self.confidence)}"
            for one in self.every
            if one.threshold is None
        ]

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Alarms:
        """From :meth:`to_json`."""
        return cls(
            float(value["min_sensitivity"]),
            float(value["confidence"]),
            tuple(Alarm(**{name: one[name] for name in Alarm.__dataclass_fields__}) for one in value["every"]),
        )


def _certified(stated: Floats, min_sensitivity: float, confidence: float) -> tuple[float | None, int]:
    """The greatest certified threshold, and how many of the cases lie below it."""
    from scipy.stats import binom

    ranked = np.sort(stated)
    passed = np.flatnonzero(binom.cdf(np.arange(len(ranked)), len(ranked), 1 - min_sensitivity) <= 1 - confidence)
    if not len(passed):
        return None, 0
    threshold = float(ranked[passed[-1]])
    # A threshold of 0 raises the alarm on every note: that is no model's doing.
    return (threshold, int((ranked < threshold).sum())) if threshold > 0 else (None, 0)


def _why(one: Alarm, min_sensitivity: float, confidence: float) -> str:
    """Why no threshold was certified."""
    least = least_cases(1 - min_sensitivity, confidence)
    if one.cases < least:
        return f"of {least} calibration cases that have it, {one.cases} are there"
    return "its cases get a probability of 0"


def numbers_of(names: Sequence[str], labels: Sequence[str]) -> list[int]:
    """The numbers of the labels that ``answer.cant_miss`` names.

    Raises:
        ProtocolError: a name is no label; the labels are listed.
    """
    unknown = [name for name in names if name not in labels]
    if unknown:
        listed = ", ".join(labels[:30]) + (", …" if len(labels) > 30 else "")
        faults = [f"answer.cant_miss names {name!r}, which no case has; the labels are: {listed}" for name in unknown]
        raise ProtocolError("protocol.toml", faults)
    return [list(labels).index(name) for name in dict.fromkeys(names)]
