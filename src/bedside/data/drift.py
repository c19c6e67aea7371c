"""Do training and test hold the same kind of case? Column by column, and by a classifier that reads the words.

Groups of one patient or of near-duplicates are permuted and resampled whole, because their rows are not independent.
Sources: a test for each column, corrected for their number (Rabanser, Günnemann and Lipton 2019; Holm 1979); a
classifier that is asked to tell the two apart (Lopez-Paz and Oquab 2017); standardised differences (Austin 2009).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bedside.core.progress import SILENT, Progress
from bedside.core.seeds import derive
from bedside.data.table_one import OTHER, exploded, extra_columns, shown_levels

if TYPE_CHECKING:
    import polars as pl

Floats = NDArray[np.float64]
ROWS = 5_000  # at most, of both sides together, for the classifier
GROUPS = 4_000  # at most, of both sides together, for the permutations
PERMUTATIONS = 1_999
RESAMPLES = 400
LETTERS = 2_000  # of each note that the classifier reads
FEWEST = 20  # groups on each side, below which nothing is tested
_FOLDS = 5
_LEVELS = 50
_AT_ONCE = 250
_TIE = 1e-9


def drift(frame: pl.DataFrame, seed: int, progress: Progress = SILENT) -> dict[str, Any]:
    """Compare the training with the test split.

    Args:
        frame: the cohort's.
        seed: of the study.
        progress: told of the classifier.

    Returns:
        JSON-able: ``columns``, each with its ``measure``, ``difference``, ``p`` and Holm's ``p_corrected``; and
        ``words``: the classifier's ``auroc`` with ``low`` and ``high`` (95 %), and the ``rows`` that it read ``of`` how
        many. Where a side has too few groups, ``too_few`` says how many there are.
    """
    import polars as pl

    both = frame.filter(pl.col("split").is_in(["train", "test"]))
    sides = both.group_by("split").agg(pl.col("group").n_unique()).rows()
    fewest = min((int(count) for _, count in sides), default=0)
    if fewest < FEWEST or len(sides) < 2:
        return {"too_few": fewest}
    return {"columns": _columns(both, seed), "words": _words(both, seed, progress)}


def _columns(both: pl.DataFrame, seed: int) -> list[dict[str, Any]]:
    """A permutation test for each column, the length and the label."""
    import polars as pl

    names = sorted(both["group"].unique().to_list())
    draw = np.random.default_rng(derive(seed, "drift", "groups"))
    if len(names) > GROUPS:
        names = [names[place] for place in np.sort(draw.permutation(len(names))[:GROUPS])]
        both = both.filter(pl.col("group").is_in(names))
    place = {name: number for number, name in enumerate(names)}
    owner = np.asarray([place[one] for one in both["group"].to_list()], dtype=np.int64)
    test = np.zeros(len(names), dtype=np.bool_)
    test[owner] = both["split"].to_numpy() == "test"
    places, labels = exploded(both["label"])
    parts = [
        ("words in the note", _sums(both["text"].str.count_matches(r"\S+"), owner)),
        ("label", _counts(labels, owner[places], most=500, groups=len(names))),
        *((name, _of_column(both[name], owner)) for name in extra_columns(both)),
    ]
    found: list[dict[str, Any]] = [
        {"column": name, "measure": "standardised difference" if part.shape[1] == 3 else "total variation"}
        for name, part in parts
    ]
    tested = _permuted([part for _, part in parts], test, derive(seed, "drift", "permutations"))
    for one, (difference, p) in zip(found, tested, strict=True):
        one |= {"difference": round(difference, 4), "p": round(p, 4)}
    for one, p in zip(found, holm([p for _, p in tested]), strict=True):
        one["p_corrected"] = round(p, 4)
    return found


def _of_column(values: pl.Series, owner: NDArray[np.int64]) -> Floats:
    return _sums(values, owner) if values.dtype.is_numeric() else _counts(values, owner, most=_LEVELS)


def _sums(values: pl.Series, owner: NDArray[np.int64]) -> Floats:
    """[groups, 3] of a number: how many there are, their sum and the sum of their squares, centred on the mean."""
    import polars as pl

    column = values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    filled = ~np.isnan(column)
    centred = np.where(filled, column - (column[filled].mean() if filled.any() else 0.0), 0.0)
    return np.stack([_by_group(one, owner) for one in (filled.astype(np.float64), centred, centred**2)], axis=1)


def _counts(values: pl.Series, owner: NDArray[np.int64], most: int, groups: int | None = None) -> Floats:
    """[groups, values + 2] of a column of names: how often each occurs; the last two are others and nothing.

    At least four wide, which tells it from a column of numbers. ``groups`` where the last of them may own no value, as
    those whose cases have none of several labels.
    """
    cells = values.to_list()
    levels = shown_levels(cells, most)
    place = {name: number for number, name in enumerate([*levels, OTHER])}
    numbers = np.asarray([len(place) if one is None else place.get(one, len(levels)) for one in cells], dtype=np.int64)
    wide = max(len(place) + 1, 4)
    table = np.zeros((groups or int(owner.max()) + 1, wide))
    np.add.at(table, (owner, numbers), 1.0)
    return table


def _by_group(values: Floats, owner: NDArray[np.int64]) -> Floats:
    return np.bincount(owner, weights=values, minlength=int(owner.max()) + 1).astype(np.float64)


def _permuted(parts: Sequence[Floats], test: NDArray[np.bool_], seed: int) -> list[tuple[float, float]]:
    """Each part's difference between the sides, and how often groups dealt at random differ as much."""
    table = np.concatenate(list(parts), axis=1)
    edges = np.cumsum([0, *(part.shape[1] for part in parts)])
    whole = table.sum(axis=0)

    def differences(sides: Floats) -> Floats:
        held = sides @ table
        return np.stack([_apart(held[:, low:high], whole[low:high]) for low, high in itertools.pairwise(edges)], axis=1)

    real = differences(test[None].astype(np.float64))[0]
    draw = np.random.default_rng(seed)
    reached = np.zeros(len(parts))
    for start in range(0, PERMUTATIONS, _AT_ONCE):
        block = min(_AT_ONCE, PERMUTATIONS - start)
        sides = draw.permuted(np.tile(test.astype(np.float64), (block, 1)), axis=1)
        reached += (np.abs(differences(sides)) >= np.abs(real) - _TIE).sum(axis=0)
    return [(float(one), float((1 + n) / (1 + PERMUTATIONS))) for one, n in zip(real, reached, strict=True)]


