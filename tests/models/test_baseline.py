"""The baselines: what their vocabulary may hold, and that they come back from the disk as they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bedside.core.errors import ModelError
from bedside.core.files import read_json, sha256_tree
from bedside.models import Majority, TfidfLogistic, load_diagnoser

# A name whose every run of three characters is its own.
NAME = "Qzxwvqk"
LABELS = ("gout", "migraine", "pneumonia")
_NOTES = {
    "gout": "swollen red big toe after beer, {} tender joint, uric acid raised",
    "migraine": "throbbing headache on one side, {} light hurts, nausea and aura",
    "pneumonia": "cough with fever and rusty sputum, {} crackles at the right base",
}
_BETWEEN = ("mild", "severe", "sudden", "constant", "new", "worse today")


def _cases(labels: tuple[str, ...] = LABELS, *, names: int = 0) -> tuple[list[str], np.ndarray, list[str]]:
    """Texts, targets and patients, two notes each; the first patient's first ``names`` notes name him."""
    texts, targets, patients = [], [], []
    for number, between in enumerate(_BETWEEN):
        for label in labels:
            named = f"{NAME} {between}" if len(texts) < names else between
            texts.append(_NOTES[label].format(named))
            targets.append(LABELS.index(label))
            patients.append("first" if len(texts) <= names else f"patient {number} {label}")
    return texts, np.asarray(targets), patients


def _fit(labels: tuple[str, ...] = LABELS, *, names: int = 0, groups: bool = True) -> TfidfLogistic:
    texts, targets, patients = _cases(labels, names=names)
    return TfidfLogistic.fit(texts, targets, (texts, targets), LABELS, groups=patients if groups else None)


def _terms(model: TfidfLogistic, folder: Path) -> list[str]:
    model.save(folder)
    return [term for part in read_json(folder / "vocabulary.json") for term in part]


def _of_the_name(terms: list[str]) -> list[str]:
    """The terms that hold three characters of the name on end."""
    name = NAME.lower()
    pieces = {name[start : start + 3] for start in range(len(name) - 2)}
    return [term for term in terms if any(piece in term for piece in pieces)]


def test_what_one_patient_alone_has_is_not_in_the_vocabulary(tmp_path: Path) -> None:
    terms = _terms(_fit(names=4), tmp_path)  # in four notes of one patient
    assert _of_the_name(terms) == []
    assert {"cough", "fever", "red big", "aura"} <= set(terms)


def test_what_two_patients_have_is_in_the_vocabulary(tmp_path: Path) -> None:
    """The counter-check: without the patients each note counts, and four of them share the name."""
    assert NAME.lower() in _of_the_name(_terms(_fit(names=4, groups=False), tmp_path))


def test_a_word_of_one_note_is_left_out_without_patients_too(tmp_path: Path) -> None:
    assert _of_the_name(_terms(_fit(names=1, groups=False), tmp_path)) == []


def test_of_too_many_terms_the_commonest_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bedside.models import baseline

    monkeypatch.setattr(baseline, "_MOST_FEATURES", 3)
    _fit().save(tmp_path)
    # "and" is in twelve notes; of the many that are in six the first in the alphabet stay.
    assert read_json(tmp_path / "vocabulary.json")[0] == ["acid", "acid raised", "and"]


def test_a_saved_model_answers_as_before_and_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    asked = ["fever and cough", "one sided headache", "", "a word that nobody knows: Ünlü 12,5"]
    model = _fit()
    model.save(tmp_path / "one")
    loaded = load_diagnoser(tmp_path / "one")
    assert loaded.labels == LABELS
    assert np.array_equal(loaded.predict_proba(asked), model.predict_proba(asked))
    loaded.save(tmp_path / "two")
    _fit().save(tmp_path / "three")
    assert sha256_tree(tmp_path / "one") == sha256_tree(tmp_path / "two") == sha256_tree(tmp_path / "three")


def test_each_row_is_a_distribution_whatever_else_is_asked() -> None:
    model = _fit()
    texts, targets, _ = _cases()
    together = model.predict_proba(texts)
    assert np.allclose(together.sum(axis=1), 1)
    assert (together.argmax(axis=1) == targets).all()
    assert np.array_equal(together, np.concatenate([model.predict_proba([text]) for text in texts]))
    assert model.predict_proba([]).shape == (0, 3)


@pytest.mark.parametrize("absent", LABELS)
def test_two_labels_in_training_and_a_third_that_nobody_has(tmp_path: Path, absent: str) -> None:
    """Two classes are one row in scikit-learn; the absent label may stand before, between or after them."""
    trained = tuple(label for label in LABELS if label != absent)
    model = _fit(trained)
    texts, targets, _ = _cases(trained)
    found = model.predict_proba(texts)
    assert (found.argmax(axis=1) == targets).all()
    assert (found[:, LABELS.index(absent)] < 1e-6).all()
    assert np.allclose(found.sum(axis=1), 1)
    model.save(tmp_path)
    assert np.array_equal(load_diagnoser(tmp_path).predict_proba(texts), found)


