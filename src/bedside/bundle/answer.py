"""What the model answers to one note.

A field that nothing computes is absent from the JSON, never constant. The text of the note is never part of an
answer.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

DISCLAIMER = "Decision support. Not a diagnosis."
ICD_10_CM = "http://hl7.org/fhir/sid/icd-10-cm"


@dataclass(frozen=True)
class Suggestion:
    """One diagnosis of a differential: its calibrated probability, and its ICD-10-CM code if there is one.

    Where a case may have several, ``decision`` is ``yes`` or ``unsure``. Where the study names labels that must not be
    missed, ``cant_miss`` says whether this is one, and ``alarm`` whether it reaches the threshold of its own.
    """

    rank: int
    label: str
    display: str
    probability: float
    code: str | None = None
    decision: str | None = None
    cant_miss: bool | None = None
    alarm: bool | None = None

    def to_json(self) -> dict[str, Any]:
        """The suggestion as JSON."""
        body: dict[str, Any] = {
            "rank": self.rank,
            "label": self.label,
            "display": self.display,
            "probability": self.probability,
        }
        if self.code is not None:
            body["codes"] = [{"system": ICD_10_CM, "code": self.code}]
        if self.decision is not None:
            body["decision"] = self.decision
        if self.cant_miss is not None:
            body["cant_miss"] = self.cant_miss
        if self.alarm is not None:
            body["alarm"] = self.alarm
        return body


@dataclass(frozen=True)
class PredictionSet:
    """The labels that hold the true one with the promised coverage, the likeliest first."""

    labels: tuple[str, ...]
    coverage: float


@dataclass(frozen=True)
class Decisions:
    """Where a case may have several diagnoses: of how many it was said yes, no, or neither."""

    yes: int
    no: int
    unsure: int


@dataclass(frozen=True)
class Uncertainty:
    """How undecided the model is: entropy in nats over all labels, and the lead of the first over the second."""

    entropy: float
    margin: float


@dataclass(frozen=True)
class Answer:
    """The answer to one note.

    ``status`` is ``ok``, ``low_confidence``, ``insufficient_information`` or ``out_of_scope``; the last two carry
    no differential. ``reasons`` are pairs of a code and a sentence, empty when the status is ``ok``.

    Where a case may have several diagnoses, the differential is no ranking whose probabilities sum to 1: it holds every
    diagnosis answered yes, then those left open; ``decisions`` counts all of them. Entropy and margin are of a
    choice of one, and absent, and so is the prediction set.

    A label that must not be missed and reaches its threshold is in the differential whatever its rank.
    """

    status: str
    model_id: str
    digest: str
    differential: tuple[Suggestion, ...]
    uncertainty: Uncertainty | None
    words: int
    truncated: bool
    reasons: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    decisions: Decisions | None = None
    prediction_set: PredictionSet | None = None

    def to_json(self) -> dict[str, Any]:
        """The answer as the body that the server sends and ``predict`` writes."""
        body: dict[str, Any] = {
            "status": self.status,
            "model": {"id": self.model_id, "digest": self.digest, "calibrated": True},
            "differential": [one.to_json() for one in self.differential],
        }
        if self.decisions is not None:
            body["decisions"] = asdict(self.decisions)
        if self.prediction_set is not None:
            body["prediction_set"] = {
                "labels": list(self.prediction_set.labels),
                "coverage": self.prediction_set.coverage,
            }
        if self.uncertainty is not None:
            body["uncertainty"] = {"entropy": self.uncertainty.entropy, "margin": self.uncertainty.margin}
        body["input"] = {"words": self.words, "truncated": self.truncated}
        if self.reasons:
            body["reasons"] = [{"code": code, "message": message} for code, message in self.reasons]
        body["warnings"] = list(self.warnings)
        body["disclaimer"] = DISCLAIMER
        return body
