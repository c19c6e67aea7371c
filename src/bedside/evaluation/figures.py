"""Every figure of a model on the test split, each with its interval, its N and its method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bedside.metrics import (
    Resamples,
    among_first,
    auprc,
    auroc,
    brier,
    calibration_error,
    clustered_exact_interval,
    counts,
    macro_f1,
    mcnemar,
    micro_f1,
    slope_and_intercept,
    weighted_f1,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
FEW_CASES, FEW_EVENTS = 30, 10
_SAME = 1e-12  # resamples that differ by less are equal but for rounding
_PER_LABEL = ("sensitivity", "specificity", "ppv", "npv", "f1", "auroc", "auprc")
_INVERTED = "debiased, 15 equal-mass bins; test-inversion bootstrap by cluster"


@dataclass(frozen=True)
class Measured:
    """A model's answers to the test cases.

    Attributes:
        probabilities: [cases, labels], calibrated.
        raw: [cases, labels], before calibration.
        targets: [cases].
        labels: in the order of the columns.
        top_k: a case counts as found when its label is among the first k.
        positive: of two labels, the one that means 'has it'.
    """

    probabilities: Floats
    raw: Floats
    targets: Ints
    labels: tuple[str, ...]
    top_k: int
    positive: str | None = None

    @property
    def called(self) -> Ints:
        """[cases] the predicted labels; ties go to the first label."""
        called: Ints = self.probabilities.argmax(axis=1).astype(np.int64)
        return called

    @property
    def right(self) -> Bools:
        """[cases] whether the predicted label is the true one."""
        return np.asarray(self.called == self.targets)

    def stated(self) -> tuple[Floats, Bools]:
        """[cases] a probability and whether what it is of happened: of the positive label, or else of the first one."""
        if self.positive is None:
            return self.probabilities.max(axis=1), self.right
        place = self.labels.index(self.positive)
        return self.probabilities[:, place], np.asarray(self.targets == place)

    def names(self) -> list[str]:
        """The overall figures, in the order of the first columns of :meth:`figures`."""
        plain = ["accuracy", "macro_f1", "weighted_f1", "micro_f1", f"top_{self.top_k}", "auroc", "auprc", "brier"]
        return [*plain, "calibration_slope", "calibration_intercept"]

    def figures(self, weights: Floats) -> Floats:
        """[resamples, figures] the overall figures, then those of each label."""
        found = counts(weights, self.targets, self.called, len(self.labels))
        curves = [
            np.stack([area(weights, self.targets == k, self.probabilities[:, k]) for k in range(len(self.labels))], 1)
            for area in (auroc, auprc)
        ]
        overall = [
            found.accuracy(),
            macro_f1(found),
            weighted_f1(found),
            micro_f1(found),
            (weights @ among_first(self.targets, self.probabilities, self.top_k)) / weights.sum(axis=1),
            *(_mean(one) for one in curves),
            brier(weights, self.targets, self.probabilities),
            *slope_and_intercept(weights, *self.stated()).T,
        ]
        each = [found.sensitivity(), found.specificity(), found.ppv(), found.npv(), found.f1(), *curves]
        return np.concatenate([np.stack(overall, axis=1), *each], axis=1)

    def proportions(self) -> dict[str, tuple[Bools, Bools]]:
        """By figure that is a share of cases: which cases it is a share of, and which of them count."""
        every = np.ones(len(self.targets), dtype=bool)
        return {
            "accuracy": (every, self.right),
            "micro_f1": (every, self.right),
            f"top_{self.top_k}": (every, among_first(self.targets, self.probabilities, self.top_k)),
        }

    def proportions_of(self, label: int) -> dict[str, tuple[Bools, Bools]]:
        """The same for the figures of one label."""
        has, called = self.targets == label, self.called == label
        return {
            "sensitivity": (has, called),
            "specificity": (~has, ~called),
            "ppv": (called, has),
            "npv": (~called, ~has),
        }

    def events(self) -> dict[str, int]:
        """By overall figure, how many cases of the rarer kind it rests on, which says whether they are too few.

        That is the rarer outcome of a binary study; the calibration of the first label rests on right and wrong ones.
        """
        wrong = int((~self.right).sum())
        rarer = len(self.targets)
        if self.positive is not None:
            has = int((self.targets == self.labels.index(self.positive)).sum())
            rarer = min(has, len(self.targets) - has)
        first = min(wrong, len(self.targets) - wrong)
        of_first = ("calibration_slope", "calibration_intercept") if self.positive is None else ()
        return {**dict.fromkeys(self.names(), rarer), **dict.fromkeys((*of_first, "ece", "ece_uncalibrated"), first)}


def _mean(values: Floats) -> Floats:
    """[resamples] the mean over the labels where the figure is defined; NaN where it is for none."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, values, 0.0).sum(axis=1) / known.sum(axis=1))


