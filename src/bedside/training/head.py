"""A linear head on the vectors of a model that is not trained: the start of fine-tuning, or the whole of a probe.

Starting the head from a logistic regression keeps fine-tuning from spoiling the encoder while the head is still random
(linear probing, then fine-tuning: Kumar et al. 2022).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bedside.core.progress import SILENT, Progress
from bedside.models.notes import Notes, batches, collate

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
WARM_STRENGTH = 0.1  # inverse strength of the regularisation (scikit-learn's C) of a warm start
PROBE_STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)  # what a probe chooses from, on the validation split


@dataclass(frozen=True)
class Linear:
    """Weights [labels, hidden] and bias [labels] of a last layer."""

    weight: Floats
    bias: Floats

    def put(self, last: Any, scale: float = 1.0) -> None:
        """Set a network's last layer; one without a bias keeps none."""
        import torch

        with torch.no_grad():
            last.weight.copy_(torch.as_tensor(scale * self.weight))
            if last.bias is not None:
                last.bias.copy_(torch.as_tensor(scale * self.bias))


def vectors(
    network: Any,
    notes: Notes,
    chosen: Sequence[int],
    cast: Callable[[], Any],
    *,
    padding: int,
    most: int,
    tokens: int,
    progress: Progress = SILENT,
    says: str = "Warm start",
) -> Floats:
    """[chosen, hidden] what the network makes of some notes before its last layer.

    Args:
        network: as it is.
        notes: tokenised.
        chosen: which of them.
        cast: a context of the precision to compute in.
        padding, most: as :func:`bedside.models.notes.collate` takes them.
        tokens: in a batch, at most.
        progress, says: told of the work, under this name.
    """
    import torch

    network.eval()
    device = next(network.parameters()).device
    place = {number: row for row, number in enumerate(chosen)}
    lengths = notes.lengths()
    order = sorted(chosen, key=lambda number: int(lengths[number]))
    found = np.empty((len(chosen), network.last.in_features))
    with progress.task(says, total=len(order), unit="notes") as task, torch.inference_mode():
        for batch in batches(notes, order, tokens):
            with cast():
                some = network.vectors(*collate(notes, batch, padding, device, most))
            found[[place[number] for number in batch]] = some.float().cpu().numpy()
            task.advance(len(batch))
    return found


def fit(given: Floats, targets: Ints, labels: int, *, strength: float, with_bias: bool = True) -> Linear:
    """Logistic regression on standardised vectors, told in terms of the vectors as they are.

    Args:
        given: [notes, hidden] vectors.
        targets: [notes] the number of each one's label, or [notes, labels] yes and no.
        labels: how many.
        strength: scikit-learn's C.
        with_bias: whether the layer has one; without, the vectors are only scaled.
    """
    mean = given.mean(axis=0) if with_bias else np.zeros(given.shape[1])
    spread = given.std(axis=0) + 1e-6
    scaled = (given - mean) / spread
    if targets.ndim == 2:
        rows = [_one_label(scaled, targets[:, label], strength, with_bias) for label in range(labels)]
        weight, bias = np.stack([row for row, _ in rows]), np.asarray([offset for _, offset in rows])
    else:
        from sklearn.linear_model import LogisticRegression

        from bedside.models.baseline import every_label

        model = LogisticRegression(C=strength, max_iter=500, fit_intercept=with_bias).fit(scaled, targets)
        weight, bias = every_label(model, labels)
    weight = weight / spread
    return Linear(weight, bias - weight @ mean)


def _one_label(scaled: Floats, truth: Ints, strength: float, with_bias: bool) -> tuple[Floats, float]:
    """Weights [hidden] and bias of one label's yes against no; a label that all or none have gets its bare odds."""
    share = float(np.clip(truth.mean(), 1e-3, 1 - 1e-3))
    if truth.min() == truth.max():
        return np.zeros(scaled.shape[1]), float(np.log(share / (1 - share)))
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=strength, max_iter=200, fit_intercept=with_bias).fit(scaled, truth)
    return np.asarray(model.coef_[0], dtype=np.float64), float(np.ravel(model.intercept_)[0] if with_bias else 0.0)
