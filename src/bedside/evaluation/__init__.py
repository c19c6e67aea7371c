"""Measured on the test split alone: figures with intervals, calibration, and when to say "I don't know"."""

from __future__ import annotations

from bedside.evaluation.abstention import Abstention, Decision, Reason
from bedside.evaluation.calibration import Calibration
from bedside.evaluation.evaluate import Evaluation, evaluate

__all__ = ["Abstention", "Calibration", "Decision", "Evaluation", "Reason", "evaluate"]