@dataclass(frozen=True)
class Bounds:
    """What the resamples say of each figure."""

    drawn: Floats
    confidence: float
    clusters: Ints

    def interval(self, place: int, *, method: str = "percentile bootstrap by cluster") -> dict[str, Any]:
        """An interval of one figure, or that there is none and why."""
        values = self.drawn[:, place]
        known = values[~np.isnan(values)]
        if not len(known):
            return {"low": None, "high": None, "method": "no interval: defined in no resample"}
        tail = (1 - self.confidence) / 2
        low, high = (float(one) for one in np.quantile(known, [tail, 1 - tail]))
        if high - low < _SAME:
            return {"low": None, "high": None, "method": f"no interval: nearly every resample gives {low:.3f}"}
        rest = "" if len(known) == len(values) else f", undefined in {len(values) - len(known)} of them"
        return {"low": low, "high": high, "method": f"{method}, {len(values)} resamples{rest}"}

    def share(self, place: int, of: Bools, hit: Bools) -> dict[str, Any]:
        """An interval of a share of cases: exact where hits or misses are too few for a bootstrap to know doubt."""
        hits, clusters = hit[of], self.clusters[of]
        fewer = min(int(hits.sum()), int((~hits).sum()))
        found = self.interval(place)
        if not len(hits) or (fewer >= FEW_EVENTS and found["low"] is not None):
            return found
        low, high = clustered_exact_interval(hits, clusters, self.confidence)
        groups = len(set(clusters.tolist()))
        how = "each taken as one case" if fewer == 0 else "at their effective number of cases"
        return {"low": low, "high": high, "method": f"Clopper–Pearson, {groups} clusters {how}"}


def measure(model: Measured, resamples: Resamples, confidence: float) -> tuple[dict[str, Any], Floats]:
    """All figures of a model, and their resampled values [resamples, figures] for paired comparison."""
    plain = model.figures(np.ones((1, len(model.targets))))[0]
    drawn = resamples.apply(model.figures)
    bounds = Bounds(drawn, confidence, resamples.clusters)
    n, events, shares = len(model.targets), model.events(), model.proportions()
    body: dict[str, Any] = {}
    for place, name in enumerate(model.names()):
        if name in shares:
            of, hit = shares[name]
            body[name] = figure_of(plain[place], bounds.share(place, of, hit), n, int(hit.sum()))
        else:
            body[name] = figure_of(plain[place], bounds.interval(place), n, events[name])
        body[name]["too_few"] = too_few(n, events[name])
    body |= _calibration_errors(model, resamples, confidence)
    body["per_label"] = {
        label: _label(model, k, plain, bounds, first=len(model.names())) for k, label in enumerate(model.labels)
    }
    return body, drawn


