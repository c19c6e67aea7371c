"""Studies of SYNTHETIC notes whose best possible answer is known: two labels, and several labels a case.

Cues stand in a note with a chance that depends on its label alone, so Bayes' rule on the cues that it holds gives the
chance of each label exactly. A model that learned from enough notes must come near it, and none can beat it but by
luck.
"""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as sk

from bedside import Bundle, Study
from bedside.core.errors import BundleError
from bedside.core.files import read_json
from bedside.data import Cohort
from bedside.evaluation import evaluate
from bedside.models import load_diagnoser
from bedside.protocol import AnswerSection, EvaluateSection, ModelSection, TrainSection, render
from bedside.serving.schema import Prediction
from bedside.study.predict import answer_table

FILL = (
    "seen today", "came by bus", "no allergies known", "lives with family", "works outdoors", "retired last year",
    "asks for a letter", "medicines unchanged", "feels worried", "blood drawn", "weight stable", "was here before",
    "advice given", "slept badly", "wears glasses", "plans to travel", "results pending", "uses a stick",
)  # fmt: skip
CUES = {
    "Asthma": ("wheeze on exertion", "tight chest at night"),
    "Gout": ("hot swollen toe", "uric acid raised"),
    "Migraine": ("throbbing temple", "light hurts the eyes"),
    "Eczema": ("itchy elbow creases", "dry flaking skin"),
}
PREVALENCE = np.asarray([0.3, 0.2, 0.35, 0.15])
WITH, WITHOUT = 0.9, 0.02


def _filled(said: list[str], random: np.random.Generator) -> str:
    """The cues among other words and numbers, in any order."""
    others = [f"{FILL[place]} {random.integers(1, 1000)}" for place in random.permutation(len(FILL))[:9]]
    parts = [*said, *others]
    return ". ".join(parts[place] for place in random.permutation(len(parts))) + "."


