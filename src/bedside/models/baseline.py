"""What every model must beat: the commonest label, and TF-IDF with logistic regression.

No straw man: words and pairs of words, three to five characters within words, and the regularisation chosen on the
validation split.

A vocabulary is text of the training notes, and it travels with the bundle. A name, an address or a number stands in
the notes of the one patient it belongs to, however often it is repeated there; so a term is kept only if notes of at
least two patients (or clusters of near-duplicate notes) hold it. To count notes instead, as ``min_df`` does, would let
through whatever a patient's second note repeats. What two patients share, a common family name say, stays: taking
identifiers out of the text itself is the work of de-identification.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bedside.core.errors import ModelError
from bedside.core.files import atomic_path, read_json, write_json
from bedside.core.progress import SILENT, Progress
from bedside.models.diagnoser import describe

Floats = NDArray[np.float64]
_PARTS: tuple[dict[str, Any], ...] = (
    {"analyzer": "word", "ngram_range": (1, 2), "token_pattern": r"(?u)\b\w+\b"},
    {"analyzer": "char_wb", "ngram_range": (3, 5)},
)
_MOST_FEATURES = 50_000
_STRENGTHS = (1.0, 10.0, 100.0)
_FEWEST_GROUPS = 2  # patients, or clusters of near-duplicates, whose notes hold a term that is kept


class Majority:
    """Answers every text with the shares of the labels in training; of several labels, with each one's prevalence."""

    kind = "majority"

    def __init__(self, labels: Sequence[str], shares: Sequence[float], several: bool = False) -> None:
        self.labels, self.several = tuple(labels), several
        self._shares = np.asarray(shares, dtype=np.float64)

    @classmethod
    def fit(cls, targets: NDArray[np.int64], labels: Sequence[str]) -> Majority:
        """Count the labels of the training cases: [texts] numbers of labels, or [texts, labels] where several."""
        if targets.ndim == 2:
            return cls(labels, targets.mean(axis=0).tolist(), several=True)
        counts = np.bincount(targets, minlength=len(labels))
        return cls(labels, (counts / counts.sum()).tolist())

    @classmethod
    def load(cls, folder: Path, about: dict[str, Any]) -> Majority:
        """Load a saved one."""
        return cls(about["labels"], about["shares"], about.get("several", False))

    def predict_proba(self, texts: Sequence[str]) -> Floats:
        """[texts, labels] the same row for every text."""
        return np.tile(self._shares, (len(texts), 1))

    def save(self, folder: Path) -> None:
        """Write it to a folder."""
        more = {"several": True} if self.several else {}
        describe(folder, self.kind, self.labels, shares=self._shares.tolist(), **more)


