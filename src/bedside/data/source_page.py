"""The sources of a cohort as blocks of the data report: what each gave, its labels, and whether it tells the label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bedside.data.table_one import HIDDEN, hidden_cells, small

_SHOWN = ("name", "file", "rows", "kept", "licence", "consent")
_FIGURES = {
    "accuracy": "right by the commonest label of each source",
    "majority": "right by the commonest label of all",
    "difference": "difference",
}


def source_blocks(report: Mapping[str, Any]) -> list[str]:
    """Tables of the sources; nothing where the protocol names a single ``data.source``."""
    from bedside.reporting import table

    found = report.get("sources")
    if not found:
        return []
    each = found["each"]
    blocks = [
        table(
            list(_SHOWN),
            [[one[key] or None if isinstance(one[key], str) else one[key] for key in _SHOWN] for one in each],
            caption="Rows read and kept of each source, and the terms that the protocol states for it.",
        ),
        table(
            ["label", *(one["name"] for one in each), "all"],
            _label_rows(each, list(report["labels"])),
            caption="Cases of each label in each source, small counts as in Table one.",
        ),
    ]
    return blocks + (_told(found["label"]) if "label" in found else [])


def _label_rows(each: list[Mapping[str, Any]], labels: list[str]) -> list[list[Any]]:
    """[labels] the cases of each source and of all; small counts, and what tells them, are hidden."""
    counts = np.asarray([[one["labels"].get(label, 0) for one in each] for label in labels], dtype=np.int64)
    counts = np.concatenate([counts, counts.sum(axis=1, keepdims=True)], axis=1)
    rows: list[list[Any]] = []
    for label, held, covered in zip(labels, counts.tolist(), hidden_cells(counts).tolist(), strict=True):
        rows.append([label, *(_hide(count) if hide else count for count, hide in zip(held, covered, strict=True))])
    return rows


def _hide(count: int) -> str:
    shown = small(count)
    return shown if isinstance(shown, str) else HIDDEN


def _told(found: Mapping[str, Any]) -> list[str]:
    """How far the source predicts the label."""
    from bedside.reporting import paragraph, table

    share = found["cramers_v"]
    text = (
        f"Source and label: Cramér's V {share['value']:.2f} ({share['method']}; p {share['p']:.3g}), each of "
        f"{share['groups']:,} groups counted once for a source and label."
    )
    if found["only_in_one"]:
        text += f" In one source only: {', '.join(found['only_in_one'])}."
    rows = [
        [name, f"{one['value']:.1%} ({one['low']:.1%} to {one['high']:.1%})", one["n"]]
        for key, name in _FIGURES.items()
        if (one := found.get(key)) is not None
    ]
    if not rows:
        return [paragraph(text)]
    caption = (
        "Learned on the training split, asked on the validation and calibration splits; intervals: "
        f"{found['accuracy']['method']}."
    )
    return [paragraph(text), table(["the source alone", "share of cases", "cases"], rows, caption=caption)]
