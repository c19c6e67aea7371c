"""The sample clinic: synthetic cohorts with known truth, for a first try and for tests of the line.

It refuses to be taken for data: everything it writes says SYNTHETIC.
"""

from __future__ import annotations

from bedside.synthetic.clinic import Clinic, Plan, codes, generate, note_for

__all__ = ["Clinic", "Plan", "codes", "generate", "note_for"]
