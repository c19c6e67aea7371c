"""A study: a folder with a protocol, and what the stages made of it.

Everything that the command line does with a study, three lines of Python do too::

    study = bedside.Study.open("my-study")
    study.run()
    study.diagnoser().predict_proba(["62F with pleuritic chest pain …"])
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bedside import protocol as protocols
from bedside.core.errors import StudyError
from bedside.core.files import clear_leftovers, plain_errors, require_space, sha256_json
from bedside.core.progress import SILENT, Progress, duration_text
from bedside.protocol import Protocol
from bedside.study.manifest import Manifest, Output, collect, fingerprint
from bedside.study.stages import EVIDENCE, STAGES, Setting, Stage, find

if TYPE_CHECKING:
    from bedside.bundle import Bundle

PROTOCOL = "protocol.toml"
_LOCK = ".lock"
_WORTH_SAYING = 2.0  # seconds


def together() -> int:
    """How many processes train together, as torchrun or accelerate launch tells them; one if nobody said otherwise."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@dataclass(frozen=True)
class Outcome:
    """What became of one stage in a run: whether it had to run, and for how many seconds it did."""

    stage: str
    ran: bool
    seconds: float


@dataclass(frozen=True)
class _Plan:
    """What a stage depends on now."""

    key: str
    inputs: dict[str, dict[str, str]]
    sources: dict[str, Output]


