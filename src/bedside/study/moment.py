"""What the notes written after the moment of asking would have added: the score with them and without.

The baseline is fitted twice on the training split and compared on the calibration split; the test split stays closed.
A large difference says that the later text states the diagnosis.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bedside.core.progress import SILENT, Progress
from bedside.core.seeds import derive

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bedside.data import Cohort

_MOST_ROWS = 20_000  # to learn from; beyond it a sample: the difference is as plain there
_USED = ("train", "validation", "calibration")
_RESAMPLES = 1000
_TAIL = 0.025


def with_and_without(cohort: Cohort, *, seed: int, progress: Progress = SILENT) -> dict[str, Any]:
    """Macro-F1 of TF-IDF + logistic regression with the later text and without it, on the same cases.

    Args:
        cohort: as the preparation left it, with ``uncut`` texts.
        seed: of the study.
        progress: told of the fits.

    Returns:
        ``without``, ``with`` and ``difference`` (with less without), each ``value``, ``low``, ``high`` (95 %, paired
        percentile bootstrap by group), and ``n``, the cases compared.
    """
    from bedside.metrics import Resamples, counts, macro_f1
    from bedside.models import TfidfLogistic

    if cohort.uncut is None:
        raise ValueError("the preparation left nothing out")
    splits = cohort.frame["split"].to_list()
    rows = {name: [row for row, split in enumerate(splits) if split == name] for name in _USED}
    rows["train"] = np.random.default_rng(derive(seed, "moment")).permutation(rows["train"])[:_MOST_ROWS].tolist()
    place = {label: number for number, label in enumerate(cohort.labels)}
    targets = np.asarray([place[label] for label in cohort.frame["label"]], dtype=np.int64)
    measured = rows["calibration"]
    groups = cohort.frame["group"].to_list()
    called = {}
    for name, texts in (("without", cohort.frame["text"].to_list()), ("with", cohort.uncut)):
        notes = {part: [texts[row] for row in held] for part, held in rows.items()}
        model = TfidfLogistic.fit(
            notes["train"],
            targets[rows["train"]],
            (notes["validation"], targets[rows["validation"]]),
            cohort.labels,
            progress,
            groups=[groups[row] for row in rows["train"]],
        )
        called[name] = model.predict_proba(notes["calibration"]).argmax(axis=1)
    drawn = Resamples.of([groups[row] for row in measured], _RESAMPLES, derive(seed, "moment", "bootstrap"))

    def figure(weights: NDArray[Any]) -> NDArray[Any]:
        scores = {
            name: macro_f1(counts(weights, targets[measured], which, len(place))) for name, which in called.items()
        }
        return np.stack([scores["without"], scores["with"], scores["with"] - scores["without"]], axis=1)

    low, high = np.quantile(drawn.apply(figure), [_TAIL, 1 - _TAIL], axis=0)
    value = figure(np.ones((1, len(measured))))[0]
    names = ("without", "with", "difference")
    found = {
        name: {"value": float(value[at]), "low": float(low[at]), "high": float(high[at])}
        for at, name in enumerate(names)
    }
    return {**found, "n": len(measured), "method": f"paired percentile bootstrap by group, {_RESAMPLES} resamples"}


def in_words(scores: dict[str, Any], moment: str) -> str:
    """The comparison as a sentence."""
    shown = {
        name: f"{one['value']:.3f} ({one['low']:.3f} to {one['high']:.3f})"
        for name, one in scores.items()
        if isinstance(one, dict)
    }
    return (
        f"what is written after the moment of asking ({moment}) is left out; TF-IDF + logistic regression has a "
        f"macro-F1 of {shown['without']} without it and {shown['with']} with it, difference {shown['difference']}, "
        f"n = {scores['n']:,}"
    )
