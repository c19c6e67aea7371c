"""What can go wrong, as one tree.

BedsideError            a user's mistake or this machine's limit: one sentence, exit code 2
├── ProtocolError       protocol.toml has faults; all of them are listed
├── DataError           the cases cannot be read, or cannot carry the study
├── ModelError          a base model is unknown or absent, or training cannot go on
├── StudyError          the folder is not a study, or a stage cannot run yet
├── BundleError         a bundle is incomplete, altered, or of another version
├── ServingError        the server refuses to start, or to answer
└── MachineError        disk, memory, network, permission
    └── MissingExtra    an optional part of bedside is not installed

Anything else that escapes is a bug, and ends in a traceback.
"""

from __future__ import annotations

from collections.abc import Sequence


class BedsideError(Exception):
    """A mistake that the user can mend, said in one sentence.

    The sentence names the value, the file and the row, and says what to do::

        try:
            study.run()
        except bedside.BedsideError as error:
            sys.exit(str(error))
    """


class ProtocolError(BedsideError):
    """The study's plan has faults. ``faults`` holds every one of them, a sentence each."""

    def __init__(self, file: str, faults: Sequence[str]) -> None:
        self.file = file
        self.faults = tuple(faults)
        count = f"{len(self.faults)} faults" if len(self.faults) != 1 else "1 fault"
        super().__init__("\n".join([f"{file} has {count}:", *(f"  - {fault}" for fault in self.faults)]))


class DataError(BedsideError):
    """The cases cannot be read, or cannot carry the study."""


class ModelError(BedsideError):
    """A base model is unknown or absent, or training cannot go on."""


class StudyError(BedsideError):
    """The folder is not a study, or a stage cannot run yet."""


class BundleError(BedsideError):
    """A bundle is incomplete, altered, or of another version."""


class ServingError(BedsideError):
    """The server refuses to start, or to answer."""


class MachineError(BedsideError):
    """This machine cannot do it: disk, memory, network, permission."""


class MissingExtra(MachineError):
    """An optional part of bedside is not installed."""
