"""What a probability is worth to whoever acts on it: decision curves, costs that the user states, other prevalences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bedside.core.errors import ProtocolError
from bedside.evaluation.figures import figure_of, too_few
from bedside.metrics import Resamples
from bedside.metrics.decision import net_benefit, net_benefit_of_all, predictive_values
from bedside.protocol import EvaluateSection

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
THRESHOLDS = np.arange(1, 51) / 100
_SHOWN = 5  # labels with a decision curve where none is named


def usefulness(
    has: Bools,
    stated: Floats,
    called: Bools,
    labels: Sequence[str],
    wanted: Sequence[str],
    section: EvaluateSection,
    resamples: Resamples,
) -> dict[str, Any]:
    """Decision curves, net benefit at stated costs, and predictive values at stated prevalences.

    Args:
        has: [cases, labels] whether the case has the label.
        stated: [cases, labels] calibrated probabilities.
        called: [cases, labels] what was called.
        labels: in the order of the columns.
        wanted: labels that get a curve; without any the commonest do.
        section: what the user stated.
        resamples: of the cases.

    Raises:
        ProtocolError: a name is no label.
    """
    check_names(section, labels)
    named = [*wanted, *section.false_alarms_per_miss]
    if not wanted:
        order = np.argsort(-has.sum(axis=0), kind="stable")[:_SHOWN]
        named += [labels[k] for k in order.tolist()]
    body = {}
    for label in dict.fromkeys(named):
        k = list(labels).index(label)
        body[label] = _curve(has[:, k], stated[:, k], section.false_alarms_per_miss.get(label), section, resamples)
    prevalences = {
        label: _at_prevalence(has[:, k], called[:, k], section.prevalence[label], section.confidence, resamples)
        for k, label in enumerate(labels)
        if label in section.prevalence
    }
    return {"curves": body, "prevalence": prevalences}


def check_names(section: EvaluateSection, labels: Sequence[str]) -> None:
    """Refuse a cost or a prevalence of something that is no label.

    Raises:
        ProtocolError: with a sentence for each such name.
    """
    listed = ", ".join(labels[:30]) + (", …" if len(labels) > 30 else "")
    faults = [
        f"evaluate.{key} names {name!r}, which no case has; the labels are: {listed}"
        for key in ("false_alarms_per_miss", "prevalence")
        for name in getattr(section, key)
        if name not in labels
    ]
    if faults:
        raise ProtocolError("protocol.toml", faults)


def _curve(
    has: Bools, stated: Floats, cost: float | None, section: EvaluateSection, resamples: Resamples
) -> dict[str, Any]:
    """The decision curve of one label, and its net benefit at the stated cost."""
    once = np.ones((1, len(has)))
    model = net_benefit(once, has, stated, THRESHOLDS)[0]
    drawn = resamples.apply(lambda weights: net_benefit(weights, has, stated, THRESHOLDS))
    every = net_benefit_of_all(once, has, THRESHOLDS)[0]
    low, high = np.quantile(drawn, [(1 - section.confidence) / 2, (1 + section.confidence) / 2], axis=0)
    n, events = len(has), int(has.sum())
    body: dict[str, Any] = {
        "n": n,
        "events": events,
        "too_few": too_few(n, events),
        "points": [
            {"threshold": float(t), "model": float(m), "low": float(lo), "high": float(hi), "all": float(a)}
            for t, m, lo, hi, a in zip(THRESHOLDS, model, low, high, every, strict=True)
        ],
    }
    if cost is not None:
        at = np.asarray([1 / (1 + cost)])

        def gained(weights: Floats) -> Floats:
            own = net_benefit(weights, has, stated, at)
            return np.concatenate([own, own - np.maximum(net_benefit_of_all(weights, has, at), 0.0)], axis=1)

        plain, spread = gained(once)[0], resamples.apply(gained)
        body["stated"] = {
            "false_alarms_per_miss": cost,
            "threshold": float(at[0]),
            "net_benefit": _figure(plain[0], spread[:, 0], section.confidence, n, events),
            "over_all_or_none": _figure(plain[1], spread[:, 1], section.confidence, n, events),
        }
    return body


def _at_prevalence(
    has: Bools, called: Bools, prevalence: float, confidence: float, resamples: Resamples
) -> dict[str, Any]:
    """PPV and NPV at a prevalence that the user states."""

    def values(weights: Floats) -> Floats:
        hit, calm = weights @ (has & called), weights @ (~has & ~called)
        with np.errstate(invalid="ignore", divide="ignore"):
            sensitivity, specificity = hit / (weights @ has), calm / (weights @ ~has)
        return np.stack(predictive_values(sensitivity, specificity, prevalence), axis=1)

    plain, drawn = values(np.ones((1, len(has))))[0], resamples.apply(values)
    n, events = len(has), int(has.sum())
    return {
        "prevalence": prevalence,
        "ppv": _figure(plain[0], drawn[:, 0], confidence, n, events),
        "npv": _figure(plain[1], drawn[:, 1], confidence, n, events),
    }


def _figure(value: float, drawn: Floats, confidence: float, n: int, events: int) -> dict[str, Any]:
    """A figure with its percentile interval, or that there is none."""
    known = drawn[~np.isnan(drawn)]
    interval: dict[str, Any] = {
        "low": None,
        "high": None,
        "method": "no interval: nearly every resample gives the same",
    }
    if len(known) and float(np.ptp(known)) >= 1e-12:
        low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
        method = f"percentile bootstrap by cluster, {len(drawn)} resamples"
        interval = {"low": float(low), "high": float(high), "method": method}
    return {**figure_of(float(value), interval, n, events), "too_few": too_few(n, events)}
