"""What every model is to the rest of the house: texts in, a matrix of probabilities out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bedside.core.errors import ModelError
from bedside.core.files import read_json, write_json

DESCRIPTION = "diagnoser.json"


class Diagnoser(Protocol):
    """A model that maps cleaned texts to probabilities over its labels."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of every probability matrix."""

    @property
    def kind(self) -> str:
        """``majority``, ``tfidf``, ``encoder`` or ``decoder``."""

    @property
    def several(self) -> bool:
        """Whether a case may have several labels: each probability then stands alone; else those of a text sum to 1."""

    def predict_proba(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """[texts, labels] probabilities; a text's row does not depend on what it is asked together with."""

    def save(self, folder: Path) -> None:
        """Write everything needed to load it again. Never a pickle."""


def describe(folder: Path, kind: str, labels: Sequence[str], **more: Any) -> None:
    """Write the file that says what kind of diagnoser lies in a folder."""
    write_json(folder / DESCRIPTION, {"kind": kind, "labels": list(labels), **more})


def load_diagnoser(folder: Path) -> Diagnoser:
    """Load a saved diagnoser of any kind.

    Raises:
        ModelError: there is none in the folder, or of a kind that this version does not know.
    """
    try:
        about = read_json(folder / DESCRIPTION)
        kind = about["kind"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ModelError(f"{folder} holds no model ({DESCRIPTION} is missing or damaged); train it again.") from None
    if kind in {"majority", "tfidf"}:
        from bedside.models.baseline import Majority, TfidfLogistic

        return Majority.load(folder, about) if kind == "majority" else TfidfLogistic.load(folder, about)
    if kind in {"encoder", "decoder"}:
        from bedside.models.encoder import EncoderDiagnoser

        return EncoderDiagnoser.load(folder, about)
    raise ModelError(
        f"{folder / DESCRIPTION} names the kind {kind!r}, which this version does not know; update bedside."
    )
