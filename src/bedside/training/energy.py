"""What a training took: seconds, the most memory that was held, and the energy, where this machine tells it.

Energy is read from the counters of the processor package (RAPL, through Linux's powercap) and of the card (NVML, or
nvidia-smi). A counter covers everything that ran on that package or card, not this process alone, and leaves out the
rest of the machine. Where no counter can be read the energy is absent; it is never computed from a nominal wattage.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from bedside.training.device import Clock

_POWERCAP = Path("/sys/class/powercap")
_EVERY = 5.0  # seconds between two looks at the counters; RAPL's run over within minutes on a large machine
_PEAK_EVERY = 0.05
_DOMAINS = ("package", "dram")  # core and uncore are parts of the package; psys holds the package


@dataclass(frozen=True)
class Took:
    """What a training took; energy only where the machine tells it, and then of which parts."""

    seconds: float
    peak_memory_bytes: int | None = None
    energy_joules: float | None = None
    energy_of: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As it stands in ``summary.json``; what was not measured is absent."""
        found: dict[str, Any] = {"seconds": round(self.seconds, 1)}
        if self.peak_memory_bytes is not None:
            found["peak_memory_bytes"] = self.peak_memory_bytes
        if self.energy_joules is not None:
            found |= {"energy_joules": round(self.energy_joules, 1), "energy_of": self.energy_of}
        return found


class PeakMemory:
    """The most memory that this process held while the block ran, looked at every so many seconds by a thread.

    The kernel's own high-water mark would be exact, but holds for the whole life of the process.
    """

    def __init__(self, every: float = _PEAK_EVERY, then: Callable[[], None] | None = None) -> None:
        import psutil

        self._process, self._every, self._then = psutil.Process(), every, then
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="bedside-memory", daemon=True)
        self.start = self.peak = 0

    @property
    def grown(self) -> int:
        """Bytes between the start and the peak."""
        return self.peak - self.start

    def _look(self) -> None:
        self.peak = max(self.peak, int(self._process.memory_info().rss))
        if self._then is not None:
            self._then()

    def _watch(self) -> None:
        while not self._done.wait(self._every):
            self._look()

    def __enter__(self) -> PeakMemory:
        self.start = self.peak = int(self._process.memory_info().rss)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._done.set()
        self._thread.join()
        self._look()


class Meter:
    """Time, memory and energy of a block of code.

    For instance::

        with Meter("cpu") as meter:
            loop.run()
        summary["took"] = meter.took().to_json()

    Args:
        device: ``cuda``, ``mps`` or ``cpu``.
        counters: of energy; those that this machine lets one read if not given.
        clock: seconds, ever rising.
    """

    def __init__(self, device: str, counters: list[Counter] | None = None, clock: Clock = time.monotonic) -> None:
        self._device, self._clock = device, clock
        self._counters = energy_counters(device) if counters is None else counters
        self._memory = PeakMemory(then=self._read)
        self._read_at = self._start = self._end = 0.0

    def __enter__(self) -> Meter:
        if self._device == "cuda":
            import torch

            torch.cuda.reset_peak_memory_stats()
        self._start = self._read_at = self._clock()
        for counter in self._counters:
            counter.read()
        self._memory.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._memory.__exit__(kind, error, at)
        self._end = self._clock()
        for counter in self._counters:
            counter.read()

    def _read(self) -> None:
        """Look at the counters now and then, so that none runs over twice unseen."""
        now = self._clock()
        if now - self._read_at >= _EVERY:
            self._read_at = now
            for counter in self._counters:
                counter.read()

    def took(self) -> Took:
        """What the block took."""
        whole = [counter for counter in self._counters if not counter.lost]
        names = " and ".join(dict.fromkeys(counter.of for counter in whole))
        return Took(
            seconds=self._end - self._start,
            peak_memory_bytes=self._peak(),
            energy_joules=sum(counter.joules for counter in whole) if whole else None,
            energy_of=names or None,
        )

    def _peak(self) -> int:
        if self._device == "cuda":
            import torch

            return int(torch.cuda.max_memory_allocated())
        return self._memory.peak


