"""Training a model: one run, or several from different seeds, and what is kept of them.

The loop itself is :mod:`bedside.training.loop`.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bedside.core.files import atomic_folder, read_json, sha256_file, sha256_json, write_json
from bedside.core.progress import SILENT, Progress
from bedside.core.seeds import derive
from bedside.protocol import ModelSection, TrainSection
from bedside.training import processes

if TYPE_CHECKING:
    from bedside.data import Cohort
    from bedside.models import Diagnoser
    from bedside.training.loop import Loop

SEEDS = "seeds"
_NOT_OF_THE_RESULT = {"trackers", "checkpoint_seconds", "seeds"}  # keys that do not change what is learned
_HASHED = 1_000_000_000  # bytes up to which a file of weights is hashed whole


def train(
    cohort: Cohort,
    model: ModelSection,
    section: TrainSection,
    folder: Path,
    *,
    seed: int,
    study: str = "study",
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Train a model on the training split and keep the best by the validation split.

    Writes ``model`` (a saved diagnoser), ``log.jsonl``, ``settings.json``, ``summary.json`` and ``report.html`` to
    ``folder``, and with adapters ``adapter`` in PEFT's form. With several seeds, ``seeds/2``, ``seeds/3`` … hold the
    same of the others; what is kept as ``model`` is always that of the study's own seed, because to choose the best of
    them would be to fit the validation split. A run that was interrupted goes on where its newest checkpoint left off.

    Args:
        cohort: prepared.
        model, section: of the protocol.
        folder: of the run.
        seed: of everything that is drawn.
        study: its name, for trackers and the report.
        progress: told what happens.

    Returns:
        The summary: epochs, the best one, validation figures, speed.

    Raises:
        ModelError: the base model is not at hand, the loss is not a number, or the model collapsed to one label.
        MachineError: there is no space for the weights, or no memory for one note.
    """
    from bedside.models import weights
    from bedside.training.curves import write_report
    from bedside.training.trackers import require_installed

    require_installed(section.trackers)
    place = weights.locate(model.base)
    if place is None:
        return _train_tfidf(cohort, model, folder, progress)
    places = [folder, *(folder / SEEDS / str(number) for number in range(2, section.seeds + 1))]
    if section.seeds == 1 and processes.is_first():
        shutil.rmtree(folder / SEEDS, ignore_errors=True)
    summaries = []
    if section.seeds > 1:  # as long as these folders are there, a seed that is done is not done again
        for one in places:
            (one / "checkpoints").mkdir(parents=True, exist_ok=True)
    for number, one in enumerate(places):
        own = seed if number == 0 else derive(seed, SEEDS, str(number + 1)) % 2**31
        if section.seeds > 1:
            progress.say(f"      seed {number + 1} of {section.seeds}")
        summaries.append(_Run(cohort, model, section, one, place, own, study, progress).train())
    if section.seeds > 1:
        summaries[0]["seeds"] = _spread(summaries)
    processes.wait_for_all()
    if processes.is_first():
        for one in places:
            shutil.rmtree(one / "checkpoints", ignore_errors=True)
        write_json(folder / "summary.json", summaries[0])
        settings = read_json(folder / "settings.json")
        write_report(folder, summaries[0], settings, study, synthetic=bool(cohort.report.get("synthetic")))
    processes.wait_for_all()
    return summaries[0]


