"""The account of a cohort: what was read, dropped, found and split. Counts and names only, never text of a case."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bedside.core.files import sha256_file
from bedside.data.cohort import SPLITS
from bedside.data.leaks import label_in_text, tells
from bedside.data.split import groups_per_label
from bedside.protocol import CleanSection, DataSection, SplitSection

if TYPE_CHECKING:
    from bedside.data.preparation import Prepared

FEW_TEST_CASES = 10
ILL_POSED = 0.6  # accuracy ceiling below which one label a text makes no sense
_LISTED = 200
_SIGNS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe", "utf-8": "UTF-8", "utf-8-sig": "UTF-8 with a mark"}
_QUANTILES = (1, 5, 25, 50, 75, 95, 99)
NOT_DEIDENTIFIED = (
    "Not done. The texts stand as they were read, with every name and date in them; "
    "ids of cases and patients are keyed pseudonyms."
)


def account(done: Prepared, data: DataSection, clean: CleanSection, split: SplitSection, seed: int) -> dict[str, Any]:
    """All figures of the report, JSON-able, the same for the same cohort."""
    labels, splits = done.cases.labels, done.frame["split"].to_list()
    warnings = list(done.cases.warnings)
    leaks = _leaks(done, data)
    warnings += [
        f"column '{name}' is kept and {how}; it must not be used to predict or to explain"
        for name, how in leaks.items()
        if name in data.keep
    ]
    contradictions = _contradictions(done)
    if contradictions["texts"]:
        warnings.append(
            f"{contradictions['texts']:,} texts stand under more than one label ({contradictions['rows']:,} rows): no "
            f"model of the text alone can be right on more than {contradictions['ceiling']:.1%} of the rows"
        )
    if contradictions["ceiling"] < ILL_POSED:
        warnings.append(
            "most texts stand under several labels, so asking for a single one is ill-posed here: choose another label "
            "column, or a table with one row a text"
        )
    per_label = _per_label(labels, splits, done.frame["group"].to_list(), split)
    few = [label for label, counts in per_label.items() if counts["test"] < FEW_TEST_CASES]
    if few:
        shown = ", ".join(few[:8]) + (f" and {len(few) - 8} more" if len(few) > 8 else "")
        each = f"each of the {len(few)} labels has" if len(few) == len(per_label) else f"{len(few)} labels have"
        which = "" if len(few) == len(per_label) else f": {shown}"
        warnings.append(f"{each} fewer than {FEW_TEST_CASES} test cases, too few to say much of one label{which}")
    return {
        "schema": 1,
        "source": {
            "file": done.path.name,
            "sha256": sha256_file(done.path),
            "bytes": done.path.stat().st_size,
            **done.table.seen,
            "rows": done.table.frame.height,
            "columns": done.table.frame.columns,
            "observations": list(done.table.observations),
        },
        "columns": {
            "text": data.text_columns(),
            **{key: getattr(data, key) for key in ("label", "patient", "case_id", "time", "site", "keep")},
        },
        "clean": {"digest": clean.digest(), **clean.model_dump(mode="json")},
        "seed": seed,
        "flow": _flow(done),
        "splits": _per_split(done, split, patients=data.patient is not None),
        "labels": per_label,
        "positive": done.positive,
        **({"patients": int(done.frame["patient"].n_unique())} if data.patient else {}),
        "groups": _groups(done),
        "duplicates": _duplicates(done, split),
        "contradictions": contradictions,
        "crossings": _crossings(done, split),
        "label_in_text": label_in_text(done.cases.texts, labels),
        "giving_away": leaks,
        "synthetic": _is_synthetic(done.path),
        "deidentification": NOT_DEIDENTIFIED,
        "warnings": warnings,
    }


def _is_synthetic(table: Path) -> bool:
    """Whether the README.md beside the table opens with SYNTHETIC, as the sample clinic's does."""
    try:
        with (table.parent / "README.md").open(encoding="utf-8") as file:
            return "SYNTHETIC" in file.readline()
    except (OSError, UnicodeDecodeError):
        return False


def _flow(done: Prepared) -> list[dict[str, Any]]:
    """Rows in, rows out by reason, rows kept: they add up."""
    start = {"step": "read", "reason": "", "rows": done.table.frame.height}
    return [start, *done.cases.flow, {"step": "kept", "reason": "", "rows": done.frame.height}]


def _leaks(done: Prepared, data: DataSection) -> dict[str, str]:
    """Columns that give the label away, and how."""
    rows = done.table.frame[done.cases.places]
    own = {*data.text_columns(), data.label}
    found = {name: tells(rows[name].to_list(), done.cases.labels) for name in rows.columns if name not in own}
    return {name: how for name, how in found.items() if how is not None}


