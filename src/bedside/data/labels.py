"""The diagnosis column: tidied, merged where the protocol says so, and refused where a label is too rare.

Labels are never joined or dropped on a guess: what looks alike is proposed, what is rare is named.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from bedside.core.errors import DataError
from bedside.data.clean import without_marks
from bedside.data.split import groups_per_label
from bedside.data.wording import counted

FEWEST_GROUPS = 4  # one for each split
MANY_CASES = 40  # a label with so many cases in fewer groups is not rare: its texts are alike
_PLURAL = re.compile(r"(?<=[a-z]{3})(?<!s)s\b")


def tidy(label: str) -> str:
    """A label without stray white space and invisible marks, in one Unicode form."""
    return " ".join(unicodedata.normalize("NFC", without_marks(label)).split())


def lookalikes(counts: Mapping[str, int]) -> dict[str, str]:
    """Labels that differ only by case, punctuation, white space or a plural s: each rarer one and its likely twin."""
    families: dict[str, list[str]] = defaultdict(list)
    for label in sorted(counts):
        families[_bare(label)].append(label)
    merge: dict[str, str] = {}
    for family in families.values():
        best = max(family, key=lambda label: (counts[label], label))
        merge |= {label: best for label in family if label != best}
    return merge


def _bare(label: str) -> str:
    """A label without what often differs by accident."""
    folded = _PLURAL.sub("", label.casefold())
    return "".join(re.findall(r"\w", folded)) or label


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
        raise DataError(_refusal(small, cases, spread))
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


def _refusal(small: Sequence[str], cases: Mapping[str, int], spread: Mapping[str, int]) -> str:
    """The sentence that names labels which cannot reach every split."""
    shown = ", ".join(
        f"{label} ({counted(cases[label], 'case')} in {counted(spread[label], 'group')})" for label in small[:10]
    )
    more = f" and {len(small) - 10} more" if len(small) > 10 else ""
    noun, them = ("label has", "it") if len(small) == 1 else ("labels have", "them")
    several = len(small) > 1 and sum(spread[label] for label in small) >= FEWEST_GROUPS
    other = ' or rare = "merge:Other" to read them as one' if several else ""
    return (
        f"{len(small)} {noun} fewer than {FEWEST_GROUPS} groups of patients or duplicates, so not every split can "
        f'have one: {shown}{more}; in protocol.toml, under [data], write rare = "drop" to leave {them} out{other}, '
        f"or merge {them} by name under [data.merge]."
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
        raise DataError(_refusal(small, cases, spread))


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
