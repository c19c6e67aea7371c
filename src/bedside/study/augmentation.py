"""Training on varied copies, and whether that helped: the copies' labels, and a model with beside one without.

The comparison is made on cases that neither model learned from and before the test split is opened.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bedside.core.files import write_json
from bedside.core.progress import SILENT, Progress
from bedside.core.seeds import derive
from bedside.protocol import AugmentSection, EvaluateSection, ModelSection, TrainSection

if TYPE_CHECKING:
    from bedside.data import Cohort
    from bedside.models import Diagnoser

ACCOUNT = "augmentation.json"
_MEASURED = EvaluateSection()  # not the study's: a change of what is asked of the test split trains nothing again
_COMPARED_ON = ("calibration",)  # neither learned from nor chosen by; the test split stays closed


def files_of(section: AugmentSection, base: Path) -> dict[str, Path]:
    """The files outside the study that the copies depend on, by a name for each."""
    from bedside.data.augmentation.wordnet import PARTS

    found: dict[str, Path] = {}
    if "synonyms" in section.methods and section.wordnet is not None:
        place = base / Path(section.wordnet).expanduser()
        found |= {f"wordnet/data.{part}": place / f"data.{part}" for part in PARTS}
    if "translation" in section.methods:
        for number, name in enumerate(section.translate):
            files = sorted((base / Path(name).expanduser()).glob("*.safetensors"))
            found |= {f"translate/{number}/{file.name}": file for file in files}
    return found


def train_augmented(
    cohort: Cohort,
    section: AugmentSection,
    model: ModelSection,
    train_section: TrainSection,
    folder: Path,
    *,
    seed: int,
    base: Path = Path(),
    measured: EvaluateSection = _MEASURED,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Train with the copies into ``folder``; say there in ``augmentation.json`` how they were made, and to what end.

    Where ``section.compare`` is on, the same model is trained a second time without them, into a temporary folder.

    Args:
        cohort: as prepared.
        section: how copies are made.
        model: the base model.
        train_section: how it learns.
        folder: of the run.
        seed: the study's.
        base: the folder that relative paths of ``section`` start from.
        measured: resamples and confidence of the comparison.
        progress: told of the work.

    Returns:
        The account: ``copies``, ``digest``, ``methods``, ``label_preserved``, and ``comparison`` where it was made.
    """
    from bedside.data.augmentation import augment
    from bedside.models import load_diagnoser
    from bedside.training import train

    (folder / ACCOUNT).unlink(missing_ok=True)
    more = augment(cohort, section, seed=seed, base=base, progress=progress)
    progress.say(f"      {more.account['copies']:,} varied copies beside {more.account['cases']:,} training cases")
    train(more.cohort, model, train_section, folder, seed=seed, progress=progress)
    account = dict(more.account)
    judge = load_diagnoser(folder / "model")
    if section.compare:
        with tempfile.TemporaryDirectory(prefix=".without.", suffix=".part", dir=folder) as place:
            progress.say("      the same model without them, to see whether they helped")
            train(cohort, model, train_section, Path(place), seed=seed, progress=progress)
            plain = load_diagnoser(Path(place) / "model")
            account["comparison"] = compare(cohort, judge, plain, measured, seed=seed)
            judge = plain  # it never saw a copy, so it says more of what the copies look like
    account["label_preserved"] = label_preserved(
        cohort, section, judge, seed=seed, base=base, confidence=measured.confidence
    )
    account["confidence"] = measured.confidence
    account["judged_by"] = "the model without copies" if section.compare else "the model that learned them"
    write_json(folder / ACCOUNT, account)
    return account


def label_preserved(
    cohort: Cohort,
    section: AugmentSection,
    judge: Diagnoser,
    *,
    seed: int,
    base: Path = Path(),
    on: str = "calibration",
    confidence: float = 0.95,
) -> dict[str, Any]:
    """The share of varied texts for which a model predicts the same label as for their origin: in all, and by method.

    The texts are those of a split that no model learned from, varied here as the training texts are and thrown away
    again: a model that knows a text by heart knows it in any disguise.
    """
    from bedside.data.augmentation import vary

    part = cohort.part(on)
    texts = part["text"].to_list()
    made = [one for one in vary(texts, cohort.labels, section, seed=seed, base=base) if one.fate == "made"]
    if not made:
        return {"all": None, "methods": {}, "split": on}
    before = judge.predict_proba(texts).argmax(axis=1)
    after = judge.predict_proba([one.text for one in made]).argmax(axis=1)
    same = np.asarray(after == before[[one.origin for one in made]])
    names = part["group"].to_list()
    groups = [names[one.origin] for one in made]
    methods = np.asarray([one.method for one in made])
    return {
        "split": on,
        "all": _share(same, groups, confidence),
        "methods": {
            str(method): _share(
                same[methods == method],
                [one for one, own in zip(groups, methods, strict=True) if own == method],
                confidence,
            )
            for method in sorted(set(methods.tolist()))
        },
    }


def _share(same: NDArray[np.bool_], groups: Sequence[str], confidence: float) -> dict[str, Any]:
    from bedside.metrics import clustered_exact_interval, numbered

    low, high = clustered_exact_interval(same, numbered(groups), confidence)
    return {"value": float(same.mean()), "low": low, "high": high, "n": len(same)}


def compare(
    cohort: Cohort,
    with_copies: Diagnoser,
    without: Diagnoser,
    section: EvaluateSection,
    *,
    seed: int,
    on: Sequence[str] = _COMPARED_ON,
) -> dict[str, Any]:
    """The paired difference of a model trained with copies and one trained without, on the same cases.

    Args:
        cohort: the cases, as prepared.
        with_copies: the one.
        without: the other.
        section: how many resamples, and the confidence of the intervals.
        seed: the study's.
        on: the splits whose cases are compared, none of which either model learned from.

    Returns:
        ``with`` and ``without`` (macro-F1 and accuracy), ``difference`` (with an interval, McNemar's p, and a verdict),
        ``splits`` and ``n``.
    """
    import polars as pl

    from bedside.evaluation.figures import Measured
    from bedside.evaluation.figures import compare as paired
    from bedside.metrics import Resamples

    cases = cohort.frame.filter(pl.col("split").is_in(list(on)))
    numbers = {label: number for number, label in enumerate(cohort.labels)}
    targets = np.asarray([numbers[label] for label in cases["label"]], dtype=np.int64)
    drawn = Resamples.of(cases["group"].to_list(), section.resamples, derive(seed, "augment", "bootstrap"))
    answers = [one.predict_proba(cases["text"].to_list()) for one in (with_copies, without)]
    both = [Measured(one, one, targets, cohort.labels, section.top_k, cohort.positive) for one in answers]
    plain = [one.figures(np.ones((1, len(targets))))[0] for one in both]
    place = {name: number for number, name in enumerate(both[0].names())}
    body: dict[str, Any] = {
        name: {figure: float(values[place[figure]]) for figure in ("macro_f1", "accuracy")}
        for name, values in zip(("with", "without"), plain, strict=True)
    }
    resampled = [drawn.apply(one.figures) for one in both]
    body["difference"] = paired(both[0], both[1], resampled[0], resampled[1], section.confidence)
    return {**body, "splits": list(on), "n": len(targets)}
