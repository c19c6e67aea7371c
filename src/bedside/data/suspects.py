"""Labels that are probably wrong: what a model that never saw a case thinks of the label that it was given.

Confident learning (Northcutt, Jiang & Chuang 2021, J Artif Intell Res 70:1373), in a few lines: out-of-fold
probabilities; of each label the mean probability that its own cases give it, as a threshold; from the cases above the
threshold of another label, the joint distribution of given and true labels, whose off-diagonal says how many labels are
wrong. So many cases at most are named, those with the largest margin first, and only where another label is many times
as likely as the given one. It names cases to look at; it changes no label.

The model is made for notes and for speed: words and pairs of words, marked where they are denied (as Das & Chen 2001
do), and numbers in bins, each with the word before it, weighed by TF-IDF; and a logistic regression. No file is read
and none is written, and the same cases give the same suspects.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bedside.core.progress import SILENT, Progress
from bedside.core.seeds import derive
from bedside.data.labels import lookalike_rules
from bedside.data.split import assign_folds

Floats = NDArray[np.float64]
FOLDS = 5
FEWEST_CASES = 100  # fewer say little of one another
MANY_TIMES = 8.0  # how much likelier another label must be; chosen on samples that no reported figure comes from
_STRENGTH = 3.0
_MOST_FEATURES = 10_000  # of each kind; 30,000 found 366 of 417 planted errors at 3,000 notes, and these 364
_FEWEST_NOTES = 3  # with a term that is kept
_BIN = 1.15  # numbers within about 15 % are one term; neighbouring bins overlap
_TOKEN = re.compile(r"[^\W\d_]+|\d+(?:[.,]\d+)?|[.;:\n]")
_ENDS = frozenset(".;:\n")


@dataclass(frozen=True)
class Suspects:
    """Cases whose label is probably wrong, the most probable first.

    Attributes:
        rows: [found] which cases.
        suggested: [found] the number of the label that fits better.
        margin: [found] natural logarithm of how many times likelier that label is, calibrated.
        estimated: how many labels are wrong, by the joint distribution of given and true labels.
    """

    rows: NDArray[np.int64]
    suggested: NDArray[np.int64]
    margin: Floats
    estimated: float


def sample(groups: NDArray[np.int64], keys: Sequence[str], most: int, seed: int) -> NDArray[np.int64]:
    """Rows of groups that are taken whole, in a random order of groups, up to ``most`` rows; all of them if they fit.

    Args:
        groups: [rows] number of each row's group.
        keys: a name of each group that does not depend on the order of rows.
        most: rows at most, unless the first group alone has more.
        seed: same seed, same sample.
    """
    if len(groups) <= most:
        return np.arange(len(groups))
    sizes = np.bincount(groups, minlength=len(keys))
    order = np.asarray(sorted(range(len(keys)), key=lambda group: derive(seed, "audit", keys[group])), dtype=np.int64)
    fits = np.cumsum(sizes[order]) <= most
    taken = order[: max(int(fits.argmin()), 1)]
    return np.flatnonzero(np.isin(groups, taken))


def folds_of(
    groups: NDArray[np.int64], targets: NDArray[np.int64], keys: Sequence[str], seed: int
) -> NDArray[np.int64] | None:
    """[rows] fold of each row, no group cut; ``None`` where there are fewer groups than folds.

    Args:
        groups: [rows] number of each row's group in ``keys``; not all need to occur.
        targets: [rows] number of each row's label.
        keys: a name of each group.
        seed: same seed, same folds.
    """
    present, dense = np.unique(groups, return_inverse=True)
    if len(present) < FOLDS:
        return None
    names = [keys[group] for group in present.tolist()]
    return assign_folds(dense.astype(np.int64), targets, names, FOLDS, derive(seed, "audit", "folds"))


def features(texts: Sequence[str]) -> Any:
    """[texts, terms] sparse TF-IDF of words, pairs, denials and numbers. It reads no label, so it is made once."""
    from scipy.sparse import csr_matrix, hstack
    from sklearn.feature_extraction.text import TfidfVectorizer

    fewest = min(_FEWEST_NOTES, max(len(texts) // 50, 1))
    blocks = []
    for terms in (_plain, _marked, _numbers):  # each of length 1, so that few numbers weigh as much as many words
        made = TfidfVectorizer(
            analyzer=terms, sublinear_tf=True, min_df=fewest, max_features=_MOST_FEATURES, dtype=np.float32
        )
        try:
            blocks.append(made.fit_transform(texts))
        except ValueError:  # no term is in enough notes
            blocks.append(csr_matrix((len(texts), 1), dtype=np.float32))
    return hstack(blocks).tocsr()


def _plain(text: str) -> list[str]:
    words = [word for word, _ in _words(text)]
    return [*words, *_pairs(words)]


def _marked(text: str) -> list[str]:
    words = [f"not {word}" if denied else word for word, denied in _words(text) if not word[0].isdigit()]
    return [*words, *_pairs(words)]


def _pairs(words: Sequence[str]) -> list[str]:
    return [f"{one} {other}" for one, other in pairwise(words)]


def _words(text: str) -> Iterator[tuple[str, bool]]:
    """The lower-cased words, each with whether it is denied: after a word of denial, to the end of the clause."""
    rules = lookalike_rules()
    denials, turns = rules["denials"], rules["turns"]
    denied = False
    for word in _TOKEN.findall(text.lower()):
        if word in _ENDS:
            denied = False
            continue
        denied = denied and word not in turns
        yield word, denied
        denied = denied or word in denials


def _numbers(text: str) -> Iterator[str]:
    """Each number in its bin and the two beside it, with the word before."""
    before = ""
    for word in _TOKEN.findall(text.lower()):
        if not word[0].isdigit():
            before = before if word in _ENDS else word
            continue
        value = float(word.replace(",", "."))
        middle = math.floor(math.log(value) / math.log(_BIN)) if value > 0 else -99
        yield from (f"{before}#{middle + step}" for step in (-1, 0, 1))


def out_of_fold(
    matrix: Any, targets: NDArray[np.int64], folds: NDArray[np.int64], labels: int, progress: Progress = SILENT
) -> Floats:
    """[rows, labels] what each row's label is, by a model that saw no row of its fold.

    Args:
        matrix: [rows, terms] of :func:`features`.
        targets: [rows] numbers of labels.
        folds: [rows] of :func:`folds_of`.
        labels: how many labels there are.
        progress: told of each fold.
    """
    from sklearn.linear_model import LogisticRegression

    found = np.zeros((len(targets), labels))
    with progress.task("auditing labels", total=FOLDS, unit="folds") as task:
        for fold in range(FOLDS):
            held = folds == fold
            if held.any() and len(np.unique(targets[~held])) > 1:
                # a tolerance that is met long before 300 steps, so that no warning of the solver is hidden
                model = LogisticRegression(C=_STRENGTH, max_iter=300, tol=1e-3).fit(matrix[~held], targets[~held])
                found[np.ix_(np.flatnonzero(held), model.classes_)] = model.predict_proba(matrix[held])
            task.advance()
    return found


def calibrated(probabilities: Floats, targets: NDArray[np.int64]) -> Floats:
    """The same with the temperature under which the given labels are likeliest (Guo et al. 2017).

    Without it a margin of one model is not that of another: strong regularisation makes all probabilities timid.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax, softmax

    logits = np.log(np.maximum(probabilities, 1e-12))
    rows = np.arange(len(targets))

    def loss(sharpness: float) -> float:
        # a label that nobody could learn must not decide: its loss is bounded
        return float(-np.maximum(log_softmax(sharpness * logits, axis=1)[rows, targets], -10.0).mean())

    best = minimize_scalar(loss, bounds=(0.2, 5.0), method="bounded").x
    return np.asarray(softmax(best * logits, axis=1), dtype=np.float64)