def _per_label(
    labels: Sequence[str], splits: Sequence[str], groups: Sequence[str], split: SplitSection
) -> dict[str, dict[str, Any]]:
    """Cases and groups of each label, its cases in each split, and the largest deviation from the wished share."""
    counts = Counter(zip(labels, splits, strict=True))
    numbers = {name: number for number, name in enumerate(dict.fromkeys(groups))}
    spread = groups_per_label(np.asarray([numbers[one] for one in groups], dtype=np.int64), labels)
    table = {}
    for label, cases in sorted(Counter(labels).items()):
        held = {name: counts[label, name] for name in SPLITS}
        off = max(abs(held[name] - share * cases) for name, share in split.shares().items())
        table[label] = {"cases": cases, "groups": spread[label], **held, "largest_deviation": round(off, 2)}
    return table


def _per_split(done: Prepared, split: SplitSection, *, patients: bool) -> dict[str, dict[str, Any]]:
    """Cases, share, patients, groups and lengths of each split."""
    import polars as pl

    lengths = done.frame.select("split", "patient", "group", words=pl.col("text").str.count_matches(r"\S+"))
    table = {}
    for name, wished in split.shares().items():
        part = lengths.filter(pl.col("split") == name)
        table[name] = {
            "cases": part.height,
            "share": round(part.height / max(lengths.height, 1), 6),
            "wished": wished,
            **({"patients": int(part["patient"].n_unique())} if patients else {}),
            "groups": int(part["group"].n_unique()),
            "words": _quantiles(part["words"].to_numpy()),
        }
    return table


def _quantiles(lengths: NDArray[Any]) -> dict[str, float]:
    """Shortest, percentiles and longest."""
    if not len(lengths):
        return {}
    middle = {f"p{rank}": float(np.percentile(lengths, rank, method="nearest")) for rank in _QUANTILES}
    return {"shortest": float(lengths.min()), **middle, "longest": float(lengths.max())}


def _groups(done: Prepared) -> dict[str, int]:
    """How many groups of patients and duplicates, and the largest."""
    sizes = Counter(done.frame["group"].to_list()).values()
    several = sum(size > 1 for size in sizes)
    return {"count": len(sizes), "largest": max(sizes, default=0), "of_several_cases": several}


def _duplicates(done: Prepared, split: SplitSection) -> dict[str, Any]:
    """Rows and clusters of exact and of near-duplicates."""
    labels = done.cases.labels
    return {
        "exact": _clusters(done.duplicates.exact, labels),
        "near": {"threshold": split.near_duplicate, **_clusters(done.duplicates.cluster, labels)},
    }


def _clusters(numbers: NDArray[np.int64], labels: Sequence[str]) -> dict[str, int]:
    """Clusters of more than one row: how many, their rows, how many hold more than one label; and all clusters."""
    held: dict[int, list[str]] = defaultdict(list)
    for number, label in zip(numbers.tolist(), labels, strict=True):
        held[number].append(label)
    several = [found for found in held.values() if len(found) > 1]
    return {
        "distinct": len(held),
        "clusters": len(several),
        "rows": sum(map(len, several)),
        "beyond_first": len(labels) - len(held),
        "cross_label": sum(len(set(found)) > 1 for found in several),
    }


def _contradictions(done: Prepared) -> dict[str, Any]:
    """Equal texts under different labels, and the accuracy that nothing which reads only the text can pass."""
    held: dict[int, Counter[str]] = defaultdict(Counter)
    cases: dict[int, list[str]] = defaultdict(list)
    ids = done.frame["case_id"].to_list()
    for number, label, name in zip(done.duplicates.exact.tolist(), done.cases.labels, ids, strict=True):
        held[number][label] += 1
        cases[number].append(name)
    bad = [number for number, counts in held.items() if len(counts) > 1]
    right = sum(max(counts.values()) for counts in held.values())
    return {
        "texts": len(bad),
        "rows": sum(len(cases[number]) for number in bad),
        "ceiling": round(right / max(len(ids), 1), 6),
        "cases": [cases[number] for number in bad[:_LISTED]],
        "listed": min(len(bad), _LISTED),
    }


def _crossings(done: Prepared, split: SplitSection) -> dict[str, Any]:
    """What an independent count found on more than one side."""
    found = done.crossings
    return {
        "patients": found.patients,
        "exact": found.exact,
        "near": len(found.near),
        "threshold": split.near_duplicate,
        "held_out_texts": found.held_out,
        "compared_by_brute_force": found.checked,
        "pairs_joined_after_the_check": done.repaired,
    }


