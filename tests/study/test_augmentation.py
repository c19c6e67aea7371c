"""Varied copies in the line: in memory only, counted, repeatable, and compared with a training without them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from bedside.core.files import read_json, sha256_tree, write_text
from bedside.data import Cohort
from bedside.data.augmentation import augment
from bedside.models import load_diagnoser
from bedside.protocol import AugmentSection, EvaluateSection, ModelSection, TrainSection, render
from bedside.study import Study, create
from bedside.study.augmentation import compare, files_of, label_preserved, train_augmented
from bedside.study.demo import write_sample

SECTION = AugmentSection(methods=["synonyms", "typos", "case"], copies=2)
TFIDF = (ModelSection(base="builtin:tfidf"), TrainSection())


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("augmented")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BEDSIDE_CONFIG", str(folder / "config"))
        write_sample(folder / "sample", notes=600)
        few_labels(folder / "sample" / "notes.csv")
        created = create(folder / "sample" / "notes.csv", folder / "study").study
        change(created, model={"base": "builtin:tfidf"}, evaluate={"resamples": 200}, augment=SECTION.model_dump())
        found = Study.open(folder / "study")
        found.run()
    return found


def few_labels(table) -> None:
    """Keep the four commonest diagnoses: training takes a part of the time."""
    frame = pl.read_csv(table, infer_schema=False)
    common = frame["diagnosis"].value_counts(sort=True)["diagnosis"][:4].to_list()
    frame.filter(pl.col("diagnosis").is_in(common)).write_csv(table)


def change(study: Study, **sections) -> None:
    protocol = Study.open(study.folder).protocol
    parts = {name: getattr(protocol, name).model_copy(update=values) for name, values in sections.items()}
    write_text(study.folder / "protocol.toml", render(protocol.model_copy(update=parts)))


def test_only_the_training_split_of_memory_grows(study) -> None:
    cohort = Cohort.load(study.path("prepare"))
    before = cohort.frame.clone()
    more = augment(cohort, SECTION, seed=42)
    assert cohort.frame.equals(before)
    assert more.cohort.frame[: before.height].equals(before)
    copies = more.cohort.frame[before.height :]
    assert copies.height == more.account["copies"] > cohort.part("train").height
    assert set(copies["split"]) == {"train"}
    origins = cohort.part("train")[list(more.origins)]
    for column in set(before.columns) - {"text", "case_id"}:
        assert copies[column].equals(origins[column]), column
    assert not copies["text"].is_in(before["text"].to_list()).any()
    assert more.cohort.frame["case_id"].is_unique().all()
    for split in ("validation", "calibration", "test"):
        assert more.cohort.texts(split) == cohort.texts(split)


def test_no_copy_is_written_and_the_account_can_be_made_again(study) -> None:
    cohort = Cohort.load(study.path("prepare"))
    assert cohort.frame.height == read_json(study.path("prepare") / "report.json")["flow"][-1].get(
        "rows", cohort.frame.height
    )
    account = read_json(study.path("train") / "augmentation.json")
    again = augment(cohort, SECTION, seed=study.protocol.study.seed)
    assert account["digest"] == again.account["digest"]
    assert account["methods"] == again.account["methods"]
    assert augment(cohort, SECTION, seed=study.protocol.study.seed + 1).account["digest"] != account["digest"]
    made = set(again.cohort.frame[cohort.frame.height :]["text"])
    for file in study.folder.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert not any(text.encode() in content for text in list(made)[:50]), file
    assert "augmentation.json" in read_json(study.path("train") / "manifest.json")["outputs"]


def test_the_report_says_whether_it_helped(study) -> None:
    metrics = read_json(study.path("evaluate") / "metrics.json")["augmentation"]
    found = metrics["comparison"]
    cohort = Cohort.load(study.path("prepare"))
    assert found["splits"] == ["calibration"]
    assert found["n"] == cohort.part("calibration").height
    difference = found["difference"]["macro_f1"]
    assert difference["value"] == pytest.approx(found["with"]["macro_f1"] - found["without"]["macro_f1"])
    if difference["low"] is not None:
        assert difference["low"] <= difference["value"] <= difference["high"]
    else:
        assert difference["method"].startswith("no interval")
    page = (study.path("evaluate") / "report.html").read_text(encoding="utf-8")
    assert "varied copies (synonyms, typos, case)" in page
    assert f"{found['without']['macro_f1']:.3f} without" in page


def test_the_model_with_copies_is_the_one_that_is_kept_and_the_other_is_the_plain_one(study, tmp_path) -> None:
    cohort = Cohort.load(study.path("prepare"))
    from bedside.training import train

    train(cohort, *TFIDF, tmp_path / "plain", seed=42)
    assert sha256_tree(tmp_path / "plain" / "model") != sha256_tree(study.path("train") / "model")
    more = augment(cohort, SECTION, seed=42)
    train(more.cohort, *TFIDF, tmp_path / "more", seed=42)
    assert sha256_tree(tmp_path / "more" / "model") == sha256_tree(study.path("train") / "model")
    found = compare(
        cohort,
        load_diagnoser(tmp_path / "more" / "model"),
        load_diagnoser(tmp_path / "plain" / "model"),
        EvaluateSection(),
        seed=42,
    )
    assert found == read_json(study.path("train") / "augmentation.json")["comparison"]


def test_without_methods_there_is_no_account_and_todays_model(study) -> None:
    change(study, augment={"methods": []})
    found = Study.open(study.folder)
    ran = [outcome.stage for outcome in found.run() if outcome.ran]
    assert ran[0] == "train"
    assert not (study.path("train") / "augmentation.json").exists()
    assert "augmentation" not in read_json(study.path("evaluate") / "metrics.json")
    change(study, augment=SECTION.model_dump())


class Judge:
    """Calls a text the second label where it holds two letters in capitals side by side."""

    labels = ("a", "b")
    kind = "judge"

    def predict_proba(self, texts):
        found = [any(one.isupper() and two.isupper() for one, two in pairwise(text)) for text in texts]
        return np.asarray([[0.0, 1.0] if one else [1.0, 0.0] for one in found])

    def save(self, folder) -> None:
        raise NotImplementedError


def test_the_label_preserving_rate_is_that_of_texts_that_nothing_learned_from() -> None:
    texts = [f"The rash is itchy and the elbow feels word{number}ish today." for number in "abcdefghijklmnopqrst"]
    rows = [{"text": text, "label": "a", "split": "calibration", "group": text} for text in texts]
    rows.append({"text": "TRAINING", "label": "a", "split": "train", "group": "t"})
    cohort = Cohort(pl.DataFrame(rows), ("a", "b"), {})
    section = AugmentSection(methods=["case", "typos"], copies=4)
    found = label_preserved(cohort, section, Judge(), seed=1)
    assert found["split"] == "calibration"
    assert found["methods"]["typos"]["value"] == 1.0
    assert 0.0 < found["methods"]["case"]["value"] < 1.0  # capitals change what this judge says, small letters do not
    counts = [one["n"] for one in found["methods"].values()]
    assert sum(counts) == found["all"]["n"] > 50
    assert found["all"]["low"] < found["all"]["value"] < found["all"]["high"]


def test_it_is_judged_without_a_second_training_where_that_is_not_wanted(study, tmp_path) -> None:
    cohort = Cohort.load(study.path("prepare"))
    section = SECTION.model_copy(update={"compare": False, "copies": 1})
    account = train_augmented(cohort, section, *TFIDF, tmp_path, seed=1)
    assert "comparison" not in account
    assert account["judged_by"] == "the model that learned them"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["augmentation.json", "model", "summary.json"]


def test_what_copies_are_made_with_is_watched(tmp_path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "model.safetensors").write_bytes(b"x")
    section = AugmentSection(methods=["synonyms", "translation"], wordnet="words", translate=["there", "there"])
    assert files_of(section, tmp_path)["wordnet/data.noun"] == tmp_path / "words" / "data.noun"
    assert "translate/1/model.safetensors" in files_of(section, tmp_path)
    assert files_of(AugmentSection(wordnet="words"), tmp_path) == {}
