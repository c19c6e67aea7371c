"""The part of the report on when the model answers: risk and coverage, prediction sets, labels not to be missed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def when_it_answers(sheet: Any, metrics: Mapping[str, Any]) -> None:
    """The risk–coverage curve, what the prediction sets hold, and the can't-miss labels."""
    from bedside import reporting as r
    from bedside.evaluation.report import with_interval

    held = metrics["abstention"]
    blocks: list[str] = []
    if "tightest_bound" in held:
        rule = held["certificate"]
        blocks.append(
            r.paragraph(
                f"With {rule['cases']:,} independent calibration cases the tightest bound that any model could be "
                f"certified for at {rule['confidence']:.0%} is {held['tightest_bound']:.2%} wrong, answering all of "
                "them without an error."
            )
        )
    if "selective" in held:
        blocks += [r.paragraph(risk(held["selective"])), _curve(held["selective"])]
    if "sets" in held:
        sets = held["sets"]
        blocks.append(r.paragraph(promised(sets)))
        blocks.append(
            r.table(
                ["prediction sets", "value"],
                [
                    ["hold the true label", with_interval(sets["coverage"])],
                    ["hold it without the likeliest label being added", with_interval(sets["conforming"])],
                    ["labels in a set, mean", sets["mean_size"]],
                    ["labels in the largest set", sets["largest"]],
                    ["sets of one label", with_interval(sets["one_label"])],
                ],
                caption=f"On the test split, N = {sets['coverage']['n']:,}.",
            )
        )
    if "cant_miss" in held:
        blocks += not_to_be_missed(held["cant_miss"])
    if blocks:
        sheet.section("When it answers", *blocks)


def risk(selective: Mapping[str, Any]) -> str:
    """The errors among the surest cases beside those of all, in words."""
    from bedside.evaluation.report import TOO_FEW, with_interval

    every, at, fall = (selective[name] for name in ("error_at_all", "error_at_coverage", "fall"))
    few = f" With {every['events']:,} wrong answers that is {TOO_FEW}." if every["too_few"] else ""
    less = "" if fall["value"] is None else f", {fall['value']:.0%} less"
    return (
        f"Where every case is answered, a share of {with_interval(every)} is wrong; where only the surest "
        f"{selective['coverage']:.0%} are, {with_interval(at)}{less}. The area under the risk–coverage curve is "
        f"{with_interval(selective['aurc'])}; 0 is best.{few}"
    )


def _curve(selective: Mapping[str, Any]) -> str:
    from bedside import reporting as r

    points = [(100 * one["coverage"], 100 * one["error"]) for one in selective["curve"]]
    title = "The share that is wrong, where only the surest cases are answered."
    rows = [[f"{across:.0f} %", f"{up:.1f} %"] for across, up in points]
    numbers = r.table(["cases answered", "of them wrong"], rows, caption=title)
    return r.lines([r.Curve("wrong", points)], title, "cases answered, %", "wrong among them, %", numbers)


def promised(sets: Mapping[str, Any]) -> str:
    """What the prediction sets promise, and of which labels alone."""
    own = sets["own_limits"]
    alone = (
        "of all cases together, not of each label: no label has enough calibration cases for a promise of its own"
        if not own
        else f"of each of these labels on its own: {', '.join(own)}; of all other labels together"
    )
    return (
        f"Each answer carries a set of labels that holds the true one in {sets['promised']:.0%} of cases "
        f"(split-conformal). The promise is {alone}. No set is empty, so the coverage may be higher."
    )


def not_to_be_missed(found: Mapping[str, Any]) -> list[str]:
    """A table of the labels that must not be missed."""
    from bedside import reporting as r
    from bedside.evaluation.report import with_interval

    rows, refused = [], []
    for label, one in found["labels"].items():
        if one["threshold"] is None:
            rows.append([label, "not certified", one["calibration_cases"], None, None])
            refused.append(one["refused"])
            continue
        alarms = one["false_alarms_per_100"]
        rows.append(
            [
                label,
                f"from {one['threshold']:.3g}",
                one["calibration_cases"],
                with_interval(one["sensitivity"]),
                f"{alarms['value']:.1f} ({alarms['low']:.1f}–{alarms['high']:.1f})",
            ]
        )
    heads = ["label", "shown", "calibration cases", "sensitivity, test", "false alarms per 100 notes"]
    table = r.table(
        heads,
        rows,
        caption=f"Labels that must not be missed: a sensitivity of {found['min_sensitivity']:.0%}, certified at "
        f"{found['confidence']:.0%} on the calibration split, whatever the label's rank.",
    )
    return [table, *(r.paragraph(f"{one}.") for one in refused)]
