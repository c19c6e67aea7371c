"""Decision curves and predictive values as the protocol asks for them."""

from __future__ import annotations

import numpy as np
import pytest

from bedside.core.errors import ProtocolError
from bedside.evaluation.usefulness import check_names, usefulness
from bedside.metrics import Resamples
from bedside.protocol import EvaluateSection

LABELS = ("flu", "sepsis")


def _asked(section: EvaluateSection, wanted: list[str]) -> dict:
    random = np.random.default_rng(0)
    stated = random.random(2000)
    has = random.random(2000) < stated  # calibrated by construction
    both = np.stack([~has, has], axis=1)
    probabilities = np.stack([1 - stated, stated], axis=1)
    called = np.stack([stated < 0.5, stated >= 0.5], axis=1)
    return usefulness(
        both, probabilities, called, LABELS, wanted, section, Resamples.of(list(range(2000)), 200, seed=1)
    )


def test_a_calibrated_model_does_good_at_every_threshold() -> None:
    curve = _asked(EvaluateSection(), ["sepsis"])["curves"]["sepsis"]
    assert curve["events"] > 900
    for point in curve["points"]:
        assert point["model"] >= point["all"] - 0.01
        assert point["model"] > 0
        assert point["low"] <= point["model"] <= point["high"]


def test_stated_costs_and_prevalences() -> None:
    section = EvaluateSection(false_alarms_per_miss={"sepsis": 4}, prevalence={"sepsis": 0.02})
    found = _asked(section, [])
    stated = found["curves"]["sepsis"]["stated"]
    assert stated["threshold"] == pytest.approx(0.2)
    assert stated["over_all_or_none"]["low"] > 0
    # Of uniform probabilities, half is called: sensitivity and specificity are 3/4.
    assert found["prevalence"]["sepsis"]["ppv"]["value"] == pytest.approx(0.015 / (0.015 + 0.245), abs=0.006)
    assert found["prevalence"]["sepsis"]["ppv"]["low"] < 0.015 / 0.26 < found["prevalence"]["sepsis"]["ppv"]["high"]


def test_names_that_are_no_labels_are_refused_together() -> None:
    section = EvaluateSection(false_alarms_per_miss={"gout": 4}, prevalence={"scurvy": 0.02})
    with pytest.raises(ProtocolError) as caught:
        check_names(section, LABELS)
    assert len(caught.value.faults) == 2
    assert "evaluate.prevalence names 'scurvy', which no case has; the labels are: flu, sepsis" in str(caught.value)
