"""``report.html``: the figures of ``metrics.json`` as a page. No figure here is computed a second time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bedside.evaluation import several_report

OVERALL = {
    "macro_f1": "Macro-F1",
    "accuracy": "Accuracy",
    "auroc": "AUROC, mean over labels",
    "ece": "Calibration error (ECE), debiased",
}
_MORE = {
    "weighted_f1": "Weighted F1",
    "micro_f1": "Micro F1",
    "auprc": "AUPRC, mean over labels",
    "brier": "Brier score",
    "ece_uncalibrated": "ECE, debiased, before calibration",
    "ece_plain": "ECE, plain",
    "calibration_slope": "Calibration slope",
    "calibration_intercept": "Calibration intercept",
}
_PER_LABEL = {
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "ppv": "PPV",
    "npv": "NPV",
    "f1": "F1",
    "auroc": "AUROC",
    "auprc": "AUPRC",
}
_GATE = 0.05
_COMMONEST = 12
TOO_FEW = "too few to say"
_UNBROKEN = TOO_FEW.replace(" ", "\N{NO-BREAK SPACE}")


def with_interval(figure: Mapping[str, Any] | None) -> str:
    """``0.951 (0.910–0.980)``; a figure without an interval says so."""
    if figure is None or figure["value"] is None:
        return "not defined"
    if figure["low"] is None or figure["high"] is None:
        return f"{figure['value']:.3f} (no interval)"
    return f"{figure['value']:.3f} ({_range(figure)})"


def _range(figure: Mapping[str, Any]) -> str:
    """The ends of an interval; a minus sign would be lost beside a dash."""
    between = " to " if figure["low"] < 0 else "–"
    return f"{figure['low']:.3f}{between}{figure['high']:.3f}"


def summary_rows(metrics: Mapping[str, Any]) -> list[list[str]]:
    """Figure, model, baseline, majority: the table that the page and the terminal show."""
    if metrics.get("several"):
        return beside(metrics, several_report.names(metrics, full=False))
    names = {**OVERALL, f"top_{metrics['top_k']}": f"Among the first {metrics['top_k']}"}
    return beside(metrics, names)


def beside(metrics: Mapping[str, Any], names: Mapping[str, str]) -> list[list[str]]:
    """Each figure of the model, and the same of both baselines, with their intervals."""
    test = metrics["test"]
    return [
        [
            f"{title}, {TOO_FEW}" if test["model"][name].get("too_few") else title,
            *(with_interval(test[who].get(name)) for who in ("model", "baseline", "majority")),
        ]
        for name, title in names.items()
        if name in test["model"]
    ]


def verdict(metrics: Mapping[str, Any]) -> str:
    """Model against baseline in one sentence."""
    if metrics.get("several"):
        return several_report.verdict(metrics)
    difference = metrics["test"]["difference"]
    figure = difference["macro_f1"]
    p = difference["mcnemar"]["p"]
    if figure["low"] is None:
        interval = f"{figure['value']:+.3f} ({figure['method']})"
    else:
        interval = f"{figure['value']:+.3f} ({figure['low']:+.3f} to {figure['high']:+.3f})"
    words = {
        "better": "The model is better than the baseline",
        "worse": "The model is worse than the baseline: use the baseline",
    }
    said = words.get(difference["verdict"], "No difference between model and baseline was shown")
    return f"{said}: macro-F1 {interval}; McNemar p = {p:.2g}."


def leak(metrics: Mapping[str, Any]) -> str:
    """The baseline's score on a split of rows at random beside the honest one, in words."""
    if metrics.get("several"):
        return several_report.leak(metrics)
    naive, honest = metrics["naive"], metrics["test"]["baseline"]["macro_f1"]
    return (
        f"On rows divided at random, {naive['shared']:.0%} of the test rows have a near-duplicate or another note of "
        f"the same patient among the training rows, and TF-IDF + logistic regression shows a macro-F1 of "
        f"{with_interval(naive['macro_f1'])}; divided without such leaks it shows {with_interval(honest)}."
    )


