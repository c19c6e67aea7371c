"""The public tables: known duplicates, contradictions and rare labels, counted apart from the code under test."""

from __future__ import annotations

import pytest
from small_notes import cohort_of

from bedside.core.errors import DataError
from bedside.data.columns import look


def test_gold_clusters_stay_on_one_side(shared_data) -> None:
    import polars as pl

    path = shared_data / "symptom2disease" / "symptom2disease.csv"
    section = look(path).section
    assert (section.text, section.label, section.case_id, section.keep) == ("text", "label", "id", [])
    cohort = cohort_of(path)
    found = cohort.report["duplicates"]
    assert found["exact"]["beyond_first"] == 47
    assert abs(found["near"]["rows"] / 1200 - 0.25) < 0.03
    gold = pl.read_csv(path)
    crossing = gold.join(cohort.frame, on=["text", "label"]).group_by("cluster_j70").agg(pl.col("split").n_unique())
    assert crossing["split"].max() == 1


def test_contradictions_give_the_ceiling(shared_data) -> None:
    path = shared_data / "medical_abstracts" / "medical_abstracts.csv"
    proposal = look(path)
    assert proposal.section.label == "condition_name"
    assert not any("condition_label" in one for one in proposal.warnings)
    found = cohort_of(path).report["contradictions"]
    assert (found["texts"], found["rows"]) == (71, 146)


def test_a_label_of_three_cases_is_refused_by_name_or_dropped(shared_data) -> None:
    path = shared_data / "mtsamples" / "mtsamples_unique_multilabel.csv.gz"
    proposal = look(path, label="primary_specialty")
    assert 'rare = "drop"' in proposal.remarks["data.rare"]
    with pytest.raises(DataError, match="Physical Medicine"):
        cohort_of(path, label="primary_specialty")
    assert cohort_of(path, label="primary_specialty", rare="drop").frame.height == 1766


def test_a_table_with_a_row_a_label_is_called_ill_posed(shared_data) -> None:
    from bedside.data.report_page import page

    cohort = cohort_of(shared_data / "mtsamples" / "mtsamples_full.csv.gz", rare="drop")
    said = " | ".join(one["sentence"] for one in cohort.report["verdicts"] if one["verdict"] != "PASS")
    assert "2,165 texts stand under more than one label" in said
    assert "4,999 rows are 2,376 texts, 2,165 of them under 2–5 labels" in said
    assert "The texts have several labels each" in said
    assert cohort.report["audit"]["suspects"] is None  # no single label is wrong here
    assert "4,999 rows are 2,376 different texts" in page(cohort.report)
