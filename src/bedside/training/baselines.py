"""The baselines of a study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bedside.core.files import atomic_folder
from bedside.core.progress import SILENT, Progress

if TYPE_CHECKING:
    from bedside.data import Cohort


def train_baselines(cohort: Cohort, folder: Path, *, seed: int = 0, progress: Progress = SILENT) -> None:
    """Fit majority and TF-IDF + logistic regression, and save them as ``majority`` and ``tfidf`` in a folder.

    ``seed`` is taken for the sake of one signature for all stages; both fits are deterministic.
    """
    from bedside.models import Majority, TfidfLogistic

    targets, held_out = targets_of(cohort, "train"), targets_of(cohort, "validation")
    majority = Majority.fit(targets, cohort.labels)
    validation = (cohort.texts("validation"), held_out)
    groups = cohort.part("train")["group"].to_list()
    tfidf = TfidfLogistic.fit(cohort.texts("train"), targets, validation, cohort.labels, progress, groups=groups)
    for name, model in (("majority", majority), ("tfidf", tfidf)):
        with atomic_folder(folder / name) as place:
            model.save(place)


def targets_of(cohort: Cohort, split: str) -> NDArray[np.int64]:
    """[cases] numbers of labels; [cases, labels] 1 where the case has the label, where a case may have several."""
    return cohort.target_matrix(split) if cohort.several else cohort.targets(split)