class TfidfLogistic:
    """TF-IDF of words and characters, and multinomial logistic regression; of several labels a case, one for each."""

    kind = "tfidf"

    def __init__(
        self,
        labels: Sequence[str],
        vectorizers: list[Any],
        weights: Floats,
        bias: Floats,
        c: float,
        several: bool = False,
    ) -> None:
        self.labels, self.several = tuple(labels), several
        self._vectorizers, self._weights, self._bias = vectorizers, weights, bias
        self.strength = c

    @classmethod
    def fit(
        cls,
        texts: Sequence[str],
        targets: NDArray[np.int64],
        validation: tuple[Sequence[str], NDArray[np.int64]],
        labels: Sequence[str],
        progress: Progress = SILENT,
        *,
        groups: Sequence[object] | None = None,
    ) -> TfidfLogistic:
        """Fit on the training cases; the strength of regularisation is the best of three on validation macro-F1.

        With several labels a case it is the best on validation mean average precision.

        Args:
            texts: the cleaned notes.
            targets: [texts] numbers of labels; a label that none has gets a probability near 0. Or [texts, labels] 1
                where the case has the label, for cases with several.
            validation: texts and targets that the strength is chosen by.
            labels: all labels.
            progress: told of each fit.
            groups: [texts] the patient or cluster of each note; each note is its own if not given.

        Raises:
            ModelError: no term occurs in notes of two patients.
        """
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import f1_score

        vectorizers = _vectorizers(texts, range(len(texts)) if groups is None else groups)
        matrix = _transform(vectorizers, texts)
        if targets.ndim == 2:
            from bedside.models.one_vs_rest import fit_one_vs_rest

            held_out = (_transform(vectorizers, validation[0]), validation[1])
            return cls(
                labels, vectorizers, *fit_one_vs_rest(matrix, targets, held_out, _STRENGTHS, progress), several=True
            )
        best: tuple[float, TfidfLogistic] | None = None
        with progress.task("Fitting TF-IDF + logistic regression", total=len(_STRENGTHS), unit="fits") as task:
            for c in _STRENGTHS:
                model = LogisticRegression(C=c, max_iter=300, tol=1e-3, class_weight="balanced").fit(matrix, targets)
                weights, bias = every_label(model, len(labels))
                found = cls(labels, vectorizers, weights, bias, c)
                called = found.predict_proba(validation[0]).argmax(axis=1)
                score = float(f1_score(validation[1], called, average="macro", zero_division=0))
                if best is None or score > best[0]:
                    best = (score, found)
                task.advance()
        if best is None:  # the tuple of strengths is never empty
            raise AssertionError
        return best[1]

    @classmethod
    def load(cls, folder: Path, about: dict[str, Any]) -> TfidfLogistic:
        """Load a saved one.

        Raises:
            ModelError: its files are missing or damaged.
        """
        from safetensors.numpy import load_file

        try:
            arrays = load_file(str(folder / "model.safetensors"))
            terms = read_json(folder / "vocabulary.json")
            vectorizers = [
                _vectorizer(part, words, arrays[f"idf_{number}"])
                for number, (part, words) in enumerate(zip(_PARTS, terms, strict=True))
            ]
            fitted = arrays["weights"], arrays["bias"], about["c"]
            return cls(about["labels"], vectorizers, *fitted, several=about.get("several", False))
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(f"The TF-IDF model in {folder} is damaged; train it again.") from error

    def predict_proba(self, texts: Sequence[str]) -> Floats:
        """[texts, labels] probabilities; of several labels a case each stands alone."""
        from scipy.special import expit, softmax

        if not len(texts):
            return np.empty((0, len(self.labels)))
        scores = _transform(self._vectorizers, texts) @ self._weights.T + self._bias
        return np.asarray(expit(scores) if self.several else softmax(scores, axis=1), dtype=np.float64)

    def save(self, folder: Path) -> None:
        """Write vocabulary and weights to a folder."""
        from safetensors.numpy import save_file

        arrays = {"weights": self._weights, "bias": self._bias}
        terms = []
        for number, one in enumerate(self._vectorizers):
            terms.append(sorted(one.vocabulary_, key=one.vocabulary_.__getitem__))
            arrays[f"idf_{number}"] = one.idf_
        with atomic_path(folder / "model.safetensors") as temporary:
            save_file({name: np.ascontiguousarray(value) for name, value in arrays.items()}, str(temporary))
        write_json(folder / "vocabulary.json", terms)
        describe(folder, self.kind, self.labels, c=self.strength, **({"several": True} if self.several else {}))


def _vectorizers(texts: Sequence[str], groups: Sequence[object]) -> list[Any]:
    """A vectorizer for each part of the features, with the terms that are kept.

    Raises:
        ModelError: a part would have none.
    """
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    places = ([numbers[group] for group in groups], range(len(texts)))
    belongs = csr_matrix((np.ones(len(texts), dtype=np.int32), places), shape=(len(numbers), len(texts)))
    found = []
    for part in _PARTS:
        counter = CountVectorizer(dtype=np.int32, **part)
        counts = counter.fit_transform(texts)
        kept = _kept(counts, belongs)
        if not len(kept):
            raise ModelError(
                f"No word of the {len(texts)} training notes occurs in notes of {_FEWEST_GROUPS} patients, so TF-IDF "
                "has nothing to learn from; give more notes, or name the right column in data.text."
            )
        idf = TfidfTransformer().fit(counts[:, kept]).idf_
        found.append(_vectorizer(part, counter.get_feature_names_out()[kept].tolist(), idf))
    return found


def _kept(counts: Any, belongs: Any) -> NDArray[np.int64]:
    """The columns of ``counts`` [notes, terms] that enough groups hold; of too many, the commonest."""
    held = np.flatnonzero((belongs @ counts).getnnz(axis=0) >= _FEWEST_GROUPS)
    if len(held) > _MOST_FEATURES:
        totals = np.asarray(counts.sum(axis=0)).ravel()[held]
        held = held[np.sort(np.argsort(-totals, kind="stable")[:_MOST_FEATURES])]
    return held


def _vectorizer(part: dict[str, Any], terms: Sequence[str], idf: Floats) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    one = TfidfVectorizer(sublinear_tf=True, vocabulary=terms, **part)
    one.idf_ = idf
    return one


def _transform(vectorizers: Sequence[Any], texts: Sequence[str]) -> Any:
    from scipy.sparse import hstack

    return hstack([one.transform(texts) for one in vectorizers]).tocsr()


def every_label(model: Any, labels: int) -> tuple[Floats, Floats]:
    """Weights [labels, features] and bias [labels]; scikit-learn keeps one row for two labels."""
    weights, bias = model.coef_, model.intercept_
    if len(weights) == 1:
        weights, bias = np.concatenate([-weights / 2, weights / 2]), np.concatenate([-bias / 2, bias / 2])
    full, offset = np.zeros((labels, weights.shape[1])), np.full(labels, -1e3)
    full[model.classes_], offset[model.classes_] = weights, bias
    return full, offset
