"""What the sample clinic knows, read once from the dated rule data beside this file.

The tables are the generative model: chances of findings and numbers for each diagnosis. They are illustrative,
chosen by us, and this module refuses to be more than that: nothing here is epidemiology or advice.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

AGE_RANGES = ((18, 29), (30, 39), (40, 49), (50, 59), (60, 69), (70, 79), (80, 95))
MENTION_PRESENT = 0.85  # a finding of the complaint's group that is present is written down this often
MENTION_ABSENT = 0.15  # and one that is absent, as a pertinent negative
MENTION_ELSEWHERE = 0.01  # a finding of another group, present or absent


@cache
def read_data(name: str) -> dict[str, Any]:
    """One rule-data file, as tomllib gives it; callers do not change it."""
    text = resources.files("bedside.synthetic").joinpath("data", f"{name}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


@dataclass(frozen=True)
class Measure:
    """A number or the onset: its bins, usual chances and digits after the point."""

    name: str
    ranges: tuple[tuple[float, float], ...]  # empty for the onset, which is written in words
    usual: tuple[float, ...]
    digits: int


@dataclass(frozen=True)
class Knowledge:
    """The generative model as arrays. D diagnoses, F findings, K measures, B the largest number of bins."""

    diagnoses: tuple[str, ...]  # sorted
    codes: tuple[str, ...]
    names: tuple[tuple[str, ...], ...]  # what a note may call each diagnosis
    groups: tuple[str, ...]  # group of each diagnosis
    findings: tuple[str, ...]
    measures: tuple[Measure, ...]
    group_findings: dict[str, tuple[int, ...]]
    prior: Floats  # [D]
    male: Floats  # [D]
    ages: Floats  # [D, 7]
    present: Floats  # [D, F] chance that the finding is present
    mention_present: Floats  # [D, F] chance that it is written, given present
    mention_absent: Floats  # [D, F] chance that it is written, given absent
    bins: Floats  # [D, K, B] chance of each bin, zero-padded
    mention_measure: Floats  # [D, K]


@cache
def knowledge() -> Knowledge:
    """The clinic's knowledge, read once."""
    data, spoken = read_data("diagnoses"), read_data("findings")
    findings = tuple(name for name in spoken if name != "version")
    measures = tuple(_measure(name, row) for name, row in read_data("measures")["measures"].items())
    names = tuple(sorted(data["diagnoses"]))
    rows = [data["diagnoses"][name] for name in names]
    groups = tuple(row["group"] for row in rows)
    of_group = {group: tuple(findings.index(item) for item in row["findings"]) for group, row in data["groups"].items()}
    weights = np.array([row["weight"] for row in rows], dtype=np.float64)
    inside = np.zeros((len(names), len(findings)), dtype=bool)
    for index, group in enumerate(groups):
        inside[index, list(of_group[group])] = True
    return Knowledge(
        diagnoses=names,
        codes=tuple(row["code"] for row in rows),
        names=tuple(tuple(row["names"]) for row in rows),
        groups=groups,
        findings=findings,
        measures=measures,
        group_findings=of_group,
        prior=weights / weights.sum(),
        male=np.array([row["male"] for row in rows]),
        ages=np.array([row["ages"] for row in rows]),
        present=_present(data, rows, findings, inside),
        mention_present=np.where(inside, MENTION_PRESENT, MENTION_ELSEWHERE),
        mention_absent=np.where(inside, MENTION_ABSENT, MENTION_ELSEWHERE),
        bins=_bins(rows, measures),
        mention_measure=_mentions(data, groups, measures),
    )


def _measure(name: str, row: dict[str, Any]) -> Measure:
    ranges = tuple((low, high) for low, high in row.get("ranges", []))
    return Measure(name, ranges, tuple(row["usual"]), row.get("digits", 0))


def _present(
    data: dict[str, Any], rows: list[dict[str, Any]], findings: tuple[str, ...], inside: NDArray[np.bool_]
) -> Floats:
    table = np.where(inside, float(data["background"]), float(data["background_elsewhere"]))
    for index, row in enumerate(rows):
        for name, chance in row["findings"].items():
            table[index, findings.index(name)] = chance
    return table


def _bins(rows: list[dict[str, Any]], measures: tuple[Measure, ...]) -> Floats:
    table = np.zeros((len(rows), len(measures), max(len(measure.usual) for measure in measures)))
    for index, row in enumerate(rows):
        for place, measure in enumerate(measures):
            chances = row["measures"].get(measure.name, measure.usual)
            table[index, place, : len(chances)] = chances
    return table


def _mentions(data: dict[str, Any], groups: tuple[str, ...], measures: tuple[Measure, ...]) -> Floats:
    rows = read_data("measures")
    table = np.empty((len(groups), len(measures)))
    for index, group in enumerate(groups):
        panel = data["groups"][group]["panel"]
        for place, measure in enumerate(measures):
            vital = rows["measures"][measure.name].get("mentioned", rows["panel_elsewhere"])
            table[index, place] = panel.get(measure.name, vital)
    return table
