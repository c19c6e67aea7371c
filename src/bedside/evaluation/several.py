"""The evaluate stage where a case may have several labels: each label has its calibration, threshold and answers.

Everything that is chosen is chosen on the calibration split; the test split is only measured on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bedside.core.progress import SILENT, Progress
from bedside.core.seeds import derive
from bedside.evaluation.answering import alarms_raised
from bedside.evaluation.cant_miss import Alarms, numbers_of
from bedside.evaluation.figures import too_few
from bedside.evaluation.groups import groups_of
from bedside.evaluation.label_answers import NO, UNSURE, YES, LabelAnswers, best_thresholds
from bedside.evaluation.label_calibration import LabelCalibration
from bedside.evaluation.several_figures import SeveralMeasured, compare_several, measure_several
from bedside.evaluation.subgroups import Called, audit
from bedside.evaluation.usefulness import check_names, usefulness
from bedside.metrics import Resamples, calibration_error_if_perfect, clustered_exact_interval
from bedside.protocol import AnswerSection, EvaluateSection

if TYPE_CHECKING:
    import polars as pl

    from bedside.data import Cohort
    from bedside.models import Diagnoser

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
_COLUMNS = 20  # of a histogram of probabilities
_BINS = 10  # of the reliability diagram, of equal width: of equal mass nearly all would lie near 0
_DRAWS = 100  # of a perfect model: of so many decisions few are enough


@dataclass(frozen=True)
class _Asked:
    """A model's probabilities, by split, before and after calibration, and the threshold of each label."""

    raw: dict[str, Floats]
    fitted: dict[str, Floats]
    calibration: LabelCalibration
    thresholds: Floats


@dataclass(frozen=True)
class Found:
    """What :func:`evaluate_several` found: figures, predictions, and what the bundle carries."""

    metrics: dict[str, Any]
    predictions: pl.DataFrame
    calibration: LabelCalibration
    answers: LabelAnswers


def evaluate_several(
    cohort: Cohort,
    model: Diagnoser,
    baselines: Mapping[str, Diagnoser],
    section: EvaluateSection,
    answer: AnswerSection,
    *,
    fewest_words: int,
    seed: int,
    progress: Progress = SILENT,
) -> Found:
    """Measure a model beside its baselines; see :func:`bedside.evaluation.evaluate`."""
    check_names(section, cohort.labels)
    numbers_of(answer.cant_miss, cohort.labels)  # refused before a model is asked
    every = {"model": model, **baselines}
    truth = {split: cohort.target_matrix(split) == 1 for split in ("calibration", "test")}
    asked = _ask(cohort, every, truth["calibration"], progress)
    groups = {split: cohort.part(split)["group"].to_list() for split in truth}
    answers = LabelAnswers.certify(
        asked["model"].fitted["calibration"],
        truth["calibration"],
        groups["calibration"],
        max_error=answer.max_error,
        confidence=answer.confidence,
        fewest_words=fewest_words,
        seed=derive(seed, "abstention"),
    )
    if answer.cant_miss:
        alarms = Alarms.certify(
            asked["model"].fitted["calibration"],
            truth["calibration"],
            groups["calibration"],
            numbers_of(answer.cant_miss, cohort.labels),
            min_sensitivity=answer.min_sensitivity,
            confidence=answer.confidence,
            seed=derive(seed, "alarms"),
        )
        answers = replace(answers, alarms=alarms)
    tests = {
        name: SeveralMeasured(
            one.fitted["test"],
            one.raw["test"],
            truth["test"],
            one.fitted["test"] >= one.thresholds,
            cohort.labels,
            section.top_k,
        )
        for name, one in asked.items()
    }
    resamples = Resamples.of(groups["test"], section.resamples, derive(seed, "bootstrap"))
    figures, drawn = {}, {}
    with progress.task("Resampling", total=len(every), unit="models") as task:
        for name, measured in tests.items():
            figures[name], drawn[name] = measure_several(measured, resamples, section.confidence)
            task.advance()
    difference = compare_several(tests["model"], tests["tfidf"], drawn["model"], drawn["tfidf"], section.confidence)
    metrics = {
        "schema": 1,
        "several": True,
        "labels": list(cohort.labels),
        "positive": None,
        "confidence": section.confidence,
        "top_k": section.top_k,
        "test": {
            "n": len(groups["test"]),
            "clusters": len(set(groups["test"])),
            "labels_of_a_case": float(truth["test"].sum(axis=1).mean()),
            "model": figures["model"],
            "baseline": figures["tfidf"],
            "majority": figures["majority"],
            "difference": difference,
            "subgroups": _subgroups(cohort, tests["model"], section, resamples.clusters),
            "usefulness": usefulness(
                tests["model"].truth,
                tests["model"].probabilities,
                tests["model"].called,
                cohort.labels,
                answer.cant_miss,
                section,
                resamples,
            ),
        },
        "thresholds": {
            who: dict(zip(cohort.labels, asked[name].thresholds.tolist(), strict=True))
            for who, name in (("model", "model"), ("baseline", "tfidf"))
        },
        "calibration": _calibration(asked, tests["model"], resamples, section.confidence),
        "distribution": _distribution(tests["model"]),
        "abstention": _answered(answers, tests["model"], cohort, resamples.clusters, section.confidence),
        "ceiling": None,
    }
    return Found(metrics, _predictions(cohort, asked), asked["model"].calibration, answers)


