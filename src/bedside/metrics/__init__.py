"""Metrics as plain functions, and an interval around any of them. Needs numpy and scipy only."""

from __future__ import annotations

from bedside.metrics.calibration import (
    CalibrationError,
    calibration_error,
    calibration_error_if_perfect,
    equal_mass_bins,
    slope_and_intercept,
)
from bedside.metrics.classification import (
    Counts,
    among_first,
    auprc,
    auroc,
    brier,
    counts,
    macro_f1,
    micro_f1,
    share_top,
    weighted_f1,
)
from bedside.metrics.intervals import (
    Resamples,
    clustered_exact_interval,
    effective_cases,
    exact_interval,
    mcnemar,
    numbered,
)

__all__ = [
    "CalibrationError",
    "Counts",
    "Resamples",
    "among_first",
    "auprc",
    "auroc",
    "brier",
    "calibration_error",
    "calibration_error_if_perfect",
    "clustered_exact_interval",
    "counts",
    "effective_cases",
    "equal_mass_bins",
    "exact_interval",
    "macro_f1",
    "mcnemar",
    "micro_f1",
    "numbered",
    "share_top",
    "slope_and_intercept",
    "weighted_f1",
]
