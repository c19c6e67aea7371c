r"""Near-duplicates beside datasketch and text-dedup: seconds, memory, and what each finds, in one run.

Every method gets the same SYNTHETIC notes (the sample clinic's, 5 % planted copies), one at a time, each in a process
of its own, and looks for texts whose word sets overlap by 0.7 or more. Up to 20,000 notes every pair is also compared,
so that the table says how many rows beyond the first of their true cluster each finds, and how many it takes for such
that are none. The peers run as their documentation shows, with word sets (n-grams of one word), on the same lower-cased
words; they report what banding proposes, bedside verifies each pair by its true overlap.

    python benchmarks/near_duplicates.py --notes 10000 100000 --seed 42 --folder /tmp/near-duplicates \
        --python-of-peers /tmp/peers/bin/python

The peers are no dependencies of bedside. Make them an environment of their own, and name its Python; without it their
rows say that they were left out:

    python -m venv /tmp/peers && /tmp/peers/bin/pip install datasketch==2.0.0 text-dedup==0.4.0
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

THRESHOLD = 0.7
COPIES = 0.05
MOST_NOTES = {"bedside": 10**9, "datasketch": 10**9, "text-dedup": 100_000}
EXACT_UP_TO = 20_000


def texts_of(file: Path) -> list[str]:
    """The notes, lower-cased words with a space between: every method cuts them alike."""
    return [json.loads(line)["text"] for line in file.open(encoding="utf-8")]


def write_texts(notes: int, seed: int, folder: Path) -> Path:
    """The sample clinic's notes as JSON lines; a file that is there is taken."""
    from bedside.synthetic import Plan, generate

    file = folder / f"texts-{notes}-{seed}.jsonl"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with file.open("w", encoding="utf-8") as out:
            for note, _ in generate(Plan(notes=notes, seed=seed, duplicates=COPIES)).rows():
                out.write(json.dumps({"text": " ".join(re.findall(r"\w+", note["note"].lower()))}) + "\n")
    return file


def with_bedside(file: Path, folder: Path) -> list[int]:
    """[rows] cluster of each row, by bedside."""
    from bedside.data.duplicates import find_duplicates

    found: list[int] = find_duplicates(texts_of(file), THRESHOLD).cluster.tolist()
    return found


def with_datasketch(file: Path, folder: Path) -> list[int]:
    """[rows] cluster of each row: what a query of datasketch's LSH index returns belongs together."""
    from datasketch import MinHash, MinHashLSH

    texts = texts_of(file)
    index = MinHashLSH(threshold=THRESHOLD, num_perm=128)
    parent = list(range(len(texts)))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    words = ([word.encode() for word in set(text.split())] for text in texts)
    for row, digest in enumerate(MinHash.generator(words, num_perm=128)):
        for other in index.query(digest):
            parent[root(row)] = root(other)
        index.insert(row, digest, check_duplication=False)
    return [root(row) for row in range(len(texts))]


