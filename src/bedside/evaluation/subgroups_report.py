"""The part of the report on groups of cases: a verdict for each column, a picture of its groups, and the figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def groups(sheet: Any, metrics: Mapping[str, Any]) -> None:
    """What the audit of groups found."""
    from bedside import reporting as r
    from bedside.evaluation.report import TOO_FEW, with_interval

    audit = metrics["test"].get("subgroups")
    if not audit or not audit["columns"]:
        return
    blocks = [
        r.verdicts([_verdict(column, body) for column, body in audit["columns"].items()]),
        r.paragraph(
            f"Each group is compared with all other cases, by {audit['comparisons']:,} comparisons in all (Fisher's "
            "exact test on effective numbers of cases, Holm's correction at 5 %). That no gap was found does not say "
            "that there is none."
        ),
    ]
    for column, body in audit["columns"].items():
        title = f"Cases called right, by {column}"
        figures = {group: one["called_right"] for group, one in body["groups"].items()}
        table = r.table(
            [column, "cases", "called right", "stated less happened", ""],
            [
                [
                    group,
                    one["n"],
                    with_interval(one["called_right"]),
                    with_interval(one["calibration_in_the_large"]),
                    TOO_FEW if one["called_right"]["too_few"] else "",
                ]
                for group, one in body["groups"].items()
            ],
            caption=f"{title}.",
        )
        blocks.append(
            r.forest([(group, one["value"], one["low"], one["high"]) for group, one in figures.items()], title, table)
        )
        if body["equalised_odds"]:
            worst = sorted(body["equalised_odds"].items(), key=lambda pair: -pair[1])[:5]
            blocks.append(
                r.table(
                    ["label", "equalised-odds difference"], [list(pair) for pair in worst],
                    caption=f"The largest differences by {column}, over groups with enough cases.",
                )
            )  # fmt: skip
    sheet.section("Groups of cases", *blocks)


def _verdict(column: str, body: Mapping[str, Any]) -> tuple[str, str, str]:
    """The verdict on one column, with its gaps in words."""
    from bedside.evaluation.subgroups import FEW, FOUND

    if body["verdict"] == FEW:
        return "INFO", column, "too few cases to compare any group."
    if body["verdict"] == FOUND:
        gaps = "; ".join(
            f"{gap['group']}: {gap['measure']}{_of(gap['label'])} {gap['group_value']:.2f} against {gap['others']:.2f} "
            f"(N = {gap['n']:,}, adjusted p = {gap['p_adjusted']:.2g})"
            for gap in body["gaps"][:6]
        )
        return "WARN", column, f"gap found. {gaps}."
    return "PASS", column, f"none found in {body['comparisons']:,} comparisons."


def _of(label: str | None) -> str:
    return f" of {label}" if label else ""
