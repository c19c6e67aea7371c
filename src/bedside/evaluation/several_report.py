"""``report.html`` where a case may have several labels: the whole first, then the labels that need a look, then all.

No figure here is computed a second time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import quantiles
from typing import Any

_SUMMARY = {
    "macro_f1": "Macro-F1",
    "micro_f1": "Micro-F1",
    "auprc": "Average precision, mean over labels",
    "auroc": "AUROC, mean over labels",
    "ece": "Calibration error (ECE), debiased",
}
_MORE = {
    "subset_accuracy": "Cases with every label right",
    "hamming_loss": "Wrong decisions (Hamming loss)",
    "jaccard": "Jaccard index, mean over cases",
    "brier": "Brier score, mean over labels",
    "ece_uncalibrated": "ECE, debiased, before calibration",
    "ece_plain": "ECE, plain",
    "calibration_slope": "Calibration slope",
    "calibration_intercept": "Calibration intercept",
}
_PER_LABEL = {"sensitivity": "sensitivity", "ppv": "PPV", "f1": "F1", "auroc": "AUROC", "auprc": "average precision"}
_IN_FULL = {"specificity": "specificity", "npv": "NPV", "brier": "Brier score"}
_WEAKEST = 12
_GATE = 0.05


def names(metrics: Mapping[str, Any], *, full: bool) -> dict[str, str]:
    """The overall figures that are shown, with their titles."""
    k = metrics["top_k"]
    first = {
        f"precision_at_{k}": f"Precision among the first {k}",
        f"recall_at_{k}": f"Recall among the first {k}",
    }
    return {**_SUMMARY, **first, **_MORE} if full else {**_SUMMARY, f"recall_at_{k}": first[f"recall_at_{k}"]}


def verdict(metrics: Mapping[str, Any]) -> str:
    """Model against baseline in one sentence."""
    difference = metrics["test"]["difference"]
    words = {
        "better": "The model is better than the baseline",
        "worse": "The model is worse than the baseline: use the baseline",
    }
    said = words.get(difference["verdict"], "No difference between model and baseline was shown")
    macro, precision = (_signed(difference[name]) for name in ("macro_f1", "auprc"))
    return f"{said}: macro-F1 {macro}; mean average precision {precision}."


def _signed(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None or figure["low"] is None:
        return f"{figure['value']:+.3f} ({figure['method']})" if figure["value"] is not None else "not defined"
    return f"{figure['value']:+.3f} ({figure['low']:+.3f} to {figure['high']:+.3f})"


def leak(metrics: Mapping[str, Any]) -> str:
    """The baseline's score on a split of rows at random beside the honest one, in words."""
    from bedside.evaluation.report import with_interval

    naive, honest = metrics["naive"], metrics["test"]["baseline"]["auprc"]
    return (
        f"On rows divided at random, {naive['shared']:.0%} of the test rows have a near-duplicate or another note of "
        f"the same patient among the training rows, and TF-IDF + logistic regression shows a mean average precision of "
        f"{with_interval(naive['auprc'])}; divided without such leaks it shows {with_interval(honest)}."
    )


def promise(metrics: Mapping[str, Any]) -> str:
    """What is promised of yes and no, and what came of it on the test split."""
    held = metrics["abstention"]
    certificate, labels = held["certificate"], len(metrics["labels"])
    bound = f"at most {certificate['max_error']:.0%}"
    return (
        f"Of each label on its own: where the answer is yes, {bound} are wrong, and where it is no, {bound}, each "
        f"certified at {certificate['confidence']:.0%} on the "
        f"calibration split; of so many statements a few may fail. Yes was certified for {held['labels_with_yes']} of "
        f"{labels} labels, no for {held['labels_with_no']}. On the test split {_came(held['yes'], 'yes')}; "
        f"{_came(held['no'], 'no')}; {held['unsure']:,} of {held['of']:,} decisions were left open, and "
        f"{held['notes_without_unsure']:,} of {held['notes']:,} notes have none open. Of a rare label a no says "
        "little, since hardly any case has it: its sensitivity says what is missed."
    )


def _came(held: Mapping[str, Any], word: str) -> str:
    from bedside.evaluation.report import with_interval

    if not held["answered"]:
        return f"nothing was answered {word}"
    over = held["labels_over"]
    return (
        f"{held['answered']:,} decisions were {word}, {held['errors']:,} of them wrongly "
        f"({with_interval(held['error'])}; over the bound in {over['over']} of {over['labels']} labels)"
    )


def page(metrics: Mapping[str, Any], facts: Mapping[str, str], trained: Path | None = None) -> str:
    """The report as one HTML page; with the run's folder, also how it was trained."""
    from bedside import reporting as r
    from bedside.evaluation.answering_report import not_to_be_missed
    from bedside.evaluation.report import training
    from bedside.evaluation.subgroups_report import groups
    from bedside.evaluation.usefulness_report import worth

    notice = "SYNTHETIC DATA: these figures say nothing about patients." if "synthetic" in facts else ""
    sheet = r.Page(
        f"Evaluation: {facts['study']}", f"{facts['source']}, look {facts['look']} of the test split", notice
    )
    _result(sheet, metrics)
    if "naive" in metrics:
        sheet.section("What a split of rows would have said", r.paragraph(leak(metrics)))
    raised = metrics["abstention"].get("cant_miss")
    sheet.section("Answers", r.paragraph(promise(metrics)), *(not_to_be_missed(raised) if raised else []))
    _calibration(sheet, metrics)
    _labels(sheet, metrics)
    worth(sheet, metrics)
    groups(sheet, metrics)
    training(sheet, trained, metrics.get("seeds"))
    model = metrics["test"]["model"]
    methods = [(title, model[name]["method"]) for name, title in names(metrics, full=True).items()]
    sheet.section("How the figures were made", r.facts(methods))
    sheet.section("What was run", r.facts([*facts.items()]))
    html: str = sheet.html()
    return html


