"""Measured on the test split alone: figures with intervals, calibration, and when to say "I don't know"."""

from __future__ import annotations

from bedside.evaluation.abstention import Abstention, Decision, Reason
from bedside.evaluation.calibration import Calibration
from bedside.evaluation.evaluate import Evaluation, evaluate
from bedside.evaluation.label_answers import LabelAnswers
from bedside.evaluation.label_calibration import LabelCalibration
from bedside.evaluation.written import read_answers, read_calibration

__all__ = [
    "Abstention",
    "Calibration",
    "Decision",
    "Evaluation",
    "LabelAnswers",
    "LabelCalibration",
    "Reason",
    "evaluate",
    "read_answers",
    "read_calibration",
]
