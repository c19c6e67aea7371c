"""Whether the source of a case predicts its label: then a model may learn the hospital instead of the disease.

Two figures say it. Cramér's V with its bias correction measures how far source and label hang together, from 0 to 1,
with each group of a patient's notes and near-duplicates counted once for a source and label. And the commonest label of
each source, learned on the training split, is asked on the validation and calibration splits, beside the commonest
label of all; the test split is not looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bedside.core.seeds import derive
from bedside.data.wording import counted

if TYPE_CHECKING:
    import polars as pl

_NOTABLE = 0.1  # of Cramér's V: below it the source says next to nothing
_CHANCE = 0.01  # p-value above which what was seen may be chance
_RESAMPLES = 1_000
_CONFIDENCE = 0.95
_HELD = ("validation", "calibration")


def source_and_label(frame: pl.DataFrame, seed: int) -> dict[str, Any]:
    """How far the source predicts the label.

    Args:
        frame: the cohort's table, with the columns ``source``, ``label``, ``group`` and ``split``.
        seed: of the bootstrap.

    Returns:
        ``cramers_v`` with ``p`` and the ``groups`` behind it; ``only_in_one`` the labels that a single source has;
        ``accuracy`` of the source alone, ``majority`` and ``difference`` with intervals, where there are held-out
        cases; and ``predicts``, whether a model may learn the source.
    """
    several = frame["label"].dtype.is_nested()
    share = _of_several(frame) if several else _of_one(frame)
    found: dict[str, Any] = {
        "cramers_v": share,
        "only_in_one": _only_in_one(one_a_row(frame)),
        **({} if several else _guessed(frame, seed)),
    }
    gains = found.get("difference", {}).get("low", 0.0) > 0
    found["predicts"] = bool((share["value"] >= _NOTABLE and share["p"] < _CHANCE) or gains)
    return found


def one_a_row(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with a row for each label of a case, where cases may have several."""
    return frame.explode("label") if frame["label"].dtype.is_nested() else frame


def _of_one(frame: pl.DataFrame) -> dict[str, Any]:
    """Cramér's V of source and label."""
    units = frame.select("group", "source", "label").unique().sort("group", "source", "label")
    value, chance = cramers_v(crossed(units["source"].to_list(), units["label"].to_list()))
    return {"value": value, "p": chance, "groups": units.height, "method": "bias-corrected, Bergsma 2013"}


def _of_several(frame: pl.DataFrame) -> dict[str, Any]:
    """The largest V of source and having a label or not, over the labels; p corrected for how many there are."""
    units = one_a_row(frame).group_by("group", "source").agg("label").sort("group", "source")
    sources, held = units["source"].to_list(), [set(one) for one in units["label"].to_list()]
    labels = sorted(set().union(*held) - {None})
    found = {one: cramers_v(crossed(sources, [str(one in has) for has in held])) for one in labels}
    worst = max(labels, key=lambda one: found[one][0])
    return {
        "value": found[worst][0],
        "p": min(1.0, found[worst][1] * len(labels)),
        "groups": units.height,
        "method": f"bias-corrected, Bergsma 2013; the largest of {len(labels)} labels, p times as many",
        "label": worst,
    }


def verdict(found: Mapping[str, Any]) -> dict[str, str]:
    """The row of the report's verdicts: WARN if the source predicts the label."""
    share = found["cramers_v"]
    which = f" of '{share['label']}', the largest," if "label" in share else ""
    said = f"Cramér's V{which} {share['value']:.2f} (0 is not at all, 1 is wholly; p {_p(share['p'])})"
    if "accuracy" in found:
        alone, most = found["accuracy"], found["majority"]
        said += (
            f"; by the source alone {alone['value']:.1%} ({alone['low']:.1%}–{alone['high']:.1%}) of {alone['n']:,} "
            f"held-out cases are right, by the commonest label {most['value']:.1%}"
        )
    single = found["only_in_one"]
    if single:
        said += f"; {counted(len(single), 'label')} in one source only: {', '.join(single[:6])}"
    row = {"check": "The source does not predict the label", "verdict": "PASS", "sentence": f"{said}."}
    if not found["predicts"]:
        return {**row, "what_to_do": "Nothing."}
    return {
        "check": "The source predicts the label",
        "verdict": "WARN",
        "sentence": f"{said}. A model may learn the hospital instead of the disease.",
        "what_to_do": "Look at the figures of each source (column 'source'), test on a source that was not learned "
        "from, and leave out labels that only one source has, or add their cases from elsewhere.",
    }


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def crossed(first: Sequence[str], second: Sequence[str]) -> NDArray[np.int64]:
    """[values of first, values of second] how often each pair occurs."""
    pairs = Counter(zip(first, second, strict=True))
    rows, columns = sorted(set(first)), sorted(set(second))
    return np.asarray([[pairs[one, other] for other in columns] for one in rows], dtype=np.int64)


