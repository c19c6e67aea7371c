"""Metrics as plain functions, and an interval around any of them. Needs numpy and scipy only."""

from __future__ import annotations

from bedside.metrics.calibration import (
    CalibrationError,
    calibration_error,
    calibration_error_if_perfect,
    clustered_slope_and_intercept,
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
from bedside.metrics.multilabel import (
    areas,
    brier_of_labels,
    counts_of_sets,
    exact_sets,
    hamming_loss,
    hits_at,
    jaccard,
    precision_at,
    recall_at,
    subset_accuracy,
)
from bedside.metrics.selective import aurc, error_at, risk_coverage

__all__ = [
    "CalibrationError",
    "Counts",
    "Resamples",
    "among_first",
    "areas",
    "auprc",
    "aurc",
    "auroc",
    "brier",
    "brier_of_labels",
    "calibration_error",
    "calibration_error_if_perfect",
    "clustered_exact_interval",
    "clustered_slope_and_intercept",
    "counts",
    "counts_of_sets",
    "effective_cases",
    "equal_mass_bins",
    "error_at",
    "exact_interval",
    "exact_sets",
    "hamming_loss",
    "hits_at",
    "jaccard",
    "macro_f1",
    "mcnemar",
    "micro_f1",
    "numbered",
    "precision_at",
    "recall_at",
    "risk_coverage",
    "share_top",
    "slope_and_intercept",
    "subset_accuracy",
    "weighted_f1",
]