def _subgroups(cohort: Cohort, model: SeveralMeasured, section: EvaluateSection, clusters: Ints) -> dict[str, Any]:
    """The groups of the test cases, compared; a case is called right where all of its labels are, and no other."""
    words = [len(text.split()) for text in cohort.texts("test")]
    columns = groups_of(cohort.part("test"), section.by, words)
    stated, happened = model.probabilities.mean(axis=1), model.truth.mean(axis=1)
    cases = Called(model.truth, model.called, stated, happened, cohort.labels, None, clusters)
    return audit(cases, columns, section.confidence)


def _ask(cohort: Cohort, models: Mapping[str, Diagnoser], truth: Bools, progress: Progress) -> dict[str, _Asked]:
    """Every model's answers to the calibration and the test cases; what is fitted is fitted on the former."""
    found = {}
    with progress.task("Asking the models", total=2 * len(models), unit="splits") as task:
        for name, one in models.items():
            raw = {}
            for split in ("calibration", "test"):
                raw[split] = one.predict_proba(cohort.texts(split))
                task.advance()
            calibration = LabelCalibration.fit(raw["calibration"], truth)
            fitted = {split: calibration.apply(values) for split, values in raw.items()}
            found[name] = _Asked(raw, fitted, calibration, best_thresholds(fitted["calibration"], truth))
    return found


def _calibration(
    asked: Mapping[str, _Asked], model: SeveralMeasured, resamples: Resamples, confidence: float
) -> dict[str, Any]:
    """The curves, what a perfect model would show, and the bins of the reliability diagram, over all decisions."""
    clusters = np.repeat(resamples.clusters, len(model.labels))
    median, high = calibration_error_if_perfect(
        model.probabilities.ravel(), clusters, derive(resamples.seed, "ece"), draws=_DRAWS
    )
    happened = model.truth.ravel()
    return {
        "curves": {name: one.calibration.to_json() for name, one in asked.items()},
        "ece_if_perfect": {"median": median, "high": high},
        "bins": {
            "before": _bins(model.raw.ravel(), happened, clusters, confidence),
            "after": _bins(model.probabilities.ravel(), happened, clusters, confidence),
        },
    }


def _bins(stated: Floats, happened: Bools, clusters: Ints, confidence: float) -> list[dict[str, Any]]:
    """For each bin of equal width that holds a decision: mean probability, share that has it, interval, decisions."""
    bins = np.minimum((stated * _BINS).astype(np.int64), _BINS - 1)
    found = []
    for one in np.unique(bins).tolist():
        held = bins == one
        low, high = clustered_exact_interval(happened[held], clusters[held], confidence)
        found.append(
            {
                "confidence": float(stated[held].mean()),
                "right": float(happened[held].mean()),
                "low": low,
                "high": high,
                "n": int(held.sum()),
            }
        )
    return found


def _distribution(model: SeveralMeasured) -> dict[str, Any]:
    """How many decisions got which probability, where the case has the label and where it has not."""
    edges = np.linspace(0, 1, _COLUMNS + 1)
    yes, no = (np.histogram(model.probabilities[kept], edges)[0] for kept in (model.truth, ~model.truth))
    return {
        "of": "every label",
        "edges": [round(float(edge), 6) for edge in edges],
        "happened": [int(count) for count in yes],
        "did_not": [int(count) for count in no],
        "confidence": [int(count) for count in yes + no],
    }