def _label(model: Measured, k: int, plain: Floats, bounds: Bounds, first: int) -> dict[str, Any]:
    """The figures of one label."""
    n, cases = len(model.targets), int((model.targets == k).sum())
    shares = model.proportions_of(k)
    entry: dict[str, Any] = {}
    for place, name in enumerate(_PER_LABEL):
        at = first + place * len(model.labels) + k
        if name in shares:
            of, hit = shares[name]
            size = int(of.sum())
            entry[name] = figure_of(plain[at], bounds.share(at, of, hit), size, int(hit[of].sum()))
        else:
            size = n
            entry[name] = figure_of(plain[at], bounds.interval(at), n, cases)
        entry[name]["too_few"] = too_few(size, cases)
    entry["cases"] = cases
    entry["too_few"] = too_few(n, cases)
    return entry


def _calibration_errors(model: Measured, resamples: Resamples, confidence: float) -> dict[str, Any]:
    """The calibration error after and before calibration, and the plain one that other papers state."""
    body: dict[str, Any] = {}
    n, wrong = len(model.targets), int((~model.right).sum())
    for name, values in (("ece", model.probabilities), ("ece_uncalibrated", model.raw)):
        found = calibration_error(
            values.max(axis=1), model.right, resamples.clusters, level=confidence, seed=resamples.seed
        )
        interval: dict[str, Any] = {"low": found.low, "high": found.high, "method": _INVERTED}
        if found.high - found.low < _SAME:
            why = "no interval: the plain error is smaller than even a perfect model would usually show"
            interval = {"low": None, "high": None, "method": why}
        body[name] = figure_of(found.debiased, interval, n, wrong)
        if name == "ece":
            why = "plain, 15 equal-mass bins; no interval: chance alone keeps it above the true one"
            body["ece_plain"] = figure_of(found.plain, {"low": None, "high": None, "method": why}, n, wrong)
    few = too_few(n, model.events()["ece"])
    return {name: figure | {"too_few": few} for name, figure in body.items()}


def too_few(cases: int, events: int) -> bool:
    """Whether a figure of so many cases and events is too uncertain to say anything."""
    return cases < FEW_CASES or events < FEW_EVENTS


def compare(model: Measured, other: Measured, drawn: Floats, drawn_other: Floats, confidence: float) -> dict[str, Any]:
    """The differences of two models on the same cases and the same resamples; model less other."""
    one = np.ones((1, len(model.targets)))
    plain = model.figures(one)[0] - other.figures(one)[0]
    bounds = Bounds(drawn - drawn_other, confidence, np.arange(len(model.targets)))
    n = len(model.targets)
    only = (int((model.right & ~other.right).sum()), int((other.right & ~model.right).sum()))
    body: dict[str, Any] = {
        name: figure_of(plain[place], bounds.interval(place, method="paired bootstrap by cluster"), n, sum(only))
        for place, name in enumerate(model.names())
        if name in {"accuracy", "macro_f1", "auroc", f"top_{model.top_k}"}
    }
    body["mcnemar"] = {"only_model_right": only[0], "only_baseline_right": only[1], "p": mcnemar(*only), "n": n}
    body["verdict"] = verdict_of(body["macro_f1"])
    return body


def verdict_of(difference: dict[str, Any]) -> str:
    """``better`` or ``worse`` only where the interval leaves zero out."""
    if difference["low"] is not None and difference["low"] > 0:
        return "better"
    if difference["high"] is not None and difference["high"] < 0:
        return "worse"
    return "no difference shown"


def figure_of(value: float, interval: dict[str, Any], n: int, events: int) -> dict[str, Any]:
    """A figure as ``metrics.json`` holds it; one that is not defined has no interval."""
    if np.isnan(value):
        interval = {"low": None, "high": None, "method": "not defined for these cases"}
    return {"value": None if np.isnan(value) else float(value), **interval, "n": int(n), "events": int(events)}


def confusion(targets: Ints, called: Ints, labels: Sequence[str]) -> list[list[int]]:
    """[true][predicted] counts."""
    table = np.zeros((len(labels), len(labels)), dtype=np.int64)
    np.add.at(table, (targets, called), 1)
    return [[int(value) for value in row] for row in table]
