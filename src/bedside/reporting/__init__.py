"""The one HTML shell, its tables and its SVG pictures: self-contained, no script, readable on a phone and in print."""

from __future__ import annotations

from bedside.reporting.flow import flow
from bedside.reporting.forest import forest
from bedside.reporting.page import (
    Page,
    Status,
    checklist,
    details,
    facts,
    paragraph,
    subheading,
    table,
    verdicts,
)
from bedside.reporting.pictures import Bin, Curve, bars, histogram, lines, matrix, reliability

__all__ = [
    "Bin",
    "Curve",
    "Page",
    "Status",
    "bars",
    "checklist",
    "details",
    "facts",
    "flow",
    "forest",
    "histogram",
    "lines",
    "matrix",
    "paragraph",
    "reliability",
    "subheading",
    "table",
    "verdicts",
]
