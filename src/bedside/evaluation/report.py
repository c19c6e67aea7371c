"""``report.html``: the figures of ``metrics.json`` as a page. No figure here is computed a second time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OVERALL = {
    "macro_f1": "Macro-F1",
    "accuracy": "Accuracy",
    "auroc": "AUROC, mean over labels",
    "ece": "Calibration error (ECE)",
}


def with_interval(figure: Mapping[str, Any] | None) -> str:
    """``0.951 (0.910–0.980)``."""
    if figure is None or figure["value"] is None:
        return "not defined"
    if figure["low"] is None:
        return f"{figure['value']:.3f}"
    return f"{figure['value']:.3f} ({figure['low']:.3f}–{figure['high']:.3f})"


def summary_rows(metrics: Mapping[str, Any]) -> list[list[str]]:
    """Figure, model, baseline, majority: the table that the page and the terminal show."""
    test = metrics["test"]
    names = {**OVERALL, f"top_{metrics['top_k']}": f"Among the first {metrics['top_k']}"}
    return [
        [title, *(with_interval(test[who].get(name)) for who in ("model", "baseline", "majority"))]
        for name, title in names.items()
    ]


def verdict(metrics: Mapping[str, Any]) -> str:
    """Model against baseline in one sentence."""
    difference = metrics["test"]["difference"]
    figure = difference["macro_f1"]
    p = difference["mcnemar"]["p"]
    interval = f"{figure['value']:+.3f} ({figure['low']:+.3f} to {figure['high']:+.3f}); McNemar p = {p:.2g}"
    words = {
        "better": "The model is better than the baseline",
        "worse": "The model is worse than the baseline: use the baseline",
    }
    said = words.get(difference["verdict"], "No difference between model and baseline was shown")
    return f"{said}: macro-F1 {interval}."


def page(metrics: Mapping[str, Any], facts: Mapping[str, str]) -> str:
    """The report as one HTML page."""
    from bedside import reporting as r

    test, labels = metrics["test"], metrics["labels"]
    notice = "SYNTHETIC DATA: these figures say nothing about patients." if "synthetic" in facts else ""
    sheet = r.Page(
        f"Evaluation: {facts['study']}", f"{facts['source']}, look {facts['look']} of the test split", notice
    )
    size = f"{test['n']:,} test cases in {test['clusters']:,} clusters of patients and near-duplicates"
    percent = f"{metrics['confidence']:.0%}"
    sheet.section(
        "Result",
        r.table(
            ["", "model", "TF-IDF + logistic regression", "majority"],
            summary_rows(metrics),
            caption=f"{size}; in brackets the {percent} interval.",
        ),
        r.paragraph(verdict(metrics)),
        r.verdicts(_checks(metrics)),
    )
    sheet.section("Calibration", r.reliability(_curves(metrics), "Stated confidence (across) and share right (up)"))
    shown = ("sensitivity", "specificity", "ppv", "npv", "auroc")
    rows = [
        [label, one["cases"], *(with_interval(one[name]) for name in shown), "too few to say" if one["too_few"] else ""]
        for label, one in test["model"]["per_label"].items()
    ]
    sheet.section(
        "Each label",
        r.table(
            ["label", "cases", *shown, ""],
            rows,
            caption="Of the model, on the test split; fewer than 10 cases are too few to say.",
        ),
    )
    sheet.section(
        "Confusion",
        r.table(["true", "called", "cases"], _confused(test["confusion"], labels), caption="The commonest confusions."),
        r.matrix(labels, test["confusion"], "Rows are true, columns predicted, in the same order"),
    )
    sheet.section("What was run", r.facts([*facts.items()]))
    html: str = sheet.html()
    return html


def _curves(metrics: Mapping[str, Any]) -> list[tuple[str, list[tuple[float, float, int]]]]:
    bins = metrics["calibration"]["bins"]
    return [
        (f"{name} temperature scaling", [(one[0], one[1], one[2]) for one in bins[name]])
        for name in ("before", "after")
    ]


def _confused(counts: list[list[int]], labels: list[str]) -> list[list[Any]]:
    pairs: list[list[Any]] = [
        [labels[row], labels[column], value]
        for row, values in enumerate(counts)
        for column, value in enumerate(values)
        if row != column and value
    ]
    return sorted(pairs, key=lambda pair: -pair[2])[:12]


def _checks(metrics: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Gates and warnings in words."""
    error, perfect = metrics["test"]["model"]["ece"]["value"], metrics["calibration"]["ece_if_perfect"]["high"]
    calibrated = error <= max(0.05, perfect)
    held = metrics["abstention"]
    certificate = held["certificate"]
    if certificate["threshold"] is None:
        answer = ("WARN", "Answers", "No threshold could be certified, so every answer is marked low_confidence.")
    else:
        answer = (
            "INFO",
            "Answers",
            f"From a top probability of {certificate['threshold']:.2f} on, at most {certificate['max_error']:.0%} wrong is "
            f"certified at {certificate['confidence']:.0%}; on the test split {held['answered']:,} of {held['of']:,} are "
            f"answered, {held['errors']:,} of them wrongly.",
        )
    rows = [
        (
            "PASS" if calibrated else "WARN",
            "Calibration",
            f"ECE {error:.3f}; a perfectly calibrated model would show up to {perfect:.3f} at this number of cases.",
        ),
        answer,
    ]
    ceiling = metrics["ceiling"]
    if ceiling is not None and ceiling < 1:
        rows.append(
            (
                "WARN",
                "Contradictions",
                f"Equal texts under different labels allow an accuracy of at most {ceiling:.1%}.",
            )
        )
    return rows
