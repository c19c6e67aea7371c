"""Where a case may have several labels: for each label yes, no, or unsure, with a certificate for yes and for no.

A label is called where its probability reaches the label's threshold, chosen on the calibration split by F1. Above
that threshold the answer is yes from where on yes is certified, below it no down from where no is certified, and
between the two unsure. What is promised is promised of each label on its own: of the cases of which it is said yes, at
most ``max_error`` do not have it, and of those of which it is said no, at most ``max_error`` have it, each with the
stated confidence (Learn then Test, Angelopoulos et al. 2021, with several starts of the search). Of many such promises
a share of one less the confidence may fail, and of a rare label the promise about no says little: hardly any case has
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bedside.evaluation.abstention import (
    Decision,
    Reason,
    certified,
    least_cases,
    more_from_json,
    more_to_json,
    one_of_each,
    shared,
    too_short,
)
from bedside.evaluation.label_calibration import labels_with_few_events

if TYPE_CHECKING:
    from bedside.evaluation.cant_miss import Alarms

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
States = NDArray[np.int8]
YES, UNSURE, NO = 1, 0, -1
_STARTS = 4  # of each search: with a single one, an error among the surest cases would be its end, however many follow
METHOD = "learn-then-test for yes and for no of each label, exact binomial, one case of each cluster"


@dataclass(frozen=True)
class LabelAnswers:
    """The thresholds of each label.

    Attributes:
        threshold: [labels] from which on a label is called.
        yes: [labels] the least probability that is answered yes; None where none could be certified.
        no: [labels] the greatest probability that is answered no; None where none could be certified.
        counts: [labels] independent calibration cases said yes of, of them wrong, said no of, of them wrong.
        max_error: the share wrong among the cases said yes of, and among those said no of, that is not passed.
        confidence: of each certificate.
        cases: independent calibration cases.
        fewest_words: a note with fewer is not answered.
        alarms: the labels that must not be missed, where there are any.
    """

    threshold: tuple[float, ...]
    yes: tuple[float | None, ...]
    no: tuple[float | None, ...]
    counts: tuple[tuple[int, int, int, int], ...]
    max_error: float
    confidence: float
    cases: int
    fewest_words: int
    alarms: Alarms | None = None

    @classmethod
    def certify(
        cls,
        probabilities: Floats,
        truth: Bools,
        clusters: Sequence[object],
        *,
        max_error: float,
        confidence: float,
        fewest_words: int,
        seed: int,
    ) -> LabelAnswers:
        """Choose and certify thresholds on the calibration split.

        Args:
            probabilities: [cases, labels], calibrated.
            truth: [cases, labels].
            clusters: [cases] patient or duplicate group.
            max_error, confidence: the contract.
            fewest_words: the shortest note answered.
            seed: draws the one case of each cluster.
        """
        thresholds = best_thresholds(probabilities, truth)
        chosen = one_of_each(clusters, seed)
        yes: list[float | None] = []
        no: list[float | None] = []
        counts = []
        for label, threshold in enumerate(thresholds):
            stated, has = probabilities[chosen, label], truth[chosen, label]
            called = stated >= threshold
            upper, lower = (
                certified(scores, wrong, max_error, confidence, starts=_STARTS, cases=len(chosen))
                for scores, wrong in ((stated[called], ~has[called]), (-stated[~called], has[~called]))
            )
            yes.append(upper[0])
            no.append(None if lower[0] is None else -lower[0])
            counts.append((upper[1], upper[2], lower[1], lower[2]))
        return cls(
            tuple(thresholds.tolist()), tuple(yes), tuple(no), tuple(counts),
            max_error, confidence, len(chosen), fewest_words,
        )  # fmt: skip

    def states(self, probabilities: Floats) -> States:
        """[notes, labels] 1 for yes, -1 for no, 0 for unsure."""
        yes = np.asarray([np.inf if one is None else one for one in self.yes])
        no = np.asarray([-np.inf if one is None else one for one in self.no])
        found = np.full(probabilities.shape, UNSURE, dtype=np.int8)
        found[probabilities <= no] = NO
        found[probabilities >= yes] = YES
        return found

    def called(self, probabilities: Floats) -> Bools:
        """[notes, labels] whether the probability reaches the label's threshold, sure or not."""
        return np.asarray(probabilities >= np.asarray(self.threshold))

    def decide(self, probabilities: Floats, words: Sequence[int]) -> list[Decision]:
        """A decision for each note, from its calibrated probabilities [notes, labels] and its number of words."""
        unsure = (self.states(probabilities) == UNSURE).sum(axis=1).tolist()
        return [self._decide(count, length) for count, length in zip(unsure, words, strict=True)]

    def _decide(self, unsure: int, words: int) -> Decision:
        if words < self.fewest_words:
            return too_short(words, self.fewest_words)
        if not unsure:
            return Decision("ok")
        reasons = [
            Reason(
                "unsure",
                f"{unsure} of {len(self.threshold)} diagnoses are left open: of neither a yes nor a no is it certified "
                f"that at most {self.max_error:.0%} are wrong",
            )
        ]
        least = least_cases(self.max_error, shared(self.confidence, _STARTS))
        if self.cases < least:
            short = f"{least - self.cases} more calibration cases without an error would be needed"
            reasons.append(Reason("not_certified", f"nothing could be certified: {short}"))
        return Decision("low_confidence", tuple(reasons))

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        body = {"method": METHOD, **asdict(self), "counts": [list(one) for one in self.counts]}
        del body["alarms"]
        return {**body, **more_to_json(None, self.alarms)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> LabelAnswers:
        """From :meth:`to_json`."""
        fields = {name: value[name] for name in cls.__dataclass_fields__ if name in value}
        fields |= more_from_json(value)
        fields["counts"] = tuple(tuple(one) for one in value["counts"])
        return cls(**fields | {name: tuple(value[name]) for name in ("threshold", "yes", "no")})


def best_thresholds(probabilities: Floats, truth: Bools) -> Floats:
    """[labels] the threshold with the best F1 on these cases; labels with few events share the best of their micro-F1.

    A threshold for each such label would be one of chance: it would lie at the one or two cases that have it.
    """
    few = labels_with_few_events(truth)
    found = np.full(truth.shape[1], 0.5)
    for label in np.flatnonzero(~few):
        found[label] = _best_f1(probabilities[:, label], truth[:, label])
    if few.any() and truth[:, few].any():
        found[few] = _best_f1(probabilities[:, few].ravel(), truth[:, few].ravel())
    return found


def _best_f1(stated: Floats, has: Bools) -> float:
    """Midway between the last probability that is called and the next lower one; of equally good ones the highest."""
    order = np.argsort(-stated, kind="stable")
    ranked = stated[order]
    hits = np.cumsum(has[order])
    last = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], True])  # equal ones are called together or not at all
    f1 = 2 * hits[last] / (last + 1 + hits[-1])
    place = int(last[np.argmax(f1)])
    below = ranked[place + 1] if place + 1 < len(ranked) else ranked[place]
    return float((ranked[place] + below) / 2)