def _apart(held: Floats, whole: Floats) -> Floats:
    """[permutations] the difference of one column, from what the test side holds of it.

    Of numbers (three sums) the difference of means, test less training, over the standard deviation of both together;
    of names half the sum of the absolute differences of their shares (total variation).
    """
    rest = whole - held
    if held.shape[1] == 3:
        spread = float(np.sqrt(max(whole[2] / max(whole[0], 1.0), 0.0)))
        gap: Floats = held[:, 1] / np.maximum(held[:, 0], 1.0) - rest[:, 1] / np.maximum(rest[:, 0], 1.0)
        return gap / spread if spread > 0 else np.zeros(len(held))
    shares = held / np.maximum(held.sum(axis=1, keepdims=True), 1.0)
    others = rest / np.maximum(rest.sum(axis=1, keepdims=True), 1.0)
    apart: Floats = np.abs(shares - others).sum(axis=1) / 2
    return apart


def holm(values: Sequence[float]) -> list[float]:
    """P-values corrected for their number by Holm's step-down method (Holm 1979)."""
    corrected = [0.0] * len(values)
    least = 0.0
    for rank, place in enumerate(sorted(range(len(values)), key=lambda one: values[one])):
        least = max(least, min(1.0, (len(values) - rank) * values[place]))
        corrected[place] = least
    return corrected


def _words(both: pl.DataFrame, seed: int, progress: Progress) -> dict[str, Any]:
    """How well TF-IDF and logistic regression tell test from training notes, on groups they were not fitted on."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold

    rows = _drawn(both["split"].to_list(), derive(seed, "drift", "rows"))
    texts = both["text"][rows].str.slice(0, LETTERS).to_list()
    groups = both["group"][rows].to_list()
    is_test = (both["split"][rows] == "test").to_numpy()
    vectors = TfidfVectorizer(min_df=2, sublinear_tf=True).fit_transform(texts)
    folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=derive(seed, "drift", "folds") % 2**32)
    settings = {"random_state": derive(seed, "drift", "solver") % 2**31, "max_iter": 1_000}
    scores, fold = np.zeros(len(texts)), np.zeros(len(texts), dtype=np.int64)
    with progress.task("telling test from training notes", total=_FOLDS, unit="folds") as task:
        for number, (fitted, held) in enumerate(folds.split(texts, is_test, groups)):
            model = LogisticRegression(solver="liblinear", dual=True, class_weight="balanced", **settings)
            model.fit(vectors[fitted], is_test[fitted])
            scores[held], fold[held] = model.decision_function(vectors[held]), number
            task.advance()
    return {**_auroc(scores, is_test, fold, groups, seed), "rows": len(texts), "of": both.height, "letters": LETTERS}


def _drawn(splits: Sequence[str], seed: int) -> NDArray[np.int64]:
    """Rows of both splits, at most half of the most from each, in their order."""
    draw = np.random.default_rng(seed)
    named = np.asarray(splits)
    chosen = [draw.permutation(np.flatnonzero(named == name))[: ROWS // 2] for name in ("train", "test")]
    return np.sort(np.concatenate(chosen))


def _auroc(
    scores: Floats, positive: NDArray[np.bool_], fold: NDArray[np.int64], groups: Sequence[str], seed: int
) -> dict[str, float]:
    """The mean area under the ROC curve within the folds, with a percentile interval from resampled groups."""
    from bedside.metrics.intervals import Resamples

    drawn = Resamples.of(groups, RESAMPLES, derive(seed, "drift", "bootstrap"))
    values = drawn.apply(lambda weights: _within_folds(weights, scores, positive, fold)[:, None])[:, 0]
    value = _within_folds(np.ones((1, len(scores))), scores, positive, fold)[0]
    low, high = np.quantile(values, [0.025, 0.975])
    return {"auroc": round(float(value), 3), "low": round(float(low), 3), "high": round(float(high), 3)}


def _within_folds(weights: Floats, scores: Floats, positive: NDArray[np.bool_], fold: NDArray[np.int64]) -> Floats:
    """[resamples] pairs in the right order over all pairs, of pairs within one fold; equal scores count half."""
    right, pairs = np.zeros(len(weights)), np.zeros(len(weights))
    for number in range(int(fold.max()) + 1):
        rows = np.flatnonzero(fold == number)
        rows = rows[np.argsort(scores[rows], kind="stable")]
        _, tie = np.unique(scores[rows], return_inverse=True)
        starts = np.flatnonzero(np.diff(tie, prepend=-1))
        for_test = np.add.reduceat(weights[:, rows] * positive[rows], starts, axis=1)
        for_train = np.add.reduceat(weights[:, rows] * ~positive[rows], starts, axis=1)
        below = np.cumsum(for_train, axis=1) - for_train
        right += (for_test * (below + for_train / 2)).sum(axis=1)
        pairs += for_test.sum(axis=1) * for_train.sum(axis=1)
    return np.asarray(right / np.maximum(pairs, 1.0))
