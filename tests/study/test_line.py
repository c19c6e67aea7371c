"""The whole line on the sample clinic, with the quickest model."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import numpy as np
import pytest

from bedside.core.errors import BundleError, ModelError
from bedside.core.files import read_json, write_text
from bedside.protocol import render
from bedside.serving import running
from bedside.study import Study, create
from bedside.study.demo import write_sample
from bedside.synthetic import note_for


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("line")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BEDSIDE_CONFIG", str(folder / "config"))
        write_sample(folder / "sample", notes=1000)
        created = create(folder / "sample" / "notes.csv", folder / "study").study
        change(created, "model", base="builtin:tfidf")
        change(created, "evaluate", resamples=200)
        found = Study.open(folder / "study")
        assert [outcome.ran for outcome in found.run()] == [True] * 5
    return found


def change(study: Study, section: str, **values) -> None:
    protocol = Study.open(study.folder).protocol
    part = getattr(protocol, section).model_copy(update=values)
    write_text(study.folder / "protocol.toml", render(protocol.model_copy(update={section: part})))


def test_a_second_run_does_nothing(study) -> None:
    assert not any(outcome.ran for outcome in Study.open(study.folder).run())


def test_a_training_key_redoes_train_and_what_follows(study) -> None:
    change(study, "train", epochs=9)
    ran = [outcome.stage for outcome in Study.open(study.folder).run() if outcome.ran]
    assert ran[0] == "train"
    assert "prepare" not in ran
    assert "baseline" not in ran


def test_a_stage_without_its_manifest_is_done_again(study) -> None:
    (study.folder / "evaluation" / "manifest.json").unlink()
    assert "evaluate" in [outcome.stage for outcome in Study.open(study.folder).run() if outcome.ran]


def test_every_figure_has_an_interval_that_holds_it(study) -> None:
    metrics = read_json(study.path("evaluate") / "metrics.json")
    for name in ("accuracy", "macro_f1", "top_3", "auroc"):
        figure = metrics["test"]["model"][name]
        assert figure["low"] <= figure["value"] <= figure["high"]
        assert figure["n"] == metrics["test"]["n"]


def test_figures_are_recomputed_from_the_predictions(study) -> None:
    import polars as pl
    from sklearn.metrics import accuracy_score, f1_score

    metrics = read_json(study.path("evaluate") / "metrics.json")["test"]["model"]
    test = pl.read_parquet(study.path("evaluate") / "predictions.parquet").filter(pl.col("split") == "test")
    truth, called = test["label"].to_list(), test["predicted"].to_list()
    assert accuracy_score(truth, called) == pytest.approx(metrics["accuracy"]["value"], abs=1e-9)
    labels = sorted(set(truth))
    found = f1_score(truth, called, average="macro", labels=labels, zero_division=0)
    assert found == pytest.approx(metrics["macro_f1"]["value"], abs=1e-9)


def test_served_is_predicted_is_offline(study) -> None:
    notes = [note_for("Pulmonary embolism", seed) for seed in range(5)]
    bundle = study.diagnoser()
    offline = bundle.predict_proba(notes)
    with running(bundle, study.protocol.serve) as server:
        for note, row in zip(notes, offline, strict=True):
            request = urllib.request.Request(
                f"{server.base_url}/v1/diagnose",
                data=json.dumps({"text": note, "top_k": 3}).encode(),
                headers={"Content-Type": "application/json", "Authorization": f"Bearer {server.key}"},
            )
            with urllib.request.urlopen(request, timeout=30) as response:
                answer = json.load(response)
            served = [one["probability"] for one in answer["differential"]]
            assert np.allclose(served, np.sort(row)[::-1][: len(served)], atol=1e-5)
        bare = urllib.request.Request(f"{server.base_url}/v1/diagnose", data=b"{}")
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(bare, timeout=30)
        refused.value.close()
        assert refused.value.code == 401


def test_what_comes_from_synthetic_notes_says_so(study) -> None:
    for stage in ("prepare", "evaluate"):
        assert "SYNTHETIC DATA" in (study.path(stage) / "report.html").read_text(encoding="utf-8")
    answer = study.diagnoser().diagnose([note_for("Pulmonary embolism", 1)])[0].to_json()
    assert any("synthetic" in warning for warning in answer["warnings"])


def test_a_table_without_the_word_beside_it_is_not_called_synthetic(tmp_path) -> None:
    from bedside.data.sources import is_synthetic

    assert not is_synthetic(tmp_path / "notes.csv")
    (tmp_path / "README.md").write_text("Notes of our clinic\nnot SYNTHETIC\n", encoding="utf-8")
    assert not is_synthetic(tmp_path / "notes.csv")
    (tmp_path / "README.md").write_text("SYNTHETIC. Made up.\n", encoding="utf-8")
    assert is_synthetic(tmp_path / "notes.csv")


def test_a_flipped_byte_is_named(study) -> None:
    path = study.bundle() / "labels.json"
    content = path.read_bytes()
    path.write_bytes(content.replace(b"a", b"b", 1))
    try:
        with pytest.raises(BundleError, match=r"labels\.json was altered"):
            study.diagnoser()
    finally:
        path.write_bytes(content)


def test_an_unknown_base_model_names_near_ones() -> None:
    from bedside.models.catalogue import find

    with pytest.raises(ModelError, match="builtin:minilm"):
        find("builtin:minlm")