class Counter:
    """Energy that a part of the machine has used since the first reading.

    Args:
        of: which part, in words.
        value: the counter, in joules; an error while reading it loses the counter.
        range: where it starts again from zero, in joules; None where it never does.
    """

    def __init__(self, of: str, value: Callable[[], float], range: float | None = None) -> None:
        self.of, self._value, self._range = of, value, range
        self.joules, self.lost = 0.0, False
        self._last: float | None = None

    def read(self) -> None:
        """Look at the counter."""
        if self.lost:
            return
        try:
            now = self._value()
        except (OSError, ValueError, subprocess.SubprocessError):
            self.lost = True  # a sum with a hole would look like a saving
            return
        more = 0.0 if self._last is None else now - self._last
        if more < 0 and self._range is None:
            self.lost = True
            return
        self.joules += more if more >= 0 else more + (self._range or 0.0)
        self._last = now


def energy_counters(device: str, powercap: Path = _POWERCAP) -> list[Counter]:
    """The counters that this machine has and lets this user read; since 2020 Linux lets only root read RAPL's."""
    found = list(_rapl(powercap))
    if device == "cuda":
        found += _card()
    return found


def _rapl(powercap: Path) -> Iterator[Counter]:
    """Processor packages and their memory, each its own counter (AMD's too go by the name of intel-rapl)."""
    for place in sorted(powercap.glob("intel-rapl:*")):
        with contextlib.suppress(OSError, ValueError):
            name = (place / "name").read_text(encoding="ascii").strip()
            file = place / "energy_uj"
            _microjoules(file)
            around = _microjoules(place / "max_energy_range_uj")
            if name.startswith(_DOMAINS):
                of = "the processor package" if name.startswith("package") else "its memory"
                yield Counter(of, functools.partial(_microjoules, file), around)


def _microjoules(file: Path) -> float:
    return int(file.read_text(encoding="ascii")) / 1e6


def _card() -> list[Counter]:
    """The card that torch computes on, by NVML's own counter, or by the watts that nvidia-smi tells."""
    import torch

    name = f"GPU-{torch.cuda.get_device_properties(torch.cuda.current_device()).uuid}"
    return _nvml(name) or smi(name)


def _nvml(name: str) -> list[Counter]:
    """NVML's counter, which cards since Volta have."""
    try:
        pynvml: Any = importlib.import_module("pynvml")  # a user may have it; bedside does not ask for it
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
        card = pynvml.nvmlDeviceGetHandleByUUID(name)
        pynvml.nvmlDeviceGetTotalEnergyConsumption(card)
    except pynvml.NVMLError:
        return []
    return [Counter("the card", lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(card) / 1000)]


def smi(name: str, clock: Clock = time.monotonic) -> list[Counter]:
    """The watts that nvidia-smi tells, added up over time between readings (trapezoidal rule)."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    watts = _Watts([program, f"--id={name}", "--query-gpu=power.draw", "--format=csv,noheader,nounits"], clock)
    try:
        watts()
    except (OSError, ValueError, subprocess.SubprocessError):
        return []
    return [Counter("the card", watts)]


class _Watts:
    """Joules from watts."""

    def __init__(self, command: list[str], clock: Clock) -> None:
        self._command, self._clock = command, clock
        self._last: tuple[float, float] | None = None
        self._joules = 0.0

    def __call__(self) -> float:
        """Joules since the first call."""
        told = subprocess.run(self._command, capture_output=True, text=True, check=True, timeout=10).stdout
        now, watts = self._clock(), float(told.strip().splitlines()[0])
        if self._last is not None:
            self._joules += (now - self._last[0]) * (watts + self._last[1]) / 2
        self._last = (now, watts)
        return self._joules