def varied(augmentation: Mapping[str, Any]) -> str:
    """What varied copies of the training cases were made, what they look like to a model, and whether they helped."""
    kept = augmentation["label_preserved"]["all"]
    discarded = sum(sum(one["discarded"].values()) for one in augmentation["methods"].values())
    said = (
        f"{augmentation['copies']:,} varied copies ({', '.join(augmentation['methods'])}) stood beside "
        f"{augmentation['cases']:,} training cases; {discarded:,} more were discarded, as a fact or a label changed."
    )
    if kept is not None:
        said += (
            f" Of {kept['n']:,} texts that it did not learn from, varied alike, a share of {with_interval(kept)} kept "
            f"the label that {augmentation['judged_by']} gave to their origin."
        )
    if "comparison" not in augmentation:
        return f"{said} Whether they helped was not measured (augment.compare)."
    found = augmentation["comparison"]
    words = {"better": "They helped", "worse": "They did harm: leave them out"}
    verdict = words.get(found["difference"]["verdict"], "That they helped was not shown")
    figure = found["difference"]["macro_f1"]
    change = "" if figure["value"] is None else f"{figure['value']:+.3f}"
    if figure["low"] is not None:
        change += f" ({figure['low']:+.3f} to {figure['high']:+.3f})"
    return (
        f"{said} {verdict}: macro-F1 {found['with']['macro_f1']:.3f} with them and "
        f"{found['without']['macro_f1']:.3f} without, difference {change}, McNemar p = "
        f"{found['difference']['mcnemar']['p']:.2g}, on {found['n']:,} {' and '.join(found['splits'])} cases."
    )


def page(metrics: Mapping[str, Any], facts: Mapping[str, str], trained: Path | None = None) -> str:
    """The report as one HTML page; with the run's folder, also how it was trained."""
    if metrics.get("several"):
        return several_report.page(metrics, facts, trained)
    from bedside import reporting as r
    from bedside.evaluation.answering_report import when_it_answers
    from bedside.evaluation.subgroups_report import groups
    from bedside.evaluation.usefulness_report import worth

    notice = "SYNTHETIC DATA: these figures say nothing about patients." if "synthetic" in facts else ""
    sheet = r.Page(
        f"Evaluation: {facts['study']}", f"{facts['source']}, look {facts['look']} of the test split", notice
    )
    _result(sheet, metrics)
    if "naive" in metrics:
        sheet.section("What a split of rows would have said", r.paragraph(leak(metrics)))
    if "augmentation" in metrics:
        sheet.section("Varied copies of the training cases", r.paragraph(varied(metrics["augmentation"])))
    _calibration(sheet, metrics)
    when_it_answers(sheet, metrics)
    _each_label(sheet, metrics)
    worth(sheet, metrics)
    groups(sheet, metrics)
    _confusion(sheet, metrics)
    training(sheet, trained, metrics.get("seeds"))
    sheet.section("How the figures were made", r.facts(_methods(metrics)))
    sheet.section("What was run", r.facts([*facts.items()]))
    html: str = sheet.html()
    return html


def by_chance(seeds: Mapping[str, Any]) -> str:
    """How far the seed alone moves the figure on the test split."""
    name = seeds["measure"].replace("_", " ").replace("macro f1", "macro-F1")
    values = ", ".join(f"{value:.3f}" for value in seeds["values"])
    return (
        f"Trained from {len(seeds['values'])} seeds, the {name} on the test split is {values}: mean "
        f"{seeds['mean']:.3f}, standard deviation {seeds['standard_deviation']:.3f}. The first is the model of this "
        "report; none was chosen by its figure."
    )


def training(sheet: Any, trained: Path | None, seeds: Mapping[str, Any] | None) -> None:
    """The curves of the training, where the run left any, and how other seeds fared."""
    from bedside import reporting as r
    from bedside.training.curves import how_it_was_trained

    blocks = how_it_was_trained(trained) if trained else []
    if seeds:
        blocks.append(r.paragraph(by_chance(seeds)))
    if blocks:
        sheet.section("How it was trained", *blocks)


def _result(sheet: Any, metrics: Mapping[str, Any]) -> None:
    """The verdict, the figures that carry it with their gates, and the baselines beside them."""
    from bedside import reporting as r

    test = metrics["test"]
    percent = f"{metrics['confidence']:.0%}"
    size = f"{test['n']:,} test cases in {test['clusters']:,} clusters of patients and near-duplicates"
    sheet.section(
        "Result",
        r.paragraph(verdict(metrics)),
        r.table(
            ["figure", "value", f"{percent} interval", "N", "gate"],
            _gated(metrics),
            caption=f"{size}. {rule()}",
        ),
        r.verdicts(_checks(metrics)),
    )
    names = {**OVERALL, f"top_{metrics['top_k']}": f"Among the first {metrics['top_k']}", **_MORE}
    sheet.section(
        "Beside the baselines",
        r.table(
            ["figure", "model", "TF-IDF + logistic regression", "majority"],
            beside(metrics, names),
            caption=f"On the same cases; in brackets the {percent} interval.",
        ),
    )


