"""What a request may say and what an answer says, for validation and for the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

REQUEST_ID = r"^[A-Za-z0-9._:-]{1,128}$"
MOST_ITEMS = 64


def _not_blank(text: str) -> str:
    """Refuse a note without a visible character; a short one is answered (not enough information)."""
    if not text.strip():
        raise PydanticCustomError("too_short", "text is empty")
    return text


Identifier = Annotated[str, Field(pattern=REQUEST_ID)]
Note = Annotated[
    str, Field(min_length=1, pattern=r"\S", description="the note, as it was written"), AfterValidator(_not_blank)
]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DiagnoseRequest(_Body):
    """One note."""

    text: Note
    top_k: int | None = Field(None, ge=1, le=20, description="diagnoses in the answer")
    request_id: Identifier | None = Field(None, description="comes back in the answer")


class Item(_Body):
    """One note of several. A blank one has a problem of its own and does not spoil the others."""

    id: Identifier
    text: str


class BatchRequest(_Body):
    """Up to 64 notes."""

    items: list[Item] = Field(min_length=1, max_length=MOST_ITEMS)


class Code(_Body):
    """A code of a diagnosis."""

    system: str
    code: str


class Label(_Body):
    """A diagnosis that the model knows."""

    label: str
    display: str
    codes: list[Code] | None = None
    support: int | None = Field(None, description="cases that it was trained on")


class Labels(_Body):
    """The diagnoses that the model knows, and no others."""

    labels: list[Label]


class SuggestionBody(_Body):
    """One diagnosis of a differential."""

    rank: int
    label: str
    display: str
    probability: float = Field(ge=0, le=1)
    codes: list[Code] | None = None
    decision: Literal["yes", "unsure"] | None = Field(
        None, description="where a case may have several diagnoses; one that is not listed is no, or open and unlikely"
    )
    cant_miss: bool | None = Field(None, description="where the study names diagnoses that must not be missed")
    alarm: bool | None = Field(None, description="of such a diagnosis: whether it reaches its own certified threshold")


class ModelName(_Body):
    """Which model answered."""

    id: str
    digest: str
    calibrated: bool


class UncertaintyBody(_Body):
    """Entropy in nats, and the lead of the first over the second."""

    entropy: float
    margin: float


class PredictionSetBody(_Body):
    """The diagnoses that hold the true one with this coverage, the likeliest first."""

    labels: list[str]
    coverage: float


class DecisionsBody(_Body):
    """Where a case may have several diagnoses: of how many it was said yes, no, or neither."""

    yes: int
    no: int
    unsure: int


class InputBody(_Body):
    """What was read of the note."""

    words: int
    truncated: bool


class ReasonBody(_Body):
    """Why there is no confident answer."""

    code: str
    message: str


class Prediction(_Body):
    """The answer to one note."""

    prediction_id: str
    request_id: str | None = None
    status: Literal["ok", "low_confidence", "insufficient_information", "out_of_scope"]
    model: ModelName
    differential: list[SuggestionBody]
    decisions: DecisionsBody | None = None
    prediction_set: PredictionSetBody | None = None
    uncertainty: UncertaintyBody | None = None
    input: InputBody
    reasons: list[ReasonBody] | None = None
    warnings: list[str]
    disclaimer: str
    elapsed_ms: int


class Fault(_Body):
    """One fault of a request. Never holds what the request said."""

    pointer: str
    code: str
    message: str


class ProblemBody(_Body):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
    request_id: str | None = None
    errors: list[Fault] | None = None


class Result(_Body):
    """The answer to one note of several, or why there is none."""

    id: str
    prediction: Prediction | None = None
    error: ProblemBody | None = None


class Results(_Body):
    """An answer or a problem for each note, in order."""

    results: list[Result]


class ModelDescription(_Body):
    """What the bundle says of itself."""

    id: str
    digest: str
    kind: str
    version: str
    calibrated: bool
    draft: bool
    intended_use: str
    labels: int
    warnings: list[str]


class Models(_Body):
    """The models that this server serves."""

    models: list[ModelDescription]


class Health(_Body):
    """Whether the process lives, or is ready."""

    status: Literal["ok", "ready"]
