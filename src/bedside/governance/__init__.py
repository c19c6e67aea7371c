"""Documents that cannot lie: every number of the card is copied from the evidence, and can be checked against it."""

from __future__ import annotations

from bedside.governance.card import Card, Field, Part, card_of
from bedside.governance.check import check_card, recompute
from bedside.governance.render import FILES, render

__all__ = ["FILES", "Card", "Field", "Part", "card_of", "check_card", "recompute", "render"]
