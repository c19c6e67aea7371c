"""Whether the model serves some groups of cases worse than others.

Each group is compared with all other cases of its column: by the share of cases called right, and label by label by
sensitivity (with two labels also by specificity). A difference is a finding only where Fisher's exact test, on the
effective numbers of cases that the patients' clusters leave, survives Holm's correction over all comparisons of the
study. Where too few cases stand on a side nothing is compared, and that is said. No verdict here says that a model is
just: it says whether a gap was found, was not, or could not be looked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bedside.evaluation.answering import share_of
from bedside.evaluation.figures import FEW_CASES, figure_of, too_few
from bedside.metrics import effective_cases
from bedside.metrics.fairness import equalised_odds_difference, holm

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
ALPHA = 0.05
FOUND, NONE, FEW = "gap found", "none found", "too few to say"


@dataclass(frozen=True)
class Called:
    """What was called of the cases.

    Attributes:
        has, called: [cases, labels].
        stated: [cases] a probability, and ``happened``: [cases] whether what it is of did.
        labels: in the order of the columns.
        positive: of two labels the one that means 'has it'; with it only that label is compared.
        clusters: [cases].
    """

    has: Bools
    called: Bools
    stated: Floats
    happened: Bools
    labels: tuple[str, ...]
    positive: str | None
    clusters: Ints

    @property
    def right(self) -> Bools:
        """[cases] whether all that was called is so, and all that is so was called."""
        return np.asarray((self.has == self.called).all(axis=1))

    @property
    def compared(self) -> list[int]:
        """The labels that are compared."""
        every = range(len(self.labels))
        return [k for k in every if self.positive is None or self.labels[k] == self.positive]


@dataclass(frozen=True)
class _Test:
    """One comparison: where, of what, the share in the group and in the rest, and the p-value."""

    column: str
    group: str
    measure: str
    label: str | None
    inside: float
    outside: float
    n: int
    p: float


def audit(cases: Called, columns: Mapping[str, Sequence[str]], confidence: float) -> dict[str, Any]:
    """Compare the groups of each column.

    Args:
        cases: what was called.
        columns: by column, [cases] the group of each case.
        confidence: of the intervals.

    Returns:
        JSON-able; by column a verdict, the gaps found, the equalised-odds difference of each label over the groups with
        enough cases, and the figures of each group.
    """
    tests: list[_Test] = []
    bodies: dict[str, Any] = {}
    for column, values in columns.items():
        names = np.asarray(values, dtype=object)
        groups = sorted(set(values), key=_in_order)
        bodies[column] = {group: _figures(cases, names == group, confidence) for group in groups}
        # Of two groups each is the other's rest: a single comparison.
        for group in groups if len(groups) > 2 else groups[: len(groups) - 1]:
            other = groups[1] if len(groups) == 2 else None
            tests += _tests(cases, column, (group, other), names == group)
    adjusted = holm([one.p for one in tests])
    found = [(one, float(p)) for one, p in zip(tests, adjusted, strict=True) if p < ALPHA]
    return {
        "comparisons": len(tests),
        "columns": {
            column: {
                "verdict": _verdict(column, tests, found),
                "comparisons": sum(one.column == column for one in tests),
                "gaps": sorted(
                    (_gap(one, p) for one, p in found if one.column == column), key=lambda gap: gap["difference"]
                ),
                "equalised_odds": _odds(cases, columns[column]),
                "groups": groups,
            }
            for column, groups in bodies.items()
        },
    }


def _in_order(group: str) -> tuple[int, str]:
    """Bands of a number from the lowest to the highest, other names by the alphabet."""
    return (-1 if group.startswith("up to ") else int(group.startswith("over "))), group


def _verdict(column: str, tests: Sequence[_Test], found: Sequence[tuple[_Test, float]]) -> str:
    if any(one.column == column for one, _ in found):
        return FOUND
    return NONE if any(one.column == column for one in tests) else FEW


def _gap(one: _Test, p: float) -> dict[str, Any]:
    return {
        "group": one.group,
        "measure": one.measure,
        "label": one.label,
        "group_value": one.inside,
        "others": one.outside,
        "difference": one.inside - one.outside,
        "n": one.n,
        "p_adjusted": p,
    }


def _tests(cases: Called, column: str, names: tuple[str, str | None], inside: Bools) -> list[_Test]:
    """The comparisons of one group with the rest, where both sides have enough cases.

    Where the rest is a single group and has a name, the one that fares worse is called the group.
    """
    every = np.ones(len(inside), dtype=bool)
    asked: list[tuple[str, str | None, Bools, Bools]] = [("called right", None, every, cases.right)]
    for k in cases.compared:
        asked.append(("sensitivity", cases.labels[k], cases.has[:, k], cases.called[:, k]))
        if cases.positive is not None:
            asked.append(("specificity", cases.labels[k], ~cases.has[:, k], ~cases.called[:, k]))
    found = []
    for measure, label, of, hit in asked:
        here, there = of & inside, of & ~inside
        if min(int(here.sum()), int(there.sum())) >= FEW_CASES:
            p = _p_value(hit, here, there, cases.clusters)
            if p is None:
                continue
            sides = [(names[0], here, there)] + ([(names[1], there, here)] if names[1] is not None else [])
            group, here, there = min(sides, key=lambda side: float(hit[side[1]].mean()))
            shares = float(hit[here].mean()), float(hit[there].mean())
            found.append(_Test(column, group, measure, label, *shares, int(here.sum()), p))
    return found


def _p_value(hit: Bools, here: Bools, there: Bools, clusters: Ints) -> float | None:
    """Fisher's exact test of two shares, at the effective numbers of cases; None where these are too few."""
    from scipy.stats import fisher_exact

    table = []
    for of in (here, there):
        effective = round(effective_cases(hit[of], clusters[of], 1 - ALPHA))
        if effective < FEW_CASES:
            return None
        hits = round(float(hit[of].mean()) * effective)
        table.append([hits, effective - hits])
    return float(fisher_exact(table).pvalue)


