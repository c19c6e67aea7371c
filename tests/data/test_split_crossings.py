"""The check of a large cohort: what is too much for brute force is compared by hashes of another seed."""

from __future__ import annotations

import random

import numpy as np
import pytest
from small_notes import as_csv, cohort_of, notes

from bedside.data import crossings
from bedside.data.crossings import count_crossings


def twins(seed: int, count: int = 400) -> tuple[list[str], np.ndarray, set[frozenset[int]]]:
    """Texts, their splits, and the pairs of near copies of which one is held out and one is in train."""
    dice = random.Random(seed)
    texts, splits, pairs = [], [], set()
    for number in range(count):
        words = [f"w{dice.randrange(3000)}" for _ in range(30)]
        texts.append(" ".join(words))
        splits.append(0)
        if number % 8 == 0:  # 27 of 30 words: an overlap of about 0.82
            texts.append(" ".join([*words[:27], *(f"x{number}y{n}" for n in range(3))]))
            splits.append(1 + number % 3)
            pairs.add(frozenset((len(texts) - 2, len(texts) - 1)))
    return texts, np.asarray(splits, dtype=np.int64), pairs


@pytest.mark.parametrize("seed", range(3))
def test_what_brute_force_leaves_is_found_by_other_hashes(seed, monkeypatch) -> None:
    texts, splits, pairs = twins(seed)
    patients = [str(row) for row in range(len(texts))]
    whole = count_crossings(texts, patients, splits, 0.7)
    assert (whole.checked, whole.hashed) == (whole.held_out, 0)
    assert {frozenset(pair) for pair in whole.near} == pairs
    monkeypatch.setattr(crossings, "_WORK", 1)  # one text by brute force
    found = count_crossings(texts, patients, splits, 0.7)
    assert (found.checked, found.hashed) == (1, found.held_out)
    assert set(found.near) == set(whole.near)


def test_copies_on_one_side_are_no_crossing(monkeypatch) -> None:
    texts, splits, _ = twins(0)
    monkeypatch.setattr(crossings, "_WORK", 1)
    assert count_crossings(texts, [""] * len(texts), np.where(splits > 0, 0, 1), 0.7).near != ()
    assert count_crossings(texts, [""] * len(texts), np.ones_like(splits), 0.7).near == ()


def test_the_report_says_how_many_were_compared_in_which_way(write, monkeypatch) -> None:
    monkeypatch.setattr(crossings, "_WORK", 1)
    report = cohort_of(write(as_csv(notes(60)))).report
    found, held = report["crossings"], 60 - report["splits"]["train"]["cases"]
    assert (found["compared_by_brute_force"], found["compared_by_other_hashes"], found["held_out_texts"]) == (
        1,
        held,
        held,
    )
    said = {one["check"]: one["sentence"] for one in report["verdicts"]}["Nothing crosses the splits"]
    assert f"1 of {held} held-out texts were compared with all, and each once more by independent hashes" in said
