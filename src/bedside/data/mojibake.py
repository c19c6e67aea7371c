"""Text that was written in one encoding and read in another, put right line by line.

"38Â°C" and "niÃ±o" were UTF-8 once. The heuristic is ftfy's (Speer 2019, "ftfy", Zenodo 2591652): it looks for runs of
letters that only a wrong reading produces. What cannot be put right without touching a letter, digit or sign of
ASCII is left as it is, and so is what was lost on the way: a guess in a note is worse than a visible fault.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from bedside.data.edits import Edit

RULE = "mojibake"
_NEVER = re.compile("[\x00-\x08\x0e-\x1f\x7f\ufffd]")  # what a right reading does not bring into a note
_VISIBLE = re.compile(r"[\x21-\x7e]+")  # ASCII that shows


def mojibake(text: str) -> list[Edit]:
    """The edits that put wrongly read letters right; none for a text that was read well."""
    if text.isascii():
        return []
    edits, at = [], 0
    for line in text.split("\n"):
        if not line.isascii():
            edits += _line(line, at)
        at += len(line) + 1
    return edits


def _line(line: str, at: int) -> list[Edit]:
    import ftfy

    fixed = ftfy.fix_encoding(line, config=_settings())
    if len(fixed) >= len(line) or len(_NEVER.findall(fixed)) > len(_NEVER.findall(line)):
        return []  # a wrong reading made several letters of one, so what is right is shorter
    if _shown(line) != _shown(fixed):
        return []
    return _between(line, fixed, at)


@cache
def _settings() -> Any:
    from ftfy import TextFixerConfig

    return TextFixerConfig(explain=False, replace_lossy_sequences=False, fix_c1_controls=False)


def _shown(line: str) -> str:
    return "".join(_VISIBLE.findall(line))


def _between(line: str, fixed: str, at: int) -> list[Edit]:
    """What differs between the signs of ASCII that both have in the same order, sign by sign."""
    old, new = _gaps(line), _gaps(fixed)
    edits = []
    for (start, before), (_, after) in zip(old, new, strict=True):
        if before != after:
            edits.append(Edit(at + start, at + start + len(before), before, after, RULE))
    return edits


def _gaps(line: str) -> list[tuple[int, str]]:
    """Where each piece between two signs of visible ASCII begins, and the piece; empty pieces too."""
    pieces, at = [], 0
    for place, sign in enumerate(line):
        if "\x21" <= sign <= "\x7e":
            pieces.append((at, line[at:place]))
            at = place + 1
    return [*pieces, (at, line[at:])]
