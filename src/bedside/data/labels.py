"""The diagnosis column: tidied, merged where the protocol says so, and refused where a label is too rare.

Labels are never joined or dropped on a guess: what looks alike is proposed, what is rare is named.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bedside.core.errors import DataError
from bedside.data.clean import without_marks
from bedside.data.rules import read_table
from bedside.data.split import groups_per_label
from bedside.data.wording import counted

FEWEST_GROUPS = 4  # one for each split
MANY_CASES = 40  # a label with so many cases in fewer groups is not rare: its texts are alike
_LONG, _VERY_LONG = 6, 12  # letters of a word in which one, or two, may be a typing error


def tidy(label: str) -> str:
    """A label without stray white space and invisible marks, in one Unicode form."""
    return " ".join(unicodedata.normalize("NFC", without_marks(label)).split())


def lookalikes(counts: Mapping[str, int]) -> dict[str, str]:
    """Labels that differ only by accident: each rarer one and its likely twin.

    Case, punctuation, hyphens, white space, singular and plural, British and American spelling; and in one long word of
    a label a typing error: an edit of one letter (two of twelve letters or more; Damerau 1964), never in the first
    letter, in a number or in a short word, and never where rule data knows the two as different words (hyper and hypo,
    -itis and -osis, type 1 and type 2). It proposes; it joins nothing.
    """
    twin: dict[str, str] = {}
    families: dict[str, list[str]] = defaultdict(list)
    for label in sorted(counts):
        families[_bare(label)].append(label)
    for family in families.values():
        best = max(family, key=lambda label: (counts[label], label))
        twin |= {label: best for label in family if label != best}
    heads = [label for label in sorted(counts) if label not in twin]
    for one, other in _misspelt(heads):
        rarer, commoner = sorted((one, other), key=lambda label: (counts[label], label))
        twin.setdefault(rarer, commoner)
    return {label: _last(twin, label) for label in sorted(twin)}


def _last(twin: Mapping[str, str], label: str) -> str:
    """The end of a chain of twins; each is commoner than the one before, so there is an end."""
    while label in twin:
        label = twin[label]
    return label


def lookalike_rules() -> dict[str, Any]:
    """The dated rule data on labels that look alike, and the words of denial; callers do not change it."""
    return read_table("lookalikes")


def _words(label: str) -> list[str]:
    """The lower-cased words of a label in American spelling and in the singular."""
    return [_singular(word) for word in re.findall(r"\w+", _american(label.casefold()))]


def _american(text: str) -> str:
    """Lower-cased text with the spelling differences of two continents evened out: a key, not a text."""
    for pattern, american in lookalike_rules()["british"]:
        text = re.sub(pattern, american, text)
    return text


def _singular(word: str) -> str:
    """A word without the end in which singular and plural differ, Latin ones included: a key, not a word."""
    if len(word) < 4 or not word.isalpha():
        return word
    word = re.sub(r"(?<=[a-z]{2})ies$", "y", word)
    word = re.sub(r"(?<=[a-z]{3})(?:[ei]s|(?<!s)s)$", "", word)
    return re.sub(r"(?<=[a-z]{3})e$", "", word)


def _bare(label: str) -> str:
    """A label without what often differs by accident."""
    return _american("".join(_words(label))) or label  # again, for a hyphen may stand within: gastro-oesophageal


def _misspelt(labels: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Pairs of labels of which one word differs by a typing error."""
    alike: dict[tuple[str, ...], list[tuple[str, str]]] = defaultdict(list)
    for label in labels:
        words = re.findall(r"\w+", _american(label.casefold()))
        for place, word in enumerate(words):
            if len(word) >= _LONG and word.isalpha():
                alike[(*words[:place], f"\x1f{word[0]}", *words[place + 1 :])].append((word, label))
    for members in alike.values():
        for at, (word, label) in enumerate(members):
            for other, twin in members[at + 1 :]:
                if label != twin and _is_slip(word, other):
                    yield label, twin