def confident_joint(probabilities: Floats, targets: NDArray[np.int64]) -> Floats:
    """[given, true] estimated number of cases, by confident learning; rows add up to the given labels' counts.

    Args:
        probabilities: [rows, labels] out of fold.
        targets: [rows] given labels.
    """
    labels = probabilities.shape[1]
    given = np.bincount(targets, minlength=labels)
    own = np.bincount(targets, probabilities[np.arange(len(targets)), targets], minlength=labels)
    threshold = np.divide(own, given, out=np.full(labels, np.inf), where=given > 0)
    sure = np.where(probabilities >= threshold, probabilities, -1.0)
    counted = np.flatnonzero(sure.max(axis=1) >= 0)
    joint = np.zeros((labels, labels))
    np.add.at(joint, (targets[counted], sure[counted].argmax(axis=1)), 1.0)
    bare = joint.sum(axis=1) == 0
    joint[bare, bare] = 1.0  # of a label without confident cases nothing is known: taken as right
    return np.asarray(joint / joint.sum(axis=1, keepdims=True) * given[:, None], dtype=np.float64)


def find_suspects(probabilities: Floats, targets: NDArray[np.int64]) -> Suspects:
    """The cases whose label is probably wrong.

    Args:
        probabilities: [rows, labels] out of fold.
        targets: [rows] given labels.
    """
    sharp = calibrated(probabilities, targets)
    joint = confident_joint(sharp, targets)
    estimated = float(joint.sum() - np.trace(joint))
    rows = np.arange(len(targets))
    logs = np.log(np.maximum(sharp, 1e-12))
    rivals = logs.copy()
    rivals[rows, targets] = -np.inf
    margin = rivals.max(axis=1) - logs[rows, targets]
    order = np.lexsort((rows, -margin))[: round(estimated)]
    chosen = order[margin[order] >= math.log(MANY_TIMES)]
    return Suspects(chosen, rivals.argmax(axis=1)[chosen], margin[chosen], estimated)
