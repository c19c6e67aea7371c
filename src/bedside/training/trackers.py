"""Where a training is logged besides its own folder: Weights & Biases, MLflow or TensorBoard, by ``train.trackers``.

Each is accelerate's own tracker class. What they would do by themselves is switched off here before they are imported:
to report home, and to write down the machine, its user, the code and where that lies. Unless the user's environment
names a server, nothing leaves the run's folder.

A training is worth more than its log. Each tracker works in a thread of its own, so that a slow server does not slow a
step and one that is gone does not hang the run: what fails is told once, and the training goes on without it.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import os
import queue
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import SimpleNamespace, TracebackType
from typing import Any, TypeGuard

from bedside.core.errors import MissingExtra
from bedside.core.progress import Progress
from bedside.training import processes

FOLDER = "tracking"  # in the run's folder
_START, _FINISH = 60.0, 60.0  # seconds that a tracker may take to start and to finish
_LEAVE = 5.0  # seconds for what is left of one that failed
_LETTERS = 250  # of a setting; MLflow refuses longer ones
_MESSAGE = 160  # letters of an error that are shown
_NOBODY = "bedside"  # stands where a tracker would write the machine's or the user's name

# Set before the library is imported, whatever was set before: the first reads its variables while it is imported.
_SILENT = {
    "wandb": {
        "WANDB_ERROR_REPORTING": "false",  # Sentry and OpenTelemetry
        "WANDB_DISABLE_CODE": "true",
        "WANDB_DISABLE_GIT": "true",
        "WANDB_SAVE_CODE": "false",
        "WANDB_CONSOLE": "off",
        "WANDB_SILENT": "true",
    },
    "mlflow": {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "false",
        "GIT_PYTHON_REFRESH": "quiet",
    },
    "tensorboard": {},
}
# Only where the user said nothing: a server that is gone is given up after seconds, not after many minutes.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
_MODULES = {"wandb": ("wandb",), "mlflow": ("mlflow",), "tensorboard": ("tensorboard", "tensorboardX")}
# Where TensorBoard's writers ask for the name of the host, which they put into the name of their file.
_HOST_ASKED = ("tensorboard.summary.writer.event_file_writer", "tensorboardX.event_file_writer")
# What MLflow would note of the program; a tag that is given goes before what it finds out.
_MLFLOW_TAGS = {
    "mlflow.user": _NOBODY,
    "mlflow.source.name": _NOBODY,
    "mlflow.source.git.commit": "",
    "mlflow.source.git.branch": "",
    "mlflow.source.git.repoURL": "",
}


def require_installed(names: Sequence[str]) -> None:
    """Make sure that every tracker is there, before any work is done.

    Raises:
        MissingExtra: one is not installed; the sentence holds the pip line.
    """
    for name in names:
        if not any(find_spec(module) for module in _MODULES[name]):
            raise MissingExtra(
                f"train.trackers names '{name}', which is not installed; run: pip install 'bedside[{name}]'"
            )


class Trackers:
    """The trackers of one run; with none named it does nothing.

    Use it as a context, or end it with :meth:`finish`::

        with Trackers.start(section.trackers, folder, settings, study="chest", progress=progress) as trackers:
            trackers.log({"loss": 0.7}, step=1)
            trackers.finish(summary)
    """

    def __init__(self, lanes: Sequence[_Lane] = (), progress: Progress | None = None) -> None:
        self._lanes, self._progress = list(lanes), progress or Progress()
        self._step = 0

    @classmethod
    def start(
        cls,
        names: Sequence[str],
        folder: Path,
        settings: Mapping[str, Any],
        *,
        study: str,
        progress: Progress,
    ) -> Trackers:
        """Start the named trackers; of several processes only the first has any.

        Args:
            names: of ``wandb``, ``mlflow``, ``tensorboard``.
            folder: of the run; what stays on this machine lies in its ``tracking``.
            settings: of the run. Absolute paths are cut to their last part.
            study: its name; the project or experiment under which the run stands.
            progress: told of a tracker that failed.

        Raises:
            MissingExtra: one is not installed.
        """
        require_installed(names)
        if not names or not processes.is_first():
            return cls()
        shutil.rmtree(folder / FOLDER, ignore_errors=True)  # an earlier run's, which is not this run's log
        title, told = _plain(study), flat(settings)
        _know_processes()
        lanes = [_Lane(name, _opener(name, folder / FOLDER / name, title), told) for name in dict.fromkeys(names)]
        for lane in lanes:
            lane.wait_for_start(_START)
        found = cls(lanes, progress)
        found._tell()
        return found

    def log(self, values: Mapping[str, float | None], step: int) -> None:
        """Log figures of a step; what is no finite number is left out. Returns at once.

        Args:
            values: such as loss, rate, validation_loss.
            step: steps of training that are done.
        """
        self._step = max(self._step, step)
        numbers = {name: float(value) for name, value in values.items() if _is_finite(value)}
        for lane in self._lanes:
            lane.do(lambda tracker: tracker.log(numbers, step=step))
        self._tell()

    def log_line(self, line: Mapping[str, Any]) -> None:
        """Log a line of ``log.jsonl``: one of an epoch stands at the last step before it.

        A run that goes on after an interruption gives its earlier lines again, so that the tracker has all of them.
        """
        self.log({name: value for name, value in line.items() if name != "step"}, step=line.get("step", self._step))

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Log the figures of the summary and close every tracker, within a minute altogether."""
        told = {f"summary/{name}": float(value) for name, value in flat(summary).items() if _is_finite(value)}
        for lane in self._lanes:
            if told:
                lane.do(lambda tracker: tracker.log(told, step=self._step))
            lane.close()
        end = time.monotonic() + _FINISH
        for lane in self._lanes:
            lane.wait_for_end(max(end - time.monotonic(), 0.0))
        self._tell()
        self._lanes = []

    def _tell(self) -> None:
        """Warn of each tracker that failed, once, and go on without it."""
        for lane in [lane for lane in self._lanes if lane.fault]:
            self._lanes.remove(lane)
            lane.leave()
            self._progress.warn(f"The tracker '{lane.name}' {lane.fault}; the run goes on without it.")

    def __enter__(self) -> Trackers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close what is still open, as after an error."""
        self.finish({})


@dataclass(frozen=True)
class _Open:
    """A tracker that runs, and what undoes the traces that it left in this process."""

    tracker: Any
    end: Callable[[], None]
    abandon: Callable[[], None]


class _Lane:
    """One tracker and the thread in which all of it happens, in order.

    The thread is a daemon: whatever hangs in it ends with the process. MLflow's open run belongs to a thread, too.
    """

    def __init__(self, name: str, opener: Callable[[], _Open], settings: Mapping[str, Any]) -> None:
        self.name = name
        self.fault: str | None = None
        self._opener, self._settings = opener, settings
        self._jobs: queue.Queue[Callable[[Any], None] | None] = queue.Queue()
        self._started = threading.Event()
        self._open: _Open | None = None
        self._thread = threading.Thread(target=self._work, name=f"bedside-{name}", daemon=True)
        self._thread.start()

    def do(self, job: Callable[[Any], None]) -> None:
        """Have something done with the tracker, when what came before is done."""
        self._jobs.put(job)

    def close(self) -> None:
        """Have the tracker closed when all is done."""
        self._jobs.put(None)

    def wait_for_start(self, limit: float) -> None:
        """Wait until the tracker runs, but no longer than this many seconds."""
        if not self._started.wait(limit):
            self.fault = f"did not start within {limit:.0f} s"

    def wait_for_end(self, limit: float) -> None:
        """Wait until the tracker is closed, but no longer than this many seconds."""
        self._thread.join(limit)
        if self._thread.is_alive() and not self.fault:
            self.fault = f"did not finish within {_FINISH:.0f} s, so the end of its log may be missing"

    def leave(self) -> None:
        """Expect nothing more of the tracker, and keep it from holding up the end of the process."""
        if self._open:
            _quietly(self._open.abandon)

    def _work(self) -> None:
        try:
            self._open = self._opener()
            self._open.tracker.store_init_configuration(dict(self._settings))
            self._started.set()
            for job in iter(self._jobs.get, None):
                job(self._open.tracker)
            self._open.tracker.finish()
        except BaseException as error:  # libraries end with SystemExit, too, and none of it may end a training
            self.fault = self.fault or f"failed ({_message(error)})"
        finally:
            self._started.set()
            if self._open:
                self._open.end()


def _know_processes() -> None:
    """Have accelerate know of the processes, as its trackers want; where a training runs, it does already."""
    import torch
    from accelerate import PartialState

    PartialState(cpu=not torch.cuda.is_available())


def _opener(name: str, folder: Path, title: str) -> Callable[[], _Open]:
    """What starts a tracker, to be called in its thread."""
    os.environ.update(_SILENT[name])
    for variable, value in _PATIENCE.items():
        os.environ.setdefault(variable, value)
    opened = {"wandb": _wandb, "mlflow": _mlflow, "tensorboard": _tensorboard}[name]
    return lambda: opened(folder, title)


def _wandb(folder: Path, title: str) -> _Open:
    """Weights & Biases: offline unless ``WANDB_MODE`` says otherwise, and without a word about the machine."""
    from accelerate.tracking import WandBTracker

    mode = os.environ.get("WANDB_MODE", "offline")
    folder.mkdir(parents=True, exist_ok=True)
    wandb = importlib.import_module("wandb")
    settings = wandb.Settings(
        console="off",
        disable_code=True,
        disable_git=True,
        save_code=False,
        host=_NOBODY,
        program=_NOBODY,
        program_relpath=_NOBODY,
        login_timeout=_START / 2,
        init_timeout=_START / 2,
        silent=True,
        x_disable_machine_info=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
    )
    tracker = WandBTracker(title, dir=str(folder), mode=mode, settings=settings)
    tracker.start()

    def end() -> None:
        for logs in folder.glob("wandb/*/logs"):  # of its own doings, with this folder's path; it sends them to nobody
            shutil.rmtree(logs, ignore_errors=True)

    return _Open(tracker, end=end, abandon=lambda: _end_wandb(wandb))


def _end_wandb(wandb: Any) -> None:
    """End the program that works for wandb: at the end of a process wandb waits for it, however long it takes."""
    import psutil

    for one in psutil.Process().children():
        if one.name().startswith("wandb-core"):
            one.kill()
    last = threading.Thread(target=_quietly, args=(wandb.teardown,), daemon=True)
    last.start()
    last.join(_LEAVE)


def _quietly(act: Callable[[], None]) -> None:
    with contextlib.suppress(Exception):
        act()


def _mlflow(folder: Path, title: str) -> _Open:
    """MLflow: files in the run's folder unless ``MLFLOW_TRACKING_URI`` names a store."""
    from accelerate.tracking import MLflowTracker

    local = not os.environ.get("MLFLOW_TRACKING_URI")
    kept = {name: os.environ.get(name) for name in ("MLFLOW_TRACKING_URI", "MLFLOW_ALLOW_FILE_STORE")}
    mlflow = importlib.import_module("mlflow")
    if local:
        folder.mkdir(parents=True, exist_ok=True)  # in a folder that is there, MLflow makes no experiment of its own
        os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"  # it needs no database; MLflow keeps it, but wants to be asked
        mlflow.set_tracking_uri(folder.absolute().as_uri())
    # Nothing is stored as an artifact; its place would be noted with the path of this folder.
    place = f"mlflow-artifacts:/{title}" if local else None
    tracker = MLflowTracker(experiment_name=title, logging_dir=place)
    tracker.tags = {**(tracker.tags or {}), **_MLFLOW_TAGS}
    tracker.start()

    def end() -> None:
        if local:
            mlflow.set_tracking_uri(None)
            _put_back(kept)

    return _Open(tracker, end=end, abandon=end)


