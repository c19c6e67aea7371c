"""What a split of rows at random would have said: the commonest way to fool oneself, with its price.

The baseline is fitted and measured a second time on rows drawn without regard to patients and near-duplicates. Where
that score is higher than the honest one, the difference is what leaks. Nothing else reads it, and no model is kept.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from bedside.core.progress import SILENT, Progress
from bedside.core.seeds import derive

if TYPE_CHECKING:
    from bedside.data import Cohort

_MOST_ROWS = 20_000  # beyond it a sample: the difference is as plain there
_SPLITS = ("train", "validation", "test")


def naive_score(
    cohort: Cohort, *, resamples: int, confidence: float, seed: int, progress: Progress = SILENT
) -> dict[str, Any]:
    """Macro-F1 of TF-IDF + logistic regression on a split of rows at random, with the shares of the honest split.

    Args:
        cohort: all its cases are used, whatever their split.
        resamples: behind the interval, drawn by rows as whoever splits by rows would.
        confidence: of the interval.
        seed: of the study.
        progress: told of the fits.

    Returns:
        ``macro_f1`` (value, low, high, n, method), ``rows`` that were used, and ``shared``: the share of test rows of
        which a twin or another note of the same patient stands in the training rows.
    """
    from bedside.metrics import Resamples, counts, macro_f1
    from bedside.models import TfidfLogistic

    texts, labels, groups = (cohort.frame[name].to_list() for name in ("text", "label", "group"))
    parts = _parts(cohort, derive(seed, "naive"))
    place = {label: number for number, label in enumerate(cohort.labels)}
    targets = {split: np.asarray([place[labels[row]] for row in rows], dtype=np.int64) for split, rows in parts.items()}
    notes = {split: [texts[row] for row in rows] for split, rows in parts.items()}
    validation = (notes["validation"], targets["validation"])
    model = TfidfLogistic.fit(notes["train"], targets["train"], validation, cohort.labels, progress)
    called = model.predict_proba(notes["test"]).argmax(axis=1)
    drawn = Resamples.of(range(len(called)), resamples, derive(seed, "naive", "bootstrap"))

    def figure(weights: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return macro_f1(counts(weights, targets["test"], called, len(place)))[:, None]

    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn.apply(figure), [tail, 1 - tail])
    known = {groups[row] for row in parts["train"]}
    return {
        "macro_f1": {
            "value": float(figure(np.ones((1, len(called))))[0, 0]),
            "low": float(low),
            "high": float(high),
            "n": len(called),
            "method": f"percentile bootstrap by row, {resamples} resamples",
        },
        "rows": sum(map(len, parts.values())),
        "shared": sum(groups[row] in known for row in parts["test"]) / len(called),
    }


def _parts(cohort: Cohort, seed: int) -> dict[str, list[int]]:
    """Rows at random, as many of the sample in each split as the honest split has of the whole."""
    order = np.random.default_rng(seed).permutation(cohort.frame.height).tolist()[:_MOST_ROWS]
    sizes = Counter(cohort.frame["split"].to_list())
    share = len(order) / cohort.frame.height
    parts, start = {}, 0
    for split in _SPLITS:
        stop = start + round(sizes[split] * share)
        parts[split], start = order[start:stop], stop
    return parts
