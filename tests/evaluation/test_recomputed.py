"""Every point value of ``metrics.json`` from ``predictions.parquet``, by scikit-learn and numpy alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.linear_model import LogisticRegression

from bedside.core.files import read_json, write_text
from bedside.evaluation import evaluate
from bedside.models import load_diagnoser
from bedside.protocol import render
from bedside.study import Study, create
from bedside.study.demo import write_sample


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """``metrics.json`` and the test rows of ``predictions.parquet`` of a small SYNTHETIC study."""
    import polars as pl

    from bedside.data import Cohort

    folder = tmp_path_factory.mktemp("evidence")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BEDSIDE_CONFIG", str(folder / "config"))
        write_sample(folder / "sample", notes=700)
        made = create(folder / "sample" / "notes.csv", folder / "study").study
        protocol = made.protocol
        model = protocol.model.model_copy(update={"base": "builtin:tfidf"})
        write_text(made.folder / "protocol.toml", render(protocol.model_copy(update={"model": model})))
        study = Study.open(made.folder)
        study.run("train")
    cohort = Cohort.load(study.path("prepare"))
    baselines = {name: load_diagnoser(study.path("baseline") / name) for name in ("majority", "tfidf")}
    section = protocol.evaluate.model_copy(update={"resamples": 100})

    answer = protocol.answer.model_copy(update={"calibration": "auto"})
    found = evaluate(cohort, baselines["tfidf"], baselines, section, answer, seed=1)
    found.save(folder, {"study": "s", "source": "notes.csv", "look": "1", "synthetic": "yes"})
    frame = pl.read_parquet(folder / "predictions.parquet")
    labels = json.loads(pl.read_parquet_metadata(folder / "predictions.parquet")["bedside.labels"])
    return read_json(folder / "metrics.json"), frame.filter(pl.col("split") == "test"), labels


def _columns(frame, prefix: str, labels: list[str]) -> np.ndarray:
    return frame.select([f"{prefix}_{k}" for k in range(len(labels))]).to_numpy()


@pytest.mark.parametrize(("who", "prefix"), [("model", "p"), ("baseline", "baseline")])
def test_every_overall_figure(written, who: str, prefix: str) -> None:
    metrics, frame, labels = written
    stated = metrics["test"][who]
    p = _columns(frame, prefix, labels)
    y = np.asarray([labels.index(one) for one in frame["label"]])
    called = p.argmax(axis=1)
    there = sorted(set(y.tolist()))
    truth = np.eye(len(labels))[y]
    confidence = p.max(axis=1)
    logit = np.log(confidence / (1 - confidence))
    fit = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-13).fit(logit[:, None], called == y)
    expected = {
        "accuracy": sk.accuracy_score(y, called),
        "macro_f1": sk.f1_score(y, called, average="macro", labels=there, zero_division=0),
        "weighted_f1": sk.f1_score(y, called, average="weighted", zero_division=0),
        "micro_f1": sk.f1_score(y, called, average="micro"),
        "top_3": np.mean([y[i] in np.argsort(-p[i], kind="stable")[:3] for i in range(len(y))]),
        "auroc": np.mean([sk.roc_auc_score(y == k, p[:, k]) for k in there]),
        "auprc": np.mean([sk.average_precision_score(y == k, p[:, k]) for k in there]),
        "brier": np.mean(((p - truth) ** 2).sum(axis=1)),
    }
    for name, value in expected.items():
        assert stated[name]["value"] == pytest.approx(value, abs=1e-9), name
        assert stated[name]["n"] == len(y)
    assert stated["calibration_slope"]["value"] == pytest.approx(fit.coef_[0, 0], abs=1e-6)
    moved = 1 / (1 + np.exp(-(logit + stated["calibration_intercept"]["value"])))
    assert moved.sum() == pytest.approx((called == y).sum(), abs=1e-6)


def test_the_calibration_was_chosen_by_its_loss_on_held_out_cases(written) -> None:
    metrics, _, _ = written
    for key in ("model", "tfidf", "majority"):
        losses = metrics["calibration"]["cross_fitted_log_loss"][key]
        assert set(losses) == {"temperature", "vector"}  # too few cases for curves
        taken = metrics["calibration"]["method"][key]
        assert taken == "temperature" or losses[taken] < losses["temperature"]


def test_every_figure_of_each_label(written) -> None:
    metrics, frame, labels = written
    p = _columns(frame, "p", labels)
    y = np.asarray([labels.index(one) for one in frame["label"]])
    assert [labels[k] for k in p.argmax(axis=1)] == frame["predicted"].to_list()
    for k, label in enumerate(labels):
        is_it, said = y == k, p.argmax(axis=1) == k
        entry = metrics["test"]["model"]["per_label"][label]
        ratios = {
            "sensitivity": ((is_it & said).sum(), is_it.sum()),
            "specificity": ((~is_it & ~said).sum(), (~is_it).sum()),
            "ppv": ((is_it & said).sum(), said.sum()),
            "npv": ((~is_it & ~said).sum(), (~said).sum()),
            "f1": (2 * (is_it & said).sum(), is_it.sum() + said.sum()),
        }
        for name, (part, whole) in ratios.items():
            value = entry[name]["value"]
            assert (value is None) if whole == 0 else value == pytest.approx(part / whole, abs=1e-9), (label, name)
        if is_it.any():
            assert entry["auroc"]["value"] == pytest.approx(sk.roc_auc_score(is_it, p[:, k]), abs=1e-9)
            assert entry["auprc"]["value"] == pytest.approx(sk.average_precision_score(is_it, p[:, k]), abs=1e-9)
        assert entry["cases"] == is_it.sum()
        assert entry["too_few"] == (is_it.sum() < 10)


def test_the_plain_calibration_error_and_the_confusion(written) -> None:
    metrics, frame, labels = written
    p = _columns(frame, "p", labels)
    y = np.asarray([labels.index(one) for one in frame["label"]])
    confidence, right = p.max(axis=1), p.argmax(axis=1) == y
    bins = (confidence[:, None] > confidence[None, :]).sum(axis=1) * 15 // len(y)
    plain = sum(abs(confidence[bins == b].sum() - right[bins == b].sum()) for b in set(bins.tolist())) / len(y)
    model = metrics["test"]["model"]
    assert model["ece_plain"]["value"] == pytest.approx(plain, abs=1e-9)
    assert model["ece"]["value"] <= plain
    assert metrics["test"]["confusion"] == sk.confusion_matrix(y, p.argmax(axis=1), labels=range(len(labels))).tolist()


def test_the_debiased_calibration_error(written) -> None:
    from scipy.optimize import brentq
    from scipy.stats import foldnorm

    metrics, frame, labels = written
    y = np.asarray([labels.index(one) for one in frame["label"]])
    group = frame["group"].to_numpy()
    for name, prefix in (("ece", "p"), ("ece_uncalibrated", "raw")):
        confidence = _columns(frame, prefix, labels).max(axis=1)
        right = (_columns(frame, prefix, labels).argmax(axis=1) == y).astype(float)
        bins = (confidence[:, None] > confidence[None, :]).sum(axis=1) * 15 // len(y)
        kinds = sorted(set(bins.tolist()))
        size = np.asarray([(bins == b).sum() for b in kinds])
        stated = np.asarray([confidence[bins == b].mean() for b in kinds])
        share = np.asarray([right[bins == b].mean() for b in kinds])
        of = np.searchsorted(kinds, bins)
        pairs = (group[:, None] == group[None, :]) & ~np.eye(len(y), dtype=bool)
        off, spread = right - share[of], np.sqrt(share * (1 - share))[of]
        alike = np.clip(off @ pairs @ off / (spread @ pairs @ spread), 0, 1)
        within = np.asarray([pairs[np.ix_(bins == b, bins == b)].sum() for b in kinds])

        def gap(scale, size=size, stated=stated, share=share, alike=alike, within=within) -> float:
            true = stated - scale * (stated - share)
            error = np.sqrt(true * (1 - true) * (1 + alike * within / size) / size)
            distance = np.abs(stated - true)
            known = error > 1e-12
            mean = distance.copy()
            mean[known] = foldnorm.mean(distance[known] / error[known], scale=error[known])
            return float(((mean - np.abs(stated - share)) * size).sum() / size.sum())

        plain = float((np.abs(stated - share) * size).sum() / size.sum())
        expected = 0.0 if gap(0.0) >= 0 else brentq(gap, 0, 1, xtol=1e-14) * plain
        assert metrics["test"]["model"][name]["value"] == pytest.approx(expected, abs=1e-9)


def test_no_interval_is_without_width_and_each_holds_its_value(written) -> None:
    def walk(part):
        if isinstance(part, dict):
            if "low" in part and "value" in part:
                yield part
            for inner in part.values():
                yield from walk(inner)

    found = list(walk(written[0]["test"]))
    assert len(found) > 100
    for one in found:
        assert one["method"]
        if one["low"] is None:
            assert one["high"] is None
            assert "no interval" in one["method"] or "not defined" in one["method"]
        else:
            assert one["low"] < one["high"]
