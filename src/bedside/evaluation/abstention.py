"""When to say "I don't know": a threshold with a certificate.

The threshold is certified by Learn then Test (Angelopoulos et al. 2021): thresholds are tried from the strictest that
has enough cases to be certified at all downward, each with an exact binomial test, and the search stops at the first
that fails, so the search itself needs no correction. Where there are many calibration cases it has several starts, so
that an error among the surest is not its end. One case of each patient or duplicate cluster enters, because the test
needs independent cases.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from bedside.evaluation.cant_miss import Alarms
    from bedside.evaluation.conformal import Sets

Floats = NDArray[np.float64]
_STARTS = 4
_MANY = 4  # times the fewest cases that can be certified, from which on several starts cost less than they gain
_FEWEST_SEEN = 20  # cases from which a share of errors is taken for an estimate of further cases


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
        would_do: about how many calibration cases would certify the bound at the errors seen; None where it is
            certified, or where no number would.
        sets: the prediction sets, where they were fitted.
        alarms: the labels that must not be missed, where there are any.
    """

    threshold: float | None
    max_error: float
    confidence: float
    cases: int
    answered: int
    errors: int
    fewest_words: int
    would_do: int | None = None
    sets: Sets | None = None
    alarms: Alarms | None = None

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
        chosen = one_of_each(clusters, seed)
        top = probabilities[chosen].max(axis=1)
        wrong = probabilities[chosen].argmax(axis=1) != targets[chosen]
        # How many starts depends on the number of cases alone, never on what was wrong.
        starts = _STARTS if len(chosen) >= _MANY * least_cases(max_error, confidence) else 1
        threshold, answered, errors = certified(top, wrong, max_error, confidence, starts=starts, cases=len(chosen))
        more = None if threshold is not None else cases_that_would_do(top, wrong, max_error, confidence)
        return cls(threshold, max_error, confidence, len(chosen), answered, errors, fewest_words, more)

    def decide(self, probabilities: Floats, words: Sequence[int]) -> list[Decision]:
        """A decision for each note, from its calibrated probabilities [notes, labels] and its number of words."""
        return [self._decide(float(top), count) for top, count in zip(probabilities.max(axis=1), words, strict=True)]

    def _decide(self, top: float, words: int) -> Decision:
        if words < self.fewest_words:
            return too_short(words, self.fewest_words)
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
        on = f"{bound} on {self.cases} calibration cases"
        if self.would_do is None:
            return f"{on}: the model errs too often even where it is surest"
        return f"{on}; at the errors seen, about {self.would_do} would do"

    def to_json(self) -> dict[str, Any]:
        """As JSON; what was not fitted is absent."""
        body = {"method": "learn-then-test, exact binomial, one case of each cluster", **asdict(self)}
        for name in ("sets", "alarms"):
            del body[name]
        return {**body, **more_to_json(self.sets, self.alarms)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Abstention:
        """From :meth:`to_json`; files of versions that knew less are read on."""
        plain = {name: value[name] for name in cls.__dataclass_fields__ if name in value}
        return cls(**plain | more_from_json(value))


def more_to_json(sets: Sets | None, alarms: Alarms | None) -> dict[str, Any]:
    """Prediction sets and can't-miss thresholds as JSON; what there is not is absent."""
    return {name: one.to_json() for name, one in (("sets", sets), ("alarms", alarms)) if one is not None}


def more_from_json(value: dict[str, Any]) -> dict[str, Any]:
    """From :func:`more_to_json`."""
    from bedside.evaluation.cant_miss import Alarms
    from bedside.evaluation.conformal import Sets

    readers: tuple[tuple[str, Any], ...] = (("sets", Sets), ("alarms", Alarms))
    return {name: reader.from_json(value[name]) for name, reader in readers if name in value}


def cases_that_would_do(scores: Floats, wrong: NDArray[np.bool_], max_error: float, confidence: float) -> int | None:
    """About how many calibration cases would certify the bound, were further ones as often wrong as those seen.

    An estimate and no promise: the shares of errors come from the same cases.

    Args:
        scores: [cases] the surest highest.
        wrong: [cases] whether the answer would be wrong.
        max_error, confidence: the contract.

    Returns:
        The least such number over all thresholds with some cases above them; None where none would do.
    """
    from scipy.stats import norm

    order = np.argsort(-scores, kind="stable")
    errors = np.cumsum(wrong[order])
    answered = np.arange(1, len(scores) + 1)
    seen = answered >= min(_FEWEST_SEEN, len(scores))
    # One error more than seen: a run without an error is no proof that there will be none.
    rate = (errors + 1) / (answered + 1)
    good = seen & (rate < max_error)
    if not good.any():
        return None
    z = float(norm.ppf(confidence))
    needed = (
        z * np.sqrt(max_error * (1 - max_error)) / (max_error - rate[good])
    ) ** 2  # answered cases at which the share seen lies so far below the bound (normal approximation)
    total = np.maximum(needed, least_cases(max_error, confidence)) / (answered[good] / len(scores))
    return int(np.ceil(total.min()))


def least_cases(max_error: float, confidence: float) -> int:
    """Cases that certify a bound if none of them is wrong: 149 for 2 % at 95 %."""
    return math.ceil(math.log(1 - confidence) / math.log(1 - max_error))


def too_short(words: int, fewest: int) -> Decision:
    """The decision about a note of too few words."""
    message = f"{words} word{'' if words == 1 else 's'}; at least {fewest} needed"
    return Decision("insufficient_information", (Reason("too_short", message),))


def tightest_bound(cases: int, confidence: float) -> float:
    """The least share wrong that so many independent cases can rule out, all answered and none wrong; 1 of none."""
    return float(1 - (1 - confidence) ** (1 / cases)) if cases else 1.0


def certified(
    scores: Floats,
    wrong: NDArray[np.bool_],
    max_error: float,
    confidence: float,
    *,
    starts: int = 1,
    cases: int | None = None,
) -> tuple[float | None, int, int]:
    """The lowest score from which on at most ``max_error`` of the answers are wrong, with that confidence.

    Args:
        scores: [cases] of independent cases, the surest highest.
        wrong: [cases] whether the answer would be wrong.
        max_error, confidence: the contract.
        starts: numbers of answered cases, from the fewest that can be certified up to ``cases`` by equal factors, from
            each of which it is gone on as long as the test passes. With more than one an early error is not the end,
            and each is tested the more strictly (fixed sequences with several starts, in Learn then Test).
        cases: of which those given are some; it must not depend on what was wrong.

    Returns:
        The score, None where none could be certified; the cases at or above it; and how many of them are wrong.
    """
    from scipy.stats import binom

    sure = shared(confidence, starts)
    least = least_cases(max_error, sure)
    order = np.argsort(-scores, kind="stable")
    ranked, errors = scores[order], np.cumsum(wrong[order])
    # Cases of equal probability are answered together or not at all.
    last = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], np.ones(min(1, len(ranked)), dtype=bool)]) + 1
    answered = last[last >= least]
    passed = binom.cdf(errors[answered - 1], answered, max_error) <= 1 - sure
    begun = np.geomspace(least, max(least, cases or least), starts + 1)[:-1]
    ends = [_run_of_true(passed, place) for place in np.searchsorted(answered, begun).tolist()]
    if max(ends) < 0:
        return None, 0, 0
    count = int(answered[max(ends)])
    return float(ranked[count - 1]), count, int(errors[count - 1])


def shared(confidence: float, starts: int) -> float:
    """The confidence of each of so many tests that leaves all of them together that confidence."""
    return 1 - (1 - confidence) / starts


def _run_of_true(passed: NDArray[np.bool_], start: int) -> int:
    """The last place of the run of true that begins at ``start``; -1 where none begins there."""
    rest = passed[start:]
    length = len(rest) if rest.all() else int(np.argmin(rest))
    return start + length - 1 if length else -1


def one_of_each(clusters: Sequence[object], seed: int) -> NDArray[np.int64]:
    """One case of each cluster, drawn by the seed; in the order of the cases."""
    order = np.random.default_rng(seed).permutation(len(clusters)).tolist()
    first: dict[object, int] = {}
    for place in order:
        first.setdefault(clusters[place], place)
    return np.asarray(sorted(first.values()), dtype=np.int64)
