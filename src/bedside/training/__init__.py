"""Training: the one loop, and the baselines that stand beside every model."""

from __future__ import annotations

from bedside.training.baselines import train_baselines
from bedside.training.train import train

__all__ = ["train", "train_baselines"]
