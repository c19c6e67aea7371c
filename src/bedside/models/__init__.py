"""Diagnosers, the base models that they grow from, and the weights of those.

The names below are loaded when first used, so that ``import bedside.models`` stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bedside.models.baseline import Majority, TfidfLogistic
    from bedside.models.diagnoser import Diagnoser, load_diagnoser
    from bedside.models.encoder import EncoderDiagnoser

_HOMES = {
    "Diagnoser": "diagnoser",
    "EncoderDiagnoser": "encoder",
    "Majority": "baseline",
    "TfidfLogistic": "baseline",
    "load_diagnoser": "diagnoser",
}

__all__ = ["Diagnoser", "EncoderDiagnoser", "Majority", "TfidfLogistic", "load_diagnoser"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
