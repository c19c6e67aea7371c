"""One worker that answers notes in small batches.

Requests wait in a bounded queue; the worker takes what is there and answers it together. Nothing of an error that a
model raises leaves this module, because its message may hold text of a note: only its type and place are logged.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import traceback
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from bedside.bundle import Answer, Bundle

LOG = logging.getLogger("bedside.serving")
# A batch ends at this many characters, so that short notes do not wait for a pile of long ones.
_BATCH_CHARACTERS = 100_000
_WARM_NOTE = "Synthetic note to warm the model: cough and fever for three days, no chest pain."


class Overloaded(Exception):
    """The queue is full, or the engine is closing."""


class NotReady(Exception):
    """The warm prediction failed; the engine answers nothing."""


class Expired(Exception):
    """The note waited longer than its deadline."""


class Failed(Exception):
    """The model could not answer the batch. Carries nothing of the original error."""


@dataclass(eq=False)
class _Job:
    text: str
    top_k: int | None
    due: float
    future: Future[Answer] = field(default_factory=Future)


class Engine:
    """A bundle, a queue before it and a thread behind it."""

    def __init__(self, bundle: Bundle, *, max_batch: int, queue: int) -> None:
        self._bundle = bundle
        self._max_batch = max_batch
        self._limit = queue
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._warm: bool | None = None
        self._thread = threading.Thread(target=self._run, name="bedside-engine", daemon=True)

    def start(self) -> None:
        """Start the worker; its first act is a warm prediction."""
        self._thread.start()

    @property
    def ready(self) -> bool:
        """Whether the warm prediction is done and new notes are taken."""
        return self._warm is True and not self._closing

    @property
    def broken(self) -> bool:
        """Whether the warm prediction failed; the engine will never be ready."""
        return self._warm is False

    def submit(self, text: str, top_k: int | None, deadline: float) -> Future[Answer]:
        """Put a note into the queue.

        Args:
            text: the note.
            top_k: diagnoses in the answer.
            deadline: seconds from now after which nobody waits for the answer.

        Returns:
            A future that ends in an answer, or in ``Expired``, ``Failed`` or ``NotReady``.

        Raises:
            Overloaded: the queue is full, or the engine is closing.
            NotReady: the warm prediction failed.
        """
        job = _Job(text, top_k, time.monotonic() + deadline)
        with self._changed:
            if self._warm is False:
                raise NotReady
            if self._closing or len(self._jobs) >= self._limit:
                raise Overloaded
            self._jobs.append(job)
            self._changed.notify()
        return job.future

    def close(self, timeout: float | None = None) -> None:
        """Take no more notes, answer those that wait, and end the worker.

        Args:
            timeout: seconds to wait for it; ``None`` waits to the end.
        """
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        self._warm_up()
        while batch := self._take():
            alive = [job for job in batch if self._begin(job)]
            if alive:
                self._answer(alive)

    def _warm_up(self) -> None:
        try:
            self._bundle.diagnose([_WARM_NOTE])
        except Exception as error:
            log_failure(error, "the warm prediction failed")
            with self._changed:
                self._warm = False
            return
        with self._changed:
            self._warm = True

    def _take(self) -> list[_Job]:
        """Wait for notes and take a batch of them; an empty one means the end."""
        with self._changed:
            while not self._jobs and not self._closing:
                self._changed.wait()
            batch: list[_Job] = []
            characters = 0
            while self._jobs and len(batch) < self._max_batch:
                characters += len(self._jobs[0].text)
                if batch and characters > _BATCH_CHARACTERS:
                    break
                batch.append(self._jobs.popleft())
            return batch

    def _begin(self, job: _Job) -> bool:
        """Whether somebody still waits for this note."""
        if not job.future.set_running_or_notify_cancel():
            return False
        if self._warm is False:
            job.future.set_exception(NotReady())
            return False
        if time.monotonic() > job.due:
            job.future.set_exception(Expired())
            return False
        return True

    def _answer(self, jobs: list[_Job]) -> None:
        try:
            answers = self._bundle.diagnose([job.text for job in jobs], [job.top_k for job in jobs])
        except Exception as error:
            log_failure(error, "a batch failed")
            answers = None
        # Outside the except block: the new exception must not carry the old one, whose message may hold text.
        for index, job in enumerate(jobs):
            if answers is None:
                job.future.set_exception(Failed())
            else:
                job.future.set_result(answers[index])


def log_failure(error: BaseException, what: str) -> None:
    """Log the type and place of an error, never its message."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "unknown"
    LOG.error(json.dumps({"event": what, "error": type(error).__name__, "at": where}))