@dataclass(frozen=True)
class _Run:
    """One run from one seed."""

    cohort: Cohort
    model: ModelSection
    section: TrainSection
    folder: Path
    place: Path
    seed: int
    study: str
    progress: Progress

    def train(self) -> dict[str, Any]:
        """Train; a run that was finished before others were interrupted is not done again."""
        from bedside.training.loop import Loop
        from bedside.training.material import Material
        from bedside.training.objective import Objective
        from bedside.training.trackers import Trackers

        identity = self._identity()
        done = _finished(self.folder, identity)
        if done is not None:
            return done
        processes.wait_for_all()  # none may begin to write while another still looks whether there is anything to do
        start = time.monotonic()
        cohort, section = self.cohort, self.section
        objective = Objective(cohort, section)
        material = Material.of(
            cohort, self.model, section, self.place, folder=self.folder, seed=self.seed, progress=self.progress
        )
        with material.scratch:
            loop = Loop(
                material, objective, section, self.folder, identity=identity, seed=self.seed, progress=self.progress
            )
            settings = self._settings(loop)
            with Trackers.start(
                section.trackers, self.folder, settings, study=self.study, progress=self.progress
            ) as trackers:
                for line in loop.state.log:  # of a run that goes on, so that what is logged there is whole
                    trackers.log_line(line)
                loop.tell = trackers.log_line
                summary = {"base": self.model.base, "identity": identity, **self._learn(loop), **settings}
                trackers.finish(summary)
        summary["seconds"] = round(time.monotonic() - start, 1)
        if processes.is_first():
            write_json(self.folder / "summary.json", summary)
        return summary

    def _settings(self, loop: Loop) -> dict[str, Any]:
        """What was chosen, written down before the first step."""
        settled = loop.settle()
        settings = {
            **loop.material.settings(),
            **settled,
            "method": self.section.method,
            "learning_rate": loop.rate,
            "class_weights": loop.objective.weights is not None,
            "seed": self.seed,
        }
        if processes.is_first():
            write_json(self.folder / "settings.json", settings)
        material = loop.material
        self.progress.say(f"      on {material.device} in {material.precision}, {len(material.notes):,} notes")
        return settings

    def _learn(self, loop: Loop) -> dict[str, Any]:
        """The training itself, what it leaves in the folder, and its figures."""
        from bedside.training.energy import Meter

        material, objective, state = loop.material, loop.objective, loop.state
        probe = self.section.method == "probe"
        with Meter(material.device) as meter:  # what the estimate is of, without the trials
            best = loop.probe() if probe else loop.run()
            state = loop.state
            if self.section.method in {"lora", "qlora"} and processes.is_first():
                _save_adapter(material, self.folder)
            trained = material.diagnoser(self.cohort.labels, several=objective.several)
            if processes.is_first():
                _save(trained, self.folder / "model")
        spent = max(state.seconds, 1e-9)
        speed = {
            "notes_per_second": round(state.seen / spent, 1),
            "tokens_per_second": round(state.tokens / spent),
        }
        return {
            "kind": trained.kind,
            "epochs": 0 if probe else state.epoch - 1,
            "best_epoch": best.epoch,
            f"validation_{objective.measure}": best.score.value,
            "validation_loss": best.score.loss,
            **(speed if state.taken else {}),
            "windows": int(material.notes.counts().sum()),
            "notes_of_several_windows": int((material.notes.counts() > 1).sum()),
            "took": meter.took().to_json(),
        }

    def _identity(self) -> str:
        """A hash of everything that a run depends on."""
        import importlib.metadata

        cohort = self.cohort
        cases = {
            split: [cohort.texts(split), cohort.part(split)["label"].to_list()] for split in ("train", "validation")
        }
        files = sorted(file for file in self.place.iterdir() if file.suffix in {".json", ".safetensors"})
        return sha256_json(
            {
                "model": self.model.model_dump(mode="json"),
                "train": self.section.model_dump(mode="json", exclude=_NOT_OF_THE_RESULT),
                "seed": self.seed,
                "labels": list(cohort.labels),
                "cases": sha256_json(cases),
                "base": {file.name: _fingerprint(file) for file in files},
                "versions": {name: importlib.metadata.version(name) for name in ("torch", "transformers", "peft")},
            }
        )


def _save(model: Diagnoser, folder: Path) -> None:
    with atomic_folder(folder) as place:
        model.save(place)


def _save_adapter(material: Any, folder: Path) -> None:
    """The adapters alone, in PEFT's own form."""
    from bedside.models import adapters

    with atomic_folder(folder / "adapter") as place:
        adapters.save(material.network.body, place, material.base)


def _finished(folder: Path, identity: str) -> dict[str, Any] | None:
    """The summary of a run that was finished while its checkpoints still wait for the others."""
    if not (folder / "checkpoints").is_dir() or not (folder / "model").is_dir():
        return None
    try:
        found: dict[str, Any] = read_json(folder / "summary.json")
    except (OSError, ValueError):
        return None
    return found if found.get("identity") == identity else None


def _fingerprint(file: Path) -> str:
    size = file.stat().st_size
    return sha256_file(file) if size <= _HASHED else f"{size} bytes of {file.stat().st_mtime_ns}"


def _spread(summaries: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and spread of the validation figures over the seeds."""
    measure = next(name for name in summaries[0] if name.startswith("validation_") and name != "validation_loss")
    values = np.asarray([one[measure] for one in summaries])
    return {
        "count": len(values),
        "measure": measure,
        "values": values.tolist(),
        "mean": float(values.mean()),
        "standard_deviation": float(values.std(ddof=1)),
    }


def _train_tfidf(cohort: Cohort, model: ModelSection, folder: Path, progress: Progress) -> dict[str, Any]:
    """TF-IDF as a model in its own right, for sites where it is enough."""
    from bedside.models import TfidfLogistic
    from bedside.training.objective import Objective

    start = time.monotonic()
    objective = Objective(cohort, TrainSection())
    groups = cohort.part("train")["group"].to_list()
    validation = (cohort.texts("validation"), objective.held_out)
    found = TfidfLogistic.fit(
        cohort.texts("train"), objective.targets, validation, cohort.labels, progress, groups=groups
    )
    _save(found, folder / "model")
    score = objective.score(found.predict_proba(validation[0]))
    summary = {
        "base": model.base,
        "kind": "tfidf",
        f"validation_{objective.measure}": score.value,
        "c": found.strength,
        "seconds": round(time.monotonic() - start, 1),
    }
    write_json(folder / "summary.json", summary)
    return summary
