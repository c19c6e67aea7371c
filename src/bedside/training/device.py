"""Where and in which precision to train: by what the machine has, so that the same machine always chooses alike."""

from __future__ import annotations

from bedside.core.errors import ModelError


def choose_device(wish: str) -> str:
    """``cuda``, ``mps`` or ``cpu``.

    Raises:
        ModelError: the device that was asked for is not there.
    """
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wish == "auto":
        return next(name for name, found in there.items() if found)
    if not there.get(wish, False):
        found = ", ".join(name for name, is_there in there.items() if is_there)
        raise ModelError(f"train.device = '{wish}' is not on this machine; it has {found}.")
    return wish


def choose_precision(wish: str, device: str) -> str:
    """``bf16`` where it is asked for, or where the processor or card has it; else ``fp32``."""
    import torch

    if wish != "auto":
        return wish
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    if device == "cpu":
        return "bf16" if torch.ops.mkldnn._is_mkldnn_bf16_supported() else "fp32"
    return "fp32"
