"""How far stated probabilities are from what happens.

The plain calibration error of few cases is never near 0, however good the model: chance alone moves each bin off the
line, and errors in both directions add up. :func:`calibration_error` takes that chance away, and its interval asks
which true errors would show an error such as the one seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
BINS = 15
_AT_ONCE = 10_000_000  # simulated answers held in memory together
_HALVINGS = 60  # beyond the precision of a float
_STEPS = 40  # of a Newton search that needs under ten where there is a solution
_FARTHEST = 50.0  # a slope or intercept beyond it means that there is none


def equal_mass_bins(confidence: Floats, bins: int = BINS) -> Ints:
    """[cases] the bin of each case: as many cases in each bin as the number allows; equal confidences share a bin."""
    below = np.searchsorted(np.sort(confidence), confidence, side="left")
    raw = below * min(bins, len(confidence)) // max(len(confidence), 1)
    return np.asarray(np.unique(raw, return_inverse=True)[1], dtype=np.int64).reshape(-1)


@dataclass(frozen=True)
class CalibrationError:
    """A calibration error: taken plainly, with the part of chance subtracted, and an interval of the true one."""

    plain: float
    debiased: float
    low: float
    high: float


@dataclass(frozen=True)
class _Binned:
    """Bins of cases.

    Attributes:
        share: [bins] of all cases.
        stated: [bins] the mean confidence.
        right: [bins] or [draws, bins] the share that was right.
        spread: like ``right``; 1 over the effective number of cases.
    """

    share: Floats
    stated: Floats
    right: Floats
    spread: Floats

    def plain(self) -> Floats:
        """The expected calibration error as it is seen."""
        return np.asarray(np.abs(self.stated - self.right) @ self.share)

    def meant(self, scale: Floats) -> tuple[Floats, Floats]:
        """True gap and its standard error in each bin, if the true gaps were the seen ones times ``scale``."""
        true = np.clip(self.stated - scale[..., None] * (self.stated - self.right), 0.0, 1.0)
        return self.stated - true, np.sqrt(true * (1 - true) * self.spread)

    def expected(self, scale: Floats) -> Floats:
        """The plain error that would be seen on average at that scale: the mean of a folded normal in each bin."""
        from scipy.special import ndtr

        gap, error = self.meant(scale)
        with np.errstate(divide="ignore", invalid="ignore"):
            z = np.where(error > 0, gap / error, 0.0)
        folded = error * np.sqrt(2 / np.pi) * np.exp(-(z**2) / 2) + gap * (1 - 2 * ndtr(-z))
        return np.asarray(np.where(error > 0, folded, np.abs(gap)) @ self.share)

    def debiased(self) -> Floats:
        """The error of which the seen one would be the average; 0 where a perfect model would show as much."""
        seen = self.plain()
        low, high = np.zeros_like(seen), np.ones_like(seen)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            above = self.expected(middle) >= seen
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        return np.where(self.expected(np.zeros_like(seen)) >= seen, 0.0, high * seen)


def calibration_error(
    confidence: Floats, right: Bools, clusters: Ints, *, level: float = 0.95, seed: int = 0, draws: int = 2000
) -> CalibrationError:
    """The expected calibration error of the first label, over 15 equal-mass bins.

    The plain error is Naeini et al. 2015's with the equal-mass bins of Nixon et al. 2019. The chance in it is taken
    away as Kumar, Liang and Ma 2019 do for the absolute error (each bin's share right is about normal), but at the
    corrected error and not at the seen one (the non-linear correction of MacKinnon and Smith 1998), because
    a single step leaves half of the bias where the model is well calibrated. The cases of a cluster may be right or
    wrong together; how much they are is estimated from all pairs, and widens the error of each bin.

    The interval is a test-inversion bootstrap (Carpenter 1999): the true errors under which a simulated plain error
    would be as small or as large as the one seen with more than half of 1 - ``level``. How the true gaps spread over
    the bins is not known, and the part of chance depends on it; the ends are the widest of three ways: as seen, even,
    and only where a gap stands out of its own error. The upper end is never under the one that a perfect model's
    usual error would give (power-constrained limits: Cowan, Cranmer, Gross and Vitells 2011).

    Args:
        confidence: [cases] the probability of the first label.
        right: [cases] whether it was right.
        clusters: [cases] the number of each case's cluster.
        level: of the interval.
        seed: of the simulation behind the interval.
        draws: how many are simulated.
    """
    held, alike = _bin(confidence, right[None, :], clusters)
    one = _Binned(held.share, held.stated, held.right[0], held.spread[0])
    plain, debiased = float(one.plain()), float(one.debiased())
    noise = _noise(one, confidence, clusters, float(alike[0]), np.random.default_rng(seed), draws)
    ends = np.asarray([_invert(way, plain, noise, (1 - level) / 2) for way in _ways(one)])
    return CalibrationError(
        plain, debiased, min(float(ends[:, 0].min()), debiased), max(float(ends[:, 1].max()), debiased)
    )


def calibration_error_if_perfect(
    confidence: Floats, clusters: Ints, seed: int, draws: int = 500
) -> tuple[float, float]:
    """What a perfectly calibrated model with these confidences would show at this number of cases.

    Returns:
        The median and the 95th percentile of the debiased errors of simulated answers.
    """
    random = np.random.default_rng(seed)
    most = max(1, min(100, _AT_ONCE // max(1, len(confidence))))
    found = [
        _bin(confidence, random.random((block, len(confidence))) < confidence, clusters)[0].debiased()
        for block in (min(most, draws - start) for start in range(0, draws, most))
    ]
    median, high = np.quantile(np.concatenate(found), [0.5, 0.95])
    return float(median), float(high)


def _bin(confidence: Floats, right: Bools, clusters: Ints) -> tuple[_Binned, Floats]:
    """Bin the cases, ``right`` being [draws, cases]; and [draws] how alike the cases of a cluster are."""
    bins = equal_mass_bins(confidence)
    size = np.bincount(bins).astype(np.float64)
    member = (bins[:, None] == np.arange(len(size))).astype(np.float64)
    shares = (right @ member) / size
    alike = _alike(shares, right, bins, clusters)
    spread = (1 + alike[:, None] * np.diag(_pairs(bins, clusters)) / size) / size
    return _Binned(size / len(bins), (confidence @ member) / size, shares, spread), alike


def _pairs(bins: Ints, clusters: Ints) -> Floats:
    """[bins, bins] how many ordered pairs of different cases of one cluster lie in these two bins."""
    width = int(bins.max()) + 1
    cells, counts = np.unique(clusters * width + bins, return_counts=True)
    number = np.unique(cells // width, return_inverse=True)[1].reshape(-1)
    table = np.zeros((int(number.max()) + 1, width))
    table[number, cells % width] = counts
    return np.asarray(table.T @ table - np.diag(np.bincount(bins)))


def _noise(
    held: _Binned, confidence: Floats, clusters: Ints, alike: float, random: np.random.Generator, draws: int
) -> Floats:
    """[draws, bins] standard normal, correlated between bins as far as the bins share clusters."""
    bins = equal_mass_bins(confidence)
    size = np.bincount(bins).astype(np.float64)
    error = np.sqrt(held.spread)
    correlation = alike * _pairs(bins, clusters) / np.outer(size * error, size * error)
    np.fill_diagonal(correlation, 1.0)
    values, vectors = np.linalg.eigh(correlation)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    return np.asarray(random.standard_normal((draws, len(size))) @ root.T)


def _alike(shares: Floats, right: Bools, bins: Ints, clusters: Ints) -> Floats:
    """[draws] the correlation of being right within a cluster, from all pairs of its cases; at least 0."""
    off = right - shares[:, bins]
    deviation = np.sqrt(shares * (1 - shares))[:, bins]
    order = np.argsort(clusters, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(clusters[order]) != 0])

    def of_pairs(values: Floats) -> Floats:
        sums = np.add.reduceat(values[:, order], starts, axis=1)
        return np.asarray((sums**2).sum(axis=1) - (values**2).sum(axis=1))

    most = of_pairs(deviation)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.clip(np.where(most > 1e-12, of_pairs(off) / most, 0.0), 0.0, 1.0)


def _ways(held: _Binned) -> list[_Binned]:
    """The same bins with the seen gaps, with even ones, and with those alone that stand out of their error."""
    gap = held.stated - held.right
    error = np.sqrt(np.maximum(held.right * (1 - held.right), held.stated * (1 - held.stated)) * held.spread)
    even = np.where(gap < 0, -1.0, 1.0) * (np.abs(gap) @ held.share)
    outstanding = np.sign(gap) * np.maximum(np.abs(gap) - error, 0.0)
    ways = (gap, even, outstanding)
    return [_Binned(held.share, held.stated, held.stated - way, held.spread) for way in ways if np.any(way != 0)] or [
        # No gap at all: a model that is a little too sure everywhere has a direction to scale.
        _Binned(held.share, held.stated, held.stated - np.sqrt(held.spread), held.spread)
    ]


def _invert(held: _Binned, seen: float, noise: Floats, tail: float) -> tuple[float, float]:
    """The least and the greatest true error that a seen one leaves possible, along the direction of the gaps."""

    def simulated(scale: float) -> Floats:
        gap, error = held.meant(np.asarray(scale))
        return np.asarray(np.abs(gap + error * noise) @ held.share)

    def true(scale: float) -> float:
        return float(np.abs(held.meant(np.asarray(scale))[0]) @ held.share)

    low = 0.0
    if float((simulated(0.0) >= seen).mean()) <= tail:
        low = true(_search(lambda scale: float((simulated(scale) >= seen).mean()) > tail, 0.0, 64.0))
    # Luck that makes the seen error less than a perfect model usually shows must not rule everything out.
    seen = max(seen, float(np.median(simulated(0.0))))
    top = 2.0
    while float((simulated(top) <= seen).mean()) > tail and top < 64:
        top *= 2
    high = true(_search(lambda scale: float((simulated(scale) <= seen).mean()) <= tail, 0.0, top))
    return low, high


def _search(holds: Callable[[float], bool], low: float, high: float) -> float:
    """The least value within two at which something begins to hold."""
    for _ in range(_HALVINGS // 2):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def slope_and_intercept(weights: Floats, probability: Floats, happened: Bools) -> Floats:
    """[resamples, 2] calibration slope, and calibration in the large; 1 and 0 for a calibrated model.

    The slope of a logistic regression of what happened on the logit of the probability (Cox 1958), and the intercept
    of the one whose slope is held at 1 (Van Calster et al. 2019). A slope under 1 says too sure, an intercept under 0
    too high. NaN where there is none, as when all happened.
    """
    logit = _logit(probability)
    return np.stack([_slope(weights, logit, happened), _in_the_large(weights, logit, happened)], axis=1)


def clustered_slope_and_intercept(
    probability: Floats, happened: Bools, clusters: Ints, level: float
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Calibration slope and calibration in the large, each with its interval, for more answers than can be resampled.

    The same two figures as :func:`slope_and_intercept`; the standard errors are robust to clusters (the sandwich of
    Liang and Zeger 1986), and the intervals normal. NaN where there is none.

    Args:
        probability: [answers].
        happened: [answers].
        clusters: [answers] the number of each answer's cluster.
        level: of the intervals.

    Returns:
        Value, low and high of the slope, and of the intercept.
    """
    from scipy.special import expit
    from scipy.stats import norm

    slope, shift = slope_and_intercept(np.ones((1, len(probability))), probability, happened)[0]
    logit, fixed = _logit(probability), np.ones(len(probability))
    leaning = slope * logit + (0.0 if np.isnan(slope) else _at_slope(slope, logit, happened))
    half = float(norm.ppf((1 + level) / 2))

    def around(value: float, design: Floats, scaled: Floats) -> tuple[float, float, float]:
        if np.isnan(value):
            return value, value, value
        error = half * _robust_error(design, expit(scaled), happened, clusters)
        return float(value), float(value - error), float(value + error)

    return (
        around(slope, np.stack([logit, fixed], axis=1), leaning),
        around(shift, fixed[:, None], shift + logit),
    )


def _robust_error(design: Floats, fitted: Floats, happened: Bools, clusters: Ints) -> float:
    """The standard error of the first coefficient of a logistic regression, robust to clusters."""
    bread = np.linalg.inv((design * (fitted * (1 - fitted))[:, None]).T @ design)
    off = design * (happened - fitted)[:, None]
    sums = np.stack([np.bincount(clusters, weights=column) for column in off.T], axis=1)
    return float(np.sqrt((bread @ (sums.T @ sums) @ bread)[0, 0]))


def _logit(probability: Floats) -> Floats:
    inside = np.clip(probability, 1e-12, 1 - 1e-12)
    return np.asarray(np.log(inside / (1 - inside)))


def _at_slope(slope: float, logit: Floats, happened: Bools) -> float:
    """The intercept that goes with a slope in the regression that has both."""
    return float(_in_the_large(np.ones((1, len(logit))), slope * logit, happened)[0])


def _slope(weights: Floats, logit: Floats, happened: Bools) -> Floats:
    """Newton's method for two parameters, for all resamples at once, from the share of cases and a slope of 0."""
    from scipy.special import expit

    unit = float(logit.std())
    if unit < 1e-9:
        return np.full(len(weights), np.nan)
    x = (logit - logit.mean()) / unit
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        hits = weights @ happened.astype(np.float64)
        a, b = np.log(hits / (weights.sum(axis=1) - hits)), np.zeros(len(weights))
        for _ in range(_STEPS):
            fitted = expit(a[:, None] + b[:, None] * x)
            off, curve = weights * (happened - fitted), weights * fitted * (1 - fitted)
            g0, g1 = off.sum(axis=1), off @ x
            h0, h1, h2 = curve.sum(axis=1), curve @ x, curve @ x**2
            det = h0 * h2 - h1**2
            da, db = (h2 * g0 - h1 * g1) / det, (h0 * g1 - h1 * g0) / det
            a, b = a + np.clip(da, -2, 2), b + np.clip(db, -2, 2)
            if np.nanmax(np.abs(np.r_[da, db, 0.0])) < 1e-12:
                break
        settled = (np.abs(da) < 1e-6) & (np.abs(db) < 1e-6) & (np.abs(b) < _FARTHEST)
    return np.where(settled & _both(weights, happened), b / unit, np.nan)


def _in_the_large(weights: Floats, logit: Floats, happened: Bools) -> Floats:
    from scipy.special import expit

    a = np.zeros(len(weights))
    step = np.ones(len(weights))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        for _ in range(_STEPS):
            fitted = expit(a[:, None] + logit)
            step = (weights * (happened - fitted)).sum(axis=1) / (weights * fitted * (1 - fitted)).sum(axis=1)
            a = a + np.clip(step, -2, 2)
            if np.nanmax(np.abs(np.r_[step, 0.0])) < 1e-12:
                break
        settled = (np.abs(step) < 1e-6) & (np.abs(a) < _FARTHEST)
    return np.where(settled & _both(weights, happened), a, np.nan)


def _both(weights: Floats, happened: Bools) -> Bools:
    """[resamples] whether some happened and some did not: else the likelihood has no greatest point."""
    hits = weights @ happened.astype(np.float64)
    return np.asarray((hits > 0) & (hits < weights.sum(axis=1)))
