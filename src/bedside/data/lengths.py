"""How long the notes are, and what a model that reads a given number of tokens would not see of them.

The data room knows no tokenizer. Without one, tokens are estimated from characters by a rule that was measured
(:data:`PER_CHARACTER`); with one (:class:`TokenCounter`) the rate is measured on this table. bedside's own models read
a long note to its end in windows; what is cut is what another model, or a single window, would lose.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bedside.core.seeds import derive
from bedside.data.table_one import exploded

if TYPE_CHECKING:
    import polars as pl

# Tokens a character, of BERT's uncased WordPiece with 30,522 entries: 0.234 on Symptom2Disease (1,200 texts), 0.226 on
# Medical Abstracts (1,994), 0.231 on MTSamples (2,376); of nine notes in ten between 0.19 and 0.27. A count of words
# spreads wider: 1.31, 1.54 and 1.47 tokens a word. The terse SYNTHETIC notes of the sample clinic have 0.32.
PER_CHARACTER = 0.23
RULE = (
    "estimated at 0.23 tokens a character, the rate of BERT's uncased WordPiece vocabulary on three public English "
    "tables (0.226 to 0.234); terse notes full of abbreviations have more, and another vocabulary or language differs"
)
USUAL = 512  # what BERT and most encoders made from it read
SPECIAL = 2  # tokens that mark the beginning and the end
SAMPLED = 2_000  # notes whose tokens or sections are looked at
FEWEST_NOTES = 5  # of a section, to be listed
_QUANTILES = (1, 5, 25, 50, 75, 95, 99)


@dataclass(frozen=True)
class TokenCounter:
    """A tokenizer as far as lengths are concerned.

    Attributes:
        name: whose it is.
        limit: tokens that its model reads at once, special ones included.
        count: the number of tokens of each text, without special ones.
    """

    name: str
    limit: int
    count: Callable[[Sequence[str]], Sequence[int]]


def lengths(frame: pl.DataFrame, seed: int, counter: TokenCounter | None = None) -> dict[str, Any]:
    """Words of the notes, and what is beyond each limit, by label and by section.

    Args:
        frame: the cohort's, with ``text`` and ``label``.
        seed: of the study; it draws the sample.
        counter: of the base model, where it is at hand.

    Returns:
        JSON-able: ``words`` (quantiles and bins), ``tokens`` (the rule), ``limits`` (a row for each) and ``sections``.
    """
    import polars as pl

    sizes = frame.select(words=pl.col("text").str.count_matches(r"\S+"), characters=pl.col("text").str.len_chars())
    words, characters = sizes["words"].to_numpy(), sizes["characters"].to_numpy()
    draw = np.random.default_rng(derive(seed, "lengths"))
    sample = np.sort(draw.permutation(frame.height)[:SAMPLED])
    texts = frame["text"][sample].to_list()
    rate, rule = _rate(texts, counter)
    limits = {USUAL: "a model of 512 tokens, as BERT and most made from it"}
    if counter is not None and counter.limit not in (0, USUAL):
        limits[counter.limit] = counter.name
    return {
        "words": {**quantiles(words), "mean": round(float(words.mean()), 1), "bins": _bins(words)},
        "tokens": {"per_character": round(rate, 4), "rule": rule},
        "limits": [
            {"tokens": limit, "of": name, **_beyond(characters, frame["label"], rate, limit)}
            for limit, name in sorted(limits.items())
        ],
        "sections": _sections(texts, rate, sorted(limits)),
    }


def _rate(texts: Sequence[str], counter: TokenCounter | None) -> tuple[float, str]:
    """Tokens a character, and where the rate is from."""
    characters = sum(map(len, texts))
    if counter is None or not characters:
        return PER_CHARACTER, RULE
    rate = sum(counter.count(texts)) / characters
    return rate, f"{rate:.3f} tokens a character, measured with the tokenizer of {counter.name} on {len(texts):,} notes"


def quantiles(sizes: NDArray[Any]) -> dict[str, float]:
    """Shortest, percentiles and longest of one size or more."""
    found = np.percentile(sizes, _QUANTILES, method="nearest")
    middle = {f"p{rank}": float(value) for rank, value in zip(_QUANTILES, found, strict=True)}
    return {"shortest": float(sizes.min()), **middle, "longest": float(sizes.max())}


def _bins(words: NDArray[Any]) -> list[dict[str, int]]:
    """Notes by words, ``{"from", "to", "notes"}``: each bin ends at twice the end before, from the first filled one."""
    ends = [16]
    while ends[-1] < int(words.max()):
        ends.append(2 * ends[-1])
    counts = np.bincount(np.searchsorted(ends, words), minlength=len(ends)).tolist()
    starts = [0, *(end + 1 for end in ends)]
    bins = [{"from": low, "to": high, "notes": n} for low, high, n in zip(starts, ends, counts, strict=False)]
    return bins[next(place for place, one in enumerate(bins) if one["notes"]) :]


def _beyond(characters: NDArray[Any], labels: pl.Series, rate: float, limit: int) -> dict[str, Any]:
    """Notes longer than a limit and the share of text beyond it: of all, and of each label."""
    places, told = exploded(labels)
    names = sorted(set(told.to_list()))
    number = {label: place for place, label in enumerate(names)}
    owner = np.asarray([number[label] for label in told.to_list()], dtype=np.int64)
    room = (limit - SPECIAL) / rate
    lost = np.maximum(characters - room, 0.0)
    longer = np.bincount(owner, weights=(characters > room)[places], minlength=len(names)).astype(int)
    cut = np.bincount(owner, weights=lost[places], minlength=len(names))
    whole = np.maximum(np.bincount(owner, weights=characters[places], minlength=len(names)), 1)
    cases = np.bincount(owner, minlength=len(names))
    return {
        "longer": int((characters > room).sum()),
        "notes": len(characters),
        "beyond": round(float(lost.sum() / max(characters.sum(), 1)), 4),
        "labels": {
            label: {
                "notes": int(cases[place]),
                "longer": int(longer[place]),
                "beyond": round(float(cut[place] / whole[place]), 4),
            }
            for label, place in number.items()
        },
    }


def _sections(texts: Sequence[str], rate: float, limits: Sequence[int]) -> dict[str, Any]:
    """Where the sections of a sample of notes lie, and what of them is beyond each limit."""
    from bedside.data.sections import PREAMBLE, find_sections

    rooms = [(limit - SPECIAL) / rate for limit in limits]
    held: dict[str, list[Any]] = {}
    headed = 0
    for text in texts:
        found = find_sections(text)
        headed += any(one.name != PREAMBLE for one in found)
        seen = set()
        for one in found:
            entry = held.setdefault(one.name, [0, 0, [0.0] * len(limits), [0] * len(limits)])
            entry[0] += one.name not in seen
            entry[1] += one.end - one.start
            for place, room in enumerate(rooms):
                entry[2][place] += max(one.end - max(one.start, room), 0.0)
                entry[3][place] += one.start >= room and one.name not in seen
            seen.add(one.name)
    rows = [
        {
            "section": name,
            "notes": notes,
            "beyond": {str(limit): round(lost[place] / max(size, 1), 4) for place, limit in enumerate(limits)},
            "unseen": {str(limit): unseen[place] for place, limit in enumerate(limits)},
        }
        for name, (notes, size, lost, unseen) in held.items()
        if notes >= FEWEST_NOTES and name != PREAMBLE
    ]
    rows.sort(key=lambda row: (-row["notes"], row["section"]))
    return {"sampled": len(texts), "with_headings": headed, "rows": rows}
