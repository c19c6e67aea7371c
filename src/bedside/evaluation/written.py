"""Calibration and thresholds from the files that an evaluation wrote, whether a case has one label or several."""

from __future__ import annotations

from typing import Any

from bedside.evaluation import label_answers, label_calibration
from bedside.evaluation.abstention import Abstention
from bedside.evaluation.calibration import Calibration


def read_calibration(value: dict[str, Any]) -> Calibration | label_calibration.LabelCalibration:
    """From the content of ``calibration.json``."""
    if value["method"] == label_calibration.METHOD:
        return label_calibration.LabelCalibration.from_json(value)
    return Calibration.from_json(value)


def read_answers(value: dict[str, Any]) -> Abstention | label_answers.LabelAnswers:
    """From the content of ``abstention.json``."""
    if value["method"] == label_answers.METHOD:
        return label_answers.LabelAnswers.from_json(value)
    return Abstention.from_json(value)
