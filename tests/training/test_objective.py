"""Losses and scores against PyTorch, scikit-learn and sums written out."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.metrics import average_precision_score

from bedside.data import Cohort
from bedside.protocol import TrainSection
from bedside.training.objective import Objective, mean_average_precision

LABELS = ("a", "b", "c")


def cohort_of(train, validation):
    rows = [
        {"case_id": f"{split}{n}", "text": "t", "label": label, "patient": "p", "split": split, "group": f"{split}{n}"}
        for split, labels in (("train", train), ("validation", validation))
        for n, label in enumerate(labels)
    ]
    return Cohort(pl.DataFrame(rows), LABELS, {"labels": {}})


ONE = cohort_of(list("aaaaaaaabbc"), list("abc"))
SEVERAL = cohort_of([["a"], ["a", "b"], ["b"], ["c"], ["a"], []], [["a"], ["b", "c"], []])
LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.1, 0.2, 0.3], [-1.0, 3.0, 0.0]])


def test_the_mean_loss_is_that_of_pytorch_with_weights() -> None:
    objective = Objective(ONE, TrainSection(class_weights="on"))
    notes = [0, 8, 10]
    weights = torch.tensor(objective.weights, dtype=torch.float32)
    wanted = torch.nn.functional.cross_entropy(LOGITS, torch.tensor([0, 1, 2]), weight=weights)
    found = objective.losses(LOGITS, notes) / objective.mass(notes)
    assert float(found) == pytest.approx(float(wanted), rel=1e-6)
    assert objective.weights[2] > objective.weights[1] > objective.weights[0]


def test_weights_come_by_themselves_where_labels_are_unbalanced() -> None:
    assert Objective(ONE, TrainSection()).weights is not None
    assert Objective(ONE, TrainSection(class_weights="off")).weights is None
    assert Objective(cohort_of(list("aabbcc"), list("abc")), TrainSection()).weights is None


def test_focal_and_smoothed_losses() -> None:
    plain = {"class_weights": "off"}
    notes = [0, 8, 10]
    sure = torch.softmax(LOGITS, dim=1)[range(3), [0, 1, 2]]
    focal = Objective(ONE, TrainSection(loss="focal", focal_gamma=1.5, **plain)).losses(LOGITS, notes)
    assert float(focal) == pytest.approx(float((-((1 - sure) ** 1.5) * sure.log()).sum()), rel=1e-6)
    smoothed = Objective(ONE, TrainSection(label_smoothing=0.1, **plain)).losses(LOGITS, notes)
    logs = torch.log_softmax(LOGITS, dim=1)
    by_hand = -(0.9 * logs[range(3), [0, 1, 2]] + 0.1 * logs.mean(dim=1)).sum()
    assert float(smoothed) == pytest.approx(float(by_hand), rel=1e-6)


def test_several_labels_are_a_yes_or_no_each() -> None:
    objective = Objective(SEVERAL, TrainSection())
    truth = torch.tensor([[1.0, 1, 0], [0, 0, 1], [0, 0, 0]])
    chance = torch.sigmoid(LOGITS)
    by_hand = -(truth * chance.log() + (1 - truth) * (1 - chance).log()).mean(dim=1).sum()
    assert float(objective.losses(LOGITS, [1, 3, 5])) == pytest.approx(float(by_hand), rel=1e-6)
    assert objective.mass([1, 3, 5]) == 3
    right = torch.where(truth == 1, chance, 1 - chance)
    focal = Objective(SEVERAL, TrainSection(loss="focal")).losses(LOGITS, [1, 3, 5])
    assert float(focal) == pytest.approx(float(-((1 - right) ** 2 * right.log()).mean(dim=1).sum()), rel=1e-6)


def test_the_score_of_several_labels_is_scikit_learns() -> None:
    random = np.random.default_rng(3)
    truth = (random.random((60, 4)) < 0.3).astype(np.int64)
    truth[:, 3] = 0  # a label that none has is left out
    chance = random.random((60, 4)).round(1)
    wanted = np.mean([average_precision_score(truth[:, k], chance[:, k]) for k in range(3)])
    assert mean_average_precision(truth, chance) == pytest.approx(wanted, abs=1e-12)


def test_a_collapse_is_told_for_one_label_and_for_several() -> None:
    one, several = Objective(ONE, TrainSection()), Objective(SEVERAL, TrainSection())
    assert one.collapsed(frozenset({1})) == "calls every validation case 'b'"
    assert one.collapsed(frozenset({0, 1})) is None
    assert several.collapsed(several.called(np.full((3, 3), 0.2))) == "gives every validation case the same answer"
    assert several.collapsed(several.called(np.eye(3))) is None
