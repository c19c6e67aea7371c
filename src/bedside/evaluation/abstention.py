"""When to say "I don't know": a threshold with a certificate.

The threshold is certified by Learn then Test (Angelopoulos et al. 2021): thresholds are tried from the strictest that
has enough cases to be certified at all downward, each with an exact binomial test, and the search stops at the first
that fails, so the search itself needs no correction. One case of each patient or duplicate cluster enters, because
the test needs independent cases.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Reason:
    """Why an answer is held back: a code for programs and a sentence for people."""

    code: str
    message: str


@dataclass(frozen=True)
class Decision:
    """``ok``, ``low_confidence`` or ``insufficient_information``, with reasons unless it is ``ok``."""

    status: str
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True)
class Abstention:
    """The certified threshold, or that there is none.

    Attributes:
        threshold: the least top probability that is answered; None where nothing could be certified.
        max_error: the share wrong among answered that is not passed.
        confidence: of the certificate.
        cases: independent calibration cases.
        answered: of them, at or above the threshold.
        errors: of those, wrong.
        fewest_words: a note with fewer is not answered.
    """

    threshold: float | None
    max_error: float
    confidence: float
    cases: int
    answered: int
    errors: int
    fewest_words: int

    @classmethod
    def certify(
        cls,
        probabilities: Floats,
        targets: NDArray[np.int64],
        clusters: Sequence[object],
        *,
        max_error: float,
        confidence: float,
        fewest_words: int,
        seed: int,
    ) -> Abstention:
        """Find the lowest threshold that is certified on the calibration split.

        Args:
            probabilities: [cases, labels], calibrated.
            targets: [cases].
            clusters: [cases] patient or duplicate group.
            max_error, confidence: the contract.
            fewest_words: the shortest note answered.
            seed: draws the one case of each cluster.
        """
        from scipy.stats import binom

        chosen = _one_of_each(clusters, seed)
        top = probabilities[chosen].max(axis=1)
        wrong = probabilities[chosen].argmax(axis=1) != targets[chosen]
        order = np.argsort(-top, kind="stable")
        errors = np.cumsum(wrong[order])
        held: tuple[float | None, int, int] = (None, 0, 0)
        least = least_cases(max_error, confidence)
        for answered in range(least, len(order) + 1):
            # Cases of equal probability are answered together or not at all.
            if answered < len(order) and top[order[answered]] == top[order[answered - 1]]:
                continue
            count = int(errors[answered - 1])
            if float(binom.cdf(count, answered, max_error)) > 1 - confidence:
                break
            held = (float(top[order[answered - 1]]), answered, count)
        return cls(held[0], max_error, confidence, len(order), held[1], held[2], fewest_words)

    def decide(self, probabilities: Floats, words: Sequence[int]) -> list[Decision]:
        """A decision for each note, from its calibrated probabilities [notes, labels] and its number of words."""
        return [self._decide(float(top), count) for top, count in zip(probabilities.max(axis=1), words, strict=True)]

    def _decide(self, top: float, words: int) -> Decision:
        if words < self.fewest_words:
            message = f"{words} word{'' if words == 1 else 's'}; at least {self.fewest_words} needed"
            return Decision("insufficient_information", (Reason("too_short", message),))
        if self.threshold is None:
            return Decision("low_confidence", (Reason("not_certified", self._why_not()),))
        if top < self.threshold:
            message = (
                f"the likeliest diagnosis has {top:.0%}; from {self.threshold:.0%} on, at most {self.max_error:.0%} "
                "of answers are wrong"
            )
            return Decision("low_confidence", (Reason("below_threshold", message),))
        return Decision("ok")

    def _why_not(self) -> str:
        least = least_cases(self.max_error, self.confidence)
        bound = f"no threshold could be certified for at most {self.max_error:.0%} wrong"
        if self.cases < least:
            return f"{bound}: {least - self.cases} more calibration cases without an error would be needed"
        return f"{bound} on {self.cases} calibration cases: the model errs too often even where it is surest"

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return {"method": "learn-then-test, exact binomial, one case of each cluster", **asdict(self)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Abstention:
        """From :meth:`to_json`."""
        return cls(**{name: value[name] for name in cls.__dataclass_fields__})


def least_cases(max_error: float, confidence: float) -> int:
    """Cases that certify a bound if none of them is wrong: 149 for 2 % at 95 %."""
    return math.ceil(math.log(1 - confidence) / math.log(1 - max_error))


def _one_of_each(clusters: Sequence[object], seed: int) -> NDArray[np.int64]:
    """One case of each cluster, drawn by the seed; in the order of the cases."""
    order = np.random.default_rng(seed).permutation(len(clusters)).tolist()
    first: dict[object, int] = {}
    for place in order:
        first.setdefault(clusters[place], place)
    return np.asarray(sorted(first.values()), dtype=np.int64)
