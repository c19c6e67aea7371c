"""The chain of evidence: what was measured, on what, in which order.

``evidence.jsonl`` holds one entry a line. Each entry carries the SHA-256 of the one before it, so an entry
cannot be altered, removed or moved without the chain breaking. (A chain alone cannot show that its *end* was
cut off; a signature over the last hash does that, and belongs to the bundle.)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bedside.core.errors import StudyError
from bedside.core.files import sha256_json, write_text

_START = "0" * 64


def append(path: Path, kind: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Add an entry to the chain and return it.

    Args:
        path: the chain's file; made if absent.
        kind: what happened, for example ``"evaluated"``.
        body: JSON-able facts: hashes, counts, figures. Never text of a case.

    Raises:
        StudyError: the chain on disk is broken; nothing is added to a broken chain.
    """
    entries = read(path)
    entry: dict[str, Any] = {
        "number": len(entries) + 1,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "kind": kind,
        "previous": entries[-1]["hash"] if entries else _START,
        "body": dict(body),
    }
    entry["hash"] = sha256_json(entry)
    lines = [json.dumps(one, ensure_ascii=False, allow_nan=False) for one in [*entries, entry]]
    write_text(path, "\n".join(lines) + "\n")
    return entry


def read(path: Path) -> list[dict[str, Any]]:
    """Read a chain and verify it, link by link; an absent file is an empty chain.

    Raises:
        StudyError: naming the first line that does not fit.
    """
    if not path.exists():
        return []
    entries: list[dict[str, Any]] = []
    previous = _START
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        entry = _entry(line)
        body = {key: value for key, value in entry.items() if key != "hash"}
        fits = entry.get("previous") == previous and entry.get("number") == number
        if not fits or entry.get("hash") != sha256_json(body):
            raise StudyError(
                f"{path}, line {number} does not fit the chain of evidence: it or a line before it was "
                "altered, removed or moved; restore the file from a backup, or evaluate in a fresh study."
            )
        previous = entry["hash"]
        entries.append(entry)
    return entries


def _entry(line: str) -> dict[str, Any]:
    """One line as an entry; a line that is no JSON object becomes one that fits no chain."""
    try:
        value = json.loads(line)
    except json.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
