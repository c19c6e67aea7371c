"""More training cases out of those that are there, in other words.

It refuses to change a number, a unit, a negation or a side, to put in the name of a label, and to touch any split but
train.
"""

from __future__ import annotations

from bedside.data.augmentation.augment import Augmented, Copy, augment, label_names, vary
from bedside.data.augmentation.facts import facts, unchanged_facts

__all__ = ["Augmented", "Copy", "augment", "facts", "label_names", "unchanged_facts", "vary"]