def rule() -> str:
    """When figures are too few to say anything."""
    from bedside.evaluation.figures import FEW_CASES, FEW_EVENTS

    return f"Under {FEW_CASES} cases or {FEW_EVENTS} events are too few to say."


def _gated(metrics: Mapping[str, Any]) -> list[list[Any]]:
    """Figure, value, interval, N and gate."""
    from bedside.reporting import Status

    test, model = metrics["test"], metrics["test"]["model"]
    top = f"top_{metrics['top_k']}"
    gates = {
        "macro_f1": _against(test["difference"]["verdict"]),
        "ece": Status("PASS" if _calibrated(metrics) else "WARN", f"at most {_allowed(metrics):.3f}"),
        "calibration_slope": _covers(model.get("calibration_slope"), 1),
        "calibration_intercept": _covers(model.get("calibration_intercept"), 0),
    }
    names = {**OVERALL, top: f"Among the first {metrics['top_k']}", **_MORE}
    rows: list[list[Any]] = []
    positive = metrics["positive"]
    if positive is not None:
        entry = model["per_label"][positive]
        rows += [
            _row(f"{title[:1].upper()}{title[1:]} for {positive}", entry[name], None)
            for name, title in _PER_LABEL.items()
        ]
    shown = ["macro_f1", "accuracy", top, "auroc", "brier", "ece", "calibration_slope", "calibration_intercept"]
    return rows + [_row(names[name], model[name], gates.get(name)) for name in shown if name in model]


def _row(title: str, figure: Mapping[str, Any], gate: Any) -> list[Any]:
    from bedside.reporting import Status

    if figure["value"] is None:
        interval = None
    elif figure["low"] is None:
        interval = figure["method"]
    else:
        interval = _range(figure)
    told = Status("WARN", TOO_FEW) if figure.get("too_few") else gate
    return [title, figure["value"], interval, figure["n"], told]


def _against(said: str) -> Any:
    from bedside.reporting import Status

    return {
        "better": Status("PASS", "better than the baseline"),
        "worse": Status("FAIL", "worse than the baseline"),
    }.get(said, Status("WARN", "not shown to be better than the baseline"))


def _covers(figure: Mapping[str, Any] | None, ideal: float) -> Any:
    from bedside.reporting import Status

    if figure is None or figure["low"] is None:
        return None
    inside = figure["low"] <= ideal <= figure["high"]
    return Status("PASS" if inside else "WARN", f"the interval {'covers' if inside else 'leaves out'} {ideal:g}")


def _allowed(metrics: Mapping[str, Any]) -> float:
    """The greatest calibration error that passes."""
    return max(_GATE, float(metrics["calibration"]["ece_if_perfect"]["high"]))


def _calibrated(metrics: Mapping[str, Any]) -> bool:
    return bool(metrics["test"]["model"]["ece"]["value"] <= _allowed(metrics))


def _calibration(sheet: Any, metrics: Mapping[str, Any]) -> None:
    """The reliability diagram and the distribution of probabilities."""
    from bedside import reporting as r

    spread, bins = metrics["distribution"], metrics["calibration"]["bins"]
    series = [
        (
            f"{name} calibration",
            [r.Bin(one["confidence"], one["right"], one["low"], one["high"], one["n"]) for one in bins[name]],
        )
        for name in ("before", "after")
    ]
    positive = metrics["positive"]
    kinds = (f"{positive}", f"not {positive}") if positive is not None else ("right", "wrong")
    across = f"probability of {positive}" if positive is not None else "probability of the first label"
    sheet.section(
        "Calibration",
        r.reliability(
            series,
            spread["edges"],
            spread["confidence"],
            "How often the first label was right, by the confidence stated; on the broken line both are equal. Bars "
            "are intervals; below, how many cases got which confidence.",
        ),
        r.histogram(
            spread["edges"],
            [(kinds[0], spread["happened"]), (kinds[1], spread["did_not"])],
            "The distribution of probabilities.",
            across,
        ),
    )


