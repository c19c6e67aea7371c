"""Metrics as plain functions, and an interval around any of them. Needs numpy and scipy only."""

from __future__ import annotations

from bedside.metrics.calibration import ece, ece_if_perfect, equal_mass_bins
from bedside.metrics.classification import Counts, auroc, counts, macro_f1, share_top
from bedside.metrics.intervals import Resamples, exact_interval, mcnemar

__all__ = [
    "Counts",
    "Resamples",
    "auroc",
    "counts",
    "ece",
    "ece_if_perfect",
    "equal_mass_bins",
    "exact_interval",
    "macro_f1",
    "mcnemar",
    "share_top",
]
