"""The order of learning: every note once an epoch, and the same notes in a step however many processes share it."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bedside.models.notes import Notes
from bedside.training.steps import Plan, largest

notes_strategy = st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=4), min_size=1, max_size=60)


def notes_of(lengths) -> Notes:
    windows = [length for note in lengths for length in note]
    tokens = np.zeros(sum(windows), dtype=np.int32)
    return Notes(tokens, np.cumsum([0, *windows]), np.cumsum([0, *map(len, lengths)]))


@given(notes_strategy, st.integers(16, 400), st.integers(1, 30), st.integers(1, 5))
@settings(max_examples=80, deadline=None)
def test_an_epoch_holds_every_note_once(lengths, tokens, step_notes, epoch) -> None:
    plan = Plan(notes_of(lengths), tokens, step_notes, seed=3)
    steps = plan.steps(epoch)
    assert sorted(note for step in steps for batch in step for note in batch) == list(range(len(lengths)))
    assert all(sum(map(len, step)) >= step_notes for step in steps[:-1])
    assert steps == Plan(notes_of(lengths), tokens, step_notes, seed=3).steps(epoch)


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    notes = notes_of([[5]] * 200)
    orders = [Plan(notes, 64, 16, seed).steps(epoch) for seed, epoch in ((1, 1), (1, 2), (2, 1))]
    assert orders[0] != orders[1]
    assert orders[0] != orders[2]


@given(notes_strategy, st.integers(8, 400), st.integers(1, 4))
@settings(max_examples=80, deadline=None)
def test_processes_share_a_step_and_take_as_many_turns(lengths, tokens, processes) -> None:
    plan = Plan(notes_of(lengths), 400, 8, seed=3)
    for step in plan.steps(1):
        notes = [note for batch in step for note in batch]
        shares = [plan.micro_batches(step, tokens, rank, processes) for rank in range(processes)]
        assert len(set(map(len, shares))) == 1
        working = [one for share in shares for one in share if not one.idle]
        assert sorted(note for one in working for note in one.notes) == sorted(notes)
        for one in working:
            assert [notes[place] for place in one.places] == one.notes
            assert len(one.notes) == 1 or largest(plan.notes, [one]) <= tokens
