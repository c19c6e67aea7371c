"""The study folder, and everything that crosses rooms: stages in order, manifests, skip and resume."""

from __future__ import annotations

from bedside.study.study import Study

__all__ = ["Study"]
