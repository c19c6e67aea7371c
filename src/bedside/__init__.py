"""bedside: train open-source language models for medical diagnosis, measure them honestly, serve them safely.

It supports a clinician's judgement and never replaces it.
"""

from __future__ import annotations

__version__ = "0.1.0"
