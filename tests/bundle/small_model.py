"""A small real model for the tests of bundle and serving: TF-IDF + logistic regression on made-up notes.

Everything in the bundle is what a study would put there; only ``Troubled`` is made for tests, to inject faults.
"""

from __future__ import annotations

import functools
import random
import threading
import time
from pathlib import Path

import numpy as np

from bedside.bundle import write_bundle
from bedside.bundle.verify import list_files, sums_text
from bedside.core.files import sha256_file
from bedside.evaluation import Abstention, Calibration
from bedside.models import TfidfLogistic
from bedside.protocol import CleanSection, PackageSection

LABELS = ("appendicitis", "migraine", "pneumonia")
FINDINGS = {
    "appendicitis": ["abdominal pain", "nausea", "guarding", "rebound tenderness", "vomiting"],
    "migraine": ["headache", "aversion to light", "visual aura", "throbbing", "dislikes bright light"],
    "pneumonia": ["cough", "fever", "shaking chills", "crackles", "worse at night"],
}
FILLER = ["three days of", "since this morning", "and", "with", "no allergies", "seen today", "no chest pain", "high"]
NOTE = "Three days of cough and high fever with shaking chills, worse at night, no chest pain and no headache today."


def _notes(count: int, seed: int) -> tuple[list[str], np.ndarray]:
    """``count`` made-up notes of each label, and the numbers of their labels."""
    dice = random.Random(seed)
    texts, targets = [], []
    for number, label in enumerate(LABELS):
        for _ in range(count):
            pieces = dice.sample(FINDINGS[label], 3) + dice.sample(FILLER, 3)
            dice.shuffle(pieces)
            texts.append(" ".join(pieces))
            targets.append(number)
    return texts, np.asarray(targets, dtype=np.int64)


@functools.cache
def diagnoser() -> TfidfLogistic:
    """The model; fitted once a process."""
    texts, targets = _notes(30, seed=1)
    return TfidfLogistic.fit(texts, targets, _notes(8, seed=2), LABELS)


@functools.cache
def calibration() -> Calibration:
    """A temperature that is not 1, so that a forgotten calibration shows."""
    return Calibration(temperature=1.3)


ABSTENTION = Abstention(threshold=0.6, max_error=0.05, confidence=0.95, cases=90, answered=80, errors=0, fewest_words=5)


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


def write(folder: Path, *, evidence: Path | None = None, **changes) -> Path:
    values = {
        "diagnoser": diagnoser(),
        "calibration": calibration(),
        "abstention": ABSTENTION,
        "labels_info": {"pneumonia": {"support": 41}, "migraine": {"support": 17}},
        "package": PackageSection(version="1.2.0", codes={"pneumonia": "J18.9"}),
        "clean": CleanSection(),
        "shown": 2,
        "provenance": {"study": "chest", "weights_sha256": "0" * 64, "look": 1, "synthetic": True},
    }
    write_bundle(folder, **{**values, **changes}, evidence=evidence)
    return folder


def reseal(folder: Path) -> None:
    """Write the list of checksums anew, as an attacker would who alters a file and its sum."""
    sums = {name: sha256_file(folder / name) for name in list_files(folder)}
    (folder / "SHA256SUMS").write_bytes(sums_text(sums))
