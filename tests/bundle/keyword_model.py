"""A small real model for the tests of bundle and serving: it counts keywords, and saves and loads itself.

Until the models and evaluation rooms are there, ``install`` puts it, with a temperature and a word threshold, where
the bundle looks for them.
"""

from __future__ import annotations

import json
import sys
import threading
import time
import types
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bedside.bundle import write_bundle
from bedside.protocol import CleanSection, PackageSection

LABELS = ("appendicitis", "migraine", "pneumonia")
KEYWORDS = {"appendicitis": ["abdominal", "nausea"], "migraine": ["headache", "light"], "pneumonia": ["cough", "fever"]}
NOTE = "Three days of cough and high fever with shaking chills, worse at night, no chest pain and no headache today."


class Keywords:
    """A diagnoser: softmax of keyword counts."""

    kind = "tfidf"
    labels = LABELS

    def __init__(self, weight: float = 1.5) -> None:
        self.weight = weight

    def predict_proba(self, texts):
        counts = np.array([[sum(text.lower().count(w) for w in KEYWORDS[label]) for label in LABELS] for text in texts])
        scores = np.exp(self.weight * np.minimum(counts, 50))
        return scores / scores.sum(axis=1, keepdims=True)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        content = json.dumps({"kind": self.kind, "labels": list(LABELS), "weight": self.weight})
        (folder / "diagnoser.json").write_text(content, encoding="utf-8")
        (folder / "tokenizer").mkdir()
        (folder / "tokenizer" / "words.txt").write_text("cough\nfever\n", encoding="utf-8")


@dataclass(frozen=True)
class Temperature:
    temperature: float = 1.3

    def apply(self, raw):
        logits = np.log(raw) / self.temperature
        scores = np.exp(logits - logits.max(axis=1, keepdims=True))
        return scores / scores.sum(axis=1, keepdims=True)

    def to_json(self):
        return {"temperature": self.temperature}

    @classmethod
    def from_json(cls, value):
        return cls(value["temperature"])


@dataclass(frozen=True)
class Reason:
    code: str
    message: str


@dataclass(frozen=True)
class Decision:
    status: str
    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class Thresholds:
    fewest_words: int = 5
    threshold: float = 0.6

    def decide(self, probabilities, words):
        return [self._one(row.max(), count) for row, count in zip(probabilities, words, strict=True)]

    def _one(self, best, count):
        if count < self.fewest_words:
            return Decision("insufficient_information", (Reason("too_short", f"{count} words"),))
        if best < self.threshold:
            return Decision("low_confidence", (Reason("below_threshold", "no label is likely enough"),))
        return Decision("ok", ())

    def to_json(self):
        return {"fewest_words": self.fewest_words, "threshold": self.threshold}

    @classmethod
    def from_json(cls, value):
        return cls(**value)


class Troubled:
    """A diagnoser around another: slow, held at a gate, or failing with the text of the note in its message."""

    def __init__(self, inner, *, slow: float = 0.0, gate: threading.Event | None = None) -> None:
        self.inner, self.slow, self.gate = inner, slow, gate
        self.labels, self.kind = inner.labels, inner.kind
        self.calls: list[int] = []

    def predict_proba(self, texts):
        self.calls.append(len(texts))
        time.sleep(self.slow)
        if self.gate is not None and "Synthetic note to warm" not in texts[0]:
            self.gate.wait(20)
        for text in texts:
            if "CRASHNOW" in text:
                raise ValueError(f"cannot read {text}")
        return self.inner.predict_proba(texts)


def load_keywords(folder: Path) -> Keywords:
    return Keywords(json.loads((folder / "diagnoser.json").read_text(encoding="utf-8"))["weight"])


def install(monkeypatch) -> None:
    """Let ``Bundle.load`` find these parts."""
    for room, names in (
        ("models", {"load_diagnoser": load_keywords}),
        ("evaluation", {"Calibration": Temperature, "Abstention": Thresholds}),
    ):
        module = types.ModuleType(f"bedside.{room}")
        for name, value in names.items():
            setattr(module, name, value)
        monkeypatch.setitem(sys.modules, f"bedside.{room}", module)


def write(folder: Path, *, evidence: Path | None = None, **changes) -> Path:
    values = {
        "diagnoser": Keywords(),
        "calibration": Temperature(),
        "abstention": Thresholds(),
        "labels_info": {"pneumonia": {"support": 41}, "migraine": {"support": 17}},
        "package": PackageSection(version="1.2.0", codes={"pneumonia": "J18.9"}),
        "clean": CleanSection(),
        "shown": 2,
        "provenance": {"study": "chest", "weights_sha256": "0" * 64, "look": 1, "synthetic": True},
    }
    write_bundle(folder, **{**values, **changes}, evidence=evidence)
    return folder
