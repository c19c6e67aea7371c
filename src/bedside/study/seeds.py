"""How far chance alone moves a figure: the same training from other seeds, measured on the same test cases.

The model that is packaged is that of the study's own seed; nothing is chosen by what stands here.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bedside.core.progress import SILENT, Progress

if TYPE_CHECKING:
    from bedside.data import Cohort
    from bedside.models import Diagnoser


def spread(cohort: Cohort, folder: Path, kept: Diagnoser, progress: Progress = SILENT) -> dict[str, Any] | None:
    """Mean and standard deviation of a figure on the test split over all seeds that were trained.

    Args:
        cohort: its test split is measured on.
        folder: of the run; the other seeds lie in ``seeds`` below it.
        kept: the model of the study's own seed.
        progress: told of the work.

    Returns:
        ``measure`` (``macro_f1``, or ``mean_average_precision`` where a case may have several labels), ``values`` by
        seed with the kept one first, ``mean`` and ``standard_deviation``; None where one seed was trained.
    """
    from bedside.models import load_diagnoser

    others = sorted((folder / "seeds").glob("*/model"), key=lambda place: int(place.parent.name))
    if not others:
        return None
    values = []
    with progress.task("Asking the other seeds", total=len(others) + 1, unit="models") as task:
        for model in (kept, *map(load_diagnoser, others)):
            values.append(_figure(cohort, model))
            task.advance()
    return {
        "measure": "mean_average_precision" if cohort.several else "macro_f1",
        "values": values,
        "mean": float(np.mean(values)),
        "standard_deviation": float(np.std(values, ddof=1)),
    }


def _figure(cohort: Cohort, model: Diagnoser) -> float:
    from bedside.metrics import counts, macro_f1
    from bedside.training.objective import mean_average_precision

    found = model.predict_proba(cohort.texts("test"))
    if cohort.several:
        return mean_average_precision(cohort.target_matrix("test"), found)
    truth = cohort.targets("test")
    return float(macro_f1(counts(np.ones((1, len(truth))), truth, found.argmax(axis=1), found.shape[1]))[0])
