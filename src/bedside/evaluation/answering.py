"""What the rules of an answer do on the test split: threshold, risk and coverage, sets, can't-miss labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bedside.evaluation.abstention import Abstention, tightest_bound
from bedside.evaluation.cant_miss import Alarms
from bedside.evaluation.conformal import Sets
from bedside.evaluation.figures import Measured, figure_of, too_few
from bedside.metrics import Resamples, aurc, clustered_exact_interval, error_at, risk_coverage

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
COVERAGE = 0.8  # at which the share of errors is stated beside that of all answers
_POINTS = 50  # of the risk–coverage curve that is kept for the page
_EXACT = "Clopper–Pearson at the effective number of cases"


def answered(
    certified: Abstention, model: Measured, words: Sequence[int], resamples: Resamples, confidence: float
) -> dict[str, Any]:
    """What the certified threshold does, and the risk–coverage curve.

    Args:
        certified: the rules of an answer.
        model: its answers to the test cases.
        words: [cases] the number of words of each note.
        resamples: of the test cases.
        confidence: of the intervals.
    """
    decisions = certified.decide(model.probabilities, words)
    spoken = np.asarray([one.status == "ok" for one in decisions], dtype=bool)
    wrong = ~model.right
    body: dict[str, Any] = {
        "certificate": certified.to_json(),
        "tightest_bound": tightest_bound(certified.cases, certified.confidence),
        "answered": int(spoken.sum()),
        "of": len(decisions),
        "errors": int(wrong[spoken].sum()),
    }
    if spoken.any():
        body["error"] = share_of(wrong, spoken, resamples.clusters, confidence)
    body["selective"] = _selective(model, resamples, confidence)
    if certified.sets is not None:
        body["sets"] = _sets(certified.sets, model, resamples.clusters, confidence)
    if certified.alarms is not None:
        has = model.targets[:, None] == np.arange(len(model.labels))
        body["cant_miss"] = alarms_raised(
            certified.alarms, model.probabilities, has, model.labels, resamples.clusters, confidence
        )
    return body


def share_of(hit: Bools, of: Bools, clusters: Ints, confidence: float) -> dict[str, Any]:
    """The share of the cases ``of`` that are hits, with its exact interval."""
    hits, count = hit[of], int(of.sum())
    if not count:
        none = {"low": None, "high": None, "method": "not defined for these cases"}
        return {**figure_of(np.nan, none, 0, 0), "too_few": True}
    low, high = clustered_exact_interval(hits, clusters[of], confidence)
    found = figure_of(float(hits.mean()), {"low": low, "high": high, "method": _EXACT}, count, int(hits.sum()))
    return {**found, "too_few": too_few(count, count)}


def _selective(model: Measured, resamples: Resamples, confidence: float) -> dict[str, Any]:
    """The risk–coverage curve, the area under it, and the errors among the surest cases beside those of all."""
    scores, wrong = model.probabilities.max(axis=1), ~model.right
    n, errors = len(wrong), int(wrong.sum())

    def figures(weights: Floats) -> Floats:
        at, every = error_at(weights, scores, wrong, COVERAGE), error_at(weights, scores, wrong, 1.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            fall = np.where(every > 0, 1 - at / every, np.nan)
        return np.stack([aurc(weights, scores, wrong), every, at, fall], axis=1)

    plain = figures(np.ones((1, n)))[0]
    drawn = resamples.apply(figures)
    body = {
        name: {
            **figure_of(plain[place], _interval(drawn[:, place], confidence), n, errors),
            "too_few": too_few(n, errors),
        }
        for place, name in enumerate(("aurc", "error_at_all", "error_at_coverage", "fall"))
    }
    _, coverage, risk = risk_coverage(scores, wrong)
    kept = np.unique(np.searchsorted(coverage, np.linspace(0, 1, _POINTS + 1)[1:], side="left").clip(max=len(risk) - 1))
    points = [{"coverage": float(coverage[place]), "error": float(risk[place])} for place in kept.tolist()]
    return {**body, "coverage": COVERAGE, "curve": points}


def _interval(drawn: Floats, confidence: float) -> dict[str, Any]:
    """Percentile interval of resampled values, or why there is none."""
    known = drawn[~np.isnan(drawn)]
    if not len(known) or np.ptp(known) < 1e-12:
        return {"low": None, "high": None, "method": "no interval: nearly every resample gives the same"}
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    method = f"percentile bootstrap by cluster, {len(drawn)} resamples"
    return {"low": float(low), "high": float(high), "method": method}


def _sets(sets: Sets, model: Measured, clusters: Ints, confidence: float) -> dict[str, Any]:
    """How often the prediction sets hold the true label, and how large they are."""
    members = sets.members(model.probabilities)
    held = members[np.arange(len(members)), model.targets]
    size = members.sum(axis=1)
    every = np.ones(len(members), dtype=bool)
    conforming = sets.conforming(model.probabilities)[np.arange(len(members)), model.targets]
    return {
        "promised": sets.coverage,
        "coverage": share_of(held, every, clusters, confidence),
        "conforming": share_of(conforming, every, clusters, confidence),
        "mean_size": float(size.mean()),
        "one_label": share_of(size == 1, every, clusters, confidence),
        "largest": int(size.max()),
        "own_limits": [model.labels[label] for label in sets.own],
        "per_label": {
            label: share_of(held, model.targets == k, clusters, confidence) for k, label in enumerate(model.labels)
        },
    }


def alarms_raised(
    alarms: Alarms, probabilities: Floats, has: Bools, labels: Sequence[str], clusters: Ints, confidence: float
) -> dict[str, Any]:
    """For each label that must not be missed: what was certified, and what it does on the test split.

    Args:
        alarms: the thresholds.
        probabilities: [cases, labels], calibrated.
        has: [cases, labels] whether the case has the label.
        labels: in the order of the columns.
        clusters: [cases].
        confidence: of the intervals.
    """
    raised = alarms.raised(probabilities)
    refused = iter(alarms.refusals(labels))
    body = {}
    for one in alarms.every:
        entry: dict[str, Any] = {
            "threshold": one.threshold,
            "calibration_cases": one.cases,
            "calibration_missed": one.missed,
        }
        if one.threshold is None:
            entry["refused"] = next(refused)
        else:
            ill, rung = has[:, one.label], raised[:, one.label]
            false = share_of(rung & ~ill, np.ones(len(ill), dtype=bool), clusters, confidence)
            entry["sensitivity"] = share_of(rung, ill, clusters, confidence)
            entry["false_alarms_per_100"] = {
                **false, **{end: 100 * false[end] for end in ("value", "low", "high") if false[end] is not None}
            }  # fmt: skip
        body[labels[one.label]] = entry
    return {"min_sensitivity": alarms.min_sensitivity, "confidence": alarms.confidence, "labels": body}