def _result(sheet: Any, metrics: Mapping[str, Any]) -> None:
    """The verdict and every overall figure beside the baselines'."""
    from bedside import reporting as r
    from bedside.evaluation.report import beside

    test, percent = metrics["test"], f"{metrics['confidence']:.0%}"
    size = (
        f"{test['n']:,} test cases in {test['clusters']:,} clusters of patients and near-duplicates, "
        f"{len(metrics['labels'])} labels, {test['labels_of_a_case']:.1f} of a case on average; in brackets the "
        f"{percent} interval. Each label is called from its own threshold on, chosen on the calibration split."
    )
    figure, perfect = test["model"]["ece"], metrics["calibration"]["ece_if_perfect"]["high"]
    allowed = max(_GATE, perfect)
    sheet.section(
        "Result",
        r.paragraph(verdict(metrics)),
        r.table(
            ["figure", "model", "TF-IDF + logistic regression", "prevalence"],
            beside(metrics, names(metrics, full=True)),
            caption=size,
        ),
        r.verdicts(
            [
                (
                    "PASS" if figure["value"] <= allowed else "WARN",
                    "Calibration",
                    f"Debiased ECE over all decisions {figure['value']:.4f}; a perfectly calibrated model would show "
                    f"up to {perfect:.4f}. Most decisions are about labels that hardly any case has, so that it is "
                    "small in any model: the diagram below shows the others.",
                )
            ]
        ),
    )


def _calibration(sheet: Any, metrics: Mapping[str, Any]) -> None:
    from bedside import reporting as r

    spread, bins = metrics["distribution"], metrics["calibration"]["bins"]
    series = [
        (
            f"{name} calibration",
            [r.Bin(one["confidence"], one["right"], one["low"], one["high"], one["n"]) for one in bins[name]],
        )
        for name in ("before", "after")
    ]
    sheet.section(
        "Calibration",
        r.reliability(
            series,
            spread["edges"],
            spread["confidence"],
            "How often a case has a label, by the probability stated, over all decisions; on the broken line both are "
            "equal. Bars are intervals; below, how many decisions got which probability.",
        ),
    )


def _labels(sheet: Any, metrics: Mapping[str, Any]) -> None:
    """How the labels' figures spread, the weakest labels, and a table of all that is opened on demand."""
    from bedside import reporting as r
    from bedside.evaluation.report import rule

    each: Mapping[str, Any] = metrics["test"]["model"]["per_label"]
    known = [label for label in each if not each[label]["too_few"]]
    weakest = sorted(known, key=lambda label: (each[label]["auprc"]["value"], label))[:_WEAKEST]
    parts = [
        r.table(
            ["figure", "lowest", "a quarter under", "half under", "three quarters under", "highest"],
            [[title, *_spread([each[label][name]["value"] for label in known])] for name, title in _PER_LABEL.items()],
            caption=f"Over the {len(known)} of {len(each)} labels with enough test cases. {rule()}",
        )
    ]
    header = ["label", "cases", *_PER_LABEL.values()]
    if len(known) > _WEAKEST:
        rows = [_row(label, each[label], _PER_LABEL) for label in weakest]
        parts.append(r.table(header, rows, caption="The weakest labels, the lowest average precision first."))
    commonest = sorted(each, key=lambda label: (-each[label]["cases"], label))
    answered = metrics["abstention"]["per_label"]
    rows = [[*_row(label, each[label], {**_PER_LABEL, **_IN_FULL}), *_said(answered[label])] for label in commonest]
    last = ["called from", "yes from", "yes, wrong", "no to", "no, wrong", "open"]
    every = r.table([*header, *_IN_FULL.values(), *last], rows, caption="Of the model, the commonest label first.")
    parts.append(r.details(f"All {len(each)} labels", every))
    sheet.section("The labels", *parts)


def _row(label: str, entry: Mapping[str, Any], shown: Mapping[str, str]) -> list[Any]:
    from bedside.evaluation.report import TOO_FEW, with_interval

    cases = f"{entry['cases']:,}, {TOO_FEW}" if entry["too_few"] else entry["cases"]
    return [label, cases, *(with_interval(entry[name]) for name in shown)]


def _said(entry: Mapping[str, Any]) -> list[str]:
    """Thresholds of a label, and what came of them on the test split."""

    def bound(value: float | None) -> str:
        return "not certified" if value is None else f"{value:.3f}"

    return [
        f"{entry['threshold']:.3f}",
        bound(entry["yes_from"]),
        f"{entry['yes']:,}, {entry['yes_wrong']:,}",
        bound(entry["no_to"]),
        f"{entry['no']:,}, {entry['no_wrong']:,}",
        f"{entry['unsure']:,}",
    ]


def _spread(values: Sequence[float | None]) -> list[str]:
    held = sorted(value for value in values if value is not None)
    if len(held) < 2:
        return [f"{held[0]:.3f}" if held else "not defined", "", "", "", ""]
    return [f"{value:.3f}" for value in (held[0], *quantiles(held, n=4, method="inclusive"), held[-1])]
