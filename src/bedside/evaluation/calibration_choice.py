"""Which calibration a model gets, chosen on the calibration split by cross-fitting.

Temperature scaling has one number and cannot overfit; it also leaves the model's first label what it was. So it is kept
unless another method has a lower log-loss on cases that it was not fitted on, by more than the standard error of the
paired difference. Folds and error are of whole clusters. A method with many numbers knows its own cases too well; what
is certified later on these cases therefore sees the cross-fitted probabilities, never those of the final fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bedside.core.errors import ProtocolError
from bedside.evaluation.calibration import METHODS, Calibration, losses_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
FOLDS = 5
ISOTONIC = 1000  # clusters under which a curve for each label follows chance
ISOTONIC_OF_A_LABEL = 30  # cases of each label, likewise


@dataclass(frozen=True)
class Chosen:
    """A calibration, and the probabilities of the calibration cases that certificates may rest on.

    Attributes:
        calibration: fitted on all cases.
        held: [cases, labels] from fits that had not seen the case; from the one fit where it is a temperature.
    """

    calibration: Calibration
    held: Floats


def choose(raw: Floats, targets: Ints, clusters: Sequence[object], method: str, seed: int) -> Chosen:
    """Fit the method that was asked for, or the one that ``auto`` finds.

    Args:
        raw: [cases, labels] probabilities of the model.
        targets: [cases].
        clusters: [cases] patient or duplicate group, never on two sides of a fold.
        method: ``auto`` or one of :data:`bedside.evaluation.calibration.METHODS`.
        seed: of the folds.

    Raises:
        ProtocolError: isotonic was asked for by name, on too few cases.
    """
    numbers = _numbered(clusters)
    enough = _enough_for_curves(targets, numbers, raw.shape[1])
    if method == "isotonic" and not enough:
        fault = (
            f'answer.calibration = "isotonic" needs {ISOTONIC:,} patients (or clusters) in the calibration split and '
            f"{ISOTONIC_OF_A_LABEL} cases of each label; there are {int(numbers.max(initial=-1)) + 1:,} and "
            f'{int(np.bincount(targets, minlength=raw.shape[1]).min())}. Use "auto", "vector" or "temperature".'
        )
        raise ProtocolError("protocol.toml", [fault])
    if method == "temperature" or numbers.max(initial=-1) + 1 < FOLDS:
        fitted = Calibration.fit(raw, targets)
        return Chosen(fitted, fitted.apply(raw))
    compared = [one for one in METHODS if one != "isotonic" or enough] if method == "auto" else [method]
    held = {one: cross_fitted(raw, targets, numbers, one, seed) for one in compared}
    losses = {one: losses_of(found, targets) for one, found in held.items()}
    best = _kept(losses, numbers) if method == "auto" else method
    fitted = Calibration.fit(raw, targets, best)
    stated = {one: round(float(found.mean()), 6) for one, found in losses.items()}
    return Chosen(replace(fitted, losses=stated), fitted.apply(raw) if best == "temperature" else held[best])


def cross_fitted(raw: Floats, targets: Ints, clusters: Ints, method: str, seed: int) -> Floats:
    """[cases, labels] probabilities of each case by a calibration that no case of its cluster entered."""
    fold = np.random.default_rng(seed).permutation(int(clusters.max()) + 1)[clusters] % FOLDS
    found = np.empty_like(raw, dtype=np.float64)
    for one in range(FOLDS):
        held = fold == one
        found[held] = Calibration.fit(raw[~held], targets[~held], method).apply(raw[held])
    return found


def standard_error(differences: Floats, clusters: Ints) -> float:
    """Of the mean of these differences, with whole clusters as the independent draws."""
    sums = np.bincount(clusters, differences - differences.mean())
    count = len(sums)
    return float(np.sqrt((sums**2).sum() * count / max(count - 1, 1)) / len(differences))


def _kept(losses: dict[str, Floats], clusters: Ints) -> str:
    best = "temperature"
    for name, found in losses.items():
        gain = losses["temperature"] - found
        if gain.mean() > standard_error(gain, clusters) and found.mean() < losses[best].mean():
            best = name
    return best


def _numbered(clusters: Sequence[object]) -> Ints:
    seen: dict[object, int] = {}
    return np.asarray([seen.setdefault(one, len(seen)) for one in clusters], dtype=np.int64)


def _enough_for_curves(targets: Ints, clusters: Ints, labels: int) -> bool:
    fewest = int(np.bincount(targets, minlength=labels).min())
    return int(clusters.max(initial=-1)) + 1 >= ISOTONIC and fewest >= ISOTONIC_OF_A_LABEL