def _study(folder: Path, rows: list[tuple[str, str]], keys: str) -> Study:
    with (folder / "notes.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("note", "dx", "patient"), *((*row, f"p{n}") for n, row in enumerate(rows))])
    (folder / "protocol.toml").write_text(
        '[study]\nname = "known"\n[data]\nsource = "notes.csv"\ntext = "note"\nlabel = "dx"\npatient = "patient"\n'
        f"{keys}\n"
        '[model]\nbase = "builtin:tfidf"\n[evaluate]\nresamples = 200\n[answer]\nmax_error = 0.1\n',
        encoding="utf-8",
    )
    study = Study.open(folder)
    study.run()
    return study


def _posterior(cues: np.ndarray, prevalence: np.ndarray) -> np.ndarray:
    """[notes, labels] from which of its cues [notes, labels, cues of a label] a note holds."""
    each = np.where(cues, np.log(WITH / WITHOUT), np.log((1 - WITH) / (1 - WITHOUT))).sum(axis=2)
    return 1 / (1 + np.exp(-(np.log(prevalence / (1 - prevalence)) + each)))


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """The study, and by its text the chance of each label of a note, in the order of the names."""
    folder = tmp_path_factory.mktemp("several")
    random = np.random.default_rng(7)
    has = random.random((3000, 4)) < PREVALENCE
    cues = random.random((3000, 4, 2)) < np.where(has, WITH, WITHOUT)[:, :, None]
    names = list(CUES)
    rows = [
        (
            _filled([CUES[names[label]][place] for label, place in np.argwhere(one)], random),
            ";".join(names[label] for label in np.flatnonzero(own)),
        )
        for one, own in zip(cues, has, strict=True)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BEDSIDE_CONFIG", str(folder / "config"))
        study = _study(folder, rows, 'delimiter = ";"\nunlabelled = "none"')
    order = np.argsort(names)
    chances = dict(zip((text for text, _ in rows), _posterior(cues, PREVALENCE)[:, order], strict=True))
    return study, chances


def _of_test(study: Study, chances: dict) -> tuple[Cohort, pl.DataFrame, np.ndarray]:
    cohort = Cohort.load(study.path("prepare"))
    predictions = pl.read_parquet(study.path("evaluate") / "predictions.parquet").filter(pl.col("split") == "test")
    return cohort, predictions, np.stack([chances[text] for text in cohort.texts("test")])


def _columns(predictions: pl.DataFrame, start: str, count: int) -> np.ndarray:
    return predictions.select([f"{start}_{k}" for k in range(count)]).to_numpy()


def test_of_several_labels_the_model_comes_near_the_best_possible_answer(several) -> None:
    cohort, predictions, best = _of_test(*several)
    truth = cohort.target_matrix("test")
    found = _columns(predictions, "p", 4)
    # Equal chances are many, and count as one threshold: in any order they are as good.
    broken = best + np.random.default_rng(0).random(best.shape) * 1e-9
    ours, theirs = (sk.average_precision_score(truth, one, average="macro") for one in (found, broken))
    assert theirs - 0.03 < ours < theirs + 0.02
    assert np.abs(found - best).mean() < 0.03
    metrics = read_json(several[0].path("evaluate") / "metrics.json")["test"]["model"]
    assert metrics["auprc"]["value"] == pytest.approx(ours, abs=1e-9)
    assert metrics["auprc"]["low"] < theirs < metrics["auprc"]["high"] + 0.02
    assert metrics["calibration_slope"]["low"] < 1 < metrics["calibration_slope"]["high"]


def test_of_several_labels_every_figure_comes_from_the_predictions(several) -> None:
    study, chances = several
    cohort, predictions, _ = _of_test(study, chances)
    metrics = read_json(study.path("evaluate") / "metrics.json")
    truth, found = cohort.target_matrix("test"), _columns(predictions, "p", 4)
    called = found >= np.asarray([metrics["thresholds"]["model"][label] for label in cohort.labels])
    assert predictions["predicted"].to_list() == [[cohort.labels[k] for k in np.flatnonzero(row)] for row in called]
    assert predictions["label"].to_list() == [[cohort.labels[k] for k in np.flatnonzero(row)] for row in truth]
    model = metrics["test"]["model"]
    for name, value in (
        ("macro_f1", sk.f1_score(truth, called, average="macro")),
        ("micro_f1", sk.f1_score(truth, called, average="micro")),
        ("subset_accuracy", sk.accuracy_score(truth, called)),
        ("hamming_loss", sk.hamming_loss(truth, called)),
        ("jaccard", sk.jaccard_score(truth, called, average="samples", zero_division=1.0)),
        ("auroc", sk.roc_auc_score(truth, found, average="macro")),
    ):
        assert model[name]["value"] == pytest.approx(value, abs=1e-9), name
        assert model[name]["low"] < value < model[name]["high"], name
    beside = _columns(predictions, "baseline", 4)
    baseline = metrics["test"]["baseline"]["auprc"]["value"]
    assert baseline == pytest.approx(sk.average_precision_score(truth, beside, average="macro"), abs=1e-9)
    assert metrics["test"]["majority"]["auroc"]["value"] == 0.5
    assert metrics["test"]["difference"]["verdict"] == "no difference shown"  # the same model twice
    assert 0 < metrics["naive"]["auprc"]["low"] < metrics["naive"]["auprc"]["high"] < 1


def test_what_is_chosen_for_several_labels_is_chosen_without_the_test_split(several) -> None:
    study, _ = several
    cohort = Cohort.load(study.path("prepare"))
    lists = [
        list(cohort.labels) if split == "test" else labels
        for split, labels in cohort.frame.select("split", "label").iter_rows()
    ]
    other = Cohort(cohort.frame.with_columns(pl.Series("label", lists)), cohort.labels, cohort.report)
    models = {name: load_diagnoser(study.path("baseline") / name) for name in ("majority", "tfidf")}
    section, answer = EvaluateSection(resamples=100), AnswerSection(max_error=0.1)
    found = [evaluate(one, models["tfidf"], models, section, answer, seed=42) for one in (cohort, other)]
    assert found[0].metrics["test"]["model"]["macro_f1"] != found[1].metrics["test"]["model"]["macro_f1"]
    for name in ("calibration", "abstention"):
        assert getattr(found[0], name).to_json() == getattr(found[1], name).to_json()
    assert found[0].metrics["thresholds"] == found[1].metrics["thresholds"]


def test_what_is_promised_of_yes_and_no_holds_on_the_test_split(several) -> None:
    study, _ = several
    held = read_json(study.path("evaluate") / "metrics.json")["abstention"]
    assert held["labels_with_yes"] == held["labels_with_no"] == 4
    assert held["yes"]["answered"] > 200
    assert held["yes"]["error"]["value"] <= 0.1
    assert held["no"]["error"]["value"] <= 0.1
    assert held["yes"]["answered"] + held["no"]["answered"] + held["unsure"] == held["of"]


def test_an_answer_about_several_labels_holds_what_is_yes_and_what_is_open(several, tmp_path) -> None:
    study, _ = several
    bundle = Bundle.load(study.path("package"))
    assert read_json(study.path("package") / "bundle.json")["several"] is True
    random = np.random.default_rng(1)
    both = _filled([*CUES["Gout"], *CUES["Asthma"]], random)
    answer, nothing, short = bundle.diagnose([both, _filled([], random), "hot swollen toe"])
    yes = {one.label for one in answer.differential if one.decision == "yes"}
    assert yes == {"Asthma", "Gout"}
    assert answer.decisions is not None
    assert answer.decisions.yes == 2
    assert answer.decisions.yes + answer.decisions.no + answer.decisions.unsure == 4
    assert sum(one.probability for one in answer.differential) > 1.5
    assert answer.uncertainty is None
    assert not [one for one in nothing.differential if one.decision == "yes"]
    assert (short.status, short.differential, short.decisions) == ("insufficient_information", (), None)
    # Asked for one, it still holds all that are yes: none of them is cut silently.
    assert {one.label for one in bundle.diagnose([both], 1)[0].differential} >= yes
    Prediction.model_validate({"prediction_id": "pred_1", **answer.to_json(), "elapsed_ms": 1})
    with (tmp_path / "more.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("note",), (both,)])
    answer_table(bundle, tmp_path / "more.csv", "note", tmp_path / "answers.jsonl")
    assert json.loads((tmp_path / "answers.jsonl").read_text(encoding="utf-8")) == {"row": 1, **answer.to_json()}


def _word_model(folder: Path, texts: list[str]) -> Path:
    """A transformer of two small layers with random weights that knows these words."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = sorted({word for text in texts for word in text.lower().replace(".", " .").split() if not word.isdigit()})
    vocabulary = {word: place for place, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names).save_pretrained(folder)
    torch.manual_seed(3)
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=len(vocabulary), max_position_embeddings=64, **size)).save_pretrained(folder)
    return folder


def test_a_transformer_of_several_labels_goes_through_the_whole_line(several, tmp_path, monkeypatch) -> None:
    study, chances = several
    monkeypatch.setenv("BEDSIDE_CONFIG", str(study.folder / "config"))
    base = _word_model(tmp_path / "base", list(chances))
    copy = tmp_path / "study"
    shutil.copytree(study.folder, copy)
    learn = {"epochs": 3, "learning_rate": 3e-3, "threads": 1, "precision": "fp32", "batch_tokens": 2048}
    planned = study.protocol.model_copy(
        update={"model": ModelSection(base=str(base), window=64, overlap=8), "train": TrainSection(**learn)}
    )
    (copy / "protocol.toml").write_text(render(planned), encoding="utf-8")
    again = Study.open(copy)
    assert [one.stage for one in again.run() if one.ran] == ["train", "evaluate", "package"]
    cohort, predictions, best = _of_test(again, chances)
    truth, found = cohort.target_matrix("test"), _columns(predictions, "p", 4)
    ours = sk.average_precision_score(truth, found, average="macro")
    assert ours > sk.average_precision_score(truth, best, average="macro") - 0.05
    assert np.abs(found - best).mean() < 0.06
    bundle = Bundle.load(again.path("package"))
    note = _filled([*CUES["Gout"], *CUES["Asthma"]], np.random.default_rng(1))
    answer = bundle.diagnose([note])[0]
    assert {one.label for one in answer.differential if one.probability > 0.5} == {"Asthma", "Gout"}
    np.testing.assert_allclose(
        bundle.predict_proba(cohort.texts("test")[:20]),
        found[:20],
        atol=1e-5,
        err_msg="served is not what was measured",
    )


def test_the_report_on_several_labels_says_what_is_promised(several) -> None:
    page = (several[0].path("evaluate") / "report.html").read_text(encoding="utf-8")
    for said in ("Each label is called from its own threshold on", "Of each label on its own", "All 4 labels", "Gout"):
        assert said in page


def test_a_bundle_whose_answers_are_of_one_label_is_refused(several, tmp_path) -> None:
    from bedside.bundle.verify import list_files, sums_text
    from bedside.core.files import sha256_file
    from bedside.evaluation import Abstention

    folder = tmp_path / "bundle"
    shutil.copytree(several[0].path("package"), folder)
    one = Abstention(threshold=0.6, max_error=0.1, confidence=0.95, cases=90, answered=80, errors=0, fewest_words=5)
    (folder / "abstention.json").write_text(json.dumps(one.to_json()), encoding="utf-8")
    sums = {name: sha256_file(folder / name) for name in list_files(folder)}
    (folder / "SHA256SUMS").write_bytes(sums_text(sums))
    with pytest.raises(BundleError, match="as many labels a case"):
        Bundle.load(folder)


def test_of_two_labels_the_model_comes_near_the_best_possible_answer(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("BEDSIDE_CONFIG", str(tmp_path / "config"))
    random = np.random.default_rng(3)
    prevalence, cues = 0.45, [cue for own in CUES.values() for cue in own][:4]
    sick = random.random(3000) < prevalence
    present, absent = np.asarray([0.7, 0.6, 0.3, 0.5]), np.asarray([0.2, 0.1, 0.25, 0.6])
    held = random.random((3000, 4)) < np.where(sick[:, None], present, absent)
    odds = np.where(held, np.log(present / absent), np.log((1 - present) / (1 - absent))).sum(axis=1)
    best = 1 / (1 + np.exp(-(np.log(prevalence / (1 - prevalence)) + odds)))
    rows = [
        (_filled([cues[place] for place in np.flatnonzero(one)], random), "sick" if own else "well")
        for one, own in zip(held, sick, strict=True)
    ]
    study = _study(tmp_path, rows, "")
    chances = dict(zip((text for text, _ in rows), best, strict=True))
    cohort, predictions, known = _of_test(study, chances)
    assert cohort.positive == "sick"
    place = cohort.labels.index("sick")
    truth, found = cohort.targets("test") == place, predictions[f"p_{place}"].to_numpy()
    ours, theirs = sk.roc_auc_score(truth, found), sk.roc_auc_score(truth, known)
    assert theirs - 0.03 < ours < theirs + 0.02
    assert np.abs(found - known).mean() < 0.06
    model = read_json(study.path("evaluate") / "metrics.json")["test"]["model"]
    assert model["auroc"]["value"] == pytest.approx(ours, abs=1e-9)
    assert model["auroc"]["low"] < theirs < model["auroc"]["high"]
    called = found >= 0.5
    assert model["per_label"]["sick"]["sensitivity"]["value"] == pytest.approx(called[truth].mean(), abs=1e-9)
    assert model["per_label"]["sick"]["specificity"]["value"] == pytest.approx((~called[~truth]).mean(), abs=1e-9)
