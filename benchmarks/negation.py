"""What the rules of negation get right on the SYNTHETIC sample clinic.

    python benchmarks/negation.py --notes 2000 --seed 7

The clinic knows which findings its notes say are there, which they deny, and which they only mention (of relatives, of
the past, in advice, as feared). A finding that a note names once is looked up in the text and its status compared. The
cues were written with the clinic's phrases in sight, so its figures say that the rules work as meant, not how well they
do on notes of a hospital.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

from bedside.data.negation import PRESENT, assertions, status_in
from bedside.synthetic import Plan, generate
from bedside.synthetic.knowledge import read_data

Mention = tuple[str, int, int]  # finding, start, end


@cache
def words() -> tuple[re.Pattern[str], dict[str, str]]:
    """All ways to write a finding as one pattern, and the finding of each."""
    names = {
        word.removeprefix("a ").removeprefix("an ").casefold(): finding
        for finding, row in read_data("findings").items()
        if isinstance(row, dict)
        for word in row["words"]
    }
    listed = "|".join(re.escape(one) for one in sorted(names, key=lambda one: (-len(one), one)))
    return re.compile(rf"(?<!\w)(?:{listed})(?!\w)", re.IGNORECASE), names


def mentions(note: str) -> list[Mention]:
    """The findings that a note names exactly once, and where."""
    pattern, names = words()
    found = [(names[one[0].casefold()], one.start(), one.end()) for one in pattern.finditer(note)]
    counts = Counter(finding for finding, _, _ in found)
    return [one for one in found if counts[one[0]] == 1 and not quoted(one[0], note)]


def quoted(finding: str, note: str) -> bool:
    """Whether the note also tells it in the patient's words, so that the mention may be another one."""
    return any(words.casefold() in note.casefold() for words in read_data("findings")[finding].get("said", ()))


def judged(notes: int, seed: int) -> Iterator[tuple[str, str, str, Mention]]:
    """What is true of each mention, what the rules say, the note and the mention."""
    for row, truth in generate(Plan(notes=notes, seed=seed, typos=0.0)).rows():
        note: Any = row["note"]
        scopes = assertions(note)
        for finding, start, end in mentions(note):
            said = status_in(scopes, start, end)
            if finding in truth["present"]:
                yield PRESENT, said, note, (finding, start, end)
            elif finding in truth["negated"]:
                yield "negated", said, note, (finding, start, end)
            else:  # of a relative, of the past, in advice: whichever, it is not about the patient now
                right = said not in {PRESENT, "negated"}
                yield "mentioned", "mentioned" if right else said, note, (finding, start, end)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--notes", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--wrong", type=int, default=0, help="show this many that were wrong (they are SYNTHETIC)")
    options = parser.parse_args()
    every = list(judged(options.notes, options.seed))
    print(f"SYNTHETIC sample clinic, {options.notes:,} notes, seed {options.seed}, findings named once\n")
    print("| in truth | mentions | right | share | said instead |")
    print("|---|---|---|---|---|")
    for kind in (PRESENT, "negated", "mentioned"):
        said = Counter(said for true, said, _, _ in every if true == kind)
        total, right = sum(said.values()), said[kind]
        wrong = ", ".join(f"{name} {count}" for name, count in said.most_common() if name != kind)
        print(f"| {kind} | {total:,} | {right:,} | {right / max(total, 1):.1%} | {wrong} |")
    right = sum(true == said for true, said, _, _ in every)
    print(f"| all | {len(every):,} | {right:,} | {right / len(every):.1%} | |")
    shown = [one for one in every if one[0] != one[1]][: options.wrong]
    for true, said, note, (_, start, end) in shown:
        print(
            f"\n{true}, said {said}: …{note[max(0, start - 150) : start]}[[{note[start:end]}]]{note[end : end + 80]}…"
        )


if __name__ == "__main__":
    main()
