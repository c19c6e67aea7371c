"""The part of the report on what acting on a probability is worth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LEAST = -0.02  # of a net benefit that is drawn: below it acting on all is out of the question anyhow


def worth(sheet: Any, metrics: Mapping[str, Any]) -> None:
    """Decision curves, each with its table, and what was asked at stated costs and prevalences."""
    from bedside import reporting as r
    from bedside.evaluation.report import TOO_FEW, with_interval

    held = metrics["test"].get("usefulness")
    if not held or not (held["curves"] or held["prevalence"]):
        return
    blocks = [
        r.paragraph(
            "The net benefit of acting on every case whose probability reaches a threshold: true positives a case, "
            "less false ones, each counted by the odds of the threshold (Vickers and Elkin 2006). Acting on nobody is "
            "0."
        )
    ]
    for label, one in held["curves"].items():
        few = f" {one['events']:,} cases have it: {TOO_FEW}." if one["too_few"] else ""
        title = f"Decision curve of {label}.{few}"
        points = one["points"]
        rows = [
            [
                f"{point['threshold']:.0%}",
                f"{point['model']:.3f} ({point['low']:.3f} to {point['high']:.3f})",
                point["all"],
            ]
            for point in points[4::5]
        ]
        numbers = r.table(["threshold", "model (interval)", "acting on all"], rows, caption=title)
        every = [(100 * p["threshold"], p["all"]) for p in points if p["all"] >= _LEAST]
        curves = [r.Curve("acting on all", every, main=False)] if every else []
        curves.append(
            r.Curve("acting on the model", [(100 * p["threshold"], p["model"]) for p in points if p["model"] >= _LEAST])
        )
        blocks.append(r.lines(curves, title, "threshold, %", "net benefit", numbers))
    stated = {label: one["stated"] for label, one in held["curves"].items() if "stated" in one}
    if stated:
        blocks.append(
            r.table(
                ["label", "false alarms per miss", "threshold", "net benefit", "over acting on all or nobody"],
                [
                    [
                        label, f"{one['false_alarms_per_miss']:g}", f"{one['threshold']:.3f}",
                        with_interval(one["net_benefit"]), with_interval(one["over_all_or_none"]),
                    ]
                    for label, one in stated.items()
                ],
                caption="At the costs that the protocol states (evaluate.false_alarms_per_miss).",
            )
        )  # fmt: skip
    if held["prevalence"]:
        blocks.append(
            r.table(
                ["label", "prevalence", "PPV", "NPV"],
                [
                    [label, f"{one['prevalence']:.2%}", with_interval(one["ppv"]), with_interval(one["npv"])]
                    for label, one in held["prevalence"].items()
                ],
                caption="At the prevalences that the protocol states (evaluate.prevalence), were sensitivity and "
                "specificity the same there.",
            )
        )
    sheet.section("What acting on it is worth", *blocks)
