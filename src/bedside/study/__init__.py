"""The study folder, and everything that crosses rooms: stages in order, manifests, skip and resume."""

from __future__ import annotations

from bedside.study.init import Created, create
from bedside.study.study import Outcome, Study

__all__ = ["Created", "Outcome", "Study", "create"]
