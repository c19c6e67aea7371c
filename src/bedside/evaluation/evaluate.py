"""The evaluate stage: calibrate and certify on the calibration split, then measure on the test split."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bedside.core.files import atomic_path, write_json, write_text
from bedside.core.progress import SILENT, Progress
from bedside.core.seeds import derive
from bedside.evaluation.abstention import Abstention
from bedside.evaluation.answering import answered
from bedside.evaluation.calibration import Calibration
from bedside.evaluation.calibration_choice import choose
from bedside.evaluation.cant_miss import Alarms, numbers_of
from bedside.evaluation.conformal import Sets
from bedside.evaluation.figures import Measured, compare, confusion, measure
from bedside.evaluation.groups import groups_of
from bedside.evaluation.label_answers import LabelAnswers
from bedside.evaluation.label_calibration import LabelCalibration
from bedside.evaluation.subgroups import Called, audit
from bedside.evaluation.usefulness import check_names, usefulness
from bedside.metrics import (
    Resamples,
    calibration_error_if_perfect,
    clustered_exact_interval,
    equal_mass_bins,
)
from bedside.protocol import AnswerSection, EvaluateSection

if TYPE_CHECKING:
    import polars as pl

    from bedside.data import Cohort
    from bedside.models import Diagnoser

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_SHORTEST_PERCENT = 1
_COLUMNS = 20  # of a histogram of probabilities


@dataclass(frozen=True)
class Evaluation:
    """What was measured.

    Attributes:
        metrics: the content of ``metrics.json``.
        predictions: of the calibration and test cases.
        calibration, abstention: what the bundle carries.
        labels: in the order of the probability columns.
    """

    metrics: dict[str, Any]
    predictions: pl.DataFrame
    calibration: Calibration | LabelCalibration
    abstention: Abstention | LabelAnswers
    labels: tuple[str, ...]

    def save(self, folder: Path, facts: Mapping[str, str], trained: Path | None = None) -> None:
        """Write the figures, the predictions, what the bundle carries, and the report.

        Args:
            folder: where to.
            facts: what was run.
            trained: the run's folder, for the curves of its training.
        """
        from bedside.evaluation.report import page

        metadata = {"bedside.schema": "1", "bedside.labels": json.dumps(self.labels, ensure_ascii=False)}
        with atomic_path(folder / "predictions.parquet") as temporary:
            self.predictions.write_parquet(temporary, metadata=metadata)
        write_json(folder / "calibration.json", self.calibration.to_json())
        write_json(folder / "abstention.json", self.abstention.to_json())
        write_text(folder / "report.html", page(self.metrics, facts, trained))
        write_json(folder / "metrics.json", self.metrics)


def evaluate(
    cohort: Cohort,
    model: Diagnoser,
    baselines: Mapping[str, Diagnoser],
    section: EvaluateSection,
    answer: AnswerSection,
    *,
    seed: int,
    progress: Progress = SILENT,
) -> Evaluation:
    """Measure a model beside its baselines; where a case may have several labels, each label on its own.

    Args:
        cohort: its calibration split fits calibration and thresholds; its test split is only measured on.
        model: the one that would be packaged.
        baselines: ``tfidf``, which the model is compared with, and ``majority``.
        section, answer: what to compute, and the contract of an answer.
        seed: of the resamples.
        progress: told what happens.
    """
    if cohort.several:
        from bedside.evaluation.several import evaluate_several

        found = evaluate_several(
            cohort, model, baselines, section, answer,
            fewest_words=_fewest_words(cohort), seed=seed, progress=progress,
        )  # fmt: skip
        return Evaluation(found.metrics, found.predictions, found.calibration, found.answers, cohort.labels)
    numbers_of(answer.cant_miss, cohort.labels)  # refused before a model is asked
    check_names(section, cohort.labels)
    groups_of(cohort.part("test"), section.by, _words(cohort, "test"))  # and so is a column that is not there
    every = {"model": model, **baselines}
    calibrations: dict[str, Calibration] = {}
    held: dict[str, Floats] = {}
    tests: dict[str, Measured] = {}
    raws: dict[str, dict[str, Any]] = {}
    with progress.task("Asking the models", total=2 * len(every), unit="splits") as task:
        for name, one in every.items():
            raw = {}
            for split in ("calibration", "test"):
                raw[split] = one.predict_proba(cohort.texts(split))
                task.advance()
            chosen = choose(
                raw["calibration"], cohort.targets("calibration"), _clusters(cohort, "calibration"),
                answer.calibration, derive(seed, "calibration"),
            )  # fmt: skip
            calibrations[name], held[name] = chosen.calibration, chosen.held
            fitted = calibrations[name].apply(raw["test"])
            tests[name] = Measured(
                fitted, raw["test"], cohort.targets("test"), cohort.labels, section.top_k, cohort.positive
            )
            raws[name] = raw
    certified = Abstention.certify(
        held["model"],
        cohort.targets("calibration"),
        _clusters(cohort, "calibration"),
        max_error=answer.max_error,
        confidence=answer.confidence,
        fewest_words=_fewest_words(cohort),
        seed=derive(seed, "abstention"),
    )
    certified = replace(certified, **_sets_and_alarms(cohort, held["model"], answer, seed))
    clusters = _clusters(cohort, "test")
    resamples = Resamples.of(clusters, section.resamples, derive(seed, "bootstrap"))
    figures, drawn = {}, {}
    with progress.task("Resampling", total=len(every), unit="models") as task:
        for name, measured in tests.items():
            figures[name], drawn[name] = measure(measured, resamples, section.confidence)
            task.advance()
    metrics = {
        "schema": 1,
        "labels": list(cohort.labels),
        "positive": cohort.positive,
        "confidence": section.confidence,
        "top_k": section.top_k,
        "test": {
            "n": len(clusters),
            "clusters": len(set(clusters)),
            "model": figures["model"],
            "baseline": figures["tfidf"],
            "majority": figures["majority"],
            "difference": compare(tests["model"], tests["tfidf"], drawn["model"], drawn["tfidf"], section.confidence),
            "subgroups": _subgroups(cohort, tests["model"], section, resamples.clusters),
            "usefulness": _usefulness(cohort, tests["model"], section, answer, resamples),
            "confusion": confusion(tests["model"].targets, tests["model"].called, cohort.labels),
        },
        "calibration": _calibration(calibrations, tests["model"], resamples, section.confidence),
        "distribution": _distribution(tests["model"]),
        "abstention": answered(certified, tests["model"], _words(cohort, "test"), resamples, section.confidence),
        "ceiling": cohort.report.get("contradictions", {}).get("ceiling"),
    }
    predictions = _predictions(cohort, raws["model"], raws["tfidf"], calibrations)
    return Evaluation(metrics, predictions, calibrations["model"], certified, cohort.labels)


def _clusters(cohort: Cohort, split: str) -> list[object]:
    """What is drawn together: the group of a patient and of near-duplicates."""
    found: list[object] = cohort.part(split)["group"].to_list()
    return found


def _fewest_words(cohort: Cohort) -> int:
    """The 1st percentile of the lengths of the training notes, in words."""
    return int(np.percentile(_words(cohort, "train"), _SHORTEST_PERCENT, method="lower"))


def _words(cohort: Cohort, split: str) -> list[int]:
    return [len(text.split()) for text in cohort.texts(split)]


def _usefulness(
    cohort: Cohort, model: Measured, section: EvaluateSection, answer: AnswerSection, resamples: Resamples
) -> dict[str, Any]:
    """What acting on the probabilities is worth: of the positive label, or of those that must not be missed."""
    numbers = np.arange(len(cohort.labels))
    wanted = [cohort.positive] if cohort.positive is not None else answer.cant_miss
    has, called = model.targets[:, None] == numbers, model.called[:, None] == numbers
    return usefulness(has, model.probabilities, called, cohort.labels, wanted, section, resamples)


def _subgroups(cohort: Cohort, model: Measured, section: EvaluateSection, clusters: Ints) -> dict[str, Any]:
    """The groups of the test cases, compared."""
    columns = groups_of(cohort.part("test"), section.by, _words(cohort, "test"))
    numbers = np.arange(len(cohort.labels))
    stated, happened = model.stated()
    cases = Called(
        model.targets[:, None] == numbers, model.called[:, None] == numbers,
        stated, happened, cohort.labels, cohort.positive, clusters,
    )  # fmt: skip
    return audit(cases, columns, section.confidence)


def _sets_and_alarms(cohort: Cohort, probabilities: Floats, answer: AnswerSection, seed: int) -> dict[str, Any]:
    """Prediction sets, and the thresholds of labels that must not be missed, from the calibration split."""
    targets = cohort.targets("calibration")
    clusters = _clusters(cohort, "calibration")
    found: dict[str, Any] = {
        "sets": Sets.fit(probabilities, targets, clusters, coverage=answer.coverage, seed=derive(seed, "sets"))
    }
    if answer.cant_miss:
        found["alarms"] = Alarms.certify(
            probabilities,
            targets[:, None] == np.arange(len(cohort.labels)),
            clusters,
            numbers_of(answer.cant_miss, cohort.labels),
            min_sensitivity=answer.min_sensitivity,
            confidence=answer.confidence,
            seed=derive(seed, "alarms"),
        )
    return found


def _calibration(
    fitted: Mapping[str, Calibration], model: Measured, resamples: Resamples, confidence: float
) -> dict[str, Any]:
    """The methods, what a perfect model would show, and the bins of the reliability diagram."""
    top = model.probabilities.max(axis=1)
    median, high = calibration_error_if_perfect(top, resamples.clusters, derive(resamples.seed, "ece"))
    return {
        "method": {name: one.method for name, one in fitted.items()},
        "temperature": {name: one.temperature for name, one in fitted.items()},
        "cross_fitted_log_loss": {name: dict(one.losses) for name, one in fitted.items() if one.losses},
        "ece_if_perfect": {"median": median, "high": high},
        "bins": {
            "before": _bins(model.raw.max(axis=1), model, resamples, confidence),
            "after": _bins(top, model, resamples, confidence),
        },
    }


def _bins(top: Floats, model: Measured, resamples: Resamples, confidence: float) -> list[dict[str, Any]]:
    """For each bin of equal mass: mean confidence, share right with its exact interval, and cases."""
    bins = equal_mass_bins(top)
    found = []
    for one in range(int(bins.max()) + 1):
        held = bins == one
        low, high = clustered_exact_interval(model.right[held], resamples.clusters[held], confidence)
        found.append(
            {
                "confidence": float(top[held].mean()),
                "right": float(model.right[held].mean()),
                "low": low,
                "high": high,
                "n": int(held.sum()),
            }
        )
    return found


def _distribution(model: Measured) -> dict[str, Any]:
    """How many cases got which probability: of the positive label by truth, or of the first one by right and wrong."""
    values, happened = model.stated()
    edges = np.linspace(0, 1, _COLUMNS + 1)
    yes, no = (np.histogram(values[kept], edges)[0] for kept in (happened, ~happened))
    return {
        "of": model.positive or "the first label",
        "edges": [round(float(edge), 6) for edge in edges],
        "happened": [int(count) for count in yes],
        "did_not": [int(count) for count in no],
        "confidence": [int(count) for count in np.histogram(model.probabilities.max(axis=1), edges)[0]],
    }


def _predictions(
    cohort: Cohort,
    raw: Mapping[str, Any],
    baseline: Mapping[str, Any],
    calibrations: Mapping[str, Calibration],
) -> pl.DataFrame:
    """One row a case: the calibrated and raw probabilities of the model, and the calibrated ones of the baseline."""
    import polars as pl

    frames = []
    for split in ("calibration", "test"):
        part = cohort.part(split)
        fitted = calibrations["model"].apply(raw[split])
        beside = calibrations["tfidf"].apply(baseline[split])
        columns: dict[str, Any] = {
            "predicted": [cohort.labels[place] for place in fitted.argmax(axis=1).tolist()],
            **{f"p_{k}": fitted[:, k] for k in range(len(cohort.labels))},
            **{f"raw_{k}": raw[split][:, k] for k in range(len(cohort.labels))},
            **{f"baseline_{k}": beside[:, k] for k in range(len(cohort.labels))},
        }
        kept = [name for name in ("case_id", "patient", "group", "split", "label") if name in part.columns]
        frames.append(pl.concat([part.select(kept), pl.DataFrame(columns)], how="horizontal"))
    return pl.concat(frames)