def _is_slip(one: str, other: str) -> bool:
    """Whether two long words are one word and a typing error of it."""
    most = 2 if min(len(one), len(other)) >= _VERY_LONG else 1
    if abs(len(one) - len(other)) > most or edits(one, other) > most:
        return False
    rules = lookalike_rules()
    return not any(_exchanged(one, other, *pair) for pair in rules["distinct"]) and not any(
        f"{part}{one}" == other or f"{part}{other}" == one for part in rules["turning"]
    )


def _exchanged(one: str, other: str, part: str, opposite: str) -> bool:
    """Whether putting a part of a word in the place of another makes one word of the other."""
    return any(
        f"{left[: found.start()]}{new}{left[found.end() :]}" == right
        for left, right in ((one, other), (other, one))
        for old, new in ((part, opposite), (opposite, part))
        for found in re.finditer(re.escape(old), left)
    )


def edits(one: str, other: str) -> int:
    """Letters to put in, take out, replace, or exchange with a neighbour (Damerau 1964, in its restricted form)."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for at, letter in enumerate(one, start=1):
        fresh = [at]
        for to, sign in enumerate(other, start=1):
            cost = min(row[to] + 1, fresh[-1] + 1, row[to - 1] + (letter != sign))
            if at > 1 and to > 1 and letter == other[to - 2] and one[at - 2] == sign:
                cost = min(cost, before[to - 2] + 1)
            fresh.append(cost)
        before, row = row, fresh
    return row[-1]


def merged(labels: Sequence[str], merge: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Apply ``data.merge``, one step; and a sentence for each entry that matched nothing."""
    table = {tidy(old): tidy(new) for old, new in merge.items()}
    present = set(labels)
    idle = [f"data.merge names '{old}', which is no label here" for old in sorted(table) if old not in present]
    return [table.get(label, label) for label in labels], idle


def apply_rare(
    labels: Sequence[str], groups: NDArray[np.int64], rare: str | int
) -> tuple[list[str], NDArray[np.bool_], list[str]]:
    """Deal with labels that cannot reach every split, as ``data.rare`` says.

    Args:
        labels: [rows].
        groups: [rows] number of each row's group of patients and duplicates.
        rare: ``refuse``, ``drop``, ``merge:NAME``, or the fewest cases that a label may have (others are dropped).

    Returns:
        The labels, [rows] which rows stay, and a sentence for each thing done.

    Raises:
        DataError: labels remain that cannot reach every split, by name; or fewer than two labels remain.
    """
    cases, spread = Counter(labels), groups_per_label(groups, labels)
    if isinstance(rare, int):
        small = sorted(label for label in cases if cases[label] < rare)
    else:
        small = sorted(label for label in cases if spread[label] < FEWEST_GROUPS)
    tied = [label for label in small if cases[label] >= MANY_CASES and spread[label] < FEWEST_GROUPS]
    if tied and not isinstance(rare, int):
        raise DataError(_tied_refusal(tied, cases, spread))
    fresh, keep, notes = list(labels), np.ones(len(labels), dtype=np.bool_), []
    if small and rare == "refuse":
        raise DataError(_refusal(small, spread))
    if small and isinstance(rare, str) and rare.startswith("merge:"):
        name, verb = tidy(rare[6:]), "was" if len(small) == 1 else "were"
        fresh = [name if label in small else label for label in labels]
        _require_together(name, fresh, groups)
        notes.append(f"{_listed(small, cases)} {verb} read as '{name}' (data.rare)")
    elif small:
        verb = "was" if len(small) == 1 else "were"
        keep = np.asarray([label not in small for label in labels], dtype=np.bool_)
        notes.append(f"{_listed(small, cases)} {verb} dropped (data.rare)")
    _require_labels([label for label, stays in zip(fresh, keep, strict=True) if stays], groups[keep])
    return fresh, keep, notes


