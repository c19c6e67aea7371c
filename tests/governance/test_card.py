"""Every number of a card can be traced, and any that is altered is named."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bedside.core.files import read_json, write_text
from bedside.governance import FILES, card_of, check_card, render
from bedside.protocol import render as protocol_text
from bedside.study import Study, create
from bedside.study.card import faults_of_bundle, faults_of_study
from bedside.study.demo import write_sample

NUMBER = re.compile(r"\d+\.\d+|\d+")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A small SYNTHETIC study with its bundle, of which copies are altered."""
    folder = tmp_path_factory.mktemp("card")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BEDSIDE_CONFIG", str(folder / "config"))
        write_sample(folder / "sample", notes=700)
        study = create(folder / "sample" / "notes.csv", folder / "study").study
        protocol = study.protocol
        changed = {
            "model": protocol.model.model_copy(update={"base": "builtin:tfidf"}),
            "evaluate": protocol.evaluate.model_copy(update={"resamples": 100}),
            "answer": protocol.answer.model_copy(update={"cant_miss": ["Pulmonary embolism"]}),
            "package": protocol.package.model_copy(update={"intended_use": "a | test", "limits": "none <yet>"}),
        }
        write_text(study.folder / "protocol.toml", protocol_text(protocol.model_copy(update=changed)))
        Study.open(study.folder).run()
    return study.folder


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "study"))


def test_an_unaltered_study_and_its_bundle_pass(made: Path) -> None:
    assert faults_of_study(Study.open(made)) == []
    assert faults_of_bundle(made / "bundle") == []


def test_each_field_is_copied_from_its_key(made: Path) -> None:
    bundle = made / "bundle"
    files = {name: read_json(bundle / name) for name in ("bundle.json", "labels.json", "metrics.json")}
    fields = [one for part in read_json(bundle / "card.json")["sections"] for one in part["fields"]]
    traced = 0
    for one in fields:
        if not one["key"]:
            assert one["value"] in {"Not evaluated", "Not stated", "all of it", "none named", "not certified"}
            continue
        name, _, place = one["key"].partition("#")
        value = files[name]
        for step in place.strip("/").split("/"):
            value = value[int(step)] if isinstance(value, list) else value[step.replace("~1", "/").replace("~0", "~")]
        if isinstance(value, dict) and "value" in value:
            assert one["value"].startswith("not defined" if value["value"] is None else f"{value['value']:.3f}")
            traced += 1
    assert traced > 50
    assert any(one["name"] == "Must not be missed: Pulmonary embolism" for one in fields)
    assert {one["name"] for one in fields if one["value"] == "Not evaluated"} >= {"Privacy: membership inference"}


def test_any_number_altered_in_any_form_of_the_card_is_named(place: Path) -> None:
    bundle = place / "bundle"
    random = np.random.default_rng(0)
    for name in FILES:
        path = bundle / name
        whole = path.read_text(encoding="utf-8")
        begin = whole.index("<main") if name.endswith("html") else 0
        found = [one for one in NUMBER.finditer(whole) if one.start() > begin]
        for place_of in random.choice(len(found), 25, replace=False).tolist():
            one = found[place_of]
            digit = str((int(one[0][-1]) + 1) % 10)
            altered = whole[: one.end() - 1] + digit + whole[one.end() :]
            path.write_text(altered, encoding="utf-8")
            faults = check_card(bundle)
            assert faults, (name, one[0])
            assert all(str(path) in fault for fault in faults)
            assert any(digit in fault for fault in faults)
        path.write_text(whole, encoding="utf-8")
    assert check_card(bundle) == []


def test_an_altered_figure_is_named_with_what_the_predictions_give(place: Path) -> None:
    path = place / "evaluation" / "metrics.json"
    metrics = read_json(path)
    stated = metrics["test"]["model"]["macro_f1"]["value"]
    metrics["test"]["model"]["macro_f1"]["value"] = stated + 0.01
    metrics["test"]["confusion"][0][0] += 1
    path.write_text(json.dumps(metrics), encoding="utf-8")
    faults = faults_of_study(Study.open(place))
    assert any("metrics.json was altered" in fault for fault in faults)
    assert any(f"test/model/macro_f1/value: found {stated + 0.01}" in fault for fault in faults)
    assert any("test/confusion/0/0" in fault for fault in faults)


def test_altered_predictions_and_links_of_the_chain_are_named(place: Path) -> None:
    chain = place / "evidence.jsonl"
    lines = chain.read_text(encoding="utf-8").splitlines()
    chain.write_text("\n".join([lines[0].replace('"look": 1', '"look": 2'), *lines[1:]]) + "\n", encoding="utf-8")
    (fault,) = faults_of_study(Study.open(place))
    assert "line 1 does not fit the chain of evidence" in fault
    chain.write_text("\n".join(lines) + "\n", encoding="utf-8")
    predictions = place / "evaluation" / "predictions.parquet"
    whole = bytearray(predictions.read_bytes())
    whole[-20] ^= 1
    predictions.write_bytes(whole)
    assert any("predictions.parquet was altered" in fault for fault in faults_of_study(Study.open(place)))


def test_a_bundle_whose_figures_were_altered_with_their_checksums_is_caught(place: Path) -> None:
    from bedside.bundle.verify import list_files, sums_text
    from bedside.core.files import sha256_file

    bundle = place / "bundle"
    metrics = read_json(bundle / "metrics.json")
    metrics["test"]["model"]["macro_f1"]["value"] = 0.999
    (bundle / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    (bundle / "SHA256SUMS").write_bytes(sums_text({name: sha256_file(bundle / name) for name in list_files(bundle)}))
    faults = faults_of_bundle(bundle)
    assert any("metrics.json is not the one that was measured" in fault for fault in faults)
    assert any("Macro-F1" in fault and "0.999" in fault for fault in faults)


def test_the_verbs(place: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "bedside", *words], capture_output=True, text=True, check=False)

    shown = run("card", str(place))
    assert shown.returncode == 0
    assert shown.stdout == (place / "bundle" / "card.md").read_text(encoding="utf-8")
    assert "SYNTHETIC DATA" in shown.stdout
    assert r"a \| test" in shown.stdout
    assert run("card", str(place), "--check").returncode == 0
    assert run("verify", str(place)).returncode == 0
    card = place / "bundle" / "card.md"
    card.write_text(shown.stdout.replace("N = ", "N = 9", 1), encoding="utf-8")
    checked = run("card", str(place), "--check")
    assert checked.returncode == 2
    assert "card.md, line" in checked.stderr
    assert run("verify", str(place)).returncode == 2


def test_without_figures_every_one_is_not_evaluated() -> None:
    info = {"kind": "tfidf", "version": "1", "draft": True, "intended_use": "", "limits": "", "provenance": {}}
    card = card_of(info, [{"label": "flu"}], {})
    measured = next(part for part in card.parts if part.title == "Measured on the test split")
    assert {one.text for one in measured.fields} == {"Not evaluated"}
    assert card.notices[0].startswith("DRAFT")
    assert render(card) == render(card)
