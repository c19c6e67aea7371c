"""What a model is to learn: the loss of each note, and the score by which the best epoch is chosen.

One label a case: cross-entropy, or the focal loss (Lin et al. 2017), with rare labels weighed up where the labels are
unbalanced; the best epoch has the highest macro-F1. Several labels a case: binary cross-entropy over yes and no of each
label, or its focal form; the best epoch has the highest mean average precision, which needs no threshold. With two
labels the softmax of one label a case is the logistic loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bedside.protocol import TrainSection

if TYPE_CHECKING:
    import torch

    from bedside.data import Cohort

_UNBALANCED = 3.0
_HEAVIEST = 10.0  # a label of a few cases must not drown the others
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Score:
    """How good a model is on the validation split; the greater tuple is the better one."""

    value: float
    loss: float

    def better_than(self, other: Score) -> bool:
        """By the score, then by the loss."""
        return (self.value, -self.loss) > (other.value, -other.loss)


class Objective:
    """The loss and the score of a study.

    Args:
        cohort: its training split says how frequent each label is.
        section: which loss.

    Attributes:
        several: whether a case may have several labels.
        targets: [training cases] the number of each one's label, or [training cases, labels] yes and no.
        measure: the name of the score.
        weights: [labels] weight of a case of each label (of its yes, with several), or None.
    """

    def __init__(self, cohort: Cohort, section: TrainSection) -> None:
        self.section, self.several, self.labels = section, cohort.several, cohort.labels
        self.measure = "mean_average_precision" if self.several else "macro_f1"
        self.targets = self._targets(cohort, "train")
        self.held_out = self._targets(cohort, "validation")
        self.weights = self._class_weights()

    def _targets(self, cohort: Cohort, split: str) -> Ints:
        return cohort.target_matrix(split) if self.several else cohort.targets(split)

    def _class_weights(self) -> Floats | None:
        """[labels] the square root of how much rarer a label is than if all were alike, where that is wanted."""
        labels = len(self.labels)
        if self.several:
            counts = self.targets.sum(axis=0).astype(np.float64)
            wanted = np.sqrt((len(self.targets) - counts) / np.maximum(counts, 1))
            # Yes is rarer than no for nearly every label, so that "auto" would always weigh, and spoil probabilities.
            return np.clip(wanted, 1.0, _HEAVIEST) if self.section.class_weights == "on" else None
        counts = np.bincount(self.targets, minlength=labels).astype(np.float64)
        unbalanced = counts.max() > _UNBALANCED * max(counts.min(), 1)
        if self.section.class_weights == "off" or (self.section.class_weights == "auto" and not unbalanced):
            return None
        weights = np.sqrt(counts.sum() / (labels * np.maximum(counts, 1)))
        return np.asarray(weights / weights.mean())

    def mass(self, notes: list[int]) -> float:
        """What the losses of these notes are divided by: their weights, added up."""
        if self.weights is None or self.several:
            return float(len(notes))
        return float(self.weights[self.targets[notes]].sum())

    def losses(self, logits: torch.Tensor, notes: list[int]) -> torch.Tensor:
        """The weighted losses of some training notes, added up."""
        import torch

        wanted = torch.as_tensor(self.targets[notes], device=logits.device)
        weights = None
        if self.weights is not None:
            weights = torch.as_tensor(self.weights, dtype=torch.float32, device=logits.device)
        loss = self._binary if self.several else self._one_of
        return loss(logits.float(), wanted, weights)

    def _one_of(self, logits: torch.Tensor, wanted: torch.Tensor, weights: Any) -> torch.Tensor:
        from torch.nn.functional import cross_entropy, log_softmax

        smooth = self.section.label_smoothing
        if self.section.loss == "cross_entropy":
            return cross_entropy(logits, wanted, weight=weights, reduction="sum", label_smoothing=smooth)
        plain = cross_entropy(logits, wanted, weight=weights, reduction="none", label_smoothing=smooth)
        sure = log_softmax(logits, dim=1).gather(1, wanted[:, None])[:, 0].exp()
        return ((1 - sure) ** self.section.focal_gamma * plain).sum()

    def _binary(self, logits: torch.Tensor, wanted: torch.Tensor, weights: Any) -> torch.Tensor:
        import torch
        from torch.nn.functional import binary_cross_entropy_with_logits

        smooth, truth = self.section.label_smoothing, wanted.float()
        soft = truth * (1 - smooth) + smooth / 2
        plain = binary_cross_entropy_with_logits(logits, soft, pos_weight=weights, reduction="none")
        if self.section.loss == "focal":
            sure = torch.sigmoid(torch.where(wanted == 1, logits, -logits))
            plain = (1 - sure) ** self.section.focal_gamma * plain
        return plain.mean(dim=1).sum()

    def score(self, probabilities: Floats) -> Score:
        """How good these probabilities [validation cases, labels] are."""
        truth = self.held_out
        if self.several:
            right = np.where(truth == 1, probabilities, 1 - probabilities)
            return Score(mean_average_precision(truth, probabilities), _surprise(right))
        from bedside.metrics import counts, macro_f1

        called = probabilities.argmax(axis=1)
        found = counts(np.ones((1, len(truth))), truth, called, probabilities.shape[1])
        return Score(float(macro_f1(found)[0]), _surprise(probabilities[np.arange(len(truth)), truth]))

    def called(self, probabilities: Floats) -> frozenset[int]:
        """The labels that are called in any validation case; with several labels, those that are not all alike."""
        if self.several:
            varied = np.ptp(probabilities, axis=0) > 0 if len(probabilities) else np.zeros(0, bool)
            return frozenset(np.flatnonzero(varied).tolist())
        return frozenset(probabilities.argmax(axis=1).tolist())

    def collapsed(self, called: frozenset[int]) -> str | None:
        """What a model does that learned nothing, or None: one label for every case, or one answer for every case."""
        if self.several:
            return None if called else "gives every validation case the same answer"
        if len(called) == 1 and len(set(self.held_out.tolist())) > 1:
            return f"calls every validation case '{self.labels[min(called)]}'"
        return None


def mean_average_precision(truth: Ints, probabilities: Floats) -> float:
    """The mean over the labels that occur of the average precision of each."""
    from bedside.metrics import auprc

    even = np.ones((1, len(truth)))
    found = [auprc(even, truth[:, k] == 1, probabilities[:, k])[0] for k in range(truth.shape[1]) if truth[:, k].any()]
    return float(np.mean(found)) if found else 0.0


def _surprise(right: Floats) -> float:
    """The mean negative logarithm of the probability that was given to what is true."""
    return float(-np.log(np.maximum(right, 1e-12)).mean())
