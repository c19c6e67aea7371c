"""What every model must beat: the commonest label, and TF-IDF with logistic regression.

No straw man: words and pairs of words, three to five characters within words, and the regularisation chosen on the
validation split.
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


class Majority:
    """Answers every text with the shares of the labels in the training cases."""

    kind = "majority"

    def __init__(self, labels: Sequence[str], shares: Sequence[float]) -> None:
        self.labels = tuple(labels)
        self._shares = np.asarray(shares, dtype=np.float64)

    @classmethod
    def fit(cls, targets: NDArray[np.int64], labels: Sequence[str]) -> Majority:
        """Count the labels of the training cases."""
        counts = np.bincount(targets, minlength=len(labels))
        return cls(labels, (counts / counts.sum()).tolist())

    @classmethod
    def load(cls, folder: Path, about: dict[str, Any]) -> Majority:
        """Load a saved one."""
        return cls(about["labels"], about["shares"])

    def predict_proba(self, texts: Sequence[str]) -> Floats:
        """[texts, labels] the same row for every text."""
        return np.tile(self._shares, (len(texts), 1))

    def save(self, folder: Path) -> None:
        """Write it to a folder."""
        describe(folder, self.kind, self.labels, shares=self._shares.tolist())


class TfidfLogistic:
    """TF-IDF of words and characters, and multinomial logistic regression."""

    kind = "tfidf"

    def __init__(self, labels: Sequence[str], vectorizers: list[Any], weights: Floats, bias: Floats, c: float) -> None:
        self.labels = tuple(labels)
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
    ) -> TfidfLogistic:
        """Fit on the training cases; the strength of regularisation is the best of three on validation macro-F1."""
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import f1_score

        least = 2 if len(texts) > 200 else 1
        vectorizers = [
            TfidfVectorizer(sublinear_tf=True, min_df=least, max_features=_MOST_FEATURES, **part) for part in _PARTS
        ]
        for one in vectorizers:
            one.fit(texts)
        matrix = _transform(vectorizers, texts)
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
        from sklearn.feature_extraction.text import TfidfVectorizer

        try:
            arrays = load_file(str(folder / "model.safetensors"))
            terms = read_json(folder / "vocabulary.json")
            vectorizers = []
            for number, (part, words) in enumerate(zip(_PARTS, terms, strict=True)):
                one = TfidfVectorizer(sublinear_tf=True, vocabulary=words, **part)
                one.idf_ = arrays[f"idf_{number}"]
                vectorizers.append(one)
            return cls(about["labels"], vectorizers, arrays["weights"], arrays["bias"], about["c"])
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(f"The TF-IDF model in {folder} is damaged; train it again.") from error

    def predict_proba(self, texts: Sequence[str]) -> Floats:
        """[texts, labels] probabilities."""
        from scipy.special import softmax

        if not len(texts):
            return np.empty((0, len(self.labels)))
        scores = _transform(self._vectorizers, texts) @ self._weights.T + self._bias
        return np.asarray(softmax(scores, axis=1), dtype=np.float64)

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
        describe(folder, self.kind, self.labels, c=self.strength)


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