def test_two_labels_have_the_probabilities_of_scikit_learn() -> None:
    from sklearn.linear_model import LogisticRegression

    from bedside.models.baseline import _transform

    texts, targets, patients = _cases(LABELS[:2])
    model = TfidfLogistic.fit(texts, targets, (texts, targets), LABELS[:2], groups=patients)
    matrix = _transform(model._vectorizers, texts)
    reference = LogisticRegression(C=model.strength, max_iter=300, tol=1e-3, class_weight="balanced")
    assert np.allclose(model.predict_proba(texts), reference.fit(matrix, targets).predict_proba(matrix), atol=1e-12)


def test_notes_without_a_common_word_are_one_sentence() -> None:
    with pytest.raises(ModelError, match="No word of the 2 training notes occurs in notes of 2 patients"):
        TfidfLogistic.fit(["aaa bbb", "ccc ddd"], np.asarray([0, 1]), ([], np.asarray([], dtype=int)), LABELS[:2])


def test_a_damaged_vocabulary_is_one_sentence(tmp_path: Path) -> None:
    _fit().save(tmp_path)
    (tmp_path / "vocabulary.json").write_text('[["cough"], ["cou"]]', encoding="utf-8")
    with pytest.raises(ModelError, match="is damaged; train it again"):
        load_diagnoser(tmp_path)


def test_the_majority_answers_with_the_shares_of_training(tmp_path: Path) -> None:
    Majority.fit(np.asarray([0, 0, 0, 2]), LABELS).save(tmp_path)
    assert load_diagnoser(tmp_path).predict_proba(["a", ""]).tolist() == [[0.75, 0.0, 0.25]] * 2


def _several() -> tuple[list[str], np.ndarray]:
    """Notes of no, one, two or three of the diagnoses, each with its own words; and [texts, labels] which."""
    texts, targets = [], []
    for number in range(64):
        has = [number % 2, number // 2 % 2, number // 4 % 2]
        said = [_NOTES[label].format(_BETWEEN[number % 6]) for label, one in zip(LABELS, has, strict=True) if one]
        texts.append(". ".join([*said, f"seen on day {number}"]))
        targets.append(has)
    return texts, np.asarray(targets)


def test_of_several_labels_each_probability_stands_alone(tmp_path: Path) -> None:
    texts, targets = _several()
    model = TfidfLogistic.fit(texts, targets, (texts, targets), LABELS)
    found = model.predict_proba(texts)
    assert model.several
    assert ((found > 0.5) == (targets == 1)).all()
    assert found[targets.sum(axis=1) == 3].sum(axis=1).min() > 1.5
    model.save(tmp_path)
    again = load_diagnoser(tmp_path)
    assert again.several and again.labels == LABELS
    np.testing.assert_array_equal(again.predict_proba(texts), found)


def test_of_several_labels_the_majority_is_the_prevalence_of_each(tmp_path: Path) -> None:
    targets = np.asarray([[1, 0, 1], [1, 0, 0], [1, 0, 0], [0, 0, 0]])
    Majority.fit(targets, LABELS).save(tmp_path)
    again = load_diagnoser(tmp_path)
    assert again.several
    np.testing.assert_allclose(again.predict_proba(["any", "other"]), [[0.75, 0, 0.25]] * 2)


def test_a_label_that_every_training_case_has_or_none_gets_its_share() -> None:
    texts, targets = _several()
    targets = np.column_stack([targets[:, 0], np.ones(64, int), np.zeros(64, int)])
    found = TfidfLogistic.fit(texts, targets, (texts, targets), LABELS).predict_proba(texts)
    assert (found[:, 1] > 0.98).all()
    assert (found[:, 2] < 0.02).all()


def test_one_vs_rest_is_scikit_learns_regression_of_each_label() -> None:
    from scipy.sparse import random as sparse
    from sklearn.linear_model import LogisticRegression

    from bedside.models.one_vs_rest import fit_one_vs_rest

    matrix = sparse(300, 40, density=0.2, random_state=0, format="csr")
    truth = np.random.default_rng(0).normal(size=(40, 5))
    targets = ((matrix @ truth + np.random.default_rng(1).normal(size=(300, 5))) > 1).astype(np.int64)
    weights, bias, c = fit_one_vs_rest(matrix, targets, (matrix, targets), (1.0, 10.0))
    assert c == 10.0  # on the cases that it learned from, the weaker regularisation is better
    for label in range(5):
        exact = LogisticRegression(solver="liblinear", C=c, tol=1e-8).fit(matrix, targets[:, label])
        off = matrix @ (weights[label] - exact.coef_[0]) + bias[label] - exact.intercept_[0]
        assert np.abs(off).max() < 0.2
