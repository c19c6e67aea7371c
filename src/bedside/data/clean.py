"""One form for what can be written in several ways, and nothing else.

Numbers, units, ranges, negations, punctuation and case carry the diagnosis and are never touched. Compatibility
forms (NFKC) are refused on purpose: they turn ½ into a 1, a slash and a 2, and 10² into 102.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence

from bedside.data.edits import apply
from bedside.data.masking import masked
from bedside.data.mojibake import mojibake
from bedside.protocol import CleanSection

# Control characters except tab, line feed and carriage return; zero-width marks, soft hyphen, direction marks.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f"
    "\ufeff\ufff9-\ufffb]"
)
# Between two digits these may stand for a dash or a space that was lost: 2-3 is not 23.
_DASHES = "\u00ad\u200b"
_UNSEEN = re.compile(f"{_INVISIBLE.pattern}+")
# Joiners hold letters together in Persian, Indic scripts and emoji; between Latin letters and digits they are litter.
_JOINERS = re.compile("(?<=[\x20-\x7e])[\u200c\u200d]|[\u200c\u200d](?=[\x20-\x7e])")
_LINE_ENDS = re.compile("\r\n|[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_SPACES = re.compile("[\t\x1f\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000 ]+")
_LINE_EDGES = re.compile(r" *\n *")
_BLANK_LINES = re.compile(r"\n{3,}")


def without_marks(text: str) -> str:
    """Text without control characters and marks that nobody sees, which names and labels carry by accident."""
    return _INVISIBLE.sub("", text)


def clean_text(text: str, section: CleanSection) -> str:
    """Make one text uniform; applying it twice changes nothing more.

    The same section is applied to the text of a request when the model is asked.
    """
    while True:  # removing a mark can bring together a letter and its accent: repeat until nothing changes
        fresh = _once(text, section)
        if fresh == text:
            return fresh
        text = fresh


def _litter(found: re.Match[str]) -> str:
    """Nothing; but between two digits the marks that may have been a dash."""
    text, start, end = found.string, found.start(), found.end()
    if text[start - 1 : start].isdigit() and text[end : end + 1].isdigit():
        return "".join(mark for mark in found[0] if mark in _DASHES)
    return ""


def _once(text: str, section: CleanSection) -> str:
    if section.mojibake:
        text = apply(text, mojibake(text))
    if section.controls:
        text = _JOINERS.sub("", _UNSEEN.sub(_litter, text))
    if section.unicode == "NFC":
        text = unicodedata.normalize("NFC", text)
    if section.whitespace:
        text = _SPACES.sub(" ", _LINE_ENDS.sub("\n", text))
        text = _BLANK_LINES.sub("\n\n", _LINE_EDGES.sub("\n", text)).strip(" \n")
    return masked(text, section.mask)


def join_sections(columns: Sequence[str], values: Mapping[str, str]) -> str:
    """One text from one or several text columns.

    Args:
        columns: ``data.text`` as a list. A single column is taken as it is.
        values: the cell of each column; an absent or blank one is left out, with its heading.

    Returns:
        The columns in order, each under its name as a heading, with an empty line between.
    """
    if len(columns) == 1:
        return values.get(columns[0], "")
    filled = [(name, values.get(name, "")) for name in columns]
    return "\n\n".join(f"{name}:\n{text}" for name, text in filled if text.strip())
