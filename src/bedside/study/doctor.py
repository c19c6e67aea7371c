"""What this machine has, what is missing, and what to do about it.

Looks only; starts no download and opens no connection, but for the one look at the Hub that the user may ask for.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bedside.core.files import free_bytes, size_text
from bedside.core.keys import cache_folder

Status = Literal["ok", "note", "missing"]

_NEEDED = (
    *("torch", "transformers", "tokenizers", "safetensors", "accelerate", "scikit-learn", "scipy", "numpy"),
    *("polars", "fastexcel", "rensa", "pydantic", "typer", "rich", "jinja2", "filelock"),
)
_OPTIONAL = {"fastapi": "serving", "uvicorn": "serving"}
_SEEN = ("datasets", "peft")  # not needed yet; their versions help whoever reads a report of a fault
_OLDEST_PYTHON = (3, 11)
_LEAST_DISK = 2_000_000_000
_LEAST_MEMORY = 4_000_000_000
# Bytes a parameter while training: weights, gradient and AdamW's two moments in fp32, and as much for activations.
_BYTES_PER_PARAMETER = 4 * 4 + 16
_SIZES = {"22 M (MiniLM)": 22.7e6, "110 M (BERT base)": 110e6, "345 M (BERT large)": 345e6, "1 B": 1e9, "7 B": 7e9}


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes:
        status: ``ok``, ``note`` (works, but know it) or ``missing`` (mend it first).
        name: what was looked at.
        value: what was found.
        advice: what to do; empty when nothing is to be done.
    """

    status: Status
    name: str
    value: str
    advice: str = ""


def examine(hub: bool = False) -> list[Finding]:
    """Look at everything that training and serving need.

    Args:
        hub: whether to try a connection to the Hugging Face Hub, the only thing here that leaves the machine.
    """
    return [
        _python(),
        *(_library(name) for name in _NEEDED),
        *(_optional(name, extra) for name, extra in _OPTIONAL.items()),
        *(_seen(name) for name in _SEEN),
        _processor(),
        *_devices(),
        _memory(),
        _disk(),
        _sizes("sizes that fit", _available_memory()),
        *_base_models(),
        _hub(hub),
    ]


def _python() -> Finding:
    version = platform.python_version()
    if sys.version_info[:2] < _OLDEST_PYTHON:
        return Finding("missing", "Python", version, "install Python 3.11 or newer and make a new environment")
    return Finding("ok", "Python", f"{version} on {platform.system()} {platform.machine()}")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _library(name: str) -> Finding:
    version = _version(name)
    if version is None:
        return Finding("missing", name, "not installed", f"pip install {name}")
    return Finding("ok", name, version)


def _optional(name: str, extra: str) -> Finding:
    version = _version(name)
    if version is None:
        return Finding("note", name, "not installed", f"to serve: pip install 'bedside[{extra}]'")
    return Finding("ok", name, version)


def _seen(name: str) -> Finding:
    return Finding("ok", name, _version(name) or "not installed (not needed)")


def _processor() -> Finding:
    """CPU features that decide the speed; torch knows them on every system."""
    cores = os.cpu_count() or 1
    try:
        from torch.backends import cpu
    except ImportError:
        return Finding("note", "CPU", f"{cores} cores")
    return Finding("ok", "CPU", f"{cores} cores, {cpu.get_cpu_capability()}{_bf16()}")


def _bf16() -> str:
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ""
    found = [name for name in ("avx512_bf16", "amx_bf16", "bf16") if f" {name}" in flags]
    return f", bf16 ({', '.join(found)})" if found else ", no bf16"


def _devices() -> list[Finding]:
    try:
        import torch
    except ImportError:
        return []
    findings = []
    for number in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(number).total_memory
        card = f"{torch.cuda.get_device_name(number)}, {size_text(memory)}, CUDA {torch.version.cuda}{_driver()}"
        findings.append(Finding("ok", f"CUDA device {number}", card))
        findings.append(_sizes(f"sizes that fit on {number}", memory))
    if not findings:
        built = torch.version.cuda or "none, a build for CPUs"
        advice = "models up to 110 M parameters train well enough without one"
        if torch.version.cuda:
            advice = "if there is a card, check its driver with nvidia-smi"
        findings.append(Finding("note", "CUDA device", f"none (torch's CUDA: {built}{_driver()})", advice))
    if torch.backends.mps.is_available():
        findings.append(Finding("ok", "MPS device", "available"))
    return findings


def _driver() -> str:
    """The NVIDIA driver's version, where Linux tells it."""
    try:
        first = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8").splitlines()[0]
    except (OSError, IndexError):
        return ""
    return f", driver {first.partition('Module')[2].split()[0]}" if "Module" in first else ""


def _available_memory() -> int:
    import psutil

    return int(psutil.virtual_memory().available)


def _memory() -> Finding:
    free = _available_memory()
    if free < _LEAST_MEMORY:
        return Finding("note", "memory", f"{size_text(free)} free", "4 GB free are enough for the small models")
    return Finding("ok", "memory", f"{size_text(free)} free")


def _disk() -> Finding:
    free = free_bytes(Path.cwd())
    if free < _LEAST_DISK:
        return Finding("missing", "disk", f"{size_text(free)} free here", "free some space: a study takes up to 2 GB")
    return Finding("ok", "disk", f"{size_text(free)} free here")


def _sizes(name: str, memory: int) -> Finding:
    """Which sizes fit for full fine-tuning."""
    fit = [size for size, parameters in _SIZES.items() if parameters * _BYTES_PER_PARAMETER < memory]
    return Finding("ok" if fit else "note", name, ", ".join(fit) or "none", "" if fit else "free memory")


def _base_models() -> list[Finding]:
    from bedside.models import weights
    from bedside.models.catalogue import CATALOGUE

    default = "builtin:minilm"
    at_hand = [model.id for model in CATALOGUE if weights.installed(model.id)]
    found = Finding("ok", "base models at hand", f"{', '.join(at_hand)} (in {cache_folder()})")
    if default in at_hand:
        return [found]
    return [found, Finding("missing", default, "not at hand", f"bedside models get {default}")]


def _hub(ask: bool) -> Finding:
    name = "Hugging Face Hub"
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        return Finding("ok", name, "switched off (HF_HUB_OFFLINE=1)")
    if not ask:
        return Finding("ok", name, "not asked (--hub tries it); nothing needs it")
    try:
        with socket.create_connection(("huggingface.co", 443), timeout=3):
            return Finding("ok", name, "reachable")
    except OSError:
        return Finding(
            "note", name, "not reachable", "nothing needs it: bedside models show ID says what to fetch by hand"
        )