def with_text_dedup(file: Path, folder: Path) -> list[int]:
    """[rows] 0 for a row that text-dedup keeps, 1 for one that it takes for a copy: it writes no clusters otherwise."""
    from datasets import Dataset, load_from_disk

    source, result = folder / "text-dedup-in", folder / "text-dedup-out"
    for old in (source, result):
        shutil.rmtree(old, ignore_errors=True)
    texts = texts_of(file)
    Dataset.from_dict({"text": texts, "row": list(range(len(texts)))}).save_to_disk(str(source))
    command = [
        *(sys.executable, "-m", "text_dedup.minhash", "--path", str(source), "--local", "--column", "text"),
        *("--ngram", "1", "--min_length", "1", "--threshold", str(THRESHOLD), "--num_perm", "250"),
        *("--output", str(result), "--cache_dir", str(folder / "text-dedup-cache"), "--batch_size", "10000"),
        *("--num_proc", str(os.cpu_count())),
    ]
    subprocess.run(command, check=True, stdout=sys.stderr, cwd=folder, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    kept = set(load_from_disk(str(result))["row"])
    return [0 if row in kept else 1 for row in range(len(texts))]


METHODS = {"bedside": with_bedside, "datasketch": with_datasketch, "text-dedup": with_text_dedup}


def run_one(name: str, file: Path, folder: Path) -> None:
    """Run a method in this process, and print what it cost; its clusters go to a file."""
    start = time.perf_counter()
    clusters = METHODS[name](file, folder)
    cost = {"seconds": round(time.perf_counter() - start, 2)}
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cost["cpu"] = round(sum(one.ru_utime + one.ru_stime for one in spent), 2)
    cost["peak_gb"] = round(max(one.ru_maxrss for one in spent) * 1024 / 1e9, 2)
    (folder / f"clusters-{name}.json").write_text(json.dumps([int(one) for one in clusters]), encoding="utf-8")
    print(json.dumps(cost))


def measure(name: str, python: str, file: Path, folder: Path, truth: list[int] | None) -> dict[str, Any]:
    """What a method costs and finds, in a fresh process."""
    command = [python, __file__, "--only", name, "--file", str(file), "--folder", str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    cost: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    clusters = json.loads((folder / f"clusters-{name}.json").read_text(encoding="utf-8"))
    copies = [row for row, one in enumerate(clusters) if one] if name == "text-dedup" else beyond_first(clusters)
    cost |= {"method": name, "notes": len(clusters), "copies": len(copies)}
    if truth is not None:
        sizes, removed = Counter(truth), Counter(truth[row] for row in copies)  # which one of a cluster stays is free
        found = sum(min(removed[one], size - 1) for one, size in sizes.items())
        cost |= {"found": found, "true": len(truth) - len(sizes), "wrong": len(copies) - found}
    return cost


def beyond_first(clusters: list[int]) -> list[int]:
    """Rows that are not the first of their cluster."""
    seen: set[int] = set()
    return [row for row, one in enumerate(clusters) if one in seen or seen.add(one)]  # type: ignore[func-returns-value]


def true_clusters(file: Path) -> list[int]:
    """[rows] the cluster of each row when every pair is compared."""
    import numpy as np
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    from bedside.data.duplicates import EPSILON, word_matrix

    matrix = word_matrix(text.split() for text in texts_of(file))
    lengths = np.diff(matrix.indptr)
    others = matrix.T.tocsr()
    left, right = [], []
    for start in range(0, len(lengths), 500):
        shared = (matrix[start : start + 500] @ others).toarray()
        union = lengths[start : start + 500, None] + lengths[None, :] - shared
        near = np.nonzero(shared >= THRESHOLD * union - EPSILON)
        left.append(near[0] + start)
        right.append(near[1])
    ends = (np.concatenate(left), np.concatenate(right))
    graph = csr_array((np.ones(len(ends[0]), dtype=np.int8), ends), shape=(len(lengths), len(lengths)))
    clusters: list[int] = connected_components(graph, directed=False)[1].tolist()
    return clusters


def show(found: list[dict[str, Any]]) -> None:
    """The table in markdown."""
    print("| SYNTHETIC notes | method | s | CPU s | peak GB | rows named as copies | true ones found |")
    print("|---|---|---|---|---|---|---|")
    for one in found:
        if "skipped" in one:
            print(f"| {one['notes']:,} | {one['method']} | {one['skipped']} | | | | |")
            continue
        true = f"{one['found']:,} of {one['true']:,}, and {one['wrong']:,} wrong ones" if "true" in one else ""
        cells = [f"{one['seconds']:.1f}", f"{one['cpu']:.1f}", f"{one['peak_gb']:.2f}", f"{one['copies']:,}", true]
        print(f"| {one['notes']:,} | {one['method']} | {' | '.join(cells)} |")
    growth: dict[str, list[float]] = defaultdict(list)
    for one in found:
        if "cpu" in one:
            growth[one["method"]].append(one["cpu"] / one["notes"])
    said = [f"{name} {' → '.join(f'{each / own[0]:.2f}' for each in own)}" for name, own in growth.items()]
    print(f"\nCPU time per note against the smallest size: {'; '.join(said)}.")
    print(f"{os.cpu_count()} CPUs ({platform.machine()}), Python {platform.python_version()}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--notes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--folder", type=Path, required=True, help="for texts and results")
    parser.add_argument("--python-of-peers", help="a Python that has datasketch and text-dedup")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--only", choices=list(METHODS), help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        run_one(options.only, options.file, options.folder)
        return
    found: list[dict[str, Any]] = []
    for notes in options.notes:
        file = write_texts(notes, options.seed, options.folder)
        truth = true_clusters(file) if notes <= EXACT_UP_TO else None
        for name in options.methods:
            python = sys.executable if name == "bedside" else options.python_of_peers
            why = "left out: no --python-of-peers" if not python else f"not tried above {MOST_NOTES[name]:,}"
            if not python or notes > MOST_NOTES[name]:
                found.append({"method": name, "notes": notes, "skipped": why})
            else:
                found.append(measure(name, python, file, options.folder, truth))
            print(found[-1], file=sys.stderr, flush=True)
    show(found)


if __name__ == "__main__":
    main()
