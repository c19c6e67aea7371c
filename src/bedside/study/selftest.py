"""Does training keep its promises on this machine? Real processes are killed and hurt, on SYNTHETIC notes.

Each promise is a check with a count: a killed run ends with the bytes of an undisturbed one, a damaged checkpoint is
passed over by name, a loss that is no number exports nothing, too little memory changes no result, and two processes
learn what one does. The undisturbed run stands beside every trial; what is compared is the SHA-256 of the weights.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bedside.core.errors import MachineError
from bedside.core.progress import SILENT, Progress
from bedside.study.twins import Bench, Ended, Nursery, log_of, losses_of, products, run_folder, run_shared

_SAME_LOSS = 1e-6  # relative, of a step in smaller micro-batches
_SAME_SHARED = 1e-5  # relative, of a step that two processes share
_LOW_RATE = 1e-5  # where losses are compared, so that rounding is not blown up from step to step
_LAST_SAVES = 4  # not hurt, so that every planned fault happens
_OPERATIONS = 24  # on files, in one save; one that is beyond falls into the next save
# Key by key, what makes a run short and the same in every process.
_PINNED = {"precision": "fp32", "device": "cpu", "epochs": 2, "patience": 2, "dropout": 0.1}
_TINY = {
    **_PINNED,
    "threads": 1,
    "batch_tokens": 256,
    "step_notes": 4,
    "learning_rate": 2e-3,
    "checkpoint_seconds": 0.0,
}
_MINILM = {
    **_PINNED,
    "threads": 1,
    "batch_tokens": 512,
    "step_notes": 8,
    "learning_rate": 2e-4,
    "checkpoint_seconds": 1.0,
}


@dataclass(frozen=True)
class Check:
    """One promise.

    Attributes:
        name: what is promised.
        passed, of: trials that held, and trials.
        remark: what was measured, or what went wrong first.
    """

    name: str
    passed: int
    of: int
    remark: str

    @property
    def held(self) -> bool:
        """Whether it held in every trial."""
        return self.passed == self.of


@dataclass(frozen=True)
class Size:
    """How much is tried: kills at random moments, faults of saves, losses, and the base model of the kills.

    With ``base`` empty it is a tiny encoder with random weights, which everything else is tried with anyway.
    """

    kills: int = 20
    faults: int = 50
    losses: int = 4
    base: str = "builtin:minilm"
    notes: int = 1000


FULL = Size()
QUICK = Size(kills=3, faults=10, losses=2, base="", notes=400)


@dataclass
class _Tally:
    """Trials of a check as they come in."""

    name: str
    passed: int = 0
    of: int = 0
    first_fault: str = ""

    def add(self, fault: str | None) -> None:
        """Count a trial; ``fault`` is what did not hold."""
        self.of += 1
        self.passed += fault is None
        self.first_fault = self.first_fault or fault or ""

    def check(self, remark: str) -> Check:
        """The check; its remark is the first fault where there was one."""
        return Check(self.name, self.passed, self.of, self.first_fault or remark)


def selftest_training(
    *, seed: int = 42, size: Size = FULL, folder: Path | None = None, progress: Progress = SILENT
) -> tuple[Check, ...]:
    """Try what training promises, in real processes on SYNTHETIC notes.

    Args:
        seed: of the notes, of every moment and every fault.
        size: how much is tried.
        folder: where the trials lie; a temporary one if not given.
        progress: told of each trial.

    Raises:
        MachineError: this system has no SIGKILL.
        ModelError: the base model is not at hand.
    """
    if sys.platform == "win32":
        raise MachineError("The self-test kills processes with SIGKILL, which Windows lacks; run it on Linux or macOS.")
    from bedside.models import weights
    from bedside.models.network import quiet_libraries

    if size.base:
        weights.locate(size.base)
    quiet_libraries()
    with contextlib.ExitStack() as stack:
        place = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bedside-selftest-")))
        nursery = stack.enter_context(Nursery())
        progress.say(f"Training undisturbed on SYNTHETIC notes: what every trial is compared with ({place})")
        small = Bench(place / "tiny", seed, nursery, progress)
        small.make(size.notes, "", _TINY)
        large = small
        if size.base:
            large = Bench(place / "base", seed, nursery, progress)
            large.make(size.notes, size.base, _MINILM)
        found = []
        for check in _checks(small, large, size):
            progress.say(f"{check.passed}/{check.of} {check.name}")
            found.append(check)
        return tuple(found)


def _checks(small: Bench, large: Bench, size: Size) -> Iterator[Check]:
    """Every check, one after another."""
    yield _kills(large, size.kills, size.base or "a tiny encoder with random weights")
    yield _save_faults(small, size.faults)
    yield _losses(small, size.losses)
    yield from _memory(small)
    yield from _processes(small)


def _kills(bench: Bench, count: int, base: str) -> Check:
    """SIGKILL at random moments, spread over the whole run; each goes on to its end."""
    tally = _Tally("kill -9 at a random moment, then the same weights (SHA-256)")
    resumed: list[int] = []
    with bench.progress.task("kill -9", total=count, unit="kills") as task:
        for number in range(count):
            random = bench.random("kill", str(number))
            after = min(int((number + random.random()) / count * bench.steps), bench.steps - 1)
            study, ended = _killed(bench, f"kill-{number}", after, float(random.random()) * bench.seconds)
            tally.add(_went_on(bench, study, ended, resumed))
            shutil.rmtree(study)
            task.advance()
    return tally.check(
        f"{base}, {bench.steps} steps in 2 epochs of {bench.epoch}; gone on from step {', '.join(map(str, resumed))}, "
        f"{sum(step % bench.epoch != 0 for step in resumed)} of them within an epoch"
    )


def _killed(bench: Bench, name: str, after: int, seconds: float) -> tuple[Path, Ended]:
    """A twin that was killed after so many steps and seconds, or earlier where it had ended by then."""
    while True:
        study = bench.twin(name)
        ended = bench.run(study, kill=(after, seconds))
        if ended.code or not after:
            return study, ended
        after, seconds = after - 1, 0.0


def _went_on(bench: Bench, study: Path, ended: Ended, resumed: list[int]) -> str | None:
    """What did not hold for a run that was killed and is started again."""
    if ended.code != -signal.SIGKILL:
        return f"{study.name} was not killed: exit code {ended.code}"
    if (run_folder(study) / "model").exists():
        return f"{study.name} had exported a model before it was killed"
    expected = _newest(study)
    resumed.append(expected or 0)
    return _ends_the_same(bench, study, expected)


def _newest(study: Path) -> int | None:
    """The step of the newest checkpoint that has its name, or had it until the save that was killed."""
    names = [place.name for place in (run_folder(study) / "checkpoints").glob("*step-*")]
    whole = [name for name in names if name.startswith("step-") or name.endswith(".old")]
    return max((int(name.strip(".").split("-")[1].split(".")[0]) for name in whole), default=None)


def _ends_the_same(bench: Bench, study: Path, expected: int | None, named: str = "") -> str | None:
    """Start a run again: None where it goes on from the expected step, names what it must, and ends as undisturbed."""
    again = bench.run(study)
    if again.code:
        return f"{study.name}, started again, ended with {again.code}: {again.said.strip().splitlines()[-1:]}"
    going_on = f"going on from step {expected:,} of" if expected is not None else ""
    if going_on not in again.said or (expected is None and "going on" in again.said):
        return f"{study.name} did not go on from step {expected}"
    if named not in again.said or (not named and "passed over" in again.said):
        return f"{study.name}: the checkpoint that is passed over is not named as it should be ({named or 'none'})"
    left = [place.name for place in study.rglob(".*") if place.name != ".lock"]
    if left or (run_folder(study) / "checkpoints").exists():
        return f"{study.name} left {', '.join(left) or 'checkpoints'} behind"
    return bench.same(study)


def _save_faults(bench: Bench, count: int) -> Check:
    """Hurt saves and checkpoints in every way there is; the next start takes the newest that is whole."""
    tally = _Tally("a fault of a save, then the newest verified checkpoint and the same weights")
    kinds: dict[str, int] = {}
    with bench.progress.task("Faults of saves", total=count, unit="faults") as task:
        for number in range(count):
            name, trial = _SAVE_FAULTS[number % len(_SAVE_FAULTS)]
            kinds[name] = kinds.get(name, 0) + 1
            study = bench.twin(f"fault-{number}")
            fault = trial(bench, study, bench.random("fault", str(number)))
            tally.add(fault and f"{name}: {fault}")
            shutil.rmtree(study)
            task.advance()
    return tally.check(", ".join(f"{name}: {of}" for name, of in kinds.items()))


def _a_save(bench: Bench, random: np.random.Generator) -> int:
    """The number of a save that is to go wrong: not among the last, so that it does come."""
    return int(random.integers(1, max(bench.steps - _LAST_SAVES, 2)))


def _killed_in_save(bench: Bench, study: Path, random: np.random.Generator) -> str | None:
    fault = ["kill", _a_save(bench, random), int(random.integers(1, _OPERATIONS))]
    return _went_on(bench, study, bench.run(study, fault), [])


def _killed_writing(bench: Bench, study: Path, random: np.random.Generator) -> str | None:
    largest = 4 * sum(file.stat().st_size for file in (bench.folder / "encoder").glob("*.safetensors"))
    size = int(math.exp(random.uniform(math.log(2000), math.log(largest / 8))))
    ended = bench.run(study, ["kill writing", _a_save(bench, random), size])
    if ended.code != -signal.SIGXFSZ:
        return f"{study.name} was not killed: exit code {ended.code}"
    return _ends_the_same(bench, study, _newest(study))


def _refused(number: int, says: str) -> Callable[[Bench, Path, np.random.Generator], str | None]:
    def trial(bench: Bench, study: Path, random: np.random.Generator) -> str | None:
        ended = bench.run(study, ["refuse", _a_save(bench, random), int(random.integers(1, 8)), number])
        if ended.code != 2 or says not in ended.said or "Traceback" in ended.said:
            return f"{study.name} ended with {ended.code} and not with a sentence that says '{says}'"
        if (run_folder(study) / "model").exists():
            return f"{study.name} exported a model"
        return _ends_the_same(bench, study, _newest(study))

    return trial


def _damaged(hurt: Callable[[Path, np.random.Generator], None]) -> Callable[..., str | None]:
    """A trial in which a file of the newest checkpoint is hurt after a kill."""

    def trial(bench: Bench, study: Path, random: np.random.Generator) -> str | None:
        after = int(random.integers(3, max(bench.steps - 1, 4)))
        ended = bench.run(study, kill=(after, 0.0))
        if ended.code != -signal.SIGKILL:
            return f"{study.name} was not killed: exit code {ended.code}"
        checkpoints = sorted((run_folder(study) / "checkpoints").glob("step-*"))
        if len(checkpoints) < 2:
            return f"{study.name} had {len(checkpoints)} checkpoints after {after} steps"
        files = sorted(file for file in checkpoints[-1].iterdir())
        hurt(files[int(random.integers(len(files)))], random)
        return _ends_the_same(bench, study, int(checkpoints[-2].name[5:]), named=f"{checkpoints[-1]} is passed over: ")

    return trial


def _truncate(file: Path, random: np.random.Generator) -> None:
    os.truncate(file, int(random.integers(file.stat().st_size)))


def _flip(file: Path, random: np.random.Generator) -> None:
    content = bytearray(file.read_bytes())
    content[int(random.integers(len(content)))] ^= 1 << int(random.integers(8))
    file.write_bytes(content)


def _remove(file: Path, _random: np.random.Generator) -> None:
    file.unlink()


def _add(file: Path, _random: np.random.Generator) -> None:
    shutil.copyfile(file, file.with_name(f"more.{file.name}"))


_SAVE_FAULTS: tuple[tuple[str, Callable[[Bench, Path, np.random.Generator], str | None]], ...] = (
    ("kills at a file operation", _killed_in_save),
    ("kills in the middle of writing", _killed_writing),
    ("full disks (the system's refusal, simulated)", _refused(errno.ENOSPC, "No space left on the disk")),
    ("truncated files", _damaged(_truncate)),
    ("flipped bits", _damaged(_flip)),
    ("kills at a file operation", _killed_in_save),
    ("read-only disks (the system's refusal, simulated)", _refused(errno.EROFS, "cannot be written")),
    ("missing files", _damaged(_remove)),
    ("added files", _damaged(_add)),
    ("forbidden folders (the system's refusal, simulated)", _refused(errno.EACCES, "cannot be written")),
)


def _losses(bench: Bench, count: int) -> Check:
    """A loss that is no number, at random steps."""
    tally = _Tally("a NaN or infinite loss stops within one step, exit code 2, nothing exported, in the log")
    at: list[int] = []
    for number in range(count):
        after = int(bench.random("loss", str(number)).integers(0, bench.steps))
        value = ("nan", "inf")[number % 2]
        study = bench.twin(f"loss-{number}")
        tally.add(_stopped(study, bench.run(study, ["number", after, value]), after))
        at.append(after + 1)
        shutil.rmtree(study)
    return tally.check(f"at steps {', '.join(map(str, at))} of {bench.steps}")


def _stopped(study: Path, ended: Ended, after: int) -> str | None:
    """What did not hold for a run whose loss was no number after so many steps."""
    if ended.code != 2 or f" at step {after + 1} of epoch" not in ended.said or "Traceback" in ended.said:
        return f"{study.name} ended with {ended.code} and not with a sentence that names step {after + 1}"
    if (run_folder(study) / "model").exists() or (run_folder(study) / "manifest.json").exists():
        return f"{study.name} exported a model"
    last = log_of(study)[-1]
    if last.get("step") != after + 1 or "fault" not in last:
        return f"{study.name}: the fault is not the last line of log.jsonl"
    return None


def _memory(bench: Bench) -> Iterator[Check]:
    """Memory that holds less than the protocol asks for, and memory that holds nothing."""
    low = {"learning_rate": _LOW_RATE, "head_dropout": 0.3, "dropout": 0.0, "batch_tokens": 1024}
    whole = bench.twin("roomy", **low)
    bench.run(whole)
    tally = _Tally(f"too little memory: smaller micro-batches, each step's loss as before ({_SAME_LOSS:g} relative)")
    worst = 0.0
    for tokens in (768, 512, 256):
        study = bench.twin(f"memory-{tokens}", **low)
        ended = bench.run(study, ["memory", 1, tokens])
        fault, off = _as_before(whole, study, ended, _SAME_LOSS)
        worst = max(worst, off)
        tally.add(fault or (None if "Memory ran out" in ended.said else f"{study.name} said nothing of it"))
        shutil.rmtree(study)
    yield tally.check(f"largest relative difference {worst:.1e}")
    tally = _Tally("no memory for one note: a plain sentence, exit code 2, nothing exported")
    study = bench.twin("memory-none")
    ended = bench.run(study, ["memory", 2, 0])
    plain = ended.code == 2 and "one note at a time" in ended.said and "Traceback" not in ended.said
    exported = (run_folder(study) / "model").exists()
    tally.add(None if plain and not exported else f"exit code {ended.code}, exported: {exported}")
    yield tally.check("it names train.method, train.gradient_checkpointing, model.window and train.batch_tokens")


def _as_before(whole: Path, study: Path, ended: Ended, tolerance: float) -> tuple[str | None, float]:
    """What did not hold, and the largest relative difference of a step's loss."""
    if ended.code:
        return f"{study.name} ended with {ended.code}: {''.join(ended.said.strip().splitlines()[-1:])}", math.inf
    wanted, found = np.asarray(losses_of(whole)), np.asarray(losses_of(study))
    if wanted.shape != found.shape:
        return f"{study.name} took {len(found)} steps, and {len(wanted)} were wanted", math.inf
    off = float(np.max(np.abs(found - wanted) / np.abs(wanted)))
    return (None if off <= tolerance else f"{study.name}: a loss differs by {off:.1e}"), off


def _processes(bench: Bench) -> Iterator[Check]:
    """Two processes over gloo beside one; then one of the two is killed, and both go on."""
    low = {"learning_rate": _LOW_RATE, "dropout": 0.0}
    whole = bench.twin("alone", **low)
    bench.run(whole)
    tally = _Tally(f"two processes (torchrun, gloo): each step's loss as of one ({_SAME_SHARED:g} relative)")
    study = bench.twin("two", **low)
    fault, off = _as_before(whole, study, run_shared(study), _SAME_SHARED)
    tally.add(fault)
    yield tally.check(f"largest relative difference {off:.1e}")
    tally = _Tally("one of two processes is killed, both start again, then the same weights (SHA-256)")
    cut = bench.twin("two-cut", **low)
    ended = run_shared(cut, kill_after=bench.steps // 2)
    if ended.code == 0:
        tally.add("the processes ended well though one was killed")
    else:
        again = run_shared(cut)
        fault = None if again.code == 0 and "going on from step" in again.said else f"exit code {again.code}"
        tally.add(fault or (None if products(cut) == products(study) else "the weights differ"))
    yield tally.check(f"killed after step {bench.steps // 2} of {bench.steps}")