def _answered(
    answers: LabelAnswers, model: SeveralMeasured, cohort: Cohort, clusters: Ints, confidence: float
) -> dict[str, Any]:
    """What the certified thresholds do on the test split, in notes that are long enough."""
    words = [len(text.split()) for text in cohort.texts("test")]
    decisions = answers.decide(model.probabilities, words)
    heard = np.asarray([one.status != "insufficient_information" for one in decisions], dtype=bool)
    states, truth = answers.states(model.probabilities)[heard], model.truth[heard]
    shares = np.repeat(clusters[heard], truth.shape[1]).reshape(truth.shape)
    body: dict[str, Any] = {
        "certificate": answers.to_json(),
        "of": int(heard.sum()) * truth.shape[1],
        "notes": len(decisions),
        "too_short": int((~heard).sum()),
        "notes_without_unsure": sum(one.status == "ok" for one in decisions),
        "unsure": int((states == UNSURE).sum()),
        "labels_with_yes": sum(one is not None for one in answers.yes),
        "labels_with_no": sum(one is not None for one in answers.no),
    }
    if answers.alarms is not None:
        body["cant_miss"] = alarms_raised(
            answers.alarms, model.probabilities, model.truth, cohort.labels, clusters, confidence
        )
    for name, state, wrong in (("yes", YES, ~truth), ("no", NO, truth)):
        said = states == state
        body[name] = _share(wrong[said], shares[said], confidence)
        body[name]["labels_over"] = _over(said & wrong, said, answers.max_error)
    body["per_label"] = {
        label: {
            "threshold": answers.threshold[k],
            "yes_from": answers.yes[k],
            "no_to": answers.no[k],
            "yes": int((states[:, k] == YES).sum()),
            "yes_wrong": int(((states[:, k] == YES) & ~truth[:, k]).sum()),
            "no": int((states[:, k] == NO).sum()),
            "no_wrong": int(((states[:, k] == NO) & truth[:, k]).sum()),
            "unsure": int((states[:, k] == UNSURE).sum()),
        }
        for k, label in enumerate(cohort.labels)
    }
    return body


def _over(wrong: Bools, said: Bools, bound: float) -> dict[str, int]:
    """Labels that it was said of at all, and those of them where more than the bound was wrong in the test split."""
    count, errors = said.sum(axis=0), wrong.sum(axis=0)
    return {"labels": int((count > 0).sum()), "over": int((errors > bound * count).sum())}


def _share(wrong: Bools, clusters: Ints, confidence: float) -> dict[str, Any]:
    """The share of decisions that are wrong, with its interval."""
    count, errors = len(wrong), int(wrong.sum())
    body: dict[str, Any] = {"answered": count, "errors": errors}
    if count:
        low, high = clustered_exact_interval(wrong, clusters, confidence)
        body["error"] = {
            "value": errors / count,
            "low": low,
            "high": high,
            "n": count,
            "events": errors,
            "method": "Clopper–Pearson at the effective number of decisions",
            "too_few": too_few(count, count),
        }
    return body


def _predictions(cohort: Cohort, asked: Mapping[str, _Asked]) -> pl.DataFrame:
    """One row a case: the labels it has and is called, the probabilities of the model, and those of the baseline."""
    import polars as pl

    model, beside = asked["model"], asked["tfidf"]
    every = range(len(cohort.labels))
    frames = []
    for split in ("calibration", "test"):
        part = cohort.part(split)
        called = model.fitted[split] >= model.thresholds
        names = [[cohort.labels[place] for place in np.flatnonzero(row).tolist()] for row in called]
        columns: dict[str, Any] = {
            "predicted": pl.Series(names, dtype=pl.List(pl.String)),
            **{f"p_{k}": model.fitted[split][:, k] for k in every},
            **{f"raw_{k}": model.raw[split][:, k] for k in every},
            **{f"baseline_{k}": beside.fitted[split][:, k] for k in every},
        }
        kept = [name for name in ("case_id", "patient", "group", "split", "label") if name in part.columns]
        frames.append(pl.concat([part.select(kept), pl.DataFrame(columns)], how="horizontal"))
    return pl.concat(frames)
