"""What a split of rows at random would have said: the commonest way to fool oneself, with its price.

The baseline is fitted and measured a second time on rows drawn without regard to patients and near-duplicates. Where
that score is higher than the honest one, the difference is what leaks. Nothing else reads it, and no model is kept.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bedside.core.progress import SILENT, Progress
from bedside.core.seeds import derive

if TYPE_CHECKING:
    from bedside.data import Cohort

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_MOST_ROWS = 20_000  # beyond it a sample: the difference is as plain there
_SPLITS = ("train", "validation", "test")


def naive_score(
    cohort: Cohort, *, resamples: int, confidence: float, seed: int, progress: Progress = SILENT
) -> dict[str, Any]:
    """Macro-F1 of TF-IDF + logistic regression on a split of rows at random, with the shares of the honest split.

    Where a case may have several labels it is the mean average precision, which no threshold has to be chosen for.

    Args:
        cohort: all its cases are used, whatever their split.
        resamples: behind the interval, drawn by rows as whoever splits by rows would.
        confidence: of the interval.
        seed: of the study.
        progress: told of the fits.

    Returns:
        ``macro_f1`` or ``auprc`` (value, low, high, n, method), ``rows`` that were used, and ``shared``: the share
        of test rows of which a twin or another note of the same patient stands in the training rows.
    """
    from bedside.metrics import Resamples
    from bedside.models import TfidfLogistic

    texts, groups = (cohort.frame[name].to_list() for name in ("text", "group"))
    parts = _parts(cohort, derive(seed, "naive"))
    every = _targets(cohort)
    targets = {split: every[rows] for split, rows in parts.items()}
    notes = {split: [texts[row] for row in rows] for split, rows in parts.items()}
    validation = (notes["validation"], targets["validation"])
    model = TfidfLogistic.fit(notes["train"], targets["train"], validation, cohort.labels, progress)
    found = model.predict_proba(notes["test"])
    drawn = Resamples.of(range(len(found)), resamples, derive(seed, "naive", "bootstrap"))

    def figure(weights: Floats) -> Floats:
        return _score(weights, targets["test"], found)[:, None]

    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn.apply(figure), [tail, 1 - tail])
    known = {groups[row] for row in parts["train"]}
    return {
        "auprc" if cohort.several else "macro_f1": {
            "value": float(figure(np.ones((1, len(found))))[0, 0]),
            "low": float(low),
            "high": float(high),
            "n": len(found),
            "method": f"percentile bootstrap by row, {resamples} resamples",
        },
        "rows": sum(map(len, parts.values())),
        "shared": sum(groups[row] in known for row in parts["test"]) / len(found),
    }


def _targets(cohort: Cohort) -> Ints:
    """[cases] numbers of labels, or [cases, labels] 1 where the case has the label, where it may have several."""
    place = {label: number for number, label in enumerate(cohort.labels)}
    cells = cohort.frame["label"].to_list()
    if not cohort.several:
        return np.asarray([place[label] for label in cells], dtype=np.int64)
    matrix = np.zeros((len(cells), len(place)), dtype=np.int64)
    for row, cell in enumerate(cells):
        matrix[row, [place[label] for label in cell]] = 1
    return matrix


def _score(weights: Floats, targets: Ints, found: Floats) -> Floats:
    """[resamples] macro-F1, or of several labels the mean average precision over those that the sample has."""
    from bedside.metrics import areas, counts, macro_f1

    if targets.ndim == 1:
        return macro_f1(counts(weights, targets, found.argmax(axis=1), found.shape[1]))
    has = targets == 1
    areas_of = [areas(weights, has[:, k], found[:, k])[1] for k in np.flatnonzero(has.any(axis=0)).tolist()]
    return np.asarray(np.nanmean(np.stack(areas_of, axis=1), axis=1))


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
