"""Columns and words that give the label away.

A column that says the diagnosis again (its code, its name in another language, the list it was chosen from) makes any
subgroup or model that uses it worthless; it is flagged by name and never kept on a proposal.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from bedside.data.table import is_absent

ONE_TO_ONE = "is one-to-one with the label"
PURE = 0.9  # share of the way from the largest label's share to certainty
NAMED = 0.5  # share of cells that hold their own label's words


def tells(values: Sequence[str], labels: Sequence[str]) -> str | None:
    """How a column gives the label away, or None.

    Args:
        values: [rows] the column; blank cells tell nothing.
        labels: [rows] tidied labels.

    Returns:
        The end of a sentence that starts with the column's name, for example ``"is one-to-one with the label"``.
    """
    told = zip(values, labels, strict=True)
    pairs = [(value, label) for cell, label in told if not is_absent(value := cell.strip())]
    if len(pairs) < 10 or len({label for _, label in pairs}) < 2:
        return None
    if one_to_one(pairs):
        return ONE_TO_ONE
    purity = conditional_purity(pairs)
    if purity >= PURE:
        return f"predicts the label almost alone ({purity:.0%} of the way from guessing to certainty)"
    named = sum(label.casefold() in value.casefold() for value, label in pairs) / len(pairs)
    if named >= NAMED and len({value for value, _ in pairs}) > 1:
        return f"names the label in {named:.0%} of its cells"
    return None


def one_to_one(pairs: Sequence[tuple[str, str]]) -> bool:
    """Whether each value goes with one label and each label with one value."""
    distinct = set(pairs)
    values, labels = {value for value, _ in distinct}, {label for _, label in distinct}
    return len(distinct) == len(values) == len(labels) < len(pairs)


def conditional_purity(pairs: Sequence[tuple[str, str]]) -> float:
    """How far a column alone brings a guess from the largest label's share (0) to certainty (1).

    A row counts as told only if another row has the same value and label, so that a column of ids tells nothing.
    """
    table: dict[str, Counter[str]] = defaultdict(Counter)
    for value, label in pairs:
        table[value][label] += 1
    told = sum(top for counts in table.values() if (top := max(counts.values())) > 1)
    base = max(Counter(label for _, label in pairs).values())
    return (told - base) / (len(pairs) - base) if len(pairs) > base else 0.0


def label_in_text(texts: Sequence[str], labels: Sequence[str]) -> int:
    """In how many rows the text holds its own label, as whole words, whatever the case."""
    patterns = {label: re.compile(rf"(?<!\w){re.escape(label.casefold())}(?!\w)") for label in set(labels)}
    return sum(patterns[label].search(text.casefold()) is not None for text, label in zip(texts, labels, strict=True))