def _require_together(name: str, labels: Sequence[str], groups: NDArray[np.int64]) -> None:
    """Refuse rare labels that are too few even when read as one."""
    spread = groups_per_label(groups, labels)[name]
    if spread < FEWEST_GROUPS:
        raise DataError(
            f"the rare labels read as '{name}' have {spread} groups of patients or duplicates together, and each split "
            f'needs one ({FEWEST_GROUPS} in all); write rare = "drop" under [data] in protocol.toml to leave them out.'
        )


def _listed(small: Sequence[str], cases: Mapping[str, int]) -> str:
    """Labels with their counts."""
    shown = ", ".join(f"{label}: {cases[label]:,} cases" for label in small)
    return f"{len(small)} rare label{'' if len(small) == 1 else 's'} ({shown})"


def sized(labels: Sequence[str], cases: Mapping[str, int], spread: Mapping[str, int], between: str) -> list[str]:
    """Each label with its cases and groups, ``between`` the two: ``Gout (3 cases in 1 group)``."""
    return [f"{one} ({counted(cases[one], 'case')}{between}{counted(spread[one], 'group')})" for one in labels]


def _tied_refusal(tied: Sequence[str], cases: Mapping[str, int], spread: Mapping[str, int]) -> str:
    """The sentence for labels with many cases that all hang together."""
    shown = ", ".join(
        f"{label} ({counted(cases[label], 'case')} in {counted(spread[label], 'group')})" for label in tied[:5]
    )
    more = f" and {len(tied) - 5} more" if len(tied) > 5 else ""
    return (
        f"{len(tied)} label{' has' if len(tied) == 1 else 's have'} many cases but fewer than {FEWEST_GROUPS} groups, "
        f"because one patient or near-duplicate texts tie them together: {shown}{more}; if the texts come from a "
        "template, set split.near_duplicate higher (0.9, or 1 for exact duplicates only)."
    )


def _refusal(small: Sequence[str], spread: Mapping[str, int]) -> str:
    """The sentence that names labels which cannot reach every split, with their groups."""
    shown = ", ".join(f"{label} ({spread[label]})" for label in small[:10])
    more = f" and {len(small) - 10} more" if len(small) > 10 else ""
    noun, them = ("label has", "it") if len(small) == 1 else ("labels have", "them")
    several = len(small) > 1 and sum(spread[label] for label in small) >= FEWEST_GROUPS
    other = ' or rare = "merge:Other"' if several else ""
    return (
        f"{len(small)} {noun} fewer than {FEWEST_GROUPS} groups of patients or duplicates, and each split needs one: "
        f"{shown}{more}; in protocol.toml, under [data], merge {them} by name ([data.merge]), drop {them}, or say "
        f'rare = "drop"{other}.'
    )


def _require_labels(labels: Sequence[str], groups: NDArray[np.int64]) -> None:
    """Refuse what cannot be learned or measured."""
    cases, spread = Counter(labels), groups_per_label(groups, labels)
    if len(cases) < 2:
        only = f" ('{next(iter(cases))}')" if cases else ""
        raise DataError(
            f"{len(cases)} label{'' if len(cases) == 1 else 's'} would remain{only}, and a diagnosis needs two to tell "
            "apart; is data.label the right column?"
        )
    small = sorted(label for label in cases if spread[label] < FEWEST_GROUPS)
    if small:
        raise DataError(_refusal(small, spread))


def positive_label(labels: Sequence[str], cases: Mapping[str, int], wanted: str | None) -> str | None:
    """For two labels, the one that means 'has it': as named, else the rarer one.

    Raises:
        DataError: the named one does not exist, or there are more than two labels.
    """
    if wanted is not None and tidy(wanted) not in labels:
        raise DataError(f"data.positive = '{wanted}' is no label here; the labels are {', '.join(labels[:10])}.")
    if len(labels) != 2:
        if wanted is not None:
            raise DataError(f"data.positive is for two labels, and there are {len(labels)}; remove it.")
        return None
    return tidy(wanted) if wanted is not None else min(labels, key=lambda label: (cases[label], label))