def _each_label(sheet: Any, metrics: Mapping[str, Any]) -> None:
    """Per-label figures: the positive label first, then the weakest."""
    from bedside import reporting as r

    def order(item: tuple[str, Any]) -> tuple[bool, float, int, str]:
        label, one = item
        found = one["sensitivity"]["value"]
        return label != metrics["positive"], found if found is not None else 2.0, -one["cases"], label

    shown = ("sensitivity", "specificity", "ppv", "npv", "auroc")
    rows = [
        [label, one["cases"], *(with_interval(one[name]) for name in shown), _UNBROKEN if one["too_few"] else ""]
        for label, one in sorted(metrics["test"]["model"]["per_label"].items(), key=order)
    ]
    sheet.section(
        "Each label",
        r.table(
            ["label", "cases", *(_PER_LABEL[name] for name in shown), ""],
            rows,
            caption=f"Of the model, on the test split, the lowest sensitivity first. {rule()}",
        ),
    )


def _confusion(sheet: Any, metrics: Mapping[str, Any]) -> None:
    from bedside import reporting as r

    counts, labels = metrics["test"]["confusion"], metrics["labels"]
    pairs = _confused(counts, labels)
    commonest = (
        r.table(["true", "called", "cases", "of the true label"], pairs, caption="The commonest confusions.")
        if pairs
        else r.paragraph("No case was called by another label than its own.")
    )
    sheet.section(
        "Confusion",
        commonest,
        r.matrix(
            labels, counts, "Rows are true labels, columns what they were called; the shade is the share of the row."
        ),
    )


def _confused(counts: list[list[int]], labels: list[str]) -> list[list[Any]]:
    pairs: list[list[Any]] = [
        [labels[row], labels[column], value, f"{value / sum(values):.0%}"]
        for row, values in enumerate(counts)
        for column, value in enumerate(values)
        if row != column and value
    ]
    return sorted(pairs, key=lambda pair: -pair[2])[:_COMMONEST]


def _methods(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """For each overall figure of the model, how its interval was made, or why there is none."""
    model = metrics["test"]["model"]
    names = {**OVERALL, f"top_{metrics['top_k']}": f"Among the first {metrics['top_k']}", **_MORE}
    return [(title, model[name]["method"]) for name, title in names.items() if name in model]


def _checks(metrics: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Gates and warnings in words."""
    figure, perfect = metrics["test"]["model"]["ece"], metrics["calibration"]["ece_if_perfect"]["high"]
    few = f" {figure['events']:,} wrong answers are {TOO_FEW}." if figure.get("too_few") else ""
    rows = [
        (
            "PASS" if _calibrated(metrics) and not few else "WARN",
            "Calibration",
            f"Debiased ECE {figure['value']:.3f}; a perfectly calibrated model would show up to {perfect:.3f} at this "
            f"number of cases.{few}",
        ),
        _answers(metrics["abstention"]),
    ]
    ceiling = metrics["ceiling"]
    if ceiling is not None and ceiling < 1:
        said = f"Equal texts under different labels allow an accuracy of at most {ceiling:.1%}."
        rows.append(("WARN", "Contradictions", said))
    return rows


def _uncertified(certificate: Mapping[str, Any]) -> str:
    """That no threshold could be certified, and about how many cases would do."""
    from bedside.evaluation.abstention import least_cases

    bound, cases = certificate["max_error"], certificate["cases"]
    least = least_cases(bound, certificate["confidence"])
    said = f"No threshold could be certified for at most {bound:.0%} wrong, so every answer is marked low_confidence. "
    if cases < least:
        return f"{said}{cases:,} calibration cases are there; {least:,} without an error would do."
    more = certificate.get("would_do")
    if more is None:
        return f"{said}The model errs too often even where it is surest, whatever the number of cases."
    return f"{said}{cases:,} calibration cases are there; at the errors seen, about {more:,} would do."


def _answers(held: Mapping[str, Any]) -> tuple[str, str, str]:
    """What the certified threshold does."""
    certificate = held["certificate"]
    if certificate["threshold"] is None:
        return "WARN", "Answers", _uncertified(certificate)
    interval = f" (error {with_interval(held['error'])})" if "error" in held else ""
    return (
        "INFO",
        "Answers",
        f"From a top probability of {certificate['threshold']:.2f} on, at most {certificate['max_error']:.0%} wrong is "
        f"certified at {certificate['confidence']:.0%}; on the test split {held['answered']:,} of {held['of']:,} are "
        f"answered, {held['errors']:,} of them wrongly{interval}.",
    )
