"""Logistic regression for cases with several labels: one for each label, on the same sparse matrix.

Each label is fitted by dual coordinate descent (Yu, Huang and Lin 2011, in LIBLINEAR), which visits the stored entries
of the matrix alone; labels are fitted side by side in threads, because it runs outside the interpreter's lock. No
label is weighed up: probabilities stay those of the cases, and where to call a label is chosen later.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bedside.core.progress import SILENT, Progress

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_TOLERANCE = 0.1  # LIBLINEAR's own for this solver; a tighter one changes the third digit of the average precision
_ROUNDS = 1000
_JUDGES = 12  # labels, from the rarest to the commonest, that the strength of regularisation is chosen by


def fit_one_vs_rest(
    matrix: Any,
    targets: Ints,
    validation: tuple[Any, Ints],
    strengths: Sequence[float],
    progress: Progress = SILENT,
) -> tuple[Floats, Floats, float]:
    """Fit every label.

    The strength of regularisation has the best mean average precision on validation, over at most 12 labels spread
    evenly from the rarest to the commonest. Strengths are tried in the order given, until one is worse than the one
    before it.

    Args:
        matrix: [texts, features], sparse.
        targets: [texts, labels] 1 where the case has the label.
        validation: the same two for the cases that the strength is chosen by.
        strengths: values of C, ascending.
        progress: told of each fit.

    Returns:
        Weights [labels, features], bias [labels], and the C that was chosen.
    """
    labels = targets.shape[1]
    judges = _spread(targets, min(labels, _JUDGES))
    most = len(judges) * len(strengths) + labels - len(judges)
    with progress.task("Fitting TF-IDF + one logistic regression a label", total=most, unit="fits") as task:

        def fits(which: Sequence[int], c: float) -> dict[int, tuple[Floats, float]]:
            return _fit_all(matrix, targets, which, c, task.advance)

        best: tuple[float, float, dict[int, tuple[Floats, float]]] | None = None
        for tried, c in enumerate(strengths, start=1):
            found = fits(judges, c)
            score = _mean_average_precision(found, *validation)
            if best is not None and score <= best[0]:
                task.advance(len(judges) * (len(strengths) - tried))
                break
            best = (score, c, found)
        if best is None:
            raise ValueError("no strength to choose from")
        rest = [label for label in range(labels) if label not in best[2]]
        every = best[2] | fits(rest, best[1])
    return np.stack([every[k][0] for k in range(labels)]), np.asarray([every[k][1] for k in range(labels)]), best[1]


def _fit_all(
    matrix: Any, targets: Ints, which: Sequence[int], c: float, done: Callable[[], None]
) -> dict[int, tuple[Floats, float]]:
    """Weights and bias by label, as many at once as there are cores."""
    from sklearn.exceptions import ConvergenceWarning

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found = {}
    with warnings.catch_warnings(), ThreadPoolExecutor(cores) as pool:
        warnings.simplefilter("ignore", ConvergenceWarning)  # near enough: validation judges what comes of it
        for label, one in zip(which, pool.map(lambda k: _fit(matrix, targets[:, k], c), which), strict=True):
            found[label] = one
            done()
    return found


def _fit(matrix: Any, has: Ints, c: float) -> tuple[Floats, float]:
    """Weights and bias of one label; of one that all cases have, or none, its share alone."""
    from sklearn.linear_model import LogisticRegression

    count, cases = int(has.sum()), len(has)
    if count in (0, cases):
        share = (count + 0.5) / (cases + 1)
        return np.zeros(matrix.shape[1]), float(np.log(share / (1 - share)))
    model = LogisticRegression(
        solver="liblinear", dual=True, C=c, tol=_TOLERANCE, max_iter=_ROUNDS, random_state=0
    ).fit(matrix, has)
    return np.asarray(model.coef_[0], dtype=np.float64), float(model.intercept_[0])


def _spread(targets: Ints, count: int) -> list[int]:
    """So many labels, evenly from the rarest to the commonest."""
    order = np.argsort(targets.sum(axis=0), kind="stable")
    return [int(order[place]) for place in np.linspace(0, len(order) - 1, count).round().astype(int)]


def _mean_average_precision(found: dict[int, tuple[Floats, float]], matrix: Any, targets: Ints) -> float:
    from bedside.metrics import areas

    even = np.ones((1, len(targets)))
    scores = [
        float(areas(even, targets[:, label] == 1, np.asarray(matrix @ weights + bias))[1][0])
        for label, (weights, bias) in found.items()
        if targets[:, label].any()
    ]
    return float(np.mean(scores)) if scores else 0.0
