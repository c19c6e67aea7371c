"""Several seeds: their spread is told, and the packaged model is that of the study's own."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score, f1_score

from bedside.data import Cohort
from bedside.models import Majority, TfidfLogistic
from bedside.study.seeds import spread

TEXTS = ["cough fever", "cough chills", "toe pain", "red toe", "cough toe", "fever"]
ONE = ["a", "a", "b", "b", "a", "b"]
SEVERAL = [["a"], ["a"], ["b"], ["b"], ["a", "b"], []]


@pytest.mark.parametrize("labels", [ONE, SEVERAL])
def test_the_spread_over_seeds_is_that_of_their_figures(labels, tmp_path) -> None:
    frame = pl.DataFrame(
        {
            "case_id": [f"{n}" for n in range(6)],
            "text": TEXTS,
            "label": labels,
            "patient": [f"{n}" for n in range(6)],
            "split": ["test"] * 6,
            "group": [f"{n}" for n in range(6)],
        }
    )
    cohort = Cohort(frame, ("a", "b"), {"labels": {}})
    targets = cohort.target_matrix("test") if cohort.several else cohort.targets("test")
    kept = TfidfLogistic.fit(TEXTS, targets, (TEXTS, targets), cohort.labels)
    assert spread(cohort, tmp_path, kept) is None
    other = Majority.fit(targets, cohort.labels)
    other.save(tmp_path / "seeds" / "2" / "model")
    found = spread(cohort, tmp_path, kept)

    def by_hand(model):
        chance = model.predict_proba(TEXTS)
        if cohort.several:
            return np.mean([average_precision_score(targets[:, k], chance[:, k]) for k in range(2)])
        return f1_score(targets, chance.argmax(axis=1), average="macro")

    assert found["values"] == pytest.approx([by_hand(kept), by_hand(other)], abs=1e-12)
    assert found["standard_deviation"] == pytest.approx(np.std(found["values"], ddof=1))
    assert found["measure"] == ("mean_average_precision" if cohort.several else "macro_f1")


def test_the_report_says_how_far_the_seed_moves_the_figure() -> None:
    from bedside.evaluation.report import by_chance

    said = by_chance({"measure": "macro_f1", "values": [0.9, 0.92], "mean": 0.91, "standard_deviation": 0.014})
    assert said.startswith("Trained from 2 seeds, the macro-F1 on the test split is 0.900, 0.920: mean 0.910")


def test_a_page_is_written_with_the_seeds_and_without_a_run() -> None:
    from bedside import reporting
    from bedside.evaluation.report import training

    sheet = reporting.Page("t", "s", "")
    training(sheet, None, {"measure": "macro_f1", "values": [0.9, 0.92], "mean": 0.91, "standard_deviation": 0.014})
    assert "Trained from 2 seeds" in sheet.html()
