from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import small_model
from small_model import NOTE, reseal

from bedside.bundle import Bundle
from bedside.core.errors import BundleError, ModelError
from bedside.evaluation.cant_miss import Alarm, Alarms
from bedside.evaluation.conformal import Sets
from bedside.protocol import PackageSection
from bedside.serving.schema import Prediction


def test_an_answer_has_the_fields_of_the_interface_and_no_others(folder: Path) -> None:
    bundle = Bundle.load(folder)
    body = bundle.diagnose([NOTE])[0].to_json()
    assert list(body) == [
        "status", "model", "differential", "uncertainty", "input", "warnings", "disclaimer",
    ]  # fmt: skip
    assert body["status"] == "ok"
    assert body["model"] == {"id": "chest-1.2.0", "digest": bundle.digest, "calibrated": True}
    first = body["differential"][0]
    assert (first["rank"], first["label"], first["display"]) == (1, "pneumonia", "Pneumonia")
    assert first["codes"] == [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "J18.9"}]
    assert len(body["differential"]) == 2
    assert body["input"] == {"words": len(NOTE.split()), "truncated": False}
    assert body["disclaimer"] == "Decision support. Not a diagnosis."
    assert [warning.partition(":")[0] for warning in body["warnings"]] == ["draft bundle", "synthetic training data"]
    assert (
        "codes" not in bundle.diagnose(["headache in bright light since this morning"])[0].to_json()["differential"][0]
    )


def test_the_probabilities_are_calibrated_and_the_uncertainty_is_theirs(folder: Path) -> None:
    bundle = Bundle.load(folder)
    row = bundle.predict_proba([NOTE])[0]
    raw = bundle.diagnoser.predict_proba([NOTE])
    assert np.allclose(row, bundle.calibration.apply(raw)[0], atol=1e-15)
    assert not np.allclose(row, raw[0], atol=1e-3)
    answer = bundle.diagnose([NOTE], top_k=20)[0]
    assert [one.probability for one in answer.differential] == sorted(row.tolist(), reverse=True)
    assert answer.uncertainty is not None
    assert answer.uncertainty.entropy == pytest.approx(-sum(p * math.log(p) for p in row))
    assert answer.uncertainty.margin == pytest.approx(sorted(row)[-1] - sorted(row)[-2])


def test_text_is_cleaned_as_it_was_for_training(folder: Path) -> None:
    bundle = Bundle.load(folder)
    dirty = NOTE.replace("cough", "co\u200bugh").replace(" ", " \u00a0 ")
    assert bundle.diagnose([dirty])[0] == bundle.diagnose([NOTE])[0]


def test_too_little_text_gives_reasons_and_no_differential(folder: Path) -> None:
    body = Bundle.load(folder).diagnose(["cough fever"])[0].to_json()
    assert body["status"] == "insufficient_information"
    assert body["differential"] == []
    assert body["reasons"] == [{"code": "too_short", "message": "2 words; at least 5 needed"}]
    assert "uncertainty" not in body


def test_an_undecided_answer_still_shows_its_differential(folder: Path) -> None:
    body = Bundle.load(folder).diagnose(["seen today for a routine check without any complaint"])[0].to_json()
    assert body["status"] == "low_confidence"
    assert len(body["differential"]) == 2
    assert body["reasons"][0]["code"] == "below_threshold"


def test_top_k_for_each_note_and_none_at_all(folder: Path) -> None:
    bundle = Bundle.load(folder)
    assert [len(one.differential) for one in bundle.diagnose([NOTE] * 3, [1, None, 3])] == [1, 2, 3]
    assert bundle.diagnose([]) == []
    with pytest.raises(BundleError, match="top_k"):
        bundle.diagnose([NOTE], 0)
    with pytest.raises(BundleError, match="top_k"):
        bundle.diagnose([NOTE], [1, 2])


def test_a_bundle_with_an_intended_use_warns_of_nothing(folder: Path, tmp_path: Path) -> None:
    package = PackageSection(intended_use="emergency doctors, adults, at triage", limits="no children")
    place = small_model.write(tmp_path / "b", package=package, provenance={"study": "chest"})
    assert Bundle.load(place).diagnose([NOTE])[0].warnings == ()


def test_another_schema_and_foreign_content_are_one_sentence(folder: Path) -> None:
    path = folder / "bundle.json"
    info = json.loads(path.read_text(encoding="utf-8"))
    for change in ({**info, "schema": 2}, {"schema": 1}, [], 3, {**info, "clean": {"unicode": "NFKC"}}):
        path.write_text(json.dumps(change), encoding="utf-8")
        reseal(folder)
        with pytest.raises(BundleError, match=r"bundle\.json") as caught:
            Bundle.load(folder)
        assert "\n" not in str(caught.value)


def test_labels_that_are_not_the_models_are_refused(folder: Path) -> None:
    path = folder / "labels.json"
    path.write_text(json.dumps(list(reversed(json.loads(path.read_text(encoding="utf-8"))))), encoding="utf-8")
    reseal(folder)
    with pytest.raises(BundleError, match=r"labels\.json"):
        Bundle.load(folder)


def test_what_is_no_probability_is_never_answered(folder: Path) -> None:
    bundle = Bundle.load(folder)

    class Broken(small_model.Troubled):
        def predict_proba(self, texts):
            return np.full((len(texts), 3), np.nan)

    with pytest.raises(ModelError, match="no probability"):
        dataclasses.replace(bundle, diagnoser=Broken(bundle.diagnoser)).diagnose([NOTE])


def test_a_label_not_to_be_missed_is_shown_whatever_its_rank_and_a_set_goes_with_each_answer(folder: Path) -> None:
    bundle = Bundle.load(folder)
    row = bundle.predict_proba([NOTE])[0]
    last = int(row.argmin())
    rules = dataclasses.replace(
        bundle.abstention,
        sets=Sets(0.9, tuple(sorted(row.tolist(), reverse=True)[1] for _ in row), (), 90),
        alarms=Alarms(0.95, 0.95, (Alarm(last, float(row[last]), 70, 0), Alarm(int(row.argmax()), None, 12, 0))),
    )
    (folder / "abstention.json").write_text(json.dumps(rules.to_json()), encoding="utf-8")
    reseal(folder)
    body = Bundle.load(folder).diagnose([NOTE], top_k=1)[0].to_json()
    assert [(one["rank"], one["cant_miss"]) for one in body["differential"]] == [(1, True), (3, True)]
    assert [one["alarm"] for one in body["differential"]] == [False, True]
    assert body["prediction_set"] == {
        "labels": [bundle.labels[index] for index in np.argsort(-row)[:2]],
        "coverage": 0.9,
    }
    assert any("of 59 calibration cases that have it, 12 are there" in warning for warning in body["warnings"])
    Prediction.model_validate({"prediction_id": "p", "elapsed_ms": 1, **body})
