"""Every figure of a model on the test split, each with its interval, its N and its method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bedside.metrics import Resamples, auroc, counts, ece, exact_interval, macro_f1, mcnemar, share_top

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
FEW_CASES, FEW_EVENTS = 30, 10
_PER_LABEL = ("sensitivity", "specificity", "ppv", "npv", "f1", "auroc")


@dataclass(frozen=True)
class Measured:
    """A model's answers to the test cases.

    Attributes:
        probabilities: [cases, labels], calibrated.
        raw: [cases, labels], before calibration.
        targets: [cases].
        labels: in the order of the columns.
        top_k: a case counts as found when its label is among the first k.
    """

    probabilities: Floats
    raw: Floats
    targets: Ints
    labels: tuple[str, ...]
    top_k: int

    @property
    def called(self) -> Ints:
        """[cases] the predicted labels; ties go to the first label."""
        called: Ints = self.probabilities.argmax(axis=1).astype(np.int64)
        return called

    def names(self) -> list[str]:
        """The overall figures, in the order of the first columns of :meth:`figures`."""
        return ["accuracy", "macro_f1", f"top_{self.top_k}", "auroc", "ece", "ece_uncalibrated"]

    def figures(self, weights: Floats) -> Floats:
        """[resamples, figures] the overall figures, then those of each label."""
        found = counts(weights, self.targets, self.called, len(self.labels))
        curves = np.stack(
            [auroc(weights, self.targets == k, self.probabilities[:, k]) for k in range(len(self.labels))], axis=1
        )
        right = self.called == self.targets
        with np.errstate(invalid="ignore"):
            overall = [
                found.accuracy(),
                macro_f1(found),
                share_top(weights, self.targets, self.probabilities, self.top_k),
                np.nanmean(curves, axis=1),
                ece(weights, self.probabilities.max(axis=1), right),
                ece(weights, self.raw.max(axis=1), right),
            ]
        each = [found.sensitivity(), found.specificity(), found.ppv(), found.npv(), found.f1(), curves]
        return np.concatenate([np.stack(overall, axis=1), *each], axis=1)


def measure(model: Measured, resamples: Resamples, confidence: float) -> tuple[dict[str, Any], Floats]:
    """All figures of a model, and their resampled values [resamples, figures] for paired comparison."""
    plain = model.figures(np.ones((1, len(model.targets))))[0]
    drawn = resamples.apply(model.figures)
    low, high = _percentiles(drawn, confidence)
    method = f"percentile bootstrap by cluster, {resamples.count} resamples"
    names, size = model.names(), len(model.labels)
    n = len(model.targets)
    wrong = int((model.called != model.targets).sum())
    body: dict[str, Any] = {
        name: _figure(plain[place], low[place], high[place], n, wrong, method) for place, name in enumerate(names)
    }
    once = counts(np.ones((1, n)), model.targets, model.called, size)
    body["per_label"] = {}
    for k, label in enumerate(model.labels):
        parts = _proportions(once, k)
        entry: dict[str, Any] = {}
        for place, name in enumerate(_PER_LABEL):
            at = len(names) + place * size + k
            hits, of = parts.get(name, (int(once.actual[0, k]), n))
            entry[name] = _figure(plain[at], low[at], high[at], of, hits, method)
            if name in parts and of and low[at] == high[at]:
                # All right or all wrong: a bootstrap knows no doubt here, the exact interval does.
                exact = exact_interval(hits, of, confidence)
                entry[name] |= {"low": exact[0], "high": exact[1], "method": "Clopper–Pearson"}
        entry["cases"] = int(once.actual[0, k])
        entry["too_few"] = entry["cases"] < FEW_EVENTS or n < FEW_CASES
        body["per_label"][label] = entry
    return body, drawn


def compare(model: Measured, other: Measured, drawn: Floats, drawn_other: Floats, confidence: float) -> dict[str, Any]:
    """The differences of two models on the same cases and the same resamples; model less other."""
    one = np.ones((1, len(model.targets)))
    plain = model.figures(one)[0] - other.figures(one)[0]
    low, high = _percentiles(drawn - drawn_other, confidence)
    n = len(model.targets)
    first = model.called == model.targets
    second = other.called == other.targets
    only = (int((first & ~second).sum()), int((second & ~first).sum()))
    body: dict[str, Any] = {
        name: _figure(plain[place], low[place], high[place], n, sum(only), "paired bootstrap by cluster")
        for place, name in enumerate(model.names())
        if name in {"accuracy", "macro_f1", "auroc", f"top_{model.top_k}"}
    }
    body["mcnemar"] = {"only_model_right": only[0], "only_baseline_right": only[1], "p": mcnemar(*only), "n": n}
    body["verdict"] = _verdict(body["macro_f1"])
    return body


def _verdict(difference: dict[str, Any]) -> str:
    """``better`` or ``worse`` only where the interval leaves zero out."""
    if difference["low"] is not None and difference["low"] > 0:
        return "better"
    if difference["high"] is not None and difference["high"] < 0:
        return "worse"
    return "no difference shown"


def _percentiles(drawn: Floats, confidence: float) -> tuple[Floats, Floats]:
    """Percentile bounds of each column; a column that is never defined has none."""
    low, high = np.full(drawn.shape[1], np.nan), np.full(drawn.shape[1], np.nan)
    some = ~np.isnan(drawn).all(axis=0)
    tail = (1 - confidence) / 2
    low[some], high[some] = np.nanquantile(drawn[:, some], [tail, 1 - tail], axis=0)
    return low, high


def _proportions(found: Any, k: int) -> dict[str, tuple[int, int]]:
    """By figure, the counts that it is the ratio of: hits and of how many."""
    hits, actual, called, total = (int(part[0, k]) for part in (found.hits, found.actual, found.called, found.total))
    negatives = total - actual - called + hits
    return {
        "sensitivity": (hits, actual),
        "specificity": (negatives, total - actual),
        "ppv": (hits, called),
        "npv": (negatives, total - called),
    }


def _figure(value: float, low: float, high: float, n: int, events: int, method: str) -> dict[str, Any]:
    return {
        "value": _number(value),
        "low": _number(low),
        "high": _number(high),
        "n": int(n),
        "events": int(events),
        "method": method,
    }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def confusion(targets: Ints, called: Ints, labels: Sequence[str]) -> list[list[int]]:
    """[true][predicted] counts."""
    table = np.zeros((len(labels), len(labels)), dtype=np.int64)
    np.add.at(table, (targets, called), 1)
    return [[int(value) for value in row] for row in table]
