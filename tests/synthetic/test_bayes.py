"""The clinic is neither trivial nor noise: the facts decide, and words alone do not."""

from __future__ import annotations

from math import log

import numpy as np
import pytest

from bedside.synthetic import Plan, generate
from bedside.synthetic.bayes import posterior
from bedside.synthetic.facts import NEGATED, PRESENT, draw_facts, visits
from bedside.synthetic.knowledge import knowledge


@pytest.fixture(scope="module")
def facts():
    return draw_facts(knowledge(), 3, 0, 0, visits(3, 0, 0, None), False)


def test_bayes_rule_decides_at_least_95_percent():
    clinic = generate(Plan(notes=3000))
    assert clinic.bayes_n == 3000
    assert clinic.bayes_accuracy >= 0.95, f"{clinic.bayes_accuracy:.4f} (n = {clinic.bayes_n})"
    assert clinic.bayes_accuracy < 1


def test_posterior_equals_a_plain_loop_over_the_model(facts):
    model = knowledge()
    chances = posterior(model, facts)
    assert np.allclose(chances.sum(axis=1), 1)
    for row in range(0, 40):
        logs = [_log_joint(model, facts, row, diagnosis) for diagnosis in range(len(model.diagnoses))]
        shares = np.exp(np.array(logs) - max(logs))
        assert np.allclose(chances[row], shares / shares.sum(), atol=1e-12)


def _log_joint(model, facts, row, diagnosis):
    male = facts.male[row]
    total = log(model.prior[diagnosis]) + log(model.male[diagnosis] if male else 1 - model.male[diagnosis])
    total += log(model.ages[diagnosis, facts.age_bin[row]])
    for finding in range(len(model.findings)):
        here = model.present[diagnosis, finding] * model.mention_present[diagnosis, finding]
        gone = (1 - model.present[diagnosis, finding]) * model.mention_absent[diagnosis, finding]
        total += log({PRESENT: here, NEGATED: gone}.get(int(facts.state[row, finding]), 1 - here - gone))
    for place in range(len(model.measures)):
        given, chosen = model.mention_measure[diagnosis, place], facts.bins[row, place]
        total += log(1 - given if chosen < 0 else given * model.bins[diagnosis, place, chosen])
    return total


def test_posterior_is_calibrated():
    """Exactness shows: among notes given a chance p, a share p has that diagnosis."""
    model, given, right = knowledge(), [], []
    for block in range(6):
        drawn = draw_facts(model, 9, block, 0, visits(9, block, 0, None), False)
        chances = posterior(model, drawn)
        given.append(chances.max(axis=1))
        right.append(chances.argmax(axis=1) == drawn.diagnosis)
    expected, seen = np.concatenate(given), np.concatenate(right)
    unsure = expected < 0.9
    assert unsure.sum() > 100
    error = (expected * (1 - expected))[unsure].sum() ** 0.5
    assert abs(seen[unsure].sum() - expected[unsure].sum()) < 4 * error


def test_every_diagnosis_has_neighbours_and_is_drawn():
    rows = generate(Plan(notes=3000)).notes
    counts = {name: sum(row["diagnosis"] == name for row in rows) for name in knowledge().diagnoses}
    assert min(counts.values()) >= 60
    assert counts["Pulmonary embolism"] >= 100


def test_words_alone_stay_under_90_percent_and_beat_chance():
    """A lighter TF-IDF than benchmarks/sample_difficulty.py, which prints the full figures."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import SGDClassifier
    from sklearn.metrics import f1_score
    from sklearn.model_selection import GroupShuffleSplit

    rows = generate(Plan(notes=3000)).notes
    texts, labels = np.array([row["note"] for row in rows], dtype=object), np.array([row["diagnosis"] for row in rows])
    groups = [row["patient_id"] for row in rows]
    train, test = next(GroupShuffleSplit(1, test_size=0.25, random_state=0).split(texts, labels, groups))
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    model = SGDClassifier(loss="log_loss", alpha=1e-5, random_state=0)
    model.fit(words.fit_transform(texts[train]), labels[train])
    score = f1_score(labels[test], model.predict(words.transform(texts[test])), average="macro")
    assert 0.5 < score < 0.9, f"macro-F1 {score:.3f} (n = {len(test)})"