def _figures(cases: Called, inside: Bools, confidence: float) -> dict[str, Any]:
    """The figures of one group."""
    n = int(inside.sum())
    body: dict[str, Any] = {
        "n": n,
        "clusters": len(set(cases.clusters[inside].tolist())),
        "called_right": share_of(cases.right, inside, cases.clusters, confidence),
        "calibration_in_the_large": _in_the_large(cases, inside, confidence),
        "per_label": {},
    }
    for k in cases.compared:
        has, called = cases.has[:, k], cases.called[:, k]
        if int((has & inside).sum()) < FEW_CASES:
            continue
        shares = {
            "sensitivity": (has, called),
            "specificity": (~has, ~called),
            "ppv": (called, has),
        }
        body["per_label"][cases.labels[k]] = {
            name: share_of(hit, of & inside, cases.clusters, confidence) for name, (of, hit) in shares.items()
        }
    return body


def _in_the_large(cases: Called, inside: Bools, confidence: float) -> dict[str, Any]:
    """The mean probability stated less the share that happened: above 0 the model is too sure.

    The interval is normal, with a standard error that is robust to clusters.
    """
    from scipy.stats import norm

    off = (cases.stated - cases.happened)[inside]
    n, mean = len(off), float(off.mean())
    sums = np.bincount(np.unique(cases.clusters[inside], return_inverse=True)[1].reshape(-1), weights=off - mean)
    half = (
        float(norm.ppf((1 + confidence) / 2)) * float(np.sqrt((sums**2).sum() * len(sums) / max(len(sums) - 1, 1))) / n
    )
    interval = {"low": mean - half, "high": mean + half, "method": "normal, standard error robust to clusters"}
    events = int(min(cases.happened[inside].sum(), n - cases.happened[inside].sum()))
    return {**figure_of(mean, interval, n, events), "too_few": too_few(n, events)}


def _odds(cases: Called, values: Sequence[str]) -> dict[str, float]:
    """The equalised-odds difference of each label, over groups with enough cases of both kinds."""
    names = np.unique(np.asarray(values, dtype=str), return_inverse=True)[1].reshape(-1).astype(np.int64)
    found = {}
    for k in cases.compared:
        has = cases.has[:, k]
        enough = [
            group
            for group in range(int(names.max(initial=-1)) + 1)
            if min(int((has & (names == group)).sum()), int((~has & (names == group)).sum())) >= FEW_CASES
        ]
        if len(enough) > 1:
            kept = np.isin(names, enough)
            found[cases.labels[k]] = equalised_odds_difference(has[kept], cases.called[kept, k], names[kept])
    return found
