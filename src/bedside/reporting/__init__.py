"""The one HTML shell, its tables and its SVG pictures: self-contained, no script, readable on a phone and in print."""

from __future__ import annotations

from bedside.reporting.page import Page, facts, paragraph, table, verdicts
from bedside.reporting.pictures import bars, matrix, reliability

__all__ = ["Page", "bars", "facts", "matrix", "paragraph", "reliability", "table", "verdicts"]
