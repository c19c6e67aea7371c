"""Every figure of a model on the test split where a case may have several labels, each with its interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bedside.evaluation.figures import Bounds, figure_of, too_few, verdict_of
from bedside.metrics import (
    Resamples,
    areas,
    brier_of_labels,
    calibration_error,
    clustered_slope_and_intercept,
    counts_of_sets,
    exact_sets,
    hamming_loss,
    jaccard,
    macro_f1,
    mcnemar,
    micro_f1,
    precision_at,
    recall_at,
    subset_accuracy,
)

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
PER_LABEL = ("sensitivity", "specificity", "ppv", "npv", "f1", "auroc", "auprc", "brier")
_COMPARED = ("macro_f1", "micro_f1", "auprc", "auroc", "subset_accuracy")
_INVERTED = "debiased, all decisions, 15 equal-mass bins; test-inversion bootstrap by cluster"
_ROBUST = "all decisions; normal, standard error robust to clusters"


@dataclass(frozen=True)
class SeveralMeasured:
    """A model's answers to test cases that may have several labels.

    Attributes:
        probabilities: [cases, labels], calibrated.
        raw: [cases, labels], before calibration.
        truth: [cases, labels] whether the case has the label.
        called: [cases, labels] whether the probability reaches the label's threshold.
        labels: in the order of the columns.
        top_k: for precision and recall among the first k.
    """

    probabilities: Floats
    raw: Floats
    truth: Bools
    called: Bools
    labels: tuple[str, ...]
    top_k: int

    def names(self) -> list[str]:
        """The overall figures, in the order of the first columns of :meth:`figures`."""
        plain = ["macro_f1", "micro_f1", "subset_accuracy", "hamming_loss", "jaccard"]
        return [*plain, f"precision_at_{self.top_k}", f"recall_at_{self.top_k}", "auroc", "auprc", "brier"]

    def figures(self, weights: Floats) -> Floats:
        """[resamples, figures] the overall figures, then those of each label."""
        found = counts_of_sets(weights, self.truth, self.called)
        pairs = [areas(weights, self.truth[:, k], self.probabilities[:, k]) for k in range(len(self.labels))]
        roc, precision = (np.stack([pair[place] for pair in pairs], axis=1) for place in (0, 1))
        brier = brier_of_labels(weights, self.truth, self.probabilities)
        overall = [
            macro_f1(found),
            micro_f1(found),
            subset_accuracy(weights, self.truth, self.called),
            hamming_loss(weights, self.truth, self.called),
            jaccard(weights, self.truth, self.called),
            precision_at(weights, self.truth, self.probabilities, self.top_k),
            recall_at(weights, self.truth, self.probabilities, self.top_k),
            *(_mean(one) for one in (roc, precision)),
            brier.mean(axis=1),
        ]
        each = [found.sensitivity(), found.specificity(), found.ppv(), found.npv(), found.f1(), roc, precision, brier]
        return np.concatenate([np.stack(overall, axis=1), *each], axis=1)

    def shares_of(self, label: int) -> dict[str, tuple[Bools, Bools]]:
        """By figure of a label that is a share of cases: which cases it is a share of, and which of them count."""
        has, called = self.truth[:, label], self.called[:, label]
        return {
            "sensitivity": (has, called),
            "specificity": (~has, ~called),
            "ppv": (called, has),
            "npv": (~called, ~has),
        }


def _mean(values: Floats) -> Floats:
    """[resamples] the mean over the labels where the figure is defined."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, values, 0.0).sum(axis=1) / known.sum(axis=1))


