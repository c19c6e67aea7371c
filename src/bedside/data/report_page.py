"""``report.html``: the account of a cohort as a page. No figure is computed a second time, and no case is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from bedside.data.cohort import SPLITS
from bedside.data.source_page import source_blocks
from bedside.data.table_one import HIDDEN, hidden_cells, rows_of, small
from bedside.data.verdicts import LANGUAGE_NAMES, LIMITS, drifted

Report = Mapping[str, Any]
_SIGNS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe", "utf-8": "UTF-8", "utf-8-sig": "UTF-8 with a mark"}
_MOST_VALUES = 20  # of a list in one line
_MOST_ROWS = 200  # of a table that another part of the account brings along
_NAMES = {
    "several": "texts under several labels",
    "lists": "labels that are lists",
    "leaks": "labels stated in the text",
    "suspects": "labels that look wrong",
    "lookalikes": "labels that look alike",
}
_PARTS_OF_OTHERS = {
    "codes": "Labels that are codes",
    "moment": "The moment of asking",
    "cleaning": "Cleaning",
    "audit": "Label audit",
    "division": "How the cases were divided",
}


def page(report: Report) -> str:
    """The report as one HTML page."""
    from bedside.reporting import Page

    source = report["source"]
    synthetic = "SYNTHETIC DATA: these cases are nobody's. " if report["synthetic"] else ""
    notice = f"{synthetic}De-identification: {report['deidentification']}"
    sheet = Page("Data report", subtitle=f"{source['file']}, {source['rows']:,} rows", notice=notice)
    for title, part in _PARTS:
        blocks = part(report)
        if blocks:
            sheet.section(title, *blocks)
    html: str = sheet.html()
    return html


def _checks(report: Report) -> list[str]:
    """The verdict table, and what was noted on the way."""
    from bedside.reporting import checklist, details, paragraph, table, verdicts

    rows = report.get("verdicts", [])
    counts = {name: sum(one["verdict"] == name for one in rows) for name in ("FAIL", "WARN", "PASS")}
    lead = f"{counts['FAIL']} FAIL, {counts['WARN']} WARN, {counts['PASS']} PASS. "
    lead += (
        "Do not train before each FAIL is dealt with."
        if counts["FAIL"]
        else "A WARN does not stop a study; it says what the figures will and will not mean."
    )
    blocks = [
        paragraph(lead),
        checklist(
            [(one["verdict"], one["check"], one["sentence"], one["what_to_do"]) for one in rows],
            "Every check, the gravest first.",
        ),
    ]
    if report["warnings"]:
        noted = [("INFO", "Noted", f"{one[:1].upper()}{one[1:]}.") for one in report["warnings"]]
        blocks.append(verdicts(noted))
    limits = [[name, one.value, one.why] for name, one in LIMITS.items()]
    blocks.append(
        details(
            "Where the verdicts turn, and why there",
            table(["threshold", "value", "why"], limits, caption="Thresholds of the checks."),
        )
    )
    return blocks


def _rows(report: Report) -> list[str]:
    from bedside.reporting import flow, paragraph

    steps = report["flow"]
    dropped = [(one["reason"] or one["step"], one["rows"]) for one in steps[1:-1]]
    parts = [(name, int(part["cases"])) for name, part in report["splits"].items() if _is_split(part)]
    none = [] if dropped else [paragraph("No row was dropped.")]
    return [
        flow(
            ("Read", steps[0]["rows"]),
            dropped,
            ("Kept", steps[-1]["rows"]),
            parts,
            "Every row that was read is kept, or counted under the reason it was dropped for",
        ),
        *none,
    ]


def _is_split(part: Any) -> bool:
    return isinstance(part, Mapping) and isinstance(part.get("cases"), int)


def _source(report: Report) -> list[str]:
    from bedside.reporting import facts

    return [facts(_facts(report))]


def _facts(report: Report) -> list[tuple[str, str]]:
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
        *((("Languages", _languages(report["language"]["found"])),) if "language" in report else ()),
        ("Seed", str(report["seed"])),
    ]
    return [(name, "none named" if value == "None" else value) for name, value in pairs]


def _languages(found: Mapping[str, int]) -> str:
    """Of a sample, how many notes are in which language."""
    names = {**LANGUAGE_NAMES, "other": "another", "unknown": "not told"}
    return f"{', '.join(f'{names[code]} {count:,}' for code, count in found.items())} (of those looked at)"


def _table_one(report: Report) -> list[str]:
    from bedside.reporting import table

    found = report.get("table_one")
    if not found:
        return []
    caption = (
        "Counts with shares of their column; difference: standardised, test against training, and from "
        f"{LIMITS['standardised difference'].value:g} on usually called imbalance. Counts of one to four are shown as "
        f"<{found['smallest']}"
        + (f"; '{HIDDEN}' stands where one could be worked out from its neighbours." if found["hidden"] else ".")
    )
    return [table(["characteristic", *found["columns"], "difference"], rows_of(found), caption=caption)]


def _labels(report: Report) -> list[str]:
    from bedside.reporting import bars, table

    labels = report["labels"]
    shown = [name for name in ("cases", "groups", *SPLITS, "largest_deviation") if name in next(iter(labels.values()))]
    return [
        bars(list(labels), [one["cases"] for one in labels.values()], "Cases of each label", "cases"),
        table(
            ["label", *(name.replace("largest_deviation", "furthest off") for name in shown)],
            _label_rows(labels, shown),
            caption="Cases of each label in each split, small counts as in Table one; groups are those of one patient "
            "or of near-duplicates; furthest off: cases away from the wished count, in the split where it is most.",
        ),
    ]


def _label_rows(labels: Mapping[str, Mapping[str, Any]], shown: Sequence[str]) -> list[list[Any]]:
    """A row for each label; small counts, and those that they could be worked out from, are hidden."""
    counted = [name for name in shown if name == "cases" or name in SPLITS]
    counts = np.asarray([[int(one[name]) for name in counted] for one in labels.values()], dtype=np.int64)
    covered = hidden_cells(counts)
    rows = []
    for (label, one), hidden in zip(labels.items(), covered, strict=True):
        cover = dict(zip(counted, hidden.tolist(), strict=True))
        rows.append([label, *(_hide(one[name]) if cover.get(name) else one[name] for name in shown)])
    return rows


def _hide(count: int) -> str:
    shown = small(count)
    return shown if isinstance(shown, str) else HIDDEN


def _lengths(report: Report) -> list[str]:
    from bedside.reporting import bars, paragraph, subheading, table

    found = report.get("lengths")
    if not found:
        return []
    words = found["words"]
    bins = words["bins"]
    limits = found["limits"]
    blocks = [
        bars(
            [f"{one['from']:,}–{one['to']:,}" for one in bins],
            [one["notes"] for one in bins],
            f"Words of a note: median {words['p50']:,.0f}, 95 % up to {words['p95']:,.0f}, longest "
            f"{words['longest']:,.0f}",
            "notes",
            "words",
        ),
        paragraph(
            f"Tokens: {found['tokens']['rule']}. bedside's encoders read a long note to its end in windows; a model "
            "that reads one window only would lose what lies beyond its limit."
        ),
        table(
            ["limit", "of", "notes longer", "text beyond"],
            [[one["tokens"], one["of"], _of(one["longer"], one["notes"]), f"{one['beyond']:.1%}"] for one in limits],
            caption="What lies beyond each limit.",
        ),
        subheading("By label"),
        table(
            ["label", "notes", *_twice(limits)],
            [
                [label, limits[0]["labels"][label]["notes"], *_label_cells(limits, label)]
                for label in sorted(limits[0]["labels"], key=lambda name: (-limits[0]["labels"][name]["beyond"], name))
            ],
            caption="What a model of one window would lose of each label, the most first.",
        ),
    ]
    return blocks + _sections(found["sections"], [one["tokens"] for one in limits])


def _twice(limits: Sequence[Mapping[str, Any]]) -> list[str]:
    return [name for one in limits for name in (f"longer than {one['tokens']}", f"text beyond {one['tokens']}")]


def _label_cells(limits: Sequence[Mapping[str, Any]], label: str) -> list[Any]:
    held = [one["labels"][label] for one in limits]
    return [cell for one in held for cell in (small(one["longer"]), f"{one['beyond']:.1%}")]


def _of(count: int, whole: int) -> str:
    shown = small(count)
    return str(shown) if isinstance(shown, str) else f"{count:,} ({count / max(whole, 1):.1%})"


def _sections(found: Mapping[str, Any], limits: Sequence[int]) -> list[str]:
    """Where sections lie, of a sample."""
    from bedside.reporting import paragraph, subheading, table

    headed = f"{found['with_headings']:,} have a heading that the English rules know"
    said = f"Of {found['sampled']:,} notes looked at, {headed}."
    blocks = [subheading("By section"), paragraph(said)]
    if found["rows"]:
        names = [name for limit in limits for name in (f"text beyond {limit}", f"begins beyond {limit}")]
        rows = [
            [
                one["section"],
                one["notes"],
                *(
                    cell
                    for limit in map(str, limits)
                    for cell in (f"{one['beyond'][limit]:.1%}", small(one["unseen"][limit]))
                ),
            ]
            for one in found["rows"]
        ]
        caption = "Sections of the notes looked at, the commonest first; those of fewer than five notes are left out."
        blocks.append(table(["section", "notes", *names], rows, caption=caption))
    return blocks


def _duplicates(report: Report) -> list[str]:
    from bedside.reporting import table

    found, clash = report.get("duplicates"), report.get("contradictions")
    if not found or not clash:
        return []
    kinds = [("exact", found["exact"]), (f"near (overlap {found['near']['threshold']:g})", found["near"])]
    names = {
        "distinct": "different",
        "clusters": "clusters of several",
        "rows": "rows in them",
        "beyond_first": "rows beyond the first",
        "cross_label": "clusters with several labels",
    }
    return [
        table(
            ["duplicates", *names.values()],
            [[kind, *(one.get(name) for name in names)] for kind, one in kinds],
            caption="Two texts are near-duplicates when their sets of lower-cased words overlap so much (Jaccard).",
        ),
        table(
            ["equal texts under several labels", "rows", "highest accuracy possible"],
            [[clash["texts"], clash["rows"], f"{clash['ceiling']:.1%}"]],
            caption="Contradictions, and what they allow a model of the text alone.",
        ),
    ]


def _leaks(report: Report) -> list[str]:
    from bedside.reporting import paragraph, table

    total = sum(one["cases"] for one in report["labels"].values())
    blocks = []
    if isinstance(report.get("label_in_text"), int):
        blocks.append(paragraph(f"{report['label_in_text']:,} of {total:,} texts hold their own label's words."))
    kept = report["columns"]["keep"]
    rows = [[name, how, "kept" if name in kept else "left out"] for name, how in report.get("giving_away", {}).items()]
    if rows:
        blocks.append(table(["column", "how", "kept or not"], rows, caption="Columns that give the label away."))
    return blocks


def _splits(report: Report) -> list[str]:
    from bedside.reporting import table

    splits = {name: part for name, part in report["splits"].items() if _is_split(part)}
    names = ["cases", "share", "wished", *(["patients"] if "patients" in report else []), "groups"]
    sizes = ["shortest", "p50", "p95", "longest"]
    rows = [
        [name, *(part.get(one) for one in names), *(part.get("words", {}).get(one) for one in sizes)]
        for name, part in splits.items()
    ]
    caption = "Groups of one patient or of near-duplicate texts are never cut."
    return [table(["split", *names, *(f"words, {name}" for name in sizes)], rows, caption=caption)] if rows else []


def _drift(report: Report) -> list[str]:
    from bedside.reporting import Status, paragraph, table

    found = report.get("drift")
    if not found:
        return []
    if "columns" not in found:
        return [paragraph(f"Not tested: a side of the split has {found['too_few']} groups, too few to say.")]
    rows = [
        [
            one["column"],
            one["measure"],
            one["difference"],
            _p(one["p"]),
            _p(one["p_corrected"]),
            Status("WARN" if drifted(one) else "PASS"),
        ]
        for one in found["columns"]
    ]
    words = found["words"]
    return [
        table(
            ["column", "measure", "difference", "p", "p, corrected", "verdict"],
            rows,
            caption="Training against test. P-values are from groups permuted whole, corrected after Holm; WARN where "
            "the corrected one is below 0.05 and the difference is large enough to matter.",
        ),
        paragraph(
            "Words: TF-IDF + logistic regression, asked to tell test from training notes on groups it was not fitted "
            f"on, reaches an AUROC of {words['auroc']:.3f} ({words['low']:.3f}–{words['high']:.3f}); 0.5 is chance. It "
            f"read the first {words['letters']:,} characters of {words['rows']:,} of {words['of']:,} notes."
        ),
    ]


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _theirs(name: str) -> Callable[[Report], list[str]]:
    """The blocks of a part that another step put into the account, whatever tables it holds."""

    def blocks(report: Report) -> list[str]:
        found = report.get(name)
        return generic(found) if found else []

    return blocks


def generic(found: Any, title: str = "") -> list[str]:
    """Counts as a list, rows as tables, and what holds both part by part; the verdicts stand in the table on top."""
    from bedside.reporting import facts, subheading

    if not isinstance(found, Mapping):
        return _one_table(title, found if isinstance(found, list) else [found])
    parts = {key: value for key, value in found.items() if key != "verdicts" and value not in ({}, [], None, "")}
    plain = {key: value for key, value in parts.items() if not _is_nested(value)}
    blocks = [facts([(_words(key), str(_flat(value))) for key, value in plain.items()])] if plain else []
    if title and blocks:
        blocks = [subheading(title), *blocks]
    for key, value in parts.items():
        name = f"{title}: {_words(key)}" if title else _words(key)
        if key not in plain:
            rows = isinstance(value, list) or all(_is_row(one) for one in value.values())
            blocks += _one_table(name, value) if rows else generic(value, name[:1].upper() + name[1:])
    return blocks


def _is_nested(value: Any) -> bool:
    """Whether a value needs a table or a list of its own."""
    if isinstance(value, list):
        return any(isinstance(one, Mapping | list) for one in value)
    return isinstance(value, Mapping)


def _is_row(value: Any) -> bool:
    return isinstance(value, Mapping) and not any(_is_nested(one) for one in value.values())


def _one_table(title: str, value: Mapping[str, Any] | list[Any]) -> list[str]:
    """A list of rows, or a mapping to rows, as one table."""
    from bedside.reporting import table

    rows = _as_rows(value)
    headers = list(dict.fromkeys(key for row in rows for key in row))
    cells = [[_cell(row.get(key)) for key in headers] for row in rows[:_MOST_ROWS]]
    more = f" (the first {_MOST_ROWS:,} of {len(rows):,})" if len(rows) > _MOST_ROWS else ""
    return [table([_words(key) for key in headers], cells, caption=f"{title[:1].upper()}{title[1:]}{more}")]


def _as_rows(value: Mapping[str, Any] | list[Any]) -> list[Mapping[str, Any]]:
    if isinstance(value, list):
        return [one if isinstance(one, Mapping) else {"value": one} for one in value]
    return [{"name": name, **one} for name, one in value.items()]


def _cell(value: Any) -> Any:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else _flat(value)


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{_words(name)} {_plain(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        more = f" and {len(value) - _MOST_VALUES:,} more" if len(value) > _MOST_VALUES else ""
        return ", ".join(map(_plain, value[:_MOST_VALUES])) + more
    return _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}" if isinstance(value, float) else str(value)


def _words(key: str) -> str:
    return _NAMES.get(key, str(key).replace("_", " "))


def _methods(report: Report) -> list[str]:
    from bedside.reporting import facts

    pairs = [
        ("Flow diagram", "After CONSORT 2010 (Schulz et al. 2010)."),
        (
            "Standardised difference",
            "Of means over the root of the mean of both variances (Austin 2009); of several values by Mahalanobis "
            "distance (Yang and Dalton 2012). Under Drift: over the standard deviation of both together.",
        ),
        (
            "Drift",
            "A permutation test for each column with Holm's correction, as two-sample tests for shift are set up by "
            "Rabanser et al. 2019; groups are permuted whole.",
        ),
        (
            "Words",
            "A classifier two-sample test (Lopez-Paz and Oquab 2017), five folds by group; the interval from resampled "
            "groups (Field and Welsh 2007).",
        ),
        ("Ages", "Over 89 is one band (45 CFR 164.514(b), Safe Harbor)."),
        (
            "Small counts",
            "In Table one and the tables by label; report.json keeps the counts by label that training reads.",
        ),
    ]
    return [facts(pairs)]


_PARTS: tuple[tuple[str, Callable[[Report], list[str]]], ...] = (
    ("Verdicts", _checks),
    ("Rows", _rows),
    ("Source", _source),
    ("Sources", source_blocks),
    ("Table one: the cases", _table_one),
    ("Labels", _labels),
    ("Lengths", _lengths),
    ("Duplicates and contradictions", _duplicates),
    ("What gives the label away", _leaks),
    *((title, _theirs(name)) for name, title in _PARTS_OF_OTHERS.items()),
    ("Splits", _splits),
    ("Drift between training and test", _drift),
    ("How this was made", _methods),
)