def cramers_v(table: NDArray[np.int64]) -> tuple[float, float]:
    """Cramér's V of a table of counts, corrected for what chance alone would show, and the p-value of the chi² test.

    Source: Bergsma 2013, A bias-correction for Cramér's V and Tschuprow's T, J. Korean Stat. Soc. 42(3).

    Args:
        table: [rows, columns] counts; rows and columns without a count are left out.

    Returns:
        V from 0 to 1, and p; 0 and 1 where one row or column is all there is.
    """
    from scipy.stats import chi2

    table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    rows, columns = table.shape
    total = float(table.sum())
    if min(rows, columns) < 2 or total < 2:
        return 0.0, 1.0
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / total
    squared = float(((table - expected) ** 2 / expected).sum())
    freedom = (rows - 1) * (columns - 1)
    excess = max(0.0, squared / total - freedom / (total - 1))
    fewer = min(size - (size - 1) ** 2 / (total - 1) for size in (rows, columns))
    value = min(1.0, float(np.sqrt(excess / (fewer - 1)))) if fewer > 1 else 0.0
    return value, float(chi2.sf(squared, freedom))


def _only_in_one(frame: pl.DataFrame) -> list[str]:
    """Labels that the cases of a single source have."""
    held: dict[str, set[str]] = {}
    for source, label in frame.select("source", "label").iter_rows():
        held.setdefault(label, set()).add(source)
    return sorted(label for label, sources in held.items() if len(sources) == 1)


def _guessed(frame: pl.DataFrame, seed: int) -> dict[str, Any]:
    """How often the source alone, and the commonest label alone, are right where they were not learned."""
    from bedside.metrics import Resamples

    learned = frame.filter(frame["split"] == "train")
    asked = frame.filter(frame["split"].is_in(_HELD))
    if not learned.height or not asked.height:
        return {}
    commonest = _commonest(learned["label"].to_list())
    known = {
        name: _commonest(learned.filter(learned["source"] == name)["label"].to_list())
        for name in sorted(set(learned["source"].to_list()))
    }
    truth = np.asarray(asked["label"].to_list(), dtype=object)
    by_source = np.asarray([known.get(name, commonest) for name in asked["source"]], dtype=object) == truth
    by_majority = truth == commonest
    hits = np.stack([by_source, by_majority, by_source.astype(float) - by_majority], axis=1).astype(np.float64)
    drawn = Resamples.of(asked["group"].to_list(), _RESAMPLES, derive(seed, "source"))
    shares = drawn.apply(lambda weights: weights @ hits / np.maximum(weights.sum(axis=1, keepdims=True), 1))
    tail = (1 - _CONFIDENCE) / 2
    low, high = np.quantile(shares, [tail, 1 - tail], axis=0)
    method = f"percentile bootstrap by group, {_RESAMPLES} resamples"
    return {
        name: {
            "value": float(hits[:, at].mean()),
            "low": float(low[at]),
            "high": float(high[at]),
            "n": asked.height,
            "method": method,
        }
        for at, name in enumerate(("accuracy", "majority", "difference"))
    }


def _commonest(labels: Sequence[str]) -> str:
    """The label with the most cases; of several the first by name."""
    counts = Counter(labels)
    return min(counts, key=lambda label: (-counts[label], label))
