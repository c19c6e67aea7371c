"""A verified bundle, ready to answer.

This module refuses to parse or load anything of a folder that ``verify_bundle`` has not passed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from bedside.bundle.answer import Answer, Decisions, PredictionSet, Suggestion, Uncertainty
from bedside.bundle.verify import verify_bundle
from bedside.bundle.write import SCHEMA
from bedside.core.errors import BundleError, ModelError
from bedside.core.files import read_json
from bedside.protocol import CleanSection

if TYPE_CHECKING:
    from bedside.data.moment import Cut
    from bedside.evaluation import Abstention, Calibration, LabelAnswers, LabelCalibration
    from bedside.models import Diagnoser

# Kinds of diagnoser that read a note to its end, in windows where it is long.
_READ_WHOLE = frozenset({"encoder", "decoder", "tfidf", "majority"})
_WITHOUT_DIFFERENTIAL = frozenset({"insufficient_information", "out_of_scope"})
_Part = TypeVar("_Part")


@dataclass(frozen=True)
class Bundle:
    """A model with its calibration, its thresholds and its name.

    Attributes:
        folder: where it was read from.
        digest: ``sha256:…`` of everything in it.
        info: the content of ``bundle.json``.
        label_entries: the content of ``labels.json``: label, display, codes and support where known.
    """

    folder: Path
    digest: str
    info: dict[str, Any]
    label_entries: tuple[dict[str, Any], ...]
    clean: CleanSection = field(repr=False)
    cut: Cut | None = field(repr=False)
    diagnoser: Diagnoser = field(repr=False)
    calibration: Calibration | LabelCalibration = field(repr=False)
    abstention: Abstention | LabelAnswers = field(repr=False)

    @classmethod
    def load(cls, folder: Path) -> Bundle:
        """Verify a bundle, then load it.

        Raises:
            BundleError: it is not a bundle, was altered, or is of another version; the file is named.
        """
        from bedside.evaluation import LabelAnswers, read_answers, read_calibration
        from bedside.models import load_diagnoser

        digest = verify_bundle(folder)
        info = _info(folder)
        bundle = cls(
            folder=folder,
            digest=digest,
            info=info,
            label_entries=_part(folder / "labels.json", _entries),
            clean=_part(folder / "bundle.json", lambda value: CleanSection.model_validate(value["clean"])),
            cut=_part(folder / "bundle.json", _cut),
            diagnoser=load_diagnoser(folder),
            calibration=_part(folder / "calibration.json", read_calibration),
            abstention=_part(folder / "abstention.json", read_answers),
        )
        if bundle.diagnoser.labels != bundle.labels:
            raise BundleError(
                f"{folder / 'labels.json'} does not hold the labels of the model; package the study again."
            )
        if len({bundle.several, bundle.diagnoser.several, isinstance(bundle.abstention, LabelAnswers)}) > 1:
            raise BundleError(
                f"{folder / 'abstention.json'} is not of a model with as many labels a case; package the study again."
            )
        return bundle

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of every probability matrix."""
        return tuple(entry["label"] for entry in self.label_entries)

    @property
    def several(self) -> bool:
        """Whether a case may have several labels, so that each has a yes, a no or neither."""
        return bool(self.info.get("several", False))

    @property
    def model_id(self) -> str:
        """The model's name in an answer: the study's name and the version."""
        return f"{self.info['provenance'].get('study', self.info['kind'])}-{self.info['version']}"

    @property
    def warnings(self) -> tuple[str, ...]:
        """What whoever reads an answer of this bundle must know."""
        warnings = []
        if self.info["draft"]:
            missing = [f"package.{key}" for key in ("intended_use", "limits") if not self.info.get(key, "").strip()]
            warnings.append(f"draft bundle: {' and '.join(missing)} not stated")
        if self.info["provenance"].get("synthetic") is True:
            warnings.append("synthetic training data: not for patients")
        if self.abstention.alarms is not None:
            warnings += self.abstention.alarms.refusals(self.labels)
        return tuple(warnings)

    def predict_proba(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Calibrated probabilities of notes as they are written; cleaning is done here.

        Returns:
            [notes, labels]; rows sum to 1, unless a case may have several labels.

        Raises:
            ModelError: the model gave something that is no probability.
        """
        return self._calibrated(self._cleaned(texts))

    def diagnose(self, texts: Sequence[str], top_k: int | Sequence[int | None] | None = None) -> list[Answer]:
        """Answer notes.

        Args:
            texts: the notes.
            top_k: diagnoses in an answer, for all or for each note; ``None`` takes what the study chose. More than
                there are labels gives all. Where a case may have several, those called are given whatever their number.

        Returns:
            An answer for each note, in order.
        """
        tops = [top_k] * len(texts) if top_k is None or isinstance(top_k, int) else list(top_k)
        if len(tops) != len(texts) or any(top is not None and top < 1 for top in tops):
            raise BundleError(f"top_k = {top_k!r}: give a number from 1 up, or one for each of {len(texts)} notes.")
        cleaned = self._cleaned(texts)
        probabilities = self._calibrated(cleaned)
        words = [count_words(text) for text in cleaned]
        decisions = self.abstention.decide(probabilities, words) if cleaned else []
        return [
            self._answer(row, decision, count, top or self.info["shown"])
            for row, decision, count, top in zip(probabilities, decisions, words, tops, strict=True)
        ]

    def _cleaned(self, texts: Sequence[str]) -> list[str]:
        from bedside.data.clean import clean_text

        cleaned = [clean_text(text, self.clean) for text in texts]
        return [self.cut.apply(text) for text in cleaned] if self.cut else cleaned

    def _calibrated(self, cleaned: Sequence[str]) -> NDArray[np.float64]:
        if not cleaned:
            return np.empty((0, len(self.labels)))
        probabilities = np.asarray(self.calibration.apply(self.diagnoser.predict_proba(cleaned)), dtype=np.float64)
        if probabilities.shape != (len(cleaned), len(self.labels)) or not np.isfinite(probabilities).all():
            raise ModelError("The model gave something that is no probability; evaluate and package the study again.")
        return probabilities

    def _answer(self, row: NDArray[np.float64], decision: Any, words: int, shown: int) -> Answer:
        silent = decision.status in _WITHOUT_DIFFERENTIAL
        differential: tuple[Suggestion, ...] = ()
        decisions = None
        if not silent and self.several:
            differential, decisions = self._yes_and_unsure(row, shown)
        elif not silent:
            differential = self._differential(row, shown)
        return Answer(
            status=decision.status,
            model_id=self.model_id,
            digest=self.digest,
            differential=differential,
            decisions=decisions,
            uncertainty=None if silent or self.several else _uncertainty(row),
            words=words,
            truncated=self.diagnoser.kind not in _READ_WHOLE,
            reasons=tuple((reason.code, reason.message) for reason in decision.reasons),
            warnings=self.warnings,
            prediction_set=None if silent else self._prediction_set(row),
        )

    def _prediction_set(self, row: NDArray[np.float64]) -> PredictionSet | None:
        """The labels of the note's prediction set, the likeliest first; None where the bundle promises none."""
        sets = getattr(self.abstention, "sets", None)
        if sets is None:
            return None
        inside = sets.members(row[None])[0]
        order = [index for index in np.argsort(-row, kind="stable").tolist() if inside[index]]
        return PredictionSet(tuple(self.labels[index] for index in order), sets.coverage)

    def _raised(self, row: NDArray[np.float64]) -> NDArray[np.bool_]:
        """[labels] the labels that must not be missed and reach their threshold."""
        alarms = self.abstention.alarms
        return np.zeros(len(row), dtype=bool) if alarms is None else np.asarray(alarms.raised(row[None])[0])

    def _differential(self, row: NDArray[np.float64], shown: int) -> tuple[Suggestion, ...]:
        """The likeliest labels, most likely first, and behind them, with their ranks, those that must not be missed.

        Equal ones stand in the order of the labels.
        """
        raised = self._raised(row)
        return tuple(
            self._suggestion(rank, index, row)
            for rank, index in enumerate(np.argsort(-row, kind="stable").tolist(), start=1)
            if rank <= shown or raised[index]
        )

    def _yes_and_unsure(self, row: NDArray[np.float64], shown: int) -> tuple[tuple[Suggestion, ...], Decisions]:
        """Every label answered yes, every other one that is called, and the likeliest left open up to ``shown``.

        One that must not be missed and reaches its threshold is left open rather than answered no, and always shown.
        """
        from bedside.evaluation.label_answers import NO, UNSURE, YES

        answers = cast("LabelAnswers", self.abstention)  # load refuses a bundle with anything else
        states, called = answers.states(row[None])[0], answers.called(row[None])[0] | self._raised(row)
        states[(states == NO) & self._raised(row)] = UNSURE
        order = np.lexsort((-row, ~called, states != YES))
        kept = [index for index in order.tolist() if states[index] != NO][: max(shown, int(called.sum()))]
        differential = tuple(
            self._suggestion(rank, index, row, decision="yes" if states[index] == YES else "unsure")
            for rank, index in enumerate(kept, start=1)
        )
        yes, no = int((states == YES).sum()), int((states == NO).sum())
        return differential, Decisions(yes, no, len(row) - yes - no)

    def _suggestion(self, rank: int, index: int, row: NDArray[np.float64], decision: str | None = None) -> Suggestion:
        entry, alarms = self.label_entries[index], self.abstention.alarms
        must_not = None if alarms is None else index in alarms.numbers
        return Suggestion(
            rank=rank,
            label=entry["label"],
            display=entry["display"],
            probability=float(row[index]),
            code=next((one["code"] for one in entry.get("codes", [])), None),
            decision=decision,
            cant_miss=must_not,
            alarm=bool(self._raised(row)[index]) if must_not else None,
        )


def count_words(text: str) -> int:
    """Words of a cleaned note: runs without white space, as the shortest note answered was counted."""
    return len(text.split())


def _uncertainty(row: NDArray[np.float64]) -> Uncertainty:
    """Shannon entropy in nats (0 log 0 = 0), and the first probability less the second."""
    positive = row[row > 0]
    first, second = np.sort(row)[::-1][:2] if row.size > 1 else (row[0], 0.0)
    return Uncertainty(entropy=max(0.0, float(-(positive * np.log(positive)).sum())), margin=float(first - second))


def _info(folder: Path) -> dict[str, Any]:
    """The content of ``bundle.json``, of this schema."""
    path = folder / "bundle.json"
    if not path.is_file():
        raise BundleError(f"{folder} is not a bundle: it has no bundle.json; run: bedside package")
    info: dict[str, Any] = _part(path, dict)
    if info.get("schema") != SCHEMA:
        raise BundleError(
            f"{path} is of schema {info.get('schema')!r}, and this bedside reads {SCHEMA}; "
            "package the study again with this version."
        )
    return info


def _entries(value: Any) -> tuple[dict[str, Any], ...]:
    return tuple({**entry, "label": entry["label"], "display": entry["display"]} for entry in value)


def _cut(info: Any) -> Cut | None:
    """What is left out of a note that is asked about, where the study named a moment of asking."""
    from bedside.data.moment import Cut

    return Cut.from_json(info["moment"]) if "moment" in info else None


def _part(path: Path, read: Callable[[Any], _Part]) -> _Part:
    """One JSON file of a bundle, read by ``read``; one that does not hold what it should is named."""
    try:
        return read(read_json(path))
    except (OSError, ValueError, KeyError, TypeError):
        raise BundleError(f"{path} does not hold what a bundle's should; package the study again.") from None