def _tensorboard(folder: Path, title: str) -> _Open:
    """TensorBoard's files, written by tensorboard or by tensorboardX, whichever is there."""
    from accelerate.tracking import TensorBoardTracker

    _hide_host()
    tracker = TensorBoardTracker(title, folder)
    tracker.start()
    return _Open(tracker, end=_nothing, abandon=_nothing)


def _hide_host() -> None:
    """Let TensorBoard's writers know no host: neither of them takes a name for its file."""
    for name in _HOST_ASKED:
        if find_spec(name.partition(".")[0]):
            vars(importlib.import_module(name))["socket"] = SimpleNamespace(gethostname=lambda: _NOBODY)


def _put_back(variables: Mapping[str, str | None]) -> None:
    """Set variables of the environment as they were."""
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _nothing() -> None:
    """Nothing is to be undone."""


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, bool | int | float | str]:
    """Settings in one level, ``precision_trial/name``, with lists as JSON and without paths of the machine."""
    return {name: _short(value) for name, value in _leaves(values, prefix) if value is not None}


def _leaves(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", value


def _short(value: Any) -> bool | int | float | str:
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return json.dumps([_short(one) for one in value], ensure_ascii=False)[:_LETTERS]
    return _without_place(str(value))[:_LETTERS]


def _without_place(text: str) -> str:
    """A path's last part; any other text as it is, but for the user's home in it."""
    if text.startswith(("~", "file:")) or PurePosixPath(text).is_absolute():
        return PurePosixPath(text).name
    if PureWindowsPath(text).drive:
        return PureWindowsPath(text).name
    return text.replace(str(Path.home()), "~") if len(str(Path.home())) > 1 else text


def _is_finite(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _plain(study: str) -> str:
    """A study's name as every tracker takes it."""
    return re.sub(r"[^\w.-]+", "-", study).strip("-.")[:100] or "study"


def _message(error: BaseException) -> str:
    """An error in a line, without the password that an address may hold."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return re.sub(r"//[^/@\s]*@", "//", text)[:_MESSAGE]
