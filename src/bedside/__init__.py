"""bedside: train open-source language models for medical diagnosis, measure them honestly, serve them safely.

It supports a clinician's judgement and never replaces it::

    import bedside

    study = bedside.Study.open("my-study")
    study.run()
    diagnoser = study.diagnoser()
    diagnoser.predict_proba(["62F with pleuritic chest pain …"])  # [notes, labels]

The names below are loaded when first used: ``import bedside`` loads no torch, polars, scipy or scikit-learn.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from bedside.core.errors import (
    BedsideError,
    BundleError,
    DataError,
    MachineError,
    MissingExtra,
    ModelError,
    ProtocolError,
    ServingError,
    StudyError,
)

if TYPE_CHECKING:
    from bedside.bundle import Bundle, verify_bundle
    from bedside.core.progress import ConsoleProgress, Progress
    from bedside.data import Cohort
    from bedside.models import Diagnoser
    from bedside.protocol import Protocol
    from bedside.study import Study, create

__version__ = "0.1.0"

_HOMES = {
    "Bundle": "bedside.bundle",
    "Cohort": "bedside.data",
    "ConsoleProgress": "bedside.core.progress",
    "Diagnoser": "bedside.models",
    "Progress": "bedside.core.progress",
    "Protocol": "bedside.protocol",
    "Study": "bedside.study",
    "create": "bedside.study",
    "verify_bundle": "bedside.bundle",
}

__all__ = [
    "BedsideError",
    "Bundle",
    "BundleError",
    "Cohort",
    "ConsoleProgress",
    "DataError",
    "Diagnoser",
    "MachineError",
    "MissingExtra",
    "ModelError",
    "Progress",
    "Protocol",
    "ProtocolError",
    "ServingError",
    "Study",
    "StudyError",
    "__version__",
    "create",
    "verify_bundle",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