def measure_several(model: SeveralMeasured, resamples: Resamples, confidence: float) -> tuple[dict[str, Any], Floats]:
    """All figures of a model, and their resampled values [resamples, figures] for paired comparison."""
    plain = model.figures(np.ones((1, len(model.truth))))[0]
    drawn = resamples.apply(model.figures)
    bounds = Bounds(drawn, confidence, resamples.clusters)
    n, events = len(model.truth), int(model.truth.sum())
    exact = exact_sets(model.truth, model.called)
    body: dict[str, Any] = {}
    for place, name in enumerate(model.names()):
        interval = bounds.interval(place)
        if name == "subset_accuracy":
            interval = bounds.share(place, np.ones(n, dtype=bool), exact)
        body[name] = figure_of(plain[place], interval, n, int(exact.sum()) if name == "subset_accuracy" else events)
        body[name]["too_few"] = too_few(n, events)
    body |= _calibration(model, resamples, confidence)
    first = len(model.names())
    body["per_label"] = {label: _label(model, k, plain, bounds, first) for k, label in enumerate(model.labels)}
    return body, drawn


def _label(model: SeveralMeasured, k: int, plain: Floats, bounds: Bounds, first: int) -> dict[str, Any]:
    """The figures of one label."""
    n, cases = len(model.truth), int(model.truth[:, k].sum())
    shares = model.shares_of(k)
    entry: dict[str, Any] = {}
    for place, name in enumerate(PER_LABEL):
        at, size, events = first + place * len(model.labels) + k, n, cases
        if name in shares:
            of, hit = shares[name]
            size, events = int(of.sum()), int(hit[of].sum())
            interval = bounds.share(at, of, hit)
        else:
            interval = bounds.interval(at)
        entry[name] = figure_of(plain[at], interval, size, events)
        entry[name]["too_few"] = too_few(size, cases)
    entry["cases"] = cases
    entry["called"] = int(model.called[:, k].sum())
    entry["too_few"] = too_few(n, cases)
    return entry


def _calibration(model: SeveralMeasured, resamples: Resamples, confidence: float) -> dict[str, Any]:
    """Calibration error after and before calibration, slope and intercept: over all decisions, a case and a label."""
    happened = model.truth.ravel()
    clusters = np.repeat(resamples.clusters, len(model.labels))
    n, events = len(happened), int(happened.sum())
    few = too_few(len(model.truth), events)
    body: dict[str, Any] = {}
    for name, values in (("ece", model.probabilities), ("ece_uncalibrated", model.raw)):
        found = calibration_error(values.ravel(), happened, clusters, level=confidence, seed=resamples.seed)
        interval: dict[str, Any] = {"low": found.low, "high": found.high, "method": _INVERTED}
        body[name] = figure_of(found.debiased, interval, n, events) | {"too_few": few}
        if name == "ece":
            why = "plain, 15 equal-mass bins; no interval: chance alone keeps it above the true one"
            plain = figure_of(found.plain, {"low": None, "high": None, "method": why}, n, events)
            body["ece_plain"] = plain | {"too_few": few}
    ends = clustered_slope_and_intercept(model.probabilities.ravel(), happened, clusters, confidence)
    for name, (value, low, high) in zip(("calibration_slope", "calibration_intercept"), ends, strict=True):
        interval = {"low": low, "high": high, "method": _ROBUST}
        body[name] = figure_of(value, interval, n, events) | {"too_few": few}
    return body


def compare_several(
    model: SeveralMeasured, other: SeveralMeasured, drawn: Floats, drawn_other: Floats, confidence: float
) -> dict[str, Any]:
    """The differences of two models on the same cases and the same resamples; model less other."""
    one = np.ones((1, len(model.truth)))
    plain = model.figures(one)[0] - other.figures(one)[0]
    n = len(model.truth)
    bounds = Bounds(drawn - drawn_other, confidence, np.arange(n))
    right, right_other = (exact_sets(one.truth, one.called) for one in (model, other))
    only = (int((right & ~right_other).sum()), int((right_other & ~right).sum()))
    body: dict[str, Any] = {
        name: figure_of(plain[place], bounds.interval(place, method="paired bootstrap by cluster"), n, sum(only))
        for place, name in enumerate(model.names())
        if name in _COMPARED
    }
    body["mcnemar"] = {"only_model_right": only[0], "only_baseline_right": only[1], "p": mcnemar(*only), "n": n}
    body["verdict"] = verdict_of(body["macro_f1"])
    return body
