"""Passages that many notes share, and passages that a patient's later notes repeat from an earlier one.

A passage is a sentence or a line of eight words or more, compared without regard to case and white space, and known by
its SHA-256, so that a report can name it without quoting it. Nothing is dropped unless the protocol lists the passage:
a template may be what says that something is absent. Memory grows with the passages, by 24 bytes each.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bedside.core.files import sha256_bytes
from bedside.core.progress import SILENT, Progress
from bedside.data.edits import Edit

RULE = "boilerplate"
FEWEST_WORDS = 8
FEWEST_PATIENTS = 20
MOST_LOOKED_AT = 200_000  # notes
_LISTED = 100
_PASSAGE = re.compile(r"[^\s][^\n.!?]*(?:[.!?](?!\s)[^\n.!?]*)*[.!?]?")  # to a stop before a space, or the line's end


@dataclass(frozen=True)
class Repeated:
    """A passage that notes of several patients share.

    Attributes:
        sha256: of the passage as compared; ``clean.boilerplate`` lists it to drop it.
        words: how long it is.
        notes: in how many notes it stands.
        patients: of how many patients these are.
    """

    sha256: str
    words: int
    notes: int
    patients: int


def passages(text: str) -> Iterator[tuple[int, int]]:
    """Where the sentences and lines of eight words or more begin and end."""
    for one in _PASSAGE.finditer(text):
        if len(one[0].split()) >= FEWEST_WORDS:
            yield one.start(), one.end()


def fingerprint(passage: str) -> str:
    """The SHA-256 of a passage, case and white space aside."""
    return sha256_bytes(" ".join(passage.casefold().split()).encode("utf-8"))


def drop_boilerplate(text: str, listed: Collection[str]) -> list[Edit]:
    """The edits that take the listed passages out of one text."""
    if not listed:
        return []
    return [
        Edit(start, end, text[start:end], "", RULE)
        for start, end in passages(text)
        if fingerprint(text[start:end]) in listed
    ]


def repetition(
    texts: Sequence[str],
    patients: Sequence[str],
    *,
    fewest: int = FEWEST_PATIENTS,
    progress: Progress = SILENT,
) -> tuple[list[Repeated], dict[str, Any]]:
    """What is said again: over patients, and forward from one note of a patient to the next.

    Args:
        texts: the notes.
        patients: whose each is; ``""`` where that is not known, which counts as a patient of its own.
        fewest: of the patients who share a passage that is listed.
        progress: shown while the passages are hashed.

    Returns:
        The shared passages, of most patients first; and an account for the report: counts and hashes, no text. What is
        copied forward leaves shared passages aside.
    """
    rows = _looked_at(patients)
    marks = _marks(texts, patients, rows, progress)
    shared, is_shared = _shared(marks, fewest)
    found = _named(texts, marks, shared)
    account = {
        "notes": len(texts),
        "looked_at": len(rows),
        "fewest_patients": fewest,
        "fewest_words": FEWEST_WORDS,
        "passages": len(found),
        "notes_with_any": len(np.unique(marks["note"][is_shared])),
        "listed": [vars(one) for one in found[:_LISTED]],
        "copied_forward": _copied(marks, is_shared, [patients[row] for row in rows]),
    }
    return found, account


def wording(texts: Sequence[str], listed: Collection[str]) -> dict[str, str]:
    """What the listed passages say, for whoever may read the notes: their text by their hash."""
    wanted, found = set(listed), {}
    for text in texts:
        for start, end in passages(text) if wanted else ():
            name = fingerprint(text[start:end])
            if name in wanted:
                found[name] = text[start:end]
                wanted.discard(name)
    return found


_Marks = Mapping[str, NDArray[Any]]


def _looked_at(patients: Sequence[str]) -> list[int]:
    """All rows; of a very large table those of every second, third ... patient, whole, so that nothing is torn."""
    step = -(-len(patients) // MOST_LOOKED_AT) or 1
    numbers: dict[str, int] = {}
    places = [numbers.setdefault(name or f"\x1f{row}", len(numbers)) for row, name in enumerate(patients)]
    return [row for row, place in enumerate(places) if place % step == 0]


def _marks(texts: Sequence[str], patients: Sequence[str], rows: list[int], progress: Progress) -> _Marks:
    """Of each passage: the beginning of its hash, its patient, its note and its words."""
    hashes, people, notes, lengths = array("Q"), array("l"), array("l"), array("l")
    numbers: dict[str, int] = {}
    with progress.task("looking for repeated passages", total=len(rows), unit="notes") as task:
        for row in rows:
            name = patients[row]
            number = numbers.setdefault(name, len(numbers)) if name else -1 - row
            for start, end in passages(texts[row]):
                passage = texts[row][start:end]
                hashes.append(int(fingerprint(passage)[:16], 16))
                people.append(number)
                notes.append(row)
                lengths.append(len(passage.split()))
            task.advance()
    return {
        "hash": np.asarray(hashes, dtype=np.uint64),
        "patient": np.asarray(people, dtype=np.int64),
        "note": np.asarray(notes, dtype=np.int64),
        "words": np.asarray(lengths, dtype=np.int64),
    }


def _shared(marks: _Marks, fewest: int) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Hashes that enough patients share, and which passages have one."""
    pairs = np.unique(np.stack([marks["hash"], marks["patient"].astype(np.uint64)]), axis=1)
    names, counts = np.unique(pairs[0], return_counts=True)
    shared = names[counts >= fewest]
    return shared, np.isin(marks["hash"], shared)


def _named(texts: Sequence[str], marks: _Marks, shared: NDArray[np.uint64]) -> list[Repeated]:
    """The shared passages with their counts; the whole hash is made again from the first note that has each."""
    found = []
    names, first, inverse = np.unique(marks["hash"], return_index=True, return_inverse=True)
    places = np.argsort(inverse, kind="stable")
    edges = np.searchsorted(inverse[places], np.arange(len(names) + 1))
    for number in np.flatnonzero(np.isin(names, shared)).tolist():
        held = places[edges[number] : edges[number + 1]]
        note = texts[int(marks["note"][first[number]])]
        whole = (fingerprint(note[start:end]) for start, end in passages(note))
        sha256 = next(one for one in whole if int(one[:16], 16) == int(names[number]))
        found.append(
            Repeated(
                sha256,
                int(marks["words"][first[number]]),
                len(np.unique(marks["note"][held])),
                len(np.unique(marks["patient"][held])),
            )
        )
    return sorted(found, key=lambda one: (-one.patients, -one.notes, one.sha256))


def _copied(marks: _Marks, is_shared: NDArray[np.bool_], patients: Sequence[str]) -> dict[str, Any]:
    """How much of later notes stood in an earlier note of the same patient; the counts are alike in either order."""
    own = np.flatnonzero(~is_shared & (marks["patient"] >= 0))
    groups = np.stack([marks["hash"][own], marks["patient"][own].astype(np.uint64)])
    _, first, inverse = np.unique(groups, axis=1, return_index=True, return_inverse=True)
    note = marks["note"][own]
    again = note != note[first][np.ravel(inverse)] if len(own) else np.zeros(0, dtype=np.bool_)
    named = [one for one in patients if one]
    return {
        "later_notes": len(named) - len(set(named)),
        "notes_that_copy": len(np.unique(note[again])),
        "passages": int(again.sum()),
        "words": int(marks["words"][own][again].sum()),
        "words_of_all_passages": int(marks["words"][own].sum()),
    }
