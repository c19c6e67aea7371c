"""From a table of notes to a cohort: read, clean, find duplicates, split, and say what was done.

A row of the source is never lost without being counted, and a patient or a near-duplicate never crosses a split.
The names below are loaded when first used, so that ``import bedside.data`` stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bedside.data.clean import clean_text, join_sections
    from bedside.data.cohort import SPLITS, Cohort
    from bedside.data.columns import Proposal, look
    from bedside.data.preparation import prepare

_HOMES = {
    "SPLITS": "cohort",
    "Cohort": "cohort",
    "Proposal": "columns",
    "clean_text": "clean",
    "join_sections": "clean",
    "look": "columns",
    "prepare": "preparation",
}

__all__ = ["SPLITS", "Cohort", "Proposal", "clean_text", "join_sections", "look", "prepare"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
