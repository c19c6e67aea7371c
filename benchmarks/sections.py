"""How many real notes show their sections.

    python benchmarks/sections.py mtsamples_unique_multilabel.csv.gz

Prints for a CSV of notes (gzip or not) how many have at least one, two, three, five sections, and each section's share.
"""

from __future__ import annotations

import argparse
import csv
import gzip
from collections import Counter
from pathlib import Path

from bedside.data.sections import PREAMBLE, find_sections


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--column", default="transcription")
    parser.add_argument("--language", default="en")
    options = parser.parse_args()
    opened = gzip.open if options.table.suffix == ".gz" else open
    csv.field_size_limit(1 << 30)
    with opened(options.table, "rt", encoding="utf-8", newline="") as file:
        notes = [row[options.column] for row in csv.DictReader(file)]
    found = [{one.name for one in find_sections(note, options.language)} - {PREAMBLE} for note in notes]
    print("| sections | notes | share |")
    print("|---|---|---|")
    for least in (1, 2, 3, 5):
        count = sum(len(one) >= least for one in found)
        print(f"| at least {least} | {count} of {len(notes)} | {count / len(notes):.1%} |")
    for name, count in Counter(name for one in found for name in one).most_common():
        print(f"| {name} | {count} | {count / len(notes):.1%} |")


if __name__ == "__main__":
    main()
