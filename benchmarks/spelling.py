"""How precise the spelling corrector is, by confidence: on slips planted in notes, and on real misspellings.

    python benchmarks/spelling.py                                  (the sample clinic: SYNTHETIC)
    python benchmarks/spelling.py notes.csv --text note --group patient_id
    python benchmarks/spelling.py notes.csv --text note --misspellings misspellings.csv

A slip is a letter lost, doubled, hit beside, or swapped with the next. A changed word in which nothing was planted
counts as wrong, also where the note itself was misspelt, so the precision is a lower bound. It depends on how common
slips are. ``--misspellings`` names a CSV of ``misspelling,correction``; those whose correction stands in the notes are
asked for.
"""

from __future__ import annotations

import argparse
import csv
import gzip
from pathlib import Path

from bedside.data.spelling import Figure, Speller, chosen_threshold, measure
from bedside.protocol import SpellingSection
from bedside.synthetic import Clinic, Plan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, nargs="?")
    parser.add_argument("--text", default="text")
    parser.add_argument("--group", help="the column with the patient; each row is its own if not given")
    parser.add_argument("--misspellings", type=Path)
    parser.add_argument("--rates", type=float, nargs="*", default=[0.01, 0.05])
    parser.add_argument("--known-from", type=int, default=SpellingSection().known_from)
    parser.add_argument("--seed", type=int, default=42)
    options = parser.parse_args()
    texts, groups = notes(options)
    section = SpellingSection(known_from=options.known_from)
    print(f"{options.table.name if options.table else 'the sample clinic (SYNTHETIC)'}: {len(texts):,} notes")
    for rate in options.rates:
        first, second = measure(texts, groups, section, seed=options.seed, rate=rate)
        show(rate, first, second, section.precision)
    if options.misspellings:
        real(texts, groups, section, options.misspellings)


def notes(options: argparse.Namespace) -> tuple[list[str], list[str]]:
    if options.table is None:
        rows = [note for note, _ in Clinic(Plan(notes=5000, seed=options.seed, typos=0.0)).rows()]
        return [row["note"] for row in rows], [row["patient_id"] for row in rows]
    opened = gzip.open if options.table.suffix == ".gz" else open
    csv.field_size_limit(1 << 30)
    with opened(options.table, "rt", encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    return [row[options.text] for row in table], [
        row[options.group] if options.group else str(number) for number, row in enumerate(table)
    ]


def show(rate: float, first: list[Figure], second: list[Figure], wanted: float) -> None:
    print(f"\nslips in {rate:.0%} of the words: {first[0].planted + second[0].planted:,}")
    print("| confidence | corrected | precision | lower bound, each half | recall |")
    print("|---|---|---|---|---|")
    for one, two in zip(first, second, strict=True):
        corrected, right = one.corrected + two.corrected, one.right + two.right
        planted = one.planted + two.planted
        print(
            f"| {one.threshold:g} | {corrected:,} | {right / max(corrected, 1):.4f} | {one.low:.4f}, {two.low:.4f} "
            f"| {right / max(planted, 1):.3f} |"
        )
    print(f"put right without asking: from {chosen_threshold(first, second, wanted) or 'no confidence'}")


def real(texts: list[str], groups: list[str], section: SpellingSection, table: Path) -> None:
    """Real misspellings, each word once, of words that these notes know."""
    speller = Speller(texts, groups, section.known_from)
    with table.open(encoding="utf-8", newline="") as file:
        pairs = [(row["misspelling"], row["correction"]) for row in csv.DictReader(file)]
    asked = [(wrong, right) for wrong, right in pairs if speller.knows(right) and not speller.knows(wrong)]
    print(f"\nreal misspellings of words that these notes hold: {len(asked):,}")
    print("| confidence | suggested | of these right | of all right |")
    print("|---|---|---|---|")
    for threshold in (0.0, 0.5, 0.9, 0.95, 0.98, 0.99):
        found = [(speller.suggest(wrong), right) for wrong, right in asked]
        kept = [(one.meant == right) for one, right in found if one and one.confidence >= threshold]
        of_kept, of_all = (sum(kept) / max(len(whole), 1) for whole in (kept, asked))
        print(f"| {threshold:g} | {len(kept):,} | {of_kept:.3f} | {of_all:.3f} |")


if __name__ == "__main__":
    main()