def page(report: Mapping[str, Any]) -> str:
    """The report as one HTML page."""
    from bedside.reporting import Page, bars, facts, table, verdicts

    source, splits, labels = report["source"], report["splits"], report["labels"]
    synthetic = "SYNTHETIC DATA: these cases are nobody's. " if report["synthetic"] else ""
    notice = f"{synthetic}De-identification: {report['deidentification']}"
    sheet = Page("Data report", subtitle=f"{source['file']}, {source['rows']:,} rows", notice=notice)
    sheet.section("Checks", verdicts(_verdicts(report)))
    sheet.section("Source", facts(_facts(report)))
    sheet.section(
        "Rows",
        table(
            ["step", "reason", "rows"],
            [[one["step"], one["reason"], one["rows"]] for one in report["flow"]],
            caption="Every row that was read is kept or counted under the reason it was dropped for.",
        ),
    )
    names = ["cases", "share", "wished", *(["patients"] if "patients" in report else []), "groups"]
    lengths = ["shortest", "p50", "p95", "longest"]
    sheet.section(
        "Splits",
        table(
            ["split", *names, *(f"words, {name}" for name in lengths)],
            [
                [name, *(part[one] for one in names), *(part["words"].get(one) for one in lengths)]
                for name, part in splits.items()
            ],
            caption="Groups of one patient or of near-duplicate texts are never cut.",
        ),
    )
    shown = ["cases", "groups", *SPLITS, "largest_deviation"]
    sheet.section(
        "Labels",
        bars(list(labels), [one["cases"] for one in labels.values()], "Cases of each label", "cases"),
        table(
            ["label", "cases", "groups", *SPLITS, "largest deviation from the wished count"],
            [[label, *(one[name] for name in shown)] for label, one in labels.items()],
            caption="Cases of each label in each split.",
        ),
    )
    html: str = sheet.html()
    return html


def _verdicts(report: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The checks in words."""
    crossed, duplicates, clash = report["crossings"], report["duplicates"], report["contradictions"]
    total = crossed["patients"] + crossed["exact"] + crossed["near"]
    checked = (
        f"{crossed['compared_by_brute_force']:,} of {crossed['held_out_texts']:,} held-out texts compared with all"
    )
    near = duplicates["near"]
    rows = [
        ("PASS" if total == 0 else "FAIL", "Nothing crosses the splits", f"{total:,} crossings; {checked}."),
        (
            "INFO",
            "Duplicates",
            f"{sum(one['cases'] for one in report['labels'].values()):,} rows kept hold "
            f"{duplicates['exact']['distinct']:,} different texts. "
            f"{duplicates['exact']['rows']:,} rows have an exact twin, {near['rows']:,} a near one "
            f"(overlap {near['threshold']:g}); they stay on one side.",
        ),
        (
            "WARN" if clash["texts"] else "PASS",
            "No text under two labels",
            f"{clash['texts']:,} such texts in {clash['rows']:,} rows." if clash["texts"] else "There is none.",
        ),
        ("INFO", "Labels inside the text", f"{report['label_in_text']:,} texts hold their own label's words."),
        *_giving_away(report),
        ("WARN", "De-identification", report["deidentification"].partition(". ")[0] + "."),
    ]
    return rows + [("WARN", "Note", f"{sentence[:1].upper()}{sentence[1:]}.") for sentence in report["warnings"]]


def _giving_away(report: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The columns that say the label again and were therefore left out."""
    kept = report["columns"]["keep"]
    left = [f"'{name}' {how}" for name, how in report["giving_away"].items() if name not in kept]
    if not left:
        return []
    more = f"; and {len(left) - 10} more" if len(left) > 10 else ""
    return [("INFO", "Columns that give the label away", f"left out: {'; '.join(left[:10])}{more}.")]


def _facts(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was read, from where, into which columns."""
    source, columns = report["source"], report["columns"]
    pairs = [
        ("File", source["file"]),
        ("SHA-256", source["sha256"]),
        *(
            (name.capitalize(), _SIGNS.get(source[name], source[name]))
            for name in ("format", "encoding", "separator", "sheet")
            if name in source
        ),
        *(("Seen", f"{sentence[:1].upper()}{sentence[1:]}.") for sentence in source["observations"]),
        ("Text", ", ".join(columns["text"])),
        *((name.capitalize(), str(columns[name])) for name in ("label", "patient", "time", "site")),
        ("Kept", ", ".join(columns["keep"]) or "None"),
        *((("Patients", f"{report['patients']:,}"),) if "patients" in report else ()),
        ("Groups", f"{report['groups']['count']:,}, the largest of {report['groups']['largest']:,} cases"),
        ("Seed", str(report["seed"])),
    ]
    return [(name, "none named" if value == "None" else value) for name, value in pairs]
