"""Several processes that train together, started by ``accelerate launch`` or ``torchrun``, which set two variables."""

from __future__ import annotations

import os
from typing import Any


def count() -> int:
    """How many processes train together; one if nobody said otherwise."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this is the one that writes files and speaks."""
    return os.environ.get("RANK", "0") == "0"


def wait_for_all() -> None:
    """Go on when every process has come here."""
    if count() > 1:
        _state().wait_for_everyone()


def part() -> None:
    """End the group of processes, the last act of a training together."""
    if count() > 1:
        _state().destroy_process_group()


def _state() -> Any:
    """What accelerate knows of the group; who asks first must say whether there is a card, or there is no group."""
    import torch
    from accelerate import PartialState

    return PartialState(cpu=not torch.cuda.is_available())
