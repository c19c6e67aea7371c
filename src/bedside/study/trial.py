"""One training of a study in a process of its own, with a planned fault; only the self-test starts it.

A fault comes from outside the code under test: from Python's audit hooks (a file operation that kills the process, or
that the system refuses), from torch's own hooks (a loss that is no number, memory that runs out), from a limit on the
size of files (a kill in the middle of writing), or from whoever sends SIGKILL. Nothing in training knows of any of it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# What takes seconds to import; a nursery does it once for all the processes that it forks.
_PRELOADED = (
    *("torch", "accelerate", "peft", "sklearn.linear_model", "safetensors.torch", "filelock"),
    *("transformers.models.auto.modeling_auto", "transformers.models.bert.modeling_bert", "bedside.training.loop"),
)
_OF_FILES = ("open", "os.", "shutil.", "tempfile.")
_TOUCHES = ("os.mkdir", "os.rename", "os.link", "tempfile.mkdtemp")  # what alters a folder, besides opening to write
_PLACE = f"{os.sep}checkpoints"
_MISTAKE = 2


def main() -> None:
    """``PLAN`` as JSON trains once; ``nursery`` reads plans from standard input and forks a process for each."""
    if sys.argv[1] == "nursery":
        _nursery()
    else:
        sys.exit(perform(json.loads(sys.argv[1])))


def _nursery() -> None:
    """Answer each plan with the process id, and when that has ended with its exit code."""
    import importlib

    for name in _PRELOADED:
        importlib.import_module(name)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = perform(json.loads(line))
            finally:
                sys.stderr.flush()
                os._exit(code)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def perform(plan: dict[str, Any]) -> int:
    """Train as planned.

    Args:
        plan: ``study``, its folder; ``log``, the file that takes what is said; ``steps``, the file that tells how many
            steps of the optimiser are done; ``fault``, what is to go wrong, or None; ``patience``, after how many
            seconds a process that hangs is ended.

    Returns:
        The exit code that the command line would give.
    """
    from bedside.core.errors import BedsideError
    from bedside.core.progress import ConsoleProgress

    signal.alarm(plan["patience"])
    log = os.open(plan["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 2)
    steps = _count_steps(Path(plan["steps"]))
    if plan["fault"]:
        kind, *values = plan["fault"]
        _FAULTS[kind](steps, *values)
    try:
        if "RANK" in os.environ:
            _share(Path(plan["study"]))
        else:
            from bedside.study.study import Study

            Study.open(plan["study"]).run("train", progress=ConsoleProgress())
    except BedsideError as error:
        sys.stderr.write(f"{error}\n")
        return _MISTAKE
    return 0


def _share(folder: Path) -> None:
    """Train together with other processes; the study's own lock would keep all but one of them out."""
    from bedside.core.progress import SILENT, ConsoleProgress
    from bedside.data import Cohort
    from bedside.study.study import Study
    from bedside.training import train

    study = Study.open(folder)
    protocol = study.protocol
    progress = ConsoleProgress() if os.environ["RANK"] == "0" else SILENT
    cohort = Cohort.load(study.path("prepare"))
    train(cohort, protocol.model, protocol.train, study.path("train"), seed=protocol.study.seed, progress=progress)


def _count_steps(file: Path) -> Callable[[], int]:
    """Write each step of the optimiser down as it is done; gives how many there were."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    done = [0]
    handle = os.open(file, os.O_WRONLY | os.O_CREAT, 0o644)

    def count(optimiser: Any, *_: Any) -> None:
        if _learns(optimiser):
            done[0] += 1
            os.pwrite(handle, f"{done[0]:08d}".encode(), 0)

    os.pwrite(handle, b"00000000", 0)
    register_optimizer_step_post_hook(count)
    return lambda: done[0]


def _learns(optimiser: Any) -> bool:
    """Whether this is the optimiser of the run, which has a schedule, and not one of a trial of speed."""
    return "initial_lr" in optimiser.param_groups[0]


def _number(steps: Callable[[], int], after: int, value: str) -> None:
    """Make the network answer with what is no number once ``after`` steps are done."""
    from torch.nn.modules.module import register_module_forward_hook

    def spoil(module: Any, _given: Any, found: Any) -> Any:
        if _is_network(module) and module.training and steps() >= after:
            return found * float(value)
        return None

    register_module_forward_hook(spoil)


def _memory(steps: Callable[[], int], after: int, tokens: int) -> None:
    """Let memory hold only so many padded tokens once ``after`` steps are done."""
    import torch
    from torch.nn.modules.module import register_module_forward_pre_hook

    def refuse(module: Any, given: Any) -> None:
        if _is_network(module) and module.training and steps() >= after and given[0].numel() > tokens:
            raise torch.OutOfMemoryError("simulated: out of memory")

    register_module_forward_pre_hook(refuse)


def _kill_rank(_steps: Callable[[], int], after: int, rank: int) -> None:
    """Kill this process after so many steps, where it is that one of several."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    done = [0]

    def count(optimiser: Any, *_: Any) -> None:
        done[0] += _learns(optimiser)
        if done[0] == after and os.environ.get("RANK") == str(rank):
            os.kill(os.getpid(), signal.SIGKILL)

    register_optimizer_step_post_hook(count)


def _is_network(module: Any) -> bool:
    return type(module).__module__ == "bedside.models.module" and type(module).__name__ == "Network"


def _kill(_steps: Callable[[], int], save: int, operation: int) -> None:
    """Kill this process at a file operation of its so-many-th save of a checkpoint."""

    def act(event: str, _arguments: tuple[Any, ...], passed: list[int]) -> None:
        if event.startswith(_OF_FILES):
            passed[0] += 1
            if passed[0] == operation:
                os.kill(os.getpid(), signal.SIGKILL)

    _from_save(save, act)


def _kill_writing(_steps: Callable[[], int], save: int, size: int) -> None:
    """Kill this process in its so-many-th save of a checkpoint, when a file has so many bytes."""
    import resource

    def act(_event: str, _arguments: tuple[Any, ...], passed: list[int]) -> None:
        if not passed[0]:
            passed[0] = 1
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    _from_save(save, act)


def _refuse(_steps: Callable[[], int], save: int, operation: int, number: int) -> None:
    """From an operation of its so-many-th save on, let the system refuse to alter the folder of checkpoints."""

    def act(event: str, arguments: tuple[Any, ...], passed: list[int]) -> None:
        if _alters(event, arguments):
            passed[0] += 1
            if passed[0] >= operation:
                raise OSError(number, os.strerror(number), str(arguments[0]))

    _from_save(save, act)


def _from_save(save: int, act: Callable[[str, tuple[Any, ...], list[int]], None]) -> None:
    """Hand ``act`` every operation on files in the folder of checkpoints from the so-many-th save on."""
    begun, passed = [0], [0]

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if not _inside(arguments):
            return
        begun[0] += event == "tempfile.mkdtemp"
        if begun[0] >= save:
            act(event, arguments, passed)

    sys.addaudithook(watch)


def _inside(arguments: tuple[Any, ...]) -> bool:
    return any(isinstance(one, str | Path) and _PLACE in str(one) for one in arguments)


def _alters(event: str, arguments: tuple[Any, ...]) -> bool:
    if event == "open":
        return bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    return event in _TOUCHES


_FAULTS: dict[str, Callable[..., None]] = {
    "number": _number,
    "memory": _memory,
    "kill": _kill,
    "kill writing": _kill_writing,
    "kill rank": _kill_rank,
    "refuse": _refuse,
}

if __name__ == "__main__":
    main()
