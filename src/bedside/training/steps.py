"""Which notes are learned from together, and in which order: a function of seed and epoch alone.

A step holds notes until there are enough of them, in micro-batches of like lengths, each of at most so many tokens.
What a step teaches does not depend on how it is cut into micro-batches, nor on how many processes share it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bedside.core.seeds import derive
from bedside.models.notes import Notes, batches

_BUCKET = 32  # batches that are sorted by length together, so that little is padded and order stays random
Step = list[list[int]]


@dataclass(frozen=True)
class MicroBatch:
    """Notes that go through the network together.

    Attributes:
        notes: their numbers.
        places: where each stands in the step.
        idle: whether they are only there because every process must take as many turns; they teach nothing.
    """

    notes: list[int]
    places: list[int]
    idle: bool = False


@dataclass(frozen=True)
class Plan:
    """The steps of every epoch.

    Attributes:
        notes: tokenised.
        batch_tokens: padded tokens in a micro-batch, at most.
        step_notes: notes in a step, at least.
        seed: of the order.
    """

    notes: Notes
    batch_tokens: int
    step_notes: int
    seed: int

    def steps(self, epoch: int) -> list[Step]:
        """The steps of an epoch, each of one batch or several."""
        random = np.random.default_rng(derive(self.seed, "train", "order", str(epoch)))
        order = random.permutation(len(self.notes))
        lengths = self.notes.lengths()
        mean = max(float(lengths.mean()) if len(lengths) else 1.0, 1.0)
        size = max(int(_BUCKET * self.batch_tokens / mean), 1)
        found: list[list[int]] = []
        for start in range(0, len(order), size):
            bucket = order[start : start + size]
            found += batches(self.notes, bucket[np.argsort(lengths[bucket], kind="stable")].tolist(), self.batch_tokens)
        steps: list[Step] = []
        for place in random.permutation(len(found)).tolist():
            if steps and sum(map(len, steps[-1])) < self.step_notes:
                steps[-1].append(found[place])
            else:
                steps.append([found[place]])
        return steps

    def micro_batches(self, step: Step, tokens: int, rank: int = 0, processes: int = 1) -> list[MicroBatch]:
        """This process's part of a step.

        Args:
            step: of :meth:`steps`.
            tokens: in a micro-batch, at most; lower than ``batch_tokens`` where memory was short.
            rank, processes: which of how many processes; each takes every so-many-th note, and as many turns as the
                others, which is what processes that talk to each other in every turn need.
        """
        shares = [self._share(step, tokens, one, processes) for one in range(processes)]
        mine = shares[rank]
        turns = max(map(len, shares))
        first = step[0][0]
        return mine + [MicroBatch([first], [0], idle=True)] * (turns - len(mine))

    def _share(self, step: Step, tokens: int, rank: int, processes: int) -> list[MicroBatch]:
        found: list[MicroBatch] = []
        start = 0
        for batch in step:
            places = dict(zip(batch, range(start, start + len(batch)), strict=True))
            start += len(batch)
            parts = batches(self.notes, batch[rank::processes], tokens)
            found += [MicroBatch(part, [places[note] for note in part]) for part in parts]
        return found


def largest(notes: Notes, step: Sequence[MicroBatch]) -> int:
    """Padded tokens of the largest micro-batch of a step."""
    counts, longest = notes.counts(), notes.longest()
    return max(int(counts[one.notes].sum() * longest[one.notes].max()) for one in step)
