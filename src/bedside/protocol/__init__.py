"""The study's plan: one typed TOML file, with every fault reported at once."""

from __future__ import annotations

from bedside.protocol.file import load, parse, render
from bedside.protocol.sections import (
    AnswerSection,
    AuditSection,
    AugmentSection,
    CleanSection,
    DataSection,
    EvaluateSection,
    ModelSection,
    PackageSection,
    Protocol,
    Section,
    ServeSection,
    SourceSection,
    SpellingSection,
    SplitSection,
    StudySection,
    TrainSection,
)

__all__ = [
    "AnswerSection",
    "AuditSection",
    "AugmentSection",
    "CleanSection",
    "DataSection",
    "EvaluateSection",
    "ModelSection",
    "PackageSection",
    "Protocol",
    "Section",
    "ServeSection",
    "SourceSection",
    "SpellingSection",
    "SplitSection",
    "StudySection",
    "TrainSection",
    "load",
    "parse",
    "render",
]