class Study:
    """A study folder with a valid protocol.

    Attributes:
        folder: where it lies.
        protocol: the plan, as it was when the study was opened.
    """

    def __init__(self, folder: Path, protocol: Protocol) -> None:
        self.folder = folder
        self.protocol = protocol

    @classmethod
    def open(cls, folder: Path | str) -> Study:
        """Open a study.

        Raises:
            StudyError: the folder holds no protocol.
            ProtocolError: the protocol has faults; all of them are listed.
        """
        place = Path(folder)
        if place.is_file():
            place = place.parent if place.name == PROTOCOL else place
        if not place.is_dir():
            what = "is a file" if place.is_file() else "does not exist"
            raise StudyError(
                f"{place} {what}, and a study is a folder; make one with: bedside init notes.csv --into my-study"
            )
        return cls(place, protocols.load(place / PROTOCOL))

    def run(self, until: str | None = None, *, again: bool = False, progress: Progress = SILENT) -> tuple[Outcome, ...]:
        """Run every stage that is not done, in order.

        A stage is done when its manifest is there, nothing that it depends on has changed, and the files that it
        wrote are still those files. One that was interrupted is done again from its start.

        Args:
            until: the last stage to run; the whole line if not given.
            again: run that last stage (``evaluate`` if none is given) even where it is done.
            progress: told what happens.

        Returns:
            An outcome for each stage, in order.

        Raises:
            StudyError: another process is running this study, or there is no such stage.
            BedsideError: what the stages raise.
        """
        names = [stage.name for stage in STAGES]
        if until is not None and until not in names:
            raise StudyError(f"'{until}' is no stage; they are {', '.join(names)}.")
        stages = STAGES[: names.index(until) + 1] if until else STAGES
        if together() > 1:
            return self._run_together(until, again=again, progress=progress)
        forced = (until or "evaluate") if again else None
        with self._alone():
            self._clear_leftovers()
            for stage in stages:
                if not stage.manifest(self.folder).is_file():
                    stage.ready(self.protocol)
            return tuple(
                self._pass(stage, number, len(stages), stage.name == forced, progress)
                for number, stage in enumerate(stages, start=1)
            )

    def _run_together(self, until: str | None, *, again: bool, progress: Progress) -> tuple[Outcome, ...]:
        """Train in several processes; the first one keeps the study's books, the others only learn.

        Raises:
            StudyError: what comes before the training is not done, or more than the training was asked for.
        """
        from bedside.training import processes

        stage = find("train")
        waits = next((one for one in stage.after if not self.done(one)), None)
        if until != stage.name or waits or self.protocol.augment.methods:
            missing = f"the stage {waits} is not done" if waits else f"'{until or 'run'}' was asked for"
            if self.protocol.augment.methods:
                missing = "augment.methods is set, which trains twice to compare"
            raise StudyError(
                f"{together()} processes share the training alone, and {missing}; run bedside prepare "
                f"{self.folder} in one process, then bedside train {self.folder} in several, then bedside run in one."
            )
        finished = not again and self._is_done(stage, self._plan(stage))
        with self._alone() if processes.is_first() else contextlib.nullcontext():
            if processes.is_first():
                self._clear_leftovers()
            processes.wait_for_all()  # none may begin before all have looked and the leftovers are gone
            try:
                return (self._learn(stage, finished, processes.is_first(), progress),)
            finally:
                processes.part()

    def _learn(self, stage: Stage, finished: bool, first: bool, progress: Progress) -> Outcome:
        """One process's part of a training together."""
        if finished:
            return Outcome(stage.name, ran=False, seconds=0.0)
        if first:
            return self._pass(stage, 1, 1, True, progress)
        start = time.monotonic()
        stage.run(Setting(self.folder, self.protocol, SILENT))
        return Outcome(stage.name, ran=True, seconds=time.monotonic() - start)

    def done(self, stage: str) -> bool:
        """Whether a stage is done and nothing that it depends on has changed."""
        return self._is_done(find(stage), self._plan(find(stage)))

    def path(self, stage: str) -> Path:
        """The folder of a stage."""
        return self.folder / find(stage).folder

    def diagnoser(self) -> Bundle:
        """The packaged model: ``labels``, and ``predict_proba(texts)`` of calibrated probabilities [notes, labels].

        Raises:
            StudyError: nothing was packaged yet.
            BundleError: the bundle was altered.
        """
        from bedside.bundle import Bundle

        return Bundle.load(self.bundle())

    def bundle(self) -> Path:
        """The folder of the packaged model.

        Raises:
            StudyError: nothing was packaged yet.
        """
        folder = self.path("package")
        if not folder.is_dir():
            raise StudyError(f"{self.folder} holds no bundle yet; make it with: bedside run {self.folder}")
        return folder

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep a second process out while stages run."""
        from filelock import FileLock, Timeout

        with plain_errors(self.folder / _LOCK):
            lock = FileLock(self.folder / _LOCK, timeout=0)
            try:
                lock.acquire()
            except Timeout:
                raise StudyError(f"{self.folder} is being run by another process; wait for it, or stop it.") from None
        try:
            yield
        finally:
            lock.release()

    def _clear_leftovers(self) -> None:
        """Remove the temporary files of stages that were killed; in the study's own folder only those of stages."""
        for stage in STAGES:
            clear_leftovers(self.folder / stage.folder)
        top = [Path(stage.folder).parts[0] for stage in STAGES]
        clear_leftovers(self.folder, [*top, EVIDENCE, *(stage.manifest(self.folder).name for stage in STAGES)])
        clear_leftovers(self.folder / "runs")

    def _pass(self, stage: Stage, number: int, count: int, forced: bool, progress: Progress) -> Outcome:
        """Run one stage, or find that it is done."""
        plan = self._plan(stage)
        if not forced and self._is_done(stage, plan):
            return Outcome(stage.name, ran=False, seconds=0.0)
        progress.say(f"[{number}/{count}] {stage.name}: {stage.says}")
        start = time.monotonic()
        folder, finished = self.folder / stage.folder, stage.manifest(self.folder)
        setting = Setting(self.folder, self.protocol, progress, repeats=finished.is_file())
        require_space(folder, stage.room(setting), f"The stage {stage.name}")
        with plain_errors(finished):
            finished.unlink(missing_ok=True)  # from here on the stage is not done; it replaces its own files whole
        stage.run(setting)
        seconds = time.monotonic() - start
        outputs = collect(folder, stage.products, {})
        manifest = Manifest(plan.key, plan.inputs, plan.sources, outputs, seconds)
        manifest.write(finished, stage.name, self.protocol.study.seed)
        if seconds > _WORTH_SAYING:
            progress.say(f"      done in {duration_text(seconds)}")
        return Outcome(stage.name, ran=True, seconds=seconds)

    def _is_done(self, stage: Stage, plan: _Plan) -> bool:
        manifest = Manifest.read(stage.manifest(self.folder))
        return (
            manifest is not None
            and manifest.key == plan.key
            and manifest.intact(self.folder / stage.folder, stage.products)
        )

    def _plan(self, stage: Stage) -> _Plan:
        """What a stage depends on: its sections, the seed, the products of earlier stages, files from outside."""
        before = Manifest.read(stage.manifest(self.folder))
        known = before.sources if before else {}
        sources = {}
        for name, path in stage.sources(self.folder, self.protocol).items():
            if path.is_file():
                sources[name] = fingerprint(path, known.get(name))
            elif name in known:
                sources[name] = known[name]  # what was made from it still stands; the stage says so if it must run
        inputs = {}
        for name in stage.after:
            manifest = Manifest.read(find(name).manifest(self.folder))
            inputs[name] = manifest.hashes() if manifest else {}
        key = sha256_json(
            {
                "stage": stage.name,
                "seed": self.protocol.study.seed,
                "sections": {name: getattr(self.protocol, name).digest() for name in stage.sections},
                "sources": {name: source.sha256 for name, source in (sources or known).items()},
                "inputs": inputs,
            }
        )
        return _Plan(key, inputs, sources or known)
